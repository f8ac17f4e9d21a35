// The causal convolution  y_t = bias + sum_k tap_k x_{t-k}  of each channel by itself, and its
// gradient, on raw memory; a step of the diagonal one.
#pragma once

#include "levels.h"
#include "tensor.h"

namespace statewise {

struct Convolution {
  Shape shape;
  int64_t width;        // taps
  Sequence x;           // stored type
  const void* taps;     // (width, dim), wide type: the present one first, then further back
  const void* bias;     // (dim), wide type, or null
  const void* initial;  // (batch, width - 1, dim), wide type, contiguous: the oldest first
  Mask mask;
  MutableSequence output;  // stored type
  void* final;             // as initial
};

struct ConvolutionBackward {
  Shape shape;
  int64_t width;
  Sequence x, grad_output;  // stored type
  const void *taps, *initial, *grad_final;
  Mask mask;
  MutableSequence grad_x;  // stored type
  void* grad_initial;
  void* sums;  // (batch, width + 1, dim), wide type: gradients of the taps, then of the bias
};

// Adds the sums of all rows in their order, whatever the threads.
struct ConvolutionSums {
  Shape shape;
  int64_t width;
  const void* sums;
  void* grad_weight;  // (dim, width), wide type: the present tap last
  void* grad_bias;    // (dim), wide type, or null
};

// One time; arrays as above without that axis, contiguous but for the rows of x.
struct ConvolutionStep {
  Stored stored;
  int64_t batch, dim, width;
  const void* x;  // wide type, as all here
  int64_t x_stride;
  const void *taps, *bias, *past;
  void *output, *after;
};

// One time of  h = decay h + write x,  y = sum of read h,  of which complex numbers are pairs of real
// ones: the output is then the real part. Contiguous but for the rows of x.
struct DiagonalStep {
  Stored stored;
  bool complex;
  int64_t batch, dim, numbers;  // real ones of a channel's state
  const void* x;                // (batch, dim)
  int64_t x_stride;
  const void *decay, *write, *read, *h;  // (dim, numbers), and h (batch, dim, numbers)
  void *output, *after;
};

STATEWISE_KERNEL(convolution, Convolution)
STATEWISE_KERNEL(convolution_backward, ConvolutionBackward)
STATEWISE_KERNEL(convolution_step, ConvolutionStep)
STATEWISE_KERNEL(convolution_sums, ConvolutionSums)
STATEWISE_KERNEL(diagonal_step, DiagonalStep)

}  // namespace statewise
