// How a recurrent product is divided: a few whole numbers, constraints on them, and the cheapest.
//
// Every time step multiplies `rows` states by a packed matrix. Threads divide the rows of the batch
// or the columns of the matrix; within a part, a register tile holds the sums of some rows times
// some registers of columns. What is divided never changes a sum, so any choice gives the same bits.
// All functions are static: kernels include this at every level.
#pragma once

#include <stdint.h>

namespace statewise {

struct Tiling {
  int row_parts, unit_parts;  // their product is the number of threads
  int rows, columns;          // of a register tile: rows of the batch, registers of columns
  int64_t cycles;             // what a step is estimated to cost
};

// What a level and a type of number offer.
struct Registers {
  int lanes, count, bytes;
};

// The product of one stage: for every block of `lanes` units, `columns` registers of sums of
// `depth` terms.
struct ProductShape {
  int64_t batch, blocks, columns, depth;
  int stages;  // products in one step, one waiting for the other
};

// Five columns: for one row, tiles of eight took a third longer.
constexpr int max_tile_rows = 8, max_tile_columns = 5, max_tile = 28;
constexpr int max_group_registers = max_tile_columns * 4;  // a group of blocks: whole tiles of 4 gates

static inline int64_t ceil_of(int64_t a, int64_t b) { return (a + b - 1) / b; }

static inline bool tile_fits(int rows, int columns, const Registers& registers) {
  // The sums, one register for each column and one for the number that multiplies it.
  return rows * columns <= max_tile && rows * columns + columns + 1 <= registers.count;
}

// Quarters of a cycle for one term of every sum of a tile: two fused multiplications or two loads
// begin in a cycle, and a sum waits four for its last term. Half of the loads are counted as not hidden
// behind the multiplications: tiles of 4 by 5 registers ran faster than those of 4 by 2, by up to a
// fifth on a machine whose timings scatter almost as much.
static inline int64_t tile_quarters(int64_t rows, int64_t columns) {
  int64_t cost = 2 * rows * columns;
  if (cost < 16) cost = 16;
  return cost + rows + columns;
}

static inline Tiling choose_tiling(const ProductShape& shape, const Registers& registers,
                                   int64_t cache, int parts) {
  Tiling best{parts, 1, 1, 1, INT64_MAX};
  int64_t least = INT64_MAX;
  for (int unit_parts = 1; unit_parts <= parts; unit_parts++) {
    if (parts % unit_parts || unit_parts > shape.blocks) continue;
    const int row_parts = parts / unit_parts;
    const int64_t batch = ceil_of(shape.batch, row_parts);
    const int64_t vectors = ceil_of(shape.blocks, unit_parts) * shape.columns;
    const int64_t weights = vectors * shape.depth * registers.bytes;
    // What a core reads of the matrix each step comes from its own second cache or from beyond.
    const bool fits = weights * 10 <= cache * 9;
    const int64_t reading = weights / (fits ? 32 : 10);
    const int64_t barrier = unit_parts > 1 ? 700 * shape.stages : 0;
    for (int columns = 1; columns <= max_tile_columns; columns++) {
      if (columns > vectors) continue;
      for (int rows = 1; rows <= max_tile_rows; rows++) {
        if (rows > batch && rows > 1) continue;
        if (!tile_fits(rows, columns, registers)) continue;
        int64_t quarters = 0;
        for (int64_t c = 0; c < vectors; c += columns) {
          const int64_t width = vectors - c < columns ? vectors - c : columns;
          quarters += batch / rows * tile_quarters(rows, width);
          if (batch % rows) quarters += tile_quarters(batch % rows, width);
        }
        // Some forty cycles for the functions of a gate.
        const int64_t computing = quarters * shape.depth / 4 + batch * vectors * 40;
        const int64_t cycles = (computing > reading ? computing : reading) + barrier;
        // Where reading takes longest, the tile that leaves most time for it.
        if (cycles > best.cycles || (cycles == best.cycles && computing >= least)) continue;
        best = {row_parts, unit_parts, rows, columns, cycles};
        least = computing;
      }
    }
  }
  return best;
}

}  // namespace statewise
