// How a recurrent product is divided: a few whole numbers, constraints on them, and the cheapest.
//
// Every time step multiplies `rows` states by a packed matrix. Threads divide the rows of the batch
// or the columns of the matrix; within a part, a register tile holds the sums of some rows times
// some registers of columns. What is divided never changes a sum, so any choice gives the same bits.
// All functions are static: kernels include this at every level.
#pragma once

#include <stdint.h>

namespace statewise {

struct Caches {
  int64_t first, second;  // bytes each core has to itself
};

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

constexpr int max_tile_rows = 8, max_tile_columns = 8, max_tile = 28;
constexpr int max_group_registers = max_tile_columns * 4;  // a group of blocks: whole tiles of 4 gates

static inline int64_t ceil_of(int64_t a, int64_t b) { return (a + b - 1) / b; }

static inline bool tile_fits(int rows, int columns, const Registers& registers) {
  // The sums, one register for each column and one for the number that multiplies it.
  return rows * columns <= max_tile && rows * columns + columns + 1 <= registers.count;
}

// Cycles for one term of every sum of a tile: two fused multiplications or two loads begin in a
// cycle, and a sum waits four for its last term.
static inline int64_t tile_cycles_twice(int64_t rows, int64_t columns) {
  int64_t cost = rows * columns;
  if (rows + columns > cost) cost = rows + columns;
  return cost < 8 ? 8 : cost;
}

static inline Tiling choose_tiling(const ProductShape& shape, const Registers& registers,
                                   const Caches& caches, int parts) {
  Tiling best{parts, 1, 1, 1, INT64_MAX};
  for (int unit_parts = 1; unit_parts <= parts; unit_parts++) {
    if (parts % unit_parts || unit_parts > shape.blocks) continue;
    const int row_parts = parts / unit_parts;
    const int64_t batch = ceil_of(shape.batch, row_parts);
    const int64_t vectors = ceil_of(shape.blocks, unit_parts) * shape.columns;
    const int64_t weights = vectors * shape.depth * registers.bytes;
    // What a core reads of the matrix each step comes from its own second cache or from beyond.
    const bool fits = weights * 10 <= caches.second * 9;
    const int64_t reading = weights / (fits ? 32 : 10);
    const int64_t barrier = unit_parts > 1 ? 700 * shape.stages : 0;
    for (int columns = 1; columns <= max_tile_columns; columns++) {
      // A panel of the matrix stays in the first cache while the rows pass by.
      if (columns > vectors) continue;
      if (columns > 1 && columns * shape.depth * registers.bytes * 4 > caches.first * 3 && batch > max_tile_rows)
        continue;
      for (int rows = 1; rows <= max_tile_rows; rows++) {
        if (rows > batch && rows > 1) continue;
        if (!tile_fits(rows, columns, registers)) continue;
        int64_t twice = 0;
        for (int64_t c = 0; c < vectors; c += columns) {
          const int64_t width = vectors - c < columns ? vectors - c : columns;
          twice += batch / rows * tile_cycles_twice(rows, width);
          if (batch % rows) twice += tile_cycles_twice(batch % rows, width);
        }
        // Some forty cycles for the functions of a gate.
        const int64_t computing = twice * shape.depth / 2 + batch * vectors * 40;
        const int64_t cycles = (computing > reading ? computing : reading) + barrier;
        if (cycles < best.cycles) best = {row_parts, unit_parts, rows, columns, cycles};
      }
    }
  }
  return best;
}

}  // namespace statewise
