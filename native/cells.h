// Gated cells  h_t = f(W x_t, U h_{t-1})  one step after another, and their gradients.
//
// The products W x_t come in `gates`, where the kernel leaves what the backward pass needs. A call
// covers a stretch of time: every array but the state begins where the stretch does.
#pragma once

#include "levels.h"
#include "tensor.h"
#include "tiling.h"

namespace statewise {

enum class CellKind { elman, lstm, gru, gru_before, mgu, slstm, indrnn };

constexpr int no_gate = 1 << 20;  // beyond them all

// What of a cell a caller has to know to make its arrays.
struct CellShape {
  int gates;     // blocks of rows of the weights
  int first;     // of these, how many read the operands; the others wait for what the first compute
  int leaves;    // of the state, the first being the output
  int extras;    // more to keep for the backward pass
  int operands;  // leaves that the recurrent matrix reads
  int vectors;   // weights that act unit by unit
  bool additive;  // whether every gate reads the sum of both products
  int apart = no_gate;  // a gate that reads the first operand alone
};

// What an LSTM lacks, or has besides.
enum LstmSwitch {
  no_input_gate = 1,
  no_forget_gate = 2,
  no_output_gate = 4,
  no_input_activation = 8,
  no_output_activation = 16,
  peepholes = 32,
  coupled = 64,      // the forget gate is one minus the input gate
  gates_recur = 128  // the gates read what they were
};

static constexpr CellShape cell_shape(CellKind kind, int s) {
  switch (kind) {
    case CellKind::elman: return {1, 1, 1, 0, 1, 0, true};
    case CellKind::lstm: {
      const int gates = 4 - !!(s & no_input_gate) - !!(s & (no_forget_gate | coupled)) -
                        !!(s & no_output_gate);
      const bool recur = s & gates_recur;
      return {gates, gates, recur ? 5 : 2, 0, recur ? 4 : 1, s & peepholes ? 3 : 0, true,
              recur ? 2 : no_gate};
    }
    case CellKind::gru: return {3, 3, 1, 1, 1, 0, false};
    case CellKind::gru_before: return {3, 2, 1, 0, 1, 0, true};
    case CellKind::mgu: return {2, 1, 1, 0, 1, 0, true};
    case CellKind::slstm: return {4, 4, 4, 1, 1, 0, true};
    case CellKind::indrnn: return {1, 1, 1, 0, 0, 1, true};
  }
  return {};
}

struct Cells {
  Stored stored;
  CellKind kind;
  int switches;
  int64_t batch, time, heads, width;  // units of a head
  int64_t offset;                     // of the stretch, against which lengths count
  Mask mask;
  const void* recurrent;       // (heads, gates * width, operands * width)
  const void* recurrent_bias;  // (gates, hidden) or null
  const void* vectors;         // (vectors, hidden)
  int most_parts;
  void* workspace;             // as `cells_workspace` says; it keeps the packed matrix
  bool pack;                   // whether that is still to be done
  int64_t cache;  // bytes of the second level, which a core has to itself
};

struct CellsForward {
  Cells cells;
  void* gates;  // (time, batch, gates, hidden): products with the inputs, then what is kept
  void* rest;   // (time, batch, leaves - 1 + extras, hidden), or null: nothing is to be kept
  void* state;  // (leaves, batch, hidden), from the first to the last
  MutableSequence output;
};

struct CellsBackward {
  Cells cells;
  const void *gates, *rest;
  const void* initial;  // (leaves, batch, hidden), before the stretch
  Sequence output, grad_output;
  void* grad_state;      // (leaves, batch, hidden), from that of the last to that of the initial
  void* grad_gates;      // (time, batch, gates, hidden)
  void* grad_recurrent;  // the same of the products with the state, where these are not added
  void* operands;        // (time, batch, operands, hidden): what the recurrent matrix read
  void* second;          // (time, batch, hidden): what its second stage read
  void* grad_vectors;    // (batch, vectors, hidden), added to
  void* grad_bias;       // (batch, gates, hidden), added to, or null: the sums of grad_gates
  void* grad_recurrent_bias;  // the same of grad_recurrent
};

// Bytes; enough at every level and for fewer threads.
static inline int64_t cells_workspace(const Cells& a, int threads) {
  const CellShape shape = cell_shape(a.kind, a.switches);
  const int64_t bytes = a.stored == Stored::float64 ? 8 : 4, lanes = 64 / bytes;
  const int64_t padded = a.heads * ceil_of(a.width, lanes) * lanes;
  const int64_t matrix =
      padded * a.width * (shape.operands * shape.first + shape.gates - shape.first);
  const int64_t operands = (2 * shape.operands + 1) * a.batch * a.heads * a.width;
  const int64_t scratch = threads * a.batch * max_group_registers * lanes;
  return (matrix + operands + scratch) * bytes + 64 * (threads + 8);
}

// One step, with the products of the input inside; weights as they are, not packed.
struct CellsStep {
  Stored stored;
  CellKind kind;
  int switches;
  int64_t batch, dim, heads, width;
  const void *x, *input, *recurrent, *input_bias, *recurrent_bias, *vectors;
  const void* before[5];
  void* after[5];
  void* kept;     // (batch, gates + 1, hidden), where there are two stages
  void* barrier;  // 64 bytes of zeros
};

STATEWISE_KERNEL(cells_step, CellsStep)
STATEWISE_KERNEL(cells_forward, CellsForward)
STATEWISE_KERNEL(cells_backward, CellsBackward)

}  // namespace statewise
