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

// to (columns x rows) = the transpose of from (rows x columns), both counts multiples of 16.
template <class W>
inline void transposed(const W* from, int64_t from_row, int64_t rows, int64_t columns, W* to,
                       int64_t to_row) {
  transpose(rows, columns, from, from_row, to, to_row);
}

#if defined(__AVX512F__)
// By shuffles: numbers one by one took a tenth of the delta rule's backward pass.
inline void transposed(const float* from, int64_t from_row, int64_t rows, int64_t columns,
                       float* to, int64_t to_row) {
  for (int64_t i0 = 0; i0 < rows; i0 += 16)
    for (int64_t j0 = 0; j0 < columns; j0 += 16) {
      __m512 row[16], two[16], four[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; i++) row[i] = _mm512_loadu_ps(from + (i0 + i) * from_row + j0);
#pragma GCC unroll 8
      for (int i = 0; i < 16; i += 2) {
        two[i] = _mm512_unpacklo_ps(row[i], row[i + 1]);
        two[i + 1] = _mm512_unpackhi_ps(row[i], row[i + 1]);
      }
#pragma GCC unroll 4
      for (int i = 0; i < 16; i += 4)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
          const __m512d even = _mm512_castps_pd(two[i + j]), odd = _mm512_castps_pd(two[i + j + 2]);
          four[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(even, odd));
          four[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(even, odd));
        }
      // four[4 i + c] now has, in its quarter q, column 4 q + c of rows 4 i to 4 i + 3.
#pragma GCC unroll 4
      for (int c = 0; c < 4; c++) {
        const __m512 a = _mm512_shuffle_f32x4(four[c], four[4 + c], 0x88);
        const __m512 b = _mm512_shuffle_f32x4(four[c], four[4 + c], 0xdd);
        const __m512 d = _mm512_shuffle_f32x4(four[8 + c], four[12 + c], 0x88);
        const __m512 e = _mm512_shuffle_f32x4(four[8 + c], four[12 + c], 0xdd);
        float* out = to + (j0 + c) * to_row + i0;
        _mm512_storeu_ps(out, _mm512_shuffle_f32x4(a, d, 0x88));
        _mm512_storeu_ps(out + 4 * to_row, _mm512_shuffle_f32x4(b, e, 0x88));
        _mm512_storeu_ps(out + 8 * to_row, _mm512_shuffle_f32x4(a, d, 0xdd));
        _mm512_storeu_ps(out + 12 * to_row, _mm512_shuffle_f32x4(b, e, 0xdd));
      }
    }
}
#endif

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
