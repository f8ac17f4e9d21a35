// Linear attention  S_t = decay_t * S_{t-1} + k_t v_t^T,  y_t = scale * S_t^T q_t,  and its gradient.
#pragma once

#include "levels.h"
#include "tensor.h"

namespace statewise {

// What a decay belongs to: nothing, a head, a key of it, or a key and a value.
enum class Decay { none, head, key, value };

struct LinearAttentionShape {
  Stored stored;  // of queries, keys, values and outputs; everything else is of the wide type
  int64_t batch, time, heads, groups, key, value;
  int64_t block;  // tokens from one kept state to the next
  Decay decay;
  double scale;
  bool chunkwise;  // products of matrices chunk by chunk; else token by token. Not for Decay::value
};

struct LinearAttention {
  LinearAttentionShape shape;
  Strided<4> query, key, value;  // (batch, time, groups or heads, key or value)
  Strided<5> log_decay;          // (batch, time, heads, key, value), as far as there are axes
  const void* bonus;    // (heads, key), contiguous, or null
  const void* initial;  // (batch, heads, key, value), contiguous
  Mask mask;
  MutableStrided<4> output;
  void* final;   // (batch, heads, key, value), contiguous
  void* states;  // (batch, heads, blocks, key, value), contiguous, or null: S before each
  char* workspace;
  int64_t workspace_size;  // bytes of one thread
};

struct LinearAttentionBackward {
  LinearAttentionShape shape;
  Strided<4> query, key, value;  // (batch, time, groups or heads, key or value)
  Strided<5> log_decay;          // (batch, time, heads, key, value), as far as there are axes
  const void* bonus;
  Mask mask;
  const void* states;
  Strided<4> grad_output;
  const void* grad_final;
  MutableStrided<4> grad_query, grad_key, grad_value;  // of every head
  void* grad_log_decay;                           // contiguous, or null
  void* grad_bonus;                               // (batch, heads, key), contiguous, or null
  void* grad_initial;
  char* workspace;
  int64_t workspace_size;
};

struct LinearAttentionStep {
  LinearAttentionShape shape;
  Strided<3> query, key, value;
  Strided<4> log_decay;
  const void* bonus;
  const void* state;  // (batch, heads, key, value), contiguous
  void* output;       // (batch, heads, value), contiguous
  void* next;         // as the state
  char* workspace;    // of four numbers a key
  int64_t workspace_size;
};

// Rows of a workspace are whole vectors of every level.
inline int64_t padded(int64_t numbers) { return (numbers + 15) / 16 * 16; }

constexpr int64_t largest_block = 64;

// Bytes of memory that one thread works in.
inline int64_t workspace_of(const LinearAttentionShape& shape, bool backward) {
  const int64_t wide = shape.stored == Stored::float64 ? 8 : 4;
  const int64_t keys = padded(shape.key), values = padded(shape.value), state = keys * values;
  if (shape.chunkwise) {
    // Chunks have 16 rows at every level, and the widest panels 32 columns.
    const bool by_key = shape.decay == Decay::key;
    const int64_t panels = (shape.value + 31) / 32 * 32, row = 16 * keys, folded = keys * panels;
    const int64_t one = (by_key ? 5 : 2) * row + keys + 3 * 256;
    const int64_t shared = keys + (by_key ? 256 * 16 : row) + 2 * 16 * 32;
    const int64_t numbers =
        backward ? shape.block / 16 * (one + folded) + 2 * folded + 4 * 16 * panels + 4 * row +
                       2 * keys + 256
                 : one + folded;
    return (numbers + shared + 16 * 128) * wide;
  }
  const int64_t decays = shape.decay == Decay::value ? state : keys;
  const int64_t history = 8 * 16;  // numbers of a tile, at most
  const int64_t numbers =
      backward ? 2 * state + shape.block * (4 * keys + 3 * values + 2 * decays + history)
               : state + shape.block * (2 * keys + 2 * values + decays);
  return numbers * wide;
}

STATEWISE_KERNEL(linear_attention, LinearAttention)
STATEWISE_KERNEL(linear_attention_backward, LinearAttentionBackward)
STATEWISE_KERNEL(linear_attention_step, LinearAttentionStep)

}  // namespace statewise
