// The selective scan of Mamba and its gradient, on raw memory: for channel d and state n,
//   h_t[d, n] = exp(s_t[d] A[d, n]) h_{t-1}[d, n] + s_t[d] x_t[d] B_t[n],
//   y_t[d] = (sum_n C_t[n] h_t[d, n] + skip[d] x_t[d]) silu(gate_t[d]),
// where s is the step size, or softplus(step size + bias).
//
// No state but the present one is in memory, and those at the borders of chunks of time, from which
// the gradient recomputes a chunk at a time. A group of channels shares B and C: to the kernels it
// is a row of its own, so `rows` is batch x groups, and `dim` the channels of one group.
#pragma once

#include "levels.h"
#include "tensor.h"

namespace statewise {

constexpr int64_t selective_chunk = 64;  // times between saved states

// Channels of which all times of a chunk are laid out at once, in the nearer caches. The gradients
// of B and C are summed over so many, whatever the number of threads.
constexpr int64_t selective_tile(Stored stored) { return stored == Stored::float64 ? 64 : 128; }

struct SelectiveScanInputs {
  Stored stored;
  int64_t batch, time, groups, dim, state;
  Sequence x, step_size, gate;         // stored type; the gate may be absent
  Strided<4> B, C;                     // (batch, time, groups, state), stored type
  const void *rates;                   // A times log2(e), (state, groups * dim), wide type
  const void *skip, *step_bias;        // (groups * dim), wide type; may be absent
  const void* initial;                 // (batch, groups * dim, state), wide type
  Mask mask;
};

struct SelectiveScan {
  SelectiveScanInputs in;
  MutableSequence output;  // stored type
  void* final;             // as initial
  // (batch, kept, state, groups * dim), wide type: what h is at the borders between chunks, all of
  // them, or one after the other in the same place.
  void* borders;
  int64_t kept;
};

struct SelectiveScanBackward {
  SelectiveScanInputs in;
  const void* borders;
  int64_t kept;
  Sequence grad_output;    // stored type
  const void* grad_final;  // as initial
  MutableSequence grad_x, grad_step_size, grad_gate;
  void* grad_initial;
  // Sums of one row of the batch or one tile of channels, added up in order by the next kernel.
  void* carry;                 // (batch, state, groups * dim): what later times send to h
  void* row_rates;             // (batch, state, groups * dim)
  void *row_skip, *row_bias;   // (batch, groups * dim)
  void *tile_B, *tile_C;       // (batch, groups, tiles, time, state)
};

struct SelectiveScanSums {
  Stored stored;
  int64_t batch, time, groups, dim, state;
  const void *row_rates, *row_skip, *row_bias, *tile_B, *tile_C;
  void *grad_A;                      // (groups * dim, state), wide type
  void *grad_skip, *grad_step_bias;  // (groups * dim), wide type; may be absent
  void *grad_B, *grad_C;             // (batch, time, groups, state), stored type, contiguous
};

// A transposed, for loads along the channels, and for exp2 instead of exp.
struct SelectiveScanRates {
  Stored stored;
  int64_t channels, state;
  const void* A;
  void* rates;
};

// One step: time is 1, and A itself is in place of `rates`.
struct SelectiveScanStep {
  SelectiveScanInputs in;
  void *output, *final;  // contiguous
};

STATEWISE_KERNEL(selective_scan_rates, SelectiveScanRates)
STATEWISE_KERNEL(selective_scan, SelectiveScan)
STATEWISE_KERNEL(selective_scan_backward, SelectiveScanBackward)
STATEWISE_KERNEL(selective_scan_sums, SelectiveScanSums)
STATEWISE_KERNEL(selective_scan_step, SelectiveScanStep)

}  // namespace statewise
