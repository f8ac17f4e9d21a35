// Rows over their root mean squares:  y = x / sqrt(mean(x^2) + epsilon) * weight.
#pragma once

#include "levels.h"
#include "tensor.h"

namespace statewise {

struct RmsNorm {
  int64_t rows, dim;
  const float* x;
  int64_t x_row;
  const float* weight;  // (dim,) or null
  float epsilon;
  float* y;  // x itself, or elsewhere
  int64_t y_row;
};

STATEWISE_KERNEL(rms_norm, RmsNorm)

}  // namespace statewise
