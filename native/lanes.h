// Numbers side by side in a register, and the functions that gates are made of.
//
// Included by kernels alone, inside the namespace of their level, which says how wide a register
// is. Everything is branch-free, and NaN stays NaN.
#pragma once

#include <stdint.h>
#include <string.h>

namespace statewise {
namespace STATEWISE_LEVEL {

#if defined(__AVX512F__)
constexpr int register_bytes = 64, register_count = 32;
#elif defined(__AVX__)
constexpr int register_bytes = 32, register_count = 16;
#else
constexpr int register_bytes = 16, register_count = 16;
#endif

template <class W>
struct LanesOf;
template <>
struct LanesOf<float> {
  typedef float Wide __attribute__((vector_size(register_bytes)));
  typedef int32_t Bits __attribute__((vector_size(register_bytes)));
};
template <>
struct LanesOf<double> {
  typedef double Wide __attribute__((vector_size(register_bytes)));
  typedef int64_t Bits __attribute__((vector_size(register_bytes)));
};
template <class W>
using Lanes = typename LanesOf<W>::Wide;
template <class W>
constexpr int64_t lane_count = register_bytes / sizeof(W);

template <class W>
inline Lanes<W> load(const W* from) {
  Lanes<W> x;
  memcpy(&x, from, sizeof x);
  return x;
}
template <class W>
inline void store(W* to, Lanes<W> x) {
  memcpy(to, &x, sizeof x);
}
// The same of the first `count` lanes; those beyond are zero.
template <class W>
inline Lanes<W> load(const W* from, int64_t count) {
  if (count == lane_count<W>) return load(from);
  Lanes<W> x{};
  for (int64_t i = 0; i < count; i++) x[i] = from[i];
  return x;
}
template <class W>
inline void store(W* to, Lanes<W> x, int64_t count) {
  if (count == lane_count<W>) return store(to, x);
  for (int64_t i = 0; i < count; i++) to[i] = x[i];
}

// x brought into [low, high]; the comparisons leave NaN as it is.
template <class W>
inline Lanes<W> clamp(Lanes<W> x, W low, W high) {
  x = x > high ? Lanes<W>{} + high : x;
  return x < low ? Lanes<W>{} + low : x;
}

// exp(x) = 2^n (1 + q) with n whole and |log(1 + q)| <= log(2) / 2; x at most where exp overflows.
template <class W>
struct Exponential {
  Lanes<W> scale, q;
};

inline Exponential<float> exponential(Lanes<float> x) {
  using Bits = LanesOf<float>::Bits;
  x = clamp<float>(x, -87, 88);
  // Adding 1.5 * 2^23 leaves the whole part in the lowest bits.
  const Lanes<float> magic = x * 1.44269504f + 12582912.0f;
  const Lanes<float> n = magic - 12582912.0f;
  const Lanes<float> r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  Lanes<float> q = r * 1.98412698e-4f + 1.38888889e-3f;
  q = q * r + 8.33333333e-3f;
  q = q * r + 4.16666667e-2f;
  q = q * r + 1.66666667e-1f;
  q = q * r + 0.5f;
  q = q * r * r + r;
  Bits bits;
  memcpy(&bits, &magic, sizeof bits);
  bits = (bits + 127) << 23;
  Lanes<float> scale;
  memcpy(&scale, &bits, sizeof bits);
  return {scale, q};
}

inline Exponential<double> exponential(Lanes<double> x) {
  using Bits = LanesOf<double>::Bits;
  x = clamp<double>(x, -708, 709);
  const Lanes<double> magic = x * 1.4426950408889634 + 6755399441055744.0;
  const Lanes<double> n = magic - 6755399441055744.0;
  const Lanes<double> r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  Lanes<double> q = r * (1 / 6227020800.0) + 1 / 479001600.0;
  q = q * r + 1 / 39916800.0;
  q = q * r + 1 / 3628800.0;
  q = q * r + 1 / 362880.0;
  q = q * r + 1 / 40320.0;
  q = q * r + 1 / 5040.0;
  q = q * r + 1 / 720.0;
  q = q * r + 1 / 120.0;
  q = q * r + 1 / 24.0;
  q = q * r + 1 / 6.0;
  q = q * r + 0.5;
  q = q * r * r + r;
  Bits bits;
  memcpy(&bits, &magic, sizeof bits);
  bits = (bits + 1023) << 52;
  Lanes<double> scale;
  memcpy(&scale, &bits, sizeof bits);
  return {scale, q};
}

template <class V>
struct WideOf;
template <>
struct WideOf<Lanes<float>> {
  using type = float;
  static constexpr float saturated = 9.2f;  // beyond, tanh is 1
};
template <>
struct WideOf<Lanes<double>> {
  using type = double;
  static constexpr double saturated = 20;
};

template <class V>
inline V exp(V x) {
  const auto e = exponential(x);
  return e.scale * e.q + e.scale;
}

template <class V>
inline V sigmoid(V x) {
  return 1 / (1 + exp(-x));
}

// From exp(2x) - 1, which keeps the digits of small x.
template <class V>
inline V tanh(V x) {
  constexpr auto edge = WideOf<V>::saturated;
  x = clamp<typename WideOf<V>::type>(x, -edge, edge);
  const auto e = exponential(x + x);
  const V m = e.scale * e.q + (e.scale - 1);
  return m / (m + 2);
}

// log(1 / (1 + exp(-x))), by  log(1 + y) = 2 artanh(y / (2 + y))  for y = exp(-|x|) in (0, 1].
template <class V>
inline V log_sigmoid(V x) {
  const V y = exp(x < 0 ? x : -x);
  const V z = y / (2 + y), z2 = z * z;
  constexpr int terms = sizeof(typename WideOf<V>::type) == 4 ? 8 : 17;
  V sum = V{} + static_cast<typename WideOf<V>::type>(1.0 / (2 * terms + 1));
  for (int i = terms - 1; i >= 0; i--)
    sum = sum * z2 + static_cast<typename WideOf<V>::type>(1.0 / (2 * i + 1));
  return (x < 0 ? x : V{}) - 2 * z * sum;
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
