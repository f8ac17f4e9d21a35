#include <new>

#include "arrays.h"
#include "selective_scan.h"

namespace statewise {
namespace {

// Memory for the time of one call, of numbers in the type of the arithmetic.
class Scratch {
 public:
  Scratch(Stored stored, int64_t numbers)
      : memory_(::operator new(numbers * (stored == Stored::float64 ? 8 : 4), line)) {}
  ~Scratch() { ::operator delete(memory_, line); }
  Scratch(const Scratch&) = delete;
  operator void*() const { return memory_; }

 private:
  static constexpr std::align_val_t line{64};
  void* memory_;
};

bool has_shape(const Array& array, std::initializer_list<int64_t> shape) {
  if (array.ndim() != shape.size()) return false;
  size_t axis = 0;
  for (int64_t size : shape)
    if (static_cast<int64_t>(array.shape(axis++)) != size) return false;
  return true;
}

bool contiguous(const Array& array) {
  int64_t stride = 1;
  for (size_t axis = array.ndim(); axis-- > 0;) {
    if (array.shape(axis) > 1 && array.stride(axis) != stride) return array.size() == 0;
    stride *= static_cast<int64_t>(array.shape(axis));
  }
  return true;
}

// Contiguous numbers in the type of the arithmetic; null where there are none and may be none.
void* wide(const char* name, const Array& array, Stored stored,
           std::initializer_list<int64_t> shape) {
  const bool fits = stored == Stored::float64 ? array.dtype() == nb::dtype<double>()
                                              : array.dtype() == nb::dtype<float>();
  if (!has_shape(array, shape) || !fits || !contiguous(array)) {
    std::string text = "(";
    for (int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    refuse(name, array, "a contiguous " + text + ") in the precision of the state");
  }
  return array.data();
}
void* wide(const char* name, const MaybeArray& array, Stored stored,
           std::initializer_list<int64_t> shape) {
  return array ? wide(name, *array, stored, shape) : nullptr;
}

Projection projection(const char* name, const Array& array, const Array& x, const Array& like) {
  if (array.ndim() != 4 || array.shape(0) != x.shape(0) || array.shape(1) != x.shape(1) ||
      array.shape(2) != like.shape(2) || array.shape(3) != like.shape(3) ||
      array.dtype() != x.dtype() || (array.shape(3) > 1 && array.stride(3) != 1))
    refuse(name, array,
           "(batch, time, groups, state), of the type of x and contiguous along its last axis");
  return {array.data(), array.stride(0), array.stride(1), array.stride(2)};
}

SelectiveScanInputs inputs(const Array& x, const Array& step_size, const Array& A, const Array& B,
                           const Array& C, const MaybeArray& skip, const MaybeArray& gate,
                           const MaybeArray& step_bias, const Array& initial,
                           const MaybeArray& reset, const MaybeArray& lengths) {
  const Shape shape = shape_of("x", x);
  const Projection b = projection("B", B, x, B), c = projection("C", C, x, B);
  const int64_t groups = B.shape(2), state = B.shape(3);
  if (groups == 0 || shape.dim % groups) refuse("B", B, "of as many groups as divide dim");
  return {shape.stored,
          shape.batch,
          shape.time,
          groups,
          shape.dim / groups,
          state,
          sequence("x", x, x),
          sequence("step_size", step_size, x),
          gate ? sequence("gate", *gate, x) : Sequence{nullptr, 0, 0},
          b,
          c,
          wide("A", A, shape.stored, {shape.dim, state}),
          wide("skip", skip, shape.stored, {shape.dim}),
          wide("step_bias", step_bias, shape.stored, {shape.dim}),
          wide("initial", initial, shape.stored, {shape.batch, shape.dim, state}),
          mask(reset, lengths, shape)};
}

// What one state of one channel at one time costs, in units of the scan's.
constexpr int64_t cost = 4;

int64_t work(const SelectiveScanInputs& in) {
  return cost * in.batch * in.time * in.groups * in.dim * in.state;
}

void transpose_rates(SelectiveScanInputs& in, void* rates, int threads) {
  const int64_t channels = in.groups * in.dim;
  run(table_of_selective_scan_rates,
      SelectiveScanRates{in.stored, channels, in.state, in.rates, rates}, channels * in.state,
      threads);
  in.rates = rates;
}

int64_t kept_borders(const Array& borders, const SelectiveScanInputs& in) {
  const int64_t channels = in.groups * in.dim;
  const int64_t kept = borders.ndim() == 4 ? borders.shape(1) : 0;
  wide("borders", borders, in.stored, {in.batch, kept, in.state, channels});
  return kept;
}

void forward(const Array& x, const Array& step_size, const Array& A, const Array& B,
             const Array& C, const MaybeArray& skip, const MaybeArray& gate,
             const MaybeArray& step_bias, const Array& initial, const MaybeArray& reset,
             const MaybeArray& lengths, const Array& output, const Array& final,
             const Array& borders, int threads) {
  SelectiveScanInputs in =
      inputs(x, step_size, A, B, C, skip, gate, step_bias, initial, reset, lengths);
  const int64_t channels = in.groups * in.dim, kept = kept_borders(borders, in);
  if (kept == 0 && in.time > selective_chunk)
    refuse("borders", borders, "one at least, where there are chunks");
  const MutableSequence out = mutable_sequence("output", output, x);
  void* last = wide("final", final, in.stored, {in.batch, channels, in.state});
  nb::gil_scoped_release released;
  const Scratch rates(in.stored, channels * in.state);
  transpose_rates(in, rates, threads);
  run(table_of_selective_scan, SelectiveScan{in, out, last, borders.data(), kept}, work(in),
      threads);
}

void backward(const Array& x, const Array& step_size, const Array& A, const Array& B,
              const Array& C, const MaybeArray& skip, const MaybeArray& gate,
              const MaybeArray& step_bias, const Array& initial, const MaybeArray& reset,
              const MaybeArray& lengths, const Array& borders, const Array& grad_output,
              const Array& grad_final, const Array& grad_x, const Array& grad_step_size,
              const Array& grad_A, const Array& grad_B, const Array& grad_C,
              const MaybeArray& grad_skip, const MaybeArray& grad_gate,
              const MaybeArray& grad_step_bias, const Array& grad_initial, int threads) {
  SelectiveScanInputs in =
      inputs(x, step_size, A, B, C, skip, gate, step_bias, initial, reset, lengths);
  const int64_t channels = in.groups * in.dim, kept = kept_borders(borders, in);
  if (kept < (in.time - 1) / selective_chunk)
    refuse("borders", borders, "as many as there are borders between chunks");
  projection("grad_B", grad_B, x, B), projection("grad_C", grad_C, x, B);
  if (!contiguous(grad_B)) refuse("grad_B", grad_B, "contiguous");
  if (!contiguous(grad_C)) refuse("grad_C", grad_C, "contiguous");
  if (gate.has_value() != grad_gate.has_value())
    refuse("x", x, "given with a gate and its gradient, or with neither");
  const int64_t size = in.batch * channels * in.state, width = selective_tile(in.stored);
  const int64_t tiles = (in.dim + width - 1) / width;
  const int64_t summed = in.batch * in.groups * tiles * in.time * in.state;
  const auto of_state = [&](const char* name, const Array& array) {
    return wide(name, array, in.stored, {in.batch, channels, in.state});
  };
  SelectiveScanBackward a{in,
                          borders.data(),
                          kept,
                          sequence("grad_output", grad_output, x),
                          of_state("grad_final", grad_final),
                          mutable_sequence("grad_x", grad_x, x),
                          mutable_sequence("grad_step_size", grad_step_size, x),
                          grad_gate ? mutable_sequence("grad_gate", *grad_gate, x)
                                    : MutableSequence{nullptr, 0, 0},
                          of_state("grad_initial", grad_initial)};
  SelectiveScanSums sums{in.stored, in.batch, in.time, in.groups, in.dim, in.state};
  sums.grad_A = wide("grad_A", grad_A, in.stored, {channels, in.state});
  sums.grad_skip = wide("grad_skip", grad_skip, in.stored, {channels});
  sums.grad_step_bias = wide("grad_step_bias", grad_step_bias, in.stored, {channels});
  sums.grad_B = grad_B.data(), sums.grad_C = grad_C.data();
  nb::gil_scoped_release released;
  const Scratch rates(in.stored, channels * in.state), carry(in.stored, size);
  const Scratch row_rates(in.stored, size), row_skip(in.stored, in.batch * channels);
  const Scratch row_bias(in.stored, in.batch * channels);
  const Scratch tile_B(in.stored, summed), tile_C(in.stored, summed);
  transpose_rates(a.in, rates, threads);
  a.carry = carry;
  sums.row_rates = a.row_rates = row_rates;
  sums.row_skip = a.row_skip = row_skip;
  sums.row_bias = a.row_bias = row_bias;
  sums.tile_B = a.tile_B = tile_B;
  sums.tile_C = a.tile_C = tile_C;
  run(table_of_selective_scan_backward, a, 2 * work(in), threads);
  run(table_of_selective_scan_sums, sums, summed + size, threads);
}

// A step's (batch, dim), of the type of x, as a sequence of one time.
Sequence moment(const char* name, const Array& array, const Array& x) {
  if (!has_shape(array, {static_cast<int64_t>(x.shape(0)), static_cast<int64_t>(x.shape(1))}) ||
      array.dtype() != x.dtype() || (array.shape(1) > 1 && array.stride(1) != 1))
    refuse(name, array, words(x) + ", of the type of x and contiguous along its last axis");
  return {array.data(), array.stride(0), 0};
}

// A step's (batch, state), shared by all channels, or (batch, groups, state).
Projection moment_projection(const char* name, const Array& array, const Array& x,
                             const Array& like) {
  const size_t last = like.ndim() - 1;
  bool fits = like.ndim() == 2 || like.ndim() == 3;
  fits = fits && array.ndim() == like.ndim() && array.shape(0) == x.shape(0) &&
         array.dtype() == x.dtype() && (array.shape(last) <= 1 || array.stride(last) == 1);
  for (size_t axis = 1; fits && axis <= last; axis++) fits = array.shape(axis) == like.shape(axis);
  if (!fits) refuse(name, array, "(batch, state) or (batch, groups, state), of the type of x");
  return {array.data(), array.stride(0), 0, last == 2 ? array.stride(1) : 0};
}

void step(const Array& x, const Array& step_size, const Array& A, const Array& B, const Array& C,
          const MaybeArray& skip, const MaybeArray& gate, const MaybeArray& step_bias,
          const Array& initial, const Array& output, const Array& final, int threads) {
  if (x.ndim() != 2) refuse("x", x, "(batch, dim)");
  const Stored stored = stored_of("x", x);
  const int64_t batch = x.shape(0), channels = x.shape(1);
  const Projection b = moment_projection("B", B, x, B), c = moment_projection("C", C, x, B);
  const int64_t groups = B.ndim() == 3 ? B.shape(1) : 1, state = B.shape(B.ndim() - 1);
  if (groups == 0 || channels % groups) refuse("B", B, "of as many groups as divide dim");
  const Sequence out = moment("output", output, x);
  if (!contiguous(output)) refuse("output", output, "contiguous");
  const SelectiveScanStep a{
      {stored, batch, 1, groups, channels / groups, state, moment("x", x, x),
       moment("step_size", step_size, x),
       gate ? moment("gate", *gate, x) : Sequence{nullptr, 0, 0}, b, c,
       wide("A", A, stored, {channels, state}), wide("skip", skip, stored, {channels}),
       wide("step_bias", step_bias, stored, {channels}),
       wide("initial", initial, stored, {batch, channels, state}),
       Mask{nullptr, 0, 0, nullptr}},
      const_cast<void*>(out.data),
      wide("final", final, stored, {batch, channels, state})};
  nb::gil_scoped_release released;
  run(table_of_selective_scan_step, a, work(a.in) / 8, threads);
}

}  // namespace

void bind_selective_scan(nb::module_& module) {
  using namespace nb::literals;
  module.attr("selective_chunk") = selective_chunk;
  module.def("selective_scan", &forward, "x"_a, "step_size"_a, "A"_a, "B"_a, "C"_a,
             "skip"_a.none(), "gate"_a.none(), "step_bias"_a.none(), "initial"_a,
             "reset"_a.none(), "lengths"_a.none(), "output"_a, "final"_a, "borders"_a, "threads"_a,
             "Write the outputs, the last state, and the states between chunks of time.");
  module.def("selective_scan_backward", &backward, "x"_a, "step_size"_a, "A"_a, "B"_a, "C"_a,
             "skip"_a.none(), "gate"_a.none(), "step_bias"_a.none(), "initial"_a,
             "reset"_a.none(), "lengths"_a.none(), "borders"_a, "grad_output"_a, "grad_final"_a,
             "grad_x"_a, "grad_step_size"_a, "grad_A"_a, "grad_B"_a, "grad_C"_a,
             "grad_skip"_a.none(), "grad_gate"_a.none(), "grad_step_bias"_a.none(),
             "grad_initial"_a, "threads"_a,
             "Write the gradients of selective_scan, from the states between chunks of time.");
  module.def("selective_scan_step", &step, "x"_a, "step_size"_a, "A"_a, "B"_a, "C"_a,
             "skip"_a.none(), "gate"_a.none(), "step_bias"_a.none(), "initial"_a, "output"_a,
             "final"_a, "threads"_a, "Write one output and the state after it.");
}

}  // namespace statewise
