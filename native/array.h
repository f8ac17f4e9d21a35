// An array as it is handed over from Python, for as long as a call lasts: a tensor of torch, or
// what DLPack brings from any library.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <utility>

namespace statewise {

namespace nb = nanobind;

class Array {
 public:
  Array() = default;
  explicit Array(const nb::dlpack::dltensor& tensor) : tensor_(tensor) {}
  explicit Array(nb::ndarray<nb::device::cpu> held) : held_(std::move(held)) {
    tensor_.data = held_.data();
    tensor_.ndim = static_cast<int32_t>(held_.ndim());
    tensor_.dtype = held_.dtype();
    tensor_.shape = const_cast<int64_t*>(held_.shape_ptr());
    tensor_.strides = const_cast<int64_t*>(held_.stride_ptr());
  }

  void* data() const { return static_cast<char*>(tensor_.data) + tensor_.byte_offset; }
  size_t ndim() const { return static_cast<size_t>(tensor_.ndim); }
  size_t shape(size_t axis) const { return static_cast<size_t>(tensor_.shape[axis]); }
  int64_t stride(size_t axis) const { return tensor_.strides[axis]; }
  nb::dlpack::dtype dtype() const { return tensor_.dtype; }
  size_t size() const {
    size_t numbers = 1;
    for (size_t axis = 0; axis < ndim(); axis++) numbers *= shape(axis);
    return numbers;
  }
  size_t nbytes() const { return (size() * tensor_.dtype.bits * tensor_.dtype.lanes + 7) / 8; }

 private:
  nb::dlpack::dltensor tensor_;
  nb::ndarray<nb::device::cpu> held_;  // of an array that is no tensor
};

// DLPack's table of C functions, from version 1.2 on: a type has it as `__dlpack_c_exchange_api__`,
// a capsule named "dlpack_exchange_api". Only what is called has its signature here.
struct Exchange {
  uint32_t major, minor;
  void* older;
  void *allocate, *export_owned, *import_owned;
  // Says where the memory of an object lies, which stays the object's; 0 if it could.
  int (*look)(void* object, nb::dlpack::dltensor* tensor);
  void* stream;
};

// Reads objects of a type through its table; one table, because torch's tensors are all there are.
struct Exchanged {
  PyTypeObject* type = nullptr;
  const Exchange* table = nullptr;
};
extern Exchanged exchanged;

}  // namespace statewise

namespace nanobind::detail {

template <>
struct type_caster<statewise::Array> {
  NB_TYPE_CASTER(statewise::Array, const_name("Array"))

  // Eight tensors of a step took 1.8 microseconds less so than as capsules, of 17.
  template <class Flags>
  bool from_python(handle source, Flags flags, cleanup_list* cleanup) noexcept {
    if (statewise::exchanged.type && PyObject_TypeCheck(source.ptr(), statewise::exchanged.type)) {
      dlpack::dltensor tensor;
      if (statewise::exchanged.table->look(source.ptr(), &tensor)) {
        PyErr_Clear();  // such as a sparse one; nanobind then says which arguments there should be
        return false;
      }
      value = statewise::Array(tensor);
      return tensor.device.device_type == device::cpu::value;
    }
    make_caster<ndarray<device::cpu>> other;
    if (!other.from_python(source, flags, cleanup)) return false;
    value = statewise::Array(std::move(static_cast<ndarray<device::cpu>&>(other)));
    return true;
  }
};

}  // namespace nanobind::detail
