// LargeProduct of large matrices:  c = a b,  c = a b + bias  or  c += a b.
//
// They are here because torch's on a processor that its library was not made for ran at half the
// rate that the instructions allow (190 of 430 GFLOP/s on two cores). Every element is one sum, in
// the order of the inner index; threads divide the rows.
#pragma once

#include "levels.h"
#include "tensor.h"

namespace statewise {

struct LargeProduct {
  Stored stored;  // float32 or float64
  int64_t rows, columns, inner;
  const void* a;  // (rows, inner)
  int64_t a_row, a_column;
  const void* b;  // (inner, columns)
  int64_t b_row, b_column;
  void* c;  // (rows, columns), contiguous along a row
  int64_t c_row;
  const void* bias;  // (columns,) or null
  bool add;
  void* packed;  // as `large_product_workspace` says
};

constexpr int64_t large_product_band = 96;    // rows that go through it together
constexpr int64_t large_product_depth = 128;  // of the inner index at a time: a panel stays in the first cache

// Bytes, at any level.
static inline int64_t large_product_workspace(int64_t columns, int64_t inner, int bytes) {
  const int64_t panel = 4 * 64 / bytes;
  return (columns + panel - 1) / panel * panel * inner * bytes;
}

STATEWISE_KERNEL(large_product_pack, LargeProduct)
STATEWISE_KERNEL(large_product, LargeProduct)

}  // namespace statewise
