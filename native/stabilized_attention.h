// Linear attention with exponential gates and their running maximum, on raw memory:
//
//   m_t = max(log_forget_t + m_{t-1}, log_input_t)
//   forget_t = exp(log_forget_t + m_{t-1} - m_t),  admit_t = exp(log_input_t - m_t)
//   C_t = forget_t C_{t-1} + admit_t k_t v_t^T,    n_t = forget_t n_{t-1} + admit_t k_t
//   output_t = scale C_t^T q_t / (max(|scale n_t . q_t|, exp(-m_t)) + eps exp(-m_t))
#pragma once

#include "levels.h"
#include "tensor.h"

namespace statewise {

// (batch, heads, key, value), (batch, heads, key) and (batch, heads), contiguous, in the wide type.
template <class Pointer>
struct StabilizedStateOf {
  Pointer C, n, m;
};
using StabilizedState = StabilizedStateOf<const void*>;
using MutableStabilizedState = StabilizedStateOf<void*>;

struct StabilizedShape {
  Stored stored;
  int64_t batch, time, heads, key, value;
  int64_t chunk;  // times from one saved state to the next; 0 if one after another, none saved
};

struct StabilizedInputs {
  Strided<4> query, key, value;      // (batch, time, heads, dim), stored type
  Strided<3> log_input, log_forget;  // (batch, time, heads), wide type
  StabilizedState initial;
  Mask mask;
  double scale, eps;
};

struct StabilizedAttention {
  StabilizedShape shape;
  StabilizedInputs inputs;
  MutableStrided<4> output;  // stored type
  MutableStabilizedState final;
  void* borders;  // (batch, heads, chunks, stabilized_border), wide type; null: not wanted
  char* scratch;  // stabilized_scratch bytes for each thread, 64-aligned
};

struct StabilizedAttentionBackward {
  StabilizedShape shape;
  StabilizedInputs inputs;
  StabilizedState final;
  const void* borders;
  Strided<4> grad_output;  // stored type
  StabilizedState grad_final;
  MutableStrided<4> grad_query, grad_key, grad_value;  // stored type
  MutableStrided<3> grad_log_input, grad_log_forget;   // wide type
  MutableStabilizedState grad_initial;
  char* scratch;  // stabilized_backward_scratch bytes for each thread, 64-aligned
};

// Numbers of a state as it is saved before every chunk: C, n, m, and what fills the last line.
inline int64_t stabilized_border(const StabilizedShape& x) {
  return x.key * x.value + (x.key + 16) / 16 * 16;
}

// Bytes of scratch memory for each thread, enough at every level: matrices with up to 16 numbers of
// padding a side, and as many again a row.
inline int64_t stabilized_bytes(int64_t rows, int64_t columns) {
  return (rows + 15) / 16 * 16 * ((columns + 15) / 16 * 16 + 16) * 8;
}
inline int64_t stabilized_scratch(const StabilizedShape& x) {
  const int64_t L = x.chunk ? x.chunk : 1, K = x.key, V = x.value;
  return 3 * stabilized_bytes(L, K) + stabilized_bytes(K, L) + 2 * stabilized_bytes(L, V) +
         stabilized_bytes(L, L) + stabilized_bytes(K, V) +
         16 * stabilized_bytes(1, L > K ? L : K);
}
inline int64_t stabilized_backward_scratch(const StabilizedShape& x) {
  const int64_t L = x.chunk ? x.chunk : 1, K = x.key, V = x.value;
  return 4 * stabilized_bytes(L, K) + stabilized_bytes(K, L) + 3 * stabilized_bytes(L, V) +
         stabilized_bytes(V, L) + 3 * stabilized_bytes(L, L) + 2 * stabilized_bytes(K, V) +
         2 * stabilized_bytes(V, K) + 24 * stabilized_bytes(1, L > K ? L : K);
}

STATEWISE_KERNEL(stabilized_attention, StabilizedAttention)
STATEWISE_KERNEL(stabilized_attention_backward, StabilizedAttentionBackward)

}  // namespace statewise
