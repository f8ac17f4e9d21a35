#include "rms_norm.h"

#include "kernel.h"
#include "share.h"

namespace statewise {
namespace STATEWISE_LEVEL {

void rms_norm(const RmsNorm& a, Share share) {
  const int64_t end = share.end(a.rows);
  for (int64_t r = share.begin(a.rows); r < end; r++) {
    const float* x = a.x + r * a.x_row;
    float* y = a.y + r * a.y_row;
    Vector<float> squares = {};
    for_vectors(a.dim, [&](int64_t i, int64_t count) {
      const Vector<float> some = load(x + i, count);
      squares += some * some;
    });
    alignas(64) float each[width<float>], sum = 0;
    store(each, squares);
    for (float square : each) sum += square;
    const float mean = sum / static_cast<float>(a.dim) + a.epsilon;
    const Vector<float> root = square_root(Vector<float>{} + mean);
    for_vectors(a.dim, [&](int64_t i, int64_t count) {
      const Vector<float> scaled = load(x + i, count) / root;
      store(y + i, a.weight ? scaled * load(a.weight + i, count) : scaled, count);
    });
  }
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
