// What a step of Mamba's block has besides its products and its selective scan:
//   v = silu(bias + taps * the last inputs)     for each channel by itself
//   parts of a row over their root mean squares, as Falcon Mamba has them
//   A = -exp(log_rate)
// With a token's matrices in eight bits, five sevenths of a step of 24 layers had been the calls of
// fifteen operations a layer; here a layer is one.
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
