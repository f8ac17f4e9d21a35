#include "bind_few_rows.h"
#include "mamba_step.h"
#include "rms_norm.h"
#include "selective_scan.h"

namespace statewise {
namespace {

// A product whose inputs and outputs lie in rows, one after another.
FewRows product(const char* name, const Array& weight, const MaybeArray& scale, int64_t outputs,
                int64_t inner) {
  FewRows p = few_rows_of(weight, scale, std::nullopt);
  if (p.outputs != outputs || p.inner != inner)
    refuse(name, weight,
           "(" + std::to_string(outputs) + ", " + std::to_string(inner) + "), as the others say");
  p.x_row = inner, p.y_row = outputs;
  return p;
}

void multiply(FewRows p, int64_t rows, const float* x, float* y, int threads) {
  p.rows = rows, p.x = x, p.y = y;
  multiply_few_rows(p, threads);
}

void step(std::optional<float> epsilon, const Array& x, const Array& past, const Array& h,
          const Array& input, const MaybeArray& input_scale, const Array& taps,
          const MaybeArray& bias, const Array& select, const MaybeArray& select_scale,
          const Array& step_weight, const Array& step_bias, const Array& log_rate,
          const Array& skip, const Array& output, const MaybeArray& output_scale, const Array& y,
          const Array& past_after, const Array& h_after, int threads) {
  constexpr Stored stored = Stored::float32;
  if (x.ndim() != 2 || x.shape(0) > few_rows_most)
    refuse("x", x, "(batch, dim), of at most " + std::to_string(few_rows_most) + " rows");
  if (taps.ndim() != 2 || taps.shape(1) == 0) refuse("taps", taps, "(inner, width)");
  if (h.ndim() != 3) refuse("h", h, "(batch, inner, state)");
  if (step_weight.ndim() != 2) refuse("step_weight", step_weight, "(inner, rank)");
  const int64_t rows = x.shape(0), dim = x.shape(1), inner = taps.shape(0), width = taps.shape(1);
  const int64_t state = h.shape(2), rank = step_weight.shape(1), selected = rank + 2 * state;
  const FewRows enters = product("input", input, input_scale, 2 * inner, dim);
  const FewRows selects = product("select", select, select_scale, selected, inner);
  FewRows steps = product("step_weight", step_weight, std::nullopt, inner, rank);
  steps.x_row = selected;
  const FewRows leaves = product("output", output, output_scale, dim, inner);

  const auto all = [](const char* name, const auto& array, const auto& shape) {
    return static_cast<float*>(contiguous(name, array, shape, stored));
  };
  const int64_t of_past[] = {rows, width - 1, inner}, of_h[] = {rows, inner, state};
  const int64_t of_rates[] = {inner, state}, of_taps[] = {inner, width}, of_x[] = {rows, dim};
  const int64_t of_inner[] = {inner};
  const float* from = all("x", x, of_x);
  float* to = all("y", y, of_x);
  MambaRates rates{inner * state, all("log_rate", log_rate, of_rates), nullptr};
  MambaTaps convolution{rows, inner, width, nullptr, 2 * inner, all("taps", taps, of_taps),
                        all("bias", bias, of_inner), all("past", past, of_past),
                        all("past_after", past_after, of_past), nullptr};
  SelectiveScanStep scan{{stored, rows, 1, 1, inner, state}, nullptr,
                         all("h_after", h_after, of_h)};
  scan.in.skip = all("skip", skip, of_inner);
  scan.in.step_bias = all("step_bias", step_bias, of_inner);
  scan.in.initial = all("h", h, of_h);
  nb::gil_scoped_release released;

  const int64_t numbers[] = {rows * 2 * inner, rows * inner,     rows * selected,
                             rows * inner,     inner * state, rows * inner};
  int64_t bytes = 0;
  for (int64_t count : numbers) bytes += (count + 15) / 16 * 64;  // each begins with a line
  const Scratch scratch(bytes);
  char* next = scratch.data();
  float* places[6];
  for (int i = 0; i < 6; i++) {
    places[i] = reinterpret_cast<float*>(next);
    next += (numbers[i] + 15) / 16 * 64;
  }
  const auto [uz, v, chosen, sizes, A, read] = places;
  multiply(enters, rows, from, uz, threads);
  convolution.u = uz, convolution.v = v;
  run(table_of_mamba_taps, convolution, rows * inner * width, threads);
  multiply(selects, rows, v, chosen, threads);
  float* part = chosen;
  for (int64_t size : {rank, state, state}) {
    if (epsilon)
      run(table_of_rms_norm, RmsNorm{rows, size, part, selected, nullptr, *epsilon, part, selected},
          1, 1);
    part += size;
  }
  multiply(steps, rows, chosen, sizes, threads);
  // An exponential is worth several of what `run` counts.
  constexpr int64_t cost = 4;
  scan.in.rates = rates.A = A;
  run(table_of_mamba_rates, rates, cost * rates.count, threads);
  scan.in.x = {v, inner, 0}, scan.in.step_size = {sizes, inner, 0};
  scan.in.gate = {uz + inner, 2 * inner, 0};
  scan.in.B = {chosen + rank, {selected, 0, 0}};
  scan.in.C = {chosen + rank + state, {selected, 0, 0}};
  scan.output = read;
  run(table_of_selective_scan_step, scan, cost * rows * inner * state, threads);
  multiply(leaves, rows, read, to, threads);
}

}  // namespace

void bind_mamba_step(nb::module_& module) {
  using namespace nb::literals;
  module.def("mamba_step", &step, "epsilon"_a.none(), "x"_a, "past"_a, "h"_a, "input"_a,
             "input_scale"_a.none(), "taps"_a, "bias"_a.none(), "select"_a,
             "select_scale"_a.none(), "step_weight"_a, "step_bias"_a, "log_rate"_a, "skip"_a,
             "output"_a, "output_scale"_a.none(), "y"_a, "past_after"_a, "h_after"_a, "threads"_a,
             "Write what Mamba's block answers to one input, and its state after that.");
}

}  // namespace statewise
