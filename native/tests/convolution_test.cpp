#include "../convolution.h"

#include <algorithm>
#include <complex>

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

template <class S, class W>
bool agrees(Stored stored, int64_t batch, int64_t time, int64_t dim, int64_t width, bool masks,
            int threads, double tolerance) {
  const Shape shape{stored, batch, time, dim};
  const int64_t count = batch * time * dim, past = width - 1, state = batch * past * dim;
  auto x = random<S>(count, -1, 1), grad_output = random<S>(count, -1, 1);
  auto taps = random<W>(width * dim, -1, 1), bias = random<W>(dim, -1, 1);
  auto initial = random<W>(state, -1, 1), grad_final = random<W>(state, -1, 1);
  std::unique_ptr<bool[]> reset(new bool[batch * time]);
  for (int64_t i = 0; i < batch * time; i++) reset[i] = masks && dice() % 4 == 0;
  std::unique_ptr<int64_t[]> lengths(new int64_t[batch]);
  for (int64_t i = 0; i < batch; i++) lengths[i] = masks ? int64_t(dice() % (time + 3)) - 1 : time;
  const Mask mask{reset.get(), time, 1, lengths.get()};
  const auto sequence = [&](auto& x) { return Sequence{x.data.get(), time * dim, dim}; };
  const auto writable = [&](auto& x) { return MutableSequence{x.data.get(), time * dim, dim}; };

  Exact<S> output(count), grad_x(count);
  Exact<W> final(state), grad_initial(state), sums(batch * (width + 1) * dim);
  Exact<W> grad_weight(dim * width), grad_bias(dim);
  run(table_of_convolution,
      Convolution{shape, width, sequence(x), taps.data.get(), bias.data.get(), initial.data.get(),
                  mask, writable(output), final.data.get()},
      1 << 20, threads);
  run(table_of_convolution_backward,
      ConvolutionBackward{shape, width, sequence(x), sequence(grad_output), taps.data.get(),
                          initial.data.get(), grad_final.data.get(), mask, writable(grad_x),
                          grad_initial.data.get(), sums.data.get()},
      1 << 20, threads);
  run(table_of_convolution_sums,
      ConvolutionSums{shape, width, sums.data.get(), grad_weight.data.get(), grad_bias.data.get()},
      1 << 20, threads);

  std::vector<double> y(count), dx(count), end(state), dstart(state), dw(dim * width), db(dim);
  for (int64_t row = 0; row < batch; row++)
    for (int64_t c = 0; c < dim; c++) {
      const int64_t length = std::max<int64_t>(0, std::min(lengths[row], time));
      const auto at = [&](int64_t t) { return (row * time + t) * dim + c; };
      const auto before = [&](int64_t s) { return (row * past + s + past) * dim + c; };
      const auto input = [&](int64_t s) {
        return s < 0 ? static_cast<double>(initial[before(s)]) : static_cast<double>(x[at(s)]);
      };
      const auto gradient = [&](int64_t s) -> double& {
        return s < 0 ? dstart[before(s)] : dx[at(s)];
      };
      int64_t first = -past;
      for (int64_t t = 0; t < length; t++) {
        if (reset[row * time + t]) first = t;
        y[at(t)] = bias[c];
        db[c] += grad_output[at(t)];
        for (int64_t k = 0; k < width && t - k >= first; k++) {
          y[at(t)] += taps[k * dim + c] * input(t - k);
          gradient(t - k) += taps[k * dim + c] * grad_output[at(t)];
          dw[c * width + width - 1 - k] += input(t - k) * grad_output[at(t)];
        }
      }
      for (int64_t m = 0; m < past; m++) {
        const int64_t s = length - past + m, place = (row * past + m) * dim + c;
        if (s < first) continue;
        end[place] = input(s);
        gradient(s) += grad_final[place];
      }
    }
  return close(output, y, tolerance) && close(final, end, tolerance) &&
         close(grad_x, dx, tolerance) && close(grad_initial, dstart, tolerance) &&
         close(grad_weight, dw, tolerance) && close(grad_bias, db, tolerance);
}

template <class W>
bool diagonal_agrees(Stored stored, int64_t batch, int64_t dim, int64_t state, bool complex,
                     int threads, double tolerance) {
  const int64_t each = complex ? 2 : 1, numbers = each * state;
  auto x = random<W>(batch * dim, -1, 1), h = random<W>(batch * dim * numbers, -1, 1);
  auto decay = random<W>(dim * numbers, -1, 1), write = random<W>(dim * numbers, -1, 1);
  auto read = random<W>(dim * numbers, -1, 1);
  Exact<W> output(batch * dim), after(batch * dim * numbers);
  run(table_of_diagonal_step,
      DiagonalStep{stored, complex, batch, dim, numbers, x.data.get(), dim, decay.data.get(),
                   write.data.get(), read.data.get(), h.data.get(), output.data.get(),
                   after.data.get()},
      1 << 20, threads);
  std::vector<double> y(batch * dim), kept(batch * dim * numbers);
  for (int64_t i = 0; i < batch * dim; i++)
    for (int64_t k = 0; k < state; k++) {
      const int64_t of_channel = (i % dim * state + k) * each, of_state = (i * state + k) * each;
      const auto at = [&](auto& numbers, int64_t place) {
        return std::complex<double>(numbers[place], complex ? numbers[place + 1] : 0);
      };
      const auto now = at(decay, of_channel) * at(h, of_state) +
                       at(write, of_channel) * static_cast<double>(x[i]);
      kept[of_state] = now.real();
      if (complex) kept[of_state + 1] = now.imag();
      y[i] += (at(read, of_channel) * now).real();
    }
  return close(output, y, tolerance) && close(after, kept, tolerance);
}

}  // namespace

bool test_convolution() {
  bool good = true;
  for (int64_t batch : {1, 3})
    for (int64_t time : {0, 1, 5, 23})
      for (int64_t dim : {1, 17, 130})
        for (int64_t width : {1, 2, 4, 7, 11})
          for (bool masks : {false, true})
            for (int threads : {1, 3}) {
              const auto check = [&](bool agreed) { good = good && agreed; };
              check(agrees<float, float>(Stored::float32, batch, time, dim, width, masks, threads,
                                         1e-5));
              check(agrees<double, double>(Stored::float64, batch, time, dim, width, masks, threads,
                                           1e-12));
              check(agrees<Half, float>(Stored::bfloat16, batch, time, dim, width, masks, threads,
                                        2e-2));
            }
  for (int64_t batch : {0, 1, 3})
    for (int64_t dim : {1, 5, 16, 37})
      for (int64_t state : {0, 1, 7, 8, 19})
        for (bool complex : {false, true})
          for (int threads : {1, 3}) {
            good = good && diagonal_agrees<float>(Stored::float32, batch, dim, state, complex,
                                                  threads, 1e-5);
            good = good && diagonal_agrees<double>(Stored::float64, batch, dim, state, complex,
                                                   threads, 1e-12);
          }
  return good;
}
