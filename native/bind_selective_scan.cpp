#include "arrays.h"
#include "selective_scan.h"

namespace statewise {
namespace {

SelectiveScanInputs inputs(const Array& x, const Array& step_size, const Array& A, const Array& B,
                           const Array& C, const MaybeArray& skip, const MaybeArray& gate,
                           const MaybeArray& step_bias, const Array& initial,
                           const MaybeArray& reset, const MaybeArray& lengths) {
  const Shape shape = shape_of("x", x);
  if (B.ndim() != 4) refuse("B", B, "(batch, time, groups, state)");
  const int64_t groups = B.shape(2), state = B.shape(3);
  if (groups == 0 || shape.dim % groups) refuse("B", B, "of as many groups as divide dim");
  const int64_t projected[] = {shape.batch, shape.time, groups, state};
  const Stored work = wide(shape.stored);
  return {shape.stored,
          shape.batch,
          shape.time,
          groups,
          shape.dim / groups,
          state,
          sequence("x", x, x),
          sequence("step_size", step_size, x),
          gate ? sequence("gate", *gate, x) : Sequence{nullptr, 0, 0},
          strided("B", B, projected, shape.stored),
          strided("C", C, projected, shape.stored),
          contiguous("A", A, {shape.dim, state}, work),
          contiguous("skip", skip, {shape.dim}, work),
          contiguous("step_bias", step_bias, {shape.dim}, work),
          contiguous("initial", initial, {shape.batch, shape.dim, state}, work),
          mask(reset, lengths, shape.batch, shape.time)};
}

// What one state of one channel at one time costs, in units of the scan's.
constexpr int64_t cost = 4;

// Of one number in the type of the arithmetic.
int64_t bytes_of(Stored stored) { return stored == Stored::float64 ? 8 : 4; }

int64_t work(const SelectiveScanInputs& in) {
  return cost * in.batch * in.time * in.groups * in.dim * in.state;
}

Pieces pieces(const SelectiveScanInputs& in) {
  constexpr int64_t channels = 128;  // rows of them are still read in runs
  return {in.batch * in.groups * in.dim / channels};
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
  contiguous("borders", borders, {in.batch, kept, in.state, channels}, wide(in.stored));
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
  void* last = contiguous("final", final, {in.batch, channels, in.state}, wide(in.stored));
  nb::gil_scoped_release released;
  const int64_t number = bytes_of(in.stored);
  const Scratch rates(channels * in.state * number);
  transpose_rates(in, rates.data(), threads);
  run(table_of_selective_scan, SelectiveScan{in, out, last, borders.data(), kept}, work(in),
      threads, pieces(in));
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
  if (gate.has_value() != grad_gate.has_value())
    refuse("x", x, "given with a gate and its gradient, or with neither");
  const int64_t size = in.batch * channels * in.state, width = selective_tile(in.stored);
  const int64_t tiles = (in.dim + width - 1) / width;
  const int64_t summed = in.batch * in.groups * tiles * in.time * in.state;
  const auto of_state = [&](const char* name, const Array& array) {
    return contiguous(name, array, {in.batch, channels, in.state}, wide(in.stored));
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
  const int64_t projected[] = {in.batch, in.time, in.groups, in.state};
  sums.grad_A = contiguous("grad_A", grad_A, {channels, in.state}, wide(in.stored));
  sums.grad_B = contiguous("grad_B", grad_B, projected, in.stored);
  sums.grad_C = contiguous("grad_C", grad_C, projected, in.stored);
  sums.grad_skip = contiguous("grad_skip", grad_skip, {channels}, wide(in.stored));
  sums.grad_step_bias = contiguous("grad_step_bias", grad_step_bias, {channels}, wide(in.stored));
  nb::gil_scoped_release released;
  const int64_t number = bytes_of(in.stored);
  const Scratch rates(channels * in.state * number), carry(size * number);
  const Scratch row_rates(size * number), row_skip(in.batch * channels * number);
  const Scratch row_bias(in.batch * channels * number);
  const Scratch tile_B(summed * number), tile_C(summed * number);
  transpose_rates(a.in, rates.data(), threads);
  a.carry = carry.data();
  sums.row_rates = a.row_rates = row_rates.data();
  sums.row_skip = a.row_skip = row_skip.data();
  sums.row_bias = a.row_bias = row_bias.data();
  sums.tile_B = a.tile_B = tile_B.data();
  sums.tile_C = a.tile_C = tile_C.data();
  run(table_of_selective_scan_backward, a, 2 * work(in), threads, pieces(in));
  run(table_of_selective_scan_sums, sums, summed + size, threads);
}

void step(const Array& x, const Array& step_size, const Array& A, const Array& B, const Array& C,
          const MaybeArray& skip, const MaybeArray& gate, const MaybeArray& step_bias,
          const Array& initial, const Array& output, const Array& final, int threads) {
  if (x.ndim() != 2) refuse("x", x, "(batch, dim)");
  const Stored stored = stored_of("x", x), work = wide(stored);
  const int64_t batch = x.shape(0), channels = x.shape(1);
  const bool grouped = B.ndim() == 3;
  if (!grouped && B.ndim() != 2) refuse("B", B, "(batch, state) or (batch, groups, state)");
  const int64_t groups = grouped ? B.shape(1) : 1, state = B.shape(grouped ? 2 : 1);
  if (groups == 0 || channels % groups) refuse("B", B, "of as many groups as divide dim");
  const auto sequence = [&](const char* name, const Array& array) {
    return Sequence{array.data(), strided(name, array, {batch, channels}, stored).stride[0], 0};
  };
  const auto projection = [&](const char* name, const Array& array) {
    if (!grouped)
      return Strided<4>{array.data(),
                        {strided(name, array, {batch, state}, stored).stride[0], 0, 0}};
    const auto given = strided(name, array, {batch, groups, state}, stored);
    return Strided<4>{array.data(), {given.stride[0], 0, given.stride[1]}};
  };
  const SelectiveScanStep a{{stored,
                             batch,
                             1,
                             groups,
                             channels / groups,
                             state,
                             sequence("x", x),
                             sequence("step_size", step_size),
                             gate ? sequence("gate", *gate) : Sequence{nullptr, 0, 0},
                             projection("B", B),
                             projection("C", C),
                             contiguous("A", A, {channels, state}, work),
                             contiguous("skip", skip, {channels}, work),
                             contiguous("step_bias", step_bias, {channels}, work),
                             contiguous("initial", initial, {batch, channels, state}, work),
                             Mask{nullptr, 0, 0, nullptr}},
                            contiguous("output", output, {batch, channels}, stored),
                            contiguous("final", final, {batch, channels, state}, work)};
  nb::gil_scoped_release released;
  run(table_of_selective_scan_step, a, batch * channels * state, threads);
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
