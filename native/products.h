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

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
