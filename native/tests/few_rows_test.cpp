#include "../few_rows.h"

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

bool agrees(int64_t rows, int64_t outputs, int64_t inner, bool small, bool biased, int threads) {
  auto x = random<float>(rows * inner, -1, 1), bias = random<float>(outputs, -1, 1);
  auto weight = random<float>(outputs * inner, -1, 1), scale = random<float>(outputs, 0.001, 0.01);
  Exact<int8_t> bytes(0), made(outputs * inner);
  if (small) bytes = std::move(made);
  for (int64_t i = 0; i < bytes.size; i++) bytes[i] = static_cast<int8_t>(127 * weight[i]);
  std::vector<double> wanted(rows * outputs);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < outputs; i++) {
      double sum = 0;
      for (int64_t k = 0; k < inner; k++)
        sum += static_cast<double>(x[r * inner + k]) *
               (small ? static_cast<double>(bytes[i * inner + k]) * scale[i]
                      : static_cast<double>(weight[i * inner + k]));
      wanted[r * outputs + i] = sum + (biased ? bias[i] : 0);
    }
  Exact<float> y(rows * outputs), unit(rows);
  Exact<int16_t> rounded(rows * few_rows_padded(inner));
  FewRows p{rows,  outputs, inner, x.data.get(), inner, weight.data.get(), inner,
            biased ? bias.data.get() : nullptr, y.data.get(), outputs,
            scale.data.get(), rounded.data.get(), unit.data.get()};
  if (small) {
    p.weight = bytes.data.get();
    run(table_of_few_rows_round, p, 1, 1);
    run(table_of_few_rows_int8, p, 1 << 20, threads);
  } else {
    run(table_of_few_rows, p, 1 << 20, threads);
  }
  return close(y, wanted, small ? 1e-3 : 1e-4);
}

}  // namespace

bool test_few_rows() {
  bool good = true;
  for (int64_t rows = 0; rows <= few_rows_most; rows++)
    for (int64_t outputs : {0, 1, 7, 64})
      for (int64_t inner : {0, 1, 31, 130, 4200})
        for (bool small : {false, true})
          for (int threads : {1, 3})
            good = good && agrees(rows, outputs, inner, small, outputs % 2, threads);
  return good;
}
