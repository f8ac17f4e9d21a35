// Small matrix products in registers, on the compiler's vectors (gcc and clang).
//
// Included by kernels alone, inside the namespace of their level. Every sum runs in the order of
// its index, whatever the tile, so that no result depends on how columns are divided.
#pragma once

#include "matrix.h"

namespace statewise {
namespace STATEWISE_LEVEL {

// Rows of a tile: with two vectors of columns, most of the registers.
constexpr int tile_rows = vector_registers == 32 ? 8 : 4;

// The columns that a tile covers, and thus the width of a panel.
template <class W>
constexpr int panel = 2 * width<W>;

template <class W, int rows, int vectors>
struct Tile {
  Vector<W> x[rows][vectors];

  inline __attribute__((always_inline)) void zero() {
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
      for (int j = 0; j < vectors; j++) x[i][j] = Vector<W>{};
  }

  // Adds the product of a, rows x n, with b, n x columns. Rows of a lie `a_row` apart and its
  // columns `a_step`; rows of b, `b_step`.
  inline __attribute__((always_inline)) void add(const W* a, int64_t a_row, int64_t a_step,
                                                 const W* b, int64_t b_step, int64_t n) {
    for (int64_t k = 0; k < n; k++, a += a_step, b += b_step) {
      Vector<W> right[vectors];
#pragma GCC unroll 4
      for (int j = 0; j < vectors; j++) right[j] = load(b + j * width<W>);
#pragma GCC unroll 16
      for (int i = 0; i < rows; i++) {
        const W left = a[i * a_row];
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) x[i][j] += left * right[j];
      }
    }
  }

  // Adds a triangle, rows x rows, times b: what lies above its diagonal is not touched, not even
  // multiplied by zero, so that a NaN stays in its future.
  inline __attribute__((always_inline)) void add_lower(const W* a, int64_t a_row, const W* b,
                                                       int64_t b_step) {
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
      for (int j = 0; j < vectors; j++) {
        const Vector<W> right = load(b + i * b_step + j * width<W>);
#pragma GCC unroll 16
        for (int below = i; below < rows; below++) x[below][j] += a[below * a_row + i] * right;
      }
  }

  // The same of the triangle's transpose.
  inline __attribute__((always_inline)) void add_lower_transposed(const W* a, int64_t a_row,
                                                                  const W* b, int64_t b_step) {
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
      for (int j = 0; j < vectors; j++) {
        const Vector<W> right = load(b + i * b_step + j * width<W>);
#pragma GCC unroll 16
        for (int above = 0; above <= i; above++) x[above][j] += a[i * a_row + above] * right;
      }
  }

  inline __attribute__((always_inline)) void read(const W* from, int64_t row) {
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
      for (int j = 0; j < vectors; j++) x[i][j] = load(from + i * row + j * width<W>);
  }

  inline __attribute__((always_inline)) void write(W* to, int64_t row) const {
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
      for (int j = 0; j < vectors; j++) store(to + i * row + j * width<W>, x[i][j]);
  }

  // Multiplies every row by a number of its own.
  inline __attribute__((always_inline)) void scale(const W* by, int64_t step = 1) {
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
      const W factor = by[i * step];
#pragma GCC unroll 4
      for (int j = 0; j < vectors; j++) x[i][j] *= factor;
    }
  }
};

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
