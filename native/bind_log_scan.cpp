#include "arrays.h"
#include "log_scan.h"

namespace statewise {
namespace {

Shape wide_shape(const char* name, const Array& array) {
  const Shape shape = shape_of(name, array);
  if (shape.stored == Stored::bfloat16) refuse(name, array, "float32 or float64");
  return shape;
}

// For the division among threads: with its gradient a number takes several times as long again.
int64_t work(const Shape& shape) { return 3 * shape.batch * shape.time * shape.dim; }

void forward(const Array& log_decay, const Array& log_drive, const Array& initial,
             const MaybeArray& reset, const MaybeArray& lengths, const Array& output,
             const Array& final, int threads) {
  const Shape shape = wide_shape("log_drive", log_drive);
  const LogScan arguments{shape,
                          sequence("log_decay", log_decay, log_drive),
                          sequence("log_drive", log_drive, log_drive),
                          state("initial", initial, shape),
                          mask(reset, lengths, shape.batch, shape.time),
                          mutable_sequence("output", output, log_drive),
                          state("final", final, shape)};
  nb::gil_scoped_release released;
  run(table_of_log_scan, arguments, work(shape), threads, Pieces{shape.batch});
}

void backward(const Array& log_decay, const Array& log_drive, const Array& output,
              const Array& initial, const MaybeArray& reset, const MaybeArray& lengths,
              const Array& grad_output, const Array& grad_final, const Array& grad_log_decay,
              const Array& grad_log_drive, const Array& grad_initial, int threads) {
  const Shape shape = wide_shape("log_drive", log_drive);
  const LogScanBackward arguments{shape,
                                  sequence("log_decay", log_decay, log_drive),
                                  sequence("log_drive", log_drive, log_drive),
                                  sequence("output", output, log_drive),
                                  sequence("grad_output", grad_output, log_drive),
                                  state("initial", initial, shape),
                                  state("grad_final", grad_final, shape),
                                  mask(reset, lengths, shape.batch, shape.time),
                                  mutable_sequence("grad_log_decay", grad_log_decay, log_drive),
                                  mutable_sequence("grad_log_drive", grad_log_drive, log_drive),
                                  state("grad_initial", grad_initial, shape)};
  nb::gil_scoped_release released;
  run(table_of_log_scan_backward, arguments, 8 * shape.batch * shape.time * shape.dim, threads,
      Pieces{shape.batch});
}

// One time, of contiguous arrays without that axis.
void step(const Array& log_decay, const Array& log_drive, const Array& h, const Array& after,
          int threads) {
  if (h.ndim() != 2) refuse("h", h, "(batch, dim)");
  const Shape shape{stored_of("h", h), static_cast<int64_t>(h.shape(0)), 1,
                    static_cast<int64_t>(h.shape(1))};
  if (shape.stored == Stored::bfloat16) refuse("h", h, "float32 or float64");
  const LogScan arguments{shape,
                          {state("log_decay", log_decay, shape), shape.dim, 0},
                          {state("log_drive", log_drive, shape), shape.dim, 0},
                          state("h", h, shape),
                          {nullptr, 0, 0, nullptr},
                          {state("after", after, shape), shape.dim, 0},
                          after.data()};
  nb::gil_scoped_release released;
  run(table_of_log_scan, arguments, work(shape), threads);
}

}  // namespace

void bind_log_scan(nb::module_& module) {
  using namespace nb::literals;
  module.def("log_scan", &forward, "log_decay"_a, "log_drive"_a, "initial"_a, "reset"_a.none(),
             "lengths"_a.none(), "output"_a, "final"_a, "threads"_a,
             "Write h_t = log(exp(log_decay_t + h_{t-1}) + exp(log_drive_t)), and the last h.");
  module.def("log_scan_step", &step, "log_decay"_a, "log_drive"_a, "h"_a, "after"_a, "threads"_a,
             "Write the next h to after.");
  module.def("log_scan_backward", &backward, "log_decay"_a, "log_drive"_a, "output"_a, "initial"_a,
             "reset"_a.none(), "lengths"_a.none(), "grad_output"_a, "grad_final"_a,
             "grad_log_decay"_a, "grad_log_drive"_a, "grad_initial"_a, "threads"_a,
             "Write the gradients of log_scan.");
}

}  // namespace statewise
