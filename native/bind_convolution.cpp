#include <memory>
#include <vector>

#include "arrays.h"
#include "convolution.h"

namespace statewise {
namespace {

int64_t size(const Array& array, int axis) { return static_cast<int64_t>(array.shape(axis)); }

// Contiguous, in the type of the arithmetic.
template <int rank>
void* whole(const char* name, const Array& array, const int64_t (&shape)[rank], Stored stored) {
  return contiguous(name, array, shape, wide(stored));
}
void* whole(const char* name, const MaybeArray& array, int64_t dim, Stored stored) {
  return contiguous(name, array, {dim}, wide(stored));
}

int64_t width_of(const Array& weight) {
  if (weight.ndim() != 2 || size(weight, 1) == 0) refuse("weight", weight, "(dim, width)");
  return size(weight, 1);
}

// The taps as kernels walk through them: the present one first, the channels of each side by side.
class Taps {
 public:
  // Of a weight, (dim, width), the oldest first.
  Taps(const Array& weight, const Shape& shape, int64_t width) {
    whole<2>("weight", weight, {shape.dim, width}, shape.stored);
    turn(weight, shape, width, true);
  }
  // Of a kernel, (dim, length), the present first; one that lies the other way around is read there.
  struct Kernel {};
  Taps(const Array& kernel, const Shape& shape, int64_t length, Kernel) {
    const bool turned = (kernel.stride(0) == 1 || shape.dim == 1) &&
                        (kernel.stride(1) == shape.dim || length == 1);
    if (turned && stored_of("kernel", kernel) == wide(shape.stored)) {
      data_ = kernel.data();
      return;
    }
    whole<2>("kernel", kernel, {shape.dim, length}, shape.stored);
    turn(kernel, shape, length, false);
  }
  const void* data() const { return data_; }

 private:
  void turn(const Array& weight, const Shape& shape, int64_t width, bool reverse) {
    if (wide(shape.stored) == Stored::float64) turn<double>(weight, shape.dim, width, reverse);
    else turn<float>(weight, shape.dim, width, reverse);
  }
  template <class W>
  void turn(const Array& weight, int64_t dim, int64_t width, bool reverse) {
    own_.reset(new char[dim * width * sizeof(W)]);
    data_ = own_.get();
    const W* from = static_cast<const W*>(weight.data());
    W* to = reinterpret_cast<W*>(own_.get());
    // A few channels at a time, whose weights stay in the nearest cache.
    const int64_t block = width <= 8 ? dim : 16;
    for (int64_t first = 0; first < dim; first += block) {
      const int64_t end = first + block < dim ? first + block : dim;
      for (int64_t k = 0; k < width; k++) {
        const W* tap = from + (reverse ? width - 1 - k : k);
        for (int64_t c = first; c < end; c++) to[k * dim + c] = tap[c * width];
      }
    }
  }
  std::unique_ptr<char[]> own_;
  const void* data_;
};

int64_t operations(const Shape& shape, int64_t width) {
  return shape.batch * shape.time * shape.dim * width;
}

void forward(const Array& x, const Array& weight, const MaybeArray& bias, const Array& initial,
             const MaybeArray& reset, const MaybeArray& lengths, const Array& output,
             const Array& final, int threads) {
  const Shape shape = shape_of("x", x);
  const int64_t width = width_of(weight);
  const Taps taps(weight, shape, width);
  const Convolution a{shape,
                      width,
                      sequence("x", x, x),
                      taps.data(),
                      whole("bias", bias, shape.dim, shape.stored),
                      whole<3>("initial", initial, {shape.batch, width - 1, shape.dim}, shape.stored),
                      mask(reset, lengths, shape.batch, shape.time),
                      mutable_sequence("output", output, x),
                      whole<3>("final", final, {shape.batch, width - 1, shape.dim}, shape.stored)};
  nb::gil_scoped_release released;
  run(table_of_convolution, a, operations(shape, width), threads);
}

void backward(const Array& x, const Array& weight, const Array& initial, const MaybeArray& reset,
              const MaybeArray& lengths, const Array& grad_output, const Array& grad_final,
              const Array& grad_x, const Array& grad_weight, const MaybeArray& grad_bias,
              const Array& grad_initial, int threads) {
  const Shape shape = shape_of("x", x);
  const int64_t width = width_of(weight), past = width - 1;
  const Taps taps(weight, shape, width);
  std::vector<char> sums(shape.batch * (width + 1) * shape.dim *
                         (shape.stored == Stored::float64 ? 8 : 4));
  const ConvolutionBackward a{
      shape,
      width,
      sequence("x", x, x),
      sequence("grad_output", grad_output, x),
      taps.data(),
      whole<3>("initial", initial, {shape.batch, past, shape.dim}, shape.stored),
      whole<3>("grad_final", grad_final, {shape.batch, past, shape.dim}, shape.stored),
      mask(reset, lengths, shape.batch, shape.time),
      mutable_sequence("grad_x", grad_x, x),
      whole<3>("grad_initial", grad_initial, {shape.batch, past, shape.dim}, shape.stored),
      sums.data()};
  const ConvolutionSums of_rows{
      shape, width, sums.data(),
      whole<2>("grad_weight", grad_weight, {shape.dim, width}, shape.stored),
      whole("grad_bias", grad_bias, shape.dim, shape.stored)};
  nb::gil_scoped_release released;
  run(table_of_convolution_backward, a, 2 * operations(shape, width), threads);
  run(table_of_convolution_sums, of_rows, shape.batch * (width + 1) * shape.dim, threads);
}

// One time, of arrays without that axis.
void one(const Array& x, const Taps& taps, int64_t width, const MaybeArray& bias, const Array& past,
         const Array& output, const Array& after, int threads) {
  const Stored stored = stored_of("x", x);
  if (stored == Stored::bfloat16) refuse("x", x, "float32 or float64");
  const int64_t batch = size(x, 0), dim = size(x, 1);
  const ConvolutionStep a{stored,
                          batch,
                          dim,
                          width,
                          strided<2>("x", x, {batch, dim}, stored).data,
                          x.stride(0),
                          taps.data(),
                          whole("bias", bias, dim, stored),
                          whole<3>("past", past, {batch, width - 1, dim}, stored),
                          whole<2>("output", output, {batch, dim}, stored),
                          whole<3>("after", after, {batch, width - 1, dim}, stored)};
  nb::gil_scoped_release released;
  run(table_of_convolution_step, a, batch * dim * width, threads);
}

Shape step_shape(const Array& x) {
  if (x.ndim() != 2) refuse("x", x, "(batch, dim)");
  return {stored_of("x", x), size(x, 0), 1, size(x, 1)};
}

void step(const Array& x, const Array& weight, const MaybeArray& bias, const Array& past,
          const Array& output, const Array& after, int threads) {
  const int64_t width = width_of(weight);
  one(x, Taps(weight, step_shape(x), width), width, bias, past, output, after, threads);
}

void long_step(const Array& x, const Array& kernel, const Array& past, const Array& output,
               const Array& after, int threads) {
  const Shape shape = step_shape(x);
  if (kernel.ndim() != 2 || size(kernel, 0) != shape.dim || size(kernel, 1) == 0)
    refuse("kernel", kernel, "(dim, length)");
  const int64_t length = size(kernel, 1);
  one(x, Taps(kernel, shape, length, Taps::Kernel()), length, std::nullopt, past, output, after,
      threads);
}

// One time of the diagonal one, whose parameters and state are all real or all complex.
void diagonal(const Array& x, const Array& decay, const Array& write, const Array& read,
              const Array& h, const Array& output, const Array& after, int threads) {
  const Shape shape = step_shape(x);
  if (shape.stored == Stored::bfloat16) refuse("x", x, "float32 or float64");
  if (h.ndim() != 3) refuse("h", h, "(batch, dim, state)");
  const int64_t batch = shape.batch, dim = shape.dim, state = size(h, 2);
  const uint8_t bits = shape.stored == Stored::float64 ? 64 : 32;
  const bool complex = h.dtype().code == static_cast<uint8_t>(nb::dlpack::dtype_code::Complex);
  nb::dlpack::dtype type = x.dtype();
  if (complex) type.code = h.dtype().code, type.bits = 2 * bits;
  const auto numbers = [&](const char* name, const Array& array, int64_t rows) {
    const bool rowed = rows >= 0;
    const int first = rowed ? 1 : 0;
    bool fits = array.dtype() == type && static_cast<int>(array.ndim()) == first + 2 &&
                (!rowed || size(array, 0) == rows) && size(array, first) == dim &&
                size(array, first + 1) == state;
    if (fits && array.size())
      fits = (state == 1 || array.stride(first + 1) == 1) &&
             (dim == 1 || array.stride(first) == state) &&
             (!rowed || rows == 1 || array.stride(0) == dim * state);
    if (!fits)
      refuse(name, array, "contiguous, (dim, state) or for h (batch, dim, state), in the precision "
                          "of x, and all real or all complex");
    return array.data();
  };
  const DiagonalStep a{shape.stored,
                       complex,
                       batch,
                       dim,
                       complex ? 2 * state : state,
                       strided<2>("x", x, {batch, dim}, shape.stored).data,
                       x.stride(0),
                       numbers("decay", decay, -1),
                       numbers("write", write, -1),
                       numbers("read", read, -1),
                       numbers("h", h, batch),
                       whole<2>("output", output, {batch, dim}, shape.stored),
                       numbers("after", after, batch)};
  nb::gil_scoped_release released;
  run(table_of_diagonal_step, a, batch * dim * a.numbers, threads);
}

}  // namespace

void bind_convolution(nb::module_& module) {
  using namespace nb::literals;
  module.def("convolution", &forward, "x"_a, "weight"_a, "bias"_a.none(), "initial"_a,
             "reset"_a.none(), "lengths"_a.none(), "output"_a, "final"_a, "threads"_a,
             "Write the causal convolution of each channel to output, the last inputs to final.");
  module.def("convolution_backward", &backward, "x"_a, "weight"_a, "initial"_a, "reset"_a.none(),
             "lengths"_a.none(), "grad_output"_a, "grad_final"_a, "grad_x"_a, "grad_weight"_a,
             "grad_bias"_a.none(), "grad_initial"_a, "threads"_a,
             "Write the gradients of convolution, from those of both results.");
  module.def("convolution_step", &step, "x"_a, "weight"_a, "bias"_a.none(), "past"_a, "output"_a,
             "after"_a, "threads"_a, "Write the output of one time, and the inputs to keep.");
  module.def("long_convolution_step", &long_step, "x"_a, "kernel"_a, "past"_a, "output"_a,
             "after"_a, "threads"_a, "The same for a kernel whose present number is the first.");
  module.def("diagonal_convolution_step", &diagonal, "x"_a, "decay"_a, "write"_a, "read"_a, "h"_a,
             "output"_a, "after"_a, "threads"_a,
             "Write the output of one time of the diagonal convolution, and the state after it.");
}

}  // namespace statewise
