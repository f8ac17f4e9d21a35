#include "../mamba_step.h"

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

bool taps_agree(int64_t rows, int64_t dim, int64_t width, bool biased, int threads) {
  const int64_t past = width - 1, u_row = dim + 3;
  auto u = random<float>(rows * u_row, -2, 2), taps = random<float>(dim * width, -1, 1);
  auto bias = random<float>(dim, -1, 1), before = random<float>(rows * past * dim, -2, 2);
  Exact<float> after(rows * past * dim), v(rows * dim);
  std::vector<double> wanted(rows * dim), kept(rows * past * dim);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < dim; c++) {
      const auto input = [&](int64_t k) -> double {
        return k == past ? u[r * u_row + c] : before[(r * past + k) * dim + c];
      };
      double sum = biased ? bias[c] : 0;
      for (int64_t k = 0; k <= past; k++) sum += taps[c * width + k] * input(k);
      wanted[r * dim + c] = sum / (1 + std::exp(-sum));
      for (int64_t k = 0; k < past; k++) kept[(r * past + k) * dim + c] = input(k + 1);
    }
  const MambaTaps a{rows, dim, width, u.data.get(), u_row, taps.data.get(),
                    biased ? bias.data.get() : nullptr, before.data.get(), after.data.get(),
                    v.data.get()};
  run(table_of_mamba_taps, a, 1 << 20, threads);
  return close(v, wanted, 1e-5) && close(after, kept, 0);
}

bool rates_agree(int64_t count, int threads) {
  auto log_rate = random<float>(count, -3, 3);
  Exact<float> A(count);
  std::vector<double> wanted(count);
  for (int64_t i = 0; i < count; i++) wanted[i] = -std::exp(static_cast<double>(log_rate[i]));
  run(table_of_mamba_rates, MambaRates{count, log_rate.data.get(), A.data.get()}, 1 << 20, threads);
  return close(A, wanted, 1e-4);
}

}  // namespace

bool test_mamba_step() {
  bool good = true;
  for (int threads : {1, 3})
    for (int64_t dim : {1, 7, 16, 70}) {
      for (int64_t rows : {0, 1, 5})
        for (int64_t width : {1, 2, 4})
          good = good && taps_agree(rows, dim, width, width % 2, threads);
      good = good && rates_agree(dim * 3, threads);
    }
  return good;
}
