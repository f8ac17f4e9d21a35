// The diagonal scan  h_t = decay_t * h_{t-1} + drive_t  and its gradient, on raw memory.
#pragma once

#include "levels.h"
#include "tensor.h"

namespace statewise {

struct Scan {
  Shape shape;
  Sequence decay, drive;  // stored type
  const void* initial;    // (batch, dim), wide type, contiguous
  Mask mask;
  MutableSequence output;  // stored type
  void* final;             // (batch, dim), wide type, contiguous
  bool stream;
};

struct ScanBackward {
  Shape shape;
  Sequence decay, output, grad_output;  // stored type
  const void *initial, *grad_final;     // wide type
  Mask mask;
  MutableSequence grad_decay, grad_drive;  // stored type
  void* grad_initial;                      // wide type
  bool stream;
};

STATEWISE_KERNEL(scan, Scan)
STATEWISE_KERNEL(scan_backward, ScanBackward)

}  // namespace statewise
