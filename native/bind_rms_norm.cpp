#include "arrays.h"
#include "rms_norm.h"

namespace statewise {
namespace {

void norm(float epsilon, const Array& x, const MaybeArray& weight, const Array& y, int threads) {
  if (x.ndim() != 2) refuse("x", x, "(rows, dim)");
  const int64_t rows = x.shape(0), dim = x.shape(1);
  const auto from = strided<2>("x", x, {rows, dim}, Stored::float32);
  const int64_t of_weight[] = {dim};
  const auto scale = strided<1>("weight", weight, of_weight, Stored::float32);
  const auto to = mutable_strided<2>("y", y, {rows, dim}, Stored::float32);
  const RmsNorm a{rows,
                  dim,
                  static_cast<const float*>(from.data),
                  from.stride[0],
                  static_cast<const float*>(scale.data),
                  epsilon,
                  static_cast<float*>(to.data),
                  to.stride[0]};
  nb::gil_scoped_release released;
  run(table_of_rms_norm, a, rows * dim, threads);
}

}  // namespace

void bind_rms_norm(nb::module_& module) {
  using namespace nb::literals;
  module.def("rms_norm", &norm, "epsilon"_a, "x"_a, "weight"_a.none(), "y"_a, "threads"_a,
             "Write rows over their root mean squares, times the weight where there is one.");
}

}  // namespace statewise
