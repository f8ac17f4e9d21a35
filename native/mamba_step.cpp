#include "mamba_step.h"

#include "kernel.h"
#include "share.h"

namespace statewise {
namespace STATEWISE_LEVEL {

constexpr int64_t lanes = width<float>;

void mamba_taps(const MambaTaps& a, Share share) {
  const int64_t past = a.width - 1;
  for (int64_t r = 0; r < a.rows; r++) {
    const float* u = a.u + r * a.u_row;
    const float* before = a.before + r * past * a.dim;
    float* after = a.after + r * past * a.dim;
    for_vectors(a.dim, share, [&](int64_t i, int64_t count) {
      alignas(64) float sums[lanes] = {};
      for (int64_t c = 0; c < count; c++) {
        const float* taps = a.taps + (i + c) * a.width;
        float sum = (a.bias ? a.bias[i + c] : 0) + taps[past] * u[i + c];
        for (int64_t k = 0; k < past; k++) sum += taps[k] * before[k * a.dim + i + c];
        sums[c] = sum;
      }
      for (int64_t k = 0; k < past; k++)
        memcpy(after + k * a.dim + i, k + 1 < past ? before + (k + 1) * a.dim + i : u + i,
               count * sizeof(float));
      const Vector<float> x = load(sums);
      store(a.v + r * a.dim + i, x * sigmoid(x), count);
    });
  }
}

void mamba_rates(const MambaRates& a, Share share) {
  for_vectors(a.count, share, [&](int64_t i, int64_t count) {
    store(a.A + i, -exp(load(a.log_rate + i, count)), count);
  });
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
