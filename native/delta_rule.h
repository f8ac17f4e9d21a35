// The delta rule and its gradient, on raw memory. One step, with the decay d, is
//
//   u = value - S^T read;  S = d * S + write u^T;  output = scale * S^T query
//
// where `read` meets the state before the decay. With a key and beta, read is d * key and write
// beta * key, which is (I - beta key key^T) d S + beta key value^T.
#pragma once

#include "levels.h"
#include "tensor.h"

namespace statewise {

// (batch, time, heads, dim), whose last axis is contiguous. Without an axis dim, for gates.
template <class Pointer>
struct HeadsOf {
  Pointer data;  // null where there is none
  int64_t batch_stride, time_stride, head_stride;
};
using Heads = HeadsOf<const void*>;
using MutableHeads = HeadsOf<void*>;

struct DeltaRuleInputs {
  Stored stored;
  int64_t batch, time, heads, key, value;
  Heads query, read, write, values;  // stored type; without `write`, `read` is the key
  Heads beta, log_decay;             // wide type
  bool per_key;                      // log_decay has an axis of keys
  double scale;
  Mask mask;
};

struct DeltaRule {
  DeltaRuleInputs inputs;
  const void* initial;  // (batch, heads, key, value), wide type, contiguous
  MutableHeads output;  // stored type
  void* final;          // wide type
  void* states;         // (batch, heads, segments, key, value), wide type, or null
  char* scratch;        // of delta_rule_scratch bytes for each part
  int64_t scratch_bytes;
};

struct DeltaRuleBackward {
  DeltaRuleInputs inputs;
  const void* states;
  Heads grad_output;       // stored type
  const void* grad_final;  // wide type
  MutableHeads grad_query, grad_read, grad_write, grad_values, grad_beta, grad_log_decay;
  void* grad_initial;
  char* scratch;
  int64_t scratch_bytes;
};

// Times between the states that a forward pass keeps for the backward one.
constexpr int64_t delta_rule_segment = 64;

// Bytes that a part needs, at any level.
int64_t delta_rule_scratch(const DeltaRuleInputs&, bool backward);

STATEWISE_KERNEL(delta_rule, DeltaRule)
STATEWISE_KERNEL(delta_rule_recurrent, DeltaRule)
STATEWISE_KERNEL(delta_rule_backward, DeltaRuleBackward)

}  // namespace statewise
