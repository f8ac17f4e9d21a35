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

// An array of any rank, whose last axis is contiguous; the others may be strided or, where it is only
// read, expanded. `stride` has those of all axes but the last. `data` is null where it is optional
// and absent.
template <int rank, class Pointer>
struct StridedOf {
  Pointer data;
  int64_t stride[rank - 1];
};
template <int rank>
using Strided = StridedOf<rank, const void*>;
template <int rank>
using MutableStrided = StridedOf<rank, void*>;

// (batch, time, heads, dim), whose last axis is contiguous. Without an axis dim, for gates.
template <class Pointer>
struct HeadsOf {
  Pointer data;  // null where there is none
  int64_t batch_stride, time_stride, head_stride;
};
using Heads = HeadsOf<const void*>;
using MutableHeads = HeadsOf<void*>;

// Where the state starts anew and where rows end; both may be absent.
struct Mask {
  const bool* reset;  // (batch, time)
  int64_t reset_batch_stride, reset_time_stride;
  const int64_t* lengths;  // (batch,)
};

}  // namespace statewise
