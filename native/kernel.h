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

// Numbers in a line of the cache.
template <class S>
constexpr int64_t line = 64 / sizeof(S);

// Writes a line around the caches, for tensors that the caches could not hold anyway: an ordinary
// store would first read what it overwrites.
inline void stream(void* to, const void* from) {
#if !defined(STATEWISE_X86)
  memcpy(to, from, 64);
#elif defined(__AVX512F__)
  _mm512_stream_si512(static_cast<__m512i*>(to), _mm512_load_si512(from));
#elif defined(__AVX__)
  for (int i = 0; i < 2; i++)
    _mm256_stream_si256(static_cast<__m256i*>(to) + i,
                        _mm256_load_si256(static_cast<const __m256i*>(from) + i));
#else
  for (int i = 0; i < 4; i++)
    _mm_stream_si128(static_cast<__m128i*>(to) + i,
                     _mm_load_si128(static_cast<const __m128i*>(from) + i));
#endif
}

// To be called when a thread has written its last line with `stream`.
inline void end_stream() {
#ifdef STATEWISE_X86
  _mm_sfence();
#endif
}

template <class S>
inline S* at(const MutableSequence& x, int64_t row, int64_t t, int64_t from) {
  return static_cast<S*>(x.data) + row * x.batch_stride + t * x.time_stride + from;
}

// Part of one row of a batch, at one time after another. Adding a stride a time is measurably
// cheaper than multiplying it: a twentieth of a backward pass over narrow rows.
template <class S>
struct Walk {
  S* at;
  int64_t stride;
  S* later(int64_t times) const { return at + times * stride; }
  S* earlier(int64_t times) const { return at - times * stride; }
  void next() { at += stride; }
  void previous() { at -= stride; }
};
template <class S>
inline Walk<const S> walk(const Sequence& x, int64_t row, int64_t t, int64_t from) {
  const S* data = static_cast<const S*>(x.data);
  return {data + row * x.batch_stride + t * x.time_stride + from, x.time_stride};
}
template <class S>
inline Walk<S> walk(const MutableSequence& x, int64_t row, int64_t t, int64_t from) {
  return {at<S>(x, row, t, from), x.time_stride};
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

// Whether every row begins with a line of the cache, as `stream` needs.
template <class S>
inline bool lines_whole(const MutableSequence& x) {
  return reinterpret_cast<uintptr_t>(x.data) % 64 == 0 && x.batch_stride % line<S> == 0 &&
         x.time_stride % line<S> == 0;
}

// A number known when compiling, so that loops over it become straight lines.
template <int64_t n>
struct Constant {
  constexpr operator int64_t() const { return n; }
};

// Calls visit(begin, count) for every line of a row, from the first to the last.
template <class S, class Visit>
inline void for_lines(int64_t width, Visit visit) {
  int64_t i = 0;
  for (; i + line<S> <= width; i += line<S>) visit(i, Constant<line<S>>());
  if (i < width) visit(i, width - i);
}

// The same from the last to the first. A walk backwards in time should descend within a row too:
// processors follow what goes down evenly as well as what goes up, and rows that ascend while time
// descends reached two thirds of the rate.
template <class S, class Visit>
inline void for_lines_down(int64_t width, Visit visit) {
  int64_t i = width / line<S> * line<S>;
  if (i < width) visit(i, width - i);
  while ((i -= line<S>) >= 0) visit(i, Constant<line<S>>());
}

// Stores what was computed for a line, around the caches where `around`.
template <bool around, class S, class Count>
inline void put(S* to, const S* from, Count count) {
  if (around && count == line<S>)
    stream(to, from);
  else
    memcpy(to, from, count * sizeof(S));
}

// Rows between a number and the one to prefetch, where a thread has only a share of every row: the
// processor's own prefetching follows whole rows. With batch 1 and 512 channels on two threads a
// forward pass reached 0.6 of the rate without.
constexpr int64_t rows_ahead = 4;

template <class S>
inline void prefetch(const S* at) {
#if defined(__GNUC__)
  __builtin_prefetch(at, 0, 2);
#endif
}

// Channels a thread carries through time at once: the state stays in the nearest cache, and rows
// are read in runs long enough for the memory (64 channels reached 0.7 of its rate).
constexpr int64_t tile = 1024;

// Calls visit(row, from, width) for every tile of a share of batch x dim channels. Shares are
// equal but for a cache line; no result depends on where the cuts fall.
template <class Visit>
inline void for_tiles(int64_t batch, int64_t dim, Share share, Visit visit) {
  constexpr int64_t line = 64;  // channels, so that even bfloat16 fills whole cache lines
  const int64_t channels = batch * dim;
  const int64_t lines = (channels + line - 1) / line;
  int64_t at = share.begin(lines) * line;
  int64_t end = share.end(lines) * line;
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
