#include "arrays.h"
#include "scan.h"

namespace statewise {
namespace {

void forward(const Array& decay, const Array& drive, const Array& initial, const MaybeArray& reset,
             const MaybeArray& lengths, const Array& output, const Array& final, int threads) {
  const Shape shape = shape_of("drive", drive);
  const Scan arguments{shape,
                       sequence("decay", decay, drive),
                       sequence("drive", drive, drive),
                       state("initial", initial, shape),
                       mask(reset, lengths, shape.batch, shape.time),
                       mutable_sequence("output", output, drive),
                       state("final", final, shape),
                       exceeds_cache({&decay, &drive, &output})};
  nb::gil_scoped_release released;
  run(table_of_scan, arguments, shape.batch * shape.time * shape.dim, threads);
}

void backward(const Array& decay, const Array& output, const Array& initial,
              const MaybeArray& reset, const MaybeArray& lengths, const Array& grad_output,
              const Array& grad_final, const Array& grad_decay, const Array& grad_drive,
              const Array& grad_initial, int threads) {
  const Shape shape = shape_of("output", output);
  const ScanBackward arguments{
      shape,
      sequence("decay", decay, output),
      sequence("output", output, output),
      sequence("grad_output", grad_output, output),
      state("initial", initial, shape),
      state("grad_final", grad_final, shape),
      mask(reset, lengths, shape.batch, shape.time),
      mutable_sequence("grad_decay", grad_decay, output),
      mutable_sequence("grad_drive", grad_drive, output),
      state("grad_initial", grad_initial, shape),
      exceeds_cache({&decay, &output, &grad_output, &grad_decay, &grad_drive})};
  nb::gil_scoped_release released;
  run(table_of_scan_backward, arguments, shape.batch * shape.time * shape.dim, threads);
}

}  // namespace

void bind_scan(nb::module_& module) {
  using namespace nb::literals;
  module.def("scan", &forward, "decay"_a, "drive"_a, "initial"_a, "reset"_a.none(),
             "lengths"_a.none(), "output"_a, "final"_a, "threads"_a,
             "Write h_t = decay_t * h_{t-1} + drive_t to output, and the last h to final.");
  module.def("scan_backward", &backward, "decay"_a, "output"_a, "initial"_a, "reset"_a.none(),
             "lengths"_a.none(), "grad_output"_a, "grad_final"_a, "grad_decay"_a, "grad_drive"_a,
             "grad_initial"_a, "threads"_a,
             "Write the gradients of scan, from its saved output and the gradients of both results.");
}

}  // namespace statewise
