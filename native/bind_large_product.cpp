#include "arrays.h"
#include "large_product.h"

namespace statewise {
namespace {

void multiply(bool add, const Array& a, const Array& b, const MaybeArray& bias, const Array& c,
              const Array& workspace, int threads) {
  LargeProduct p{};
  p.stored = stored_of("c", c);
  if (p.stored == Stored::bfloat16) refuse("c", c, "float32 or float64");
  if (c.ndim() != 2) refuse("c", c, "(rows, columns)");
  p.rows = c.shape(0), p.columns = c.shape(1);
  if (a.ndim() != 2 || a.shape(0) != c.shape(0) || a.dtype() != c.dtype())
    refuse("a", a, "(rows, inner), with the rows and the type of c");
  p.inner = a.shape(1);
  if (b.ndim() != 2 || b.shape(0) != a.shape(1) || b.shape(1) != c.shape(1) ||
      b.dtype() != c.dtype())
    refuse("b", b, "(inner, columns), with the columns and the type of c");
  const auto to = mutable_strided<2>("c", c, {p.rows, p.columns}, p.stored);
  p.c = to.data, p.c_row = to.stride[0];
  p.a = a.data(), p.a_row = a.stride(0), p.a_column = a.stride(1);
  p.b = b.data(), p.b_row = b.stride(0), p.b_column = b.stride(1);
  p.bias = strided<1>("bias", bias, {p.columns}, p.stored).data;
  p.add = add;
  const int64_t bytes =
      large_product_workspace(p.columns, p.inner, p.stored == Stored::float64 ? 8 : 4);
  if (workspace.ndim() != 1 || static_cast<int64_t>(workspace.nbytes()) < bytes)
    refuse("workspace", workspace, "at least " + std::to_string(bytes) + " bytes");
  p.packed = workspace.data();
  nb::gil_scoped_release released;
  run(table_of_large_product_pack, p, p.columns * p.inner, threads);
  run(table_of_large_product, p, p.rows * p.columns * p.inner / 8, threads,
      Pieces{(p.rows + large_product_band - 1) / large_product_band});
}

}  // namespace

void bind_large_product(nb::module_& module) {
  using namespace nb::literals;
  module.def("multiply", &multiply, "add"_a, "a"_a, "b"_a, "bias"_a.none(), "c"_a, "workspace"_a,
             "threads"_a, "Write a b, and the bias, to c; or add it to what is there.");
  module.def("multiply_workspace", &large_product_workspace, "columns"_a, "inner"_a, "bytes"_a,
             "Return the bytes that multiply needs for itself.");
}

}  // namespace statewise
