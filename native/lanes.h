// Vectors whose lanes change places, and numbers of any storage read as vectors.
//
// Included by kernels alone, as vector.h is. Where the compiler has no vectors a vector has one
// lane, which stays where it is.
#pragma once

#include <utility>

#include "vector.h"

namespace statewise {
namespace STATEWISE_LEVEL {

template <class W>
constexpr int lanes = width<W>;

#if defined(__GNUC__)
inline Vector<float> load(const bfloat16* from) {
  typedef uint16_t halves __attribute__((vector_size(vector_bytes / 2)));
  typedef uint32_t words __attribute__((vector_size(vector_bytes)));
  halves stored;
  memcpy(&stored, from, sizeof stored);
  return reinterpret_cast<Vector<float>>(__builtin_convertvector(stored, words) << 16);
}
inline void store(bfloat16* to, Vector<float> x) {
  typedef uint16_t halves __attribute__((vector_size(vector_bytes / 2)));
  typedef uint32_t words __attribute__((vector_size(vector_bytes)));
  const words bits = reinterpret_cast<words>(x);
  const words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;  // as `narrow` does
  const words nan = reinterpret_cast<words>(x != x);
  const halves stored = __builtin_convertvector((nan & 0x7fc0) | (~nan & rounded), halves);
  memcpy(to, &stored, sizeof stored);
}
#else
inline float load(const bfloat16* from) { return widen(*from); }
inline void store(bfloat16* to, float x) { *to = narrow<bfloat16>(x); }
#endif

// Writes a vector around the caches, at an address that is a multiple of its size; a thread that has
// done so ends with `end_stream`.
#if defined(__AVX512F__)
template <class S>
constexpr bool streamable = true;
inline void store_around(float* to, Vector<float> x) { _mm512_stream_ps(to, x); }
inline void store_around(double* to, Vector<double> x) { _mm512_stream_pd(to, x); }
inline void store_around(bfloat16* to, Vector<float> x) {
  alignas(32) bfloat16 stored[lanes<float>];
  store(stored, x);
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to),
                      _mm256_load_si256(reinterpret_cast<const __m256i*>(stored)));
}
#else
template <class S>
constexpr bool streamable = false;
template <class S, class V>
inline void store_around(S* to, V x) {
  store(to, x);
}
#endif

// The lanes of a and b (counted on from a's last) that Index::at names, one for each lane.
template <class Index, class V, size_t... lane>
inline V pick(V a, V b, std::index_sequence<lane...>) {
#if defined(__GNUC__)
  return __builtin_shufflevector(a, b, Index::at(lane)...);
#else
  return Index::at(0) == 0 ? a : b;
#endif
}
template <class Index, class W>
inline Vector<W> pick(Vector<W> a, Vector<W> b) {
  return pick<Index>(a, b, std::make_index_sequence<lanes<W>>());
}

// Calls body with 0, 1, ..., count - 1 as constants.
template <class Body, int64_t... k>
inline void unrolled(Body body, std::integer_sequence<int64_t, k...>) {
  (body(Constant<k>()), ...);
}
template <int count, class Body>
inline void unrolled(Body body) {
  unrolled(body, std::make_integer_sequence<int64_t, count>());
}

// Of a sequence of chunks of lanes, the even or odd ones; a chunk divides a vector.
template <int chunk, int odd>
struct Alternate {
  static constexpr int at(int lane) { return lane / chunk * 2 * chunk + odd * chunk + lane % chunk; }
};

// Adds neighbouring chunks of a sequence of `count` vectors, in place: half as many remain, in
// order. A product's sums over one index are a few of these.
template <int chunk, int count, class W>
inline void add_neighbours(Vector<W>* x) {
  if constexpr (chunk < lanes<W>) {
    unrolled<count / 2>([=](auto k) {
      const Vector<W> a = x[2 * k], b = x[2 * k + 1];
      x[k] = pick<Alternate<chunk, 0>, W>(a, b) + pick<Alternate<chunk, 1>, W>(a, b);
    });
  } else {
    constexpr int vectors = chunk / lanes<W>;
    unrolled<count / 2>([=](auto k) {
      constexpr int64_t first = k / vectors * 2 * vectors + k % vectors;
      x[k] = x[first] + x[first + vectors];
    });
  }
}

// The sums over `terms` chunks each, by halving.
template <int chunk, int terms, int count, class W>
inline void add_chunks(Vector<W>* x) {
  if constexpr (terms > 1) {
    add_neighbours<chunk, count, W>(x);
    add_chunks<chunk, terms / 2, count / 2, W>(x);
  }
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
