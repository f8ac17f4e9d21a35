// Vectors of the level's width, and two to a power in them.
//
// Included by kernels alone, inside the namespace of their level, like kernel.h.
#pragma once

#include "kernel.h"

namespace statewise {
namespace STATEWISE_LEVEL {

#if defined(__AVX512F__)
constexpr int64_t lane_bytes = 64;
#elif defined(__AVX__)
constexpr int64_t lane_bytes = 32;
#else
constexpr int64_t lane_bytes = 16;
#endif

template <class W>
struct LanesOf;
template <>
struct LanesOf<float> {
  typedef float Vector __attribute__((vector_size(lane_bytes)));
  typedef float Anywhere __attribute__((vector_size(lane_bytes), aligned(4), may_alias));
  typedef int32_t Bits __attribute__((vector_size(lane_bytes)));
};
template <>
struct LanesOf<double> {
  typedef double Vector __attribute__((vector_size(lane_bytes)));
  typedef double Anywhere __attribute__((vector_size(lane_bytes), aligned(8), may_alias));
  typedef int64_t Bits __attribute__((vector_size(lane_bytes)));
};
template <class W>
using Vector = typename LanesOf<W>::Vector;
template <class W>
constexpr int64_t lanes = lane_bytes / static_cast<int64_t>(sizeof(W));

template <class W>
inline Vector<W> load(const W* from) {
  return *reinterpret_cast<const typename LanesOf<W>::Anywhere*>(from);
}
template <class W>
inline void store(W* to, Vector<W> x) {
  *reinterpret_cast<typename LanesOf<W>::Anywhere*>(to) = x;
}

// The first `count` lanes; the others are zero, or are left alone.
template <class W>
inline Vector<W> load(const W* from, int64_t count) {
  if (count >= lanes<W>) return load(from);
  alignas(64) W all[lanes<W>] = {};
  memcpy(all, from, count * sizeof(W));
  return load(all);
}
template <class W>
inline void store(W* to, Vector<W> x, int64_t count) {
  if (count >= lanes<W>) return store(to, x);
  alignas(64) W all[lanes<W>];
  store(all, x);
  memcpy(to, all, count * sizeof(W));
}

template <class W>
inline W sum(Vector<W> x) {
  alignas(64) W all[lanes<W>];
  store(all, x);
  for (int64_t half = lanes<W> / 2; half > 0; half /= 2)
    for (int64_t i = 0; i < half; i++) all[i] += all[i + half];
  return all[0];
}

// Polynomials for 2^r between -1/2 and 1/2, exactly 1 at 0, so that a state without decay is kept:
// relative errors 9.2e-8 and 2e-16 beside rounding.
constexpr float power_of_two(float) { return 12582912.0F; }  // 1.5 * 2^23: adding it rounds
constexpr double power_of_two(double) { return 6755399441055744.0; }  // 1.5 * 2^52
template <class V>
inline V near_one(V r, float) {
  V y = r * 0.001326472604196969F + 0.009671512722139359F;
  y = y * r + 0.055507337470922596F;
  y = y * r + 0.240222420835769F;
  y = y * r + 0.6931469775964916F;
  return y * r + 1.0F;
}
template <class V>
inline V near_one(V r, double) {
  V y = r * 5.159971906134805e-10 + 7.0659003038788665e-09;
  y = y * r + 1.017325807776883e-07;
  y = y * r + 1.3215485433343277e-06;
  y = y * r + 1.525274556762532e-05;
  y = y * r + 0.00015403530345694041;
  y = y * r + 0.001333355813409997;
  y = y * r + 0.009618129107695252;
  y = y * r + 0.05550410866487372;
  y = y * r + 0.2402265069590985;
  y = y * r + 0.6931471805599443;
  return y * r + 1.0;
}

// 2^p, to one unit in the last place and the rounding of p; 0 or infinity beyond the range.
inline Vector<float> exp2(Vector<float> p) {
#if defined(__AVX512F__)
  const __m512 whole = _mm512_roundscale_ps(reinterpret_cast<__m512>(p), 8);
  const Vector<float> y = near_one(p - reinterpret_cast<Vector<float>>(whole), 0.0F);
  return reinterpret_cast<Vector<float>>(
      _mm512_scalef_ps(reinterpret_cast<__m512>(y), whole));
#else
  using Bits = LanesOf<float>::Bits;
  const Vector<float> magic = Vector<float>{} + power_of_two(0.0F);
  p = p < -127.0F ? Vector<float>{} - 127.0F : p;  // a NaN stays
  p = p > 128.0F ? Vector<float>{} + 128.0F : p;
  const Vector<float> shifted = p + magic;
  const Bits exponent = reinterpret_cast<Bits>(shifted) - reinterpret_cast<Bits>(magic) + 127;
  return near_one(p - (shifted - magic), 0.0F) * reinterpret_cast<Vector<float>>(exponent << 23);
#endif
}
inline Vector<double> exp2(Vector<double> p) {
#if defined(__AVX512F__)
  const __m512d whole = _mm512_roundscale_pd(reinterpret_cast<__m512d>(p), 8);
  const Vector<double> y = near_one(p - reinterpret_cast<Vector<double>>(whole), 0.0);
  return reinterpret_cast<Vector<double>>(
      _mm512_scalef_pd(reinterpret_cast<__m512d>(y), whole));
#else
  using Bits = LanesOf<double>::Bits;
  const Vector<double> magic = Vector<double>{} + power_of_two(0.0);
  p = p < -1023.0 ? Vector<double>{} - 1023.0 : p;
  p = p > 1024.0 ? Vector<double>{} + 1024.0 : p;
  const Vector<double> shifted = p + magic;
  const Bits exponent = reinterpret_cast<Bits>(shifted) - reinterpret_cast<Bits>(magic) + 1023;
  return near_one(p - (shifted - magic), 0.0) * reinterpret_cast<Vector<double>>(exponent << 52);
#endif
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
