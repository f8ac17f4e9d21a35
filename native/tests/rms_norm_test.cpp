#include "../rms_norm.h"

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

bool agrees(int64_t rows, int64_t dim, bool weighted, bool in_place, int threads) {
  const int64_t x_row = dim + 3;
  auto x = random<float>(rows * x_row, -2, 2), weight = random<float>(dim, -1, 1);
  Exact<float> y(rows * dim);
  std::vector<double> wanted(rows * dim);
  for (int64_t r = 0; r < rows; r++) {
    double sum = 0;
    for (int64_t i = 0; i < dim; i++) sum += static_cast<double>(x[r * x_row + i]) * x[r * x_row + i];
    const double root = std::sqrt(sum / static_cast<double>(dim) + 1e-3);
    for (int64_t i = 0; i < dim; i++)
      wanted[r * dim + i] = x[r * x_row + i] / root * (weighted ? weight[i] : 1);
  }
  const RmsNorm a{rows, dim, x.data.get(), x_row, weighted ? weight.data.get() : nullptr, 1e-3f,
                  in_place ? x.data.get() : y.data.get(), in_place ? x_row : dim};
  run(table_of_rms_norm, a, 1 << 20, threads);
  if (in_place)
    for (int64_t r = 0; r < rows; r++)
      for (int64_t i = 0; i < dim; i++) y[r * dim + i] = x[r * x_row + i];
  return close(y, wanted, 1e-5);
}

}  // namespace

bool test_rms_norm() {
  bool good = true;
  for (int threads : {1, 3})
    for (int64_t dim : {1, 7, 16, 70})
      for (int64_t rows : {0, 1, 5})
        for (bool weighted : {false, true})
          for (bool in_place : {false, true})
            good = good && agrees(rows, dim, weighted, in_place, threads);
  return good;
}
