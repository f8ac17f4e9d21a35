// Complex numbers as kernels see them: pairs (real, imaginary), side by side in vectors.
//
// Included by kernels alone, as vector.h is. STATEWISE_PAIRS says whether the level has the vectors.
#pragma once

#include "vector.h"

namespace statewise {
namespace STATEWISE_LEVEL {

#if defined(__AVX__)
// Registers of pairs (real, imaginary). The compiler finds these instructions in a plain loop too,
// but in registers of half the width, at a third of the speed.
#define STATEWISE_PAIRS 1
#if defined(__AVX512F__)
inline Vector<float> reals(Vector<float> x) { return _mm512_moveldup_ps(x); }
inline Vector<float> imaginaries(Vector<float> x) { return _mm512_movehdup_ps(x); }
inline Vector<float> swapped(Vector<float> x) { return _mm512_permute_ps(x, 0xb1); }
inline Vector<double> reals(Vector<double> x) { return _mm512_movedup_pd(x); }
inline Vector<double> imaginaries(Vector<double> x) { return _mm512_permute_pd(x, 0xff); }
inline Vector<double> swapped(Vector<double> x) { return _mm512_permute_pd(x, 0x55); }
// a * b - c for the first of a pair and a * b + c for the second, and the other way round.
inline Vector<float> minus_plus(Vector<float> a, Vector<float> b, Vector<float> c) {
  return _mm512_fmaddsub_ps(a, b, c);
}
inline Vector<double> minus_plus(Vector<double> a, Vector<double> b, Vector<double> c) {
  return _mm512_fmaddsub_pd(a, b, c);
}
inline Vector<float> plus_minus(Vector<float> a, Vector<float> b, Vector<float> c) {
  return _mm512_fmsubadd_ps(a, b, c);
}
inline Vector<double> plus_minus(Vector<double> a, Vector<double> b, Vector<double> c) {
  return _mm512_fmsubadd_pd(a, b, c);
}
#else
inline Vector<float> reals(Vector<float> x) { return _mm256_moveldup_ps(x); }
inline Vector<float> imaginaries(Vector<float> x) { return _mm256_movehdup_ps(x); }
inline Vector<float> swapped(Vector<float> x) { return _mm256_permute_ps(x, 0xb1); }
inline Vector<double> reals(Vector<double> x) { return _mm256_movedup_pd(x); }
inline Vector<double> imaginaries(Vector<double> x) { return _mm256_permute_pd(x, 0xf); }
inline Vector<double> swapped(Vector<double> x) { return _mm256_permute_pd(x, 0x5); }
inline Vector<float> minus_plus(Vector<float> a, Vector<float> b, Vector<float> c) {
  return _mm256_fmaddsub_ps(a, b, c);
}
inline Vector<double> minus_plus(Vector<double> a, Vector<double> b, Vector<double> c) {
  return _mm256_fmaddsub_pd(a, b, c);
}
inline Vector<float> plus_minus(Vector<float> a, Vector<float> b, Vector<float> c) {
  return _mm256_fmsubadd_ps(a, b, c);
}
inline Vector<double> plus_minus(Vector<double> a, Vector<double> b, Vector<double> c) {
  return _mm256_fmsubadd_pd(a, b, c);
}
#endif
// x times a, and x times the conjugate of a.
template <class V>
inline V times(V a, V x) {
  return minus_plus(reals(a), x, imaginaries(a) * swapped(x));
}
template <class V>
inline V times_conjugate(V a, V x) {
  return plus_minus(reals(a), x, imaginaries(a) * swapped(x));
}
#endif

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
