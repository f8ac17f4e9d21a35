#include "../softmax_scan.h"

#include <algorithm>

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

template <class W>
bool agrees(Stored stored, int64_t batch, int64_t time, int64_t heads, int64_t dim, int threads,
            double tolerance) {
  const int64_t m = batch * heads, n = batch * time * heads;
  auto score = random<W>(n, -3, 3), value = random<W>(n * dim, -1, 1);
  auto maximum = random<W>(m, -1, 1), total = random<W>(m, 0.2, 1), weighted = random<W>(m * dim, -1, 1);
  auto grad = random<W>(n * dim, -1, 1), grad_maximum = random<W>(m, -1, 1),
       grad_total = random<W>(m, -1, 1), grad_weighted = random<W>(m * dim, -1, 1);
  for (int64_t i = 0; i < n; i++)
    if (dice() % 5 == 0) score[i] = W(-INFINITY);
  std::unique_ptr<bool[]> reset(new bool[batch * time]);
  for (int64_t i = 0; i < batch * time; i++) reset[i] = dice() % 5 == 0;
  std::unique_ptr<int64_t[]> lengths(new int64_t[batch]);
  for (int64_t i = 0; i < batch; i++) lengths[i] = int64_t(dice() % (time + 3)) - 1;
  const Mask mask{reset.get(), time, 1, lengths.get()};

  const int64_t row_stride = time * heads;
  const Strided<3> scores{score.data.get(), {row_stride, heads}};
  const auto read = [&](auto& x) {
    return Strided<4>{x.data.get(), {row_stride * dim, heads * dim, dim}};
  };
  const auto write = [&](auto& x) {
    return MutableStrided<4>{x.data.get(), {row_stride * dim, heads * dim, dim}};
  };
  Exact<W> output(n * dim), last_maximum(m), last_total(m), last_weighted(m * dim), decay(n),
      weight(n), to_score(n), to_value(n * dim), to_maximum(m), to_total(m), to_weighted(m * dim);
  run(table_of_softmax_scan,
      SoftmaxScan{stored, batch, time, heads, dim, scores, read(value), maximum.data.get(),
                  total.data.get(), weighted.data.get(), mask, write(output),
                  last_maximum.data.get(), last_total.data.get(), last_weighted.data.get(),
                  decay.data.get(), weight.data.get()},
      1 << 20, threads);
  run(table_of_softmax_scan_backward,
      SoftmaxScanBackward{stored, batch, time, heads, dim, scores, read(value), read(output),
                          read(grad), maximum.data.get(), total.data.get(), weighted.data.get(),
                          last_maximum.data.get(), last_total.data.get(), last_weighted.data.get(),
                          decay.data.get(), weight.data.get(), mask, grad_maximum.data.get(),
                          grad_total.data.get(), grad_weighted.data.get(), to_score.data.get(),
                          write(to_value), to_maximum.data.get(), to_total.data.get(),
                          to_weighted.data.get()},
      1 << 20, threads);

  bool good = true;
  const auto same = [&](double x, double y) {
    good = good && (x == y || std::fabs(x - y) <= tolerance * (1 + std::fabs(y)));
  };
  for (int64_t row = 0; row < batch; row++)
    for (int64_t head = 0; head < heads; head++) {
      const int64_t end = std::max<int64_t>(0, std::min(lengths[row], time));
      const int64_t place = row * heads + head;
      const auto at = [&](int64_t t) { return (row * time + t) * heads + head; };
      // Step by step, and its derivative step by step back.
      std::vector<double> ms(end + 1), us(end + 1), w(dim);
      std::vector<std::vector<double>> ws(end + 1, std::vector<double>(dim));
      ms[0] = maximum[place], us[0] = total[place];
      for (int64_t j = 0; j < dim; j++) ws[0][j] = weighted[place * dim + j];
      const auto before = [&](int64_t t, double& m, double& u, std::vector<double>& w) {
        m = ms[t], u = us[t], w = ws[t];
        if (!reset[row * time + t]) return;
        m = -double(INFINITY), u = 0;
        std::fill(w.begin(), w.end(), 0.0);
      };
      for (int64_t t = 0; t < end; t++) {
        double m, u;
        before(t, m, u, w);
        const double s = score[at(t)], high = std::max(s, m);
        const double shift = high == -double(INFINITY) ? 0 : high;
        const double kept = std::exp(m - shift), added = std::exp(s - shift);
        ms[t + 1] = high, us[t + 1] = kept * u + added;
        for (int64_t j = 0; j < dim; j++) {
          ws[t + 1][j] = kept * w[j] + added * double(value[at(t) * dim + j]);
          same(output[at(t) * dim + j], us[t + 1] > 0 ? ws[t + 1][j] / us[t + 1] : 0);
        }
      }
      same(last_maximum[place], ms[end]);
      same(last_total[place], us[end]);
      std::vector<double> gw(dim);
      double gm = grad_maximum[place], gu = grad_total[place];
      for (int64_t j = 0; j < dim; j++) {
        same(last_weighted[place * dim + j], ws[end][j]);
        gw[j] = grad_weighted[place * dim + j];
      }
      for (int64_t t = time - 1; t >= 0; t--) {
        if (t >= end) {
          same(to_score[at(t)], 0);
          for (int64_t j = 0; j < dim; j++) {
            same(to_value[at(t) * dim + j], 0);
            same(output[at(t) * dim + j], 0);
          }
          continue;
        }
        double m, u;
        before(t, m, u, w);
        const double s = score[at(t)], high = ms[t + 1];
        const double shift = high == -double(INFINITY) ? 0 : high;
        const double kept = std::exp(m - shift), added = std::exp(s - shift);
        double to_kept = 0, to_added = 0;
        for (int64_t j = 0; j < dim; j++) {
          const double g = grad[at(t) * dim + j], y = output[at(t) * dim + j];
          if (us[t + 1] > 0) {
            gw[j] += g / us[t + 1];
            gu -= g * y / us[t + 1];
          }
        }
        for (int64_t j = 0; j < dim; j++) {
          to_kept += gw[j] * w[j];
          to_added += gw[j] * double(value[at(t) * dim + j]);
          same(to_value[at(t) * dim + j], added * gw[j]);
          gw[j] *= kept;
        }
        to_kept += gu * u, to_added += gu;
        gu *= kept;
        const double to_shift = high == -double(INFINITY) ? 0 : -kept * to_kept - added * to_added;
        const double through = gm + to_shift;
        same(to_score[at(t)], added * to_added + (s > m ? through : 0));
        gm = kept * to_kept + (s > m ? 0 : through);
        if (reset[row * time + t]) {
          gm = gu = 0;
          std::fill(gw.begin(), gw.end(), 0.0);
        }
      }
      same(to_maximum[place], gm);
      same(to_total[place], gu);
      for (int64_t j = 0; j < dim; j++) same(to_weighted[place * dim + j], gw[j]);
    }
  return good;
}

}  // namespace

bool test_softmax_scan() {
  bool good = true;
  for (int64_t batch : {1, 3})
    for (int64_t time : {0, 1, 19})
      for (int64_t heads : {1, 3, 18})
        for (int64_t dim : {1, 17, 64})
          for (int threads : {1, 3})
            good = agrees<float>(Stored::float32, batch, time, heads, dim, threads, 1e-4) &&
                   agrees<double>(Stored::float64, batch, time, heads, dim, threads, 1e-11) && good;
  return good;
}
