// From arrays to what kernels take. Every check is here, so that a wrong call from Python is an
// error in words and never a stray access to memory.
#pragma once

#include <nanobind/stl/optional.h>

#include <initializer_list>
#include <new>
#include <optional>
#include <string>

#include "array.h"
#include "parallel.h"
#include "tensor.h"

namespace statewise {

using MaybeArray = std::optional<Array>;

int64_t last_level_cache();  // bytes

// Whether writes should go around the caches. What fits the last one stays there for who reads it
// next: at 21 MB a backward pass ran at 114 GB/s so, and at 69 around it.
inline bool exceeds_cache(std::initializer_list<const Array*> arrays) {
  int64_t bytes = 0;
  for (const Array* array : arrays) bytes += static_cast<int64_t>(array->nbytes());
  return bytes > last_level_cache();
}

inline std::string words(const Array& array) {
  std::string text = "(";
  for (size_t i = 0; i < array.ndim(); i++)
    text += (i ? ", " : "") + std::to_string(array.shape(i));
  return text + (array.ndim() == 1 ? ",)" : ")");
}

[[noreturn]] inline void refuse(const char* name, const Array& array, const std::string& wanted) {
  throw nb::value_error(
      (std::string(name) + " of shape " + words(array) + " should be " + wanted).c_str());
}

inline Stored stored_of(const char* name, const Array& array) {
  Stored stored = Stored::float32;
  if (array.dtype() == nb::dtype<double>()) {
    stored = Stored::float64;
  } else if (array.dtype().code == static_cast<uint8_t>(nb::dlpack::dtype_code::Bfloat) &&
             array.dtype().bits == 16) {
    stored = Stored::bfloat16;
  } else if (array.dtype() != nb::dtype<float>()) {
    refuse(name, array, "float32, float64 or bfloat16");
  }
  return stored;
}

inline Shape shape_of(const char* name, const Array& array) {
  if (array.ndim() != 3) refuse(name, array, "(batch, time, dim)");
  return {stored_of(name, array), static_cast<int64_t>(array.shape(0)), static_cast<int64_t>(array.shape(1)),
          static_cast<int64_t>(array.shape(2))};
}

// A sequence of this shape and type, last axis contiguous.
inline void check_sequence(const char* name, const Array& array, const Array& like) {
  if (array.ndim() != 3 || array.shape(0) != like.shape(0) || array.shape(1) != like.shape(1) ||
      array.shape(2) != like.shape(2) || array.dtype() != like.dtype())
    refuse(name, array, words(like) + " and of the same type as the other sequences");
  if (array.shape(2) > 1 && array.stride(2) != 1)
    refuse(name, array, "contiguous along its last axis");
}

inline Sequence sequence(const char* name, const Array& array, const Array& like) {
  check_sequence(name, array, like);
  return {array.data(), array.stride(0), array.stride(1)};
}

// One to write: threads and rows must not meet in it.
inline MutableSequence mutable_sequence(const char* name, const Array& array, const Array& like) {
  check_sequence(name, array, like);
  for (int axis = 0; axis < 2; axis++)
    if (array.shape(axis) > 1 && array.stride(axis) == 0)
      refuse(name, array, "memory of its own, not expanded");
  return {array.data(), array.stride(0), array.stride(1)};
}

// A contiguous (batch, dim) in the type of the arithmetic.
inline void* state(const char* name, const Array& array, const Shape& shape) {
  const bool fits = shape.stored == Stored::float64 ? array.dtype() == nb::dtype<double>()
                                                    : array.dtype() == nb::dtype<float>();
  if (array.ndim() != 2 || static_cast<int64_t>(array.shape(0)) != shape.batch ||
      static_cast<int64_t>(array.shape(1)) != shape.dim || !fits ||
      (array.size() && ((shape.dim > 1 && array.stride(1) != 1) ||
                        (shape.batch > 1 && array.stride(0) != shape.dim))))
    refuse(name, array, "a contiguous (batch, dim) in the precision of the state");
  return array.data();
}

// The type of the arithmetic for numbers so stored.
inline Stored wide(Stored stored) {
  return stored == Stored::float64 ? Stored::float64 : Stored::float32;
}

// An array of this shape and type, last axis contiguous; `stored` is that of the sequences, or
// `wide` of it for states and what is summed.
template <int rank, class Pointer>
inline StridedOf<rank, Pointer> check_strided(const char* name, const Array& array,
                                              const int64_t (&shape)[rank], Stored stored) {
  bool fits = array.ndim() == rank && stored_of(name, array) == stored;
  for (int axis = 0; fits && axis < rank; axis++)
    fits = static_cast<int64_t>(array.shape(axis)) == shape[axis];
  if (fits && array.size() && shape[rank - 1] > 1) fits = array.stride(rank - 1) == 1;
  if (!fits) {
    std::string wanted = "(";
    for (int axis = 0; axis < rank; axis++)
      wanted += (axis ? ", " : "") + std::to_string(shape[axis]);
    const char* types[] = {"float32", "float64", "bfloat16"};
    refuse(name, array, wanted + ") of " + types[static_cast<int>(stored)] +
                            ", contiguous along its last axis");
  }
  StridedOf<rank, Pointer> made{array.data(), {}};
  for (int axis = 0; axis < rank - 1; axis++) made.stride[axis] = array.stride(axis);
  return made;
}

template <int rank>
inline Strided<rank> strided(const char* name, const Array& array, const int64_t (&shape)[rank],
                             Stored stored) {
  return check_strided<rank, const void*>(name, array, shape, stored);
}
template <int rank>
inline Strided<rank> strided(const char* name, const MaybeArray& array,
                             const int64_t (&shape)[rank], Stored stored) {
  if (!array) return {nullptr, {}};
  return strided(name, *array, shape, stored);
}

// One to write: threads and rows must not meet in it.
template <int rank>
inline MutableStrided<rank> mutable_strided(const char* name, const Array& array,
                                            const int64_t (&shape)[rank], Stored stored) {
  const auto made = check_strided<rank, void*>(name, array, shape, stored);
  for (int axis = 0; axis < rank - 1; axis++)
    if (shape[axis] > 1 && made.stride[axis] == 0)
      refuse(name, array, "memory of its own, not expanded");
  return made;
}
template <int rank>
inline MutableStrided<rank> mutable_strided(const char* name, const MaybeArray& array,
                                            const int64_t (&shape)[rank], Stored stored) {
  if (!array) return {nullptr, {}};
  return mutable_strided(name, *array, shape, stored);
}

// A contiguous array of this shape and type. There is nothing to address in one without numbers.
template <int rank>
inline void* contiguous(const char* name, const Array& array, const int64_t (&shape)[rank],
                        Stored stored) {
  const auto made = check_strided<rank, void*>(name, array, shape, stored);
  int64_t stride = shape[rank - 1];
  for (int axis = rank - 2; axis >= 0; stride *= shape[axis--])
    if (array.size() && shape[axis] > 1 && made.stride[axis] != stride)
      refuse(name, array, "contiguous");
  return made.data;
}
template <int rank>
inline void* contiguous(const char* name, const MaybeArray& array, const int64_t (&shape)[rank],
                        Stored stored) {
  return array ? contiguous(name, *array, shape, stored) : nullptr;
}

// Memory for the time of one call, that begins with a line of the cache.
class Scratch {
 public:
  explicit Scratch(int64_t bytes) : memory_(::operator new(bytes, line)) {}
  ~Scratch() { ::operator delete(memory_, line); }
  Scratch(const Scratch&) = delete;
  char* data() const { return static_cast<char*>(memory_); }

 private:
  static constexpr std::align_val_t line{64};
  void* memory_;
};

inline Mask mask(const MaybeArray& reset, const MaybeArray& lengths, int64_t batch,
                 int64_t time) {
  Mask mask{nullptr, 0, 0, nullptr};
  if (reset) {
    if (reset->ndim() != 2 || static_cast<int64_t>(reset->shape(0)) != batch ||
        static_cast<int64_t>(reset->shape(1)) != time || reset->dtype() != nb::dtype<bool>())
      refuse("reset", *reset, "a boolean (batch, time)");
    mask.reset = static_cast<const bool*>(reset->data());
    mask.reset_batch_stride = reset->stride(0);
    mask.reset_time_stride = reset->stride(1);
  }
  if (lengths) {
    if (lengths->ndim() != 1 || static_cast<int64_t>(lengths->shape(0)) != batch ||
        lengths->dtype() != nb::dtype<int64_t>() ||
        (lengths->shape(0) > 1 && lengths->stride(0) != 1))
      refuse("lengths", *lengths, "a contiguous int64 (batch,)");
    mask.lengths = static_cast<const int64_t*>(lengths->data());
  }
  return mask;
}

}  // namespace statewise
