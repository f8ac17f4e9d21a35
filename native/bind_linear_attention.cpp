#include <new>

#include "arrays.h"
#include "linear_attention.h"

namespace statewise {
namespace {

// A whole, contiguous array in the precision of the state.
template <int rank>
void* whole(const char* name, const Array& x, const int64_t (&shape)[rank], Stored stored) {
  const auto made = check_strided<rank, void*>(name, x, shape, wide(stored));
  int64_t stride = shape[rank - 1];
  for (int axis = rank - 2; x.size() && axis >= 0; axis--) {
    if (shape[axis] > 1 && made.stride[axis] != stride) refuse(name, x, "contiguous");
    stride *= shape[axis];
  }
  return made.data;
}

struct Inputs {
  LinearAttentionShape shape;
  Strided<4> query, key, value;
  Strided<5> log_decay;
  const void* bonus;
};

Inputs inputs(const Array& query, const Array& key, const Array& value, const MaybeArray& log_decay,
              const MaybeArray& bonus, double scale, int64_t block, bool chunkwise) {
  if (query.ndim() != 4) refuse("query", query, "(batch, time, groups, key)");
  if (value.ndim() != 4) refuse("value", value, "(batch, time, heads, value)");
  const auto size = [](const Array& x, int axis) { return static_cast<int64_t>(x.shape(axis)); };
  const int64_t b = size(value, 0), t = size(value, 1), h = size(value, 2), v = size(value, 3);
  const int64_t g = size(query, 2), k = size(query, 3);
  if (g != h && (g == 0 || h % g)) refuse("query", query, "of heads that divide those of value");
  if (block < 1 || block > largest_block)
    throw nb::value_error(("block should be 1 to " + std::to_string(largest_block)).c_str());
  if (chunkwise && block % 16)
    throw nb::value_error("block should be a multiple of 16, the tokens of a chunk");
  const Stored stored = stored_of("value", value);
  Inputs x{{stored, b, t, h, g, k, v, block, Decay::none, scale, chunkwise},
           strided("query", query, {b, t, g, k}, stored),
           strided("key", key, {b, t, g, k}, stored),
           strided("value", value, {b, t, h, v}, stored),
           {},
           bonus ? whole("bonus", *bonus, {h, k}, stored) : nullptr};
  if (log_decay && log_decay->ndim() == 5) {
    if (chunkwise) throw nb::value_error("a decay per key and value has no chunkwise form");
    x.shape.decay = Decay::value;
    x.log_decay = strided("log_decay", log_decay, {b, t, h, k, v}, wide(stored));
  } else if (log_decay) {
    const bool by_head = log_decay->ndim() == 4 && size(*log_decay, 3) == 1;
    x.shape.decay = by_head ? Decay::head : Decay::key;
    const auto made = strided("log_decay", log_decay, {b, t, h, by_head ? 1 : k}, wide(stored));
    x.log_decay = {made.data, {made.stride[0], made.stride[1], made.stride[2], 0}};
  }
  return x;
}

// Memory for every thread, beginning with a line of the cache.
class Workspace {
 public:
  Workspace(int64_t size, int threads)
      : bytes_(static_cast<char*>(::operator new[](size * threads, line))) {}
  ~Workspace() { ::operator delete[](bytes_, line); }
  Workspace(const Workspace&) = delete;
  char* get() const { return bytes_; }

 private:
  static constexpr std::align_val_t line{64};
  char* bytes_;
};

int64_t work_of(const LinearAttentionShape& s) {
  return s.batch * s.time * s.heads * s.key * s.value / 8;
}

int64_t numbers_kept(const LinearAttentionShape& s) {
  return s.batch * s.heads * ((s.time + s.block - 1) / s.block) * s.key * s.value;
}

void forward(const Array& query, const Array& key, const Array& value, const MaybeArray& log_decay,
             const MaybeArray& bonus, const Array& initial, const MaybeArray& reset,
             const MaybeArray& lengths, const Array& output, const Array& final,
             const MaybeArray& states, double scale, int64_t block, bool chunkwise, int threads) {
  const Inputs x = inputs(query, key, value, log_decay, bonus, scale, block, chunkwise);
  const auto& [stored, b, t, h, g, k, v, _, decay, __, ___] = x.shape;
  LinearAttention arguments{
      x.shape,
      x.query,
      x.key,
      x.value,
      x.log_decay,
      x.bonus,
      whole("initial", initial, {b, h, k, v}, stored),
      mask(reset, lengths, b, t),
      mutable_strided("output", output, {b, t, h, v}, stored),
      whole("final", final, {b, h, k, v}, stored),
      states ? whole("states", *states, {numbers_kept(x.shape)}, stored) : nullptr,
      nullptr,
      workspace_of(x.shape, false)};
  nb::gil_scoped_release released;
  const int64_t work = work_of(x.shape);
  const Workspace workspace(arguments.workspace_size, threads_for(work, threads));
  arguments.workspace = workspace.get();
  run(table_of_linear_attention, arguments, work, threads, Pieces{x.shape.batch * x.shape.heads});
}

void backward(const Array& query, const Array& key, const Array& value, const MaybeArray& log_decay,
              const MaybeArray& bonus, const MaybeArray& reset, const MaybeArray& lengths,
              const Array& states, const Array& grad_output, const Array& grad_final,
              const Array& grad_query, const Array& grad_key, const Array& grad_value,
              const MaybeArray& grad_log_decay, const MaybeArray& grad_bonus,
              const Array& grad_initial, double scale, int64_t block, bool chunkwise, int threads) {
  const Inputs x = inputs(query, key, value, log_decay, bonus, scale, block, chunkwise);
  const auto& [stored, b, t, h, g, k, v, _, decay, __, ___] = x.shape;
  if (bool(log_decay) != bool(grad_log_decay) || bool(bonus) != bool(grad_bonus))
    throw nb::value_error("log_decay and bonus should have a gradient each, where they are there");
  void* to_decay = nullptr;
  if (decay == Decay::head) to_decay = whole("grad_log_decay", *grad_log_decay, {b, t, h, 1}, stored);
  if (decay == Decay::key) to_decay = whole("grad_log_decay", *grad_log_decay, {b, t, h, k}, stored);
  if (decay == Decay::value)
    to_decay = whole("grad_log_decay", *grad_log_decay, {b, t, h, k, v}, stored);
  LinearAttentionBackward arguments{
      x.shape,
      x.query,
      x.key,
      x.value,
      x.log_decay,
      x.bonus,
      mask(reset, lengths, b, t),
      whole("states", states, {numbers_kept(x.shape)}, stored),
      strided("grad_output", grad_output, {b, t, h, v}, stored),
      whole("grad_final", grad_final, {b, h, k, v}, stored),
      mutable_strided("grad_query", grad_query, {b, t, h, k}, stored),
      mutable_strided("grad_key", grad_key, {b, t, h, k}, stored),
      mutable_strided("grad_value", grad_value, {b, t, h, v}, stored),
      to_decay,
      bonus ? whole("grad_bonus", *grad_bonus, {b, h, k}, stored) : nullptr,
      whole("grad_initial", grad_initial, {b, h, k, v}, stored),
      nullptr,
      workspace_of(x.shape, true)};
  nb::gil_scoped_release released;
  const int64_t work = work_of(x.shape);
  const Workspace workspace(arguments.workspace_size, threads_for(work, threads));
  arguments.workspace = workspace.get();
  run(table_of_linear_attention_backward, arguments, work, threads,
      Pieces{x.shape.batch * x.shape.heads});
}

LinearAttentionStep step_of(const Array& query, const Array& key, const Array& value,
                            const MaybeArray& log_decay, const MaybeArray& bonus,
                            const Array& state, const Array& output, const Array& next,
                            double scale) {
  if (query.ndim() != 3) refuse("query", query, "(batch, groups, key)");
  if (value.ndim() != 3) refuse("value", value, "(batch, heads, value)");
  const auto size = [](const Array& x, int axis) { return static_cast<int64_t>(x.shape(axis)); };
  const int64_t b = size(value, 0), h = size(value, 1), v = size(value, 2);
  const int64_t g = size(query, 1), k = size(query, 2);
  if (g != h && (g == 0 || h % g)) refuse("query", query, "of heads that divide those of value");
  const Stored stored = stored_of("value", value);
  LinearAttentionStep arguments{{stored, b, 1, h, g, k, v, 1, Decay::none, scale, false},
                                strided("query", query, {b, g, k}, stored),
                                strided("key", key, {b, g, k}, stored),
                                strided("value", value, {b, h, v}, stored),
                                {nullptr, {}},
                                bonus ? whole("bonus", *bonus, {h, k}, stored) : nullptr,
                                whole("state", state, {b, h, k, v}, stored),
                                nullptr,
                                whole("next", next, {b, h, k, v}, stored),
                                nullptr,
                                0};
  const auto written = mutable_strided("output", output, {b, h, v}, stored);
  if (b * h > 1 && (written.stride[1] != v || (b > 1 && written.stride[0] != h * v)))
    refuse("output", output, "contiguous");
  arguments.output = written.data;
  if (log_decay && log_decay->ndim() == 4) {
    arguments.shape.decay = Decay::value;
    arguments.log_decay = strided("log_decay", log_decay, {b, h, k, v}, wide(stored));
  } else if (log_decay && log_decay->ndim() == 3) {
    arguments.shape.decay = Decay::key;
    const auto made = strided("log_decay", log_decay, {b, h, k}, wide(stored));
    arguments.log_decay = {made.data, {made.stride[0], made.stride[1], 0}};
  } else if (log_decay) {
    arguments.shape.decay = Decay::head;
    const auto made = strided("log_decay", log_decay, {b, h}, wide(stored));
    arguments.log_decay = {made.data, {made.stride[0], 1, 0}};
  }
  arguments.workspace_size = 4 * padded(k) * (stored == Stored::float64 ? 8 : 4);
  return arguments;
}

void run_step(LinearAttentionStep& a, int threads) {
  const int64_t work = a.shape.batch * a.shape.heads * a.shape.key * a.shape.value;
  const Workspace workspace(a.workspace_size, threads_for(work, threads));
  a.workspace = workspace.get();
  run(table_of_linear_attention_step, a, work, threads);
}

void step(const Array& query, const Array& key, const Array& value, const MaybeArray& log_decay,
          const MaybeArray& bonus, const Array& state, const Array& output, const Array& next,
          double scale, int threads) {
  LinearAttentionStep arguments =
      step_of(query, key, value, log_decay, bonus, state, output, next, scale);
  nb::gil_scoped_release released;
  run_step(arguments, threads);
}

// Divides the rows of y by so many sums, which are kept from zero.
template <class W>
void divide(void* y, const void* by, int64_t count, int64_t width, W least) {
  W* row = static_cast<W*>(y);
  for (int64_t i = 0; i < count; i++, row += width) {
    const W sum = static_cast<const W*>(by)[i], size = sum < 0 ? -sum : sum;
    const W divisor = size < least ? (sum < 0 ? -least : least) : sum;
    for (int64_t j = 0; j < width; j++) row[j] /= divisor;
  }
}

// The sum of the weights is a state with one value, which is always one.
void normalized_step(const Array& query, const Array& key, const Array& value,
                     const MaybeArray& log_decay, const Array& state, const Array& sums,
                     const Array& output, const Array& next, const Array& next_sums,
                     double epsilon, int threads) {
  LinearAttentionStep a = step_of(query, key, value, log_decay, {}, state, output, next, 1);
  const LinearAttentionShape& x = a.shape;
  if (x.stored == Stored::bfloat16) refuse("value", value, "of the precision of the state");
  if (x.decay == Decay::value) refuse("log_decay", *log_decay, "one per head or per key");
  static const double one = 1;
  static const float one_float = 1;
  const bool doubled = x.stored == Stored::float64;
  LinearAttentionStep b = a;
  b.shape.value = 1;
  b.value = {doubled ? static_cast<const void*>(&one) : &one_float, {0, 0}};
  b.state = whole("sums", sums, {x.batch, x.heads, x.key}, x.stored);
  b.next = whole("next_sums", next_sums, {x.batch, x.heads, x.key}, x.stored);
  nb::gil_scoped_release released;
  const int64_t count = x.batch * x.heads;
  const Scratch read(count * 8 + 64);
  b.output = read.data();
  run_step(a, threads);
  run_step(b, threads);
  if (doubled) divide<double>(a.output, b.output, count, x.value, epsilon);
  else divide<float>(a.output, b.output, count, x.value, static_cast<float>(epsilon));
}

}  // namespace

void bind_linear_attention(nb::module_& module) {
  using namespace nb::literals;
  module.def("linear_attention", &forward, "query"_a, "key"_a, "value"_a, "log_decay"_a.none(),
             "bonus"_a.none(), "initial"_a, "reset"_a.none(), "lengths"_a.none(), "output"_a,
             "final"_a, "states"_a.none(), "scale"_a, "block"_a, "chunkwise"_a, "threads"_a,
             "Write every y_t = scale * S_t^T q_t of S_t = decay_t * S_{t-1} + k_t v_t^T to output, "
             "the last S to final, and S before every block to states.");
  module.def("linear_attention_backward", &backward, "query"_a, "key"_a, "value"_a,
             "log_decay"_a.none(), "bonus"_a.none(), "reset"_a.none(), "lengths"_a.none(),
             "states"_a, "grad_output"_a, "grad_final"_a, "grad_query"_a, "grad_key"_a,
             "grad_value"_a, "grad_log_decay"_a.none(), "grad_bonus"_a.none(), "grad_initial"_a,
             "scale"_a, "block"_a, "chunkwise"_a, "threads"_a,
             "Write the gradients of linear_attention, from the states that it kept.");
  module.def("linear_attention_step", &step, "query"_a, "key"_a, "value"_a, "log_decay"_a.none(),
             "bonus"_a.none(), "state"_a, "output"_a, "next"_a, "scale"_a, "threads"_a,
             "Write y to output and the next S to next.");
  module.def("normalized_linear_attention_step", &normalized_step, "query"_a, "key"_a, "value"_a,
             "log_decay"_a.none(), "state"_a, "sums"_a, "output"_a, "next"_a, "next_sums"_a,
             "epsilon"_a, "threads"_a,
             "Write y divided by the sum of its weights to output, the next S and n to the nexts.");
}

}  // namespace statewise
