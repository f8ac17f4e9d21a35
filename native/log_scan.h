// The scan of logarithms  h_t = log(exp(log_decay_t + h_{t-1}) + exp(log_drive_t)),  and its
// gradient. float32 or float64.
#pragma once

#include "levels.h"
#include "tensor.h"

namespace statewise {

struct LogScan {
  Shape shape;
  Sequence log_decay, log_drive;
  const void* initial;  // (batch, dim), contiguous
  Mask mask;
  MutableSequence output;
  void* final;  // (batch, dim), contiguous
};

struct LogScanBackward {
  Shape shape;
  Sequence log_decay, log_drive, output, grad_output;
  const void *initial, *grad_final;
  Mask mask;
  MutableSequence grad_log_decay, grad_log_drive;
  void* grad_initial;
};

STATEWISE_KERNEL(log_scan, LogScan)
STATEWISE_KERNEL(log_scan_backward, LogScanBackward)

}  // namespace statewise
