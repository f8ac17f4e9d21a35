#include <memory>

#include "arrays.h"
#include "matrix_scan.h"

namespace statewise {
namespace {

int64_t size(const Array& array, int axis) { return static_cast<int64_t>(array.shape(axis)); }

// Whether the axes from `axis` on lie one after another, without gaps.
bool packed(const Array& array, int axis) {
  int64_t expected = 1;
  for (int i = static_cast<int>(array.ndim()) - 1; i >= axis; i--) {
    if (array.shape(i) != 1 && array.stride(i) != expected) return false;
    expected *= size(array, i);
  }
  return true;
}

MatrixShape matrix_shape(const char* name, const Array& drive) {
  if (drive.ndim() != 4 || size(drive, 3) == 0)
    refuse(name, drive, "(batch, time, blocks, n), n at least 1");
  return {stored_of(name, drive), size(drive, 0), size(drive, 1), size(drive, 2), size(drive, 3)};
}

// (batch, time, blocks, n), packed within a time.
const Array& states(const char* name, const Array& array, const MatrixShape& shape) {
  strided<4>(name, array, {shape.batch, shape.time, shape.blocks, shape.n}, shape.stored);
  if (array.size() && !packed(array, 2)) refuse(name, array, "contiguous within a time");
  return array;
}

Sequence read(const Array& array) { return {array.data(), array.stride(0), array.stride(1)}; }

MutableSequence write(const char* name, const Array& array) {
  if (array.size() && !packed(array, 0)) refuse(name, array, "contiguous");
  return {array.data(), array.stride(0), array.stride(1)};
}

// (batch or 1, time or 1, blocks, n, n), packed within a time.
Sequence transitions(const char* name, const Array& array, const MatrixShape& shape) {
  if (array.ndim() != 5 || (size(array, 0) != shape.batch && size(array, 0) != 1) ||
      (size(array, 1) != shape.time && size(array, 1) != 1) || size(array, 2) != shape.blocks ||
      size(array, 3) != shape.n || size(array, 4) != shape.n ||
      stored_of(name, array) != shape.stored)
    refuse(name, array,
           "(batch or 1, time or 1, blocks, n, n) and of the same type as the sequences");
  if (array.size() && !packed(array, 2)) refuse(name, array, "contiguous within a time");
  return {array.data(), array.shape(0) == 1 ? 0 : array.stride(0),
          array.shape(1) == 1 ? 0 : array.stride(1)};
}

void* wide_state(const char* name, const Array& array, const MatrixShape& shape) {
  strided<3>(name, array, {shape.batch, shape.blocks, shape.n}, wide(shape.stored));
  if (array.size() && !packed(array, 0)) refuse(name, array, "contiguous");
  return array.data();
}

// Numbers in the type of the arithmetic, at the beginning of a line of the cache.
class Work {
 public:
  Work(Stored stored, int64_t numbers)
      : bytes_(numbers * (stored == Stored::float64 ? 8 : 4)),
        data_(numbers ? ::operator new(bytes_, std::align_val_t(64)) : nullptr) {}
  ~Work() {
    if (data_) ::operator delete(data_, std::align_val_t(64));
  }
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;
  void* data() const { return data_; }

 private:
  size_t bytes_;
  void* data_;
};

int64_t operations(const MatrixShape& shape) {
  return shape.batch * shape.time * shape.blocks * shape.n * shape.n;
}

// Transitions that times share leave arithmetic alone to be done; others are bound by memory.
Pieces pieces(const MatrixShape& shape, const Sequence& transition, int64_t together) {
  if (transition.time_stride) return {};
  if (matrix_small(shape.n)) return {shape.batch};
  return {(shape.batch + together - 1) / together * shape.blocks};
}

// The dense kernels' own memory, for every thread.
Work work_for(const MatrixShape& shape, int64_t together, bool shares, int64_t done, int threads) {
  const int useful = threads_for(done, threads);
  return {shape.stored,
          matrix_small(shape.n) ? 0 : useful * matrix_work_numbers(shape, together, shares)};
}

void forward(const Array& transition, const Array& drive, const Array& initial,
             const MaybeArray& reset, const MaybeArray& lengths, const Array& output,
             const Array& final, int threads) {
  const MatrixShape shape = matrix_shape("drive", drive);
  MatrixScan a{shape,
               transitions("transition", transition, shape),
               read(states("drive", drive, shape)),
               wide_state("initial", initial, shape),
               mask(reset, lengths, shape.batch, shape.time),
               write("output", states("output", output, shape)),
               wide_state("final", final, shape),
               1,
               nullptr};
  nb::gil_scoped_release released;
  a.together = matrix_together(shape, a.transition);
  const Work work = work_for(shape, a.together, matrix_shares(shape, a.transition), operations(shape), threads);
  a.work = work.data();
  run(table_of_matrix_scan, a, operations(shape), threads, pieces(shape, a.transition, a.together));
}

void backward(const Array& transition, const Array& output, const Array& initial,
              const MaybeArray& reset, const MaybeArray& lengths, const Array& grad_output,
              const Array& grad_final, const Array& grad_transition, const Array& grad_drive,
              const Array& grad_initial, int threads) {
  const MatrixShape shape = matrix_shape("output", output);
  MatrixScanBackward a{shape,
                       transitions("transition", transition, shape),
                       read(states("output", output, shape)),
                       read(states("grad_output", grad_output, shape)),
                       wide_state("initial", initial, shape),
                       wide_state("grad_final", grad_final, shape),
                       mask(reset, lengths, shape.batch, shape.time),
                       {nullptr, 0, 0},
                       write("grad_drive", states("grad_drive", grad_drive, shape)),
                       wide_state("grad_initial", grad_initial, shape),
                       nullptr,
                       1,
                       nullptr,
                       exceeds_cache({&transition, &output, &grad_output, &grad_transition})};
  transitions("grad_transition", grad_transition, shape);
  a.grad_transition = write("grad_transition", grad_transition);
  for (int axis = 0; axis < 2; axis++)
    if (grad_transition.shape(axis) != transition.shape(axis))
      refuse("grad_transition", grad_transition, words(transition));
  const bool each = size(transition, 0) == shape.batch && size(transition, 1) == shape.time;
  const bool shared = size(transition, 0) != shape.batch;
  if (!each && size(transition, 1) != 1)
    refuse("transition", transition, "of every row or of one time, to be differentiated");
  nb::gil_scoped_release released;
  a.together = matrix_together(shape, a.transition);
  const int64_t groups = (shape.batch + a.together - 1) / a.together;
  const Work sums(shape.stored, each ? 0 : groups * shape.blocks * shape.n * shape.n);
  const Work work = work_for(shape, a.together, matrix_shares(shape, a.transition), 2 * operations(shape), threads);
  a.sums = sums.data();
  a.work = work.data();
  run(table_of_matrix_scan_backward, a, 2 * operations(shape), threads,
      pieces(shape, a.transition, a.together));
  if (!each)
    run(table_of_matrix_scan_sums,
        MatrixScanSums{shape, sums.data(), groups, grad_transition.data(), shared},
        groups * shape.blocks * shape.n * shape.n, threads);
}

// One time, of arrays without that axis: (blocks, n, n) or (batch, blocks, n, n), (batch, blocks, n).
void step(const Array& transition, const Array& drive, const Array& h, const Array& after,
          int threads) {
  if (drive.ndim() != 3 || size(drive, 2) == 0) refuse("drive", drive, "(batch, blocks, n)");
  const MatrixShape shape{stored_of("drive", drive), size(drive, 0), 1, size(drive, 1),
                          size(drive, 2)};
  if (shape.stored == Stored::bfloat16) refuse("drive", drive, "float32 or float64");
  const int64_t state = shape.blocks * shape.n;
  const bool each = transition.ndim() == 4;
  if (each)
    strided<4>("transition", transition, {shape.batch, shape.blocks, shape.n, shape.n},
               shape.stored);
  else
    strided<3>("transition", transition, {shape.blocks, shape.n, shape.n}, shape.stored);
  if (transition.size() && !packed(transition, each ? 1 : 0))
    refuse("transition", transition, "contiguous within a row");
  const MatrixScan given{shape,
                         {transition.data(), each ? transition.stride(0) : 0, 0},
                         {wide_state("drive", drive, shape), state, 0},
                         wide_state("h", h, shape),
                         {nullptr, 0, 0, nullptr},
                         {wide_state("after", after, shape), state, 0},
                         after.data(),
                         1,
                         nullptr};
  nb::gil_scoped_release released;
  MatrixScan a = given;
  const Work work = work_for(shape, 1, false, operations(shape), threads);
  a.work = work.data();
  run(table_of_matrix_scan, a, operations(shape), threads);
}

}  // namespace

void bind_matrix_scan(nb::module_& module) {
  using namespace nb::literals;
  module.def("matrix_scan", &forward, "transition"_a, "drive"_a, "initial"_a, "reset"_a.none(),
             "lengths"_a.none(), "output"_a, "final"_a, "threads"_a,
             "Write h_t = transition_t h_{t-1} + drive_t to output, and the last h to final.");
  module.def("matrix_scan_step", &step, "transition"_a, "drive"_a, "h"_a, "after"_a, "threads"_a,
             "Write transition h + drive to after.");
  module.def("matrix_scan_backward", &backward, "transition"_a, "output"_a, "initial"_a,
             "reset"_a.none(), "lengths"_a.none(), "grad_output"_a, "grad_final"_a,
             "grad_transition"_a, "grad_drive"_a, "grad_initial"_a, "threads"_a,
             "Write the gradients of matrix_scan, from its saved output and the gradients of both "
             "results.");
}

}  // namespace statewise
