#include "../linear_attention.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

struct Case {
  int64_t batch, time, heads, groups, key, value;
  Decay decay;
  bool bonus, masks, chunkwise;
  int threads;
};

template <class S, class W>
bool agrees(Stored stored, const Case& c, double tolerance) {
  const int64_t B = c.batch, T = c.time, H = c.heads, G = c.groups, K = c.key, V = c.value;
  const int64_t decays = c.decay == Decay::head ? 1 : c.decay == Decay::key ? K : K * V;
  const int64_t block = c.chunkwise ? 32 : c.decay == Decay::value ? 4 : 8, blocks = (T + block - 1) / block;
  const double scale = 0.7;
  auto query = random<S>(B * T * G * K, -1, 1), key = random<S>(B * T * G * K, -1, 1), value = random<S>(B * T * H * V, -1, 1);
  auto grad_output = random<S>(B * T * H * V, -1, 1);
  auto log_decay = random<W>(B * T * H * decays, -2, 0), bonus = random<W>(H * K, -1, 1);
  auto initial = random<W>(B * H * K * V, -1, 1), grad_final = random<W>(B * H * K * V, -1, 1);
  std::unique_ptr<bool[]> reset(new bool[B * T]);
  for (int64_t i = 0; i < B * T; i++) reset[i] = c.masks && dice() % 4 == 0;
  std::unique_ptr<int64_t[]> lengths(new int64_t[B]);
  for (int64_t i = 0; i < B; i++) lengths[i] = c.masks ? int64_t(dice() % (T + 3)) - 1 : T;

  const LinearAttentionShape shape{stored, B, T, H, G, K, V, block, c.decay, scale, c.chunkwise};
  const Mask mask{reset.get(), T, 1, lengths.get()};
  const auto rows = [&](auto& x, int64_t heads, int64_t n) {
    return Strided<4>{x.data.get(), {T * heads * n, heads * n, n}};
  };
  const auto writable = [&](auto& x, int64_t n) {
    return MutableStrided<4>{x.data.get(), {T * H * n, H * n, n}};
  };
  const Strided<5> by{log_decay.data.get(), {T * H * decays, H * decays, decays, V}};
  const void* u = c.bonus ? bonus.data.get() : nullptr;
  const int64_t room = std::max(workspace_of(shape, false), workspace_of(shape, true));
  std::unique_ptr<char[]> workspace(new char[room * c.threads]);

  Exact<S> output(B * T * H * V);
  Exact<W> final(B * H * K * V), states(B * H * blocks * K * V);
  run(table_of_linear_attention,
      LinearAttention{shape, rows(query, G, K), rows(key, G, K), rows(value, H, V), by, u,
                      initial.data.get(), mask, writable(output, V), final.data.get(), states.data.get(),
                      workspace.get(), room},
      1 << 20, c.threads);
  Exact<S> grad_query(B * T * H * K), grad_key(B * T * H * K), grad_value(B * T * H * V);
  Exact<W> grad_decay(B * T * H * decays), grad_bonus(B * H * K), grad_initial(B * H * K * V);
  run(table_of_linear_attention_backward,
      LinearAttentionBackward{shape, rows(query, G, K), rows(key, G, K), rows(value, H, V), by, u,
                              mask, states.data.get(), rows(grad_output, H, V), grad_final.data.get(),
                              writable(grad_query, K), writable(grad_key, K),
                              writable(grad_value, V),
                              c.decay == Decay::none ? nullptr : grad_decay.data.get(),
                              c.bonus ? grad_bonus.data.get() : nullptr, grad_initial.data.get(),
                              workspace.get(), room},
      1 << 20, c.threads);

  std::vector<double> y(output.size), end(final.size), dq(grad_query.size), dk(grad_key.size);
  std::vector<double> dv(grad_value.size), dg(grad_decay.size), du(grad_bonus.size);
  std::vector<double> start(final.size);
  for (int64_t b = 0; b < B; b++)
    for (int64_t h = 0; h < H; h++) {
      const int64_t length = std::max<int64_t>(0, std::min(lengths[b], T));
      const int64_t unit = b * H + h, group = h / (H / G);
      const auto token = [&](int64_t t) { return (b * T + t) * H + h; };
      const auto shared = [&](int64_t t, int64_t k) { return ((b * T + t) * G + group) * K + k; };
      const auto place = [&](int64_t t, int64_t k, int64_t v) {
        if (c.decay == Decay::head) return token(t);
        return c.decay == Decay::key ? token(t) * K + k : (token(t) * K + k) * V + v;
      };
      for (int64_t k = 0; k < K; k++)
        for (int64_t v = 0; v < V; v++) {
          std::vector<double> s(length + 1);  // before every token, and at the end
          s[0] = initial[(unit * K + k) * V + v];
          for (int64_t t = 0; t < length; t++) {
            if (reset[b * T + t]) s[t] = 0;
            const double d =
                c.decay == Decay::none ? 1 : std::exp(double(log_decay[place(t, k, v)]));
            const double written = double(key[shared(t, k)]) * double(value[token(t) * V + v]);
            s[t + 1] = d * s[t] + written;
            const double read = c.bonus ? s[t] + double(bonus[h * K + k]) * written : s[t + 1];
            y[token(t) * V + v] += scale * double(query[shared(t, k)]) * read;
          }
          end[(unit * K + k) * V + v] = s[length];
          double g = grad_final[(unit * K + k) * V + v];
          for (int64_t t = length - 1; t >= 0; t--) {
            const double d =
                c.decay == Decay::none ? 1 : std::exp(double(log_decay[place(t, k, v)]));
            const double dy = scale * double(grad_output[token(t) * V + v]);
            const double q = query[shared(t, k)], x = key[shared(t, k)];
            const double z = value[token(t) * V + v];
            const double before = s[t], after = d * before + x * z;
            if (c.bonus) {
              const double by_bonus = double(bonus[h * K + k]);
              dq[token(t) * K + k] += dy * (before + by_bonus * x * z);
              dk[token(t) * K + k] += dy * q * by_bonus * z;
              dv[token(t) * V + v] += dy * q * by_bonus * x;
              du[unit * K + k] += dy * q * x * z;
            } else {
              dq[token(t) * K + k] += dy * after;
              g += dy * q;
            }
            dk[token(t) * K + k] += g * z;
            dv[token(t) * V + v] += g * x;
            if (c.decay != Decay::none) dg[place(t, k, v)] += g * d * before;
            g *= d;
            if (c.bonus) g += dy * q;
            if (reset[b * T + t]) g = 0;
          }
          start[(unit * K + k) * V + v] = g;
        }
    }
  return close(output, y, tolerance) && close(final, end, tolerance) &&
         close(grad_query, dq, tolerance) && close(grad_key, dk, tolerance) &&
         close(grad_value, dv, tolerance) && close(grad_initial, start, tolerance) &&
         (c.decay == Decay::none || close(grad_decay, dg, tolerance)) &&
         (!c.bonus || close(grad_bonus, du, tolerance));
}

// One token by the step against one token by the whole.
bool step_agrees(const Case& c) {
  const int64_t B = c.batch, H = c.heads, G = c.groups, K = c.key, V = c.value;
  const int64_t decays = c.decay == Decay::head ? 1 : c.decay == Decay::key ? K : K * V;
  auto query = random<float>(B * G * K, -1, 1), key = random<float>(B * G * K, -1, 1), value = random<float>(B * H * V, -1, 1);
  auto log_decay = random<float>(B * H * decays, -2, 0), bonus = random<float>(H * K, -1, 1), state = random<float>(B * H * K * V, -1, 1);
  Exact<float> output(B * H * V), next(B * H * K * V), whole(B * H * V), final(B * H * K * V);
  const void* u = c.bonus ? bonus.data.get() : nullptr;
  const LinearAttentionShape shape{Stored::float32, B, 1, H, G, K, V, 8, c.decay, 0.7, false};
  const int64_t room = workspace_of(shape, false);
  std::unique_ptr<char[]> workspace(new char[room * c.threads]);
  run(table_of_linear_attention_step,
      LinearAttentionStep{shape,
                          {query.data.get(), {G * K, K}},
                          {key.data.get(), {G * K, K}},
                          {value.data.get(), {H * V, V}},
                          {log_decay.data.get(), {H * decays, decays, V}},
                          u,
                          state.data.get(),
                          output.data.get(),
                          next.data.get(),
                          workspace.get(),
                          room},
      1 << 20, c.threads);
  const auto rows = [&](auto& x, int64_t heads, int64_t n) {
    return Strided<4>{x.data.get(), {heads * n, heads * n, n}};
  };
  run(table_of_linear_attention,
      LinearAttention{shape, rows(query, G, K), rows(key, G, K), rows(value, H, V),
                      Strided<5>{log_decay.data.get(), {H * decays, H * decays, decays, V}}, u,
                      state.data.get(), Mask{nullptr, 0, 0, nullptr},
                      MutableStrided<4>{whole.data.get(), {H * V, H * V, V}}, final.data.get(), nullptr,
                      workspace.get(), room},
      1 << 20, c.threads);
  const std::vector<double> y(whole.data.get(), whole.data.get() + whole.size);
  const std::vector<double> s(final.data.get(), final.data.get() + final.size);
  return close(output, y, 1e-5) && close(next, s, 1e-5);
}

}  // namespace

bool test_linear_attention() {
  bool good = true;
  const int64_t sizes[][2] = {{1, 1}, {5, 4}, {16, 33}, {40, 70}};
  for (Decay decay : {Decay::none, Decay::head, Decay::key, Decay::value})
    for (bool bonus : {false, true})
      for (bool masks : {false, true})
        for (int threads : {1, 3})
          for (const auto& size : sizes)
            for (int64_t time : {0, 1, 19})
              for (bool chunkwise : {false, true}) {
                if (chunkwise && decay == Decay::value) continue;
                // By chunks more of them: two blocks and a part of a third.
                const int64_t longer = chunkwise ? 4 * time : time;
                const Case c{2, longer, 2, 1 + (time & 1), size[0], size[1], decay, bonus, masks,
                             chunkwise, threads};
                good = good && agrees<float, float>(Stored::float32, c, 1e-4);
                good = good && agrees<double, double>(Stored::float64, c, 1e-12);
                good = good && agrees<Half, float>(Stored::bfloat16, c, 3e-2);
                good = good && step_agrees(c);
              }
  return good;
}
