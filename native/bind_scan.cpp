#include <vector>

#include "arrays.h"
#include "scan.h"

namespace statewise {
namespace {

// A constant decay or its gradient: a contiguous (dim,) in the type of the arithmetic.
Sequence constant(const char* name, const Array& array, const Shape& shape) {
  const bool fits = shape.stored == Stored::float64 ? array.dtype() == nb::dtype<double>()
                                                    : array.dtype() == nb::dtype<float>();
  if (array.ndim() != 1 || static_cast<int64_t>(array.shape(0)) != shape.dim || !fits ||
      (shape.dim > 1 && array.stride(0) != 1))
    refuse(name, array, "a contiguous (dim,) in the precision of the state");
  return {array.data(), 0, 0};
}

Decay decay_of(bool complex, const Array& array, const Array& like, const Shape& shape) {
  if (complex && (shape.dim % 2 || shape.stored == Stored::bfloat16))
    refuse("drive", like, "pairs of float32 or float64");
  if (array.ndim() == 1) return {complex, true, constant("decay", array, shape)};
  return {complex, false, sequence("decay", array, like)};
}

template <bool complex>
void forward(const Array& decay, const Array& drive, const Array& initial, const MaybeArray& reset,
             const MaybeArray& lengths, const Array& output, const Array& final, int threads) {
  const Shape shape = shape_of("drive", drive);
  const Scan arguments{shape,
                       decay_of(complex, decay, drive, shape),
                       sequence("drive", drive, drive),
                       state("initial", initial, shape),
                       mask(reset, lengths, shape.batch, shape.time),
                       mutable_sequence("output", output, drive),
                       state("final", final, shape),
                       exceeds_cache({&decay, &drive, &output})};
  nb::gil_scoped_release released;
  run(table_of_scan, arguments, shape.batch * shape.time * shape.dim, threads);
}

template <bool complex>
void backward(const Array& decay, const Array& output, const Array& initial,
              const MaybeArray& reset, const MaybeArray& lengths, const Array& grad_output,
              const Array& grad_final, const Array& grad_decay, const Array& grad_drive,
              const Array& grad_initial, int threads) {
  const Shape shape = shape_of("output", output);
  const Decay given = decay_of(complex, decay, output, shape);
  // Of a constant decay each row has a gradient of its own before they are added.
  std::vector<char> rows;
  MutableSequence to_decay;
  if (given.constant) {
    constant("grad_decay", grad_decay, shape);
    rows.resize(shape.batch * shape.dim * (shape.stored == Stored::float64 ? 8 : 4));
    to_decay = {rows.data(), shape.dim, 0};
  } else {
    to_decay = mutable_sequence("grad_decay", grad_decay, output);
  }
  const ScanBackward arguments{
      shape,
      given,
      sequence("output", output, output),
      sequence("grad_output", grad_output, output),
      state("initial", initial, shape),
      state("grad_final", grad_final, shape),
      mask(reset, lengths, shape.batch, shape.time),
      to_decay,
      mutable_sequence("grad_drive", grad_drive, output),
      state("grad_initial", grad_initial, shape),
      exceeds_cache({&decay, &output, &grad_output, &grad_decay, &grad_drive})};
  nb::gil_scoped_release released;
  run(table_of_scan_backward, arguments, shape.batch * shape.time * shape.dim, threads);
  if (given.constant)
    run(table_of_sum_rows, SumRows{shape, rows.data(), grad_decay.data()}, shape.batch * shape.dim,
        threads);
}

template <bool complex>
void bind(nb::module_& module, const char* name, const char* name_backward) {
  using namespace nb::literals;
  module.def(name, &forward<complex>, "decay"_a, "drive"_a, "initial"_a, "reset"_a.none(),
             "lengths"_a.none(), "output"_a, "final"_a, "threads"_a,
             "Write h_t = decay_t * h_{t-1} + drive_t to output, and the last h to final.");
  module.def(name_backward, &backward<complex>, "decay"_a, "output"_a, "initial"_a,
             "reset"_a.none(), "lengths"_a.none(), "grad_output"_a, "grad_final"_a, "grad_decay"_a,
             "grad_drive"_a, "grad_initial"_a, "threads"_a,
             "Write the gradients of scan, from its saved output and the gradients of both results.");
}

}  // namespace

void bind_scan(nb::module_& module) {
  bind<false>(module, "scan", "scan_backward");
  // Complex numbers as pairs of real ones, along the last axis.
  bind<true>(module, "scan_complex", "scan_complex_backward");
}

}  // namespace statewise
