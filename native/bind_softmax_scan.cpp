#include <vector>

#include "arrays.h"
#include "softmax_scan.h"

namespace statewise {
namespace {

struct Sizes {
  Stored stored;
  int64_t batch, time, heads, dim;
};

Sizes sizes_of(const Array& value) {
  if (value.ndim() != 4) refuse("value", value, "(batch, time, heads, dim)");
  const Stored stored = stored_of("value", value);
  if (stored == Stored::bfloat16) refuse("value", value, "float32 or float64");
  const auto size = [&](int axis) { return static_cast<int64_t>(value.shape(axis)); };
  return {stored, size(0), size(1), size(2), size(3)};
}

Strided<4> values(const char* name, const Array& array, const Sizes& s) {
  return strided(name, array, {s.batch, s.time, s.heads, s.dim}, s.stored);
}
MutableStrided<4> mutable_values(const char* name, const Array& array, const Sizes& s) {
  return mutable_strided(name, array, {s.batch, s.time, s.heads, s.dim}, s.stored);
}

// Contiguous arrays: (batch, heads), (batch, heads, dim), (batch, time, heads).
void* per_head(const char* name, const Array& array, const Sizes& s) {
  return contiguous(name, array, {s.batch, s.heads}, s.stored);
}
void* per_channel(const char* name, const Array& array, const Sizes& s) {
  return contiguous(name, array, {s.batch, s.heads, s.dim}, s.stored);
}
void* per_time(const char* name, const Array& array, const Sizes& s) {
  return contiguous(name, array, {s.batch, s.time, s.heads}, s.stored);
}

void forward(const Array& score, const Array& value, const Array& maximum, const Array& total,
             const Array& weighted, const MaybeArray& reset, const MaybeArray& lengths,
             const Array& output, const Array& last_maximum, const Array& last_total,
             const Array& last_weighted, const Array& decay, const Array& weight, int threads) {
  const Sizes s = sizes_of(value);
  const SoftmaxScan arguments{s.stored,
                              s.batch,
                              s.time,
                              s.heads,
                              s.dim,
                              strided("score", score, {s.batch, s.time, s.heads}, s.stored),
                              values("value", value, s),
                              per_head("maximum", maximum, s),
                              per_head("total", total, s),
                              per_channel("weighted", weighted, s),
                              mask(reset, lengths, s.batch, s.time),
                              mutable_values("output", output, s),
                              per_head("last_maximum", last_maximum, s),
                              per_head("last_total", last_total, s),
                              per_channel("last_weighted", last_weighted, s),
                              per_time("decay", decay, s),
                              per_time("weight", weight, s)};
  nb::gil_scoped_release released;
  run(table_of_softmax_scan, arguments, s.batch * s.time * s.heads * (s.dim + 16), threads,
      Pieces{s.batch});
}

void backward(const Array& score, const Array& value, const Array& maximum, const Array& total,
              const Array& weighted, const MaybeArray& reset, const MaybeArray& lengths,
              const Array& output, const Array& last_maximum, const Array& last_total,
              const Array& last_weighted, const Array& decay, const Array& weight,
              const Array& grad_output, const Array& grad_last_maximum,
              const Array& grad_last_total, const Array& grad_last_weighted,
              const Array& grad_score, const Array& grad_value, const Array& grad_maximum,
              const Array& grad_total, const Array& grad_weighted, int threads) {
  const Sizes s = sizes_of(value);
  const SoftmaxScanBackward arguments{
      s.stored,
      s.batch,
      s.time,
      s.heads,
      s.dim,
      strided("score", score, {s.batch, s.time, s.heads}, s.stored),
      values("value", value, s),
      values("output", output, s),
      values("grad_output", grad_output, s),
      per_head("maximum", maximum, s),
      per_head("total", total, s),
      per_channel("weighted", weighted, s),
      per_head("last_maximum", last_maximum, s),
      per_head("last_total", last_total, s),
      per_channel("last_weighted", last_weighted, s),
      per_time("decay", decay, s),
      per_time("weight", weight, s),
      mask(reset, lengths, s.batch, s.time),
      per_head("grad_last_maximum", grad_last_maximum, s),
      per_head("grad_last_total", grad_last_total, s),
      per_channel("grad_last_weighted", grad_last_weighted, s),
      per_time("grad_score", grad_score, s),
      mutable_values("grad_value", grad_value, s),
      per_head("grad_maximum", grad_maximum, s),
      per_head("grad_total", grad_total, s),
      per_channel("grad_weighted", grad_weighted, s)};
  nb::gil_scoped_release released;
  run(table_of_softmax_scan_backward, arguments, 2 * s.batch * s.time * s.heads * (s.dim + 16),
      threads, Pieces{s.batch});
}

// One time, of contiguous arrays without that axis.
void step(const Array& score, const Array& value, const Array& maximum, const Array& total,
          const Array& weighted, const Array& output, const Array& last_maximum,
          const Array& last_total, const Array& last_weighted, int threads) {
  if (value.ndim() != 3) refuse("value", value, "(batch, heads, dim)");
  const auto size = [&](int axis) { return static_cast<int64_t>(value.shape(axis)); };
  const Sizes s{stored_of("value", value), size(0), 1, size(1), size(2)};
  if (s.stored == Stored::bfloat16) refuse("value", value, "float32 or float64");
  const int64_t heads = s.heads, numbers = s.heads * s.dim;
  std::vector<char> coefficients(2 * s.batch * heads * (s.stored == Stored::float64 ? 8 : 4));
  const SoftmaxScan arguments{s.stored,
                              s.batch,
                              1,
                              heads,
                              s.dim,
                              {per_head("score", score, s), {heads, 0}},
                              {per_channel("value", value, s), {numbers, 0, s.dim}},
                              per_head("maximum", maximum, s),
                              per_head("total", total, s),
                              per_channel("weighted", weighted, s),
                              {nullptr, 0, 0, nullptr},
                              {per_channel("output", output, s), {numbers, 0, s.dim}},
                              per_head("last_maximum", last_maximum, s),
                              per_head("last_total", last_total, s),
                              per_channel("last_weighted", last_weighted, s),
                              coefficients.data(),
                              coefficients.data() + coefficients.size() / 2};
  nb::gil_scoped_release released;
  run(table_of_softmax_scan, arguments, s.batch * heads * (s.dim + 16), threads);
}

}  // namespace

void bind_softmax_scan(nb::module_& module) {
  using namespace nb::literals;
  module.def("softmax_scan", &forward, "score"_a, "value"_a, "maximum"_a, "total"_a, "weighted"_a,
             "reset"_a.none(), "lengths"_a.none(), "output"_a, "last_maximum"_a, "last_total"_a,
             "last_weighted"_a, "decay"_a, "weight"_a, "threads"_a,
             "Write the running means weighted by exp(score), the last state, and coefficients.");
  module.def("softmax_scan_step", &step, "score"_a, "value"_a, "maximum"_a, "total"_a,
             "weighted"_a, "output"_a, "last_maximum"_a, "last_total"_a, "last_weighted"_a,
             "threads"_a, "Write the next mean and the next state.");
  module.def("softmax_scan_backward", &backward, "score"_a, "value"_a, "maximum"_a, "total"_a,
             "weighted"_a, "reset"_a.none(), "lengths"_a.none(), "output"_a, "last_maximum"_a,
             "last_total"_a, "last_weighted"_a, "decay"_a, "weight"_a, "grad_output"_a,
             "grad_last_maximum"_a, "grad_last_total"_a, "grad_last_weighted"_a, "grad_score"_a,
             "grad_value"_a, "grad_maximum"_a, "grad_total"_a, "grad_weighted"_a, "threads"_a,
             "Write the gradients of softmax_scan.");
}

}  // namespace statewise
