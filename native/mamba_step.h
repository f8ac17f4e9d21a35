// What a step of Mamba's block has besides its products, norms and selective scan:
//   v = silu(bias + taps * the last inputs)     for each channel by itself
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

struct MambaRates {
  int64_t count;
  const float* log_rate;
  float* A;
};

STATEWISE_KERNEL(mamba_taps, MambaTaps)
STATEWISE_KERNEL(mamba_rates, MambaRates)

}  // namespace statewise
