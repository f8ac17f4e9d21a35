// The diagonal scan  h_t = decay_t * h_{t-1} + drive_t  and its gradient, on raw memory.
//
// A complex number is two real ones side by side, and `dim` counts the real ones. A constant decay
// is one row, (dim,), of the wide type; its strides are zero.
#pragma once

#include "levels.h"
#include "tensor.h"

namespace statewise {

struct Decay {
  bool complex, constant;
  Sequence at;  // stored type, or wide if constant
};

struct Scan {
  Shape shape;
  Decay decay;
  Sequence drive;       // stored type
  const void* initial;  // (batch, dim), wide type, contiguous
  Mask mask;
  MutableSequence output;  // stored type
  void* final;             // (batch, dim), wide type, contiguous
  bool stream;
};

struct ScanBackward {
  Shape shape;
  Decay decay;
  Sequence output, grad_output;      // stored type
  const void *initial, *grad_final;  // wide type
  Mask mask;
  // Stored type; or, if the decay is constant, (batch, dim) of the wide type: a sum for each row.
  MutableSequence grad_decay;
  MutableSequence grad_drive;  // stored type
  void* grad_initial;          // wide type
  bool stream;
};

// sum = the sum of rows of (batch, dim), in their order; both of the wide type.
struct SumRows {
  Shape shape;
  const void* rows;
  void* sum;
};

STATEWISE_KERNEL(scan, Scan)
STATEWISE_KERNEL(scan_backward, ScanBackward)
STATEWISE_KERNEL(sum_rows, SumRows)

}  // namespace statewise
