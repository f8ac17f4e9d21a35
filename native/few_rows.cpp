#include "few_rows.h"

#include "kernel.h"
#include "lanes.h"
#include "share.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

constexpr int64_t all_lanes = lanes<float>;

// The sums of every row and of as many outputs as a vector has lanes, whose own lanes are yet to be
// added up: that is done for these outputs together. One by one it took longer than the products of
// 768 bytes, which a thread then read at 16 GB/s, and now at 22.
using Sums = Vector<float>[few_rows_most][all_lanes];

// One row of the matrix times `rows` of x, which lie `x_row` apart; two sums of each hide how long
// an addition takes.
template <int rows>
inline void dot(const float* weight, const float* x, int64_t x_row, int64_t inner, Sums& to,
                int64_t row, int64_t output) {
  Vector<float> sums[rows][2] = {};
  int64_t k = 0;
  for (; k + 2 * all_lanes <= inner; k += 2 * all_lanes) {
    const Vector<float> first = load(weight + k), second = load(weight + k + all_lanes);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
      sums[r][0] += first * load(x + r * x_row + k);
      sums[r][1] += second * load(x + r * x_row + k + all_lanes);
    }
  }
  for (; k < inner; k += all_lanes) {
    const int64_t count = inner - k < all_lanes ? inner - k : all_lanes;
    const Vector<float> last = load(weight + k, count);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) sums[r][0] += last * load(x + r * x_row + k, count);
  }
  for (int r = 0; r < rows; r++) to[row + r][output] = sums[r][0] + sums[r][1];
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
  inline Vector<float> wide() const { return (Vector<float>)_mm512_cvtepi32_ps(lanes); }
};
#elif defined(__AVX2__)
constexpr int64_t bytes_at_once = 16;
struct Sum {
  __m256i lanes = _mm256_setzero_si256();
  inline void add(const int8_t* weight, const int16_t* x) {
    const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)weight));
    lanes = _mm256_add_epi32(lanes, _mm256_madd_epi16(wide, _mm256_loadu_si256((const __m256i*)x)));
  }
  inline Vector<float> wide() const { return (Vector<float>)_mm256_cvtepi32_ps(lanes); }
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
  inline Vector<float> wide() const {
    const float number = static_cast<float>(all);
    return load(&number, 1);
  }
};
#endif

template <int rows>
inline void dot(const int8_t* weight, const int16_t* x, int64_t x_row, int64_t inner, Sums& to,
                int64_t row, int64_t output) {
  for (int r = 0; r < rows; r++) to[row + r][output] = Vector<float>{};
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
    for (int r = 0; r < rows; r++) to[row + r][output] += sums[r][0].wide() + sums[r][1].wide();
  }
}

// Computes a share of the outputs, of all rows. finish(row, output, count, sums) returns what is to
// be written of some that lie side by side, but for the bias.
template <class S, class X, class Finish>
inline void products(const FewRows& p, Share share, const X* x, int64_t x_row, Finish finish) {
  const int64_t end = share.end(p.outputs);
  for (int64_t i = share.begin(p.outputs); i < end; i += all_lanes) {
    const int64_t count = end - i < all_lanes ? end - i : all_lanes;
    Sums sums;
    for (int64_t j = 0; j < count; j++) {
      const S* weight = static_cast<const S*>(p.weight) + (i + j) * p.weight_row;
      int64_t row = 0;
      for (; p.rows - row >= 4; row += 4)
        dot<4>(weight, x + row * x_row, x_row, p.inner, sums, row, j);
      const X* rest = x + row * x_row;
      if (p.rows - row == 3) dot<3>(weight, rest, x_row, p.inner, sums, row, j);
      if (p.rows - row == 2) dot<2>(weight, rest, x_row, p.inner, sums, row, j);
      if (p.rows - row == 1) dot<1>(weight, rest, x_row, p.inner, sums, row, j);
    }
    for (int64_t r = 0; r < p.rows; r++) {
      for (int64_t j = count; j < all_lanes; j++) sums[r][j] = Vector<float>{};
      add_chunks<1, lanes<float>, lanes<float>, float>(sums[r]);
      const Vector<float> y = finish(r, i, count, sums[r][0]);
      store(p.y + r * p.y_row + i, p.bias ? y + load(p.bias + i, count) : y, count);
    }
  }
}

}  // namespace

void few_rows(const FewRows& p, Share share) {
  products<float>(p, share, p.x, p.x_row,
                  [](int64_t, int64_t, int64_t, Vector<float> found) { return found; });
}

void few_rows_round(const FewRows& p, Share share) {
  const int64_t padded = few_rows_padded(p.inner), end = share.end(p.rows);
  for (int64_t r = share.begin(p.rows); r < end; r++) {
    const float* x = p.x + r * p.x_row;
    int16_t* to = p.rounded + r * padded;
    Vector<float> sizes = {}, nothings = {};  // the latter NaN where x is not finite
    for_vectors(p.inner, [&](int64_t k, int64_t count) {
      const Vector<float> some = load(x + k, count);
      sizes = larger(absolute(some), sizes);
      nothings += some * 0;
    });
    float each[2][all_lanes], largest = 0, nothing = 0;
    store(each[0], sizes), store(each[1], nothings);
    for (int64_t i = 0; i < all_lanes; i++) {
      largest = each[0][i] > largest ? each[0][i] : largest;
      nothing += each[1][i];
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
  products<int8_t>(p, share, p.rounded, few_rows_padded(p.inner),
                   [&](int64_t row, int64_t output, int64_t count, Vector<float> found) {
                     return found * (p.unit[row] * load(p.scale + output, count));
                   });
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
