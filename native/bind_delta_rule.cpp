#include <cstring>

#include "arrays.h"
#include "delta_rule.h"

namespace statewise {

namespace {

template <class Pointer>
HeadsOf<Pointer> heads(const StridedOf<4, Pointer>& x) {
  return {x.data, x.stride[0], x.stride[1], x.stride[2]};
}
template <class Pointer>
HeadsOf<Pointer> heads(const StridedOf<3, Pointer>& x) {
  return {x.data, x.stride[0], x.stride[1], 1};
}

// The same without an axis of time: every time is the same.
template <class Pointer>
HeadsOf<Pointer> still(const StridedOf<3, Pointer>& x) {
  return {x.data, x.stride[0], 0, x.stride[1]};
}
template <class Pointer>
HeadsOf<Pointer> still(const StridedOf<2, Pointer>& x) {
  return {x.data, x.stride[0], 0, 1};
}

// (batch, time, heads), and with an axis of so many numbers.
struct Sizes {
  int64_t gate[3], key[4], value[4];
  explicit Sizes(const DeltaRuleInputs& x)
      : gate{x.batch, x.time, x.heads},
        key{x.batch, x.time, x.heads, x.key},
        value{x.batch, x.time, x.heads, x.value} {}
};

DeltaRuleInputs inputs(const Array& query, const Array& read, const MaybeArray& write,
                       const Array& value, const MaybeArray& beta, const MaybeArray& log_decay,
                       const MaybeArray& reset, const MaybeArray& lengths, double scale) {
  if (value.ndim() != 4) refuse("value", value, "(batch, time, heads, value)");
  if (query.ndim() != 4) refuse("query", query, "(batch, time, heads, key)");
  DeltaRuleInputs x{};
  x.stored = stored_of("value", value);
  x.batch = static_cast<int64_t>(value.shape(0));
  x.time = static_cast<int64_t>(value.shape(1));
  x.heads = static_cast<int64_t>(value.shape(2));
  x.key = static_cast<int64_t>(query.shape(3));
  x.value = static_cast<int64_t>(value.shape(3));
  x.scale = scale;
  const Sizes sizes(x);
  x.values = heads(strided("value", value, sizes.value, x.stored));
  x.query = heads(strided("query", query, sizes.key, x.stored));
  x.read = heads(strided("key", read, sizes.key, x.stored));
  x.write = heads(strided("write", write, sizes.key, x.stored));
  x.beta = heads(strided("beta", beta, sizes.gate, wide(x.stored)));
  x.per_key = log_decay && log_decay->ndim() == 4;
  x.log_decay = x.per_key ? heads(strided("log_decay", log_decay, sizes.key, wide(x.stored)))
                          : heads(strided("log_decay", log_decay, sizes.gate, wide(x.stored)));
  if (write.has_value() == beta.has_value())
    throw nb::value_error("either beta or write is needed, and not both");
  if (write && log_decay && !x.per_key) refuse("log_decay", *log_decay, "one for every key");
  x.mask = mask(reset, lengths, x.batch, x.time);
  return x;
}

// Contiguous states in the type of the arithmetic, `segments` of them for each head, or one.
void* states(const char* name, const Array& array, const DeltaRuleInputs& x, int64_t segments = 0) {
  int64_t sizes[] = {x.batch, x.heads, segments, x.key, x.value}, axes = 5;
  if (!segments) sizes[2] = x.key, sizes[3] = x.value, axes = 4;
  bool right = static_cast<int64_t>(array.ndim()) == axes &&
               stored_of(name, array) == wide(x.stored);
  int64_t stride = 1;
  for (int64_t axis = axes - 1; right && axis >= 0; axis--) {
    right = static_cast<int64_t>(array.shape(axis)) == sizes[axis] &&
            (sizes[axis] < 2 || array.size() == 0 || array.stride(axis) == stride);
    stride *= sizes[axis];
  }
  if (!right) refuse(name, array, "contiguous, a key by value state a head, in its precision");
  return array.data();
}

int64_t segments(const DeltaRuleInputs& x) {
  return (x.time + delta_rule_segment - 1) / delta_rule_segment;
}

int64_t work(const DeltaRuleInputs& x) {
  return x.batch * x.heads * x.time * x.key * x.value / 4;  // vectors of a register, or so
}

void forward(bool chunkwise, double scale, const Array& query, const Array& read,
             const MaybeArray& write, const Array& value, const MaybeArray& beta,
             const MaybeArray& log_decay, const Array& initial, const MaybeArray& reset,
             const MaybeArray& lengths, const Array& output, const Array& final,
             const MaybeArray& kept, int threads) {
  DeltaRule a{};
  a.inputs = inputs(query, read, write, value, beta, log_decay, reset, lengths, scale);
  const DeltaRuleInputs& x = a.inputs;
  a.initial = states("initial", initial, x);
  a.output = heads(mutable_strided("output", output, Sizes(x).value, x.stored));
  a.final = states("final", final, x);
  if (kept && segments(x)) a.states = states("states", *kept, x, segments(x));
  if (a.states && !chunkwise) throw nb::value_error("states are kept by the chunkwise form alone");
  const int useful = threads_for(work(x), threads);
  a.scratch_bytes = chunkwise ? delta_rule_scratch(x, false) : delta_rule_row_scratch(x);
  const Scratch scratch(a.scratch_bytes * useful);
  a.scratch = scratch.data();
  nb::gil_scoped_release released;
  run(chunkwise ? table_of_delta_rule : table_of_delta_rule_recurrent, a, work(x), threads,
      Pieces{x.batch * x.heads});
}

// What the steps have in common.
DeltaRule step_of(double scale, const Array& query, const Array& value, int64_t heads,
                  int64_t width, const MaybeArray& log_decay) {
  if (query.ndim() != 3) refuse("query", query, "(batch, heads, key)");
  DeltaRule a{};
  DeltaRuleInputs& x = a.inputs;
  x.stored = stored_of("value", value);
  x.batch = static_cast<int64_t>(value.shape(0));
  x.time = 1;
  x.heads = heads;
  x.key = static_cast<int64_t>(query.shape(2));
  x.value = width;
  x.scale = scale;
  const int64_t keys[] = {x.batch, x.heads, x.key}, gates[] = {x.batch, x.heads};
  x.query = still(strided("query", query, keys, x.stored));
  x.per_key = log_decay && log_decay->ndim() == 3;
  x.log_decay = x.per_key ? still(strided("log_decay", log_decay, keys, wide(x.stored)))
                          : still(strided("log_decay", log_decay, gates, wide(x.stored)));
  return a;
}

void run_step(DeltaRule& a, const Array& state, const Array& output, const Array& next,
              int threads) {
  const DeltaRuleInputs& x = a.inputs;
  a.output = still(mutable_strided("output", output, {x.batch, x.heads, x.value}, x.stored));
  a.initial = states("state", state, x);
  a.final = states("next", next, x);
  const int useful = threads_for(work(x), threads);
  a.scratch_bytes = delta_rule_row_scratch(x);
  const Scratch scratch(a.scratch_bytes * useful);
  a.scratch = scratch.data();
  nb::gil_scoped_release released;
  run(table_of_delta_rule_recurrent, a, work(x), threads);
}

void step(double scale, const Array& query, const Array& key, const Array& value, const Array& beta,
          const MaybeArray& log_decay, const Array& state, const Array& output, const Array& next,
          int threads) {
  if (value.ndim() != 3) refuse("value", value, "(batch, heads, value)");
  DeltaRule a = step_of(scale, query, value, value.shape(1), value.shape(2), log_decay);
  DeltaRuleInputs& x = a.inputs;
  x.read = still(strided("key", key, {x.batch, x.heads, x.key}, x.stored));
  x.values = still(strided("value", value, {x.batch, x.heads, x.value}, x.stored));
  x.beta = still(strided("beta", beta, {x.batch, x.heads}, wide(x.stored)));
  run_step(a, state, output, next, threads);
}

// Key, value and beta have an axis of corrections, which are times of which the first alone decays.
// Each asks the same query and answers in the same place, so that the last one's answer remains.
void product_step(double scale, const Array& query, const Array& key, const Array& value,
                  const Array& beta, const MaybeArray& log_decay, const Array& state,
                  const Array& output, const Array& next, int threads) {
  if (value.ndim() != 4 || value.shape(1) == 0)
    refuse("value", value, "(batch, steps, heads, value) with at least one step");
  DeltaRule a = step_of(scale, query, value, value.shape(2), value.shape(3), log_decay);
  DeltaRuleInputs& x = a.inputs;
  x.time = static_cast<int64_t>(value.shape(1));
  a.once = true;
  const Sizes sizes(x);
  x.read = heads(strided("key", key, sizes.key, x.stored));
  x.values = heads(strided("value", value, sizes.value, x.stored));
  x.beta = heads(strided("beta", beta, sizes.gate, wide(x.stored)));
  run_step(a, state, output, next, threads);
}

void low_rank_step(double scale, const Array& query, const Array& key, const Array& value,
                   const Array& read, const Array& write, const MaybeArray& log_decay,
                   const Array& state, const Array& output, const Array& next, int threads) {
  if (value.ndim() != 3) refuse("value", value, "(batch, heads, value)");
  DeltaRule a = step_of(scale, query, value, value.shape(1), value.shape(2), log_decay);
  DeltaRuleInputs& x = a.inputs;
  if (log_decay && !x.per_key) refuse("log_decay", *log_decay, "one for every key");
  const int64_t keys[] = {x.batch, x.heads, x.key};
  a.add = still(strided("key", key, keys, x.stored));
  x.values = still(strided("value", value, {x.batch, x.heads, x.value}, x.stored));
  x.read = still(strided("read", read, keys, x.stored));
  x.write = still(strided("write", write, keys, x.stored));
  run_step(a, state, output, next, threads);
}

void backward(double scale, const Array& query, const Array& read, const MaybeArray& write,
              const Array& value, const MaybeArray& beta, const MaybeArray& log_decay,
              const MaybeArray& reset, const MaybeArray& lengths, const Array& kept,
              const Array& grad_output, const Array& grad_final, const Array& grad_query,
              const Array& grad_read, const MaybeArray& grad_write, const Array& grad_value,
              const MaybeArray& grad_beta, const MaybeArray& grad_log_decay,
              const Array& grad_initial, int threads) {
  DeltaRuleBackward a{};
  a.inputs = inputs(query, read, write, value, beta, log_decay, reset, lengths, scale);
  const DeltaRuleInputs& x = a.inputs;
  const Sizes sizes(x);
  if (segments(x)) a.states = states("states", kept, x, segments(x));
  a.grad_output = heads(strided("grad_output", grad_output, sizes.value, x.stored));
  a.grad_final = states("grad_final", grad_final, x);
  a.grad_query = heads(mutable_strided("grad_query", grad_query, sizes.key, x.stored));
  a.grad_read = heads(mutable_strided("grad_key", grad_read, sizes.key, x.stored));
  a.grad_values = heads(mutable_strided("grad_value", grad_value, sizes.value, x.stored));
  if (grad_write.has_value() != write.has_value() || grad_beta.has_value() != beta.has_value() ||
      grad_log_decay.has_value() != log_decay.has_value())
    throw nb::value_error("every input that is there needs its gradient, and no other");
  a.grad_write = heads(mutable_strided("grad_write", grad_write, sizes.key, x.stored));
  a.grad_beta = heads(mutable_strided("grad_beta", grad_beta, sizes.gate, wide(x.stored)));
  a.grad_log_decay =
      x.per_key
          ? heads(mutable_strided("grad_log_decay", grad_log_decay, sizes.key, wide(x.stored)))
          : heads(mutable_strided("grad_log_decay", grad_log_decay, sizes.gate, wide(x.stored)));
  a.grad_initial = states("grad_initial", grad_initial, x);
  const int64_t heads = x.batch * x.heads;
  if (threads > heads) threads = heads > 0 ? static_cast<int>(heads) : 1;
  const int useful = threads_for(work(x), threads);
  a.scratch_bytes = delta_rule_scratch(x, true);
  const Scratch scratch(a.scratch_bytes * useful);
  a.scratch = scratch.data();
  nb::gil_scoped_release released;
  run(table_of_delta_rule_backward, a, work(x), threads, Pieces{heads});
}

}  // namespace

void bind_delta_rule(nb::module_& module) {
  using namespace nb::literals;
  module.attr("delta_rule_segment") = delta_rule_segment;
  module.def("delta_rule", &forward, "chunkwise"_a, "scale"_a, "query"_a, "key"_a,
             "write"_a.none(), "value"_a, "beta"_a.none(), "log_decay"_a.none(), "initial"_a,
             "reset"_a.none(), "lengths"_a.none(), "output"_a, "final"_a, "states"_a.none(),
             "threads"_a, "Write every output of the delta rule, and its last state to final.");
  module.def("delta_rule_step", &step, "scale"_a, "query"_a, "key"_a, "value"_a, "beta"_a,
             "log_decay"_a.none(), "state"_a, "output"_a, "next"_a, "threads"_a,
             "Write the output and the next state of one time of the delta rule.");
  module.def("delta_product_step", &product_step, "scale"_a, "query"_a, "key"_a, "value"_a,
             "beta"_a, "log_decay"_a.none(), "state"_a, "output"_a, "next"_a, "threads"_a,
             "The same with several corrections, an axis of key, value and beta.");
  module.def("low_rank_delta_rule_step", &low_rank_step, "scale"_a, "query"_a, "key"_a, "value"_a,
             "read"_a, "write"_a, "log_decay"_a.none(), "state"_a, "output"_a, "next"_a,
             "threads"_a, "The same where another pair of vectors makes the transition.");
  module.def("delta_rule_backward", &backward, "scale"_a, "query"_a, "key"_a, "write"_a.none(),
             "value"_a, "beta"_a.none(), "log_decay"_a.none(), "reset"_a.none(), "lengths"_a.none(),
             "states"_a, "grad_output"_a, "grad_final"_a, "grad_query"_a, "grad_key"_a,
             "grad_write"_a.none(), "grad_value"_a, "grad_beta"_a.none(), "grad_log_decay"_a.none(),
             "grad_initial"_a, "threads"_a,
             "Write the gradients of delta_rule, from the states it kept.");
}

}  // namespace statewise
