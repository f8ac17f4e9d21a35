// Programs: cells that were written as a function, one step after another, and their gradients.
//
// A program is a list of operations on rows of numbers. Each reads and writes spaces: registers,
// the state, what comes from memory at a time. Between two products a few rows go through all
// operations together, so that what they compute stays in the nearest cache; a product reads the
// rows of a thread at once.
#pragma once

#include "levels.h"
#include "tensor.h"
#include "tiling.h"

namespace statewise {

// Every operation, by the name that Python knows.
#define STATEWISE_PROGRAM_OPERATIONS(visit)                                                      \
  visit(move) visit(accumulate) visit(affine) visit(expand) visit(sum) visit(product)            \
  visit(product_transposed) visit(add) visit(sub) visit(mul) visit(div) visit(maximum)           \
  visit(minimum) visit(less) visit(less_equal) visit(equal) visit(where) visit(sigmoid)          \
  visit(tanh) visit(relu) visit(exp) visit(log) visit(sqrt) visit(abs) visit(sign)               \
  visit(softplus) visit(log_sigmoid) visit(slope_of_sigmoid) visit(slope_of_tanh)                \
  visit(slope_of_relu) visit(share)

// Every space.
#define STATEWISE_PROGRAM_SPACES(visit)                                                          \
  visit(local) visit(lasting) visit(literal) visit(vector) visit(drive) visit(before)            \
  visit(tape) visit(after) visit(output) visit(grad_output) visit(grad_state) visit(grad_drive)  \
  visit(grad_before) visit(operand) visit(grad_tape) visit(grad_vector)

#define STATEWISE_NAME(name) name,
enum class Operation : int64_t { STATEWISE_PROGRAM_OPERATIONS(STATEWISE_NAME) count };
enum class Space : int64_t { STATEWISE_PROGRAM_SPACES(STATEWISE_NAME) count };
#undef STATEWISE_NAME
constexpr int operation_count = static_cast<int>(Operation::count);
constexpr int space_count = static_cast<int>(Space::count);

struct Instruction {
  Operation operation;
  int64_t width;  // of the result; of what is read for a sum
  struct {
    Space space;
    int64_t at;
  } to, from[3];
  int64_t more[2];  // which matrix; or where a factor and what is added lie among the literals
};
static_assert(sizeof(Instruction) == 12 * sizeof(int64_t), "as Python writes it");

struct ProgramMatrix {
  int64_t rows, columns;
  int64_t at;      // among the numbers of all matrices
  int64_t packed;  // the same among those that are packed
};

struct Programs {
  Stored stored;
  bool back;
  int64_t batch, time, offset;  // of the stretch, against which lengths count
  Mask mask;
  const Instruction* code;
  int64_t instructions;
  int64_t widths[space_count];  // numbers in a row of each space; 0 where there is none
  const ProgramMatrix* matrices;
  int64_t matrix_count;
  int most_parts;
  int64_t cache;          // bytes of the second level, which a core has to itself
  const void* numbers;    // of all matrices
  void* packed;           // as `programs_packed` says
  void* workspace;        // as `programs_workspace` says
  const void *literals, *vectors;
  Sequence drive;
  const void* start;      // (batch, state)
  // Forward. `states` and `tape` are null where nothing is kept.
  void* state;            // (batch, state), from the first to the last
  MutableSequence output;
  void *states, *tape;    // (time, batch, state) after each time and (time, batch, tape)
  // Backward, which reads states and tape.
  const void* initial;    // (batch, state), before the stretch
  Sequence grad_output;
  void* grad_state;       // (batch, state), from that of the last to that of the initial
  void* grad_start;       // (batch, state), added to
  MutableSequence grad_drive;
  void *operand, *grad_tape;  // (time, batch, ...): what products read, and their gradients
  void* grad_vector;          // (batch, vectors), added to

  int64_t width(Space space) const { return widths[static_cast<int>(space)]; }
};

// Rows of the batch that go through the pointwise operations together.
static inline int64_t program_rows(const Programs& a) {
  const int64_t bytes = a.stored == Stored::float64 ? 8 : 4;
  const int64_t local = a.width(Space::local) * bytes;
  const int64_t rows = local ? (20 << 10) / local : 16;
  return rows < 1 ? 1 : rows > 16 ? 16 : rows;
}

// Numbers of a packed matrix: whole registers, at any level.
static inline int64_t program_packed_size(const ProgramMatrix& m, bool back) {
  constexpr int64_t most_lanes = 16;
  const int64_t out = back ? m.columns : m.rows, depth = back ? m.rows : m.columns;
  return ceil_of(out, most_lanes) * most_lanes * depth;
}

constexpr int64_t program_tile = max_tile * 16;  // numbers, at any level

// Numbers that a part needs beside those of its rows: with whole lines of the cache for each array.
static inline int64_t program_part(const Programs& a) {
  return program_rows(a) * a.width(Space::local) + program_tile + 8 * 16;
}

// Bytes that all parts need for themselves.
static inline int64_t programs_workspace(const Programs& a, int threads) {
  const int64_t each =
      a.width(Space::lasting) + 2 * a.width(Space::before) + a.width(Space::tape);
  return (a.batch * each + threads * program_part(a)) * (a.stored == Stored::float64 ? 8 : 4) +
         a.batch;
}

STATEWISE_KERNEL(programs_pack, Programs)
STATEWISE_KERNEL(programs, Programs)

}  // namespace statewise
