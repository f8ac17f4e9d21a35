// Scans over a chain of states with dense transitions, in logarithms:
//     h_t[j] = sum_i(h_{t-1}[i] + transition_t[i, j]) + score_t[j],
// where `sum` is logsumexp, or the maximum. Where a row starts (a reset, or a state of +inf, which
// stands for nothing read yet) the sum counts as zero. float32 or float64.
#pragma once

#include "levels.h"
#include "tensor.h"

namespace statewise {

enum class Sum { logsumexp, maximum };

struct Chain {
  Sum sum;
  Stored stored;
  int64_t batch, time, states;
  bool constant;          // one transition for all rows and times
  Strided<4> transition;  // (batch, time, states, states); strides zero where constant
  Strided<3> score;       // (batch, time, states)
  const void* initial;    // (batch, states), contiguous
  Mask mask;
};

struct ChainForward {
  Chain chain;
  MutableStrided<3> output;
  void* final;        // (batch, states), contiguous
  int32_t* pointers;  // of a maximum: (batch, time, states), which i it was; contiguous
  void* scratch;      // chain_scratch numbers for every thread, on a line of the cache
};

struct ChainBackward {
  Chain chain;
  Strided<3> output, grad_output;
  const int32_t* pointers;
  const void* grad_final;
  MutableStrided<3> grad_score;
  void* grad_initial;
  MutableStrided<4> grad_transition;  // where not constant
  void* partial;  // where constant: (teams, states, states), whose sum is the gradient
  void* scratch;
};

// Rows of the batch are divided among so many teams, whatever the threads: the gradient of a
// constant transition is added up within a team, and then over the teams in their order.
inline int64_t chain_teams(int64_t batch) {
  const int64_t blocks = (batch + 3) / 4;
  return blocks < 64 ? blocks : 64;
}

// Rows that go through time together, and times whose transitions are added up at once.
constexpr int64_t chain_rows = 4, chain_times = 16;

// Whole lines of the cache, for as many states in the widest type that fills it least.
inline int64_t chain_padded(int64_t states) { return (states + 15) / 16 * 16; }
inline int64_t chain_scratch(int64_t states, bool constant) {
  const int64_t padded = chain_padded(states);
  return (constant ? 4 * states * padded : 0) + (8 * chain_rows + 2 * chain_rows * chain_times + 1) * padded;
}

STATEWISE_KERNEL(chain_forward, ChainForward)
STATEWISE_KERNEL(chain_backward, ChainBackward)

}  // namespace statewise
