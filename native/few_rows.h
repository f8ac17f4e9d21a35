// A few vectors times a matrix that is read once:  y = x weight' + bias,  where the weights may be
// stored as eight bits each.
//
// One token of a language model is little else, and the time of it is that of the memory: of 160 MB
// in large pages, a thread read 33 GB/s, took 34 row by row of the matrix, as here, and 17 by four
// rows at a time; torch's own, at one row of x, reached 13. A sum depends on its own row of x and of
// the matrix alone: neither on how many rows there are nor on threads, which divide the outputs.
#pragma once

#include "levels.h"
#include "tensor.h"

namespace statewise {

struct FewRows {
  int64_t rows, outputs, inner;
  const float* x;  // (rows, inner)
  int64_t x_row;
  const void* weight;  // (outputs, inner), float, or int8_t where there is a scale
  int64_t weight_row;
  const float* bias;  // (outputs,) or null
  float* y;           // (rows, outputs)
  int64_t y_row;

  // Of eight bits alone. An output is multiplied by its scale. x is rounded to sixteen bits, by a
  // unit for each row: products of integers cost a quarter of what widened weights would (13 GB/s
  // to 27), and the rounding is a two-hundredth of what eight bits do to a weight.
  const float* scale;  // (outputs,)
  int16_t* rounded;    // (rows, few_rows_padded(inner))
  float* unit;         // (rows,)
};

constexpr int64_t few_rows_most = 8;

// Numbers of a rounded row, at any level.
static inline int64_t few_rows_padded(int64_t inner) { return (inner + 63) / 64 * 64; }

STATEWISE_KERNEL(few_rows, FewRows)
STATEWISE_KERNEL(few_rows_round, FewRows)
STATEWISE_KERNEL(few_rows_int8, FewRows)

}  // namespace statewise
