#include "../stabilized_attention.h"

#include <algorithm>

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

template <class T>
double dot(const T& f, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; i++) total += f(i);
  return total;
}

// The loop in float64, forward, and backward by hand: one time after another, m held constant.
struct Loop {
  int64_t K, V;
  double scale, eps;
  std::vector<double> C, n;
  double m;

  struct Time {
    std::vector<double> q, k, v, C, n, g;
    double log_input, log_forget, m_before, m, forget, admit;
    bool fresh;
    std::vector<double> output, C_before, n_before;
  };

  void step(Time& x) {
    if (x.fresh) {
      std::fill(C.begin(), C.end(), 0), std::fill(n.begin(), n.end(), 0);
      m = 0;
    }
    x.C_before = C, x.n_before = n, x.m_before = m;
    m = x.m = std::max(x.log_forget + m, x.log_input);
    x.forget = std::exp(x.log_forget + x.m_before - m), x.admit = std::exp(x.log_input - m);
    for (int64_t i = 0; i < K; i++) {
      n[i] = x.forget * n[i] + x.admit * x.k[i];
      for (int64_t j = 0; j < V; j++)
        C[i * V + j] = x.forget * C[i * V + j] + x.admit * x.k[i] * x.v[j];
    }
    x.C = C, x.n = n;
    const double floor = std::exp(-m);
    const double size = std::fabs(scale * dot([&](int64_t i) { return n[i] * x.q[i]; }, K));
    for (int64_t j = 0; j < V; j++)
      x.output.push_back(scale * dot([&](int64_t i) { return C[i * V + j] * x.q[i]; }, K) /
                         (std::max(size, floor) + eps * floor));
  }

  // Takes the gradients of C and n after a time to those before it; the rest is written to x.
  void back(Time& x, std::vector<double>& dC, std::vector<double>& dn, std::vector<double>& dq,
            std::vector<double>& dk, std::vector<double>& dv, double& dinput, double& dforget) {
    const double floor = std::exp(-x.m);
    const double normalizer = scale * dot([&](int64_t i) { return x.n[i] * x.q[i]; }, K);
    const double denominator = std::max(std::fabs(normalizer), floor) + eps * floor;
    const double through = dot([&](int64_t j) { return x.g[j] * x.output[j]; }, V);
    const double s = std::fabs(normalizer) > floor
                         ? -through / denominator * (normalizer > 0 ? 1 : -1)
                         : 0;
    for (int64_t i = 0; i < K; i++) {
      dq[i] = scale * s * x.n[i];
      dn[i] += scale * s * x.q[i];
      for (int64_t j = 0; j < V; j++) {
        dq[i] += scale * x.C[i * V + j] * x.g[j] / denominator;
        dC[i * V + j] += scale * x.q[i] * x.g[j] / denominator;
      }
    }
    dinput = dforget = 0;
    std::fill(dv.begin(), dv.end(), 0);
    for (int64_t i = 0; i < K; i++) {
      dk[i] = x.admit * dn[i];
      dforget += x.forget * x.n_before[i] * dn[i];
      for (int64_t j = 0; j < V; j++) {
        dk[i] += x.admit * dC[i * V + j] * x.v[j];
        dv[j] += x.admit * dC[i * V + j] * x.k[i];
        dforget += x.forget * x.C_before[i * V + j] * dC[i * V + j];
      }
      dinput += dk[i] * x.k[i];
    }
    for (double& d : dC) d *= x.fresh ? 0 : x.forget;
    for (double& d : dn) d *= x.fresh ? 0 : x.forget;
  }
};

template <class S, class W>
bool agrees(Stored stored, int64_t batch, int64_t time, int64_t heads, int64_t K, int64_t V,
            int64_t chunk, bool masks, int threads, double tolerance) {
  const int64_t rows = batch * heads, tokens = batch * time * heads;
  auto q = random<S>(tokens * K, 0, 1), k = random<S>(tokens * K, 0, 1);
  auto v = random<S>(tokens * V, -1, 1), g = random<S>(tokens * V, -1, 1);
  auto log_input = random<W>(tokens, -3, 3), log_forget = random<W>(tokens, -3, 0);
  auto C = random<W>(rows * K * V, -1, 1), n = random<W>(rows * K, 0, 1);
  auto m = random<W>(rows, -1, 1);
  auto grad_C = random<W>(rows * K * V, -1, 1), grad_n = random<W>(rows * K, -1, 1);
  auto grad_m = random<W>(rows, -1, 1);
  std::unique_ptr<bool[]> reset(new bool[batch * time]);
  for (int64_t i = 0; i < batch * time; i++) reset[i] = masks && dice() % 4 == 0;
  std::unique_ptr<int64_t[]> lengths(new int64_t[batch]);
  for (int64_t i = 0; i < batch; i++) lengths[i] = masks ? int64_t(dice() % (time + 3)) - 1 : time;

  const int64_t chunks = chunk ? (time + chunk - 1) / chunk : 0;
  const StabilizedShape shape{stored, batch, time, heads, K, V, chunk};
  const auto four = [&](auto& x, int64_t last) {
    return Strided<4>{x.data.get(), {time * heads * last, heads * last, last}};
  };
  const auto four_written = [&](auto& x, int64_t last) {
    return MutableStrided<4>{x.data.get(), {time * heads * last, heads * last, last}};
  };
  const auto three_written = [&](auto& x) {
    return MutableStrided<3>{x.data.get(), {time * heads, heads}};
  };
  const StabilizedInputs inputs{four(q, K),
                                four(k, K),
                                four(v, V),
                                {log_input.data.get(), {time * heads, heads}},
                                {log_forget.data.get(), {time * heads, heads}},
                                {C.data.get(), n.data.get(), m.data.get()},
                                Mask{reset.get(), time, 1, lengths.get()},
                                0.5,
                                0.125};
  Exact<S> output(tokens * V), grad_query(tokens * K), grad_key(tokens * K), grad_value(tokens * V);
  Exact<W> final_C(rows * K * V), final_n(rows * K), final_m(rows);
  Exact<W> borders(rows * chunks * stabilized_border(shape));
  Exact<W> grad_input(tokens), grad_forget(tokens);
  Exact<W> first_C(rows * K * V), first_n(rows * K), first_m(rows);

  Exact<double> scratch(stabilized_scratch(shape) * threads / 8);
  run(table_of_stabilized_attention,
      StabilizedAttention{
          shape,
          inputs,
          four_written(output, V),
          {final_C.data.get(), final_n.data.get(), final_m.data.get()},
          chunk ? borders.data.get() : nullptr,
          reinterpret_cast<char*>(scratch.data.get())},
      1 << 20, threads);
  if (chunk) {
    Exact<double> more(stabilized_backward_scratch(shape) * threads / 8);
    run(table_of_stabilized_attention_backward,
        StabilizedAttentionBackward{
            shape,
            inputs,
            {final_C.data.get(), final_n.data.get(), final_m.data.get()},
            borders.data.get(),
            four(g, V),
            {grad_C.data.get(), grad_n.data.get(), grad_m.data.get()},
            four_written(grad_query, K),
            four_written(grad_key, K),
            four_written(grad_value, V),
            three_written(grad_input),
            three_written(grad_forget),
            {first_C.data.get(), first_n.data.get(), first_m.data.get()},
            reinterpret_cast<char*>(more.data.get())},
        1 << 20, threads);
  }

  std::vector<double> y(tokens * V), dq(tokens * K), dk(tokens * K), dv(tokens * V), di(tokens),
      df(tokens), end_C, end_n, end_m, start_C, start_n, start_m;
  for (int64_t row = 0; row < rows; row++) {
    const int64_t b = row / heads, h = row % heads;
    Loop loop{K, V, 0.5, 0.125, {}, {}, static_cast<double>(m[row])};
    std::vector<double> dC, dn;
    for (int64_t i = 0; i < K * V; i++) {
      loop.C.push_back(C[row * K * V + i]);
      dC.push_back(grad_C[row * K * V + i]);
    }
    for (int64_t i = 0; i < K; i++) {
      loop.n.push_back(n[row * K + i]);
      dn.push_back(grad_n[row * K + i]);
    }
    const std::vector<double> C_first = loop.C, n_first = loop.n;
    std::vector<Loop::Time> times;
    const int64_t length = std::max<int64_t>(0, std::min(lengths[b], time));
    const auto at = [&](int64_t t) { return (b * time + t) * heads + h; };
    for (int64_t t = 0; t < length; t++) {
      Loop::Time x;
      for (int64_t i = 0; i < K; i++) {
        x.q.push_back(q[at(t) * K + i]);
        x.k.push_back(k[at(t) * K + i]);
      }
      for (int64_t j = 0; j < V; j++) {
        x.v.push_back(v[at(t) * V + j]);
        x.g.push_back(g[at(t) * V + j]);
      }
      x.log_input = log_input[at(t)], x.log_forget = log_forget[at(t)];
      x.fresh = reset[b * time + t];
      loop.step(x);
      for (int64_t j = 0; j < V; j++) y[at(t) * V + j] = x.output[j];
      times.push_back(x);
    }
    end_C.insert(end_C.end(), loop.C.begin(), loop.C.end());
    end_n.insert(end_n.end(), loop.n.begin(), loop.n.end());
    end_m.push_back(loop.m);
    // The unit of the final state, which the maxima pass on to one gate, or to the initial m.
    double unit = grad_m[row];
    for (int64_t i = 0; i < K * V; i++) unit -= dC[i] * loop.C[i];
    for (int64_t i = 0; i < K; i++) unit -= dn[i] * loop.n[i];
    for (int64_t t = length - 1; t >= 0; t--) {
      Loop::Time& x = times[t];
      std::vector<double> a(K), c(K), e(V);
      loop.back(x, dC, dn, a, c, e, di[at(t)], df[at(t)]);
      std::copy(a.begin(), a.end(), dq.begin() + at(t) * K);
      std::copy(c.begin(), c.end(), dk.begin() + at(t) * K);
      std::copy(e.begin(), e.end(), dv.begin() + at(t) * V);
      const bool kept = x.log_forget + x.m_before > x.log_input;
      (kept ? df : di)[at(t)] += unit;
      if (!kept || x.fresh) unit = 0;
    }
    const bool fresh = length && times[0].fresh;
    for (int64_t i = 0; i < K * V; i++) unit += fresh ? 0 : dC[i] * C_first[i];
    for (int64_t i = 0; i < K; i++) unit += fresh ? 0 : dn[i] * n_first[i];
    start_C.insert(start_C.end(), dC.begin(), dC.end());
    start_n.insert(start_n.end(), dn.begin(), dn.end());
    start_m.push_back(unit);
  }
  const bool forward = close(output, y, tolerance) && close(final_C, end_C, tolerance) &&
                       close(final_n, end_n, tolerance) && close(final_m, end_m, tolerance);
  // Sums over all of K and V: their errors are those of K V numbers.
  const double sums = tolerance * std::max<double>(1, K * V / 8.0);
  return forward &&
         (!chunk ||
          (close(grad_query, dq, sums) && close(grad_key, dk, sums) &&
           close(grad_value, dv, sums) && close(grad_input, di, sums) &&
           close(grad_forget, df, sums) && close(first_C, start_C, tolerance) &&
           close(first_n, start_n, tolerance) && close(first_m, start_m, sums)));
}

}  // namespace

bool test_stabilized_attention() {
  bool good = true;
  for (int64_t time : {0, 1, 5, 21})
    for (int64_t K : {1, 17})
      for (int64_t V : {1, 70})
        for (int64_t chunk : {0, 8, 16})
          for (bool masks : {false, true})
            for (int threads : {1, 5}) {
              const auto check = [&](bool agreed) { good = good && agreed; };
              check(agrees<float, float>(Stored::float32, 3, time, 2, K, V, chunk, masks, threads,
                                         1e-4));
              check(agrees<double, double>(Stored::float64, 1, time, 1, K, V, chunk, masks,
                                           threads, 1e-11));
              check(agrees<Half, float>(Stored::bfloat16, 2, time, 1, K, V, chunk, masks, threads,
                                        5e-2));
            }
  return good;
}
