// The matrix scan  h_t = A_t h_{t-1} + b_t  and its gradient, on raw memory.
#pragma once

#include "levels.h"
#include "tensor.h"

namespace statewise {

struct MatrixShape {
  Stored stored;
  int64_t batch, time, blocks, n;
};

// (batch, time, blocks, n, n): contiguous within a time. Strides of zero share one over the batch
// or over time.
struct MatrixScan {
  MatrixShape shape;
  Sequence transition, drive;  // stored type
  const void* initial;         // (batch, blocks, n), wide type, contiguous
  Mask mask;
  MutableSequence output;  // stored type
  void* final;             // (batch, blocks, n), wide type, contiguous
  int64_t together;        // rows of the batch that a shared dense transition moves at once
  void* work;              // matrix_work_numbers() of wide type for every thread
};

struct MatrixScanBackward {
  MatrixShape shape;
  Sequence transition, output, grad_output;  // stored type
  const void *initial, *grad_final;          // wide type
  Mask mask;
  MutableSequence grad_transition;  // stored type; unused where there is a sum
  MutableSequence grad_drive;       // stored type
  void* grad_initial;               // wide type
  void* sums;  // (groups of rows, blocks, n, n), wide type: gradients over all times, or null
  int64_t together;
  void* work;
  bool stream;  // whether to write the gradient of the transitions around the caches
};

// Adds the sums of all groups of rows, in their order, or stores each.
struct MatrixScanSums {
  MatrixShape shape;
  const void* sums;
  int64_t groups;
  void* grad_transition;  // (groups or 1, blocks, n, n), stored type, contiguous
  bool shared;
};

// Sizes with kernels of their own, unrolled; the others are dense.
inline bool matrix_small(int64_t n) { return n == 2 || n == 3 || n == 4 || n == 8; }

// Times for which copying a transition that they share pays.
constexpr int64_t matrix_worth_copying = 4;

inline bool matrix_shares(const MatrixShape& shape, const Sequence& transition) {
  return !matrix_small(shape.n) && transition.time_stride == 0 &&
         shape.time >= matrix_worth_copying;
}

// Rows of the batch that go together where all of them share one dense transition. Fixed by the
// shape alone, because sums over rows follow it.
inline int64_t matrix_together(const MatrixShape& shape, const Sequence& transition) {
  if (!matrix_shares(shape, transition) || transition.batch_stride != 0) return 1;
  return shape.batch >= 8 ? 4 : shape.batch >= 4 ? 2 : 1;
}

// A line of the cache is room enough for the vectors of every level.
inline int64_t matrix_padded(int64_t n) { return (n + 15) / 16 * 16; }

constexpr int64_t matrix_chunk = 32;  // times whose outer products are added at once

// Dense blocks that go through time together where they do not share a transition: enough that
// memory is read in long runs, and few enough that their states stay near. Blocks one after another
// reached two thirds of the memory's rate at n = 64, and a fifth at n = 16.
inline int64_t matrix_widest(const MatrixShape& shape) {
  const int64_t near = 4096 / matrix_padded(shape.n), widest = near < 1 ? 1 : near;
  return shape.blocks < widest ? shape.blocks : widest;
}

inline int64_t matrix_work_numbers(const MatrixShape& shape, int64_t together, bool shares) {
  const int64_t ld = matrix_padded(shape.n);
  if (!shares) return (matrix_widest(shape) + 3) * ld;
  return 4 * together * ld + 2 * shape.n * ld + 2 * matrix_chunk * together * ld;
}

STATEWISE_KERNEL(matrix_scan, MatrixScan)
STATEWISE_KERNEL(matrix_scan_backward, MatrixScanBackward)
STATEWISE_KERNEL(matrix_scan_sums, MatrixScanSums)

}  // namespace statewise
