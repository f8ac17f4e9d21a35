// What a step of Mamba's block has besides its products and its selective scan:
//   v = silu(bias + taps * the last inputs)     for each channel by itself
//   parts of a row over their root mean squares, as Falcon Mamba has them
//   A = -exp(log_rate)
// A token of 24 layers of 768, whose matrices have eight bits, took 12 ms on one thread, 4 of them
// between fifteen operations a layer. Here a layer is one call.
#pragma once

#include "levels.h"
#include "tensor.h"

namespace statewise {

struct MambaTaps {
  int64_t rows, dim, width;
  const float* u;  // (rows, dim)
  int64_t u_row;
  const float* taps;    // (dim, width), the present one last
  const float* bias;    // (dim,) or null
  const float* before;  // (rows, width - 1, dim), oldest first
  float* after;         // as before
  float* v;             // (rows, dim)
};

struct MambaNorms {
  int64_t rows;
  int64_t parts[3];  // numbers of each
  float epsilon;     // added to the mean square
  float* x;          // (rows, all parts), in place
};

struct MambaRates {
  int64_t count;
  const float* log_rate;
  float* A;
};

STATEWISE_KERNEL(mamba_taps, MambaTaps)
STATEWISE_KERNEL(mamba_norms, MambaNorms)
STATEWISE_KERNEL(mamba_rates, MambaRates)

}  // namespace statewise
