// The mean of the values so far, weighted by exp(score), at every time: softmax attention of one
// query per head, as a scan. float32 or float64. The state is a maximum, the total of the weights
// and the weighted sum of the values, the last two scaled by exp(-maximum).
#pragma once

#include "levels.h"
#include "tensor.h"

namespace statewise {

struct SoftmaxScan {
  Stored stored;
  int64_t batch, time, heads, dim;
  Strided<3> score;  // (batch, time, heads)
  Strided<4> value;  // (batch, time, heads, dim)
  const void *maximum, *total, *weighted;
  Mask mask;
  MutableStrided<4> output;
  void *last_maximum, *last_total, *last_weighted;
  // (batch, time, heads): y_t = decay_t y_{t-1} + weight_t value_t, where the weighted sum of the
  // state given stands for the first y.
  void *decay, *weight;
};

struct SoftmaxScanBackward {
  Stored stored;
  int64_t batch, time, heads, dim;
  Strided<3> score;
  Strided<4> value, output, grad_output;
  const void *maximum, *total, *weighted;
  const void *last_maximum, *last_total, *last_weighted;
  const void *decay, *weight;
  Mask mask;
  const void *grad_last_maximum, *grad_last_total, *grad_last_weighted;
  void* grad_score;  // (batch, time, heads), contiguous
  MutableStrided<4> grad_value;
  void *grad_maximum, *grad_total, *grad_weighted;
};

STATEWISE_KERNEL(softmax_scan, SoftmaxScan)
STATEWISE_KERNEL(softmax_scan_backward, SoftmaxScanBackward)

}  // namespace statewise
