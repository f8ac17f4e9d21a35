// Products of a few rows, the states of a batch, with a matrix that is packed for register tiles.
//
// Included by kernels alone, inside the namespace of their level.
#pragma once

#include "tiling.h"
#include "vector.h"

namespace statewise {
namespace STATEWISE_LEVEL {

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// The units of a block that are there: all but in the last of a head.
template <class W>
inline Vector<W> fetch(const W* from, int64_t there) {
  return there == width<W> ? load(from) : load(from, there);
}
template <class W>
inline void put_some(W* to, Vector<W> x, int64_t there) {
  if (there == width<W>) store(to, x);
  else store(to, x, there);
}

// The sums of a register tile: `R` rows of operands times `C` registers of columns. Every sum runs
// over its terms in order, whatever the tile.
template <class W, int R, int C>
void multiply(const W* panel, const W* operand, int64_t row_stride, int64_t segments,
              int64_t segment_stride, int64_t gap, int64_t depth, W* out, int64_t out_stride) {
  constexpr int64_t lanes = width<W>;
  Vector<W> sum[R][C];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) sum[r][c] = Vector<W>{};
  for (int64_t segment = 0; segment < segments; segment++) {
    const W* from = operand + (segment + (segment >= gap)) * segment_stride;
    for (int64_t k = 0; k < depth; k++) {
      Vector<W> weight[C];
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) weight[c] = load(panel + c * lanes);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const Vector<W> factor = from[r * row_stride + k] - Vector<W>{};
#pragma GCC unroll 8
        for (int c = 0; c < C; c++) sum[r][c] += factor * weight[c];
      }
      panel += C * lanes;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) store(out + r * out_stride + c * lanes, sum[r][c]);
}

template <class W>
using Multiply = void (*)(const W*, const W*, int64_t, int64_t, int64_t, int64_t, int64_t, W*,
                          int64_t);

template <class W, int R, int C>
constexpr Multiply<W> tile_or_none() {
  if constexpr (R * C <= max_tile) return multiply<W, R, C>;
  else return nullptr;
}

template <class W, int R>
inline Multiply<W> tile_of_columns(int64_t columns) {
  static constexpr Multiply<W> tiles[] = {
      tile_or_none<W, R, 1>(), tile_or_none<W, R, 2>(), tile_or_none<W, R, 3>(),
      tile_or_none<W, R, 4>(), tile_or_none<W, R, 5>()};
  static_assert(sizeof tiles / sizeof *tiles == max_tile_columns, "a tile for every width");
  return tiles[columns - 1];
}

template <class W>
inline Multiply<W> tile_of(int64_t rows, int64_t columns) {
  switch (rows) {
    case 1: return tile_of_columns<W, 1>(columns);
    case 2: return tile_of_columns<W, 2>(columns);
    case 3: return tile_of_columns<W, 3>(columns);
    case 4: return tile_of_columns<W, 4>(columns);
    case 5: return tile_of_columns<W, 5>(columns);
    case 6: return tile_of_columns<W, 6>(columns);
    case 7: return tile_of_columns<W, 7>(columns);
    default: return tile_of_columns<W, 8>(columns);
  }
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
