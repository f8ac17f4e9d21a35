#include "../selective_scan.h"

#include <algorithm>
#include <cmath>

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

struct Case {
  int64_t batch, time, groups, dim, state;
  bool extras, masks;
  int threads;
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// Everything the kernels are given and write, and the same by plain loops in double.
template <class S, class W>
class Trial {
 public:
  Trial(Stored stored, const Case& c)
      : c_(c),
        all_(c.groups * c.dim),
        n_(c.batch * c.time * all_),
        m_(c.batch * all_ * c.state),
        p_(c.batch * c.time * c.groups * c.state),
        stored_(stored),
        reset_(new bool[c.batch * c.time]),
        lengths_(new int64_t[c.batch]) {
    for (int64_t i = 0; i < c.batch * c.time; i++) reset_[i] = c.masks && dice() % 4 == 0;
    for (int64_t i = 0; i < c.batch; i++)
      lengths_[i] = c.masks ? int64_t(dice() % (c.time + 3)) - 1 : c.time;
  }

  bool agrees(double tolerance) {
    auto x = random<S>(n_, -1, 1), step = random<S>(n_, c_.extras ? -3 : 0, 1);
    auto gate = random<S>(n_, -3, 3), grad = random<S>(n_, -1, 1);
    auto B = random<S>(p_, -1, 1), C = random<S>(p_, -1, 1);
    auto A = random<W>(all_ * c_.state, -2, 0), skip = random<W>(all_, -1, 1);
    auto bias = random<W>(all_, -1, 1), initial = random<W>(m_, -1, 1);
    auto grad_final = random<W>(m_, -1, 1);
    Exact<S> output(n_), grad_x(n_), grad_step(n_), grad_gate(n_), grad_B(p_), grad_C(p_);
    Exact<W> final(m_), grad_initial(m_), carry(m_), row_rates(m_), rates(all_ * c_.state);
    Exact<W> row_skip(c_.batch * all_), row_bias(c_.batch * all_), grad_skip(all_);
    Exact<W> grad_bias(all_), grad_A(all_ * c_.state);
    const int64_t kept = (std::max<int64_t>(c_.time, 1) - 1) / selective_chunk;
    const int64_t width = selective_tile(stored_), tiles = (c_.dim + width - 1) / width;
    Exact<W> borders(kept * m_), tile_B(p_ * tiles), tile_C(p_ * tiles);

    const auto sequence = [&](Exact<S>& v) {
      return Sequence{v.data.get(), c_.time * all_, all_};
    };
    const auto writable = [&](Exact<S>& v) {
      return MutableSequence{v.data.get(), c_.time * all_, all_};
    };
    const auto projection = [&](Exact<S>& v) {
      const int64_t row = c_.groups * c_.state;
      return Strided<4>{v.data.get(), {c_.time * row, row, c_.state}};
    };
    const auto optional = [&](Exact<W>& v) { return c_.extras ? v.data.get() : nullptr; };
    const auto start = [&](auto& table, const auto& a) { run(table, a, 1 << 20, c_.threads); };
    start(table_of_selective_scan_rates,
          SelectiveScanRates{stored_, all_, c_.state, A.data.get(), rates.data.get()});
    const SelectiveScanInputs in{
        stored_, c_.batch, c_.time, c_.groups, c_.dim, c_.state, sequence(x), sequence(step),
        c_.extras ? sequence(gate) : Sequence{nullptr, 0, 0}, projection(B), projection(C),
        rates.data.get(), optional(skip), optional(bias), initial.data.get(),
        Mask{reset_.get(), c_.time, 1, lengths_.get()}};
    start(table_of_selective_scan,
          SelectiveScan{in, writable(output), final.data.get(), borders.data.get(), kept});
    start(table_of_selective_scan_backward,
          SelectiveScanBackward{in, borders.data.get(), kept, sequence(grad),
                                grad_final.data.get(), writable(grad_x), writable(grad_step),
                                writable(grad_gate), grad_initial.data.get(), carry.data.get(),
                                row_rates.data.get(), row_skip.data.get(), row_bias.data.get(),
                                tile_B.data.get(), tile_C.data.get()});
    start(table_of_selective_scan_sums,
          SelectiveScanSums{stored_, c_.batch, c_.time, c_.groups, c_.dim, c_.state,
                            row_rates.data.get(), row_skip.data.get(), row_bias.data.get(),
                            tile_B.data.get(), tile_C.data.get(), grad_A.data.get(),
                            grad_skip.data.get(), grad_bias.data.get(), grad_B.data.get(),
                            grad_C.data.get()});

    std::vector<double> y(n_), dx(n_), ds(n_), dz(n_), dB(p_), dC(p_), dA(all_ * c_.state);
    std::vector<double> dskip(all_), dbias(all_), end(m_), begin(m_);
    for (int64_t row = 0; row < c_.batch; row++)
      for (int64_t i = 0; i < all_; i++) {
        const int64_t length = std::max<int64_t>(0, std::min(lengths_[row], c_.time));
        const auto at = [&](int64_t t) { return (row * c_.time + t) * all_ + i; };
        const auto weight = [&](int64_t t, int64_t n) {
          return ((row * c_.time + t) * c_.groups + i / c_.dim) * c_.state + n;
        };
        const auto raw = [&](int64_t t) { return step[at(t)] + (c_.extras ? bias[i] : 0); };
        const auto length_of = [&](int64_t t) {
          return c_.extras ? std::log1p(std::exp(raw(t))) : raw(t);
        };
        std::vector<double> read(length), grad_length(length);
        for (int64_t pass = 0; pass < 2; pass++)  // what is read, and then the gradients
          for (int64_t n = 0; n < c_.state; n++) {
            const int64_t at_state = (row * all_ + i) * c_.state + n;
            const double rate = A[i * c_.state + n];
            std::vector<double> h(length + 1), decayed(length);
            h[0] = initial[at_state];
            for (int64_t t = 0; t < length; t++) {
              const double before = reset_[row * c_.time + t] ? 0 : h[t];
              decayed[t] = std::exp(length_of(t) * rate) * before;
              h[t + 1] = decayed[t] + length_of(t) * x[at(t)] * B[weight(t, n)];
              if (pass == 0) read[t] += C[weight(t, n)] * h[t + 1];
            }
            if (pass == 0) continue;
            end[at_state] = h[length];
            double g = grad_final[at_state];
            for (int64_t t = length - 1; t >= 0; t--) {
              const double z = gate[at(t)], s = length_of(t), u = x[at(t)];
              const double dy = grad[at(t)] * (c_.extras ? z * sigmoid(z) : 1);
              g += dy * C[weight(t, n)];
              dC[weight(t, n)] += dy * h[t + 1];
              dB[weight(t, n)] += g * s * u;
              dx[at(t)] += g * s * B[weight(t, n)];
              grad_length[t] += g * (u * B[weight(t, n)] + decayed[t] * rate);
              dA[i * c_.state + n] += g * decayed[t] * s;
              g = reset_[row * c_.time + t] ? 0 : g * std::exp(s * rate);
            }
            begin[at_state] = g;
          }
        for (int64_t t = 0; t < length; t++) {
          const double z = gate[at(t)], open = sigmoid(z), u = x[at(t)];
          y[at(t)] = read[t], ds[at(t)] = grad_length[t];
          if (!c_.extras) continue;
          const double dy = grad[at(t)] * z * open;
          dz[at(t)] = grad[at(t)] * (read[t] + skip[i] * u) * open * (1 + z * (1 - open));
          y[at(t)] = (read[t] + skip[i] * u) * z * open;
          dx[at(t)] += dy * skip[i];
          dskip[i] += dy * u;
          ds[at(t)] *= sigmoid(raw(t));
          dbias[i] += ds[at(t)];
        }
      }
    bool good = close(output, y, tolerance) && close(final, end, tolerance) &&
                close(grad_x, dx, tolerance) && close(grad_step, ds, tolerance) &&
                close(grad_B, dB, 8 * tolerance) && close(grad_C, dC, 8 * tolerance) &&
                close(grad_A, dA, 8 * tolerance) && close(grad_initial, begin, tolerance);
    if (c_.extras)
      good = good && close(grad_gate, dz, tolerance) && close(grad_skip, dskip, 8 * tolerance) &&
             close(grad_bias, dbias, 8 * tolerance);
    if (c_.time != 1 || c_.masks) return good;

    SelectiveScanStep one{in, output.data.get(), final.data.get()};
    one.in.rates = A.data.get();
    for (int64_t i = 0; i < n_; i++) output[i] = S(NAN);
    for (int64_t i = 0; i < m_; i++) final[i] = W(NAN);
    start(table_of_selective_scan_step, one);
    return good && close(output, y, tolerance) && close(final, end, tolerance);
  }

 private:
  Case c_;
  int64_t all_, n_, m_, p_;
  Stored stored_;
  std::unique_ptr<bool[]> reset_;
  std::unique_ptr<int64_t[]> lengths_;
};

}  // namespace

bool test_selective_scan() {
  bool good = true;
  for (int64_t groups : {1, 2})
    for (int64_t time : {0, 1, 5, 130})
      for (int64_t dim : {1, 17, 150})
        for (int64_t state : {1, 4, 18})
          for (bool extras : {false, true})
            for (bool masks : {false, true}) {
              const Case c{2, time, groups, dim, state, extras, masks, 1 + int(groups)};
              const auto check = [&](bool agreed) { good = good && agreed; };
              check(Trial<float, float>(Stored::float32, c).agrees(3e-5));
              check(Trial<double, double>(Stored::float64, c).agrees(1e-12));
              check(Trial<Half, float>(Stored::bfloat16, c).agrees(2e-2));
            }
  return good;
}
