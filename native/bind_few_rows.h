// Products of a few rows, for the bindings that are made of several.
#pragma once

#include "arrays.h"
#include "few_rows.h"

namespace statewise {

// The weights of a product, (outputs, inner), in float32, or in int8 where there is a scale; rows
// and y are the caller's.
FewRows few_rows_of(const Array& weight, const MaybeArray& scale, const MaybeArray& bias);

// Computes y; where weights have eight bits, x is rounded before.
void multiply_few_rows(FewRows product, int threads);

}  // namespace statewise
