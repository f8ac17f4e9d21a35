// Products of small matrices in scratch memory, by tiles that stay in registers.
//
// Included by kernels alone, inside the namespace of their level. Matrices are padded with zeros to
// whole tiles, so no product has an edge: rows to `padded_rows`, columns to `padded_columns`. Every
// sum runs in the order of its index, so that no result depends on how columns are divided.
#pragma once

#include "vector.h"

namespace statewise {
namespace STATEWISE_LEVEL {

constexpr int64_t tile_rows = vector_registers == 32 ? 8 : 4;

inline int64_t up_to(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// A multiple of both, since the rows of one matrix are the columns of its transpose.
template <class W>
inline int64_t padded(int64_t n) {
  return up_to(n, width<W> > tile_rows ? width<W> : tile_rows);
}

// Numbers from one row to the next. Rows a multiple of 512 bytes apart would fall on the same few
// sets of the nearest cache.
template <class W>
inline int64_t row_stride(int64_t columns) {
  const int64_t stride = padded<W>(columns);
  return stride * sizeof(W) % 512 ? stride : stride + width<W>;
}

// What of a product need not be computed, because it is masked later or known to be zero. The
// matrices of a causal mask are lower triangles.
enum class Triangle { none, result, left, left_transposed };

template <class W>
struct Left {
  const W* data;
  int64_t row, step;  // from one row to the next, from one term of the sum to the next
};

// The rows of c are first multiplied by keep[row * keep_step], or taken as zero if keep is null.
template <class W>
struct Target {
  W* data;
  int64_t row;
  const W* keep;
  int64_t keep_step;
};

template <int vectors, class W>
inline __attribute__((always_inline)) void tile_product(int64_t begin, int64_t end, Left<W> a,
                                                        const W* b, int64_t b_row, Target<W> c) {
  Vector<W> sum[tile_rows][vectors];
  if (c.keep) {
#pragma GCC unroll 16
    for (int i = 0; i < tile_rows; i++)
#pragma GCC unroll 4
      for (int j = 0; j < vectors; j++)
        sum[i][j] = c.keep[i * c.keep_step] * load(c.data + i * c.row + j * width<W>);
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < tile_rows; i++)
#pragma GCC unroll 4
      for (int j = 0; j < vectors; j++) sum[i][j] = Vector<W>{};
  }
  const W* left = a.data + begin * a.step;
  const W* right = b + begin * b_row;
  for (int64_t k = begin; k < end; k++, left += a.step, right += b_row) {
    Vector<W> x[vectors];
#pragma GCC unroll 4
    for (int j = 0; j < vectors; j++) x[j] = load(right + j * width<W>);
#pragma GCC unroll 16
    for (int i = 0; i < tile_rows; i++) {
      const W y = left[i * a.row];
#pragma GCC unroll 4
      for (int j = 0; j < vectors; j++) sum[i][j] += y * x[j];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < tile_rows; i++)
#pragma GCC unroll 4
    for (int j = 0; j < vectors; j++) store(c.data + i * c.row + j * width<W>, sum[i][j]);
}

// c = keep c + a b, where a is rows x inner and b is inner x columns, rows and columns padded.
template <Triangle triangle, class W>
void product(int64_t rows, int64_t columns, int64_t inner, Left<W> a, const W* b, int64_t b_row,
             Target<W> c) {
  for (int64_t j = 0; j < columns;) {
    const bool pair = j + 2 * width<W> <= columns;
    const int64_t first = triangle == Triangle::result ? j / tile_rows * tile_rows : 0;
    for (int64_t i = first; i < rows; i += tile_rows) {
      const int64_t begin = triangle == Triangle::left_transposed ? (i < inner ? i : inner) : 0;
      const int64_t below = i + tile_rows;
      const int64_t end = triangle == Triangle::left && below < inner ? below : inner;
      const Left<W> left{a.data + i * a.row, a.row, a.step};
      const Target<W> target{c.data + i * c.row + j, c.row,
                             c.keep ? c.keep + i * c.keep_step : nullptr, c.keep_step};
      if (pair) tile_product<2>(begin, end, left, b + j, b_row, target);
      else tile_product<1>(begin, end, left, b + j, b_row, target);
    }
    j += pair ? 2 * width<W> : width<W>;
  }
}

// to (columns x rows) = the transpose of from (rows x columns), both padded.
template <class W>
inline void transpose(int64_t rows, int64_t columns, const W* from, int64_t from_row, W* to,
                      int64_t to_row) {
#if defined(__GNUC__) && !defined(__clang__)
  constexpr int n = width<W>;
  typename VectorOf<W>::bits low, high;
  for (int i = 0; i < n; i++) {
    low[i] = i / 2 + i % 2 * n;
    high[i] = low[i] + n / 2;
  }
  for (int64_t i = 0; i < rows; i += n)
    for (int64_t j = 0; j < columns; j += n) {
      Vector<W> x[n], y[n];
#pragma GCC unroll 16
      for (int k = 0; k < n; k++) x[k] = load(from + (i + k) * from_row + j);
      // Each pass zips the two halves; after log2(n) of them rows have become columns.
#pragma GCC unroll 4
      for (int reach = 1; reach < n; reach *= 2) {
#pragma GCC unroll 8
        for (int k = 0; k < n / 2; k++) {
          y[2 * k] = __builtin_shuffle(x[k], x[k + n / 2], low);
          y[2 * k + 1] = __builtin_shuffle(x[k], x[k + n / 2], high);
        }
#pragma GCC unroll 16
        for (int k = 0; k < n; k++) x[k] = y[k];
      }
#pragma GCC unroll 16
      for (int k = 0; k < n; k++) store(to + (j + k) * to_row + i, x[k]);
    }
#else
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j++) to[j * to_row + i] = from[i * from_row + j];
#endif
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
