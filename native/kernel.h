// What kernels share: numbers as they are stored, rows of them, and the division of channels.
//
// Included by kernels alone, inside the namespace of their level. Kernels call no inline function
// of the standard library: the linker keeps one copy of such a function for the whole module, and
// it might keep the one compiled for AVX-512.
#pragma once

#include <stdint.h>
#include <string.h>

#include "tensor.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define STATEWISE_X86 1
#endif

// Before a loop none of whose rounds reads what another writes. `restrict` would say the same, but
// it is forgotten when a function is inlined, and six pointers are too many to compare at run time:
// the adjoint of the scan was not vectorized.
#if defined(__clang__)
#define STATEWISE_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define STATEWISE_INDEPENDENT _Pragma("GCC ivdep")
#elif defined(_MSC_VER)
#define STATEWISE_INDEPENDENT __pragma(loop(ivdep))
#else
#define STATEWISE_INDEPENDENT
#endif

namespace statewise {
namespace STATEWISE_LEVEL {

struct bfloat16 {
  uint16_t bits;
};

inline float widen(float x) { return x; }
inline double widen(double x) { return x; }
inline float widen(bfloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float wide;
  memcpy(&wide, &bits, sizeof wide);
  return wide;
}

template <class Stored, class Wide>
inline Stored narrow(Wide x) {
  return x;
}
template <>
inline bfloat16 narrow<bfloat16, float>(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;  // to the nearest, ties to even
  const bool nan = (bits & 0x7fffffff) > 0x7f800000;
  return {static_cast<uint16_t>(nan ? 0x7fc0 : rounded)};
}

// Writes a row around the caches, for tensors that the caches could not hold anyway: an ordinary
// store would first read what it overwrites. `from` should be in the nearest cache.
inline void stream(void* to, const void* from, size_t bytes) {
  char* out = static_cast<char*>(to);
  const char* in = static_cast<const char*>(from);
#ifdef STATEWISE_X86
  size_t head = (64 - (reinterpret_cast<uintptr_t>(out) & 63)) & 63;
  if (head > bytes) head = bytes;
  // Asked first: copying nothing is a call too, and a tenth of the time of a row of 256 numbers.
  if (head) memcpy(out, in, head);
  out += head, in += head, bytes -= head;
  for (; bytes >= 64; out += 64, in += 64, bytes -= 64) {
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(out), _mm512_loadu_si512(in));
#elif defined(__AVX__)
    for (int i = 0; i < 64; i += 32)
      _mm256_stream_si256(reinterpret_cast<__m256i*>(out + i),
                          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + i)));
#else
    for (int i = 0; i < 64; i += 16)
      _mm_stream_si128(reinterpret_cast<__m128i*>(out + i),
                       _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i)));
#endif
  }
#endif
  if (bytes) memcpy(out, in, bytes);
}

// To be called when a thread has written its last row with `stream`.
inline void end_stream() {
#ifdef STATEWISE_X86
  _mm_sfence();
#endif
}

template <class S>
inline const S* at(const Sequence& x, int64_t row, int64_t t, int64_t from) {
  return static_cast<const S*>(x.data) + row * x.batch_stride + t * x.time_stride + from;
}
template <class S>
inline S* at(const MutableSequence& x, int64_t row, int64_t t, int64_t from) {
  return static_cast<S*>(x.data) + row * x.batch_stride + t * x.time_stride + from;
}

inline bool resets(const Mask& mask, int64_t row, int64_t t) {
  return mask.reset && mask.reset[row * mask.reset_batch_stride + t * mask.reset_time_stride];
}
inline int64_t length(const Mask& mask, int64_t row, int64_t time) {
  if (!mask.lengths) return time;
  const int64_t asked = mask.lengths[row];
  return asked < 0 ? 0 : asked > time ? time : asked;
}

// Writes zeros from time `begin` to `end`.
template <class S>
inline void clear(const MutableSequence& x, int64_t row, int64_t begin, int64_t end, int64_t from,
                  int64_t width) {
  for (int64_t t = begin; t < end; t++) memset(at<S>(x, row, t, from), 0, width * sizeof(S));
}

// Asks for part of a row to come near, to be read or written by the time that another `rows_ahead`
// rows are done.
template <bool write = false, class S>
inline void prefetch(const S* row, int64_t width) {
#if defined(__GNUC__)
  constexpr int64_t line = 64 / sizeof(S);
  for (int64_t i = 0; i < width; i += line) __builtin_prefetch(row + i, write, 2);
#endif
}
// The processor's own prefetching follows whole rows, not a thread's share of each: with batch 1 and
// 512 channels on two threads a forward pass reached 0.6 of the memory's rate without, 0.9 with.
constexpr int64_t rows_ahead = 12;

// The time to prefetch at time t of a walk backwards, below zero where there is none. It lies in the
// block of times after the next, and goes up there while t goes down, because processors follow what
// ascends: with batch 1 and 512 channels 0.5 of the memory's rate without, 0.9 with.
constexpr int64_t block_behind = 4;
inline int64_t ahead_backwards(int64_t t) {
  const int64_t begin = t / block_behind * block_behind;
  return begin - block_behind - 1 - (t - begin);
}

// Calls visit(begin, width) along a row, in pieces, so that prefetches and streamed stores do not
// wait in line: whole rows of 512 numbers reached 0.8 of the rate of such pieces.
template <class Visit>
inline void for_bursts(int64_t width, Visit visit) {
  constexpr int64_t burst = 128;
  for (int64_t i = 0; i < width; i += burst) visit(i, width - i < burst ? width - i : burst);
}

// Channels a thread carries through time at once: the state stays in the nearest cache, and rows
// are read in runs long enough for the memory (64 channels reached 0.7 of its rate).
constexpr int64_t tile = 1024;

// Calls visit(row, from, width) for every tile of part `part` of batch x dim channels. The parts
// are equal but for a cache line; no result depends on where the cuts fall.
template <class Visit>
inline void for_tiles(int64_t batch, int64_t dim, int part, int parts, Visit visit) {
  constexpr int64_t line = 64;  // channels, so that even bfloat16 fills whole cache lines
  const int64_t channels = batch * dim;
  const int64_t lines = (channels + line - 1) / line;
  int64_t at = lines * part / parts * line;
  int64_t end = lines * (part + 1) / parts * line;
  if (end > channels) end = channels;
  while (at < end) {
    const int64_t row = at / dim, from = at % dim;
    int64_t width = dim - from;
    if (width > end - at) width = end - at;
    if (width > tile) width = tile;
    visit(row, from, width);
    at += width;
  }
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
