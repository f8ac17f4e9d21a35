#include "bind_few_rows.h"

namespace statewise {

FewRows few_rows_of(const Array& weight, const MaybeArray& scale, const MaybeArray& bias) {
  if (weight.ndim() != 2) refuse("weight", weight, "(outputs, inner)");
  FewRows p{};
  p.outputs = weight.shape(0), p.inner = weight.shape(1);
  p.bias = static_cast<const float*>(strided<1>("bias", bias, {p.outputs}, Stored::float32).data);
  p.scale =
      static_cast<const float*>(strided<1>("scale", scale, {p.outputs}, Stored::float32).data);
  if (!scale) {
    strided<2>("weight", weight, {p.outputs, p.inner}, Stored::float32);
  } else if (weight.dtype() != nb::dtype<int8_t>() || (p.inner > 1 && weight.stride(1) != 1)) {
    refuse("weight", weight, "int8, contiguous along its last axis, where there is a scale");
  }
  p.weight = weight.data(), p.weight_row = weight.stride(0);
  return p;
}

void multiply_few_rows(FewRows p, int threads) {
  const int64_t work = p.outputs * p.inner;
  if (!p.scale) {
    run(table_of_few_rows, p, work, threads);
    return;
  }
  const int64_t padded = few_rows_padded(p.inner);
  const Scratch scratch(p.rows * (padded * sizeof(int16_t) + sizeof(float)));
  p.rounded = reinterpret_cast<int16_t*>(scratch.data());
  p.unit = reinterpret_cast<float*>(p.rounded + p.rows * padded);
  run(table_of_few_rows_round, p, 1, 1);
  run(table_of_few_rows_int8, p, work, threads);
}

namespace {

void multiply_few(const Array& x, const Array& weight, const MaybeArray& scale,
                  const MaybeArray& bias, const Array& y, int threads) {
  if (x.ndim() != 2 || x.shape(0) > few_rows_most)
    refuse("x", x, "(rows, inner), of at most " + std::to_string(few_rows_most) + " rows");
  FewRows p = few_rows_of(weight, scale, bias);
  p.rows = x.shape(0);
  const auto from = strided<2>("x", x, {p.rows, p.inner}, Stored::float32);
  p.x = static_cast<const float*>(from.data), p.x_row = from.stride[0];
  const auto to = mutable_strided<2>("y", y, {p.rows, p.outputs}, Stored::float32);
  p.y = static_cast<float*>(to.data), p.y_row = to.stride[0];
  nb::gil_scoped_release released;
  multiply_few_rows(p, threads);
}

}  // namespace

void bind_few_rows(nb::module_& module) {
  using namespace nb::literals;
  module.attr("few_rows") = few_rows_most;
  module.def("multiply_few", &multiply_few, "x"_a, "weight"_a, "scale"_a.none(), "bias"_a.none(),
             "y"_a, "threads"_a,
             "Write x weight' and the bias to y; where there is a scale, weights of eight bits, and "
             "each output times its scale.");
}

}  // namespace statewise
