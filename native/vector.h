// The functions of gates, without branches, so that loops over them become vector instructions.
//
// Each works on a number or on a vector of them (`Vector<float>`, of the width of the level), and is
// accurate to a few units in the last place over the whole range: NaN stays NaN, infinities have
// their limits; results too small for a normal number become zero. Polynomials are near-minimax
// fits; the error of each, relative to the function, is beside it. The compiler may round a number
// otherwise than a vector's part: what is a vector for one number of threads must be one for all.
//
// Included by kernels alone, inside the namespace of their level, as kernel.h is.
#pragma once

#include <math.h>

#include "kernel.h"

namespace statewise {
namespace STATEWISE_LEVEL {

// Bytes in a vector register, and registers, of the level.
#if defined(__AVX512F__)
constexpr int64_t vector_bytes = 64, vector_registers = 32;
#elif defined(__AVX__)
constexpr int64_t vector_bytes = 32, vector_registers = 16;
#elif defined(__aarch64__)
constexpr int64_t vector_bytes = 16, vector_registers = 32;
#else
constexpr int64_t vector_bytes = 16, vector_registers = 16;
#endif

// Vector<T> is a register full of numbers, width<T> of them; where the compiler has no such types,
// it is one number.
template <class T>
struct VectorOf;
#if defined(__GNUC__)
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(vector_bytes)));
  typedef int32_t bits __attribute__((vector_size(vector_bytes)));
  typedef uint32_t unsigned_bits __attribute__((vector_size(vector_bytes)));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(vector_bytes)));
  typedef int64_t bits __attribute__((vector_size(vector_bytes)));
  typedef uint64_t unsigned_bits __attribute__((vector_size(vector_bytes)));
};
#else
template <>
struct VectorOf<float> {
  using type = float;
};
template <>
struct VectorOf<double> {
  using type = double;
};
#endif
template <class T>
using Vector = typename VectorOf<T>::type;
template <class T>
constexpr int64_t width = sizeof(Vector<T>) / sizeof(T);

template <class T>
inline Vector<T> load(const T* from) {
  Vector<T> x;
  memcpy(&x, from, sizeof x);
  return x;
}
template <class T>
inline void store(T* to, Vector<T> x) {
  memcpy(to, &x, sizeof x);
}
// The first `count` numbers, and zeros.
template <class T>
inline Vector<T> load(const T* from, int64_t count) {
  Vector<T> x = {};
  memcpy(&x, from, count * sizeof(T));
  return x;
}
template <class T>
inline void store(T* to, Vector<T> x, int64_t count) {
  memcpy(to, &x, count * sizeof(T));
}
#if defined(__AVX512F__)
template <>
inline Vector<float> load<float>(const float* from, int64_t count) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
}
template <>
inline Vector<double> load<double>(const double* from, int64_t count) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), from);
}
template <>
inline void store<float>(float* to, Vector<float> x, int64_t count) {
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), x);
}
template <>
inline void store<double>(double* to, Vector<double> x, int64_t count) {
  _mm512_mask_storeu_pd(to, static_cast<__mmask8>((1u << count) - 1), x);
}
#endif

// What a number or a vector is made of, and the integers of its bits.
template <class V>
struct Parts;
template <>
struct Parts<float> {
  using number = float;
  using bits = int32_t;
  using unsigned_bits = uint32_t;
};
template <>
struct Parts<double> {
  using number = double;
  using bits = int64_t;
  using unsigned_bits = uint64_t;
};
#if defined(__GNUC__)
template <>
struct Parts<Vector<float>> {
  using number = float;
  using bits = VectorOf<float>::bits;
  using unsigned_bits = VectorOf<float>::unsigned_bits;
};
template <>
struct Parts<Vector<double>> {
  using number = double;
  using bits = VectorOf<double>::bits;
  using unsigned_bits = VectorOf<double>::unsigned_bits;
};
#endif

template <class V>
inline typename Parts<V>::bits bits_of(V x) {
  typename Parts<V>::bits bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
template <class V>
inline V number_of(typename Parts<V>::bits bits) {
  V x;
  memcpy(&x, &bits, sizeof x);
  return x;
}
template <class V>
inline V all(typename Parts<V>::number x) {
  return V{} + x;
}
template <class V>
inline V larger(V a, V b) {  // b where either is NaN
  return a > b ? a : b;
}
template <class V>
inline V absolute(V x) {
  using bits = typename Parts<V>::bits;
  const auto sign = bits{} + (decltype(bits_of(typename Parts<V>::number())))
                                 ((uint64_t(1) << (8 * sizeof(typename Parts<V>::number) - 1)) - 1);
  return number_of<V>(bits_of(x) & sign);
}

template <class T>
struct Numbers;
template <>
struct Numbers<float> {
  static constexpr float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer in the bits
  static constexpr int mantissa = 23;
  static constexpr int32_t mantissa_mask = 0x007fffff;
  static constexpr uint32_t one = 0x3f800000;
  static constexpr float ln2_high = 0.693145752f, ln2_low = 1.42860677e-6f;  // 17 bits, the rest
  static constexpr float largest = 89.0f, smallest = -87.3f;  // of exp's argument
  static constexpr float saturated = 10.0f;                   // from where tanh is one
  static constexpr float tiny = 1.17549435e-38f, lift = 8388608.0f;  // 2^23
  static constexpr float expm1[] = {1.00000001083641561, 0.500000001353872989,   // 4e-9
                                    0.166665046130326106, 0.0416664641974056923,
                                    0.00836922029180360742, 0.00139337307157920825};
  static constexpr float log[] = {1.99999999862891648, 0.666668155345130772,  // 7e-10
                                  0.399748282465049908, 0.299249963359260833};
  static constexpr float log1p[] = {2.00000000768175888, 0.666663216413777732,  // 4e-9
                                    0.400245952307037479, 0.279651577451972689,
                                    0.281577783631090807};
};
template <>
struct Numbers<double> {
  static constexpr double round = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr int mantissa = 52;
  static constexpr int64_t mantissa_mask = 0x000fffffffffffff;
  static constexpr uint64_t one = 0x3ff0000000000000;
  static constexpr double ln2_high = 0.693147180369123816490,  // 32 bits, the rest
      ln2_low = 1.90821492927058770002e-10;
  static constexpr double largest = 710.0, smallest = -708.3;
  static constexpr double saturated = 20.0;
  static constexpr double tiny = 2.2250738585072014e-308, lift = 4503599627370496.0;  // 2^52
  static constexpr double expm1[] = {1.0,  // 6e-18
                                     0.500000000000000567,
                                     0.16666666666666671,
                                     0.0416666666665723915,
                                     0.00833333333332608312,
                                     0.00138888889327510003,
                                     0.000198412698750022788,
                                     0.0000248015040144269051,
                                     2.75572551700008874e-6,
                                     2.76264955464321963e-7,
                                     2.51053127296221018e-8};
  static constexpr double log[] = {2.0,  // 2e-18
                                   0.666666666666676487,
                                   0.399999999993004911,
                                   0.285714287610603186,
                                   0.222221970120019599,
                                   0.181836341123087511,
                                   0.153124630295741485,
                                   0.148103912163146002};
  static constexpr double log1p[] = {2.0,  // 2e-18
                                     0.666666666666661496,
                                     0.400000000001857475,
                                     0.285714285454541145,
                                     0.222222240807476732,
                                     0.181817408325048045,
                                     0.153866140423040078,
                                     0.133003740326746243,
                                     0.121101687280692177,
                                     0.0832450651186082058,
                                     0.170441635627813981};
};
template <class V>
using NumbersOf = Numbers<typename Parts<V>::number>;

// The number whose exponent has the bits `power`, and `to` added to all bits. Negative integers may
// be shifted as unsigned ones alone, and those that come of NaN would overflow.
template <class V>
inline V number_with(typename Parts<V>::bits power, decltype(NumbersOf<V>::one) to) {
  typename Parts<V>::unsigned_bits bits;
  memcpy(&bits, &power, sizeof bits);
  bits = (bits << NumbersOf<V>::mantissa) + to;
  V x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

// Horner's rule, the constant term first in the table.
template <class V, class T, size_t n>
inline V polynomial(const T (&terms)[n], V x) {
  V sum = all<V>(terms[n - 1]);
  for (int i = static_cast<int>(n) - 2; i >= 0; i--) sum = sum * x + terms[i];
  return sum;
}

// exp(x) = scale * (1 + rest) * 2, with scale a power of two. x must be within exp's range.
template <class V>
inline void exp_parts(V x, V& scale, V& rest) {
  using N = NumbersOf<V>;
  const typename Parts<V>::number log2_e = 1.4426950408889634;
  const V shifted = x * log2_e + N::round;
  const V n = shifted - N::round;
  const V r = (x - n * N::ln2_high) - n * N::ln2_low;
  rest = r * polynomial(N::expm1, r);
  // Half the power: 2^128 is no float, but 2^127 is, and so are the results beside it.
  const auto power = bits_of(shifted) - bits_of(all<V>(N::round)) - 1;
  scale = number_with<V>(power, N::one);
}

template <class V>
inline V exp(V x) {
  using N = NumbersOf<V>;
  V scale, rest, within = x > N::largest ? all<V>(N::largest) : x;
  within = within < N::smallest ? all<V>(N::smallest) : within;
  exp_parts(within, scale, rest);
  const V result = (scale + scale * rest) * 2;
  return x < N::smallest ? V{} : result;
}

// exp(x) - 1, without cancellation for small x; for x >= 0 that exp can take.
template <class V>
inline V expm1_positive(V x) {
  V scale, rest;
  exp_parts(x, scale, rest);
  return scale * rest * 2 + (scale * 2 - 1);
}

template <class V>
inline V tanh(V x) {
  using N = NumbersOf<V>;
  V size = absolute(x);
  size = size > N::saturated ? all<V>(N::saturated) : size;
  const V grown = expm1_positive(size * 2);
  const V result = grown / (grown + 2);
  return x < 0 ? -result : result;
}

template <class V>
inline V sigmoid(V x) {
  return 1 / (1 + exp(-x));
}

// log(1 + x) for x in [0, 1].
template <class V>
inline V log1p_unit(V x) {
  const V z = x / (x + 2);
  return z * polynomial(NumbersOf<V>::log1p, z * z);
}

// log(1 + exp(x)).
template <class V>
inline V softplus(V x) {
  return (x < 0 ? V{} : x) + log1p_unit(exp(-absolute(x)));
}

template <class V>
inline V log_sigmoid(V x) {
  return -softplus(-x);
}

template <class V>
inline V square_root(V x) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64 && sizeof(x[0]) == 4) return (V)_mm512_sqrt_ps((__m512)x);
  else if constexpr (sizeof(V) == 64) return (V)_mm512_sqrt_pd((__m512d)x);
#endif
  typename Parts<V>::number each[sizeof(V) / sizeof(typename Parts<V>::number)];
  memcpy(each, &x, sizeof x);
  for (auto& number : each) number = sizeof number == 4 ? sqrtf(number) : ::sqrt(number);
  memcpy(&x, each, sizeof x);
  return x;
}

template <class V>
inline V log(V x) {
  using N = NumbersOf<V>;
  using T = typename Parts<V>::number;
  const auto small = x < N::tiny;
  const V normal = small ? x * N::lift : x;
  // Centred on one: numbers from sqrt(1/2) to sqrt(2) have the exponent zero.
  const auto offset = bits_of(all<V>(T(0.70710678118654752440)));
  const auto bits = bits_of(normal) - offset;
  const auto power = bits >> N::mantissa;
  const V m = number_of<V>((bits & N::mantissa_mask) + offset);
  // An integer in the low bits of `round` is a number without a conversion, which AVX2 lacks.
  V n = number_of<V>(power + bits_of(all<V>(N::round))) - N::round;
  n = small ? n - T(N::mantissa) : n;
  const V z = (m - 1) / (m + 1);
  V result = n * N::ln2_high + (z * polynomial(N::log, z * z) + n * N::ln2_low);
  const V infinite = all<V>(T(INFINITY));
  result = x == infinite ? x : result;
  result = x == 0 ? -infinite : result;
  return x >= 0 ? result : (x - x) / (x - x);
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
