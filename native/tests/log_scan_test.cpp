#include "../log_scan.h"

#include <algorithm>

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

template <class W>
bool agrees(Stored stored, int64_t batch, int64_t time, int64_t dim, int threads,
            double tolerance) {
  const int64_t n = batch * time * dim, m = batch * dim;
  auto decay = random<W>(n, -2, 0.5), drive = random<W>(n, -2, 2), grad = random<W>(n, -1, 1);
  auto initial = random<W>(m, -1, 1), grad_final = random<W>(m, -1, 1);
  for (int64_t i = 0; i < n; i++) {
    if (dice() % 6 == 0) decay[i] = W(-INFINITY);
    if (dice() % 6 == 0) drive[i] = W(-INFINITY);
  }
  std::unique_ptr<bool[]> reset(new bool[batch * time]);
  for (int64_t i = 0; i < batch * time; i++) reset[i] = dice() % 4 == 0;
  std::unique_ptr<int64_t[]> lengths(new int64_t[batch]);
  for (int64_t i = 0; i < batch; i++) lengths[i] = int64_t(dice() % (time + 3)) - 1;

  const Shape shape{stored, batch, time, dim};
  const Mask mask{reset.get(), time, 1, lengths.get()};
  const auto sequence = [&](auto& x) { return Sequence{x.data.get(), time * dim, dim}; };
  const auto writable = [&](auto& x) { return MutableSequence{x.data.get(), time * dim, dim}; };
  Exact<W> output(n), to_decay(n), to_drive(n), final(m), to_initial(m);
  run(table_of_log_scan,
      LogScan{shape, sequence(decay), sequence(drive), initial.data.get(), mask, writable(output),
              final.data.get()},
      1 << 20, threads);
  run(table_of_log_scan_backward,
      LogScanBackward{shape, sequence(decay), sequence(drive), sequence(output), sequence(grad),
                      initial.data.get(), grad_final.data.get(), mask, writable(to_decay),
                      writable(to_drive), to_initial.data.get()},
      1 << 20, threads);

  std::vector<double> a(n), b(n), start(m);
  bool good = true;
  const auto same = [&](double x, double y) {
    good = good && (x == y || std::fabs(x - y) <= tolerance * (1 + std::fabs(y)));
  };
  for (int64_t row = 0; row < batch; row++)
    for (int64_t i = 0; i < dim; i++) {
      const int64_t end = std::max<int64_t>(0, std::min(lengths[row], time));
      const auto at = [&](int64_t t) { return (row * time + t) * dim + i; };
      const auto past = [&](int64_t t, double h) {
        return reset[row * time + t] ? -double(INFINITY) : double(decay[at(t)]) + h;
      };
      double h = initial[row * dim + i];
      for (int64_t t = 0; t < end; t++) {
        h = std::log(std::exp(past(t, h)) + std::exp(double(drive[at(t)])));
        same(output[at(t)], h);
      }
      for (int64_t t = end; t < time; t++) same(output[at(t)], 0);
      same(final[row * dim + i], h);
      double g = grad_final[row * dim + i];
      for (int64_t t = end - 1; t >= 0; t--) {
        g += grad[at(t)];
        const double before = t > 0 ? output[at(t - 1)] : initial[row * dim + i];
        const double x = std::exp(past(t, before)), y = std::exp(double(drive[at(t)]));
        b[at(t)] = x + y > 0 ? g * y / (x + y) : 0;
        a[at(t)] = g = x + y > 0 ? g * x / (x + y) : 0;
      }
      start[row * dim + i] = g;
    }
  return good && close(to_decay, a, tolerance) && close(to_drive, b, tolerance) &&
         close(to_initial, start, tolerance);
}

}  // namespace

bool test_log_scan() {
  bool good = true;
  for (int64_t batch : {1, 3})
    for (int64_t time : {0, 1, 7})
      for (int64_t dim : {1, 17, 1030})
        for (int threads : {1, 3})
          good = agrees<float>(Stored::float32, batch, time, dim, threads, 1e-5) &&
                 agrees<double>(Stored::float64, batch, time, dim, threads, 1e-12) && good;
  return good;
}
