#include "../scan.h"

#include <algorithm>

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

template <class S, class W>
bool agrees(Stored stored, int64_t batch, int64_t time, int64_t dim, bool masks, bool stream,
            int threads, double tolerance) {
  const int64_t n = batch * time * dim, m = batch * dim;
  auto decay = random<S>(n, -1, 1), drive = random<S>(n, -1, 1), grad_output = random<S>(n, -1, 1);
  auto initial = random<W>(m, -1, 1), grad_final = random<W>(m, -1, 1);
  std::unique_ptr<bool[]> reset(new bool[batch * time]);
  for (int64_t i = 0; i < batch * time; i++) reset[i] = masks && dice() % 4 == 0;
  std::unique_ptr<int64_t[]> lengths(new int64_t[batch]);
  for (int64_t i = 0; i < batch; i++) lengths[i] = masks ? int64_t(dice() % (time + 3)) - 1 : time;

  const Shape shape{stored, batch, time, dim};
  const Mask mask{reset.get(), time, 1, lengths.get()};
  const auto sequence = [&](auto& x) { return Sequence{x.data.get(), time * dim, dim}; };
  const auto writable = [&](auto& x) { return MutableSequence{x.data.get(), time * dim, dim}; };

  Exact<S> output(n), grad_decay(n), grad_drive(n);
  Exact<W> final(m), grad_initial(m);
  run(table_of_scan,
      Scan{shape, sequence(decay), sequence(drive), initial.data.get(), mask, writable(output),
           final.data.get(), stream},
      1 << 20, threads);
  run(table_of_scan_backward,
      ScanBackward{shape, sequence(decay), sequence(output), sequence(grad_output),
                   initial.data.get(), grad_final.data.get(), mask, writable(grad_decay),
                   writable(grad_drive), grad_initial.data.get(), stream},
      1 << 20, threads);

  std::vector<double> h(n), a(n), b(n), end(m), start(m);
  for (int64_t row = 0; row < batch; row++)
    for (int64_t i = 0; i < dim; i++) {
      const int64_t length = std::max<int64_t>(0, std::min(lengths[row], time));
      const auto at = [&](int64_t t) { return (row * time + t) * dim + i; };
      double state = initial[row * dim + i];
      for (int64_t t = 0; t < length; t++) {
        state = (reset[row * time + t] ? 0 : decay[at(t)] * state) + drive[at(t)];
        h[at(t)] = state;
      }
      end[row * dim + i] = state;
      double g = grad_final[row * dim + i];
      for (int64_t t = length - 1; t >= 0; t--) {
        g += grad_output[at(t)];
        const double before = t > 0 ? static_cast<double>(output[at(t - 1)])
                                    : static_cast<double>(initial[row * dim + i]);
        b[at(t)] = g;
        a[at(t)] = reset[row * time + t] ? 0 : g * before;
        g = reset[row * time + t] ? 0 : g * decay[at(t)];
      }
      start[row * dim + i] = g;
    }
  return close(output, h, tolerance) && close(final, end, tolerance) &&
         close(grad_decay, a, tolerance) && close(grad_drive, b, tolerance) &&
         close(grad_initial, start, tolerance);
}

}  // namespace

bool test_scan() {
  bool good = true;
  for (int64_t batch : {1, 3})
    for (int64_t time : {0, 1, 5})
      for (int64_t dim : {1, 17, 64, 1030, 1088})
        for (bool masks : {false, true})
          for (bool stream : {false, true})
            for (int threads : {1, 3}) {
              const auto check = [&](bool agreed) { good = good && agreed; };
              check(agrees<float, float>(Stored::float32, batch, time, dim, masks, stream, threads,
                                         1e-5));
              check(agrees<double, double>(Stored::float64, batch, time, dim, masks, stream,
                                           threads, 1e-12));
              check(agrees<Half, float>(Stored::bfloat16, batch, time, dim, masks, stream, threads,
                                        2e-2));
            }
  return good;
}
