// The delta rule and its gradient, on raw memory. One step, with the decay d, is
//
//   u = value - S^T read;  S = d * S + write u^T;  output = scale * S^T query
//
// where `read` meets the state before the decay. With a key and beta, read is d * key and write
// beta * key, which is (I - beta key key^T) d S + beta key value^T. With `add`, which the form that
// goes token by token knows, the value goes elsewhere than what was read:
//
//   u = S^T read;  S = d * S + write u^T + add value^T
#pragma once

#include "levels.h"
#include "tensor.h"

namespace statewise {

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
  char* scratch;        // of delta_rule_scratch bytes for each thread
  int64_t scratch_bytes;
  Heads add;  // stored type; this and the next, token by token alone
  bool once;  // whether the first time alone decays
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

// Bytes that a thread needs, at any level.
inline int64_t delta_rule_scratch(const DeltaRuleInputs& x, bool backward) {
  const auto up = [](int64_t n, int64_t to) { return (n + to - 1) / to * to; };
  // The widest panel of any level has 32 columns, and every chunk 16 rows.
  const int64_t key = up(x.key, 16), value = up(x.value, 32), row = 16 * key, column = 16 * value;
  const bool by_key = x.per_key || x.write.data;
  const int64_t one = (by_key ? 136 * key + 5 * row : 0) + 2 * row + key + 8 * 256;
  const int64_t forward = one + row + 2 * 16 * 32 + key * value;
  const int64_t whole = 4 * (one + key * value) + 3 * key * value + 12 * column + 12 * row + 16 * 256;
  return ((backward ? whole : forward) + 16 * 128) * (x.stored == Stored::float64 ? 8 : 4);
}

// The same for the form that goes token by token: a key, a query, what is written, what is added, and
// decays.
inline int64_t delta_rule_row_scratch(const DeltaRuleInputs& x) { return (5 * x.key + 8) / 8 * 64; }

STATEWISE_KERNEL(delta_rule, DeltaRule)
STATEWISE_KERNEL(delta_rule_recurrent, DeltaRule)
STATEWISE_KERNEL(delta_rule_backward, DeltaRuleBackward)

}  // namespace statewise
