#include "../matrix_scan.h"

#include <algorithm>

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

template <class S, class W>
bool agrees(Stored stored, int64_t batch, int64_t time, int64_t blocks, int64_t n, bool each,
            bool masks, int threads, double tolerance) {
  const MatrixShape shape{stored, batch, time, blocks, n};
  const int64_t square = blocks * n * n, state = blocks * n, count = batch * time * state;
  const int64_t transitions = each ? batch * time * square : square;
  auto transition = random<S>(transitions, -1. / n, 1. / n);
  auto drive = random<S>(count, -1, 1), grad_output = random<S>(count, -1, 1);
  auto initial = random<W>(batch * state, -1, 1), grad_final = random<W>(batch * state, -1, 1);
  std::unique_ptr<bool[]> reset(new bool[batch * time]);
  for (int64_t i = 0; i < batch * time; i++) reset[i] = masks && dice() % 4 == 0;
  std::unique_ptr<int64_t[]> lengths(new int64_t[batch]);
  for (int64_t i = 0; i < batch; i++) lengths[i] = masks ? int64_t(dice() % (time + 3)) - 1 : time;
  const Mask mask{reset.get(), time, 1, lengths.get()};

  const auto sequence = [&](auto& x) { return Sequence{x.data.get(), time * state, state}; };
  const auto writable = [&](auto& x) { return MutableSequence{x.data.get(), time * state, state}; };
  const Sequence a{transition.data.get(), each ? time * square : 0, each ? square : 0};
  const bool shares = matrix_shares(shape, a);
  const int64_t together = matrix_together(shape, a);
  const int64_t groups = (batch + together - 1) / together;

  Exact<S> output(count), grad_drive(count), grad_transition(transitions);
  Exact<W> final(batch * state), grad_initial(batch * state), sums(each ? 1 : groups * square);
  Exact<W> work(matrix_small(n) ? 1 : threads * matrix_work_numbers(shape, together, shares));
  run(table_of_matrix_scan,
      MatrixScan{shape, a, sequence(drive), initial.data.get(), mask, writable(output),
                 final.data.get(), together, work.data.get()},
      1 << 20, threads);
  run(table_of_matrix_scan_backward,
      MatrixScanBackward{shape, a, sequence(output), sequence(grad_output), initial.data.get(),
                         grad_final.data.get(), mask,
                         {grad_transition.data.get(), time * square, square}, writable(grad_drive),
                         grad_initial.data.get(), each ? nullptr : sums.data.get(), together,
                         work.data.get(), masks},
      1 << 20, threads);
  if (!each)
    run(table_of_matrix_scan_sums,
        MatrixScanSums{shape, sums.data.get(), groups, grad_transition.data.get(), true}, 1 << 20,
        threads);

  std::vector<double> hs(count), a_grads(transitions), b_grads(count), end(batch * state);
  std::vector<double> start(batch * state);
  for (int64_t row = 0; row < batch; row++)
    for (int64_t block = 0; block < blocks; block++) {
      const int64_t length = std::max<int64_t>(0, std::min(lengths[row], time));
      const int64_t first = row * state + block * n;
      const auto at = [&](int64_t t) { return (row * time + t) * state + block * n; };
      const auto square_at = [&](int64_t t) {
        return (each ? (row * time + t) * square : 0) + block * n * n;
      };
      std::vector<double> h(n), g(n);
      for (int64_t i = 0; i < n; i++) h[i] = initial[first + i];
      for (int64_t t = 0; t < length; t++) {
        std::vector<double> next(n);
        for (int64_t i = 0; i < n; i++) {
          next[i] = drive[at(t) + i];
          for (int64_t j = 0; j < n && !reset[row * time + t]; j++)
            next[i] += transition[square_at(t) + i * n + j] * h[j];
          hs[at(t) + i] = next[i];
        }
        h = next;
      }
      for (int64_t i = 0; i < n; i++) end[first + i] = h[i], g[i] = grad_final[first + i];
      for (int64_t t = length - 1; t >= 0; t--) {
        std::vector<double> next(n);
        for (int64_t i = 0; i < n; i++) g[i] += grad_output[at(t) + i], b_grads[at(t) + i] = g[i];
        for (int64_t i = 0; i < n && !reset[row * time + t]; i++)
          for (int64_t j = 0; j < n; j++) {
            const double before = t > 0 ? static_cast<double>(output[at(t - 1) + j])
                                        : static_cast<double>(initial[first + j]);
            a_grads[square_at(t) + i * n + j] += g[i] * before;
            next[j] += transition[square_at(t) + i * n + j] * g[i];
          }
        g = next;
      }
      for (int64_t i = 0; i < n; i++) start[first + i] = g[i];
    }
  return close(output, hs, tolerance) && close(final, end, tolerance) &&
         close(grad_transition, a_grads, tolerance) && close(grad_drive, b_grads, tolerance) &&
         close(grad_initial, start, tolerance);
}

}  // namespace

bool test_matrix_scan() {
  bool good = true;
  for (int64_t batch : {1, 5})
    for (int64_t time : {0, 1, 6})
      for (int64_t blocks : {1, 7, 18})
        for (int64_t n : {1, 2, 3, 4, 8, 19})
          for (bool each : {false, true})
            for (bool masks : {false, true})
              for (int threads : {1, 3}) {
                const auto check = [&](bool agreed) { good = good && agreed; };
                check(agrees<float, float>(Stored::float32, batch, time, blocks, n, each, masks,
                                           threads, 1e-5));
                check(agrees<double, double>(Stored::float64, batch, time, blocks, n, each, masks,
                                             threads, 1e-12));
                check(agrees<Half, float>(Stored::bfloat16, batch, time, blocks, n, each, masks,
                                          threads, 2e-2));
              }
  return good;
}
