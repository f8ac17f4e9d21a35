#include <cstring>
#include <memory>
#include <new>

#include "arrays.h"
#include "delta_rule.h"

namespace statewise {

int64_t delta_rule_scratch(const DeltaRuleInputs& x, bool backward) {
  const auto up = [](int64_t n, int64_t to) { return (n + to - 1) / to * to; };
  // The widest panel of any level has 32 columns, and every chunk 16 rows.
  const int64_t key = up(x.key, 16), value = up(x.value, 32), row = 16 * key, column = 16 * value;
  const bool by_key = x.per_key || x.write.data;
  const int64_t one = (by_key ? 136 * key + 5 * row : 0) + 2 * row + key + 8 * 256;
  const int64_t forward = one + row + 2 * 16 * 32 + key * value;
  const int64_t whole = 4 * (one + key * value) + 3 * key * value + 12 * column + 12 * row + 16 * 256;
  const int64_t numbers = backward ? whole : forward;
  return (numbers + 16 * 128) * (x.stored == Stored::float64 ? 8 : 4);
}

namespace {

bool wide(const Array& array, Stored stored) {
  return stored == Stored::float64 ? array.dtype() == nb::dtype<double>()
                                   : array.dtype() == nb::dtype<float>();
}

// An array with an axis of heads, and, unless it is a gate, of numbers, contiguous.
template <class Pointer>
HeadsOf<Pointer> heads(const char* name, const Array& array, const DeltaRuleInputs& x, int64_t dim,
                       bool fits) {
  const bool gate = dim == 0;
  const int64_t sizes[] = {x.batch, x.time, x.heads, dim};
  const size_t axes = gate ? 3 : 4;
  bool right = array.ndim() == axes && fits;
  for (size_t axis = 0; right && axis < axes; axis++)
    right = static_cast<int64_t>(array.shape(axis)) == sizes[axis];
  if (!right) {
    const std::string last = gate ? ")" : ", " + std::to_string(dim) + ")";
    refuse(name, array, "(" + std::to_string(x.batch) + ", " + std::to_string(x.time) + ", " +
                            std::to_string(x.heads) + last + " in the precision that belongs to it");
  }
  if (!gate && dim > 1 && array.stride(3) != 1) refuse(name, array, "contiguous along its last axis");
  return {array.data(), array.stride(0), array.stride(1), array.stride(2)};
}

template <class Pointer = const void*>
HeadsOf<Pointer> maybe(const char* name, const MaybeArray& array, const DeltaRuleInputs& x,
                       int64_t dim, bool (*fits)(const Array&, Stored)) {
  if (!array) return {nullptr, 0, 0, 0};
  return heads<Pointer>(name, *array, x, dim, fits(*array, x.stored));
}

MutableHeads writable(const char* name, const Array& array, const DeltaRuleInputs& x, int64_t dim,
                      bool fits) {
  for (size_t axis = 0; axis < array.ndim() && axis < 3; axis++)
    if (array.shape(axis) > 1 && array.stride(axis) == 0)
      refuse(name, array, "memory of its own, not expanded");
  return heads<void*>(name, array, x, dim, fits);
}

DeltaRuleInputs inputs(const Array& query, const Array& read, const MaybeArray& write,
                       const Array& value, const MaybeArray& beta, const MaybeArray& log_decay,
                       const MaybeArray& reset, const MaybeArray& lengths, double scale) {
  if (value.ndim() != 4) refuse("value", value, "(batch, time, heads, value)");
  if (query.ndim() != 4) refuse("query", query, "(batch, time, heads, key)");
  const Stored stored = stored_as("value", value);
  DeltaRuleInputs x{};
  x.stored = stored;
  x.batch = static_cast<int64_t>(value.shape(0));
  x.time = static_cast<int64_t>(value.shape(1));
  x.heads = static_cast<int64_t>(value.shape(2));
  x.key = static_cast<int64_t>(query.shape(3));
  x.value = static_cast<int64_t>(value.shape(3));
  x.scale = scale;
  const auto same = [&](const Array& array) { return array.dtype() == value.dtype(); };
  x.values = heads<const void*>("value", value, x, x.value, true);
  x.query = heads<const void*>("query", query, x, x.key, same(query));
  x.read = heads<const void*>("key", read, x, x.key, same(read));
  if (write) x.write = heads<const void*>("write", *write, x, x.key, same(*write));
  x.beta = maybe("beta", beta, x, 0, wide);
  x.per_key = log_decay && log_decay->ndim() == 4;
  x.log_decay = maybe("log_decay", log_decay, x, x.per_key ? x.key : 0, wide);
  if (!write && !beta) throw nb::value_error("either write or beta is needed");
  if (write && beta) throw nb::value_error("write and beta exclude each other");
  if (write && log_decay && !x.per_key) refuse("log_decay", *log_decay, "one for every key");
  x.mask = mask(reset, lengths, {stored, x.batch, x.time, x.value});
  return x;
}

// Contiguous states in the type of the arithmetic, `segments` of them for each head, or one.
void* states(const char* name, const Array& array, const DeltaRuleInputs& x, int64_t segments = 0) {
  int64_t sizes[] = {x.batch, x.heads, segments, x.key, x.value}, axes = 5;
  if (!segments) sizes[2] = x.key, sizes[3] = x.value, axes = 4;
  bool right = static_cast<int64_t>(array.ndim()) == axes && wide(array, x.stored);
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

// Memory for every part, that begins with a line of the cache.
struct Scratch {
  static constexpr std::align_val_t line{64};
  char* data;
  explicit Scratch(int64_t bytes) : data(new (line) char[bytes]) {}
  ~Scratch() { ::operator delete[](data, line); }
  Scratch(const Scratch&) = delete;
};

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
  a.output = writable("output", output, x, x.value, output.dtype() == value.dtype());
  a.final = states("final", final, x);
  if (kept && segments(x)) a.states = states("states", *kept, x, segments(x));
  if (a.states && !chunkwise) throw nb::value_error("states are kept by the chunkwise form alone");
  const int parts = parts_for(work(x), threads);
  a.scratch_bytes = delta_rule_scratch(x, false);
  const Scratch scratch(a.scratch_bytes * parts);
  a.scratch = scratch.data;
  nb::gil_scoped_release released;
  run(chunkwise ? table_of_delta_rule : table_of_delta_rule_recurrent, a, work(x), threads);
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
  const auto same = [&](const Array& array) { return array.dtype() == value.dtype(); };
  if (segments(x)) a.states = states("states", kept, x, segments(x));
  a.grad_output = heads<const void*>("grad_output", grad_output, x, x.value, same(grad_output));
  a.grad_final = states("grad_final", grad_final, x);
  a.grad_query = writable("grad_query", grad_query, x, x.key, same(grad_query));
  a.grad_read = writable("grad_key", grad_read, x, x.key, same(grad_read));
  a.grad_values = writable("grad_value", grad_value, x, x.value, same(grad_value));
  if (grad_write.has_value() != write.has_value() || grad_beta.has_value() != beta.has_value() ||
      grad_log_decay.has_value() != log_decay.has_value())
    throw nb::value_error("every input that is there needs its gradient, and no other");
  if (write) a.grad_write = writable("grad_write", *grad_write, x, x.key, same(*grad_write));
  if (beta) a.grad_beta = writable("grad_beta", *grad_beta, x, 0, wide(*grad_beta, x.stored));
  if (log_decay)
    a.grad_log_decay = writable("grad_log_decay", *grad_log_decay, x, x.per_key ? x.key : 0,
                                wide(*grad_log_decay, x.stored));
  a.grad_initial = states("grad_initial", grad_initial, x);
  const int64_t heads = x.batch * x.heads;
  if (threads > heads) threads = heads > 0 ? static_cast<int>(heads) : 1;
  const int parts = parts_for(work(x), threads);
  a.scratch_bytes = delta_rule_scratch(x, true);
  const Scratch scratch(a.scratch_bytes * parts);
  a.scratch = scratch.data;
  nb::gil_scoped_release released;
  run(table_of_delta_rule_backward, a, work(x), threads);
}

}  // namespace

void bind_delta_rule(nb::module_& module) {
  using namespace nb::literals;
  module.attr("delta_rule_segment") = delta_rule_segment;
  module.def("delta_rule", &forward, "chunkwise"_a, "scale"_a, "query"_a, "key"_a,
             "write"_a.none(), "value"_a, "beta"_a.none(), "log_decay"_a.none(), "initial"_a,
             "reset"_a.none(), "lengths"_a.none(), "output"_a, "final"_a, "states"_a.none(),
             "threads"_a, "Write every output of the delta rule, and its last state to final.");
  module.def("delta_rule_backward", &backward, "scale"_a, "query"_a, "key"_a, "write"_a.none(),
             "value"_a, "beta"_a.none(), "log_decay"_a.none(), "reset"_a.none(), "lengths"_a.none(),
             "states"_a, "grad_output"_a, "grad_final"_a, "grad_query"_a, "grad_key"_a,
             "grad_write"_a.none(), "grad_value"_a, "grad_beta"_a.none(), "grad_log_decay"_a.none(),
             "grad_initial"_a, "threads"_a,
             "Write the gradients of delta_rule, from the states it kept.");
}

}  // namespace statewise
