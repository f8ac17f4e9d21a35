#include "../scan.h"

#include <algorithm>
#include <complex>

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

// How decays are given: whether numbers are pairs, whether one decay serves for all times.
struct Kind {
  bool complex, constant;
};

using Number = std::complex<double>;

template <class S, class W>
bool agrees(Stored stored, int64_t batch, int64_t time, int64_t dim, Kind kind, bool masks,
            bool stream, int threads, double tolerance) {
  const int64_t n = batch * time * dim, m = batch * dim;
  auto decay = random<S>(n, -0.7, 0.7), drive = random<S>(n, -1, 1),
       grad_output = random<S>(n, -1, 1);
  auto initial = random<W>(m, -1, 1), grad_final = random<W>(m, -1, 1),
       constant = random<W>(dim, -0.7, 0.7);
  std::unique_ptr<bool[]> reset(new bool[batch * time]);
  for (int64_t i = 0; i < batch * time; i++) reset[i] = masks && dice() % 4 == 0;
  std::unique_ptr<int64_t[]> lengths(new int64_t[batch]);
  for (int64_t i = 0; i < batch; i++) lengths[i] = masks ? int64_t(dice() % (time + 3)) - 1 : time;

  const Shape shape{stored, batch, time, dim};
  const Mask mask{reset.get(), time, 1, lengths.get()};
  const auto sequence = [&](auto& x) { return Sequence{x.data.get(), time * dim, dim}; };
  const auto writable = [&](auto& x) { return MutableSequence{x.data.get(), time * dim, dim}; };
  const Decay given{kind.complex, kind.constant,
                    kind.constant ? Sequence{constant.data.get(), 0, 0} : sequence(decay)};

  Exact<S> output(n), grad_decay(n), grad_drive(n);
  Exact<W> final(m), grad_initial(m), rows(m), grad_constant(dim);
  run(table_of_scan,
      Scan{shape, given, sequence(drive), initial.data.get(), mask, writable(output),
           final.data.get(), stream},
      1 << 20, threads);
  run(table_of_scan_backward,
      ScanBackward{shape, given, sequence(output), sequence(grad_output), initial.data.get(),
                   grad_final.data.get(), mask,
                   kind.constant ? MutableSequence{rows.data.get(), dim, 0} : writable(grad_decay),
                   writable(grad_drive), grad_initial.data.get(), stream},
      1 << 20, threads);
  if (kind.constant)
    run(table_of_sum_rows, SumRows{shape, rows.data.get(), grad_constant.data.get()}, 1 << 20,
        threads);

  // Numbers of one or two parts, in loops.
  const int64_t parts = kind.complex ? 2 : 1;
  const auto load = [&](auto& x, int64_t i) {
    return Number(static_cast<double>(x[i]), parts == 2 ? static_cast<double>(x[i + 1]) : 0);
  };
  const auto store = [&](std::vector<double>& x, int64_t i, Number value) {
    x[i] = value.real();
    if (parts == 2) x[i + 1] = value.imag();
  };
  std::vector<double> h(n), a(n), b(n), end(m), start(m), c(dim);
  for (int64_t row = 0; row < batch; row++)
    for (int64_t i = 0; i < dim; i += parts) {
      const int64_t length = std::max<int64_t>(0, std::min(lengths[row], time));
      const int64_t here = row * dim + i;
      const auto at = [&](int64_t t) { return (row * time + t) * dim + i; };
      const auto decays = [&](int64_t t) {
        return kind.constant ? load(constant, i) : load(decay, at(t));
      };
      Number state = load(initial, here);
      for (int64_t t = 0; t < length; t++) {
        state = (reset[row * time + t] ? 0 : decays(t) * state) + load(drive, at(t));
        store(h, at(t), state);
      }
      store(end, here, state);
      Number g = load(grad_final, here), sum = load(c, i);
      for (int64_t t = length - 1; t >= 0; t--) {
        g += load(grad_output, at(t));
        const Number before = t > 0 ? load(output, at(t - 1)) : load(initial, here);
        store(b, at(t), g);
        const Number to_decay = reset[row * time + t] ? 0 : g * std::conj(before);
        store(a, at(t), to_decay);
        sum += to_decay;
        g = reset[row * time + t] ? 0 : g * std::conj(decays(t));
      }
      store(start, here, g);
      store(c, i, sum);
    }
  return close(output, h, tolerance) && close(final, end, tolerance) &&
         (kind.constant ? close(grad_constant, c, tolerance) : close(grad_decay, a, tolerance)) &&
         close(grad_drive, b, tolerance) && close(grad_initial, start, tolerance);
}

}  // namespace

bool test_scan() {
  bool good = true;
  const auto check = [&](bool agreed) { good = good && agreed; };
  for (int64_t batch : {1, 3})
    for (int64_t time : {0, 1, 5, 70})
      for (int64_t dim : {1, 17, 64, 1030, 1088})
        for (bool masks : {false, true})
          for (bool stream : {false, true})
            for (bool constant : {false, true})
              for (int threads : {1, 3}) {
                if (time == 70 && dim > 64) continue;
                const Kind real{false, constant}, complex{true, constant};
                check(agrees<float, float>(Stored::float32, batch, time, dim, real, masks, stream,
                                           threads, 2e-5));
                check(agrees<double, double>(Stored::float64, batch, time, dim, real, masks, stream,
                                             threads, 1e-12));
                check(agrees<Half, float>(Stored::bfloat16, batch, time, dim, real, masks, stream,
                                          threads, 2e-2));
                check(agrees<float, float>(Stored::float32, batch, time, 2 * dim, complex, masks,
                                           stream, threads, 2e-5));
                check(agrees<double, double>(Stored::float64, batch, time, 2 * dim, complex, masks,
                                             stream, threads, 1e-12));
              }
  return good;
}
