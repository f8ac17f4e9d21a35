#include "../chain.h"

#include <algorithm>

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

template <class W>
bool agrees(Sum sum, Stored stored, bool constant, double spread, int64_t batch, int64_t time,
            int64_t states, int threads, double tolerance) {
  const int64_t n = batch * time * states, m = batch * states;
  const int64_t matrices = constant ? 1 : batch * time;
  auto transition = random<W>(matrices * states * states, -spread, spread);
  auto score = random<W>(n, -1, 1), initial = random<W>(m, -1, 1), grad = random<W>(n, -1, 1),
       grad_final = random<W>(m, -1, 1);
  for (int64_t i = 0; i < transition.size; i++)
    if (dice() % 6 == 0) transition[i] = W(-INFINITY);
  for (int64_t i = 0; i < n; i++)
    if (dice() % 12 == 0) score[i] = W(-INFINITY);
  if (batch > 1) initial[states] = W(INFINITY);  // the second row has read nothing yet
  std::unique_ptr<bool[]> reset(new bool[batch * time]);
  for (int64_t i = 0; i < batch * time; i++) reset[i] = dice() % 5 == 0;
  std::unique_ptr<int64_t[]> lengths(new int64_t[batch]);
  for (int64_t i = 0; i < batch; i++) lengths[i] = int64_t(dice() % (time + 3)) - 1;

  const int64_t square = states * states;
  const Strided<4> transitions{
      transition.data.get(),
      {constant ? 0 : time * square, constant ? 0 : square, states}};
  const auto sequence = [&](auto& x) {
    return Strided<3>{x.data.get(), {time * states, states}};
  };
  const auto writable = [&](auto& x) {
    return MutableStrided<3>{x.data.get(), {time * states, states}};
  };
  const Chain chain{sum,
                    stored,
                    batch,
                    time,
                    states,
                    constant,
                    transitions,
                    sequence(score),
                    initial.data.get(),
                    Mask{reset.get(), time, 1, lengths.get()}};
  Exact<W> scratch(threads * chain_scratch(states, constant)), output(n), final(m);
  Exact<W> to_score(n), to_initial(m), to_transition(transition.size);
  const int64_t teams = chain_teams(batch);
  Exact<W> partial(teams * square);
  std::unique_ptr<int32_t[]> pointers(new int32_t[n + 1]);
  run(table_of_chain_forward,
      ChainForward{chain, writable(output), final.data.get(), pointers.get(), scratch.data.get()},
      1 << 20, threads);
  run(table_of_chain_backward,
      ChainBackward{chain, sequence(output), sequence(grad), pointers.get(), grad_final.data.get(),
                    writable(to_score), to_initial.data.get(),
                    MutableStrided<4>{to_transition.data.get(), {time * square, square, states}},
                    partial.data.get(), scratch.data.get()},
      1 << 20, threads);

  bool good = true;
  const auto same = [&](double x, double y) {
    good = good && (x == y || std::fabs(x - y) <= tolerance * (1 + std::fabs(y)));
  };
  std::vector<double> expected(transition.size);
  for (int64_t row = 0; row < batch; row++) {
    const int64_t end = std::max<int64_t>(0, std::min(lengths[row], time));
    const auto at = [&](int64_t t, int64_t j) { return (row * time + t) * states + j; };
    const auto edge = [&](int64_t t, int64_t i, int64_t j) {
      return (constant ? 0 : (row * time + t) * square) + i * states + j;
    };
    const auto before = [&](int64_t t, int64_t i) {
      return static_cast<double>(t > 0 ? output[at(t - 1, i)] : initial[row * states + i]);
    };
    const auto starts = [&](int64_t t) {
      return reset[row * time + t] || before(t, 0) == double(INFINITY);
    };
    const auto path = [&](int64_t t, int64_t i, int64_t j) {
      return before(t, i) + static_cast<double>(transition[edge(t, i, j)]);
    };
    // The sum over paths into a state, and which was the best.
    const auto total = [&](int64_t t, int64_t j, int64_t& best) {
      best = 0;
      for (int64_t i = 1; i < states; i++)
        if (path(t, i, j) > path(t, best, j)) best = i;
      const double high = path(t, best, j);
      if (sum == Sum::maximum || high == -double(INFINITY)) return high;
      double sum = 0;
      for (int64_t i = 0; i < states; i++) sum += std::exp(path(t, i, j) - high);
      return high + std::log(sum);
    };
    int64_t best;
    for (int64_t t = 0; t < time; t++)
      for (int64_t j = 0; j < states; j++) {
        if (t >= end) {
          same(output[at(t, j)], 0);
          continue;
        }
        same(output[at(t, j)], (starts(t) ? 0 : total(t, j, best)) + double(score[at(t, j)]));
        if (sum == Sum::maximum)
          same(pointers[at(t, j)], starts(t) ? -1 : (total(t, j, best), best));
      }
    std::vector<double> g(states);
    for (int64_t j = 0; j < states; j++) {
      same(final[row * states + j], end > 0 ? output[at(end - 1, j)] : initial[row * states + j]);
      g[j] = grad_final[row * states + j];
    }
    for (int64_t t = time - 1; t >= 0; t--) {
      if (t >= end) {
        for (int64_t j = 0; j < states; j++) same(to_score[at(t, j)], 0);
        continue;
      }
      std::vector<double> sent(states);
      for (int64_t j = 0; j < states; j++) {
        g[j] += grad[at(t, j)];
        same(to_score[at(t, j)], g[j]);
        if (starts(t)) continue;
        const double of = total(t, j, best);
        for (int64_t i = 0; i < states; i++) {
          const double share = sum == Sum::maximum ? i == best
                               : of == -double(INFINITY) ? 0
                                                         : std::exp(path(t, i, j) - of);
          sent[i] += share * g[j];
          expected[edge(t, i, j)] += share * g[j];
        }
      }
      g = sent;
    }
    for (int64_t j = 0; j < states; j++) same(to_initial[row * states + j], g[j]);
  }
  if (constant)
    for (int64_t i = 0; i < square; i++) {
      double added = 0;
      for (int64_t team = 0; team < teams; team++) added += partial[team * square + i];
      same(added, expected[i]);
    }
  else
    for (int64_t i = 0; i < transition.size; i++) same(to_transition[i], expected[i]);
  return good;
}

}  // namespace

bool test_chain() {
  bool good = true;
  for (Sum sum : {Sum::logsumexp, Sum::maximum})
    for (bool constant : {false, true})
      for (double spread : {2.0, 120.0})  // the second is beyond what factors can hold in float32
        for (int64_t batch : {1, 6})
          for (int64_t time : {0, 1, 21})
            for (int64_t states : {1, 5, 33})
              for (int threads : {1, 3})
                good = agrees<float>(sum, Stored::float32, constant, spread, batch, time, states,
                                     threads, spread > 2 ? 5e-3 : 1e-4) &&
                       agrees<double>(sum, Stored::float64, constant, spread, batch, time, states,
                                      threads, 1e-10) &&
                       good;
  return good;
}
