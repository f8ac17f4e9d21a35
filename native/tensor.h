// How kernels see memory: a pointer and strides, in elements.
#pragma once

#include <stdint.h>

namespace statewise {

// How numbers are stored; arithmetic is in float32, or float64 for float64.
enum class Stored { float32, float64, bfloat16 };

struct Shape {
  Stored stored;
  int64_t batch, time, dim;
};

// (batch, time, dim), whose last axis is contiguous; the others may be strided or expanded.
template <class Pointer>
struct SequenceOf {
  Pointer data;
  int64_t batch_stride, time_stride;
};
using Sequence = SequenceOf<const void*>;
using MutableSequence = SequenceOf<void*>;

// Where the state starts anew and where rows end; both may be absent.
struct Mask {
  const bool* reset;  // (batch, time)
  int64_t reset_batch_stride, reset_time_stride;
  const int64_t* lengths;  // (batch,)
};

}  // namespace statewise
