// Products of small matrices that lie in a cache: the inside of chunkwise forms and of cells.
//
// Every element of a result is one sum, in the order of the inner index, wherever tiles and threads
// cut. Included by kernels alone, inside the namespace of their level, as kernel.h is.
#pragma once

#include "vector.h"

namespace statewise {
namespace STATEWISE_LEVEL {

// A matrix to read: element (i, j) is at[i * row + j * column]. Its transpose costs nothing.
template <class T>
struct Matrix {
  const T* at;
  int64_t row, column;
  Matrix transposed() const { return {at, column, row}; }
};

enum class Into { replace, add, subtract };

// A block of `rows` x `vectors` registers, which with a row of the right and a number of the left
// just fills the register file: 24 sums on AVX-512, 12 elsewhere.
constexpr int64_t block_rows = 6, block_vectors = vector_registers == 32 ? 4 : 2;

template <Into into, int64_t rows, int64_t vectors, class T, class Count>
inline void multiply_block(int64_t inner, const Matrix<T>& a, const T* b, int64_t b_row, T* c,
                           int64_t c_row, Count last) {
  // The last vector of a row may be cut short, to `last` numbers.
  Vector<T> sums[rows][vectors];
  for (int64_t i = 0; i < rows; i++)
    for (int64_t v = 0; v < vectors; v++) sums[i][v] = Vector<T>{};
  for (int64_t p = 0; p < inner; p++) {
    Vector<T> right[vectors];
    for (int64_t v = 0; v < vectors - 1; v++) right[v] = load(b + p * b_row + v * width<T>);
    const T* end = b + p * b_row + (vectors - 1) * width<T>;
    right[vectors - 1] = last == width<T> ? load(end) : load(end, last);
    for (int64_t i = 0; i < rows; i++) {
      const Vector<T> left = all<Vector<T>>(a.at[i * a.row + p * a.column]);
      for (int64_t v = 0; v < vectors; v++) sums[i][v] += left * right[v];
    }
  }
  for (int64_t i = 0; i < rows; i++)
    for (int64_t v = 0; v < vectors; v++) {
      T* to = c + i * c_row + v * width<T>;
      const bool whole = v < vectors - 1 || last == width<T>;
      Vector<T> sum = sums[i][v];
      if (into != Into::replace) {
        const Vector<T> before = whole ? load(to) : load(to, last);
        sum = into == Into::add ? before + sum : before - sum;
      }
      if (whole) store(to, sum);
      else store(to, sum, last);
    }
}

template <Into into, int64_t vectors, class T, class Count>
inline void multiply_columns(int64_t m, int64_t inner, const Matrix<T>& a, const T* b,
                             int64_t b_row, T* c, int64_t c_row, Count last) {
  int64_t i = 0;
  const auto below = [&] { return Matrix<T>{a.at + i * a.row, a.row, a.column}; };
  for (; i + block_rows <= m; i += block_rows)
    multiply_block<into, block_rows, vectors>(inner, below(), b, b_row, c + i * c_row, c_row, last);
  for (; i + 4 <= m; i += 4)
    multiply_block<into, 4, vectors>(inner, below(), b, b_row, c + i * c_row, c_row, last);
  for (; i + 2 <= m; i += 2)
    multiply_block<into, 2, vectors>(inner, below(), b, b_row, c + i * c_row, c_row, last);
  for (; i < m; i++)
    multiply_block<into, 1, vectors>(inner, below(), b, b_row, c + i * c_row, c_row, last);
}

// C (m, n) becomes, gains or loses A (m, inner) B (inner, n). Rows of B and C are contiguous, so
// many numbers apart; A is anything.
template <Into into, class T>
inline void multiply(int64_t m, int64_t n, int64_t inner, const Matrix<T>& a, const T* b,
                     int64_t b_row, T* c, int64_t c_row) {
  constexpr int64_t w = width<T>;
  const Constant<w> whole;
  int64_t j = 0;
  for (; j + block_vectors * w <= n; j += block_vectors * w)
    multiply_columns<into, block_vectors>(m, inner, a, b + j, b_row, c + j, c_row, whole);
  if (block_vectors > 2 && j + 2 * w <= n) {
    multiply_columns<into, 2>(m, inner, a, b + j, b_row, c + j, c_row, whole);
    j += 2 * w;
  }
  for (; j + w <= n; j += w) multiply_columns<into, 1>(m, inner, a, b + j, b_row, c + j, c_row, whole);
  if (j < n) multiply_columns<into, 1>(m, inner, a, b + j, b_row, c + j, c_row, n - j);
}

// B (n, m) becomes the transpose of A (m, n). For a product with a transposed right side, which
// `multiply` does not take: transposing costs as much as one row of the product.
template <class T>
inline void transpose(int64_t m, int64_t n, const T* a, int64_t a_row, T* b, int64_t b_row) {
  int64_t tiled_m = 0, tiled_n = 0;
#if defined(__GNUC__) && !defined(__clang__)
  // By shuffles: numbers one by one took a tenth of the delta rule's backward pass.
  constexpr int w = width<T>;
  typename VectorOf<T>::bits low, high;
  for (int i = 0; i < w; i++) {
    low[i] = i / 2 + i % 2 * w;
    high[i] = low[i] + w / 2;
  }
  tiled_m = m / w * w, tiled_n = n / w * w;
  for (int64_t i = 0; i < tiled_m; i += w)
    for (int64_t j = 0; j < tiled_n; j += w) {
      Vector<T> x[w], y[w];
#pragma GCC unroll 16
      for (int k = 0; k < w; k++) x[k] = load(a + (i + k) * a_row + j);
      // Each pass zips the two halves; after log2(w) of them rows have become columns.
#pragma GCC unroll 4
      for (int reach = 1; reach < w; reach *= 2) {
#pragma GCC unroll 8
        for (int k = 0; k < w / 2; k++) {
          y[2 * k] = __builtin_shuffle(x[k], x[k + w / 2], low);
          y[2 * k + 1] = __builtin_shuffle(x[k], x[k + w / 2], high);
        }
#pragma GCC unroll 16
        for (int k = 0; k < w; k++) x[k] = y[k];
      }
#pragma GCC unroll 16
      for (int k = 0; k < w; k++) store(b + (j + k) * b_row + i, x[k]);
    }
#endif
  const auto by_numbers = [=](int64_t i_begin, int64_t i_end, int64_t j_begin) {
    constexpr int64_t block = 16;
    for (int64_t from = i_begin; from < i_end; from += block) {
      const int64_t end = from + block < i_end ? from + block : i_end;
      for (int64_t j = j_begin; j < n; j++)
        for (int64_t i = from; i < end; i++) b[j * b_row + i] = a[i * a_row + j];
    }
  };
  by_numbers(0, tiled_m, tiled_n);
  by_numbers(tiled_m, m, 0);
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
