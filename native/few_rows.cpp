#include "few_rows.h"

#include "vector.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

constexpr int64_t lanes = width<float>;

inline float sum(const Vector<float>& x) {
  const float* each = reinterpret_cast<const float*>(&x);
  float total = 0;
  for (int64_t i = 0; i < lanes; i++) total += each[i];
  return total;
}

// One row of the matrix times `rows` of x, which lie `x_row` apart; two sums of each hide how long
// an addition takes.
template <int rows>
inline void dot(const float* weight, const float* x, int64_t x_row, int64_t inner, float* to) {
  Vector<float> sums[rows][2] = {};
  int64_t k = 0;
  for (; k + 2 * lanes <= inner; k += 2 * lanes) {
    const Vector<float> first = load(weight + k), second = load(weight + k + lanes);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
      sums[r][0] += first * load(x + r * x_row + k);
      sums[r][1] += second * load(x + r * x_row + k + lanes);
    }
  }
  for (; k < inner; k += lanes) {
    const int64_t count = inner - k < lanes ? inner - k : lanes;
    const Vector<float> last = load(weight + k, count);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) sums[r][0] += last * load(x + r * x_row + k, count);
  }
  for (int r = 0; r < rows; r++) to[r] = sum(sums[r][0] + sums[r][1]);
}

// Terms whose sum fits 32 bits, 16 lanes of which take two each: 2^15 2^7 4096 / 16.
constexpr int64_t stretch = 4096;

// The same in integers; x is padded with zeros.
#if defined(__AVX512BW__)
constexpr int64_t bytes_at_once = 32;
struct Sum {
  __m512i lanes = _mm512_setzero_si512();
  inline void add(const int8_t* weight, const int16_t* x) {
    const __m512i wide = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i*)weight));
    lanes = _mm512_add_epi32(lanes, _mm512_madd_epi16(wide, _mm512_loadu_si512(x)));
  }
  inline float total() const { return sum((Vector<float>)_mm512_cvtepi32_ps(lanes)); }
};
#elif defined(__AVX2__)
constexpr int64_t bytes_at_once = 16;
struct Sum {
  __m256i lanes = _mm256_setzero_si256();
  inline void add(const int8_t* weight, const int16_t* x) {
    const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)weight));
    lanes = _mm256_add_epi32(lanes, _mm256_madd_epi16(wide, _mm256_loadu_si256((const __m256i*)x)));
  }
  inline float total() const { return sum((Vector<float>)_mm256_cvtepi32_ps(lanes)); }
};
#else
constexpr int64_t bytes_at_once = 16;
struct Sum {
  int64_t all = 0;
  inline void add(const int8_t* weight, const int16_t* x) {
    int32_t some = 0;
    for (int64_t i = 0; i < bytes_at_once; i++) some += static_cast<int32_t>(weight[i]) * x[i];
    all += some;
  }
  inline float total() const { return static_cast<float>(all); }
};
#endif

template <int rows>
inline void dot(const int8_t* weight, const int16_t* x, int64_t x_row, int64_t inner, float* to) {
  for (int r = 0; r < rows; r++) to[r] = 0;
  for (int64_t begin = 0; begin < inner; begin += stretch) {
    const int64_t end = inner - begin < stretch ? inner : begin + stretch;
    Sum sums[rows][2];
    int64_t k = begin;
    for (; k + 2 * bytes_at_once <= end; k += 2 * bytes_at_once)
#pragma GCC unroll 4
      for (int r = 0; r < rows; r++) {
        sums[r][0].add(weight + k, x + r * x_row + k);
        sums[r][1].add(weight + k + bytes_at_once, x + r * x_row + k + bytes_at_once);
      }
    for (; k < end; k += bytes_at_once) {
      int8_t last[bytes_at_once] = {};  // beyond the matrix nothing may be read
      memcpy(last, weight + k, end - k < bytes_at_once ? end - k : bytes_at_once);
#pragma GCC unroll 4
      for (int r = 0; r < rows; r++) sums[r][0].add(last, x + r * x_row + k);
    }
    for (int r = 0; r < rows; r++) to[r] += sums[r][0].total() + sums[r][1].total();
  }
}

template <class S, class X>
void dots(int64_t rows, const S* weight, const X* x, int64_t x_row, int64_t inner, float* to) {
  for (; rows >= 4; rows -= 4, x += 4 * x_row, to += 4) dot<4>(weight, x, x_row, inner, to);
  if (rows == 3) dot<3>(weight, x, x_row, inner, to);
  if (rows == 2) dot<2>(weight, x, x_row, inner, to);
  if (rows == 1) dot<1>(weight, x, x_row, inner, to);
}

}  // namespace

void few_rows(const FewRows& p, Share share) {
  const int64_t end = share.end(p.outputs);
  for (int64_t i = share.begin(p.outputs); i < end; i++) {
    float found[few_rows_most];
    const float* weight = static_cast<const float*>(p.weight) + i * p.weight_row;
    dots(p.rows, weight, p.x, p.x_row, p.inner, found);
    for (int64_t r = 0; r < p.rows; r++)
      p.y[r * p.y_row + i] = p.bias ? found[r] + p.bias[i] : found[r];
  }
}

void few_rows_round(const FewRows& p, Share share) {
  const int64_t padded = few_rows_padded(p.inner), end = share.end(p.rows);
  for (int64_t r = share.begin(p.rows); r < end; r++) {
    const float* x = p.x + r * p.x_row;
    int16_t* to = p.rounded + r * padded;
    float largest = 0, nothing = 0;  // the latter NaN where x is not finite
    for (int64_t k = 0; k < p.inner; k++) {
      const float size = x[k] < 0 ? -x[k] : x[k];
      largest = size > largest ? size : largest;
      nothing += x[k] * 0;
    }
    memset(to, 0, padded * sizeof(int16_t));
    p.unit[r] = largest / 32767 + nothing;
    if (nothing != 0 || largest < 1e-30f) {  // NaN, or as good as zero
      if (nothing == 0) p.unit[r] = 0;
      continue;
    }
    const float times = 32767 / largest;
    for (int64_t k = 0; k < p.inner; k++) {
      const float scaled = x[k] * times;
      to[k] = static_cast<int16_t>(static_cast<int32_t>(scaled + (scaled < 0 ? -0.5f : 0.5f)));
    }
  }
}

void few_rows_int8(const FewRows& p, Share share) {
  const int64_t padded = few_rows_padded(p.inner), end = share.end(p.outputs);
  for (int64_t i = share.begin(p.outputs); i < end; i++) {
    float found[few_rows_most];
    const int8_t* weight = static_cast<const int8_t*>(p.weight) + i * p.weight_row;
    dots(p.rows, weight, p.rounded, padded, p.inner, found);
    for (int64_t r = 0; r < p.rows; r++) {
      const float y = found[r] * (p.unit[r] * p.scale[i]);
      p.y[r * p.y_row + i] = p.bias ? y + p.bias[i] : y;
    }
  }
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
