#include "arrays.h"
#include "stabilized_attention.h"

namespace statewise {
namespace {

StabilizedShape shape_of_all(const Array& query, const Array& value, int64_t chunk) {
  if (query.ndim() != 4) refuse("query", query, "(batch, time, heads, key)");
  if (value.ndim() != 4) refuse("value", value, "(batch, time, heads, value)");
  return {stored_of("value", value),
          static_cast<int64_t>(value.shape(0)),
          static_cast<int64_t>(value.shape(1)),
          static_cast<int64_t>(value.shape(2)),
          static_cast<int64_t>(query.shape(3)),
          static_cast<int64_t>(value.shape(3)),
          chunk};
}

struct State {
  const Array &C, &n, &m;
};

MutableStabilizedState state(const char* name, const State& x, const StabilizedShape& s) {
  return {contiguous(name, x.C, {s.batch, s.heads, s.key, s.value}, wide(s.stored)),
          contiguous(name, x.n, {s.batch, s.heads, s.key}, wide(s.stored)),
          contiguous(name, x.m, {s.batch, s.heads}, wide(s.stored))};
}

void* borders(const Array& x, const StabilizedShape& s) {
  const int64_t chunks = (s.time + s.chunk - 1) / s.chunk;
  const int64_t size = s.batch * s.heads * chunks * stabilized_border(s);
  return contiguous("borders", x, {size}, wide(s.stored));
}

StabilizedState read(const MutableStabilizedState& x) { return {x.C, x.n, x.m}; }

StabilizedInputs inputs(const Array& query, const Array& key, const Array& value,
                        const Array& log_input, const Array& log_forget, const State& initial,
                        const MaybeArray& reset, const MaybeArray& lengths, double scale,
                        double eps, const StabilizedShape& s) {
  return {strided("query", query, {s.batch, s.time, s.heads, s.key}, s.stored),
          strided("key", key, {s.batch, s.time, s.heads, s.key}, s.stored),
          strided("value", value, {s.batch, s.time, s.heads, s.value}, s.stored),
          strided("log_input", log_input, {s.batch, s.time, s.heads}, wide(s.stored)),
          strided("log_forget", log_forget, {s.batch, s.time, s.heads}, wide(s.stored)),
          read(state("initial", initial, s)),
          mask(reset, lengths, s.batch, s.time),
          scale,
          eps};
}

int64_t work(const StabilizedShape& s) {
  return s.batch * s.time * s.heads * s.key * s.value;
}

void forward(const Array& query, const Array& key, const Array& value, const Array& log_input,
             const Array& log_forget, const Array& C, const Array& n, const Array& m,
             const MaybeArray& reset, const MaybeArray& lengths, const Array& output,
             const Array& final_C, const Array& final_n, const Array& final_m,
             const MaybeArray& border, int threads, double scale, double eps, int64_t chunk) {
  const StabilizedShape s = shape_of_all(query, value, chunk);
  StabilizedAttention arguments{
      s,
      inputs(query, key, value, log_input, log_forget, {C, n, m}, reset, lengths, scale, eps, s),
      mutable_strided("output", output, {s.batch, s.time, s.heads, s.value}, s.stored),
      state("final", {final_C, final_n, final_m}, s),
      nullptr,
      nullptr};
  if (border && chunk > 0) arguments.borders = borders(*border, s);
  nb::gil_scoped_release released;
  const Scratch scratch(stabilized_scratch(s) * threads);
  arguments.scratch = scratch.data();
  run(table_of_stabilized_attention, arguments, work(s), threads,
      Pieces{s.batch * s.heads});
}

// One time, whose axis the arrays do not have.
void step(const Array& query, const Array& key, const Array& value, const Array& log_input,
          const Array& log_forget, const Array& C, const Array& n, const Array& m,
          const Array& output, const Array& final_C, const Array& final_n, const Array& final_m,
          int threads, double scale, double eps) {
  if (query.ndim() != 3) refuse("query", query, "(batch, heads, key)");
  if (value.ndim() != 3) refuse("value", value, "(batch, heads, value)");
  const StabilizedShape s{stored_of("value", value),
                          static_cast<int64_t>(value.shape(0)),
                          1,
                          static_cast<int64_t>(value.shape(1)),
                          static_cast<int64_t>(query.shape(2)),
                          static_cast<int64_t>(value.shape(2)),
                          0};
  const auto sequence = [&](const char* name, const Array& x, int64_t last) {
    const auto made = strided(name, x, {s.batch, s.heads, last}, s.stored);
    return Strided<4>{made.data, {made.stride[0], 0, made.stride[1]}};
  };
  const auto gate = [&](const char* name, const Array& x) {
    const auto made = strided(name, x, {s.batch, s.heads}, wide(s.stored));
    return Strided<3>{made.data, {made.stride[0], 0}};
  };
  const auto written = mutable_strided("output", output, {s.batch, s.heads, s.value}, s.stored);
  StabilizedAttention arguments{
      s,
      {sequence("query", query, s.key), sequence("key", key, s.key),
       sequence("value", value, s.value), gate("log_input", log_input),
       gate("log_forget", log_forget), read(state("state", {C, n, m}, s)),
       Mask{nullptr, 0, 0, nullptr}, scale, eps},
      MutableStrided<4>{written.data, {written.stride[0], 0, written.stride[1]}},
      state("next", {final_C, final_n, final_m}, s),
      nullptr,
      nullptr};
  nb::gil_scoped_release released;
  const Scratch scratch(stabilized_scratch(s) * threads);
  arguments.scratch = scratch.data();
  run(table_of_stabilized_attention, arguments, work(s), threads,
      Pieces{s.batch * s.heads});
}

void backward(const Array& query, const Array& key, const Array& value, const Array& log_input,
              const Array& log_forget, const Array& C, const Array& n, const Array& m,
              const MaybeArray& reset, const MaybeArray& lengths, const Array& final_C,
              const Array& final_n, const Array& final_m, const Array& border,
              const Array& grad_output,
              const Array& grad_final_C, const Array& grad_final_n, const Array& grad_final_m,
              const Array& grad_query, const Array& grad_key, const Array& grad_value,
              const Array& grad_log_input, const Array& grad_log_forget, const Array& grad_C,
              const Array& grad_n, const Array& grad_m, int threads, double scale, double eps,
              int64_t chunk) {
  if (chunk < 1) throw nb::value_error("chunk should be positive");
  const StabilizedShape s = shape_of_all(query, value, chunk);
  StabilizedAttentionBackward arguments{
      s,
      inputs(query, key, value, log_input, log_forget, {C, n, m}, reset, lengths, scale, eps, s),
      read(state("final", {final_C, final_n, final_m}, s)),
      borders(border, s),
      strided("grad_output", grad_output, {s.batch, s.time, s.heads, s.value}, s.stored),
      read(state("grad_final", {grad_final_C, grad_final_n, grad_final_m}, s)),
      mutable_strided("grad_query", grad_query, {s.batch, s.time, s.heads, s.key}, s.stored),
      mutable_strided("grad_key", grad_key, {s.batch, s.time, s.heads, s.key}, s.stored),
      mutable_strided("grad_value", grad_value, {s.batch, s.time, s.heads, s.value}, s.stored),
      mutable_strided("grad_log_input", grad_log_input, {s.batch, s.time, s.heads}, wide(s.stored)),
      mutable_strided("grad_log_forget", grad_log_forget, {s.batch, s.time, s.heads},
                      wide(s.stored)),
      state("grad_initial", {grad_C, grad_n, grad_m}, s),
      nullptr};
  nb::gil_scoped_release released;
  const Scratch scratch(stabilized_backward_scratch(s) * threads);
  arguments.scratch = scratch.data();
  run(table_of_stabilized_attention_backward, arguments, work(s), threads,
      Pieces{s.batch * s.heads});
}

}  // namespace

void bind_stabilized_attention(nb::module_& module) {
  using namespace nb::literals;
  module.def("stabilized_attention", &forward, "query"_a, "key"_a, "value"_a, "log_input"_a,
             "log_forget"_a, "C"_a, "n"_a, "m"_a, "reset"_a.none(), "lengths"_a.none(), "output"_a,
             "final_C"_a, "final_n"_a, "final_m"_a, "borders"_a.none(), "threads"_a, "scale"_a, "eps"_a, "chunk"_a,
             "Write the outputs and the final state; with borders, the state before every chunk. "
             "With chunk 0, one time after another.");
  module.def("stabilized_attention_step", &step, "query"_a, "key"_a, "value"_a, "log_input"_a,
             "log_forget"_a, "C"_a, "n"_a, "m"_a, "output"_a, "final_C"_a, "final_n"_a,
             "final_m"_a, "threads"_a, "scale"_a, "eps"_a,
             "Write one output and the state after it, from arrays without an axis of time.");
  module.def("stabilized_attention_backward", &backward, "query"_a, "key"_a, "value"_a,
             "log_input"_a, "log_forget"_a, "C"_a, "n"_a, "m"_a, "reset"_a.none(),
             "lengths"_a.none(), "final_C"_a, "final_n"_a, "final_m"_a, "borders"_a, "grad_output"_a, "grad_final_C"_a, "grad_final_n"_a, "grad_final_m"_a,
             "grad_query"_a, "grad_key"_a, "grad_value"_a, "grad_log_input"_a, "grad_log_forget"_a,
             "grad_C"_a, "grad_n"_a, "grad_m"_a, "threads"_a, "scale"_a, "eps"_a, "chunk"_a,
             "Write the gradients, from the states that the forward pass saved.");
}

}  // namespace statewise
