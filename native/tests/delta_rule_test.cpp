#include "../delta_rule.h"

#include <algorithm>

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

struct Case {
  int64_t batch, time, heads, key, value;
  bool masks, per_key, decays, given;  // `given`: a write in the place of beta
  int threads;
};

// The state and what every step wrote, by a loop in double.
struct Loop {
  const Case& c;
  std::vector<double> query, read, write, values, decay;  // decays are numbers, reads as they act
  std::vector<bool> reset;
  double scale;
  int64_t row_of(int64_t row, int64_t t, int64_t head) const {
    return (row * c.time + t) * c.heads + head;
  }

  // Runs one head, and counts what a change of its results does: the sum of all of them, weighted.
  double run(int64_t row, int64_t head, int64_t length, const std::vector<double>& initial,
             std::vector<double>* output, std::vector<double>* final) const {
    std::vector<double> state(initial), u(c.value);
    for (int64_t t = 0; t < length; t++) {
      const int64_t at = row_of(row, t, head);
      if (reset[row * c.time + t]) std::fill(state.begin(), state.end(), 0);
      for (int64_t v = 0; v < c.value; v++) {
        u[v] = values[at * c.value + v];
        for (int64_t k = 0; k < c.key; k++) u[v] -= read[at * c.key + k] * state[k * c.value + v];
      }
      for (int64_t v = 0; v < c.value; v++) {
        double sum = 0;
        for (int64_t k = 0; k < c.key; k++) {
          double& s = state[k * c.value + v];
          s = decay[at * c.key + k] * s + write[at * c.key + k] * u[v];
          sum += query[at * c.key + k] * s;
        }
        (*output)[at * c.value + v] = scale * sum;
      }
    }
    *final = state;
    return 0;
  }
};

template <class S, class W>
bool agrees(Stored stored, const Case& c, double tolerance) {
  const int64_t tokens = c.batch * c.time * c.heads, heads = c.batch * c.heads;
  const int64_t size = c.key * c.value;
  const int64_t segments = (c.time + delta_rule_segment - 1) / delta_rule_segment;
  const double bound = 1 / std::sqrt(static_cast<double>(c.key));
  auto query = random<S>(tokens * c.key, -1, 1), read = random<S>(tokens * c.key, -bound, bound);
  auto write = random<S>(tokens * c.key, -bound, bound);
  auto values = random<S>(tokens * c.value, -1, 1);
  auto beta = random<W>(tokens, 0, 2);
  auto log_decay = random<W>(c.per_key ? tokens * c.key : tokens, -1, 0);
  auto initial = random<W>(heads * size, -1, 1), grad_final = random<W>(heads * size, -1, 1);
  auto grad_output = random<S>(tokens * c.value, -1, 1);
  std::unique_ptr<bool[]> reset(new bool[c.batch * c.time]);
  for (int64_t i = 0; i < c.batch * c.time; i++) reset[i] = c.masks && dice() % 8 == 0;
  std::unique_ptr<int64_t[]> lengths(new int64_t[c.batch]);
  for (int64_t i = 0; i < c.batch; i++)
    lengths[i] = c.masks ? int64_t(dice() % (c.time + 3)) - 1 : c.time;

  const auto rows = [&](auto& x, int64_t dim) {
    return Heads{x.data.get(), c.time * c.heads * dim, c.heads * dim, dim};
  };
  const auto writable = [&](auto& x, int64_t dim) {
    return MutableHeads{x.data.get(), c.time * c.heads * dim, c.heads * dim, dim};
  };
  DeltaRuleInputs x{};
  x.stored = stored;
  x.batch = c.batch, x.time = c.time, x.heads = c.heads, x.key = c.key, x.value = c.value;
  x.query = rows(query, c.key), x.read = rows(read, c.key), x.values = rows(values, c.value);
  if (c.given) x.write = rows(write, c.key);
  else x.beta = rows(beta, 1);
  if (c.decays) x.log_decay = rows(log_decay, c.per_key ? c.key : 1);
  x.per_key = c.per_key && c.decays;
  x.scale = 0.7;
  x.mask = Mask{reset.get(), c.time, 1, lengths.get()};

  Exact<S> output(tokens * c.value), one_by_one(tokens * c.value);
  Exact<W> final(heads * size), last(heads * size), states(heads * segments * size);
  const int64_t bytes = std::max(delta_rule_scratch(x, false), delta_rule_scratch(x, true));
  Exact<char> scratch(bytes * c.threads);
  DeltaRule forward{x,        initial.data.get(),  writable(output, c.value), final.data.get(),
                    segments ? states.data.get() : nullptr, scratch.data.get(), bytes};
  run(table_of_delta_rule, forward, 1 << 20, c.threads);
  DeltaRule again{x,       initial.data.get(),  writable(one_by_one, c.value), last.data.get(),
                  nullptr, scratch.data.get(), bytes};
  run(table_of_delta_rule_recurrent, again, 1 << 20, c.threads);

  Exact<S> grad_query(tokens * c.key), grad_read(tokens * c.key), grad_write(tokens * c.key);
  Exact<S> grad_values(tokens * c.value);
  Exact<W> grad_beta(tokens), grad_log_decay(log_decay.size), grad_initial(heads * size);
  DeltaRuleBackward backward{};
  backward.inputs = x;
  backward.states = states.data.get();
  backward.grad_output = rows(grad_output, c.value);
  backward.grad_final = grad_final.data.get();
  backward.grad_query = writable(grad_query, c.key);
  backward.grad_read = writable(grad_read, c.key);
  if (c.given) backward.grad_write = writable(grad_write, c.key);
  else backward.grad_beta = writable(grad_beta, 1);
  backward.grad_values = writable(grad_values, c.value);
  if (c.decays) backward.grad_log_decay = writable(grad_log_decay, c.per_key ? c.key : 1);
  backward.grad_initial = grad_initial.data.get();
  backward.scratch = scratch.data.get();
  backward.scratch_bytes = bytes;
  run(table_of_delta_rule_backward, backward, 1 << 20, c.threads);

  Loop loop{c, {}, {}, {}, {}, {}, {}, 0.7};
  loop.reset.assign(reset.get(), reset.get() + c.batch * c.time);
  for (int64_t i = 0; i < tokens; i++)
    for (int64_t k = 0; k < c.key; k++) {
      const int64_t at = i * c.key + k;
      const double decay =
          c.decays ? std::exp(static_cast<double>(log_decay[c.per_key ? at : i])) : 1;
      const double key = read[at];
      loop.query.push_back(query[at]);
      loop.decay.push_back(decay);
      loop.read.push_back(c.given ? key : decay * key);
      loop.write.push_back(c.given ? static_cast<double>(write[at])
                                   : static_cast<double>(beta[i]) * key);
    }
  for (int64_t i = 0; i < tokens * c.value; i++) loop.values.push_back(values[i]);

  std::vector<double> expected(tokens * c.value), end(heads * size), state;
  double along = 0, measured = 0;  // a derivative, by the gradients and by a difference
  const double small = 1e-6;
  auto nudged = loop;
  std::uniform_real_distribution<double> number(-1, 1);
  std::vector<double> towards(heads * size), to_values(tokens * c.value), to_query(tokens * c.key);
  for (double& d : towards) d = number(dice);
  for (double& d : to_values) d = number(dice);
  for (double& d : to_query) d = number(dice);
  for (int64_t row = 0; row < c.batch; row++)
    for (int64_t head = 0; head < c.heads; head++) {
      const int64_t length = std::max<int64_t>(0, std::min(lengths[row], c.time));
      const int64_t index = row * c.heads + head;
      std::vector<double> start(size), moved(size), after, before;
      std::vector<double> higher(tokens * c.value), lower(tokens * c.value);
      for (int64_t i = 0; i < size; i++) start[i] = initial[index * size + i];
      loop.run(row, head, length, start, &expected, &state);
      for (int64_t i = 0; i < size; i++) end[index * size + i] = state[i];
      for (double sign : {1.0, -1.0}) {
        for (int64_t i = 0; i < size; i++)
          moved[i] = start[i] + sign * small * towards[index * size + i];
        for (int64_t i = 0; i < tokens * c.value; i++)
          nudged.values[i] = loop.values[i] + sign * small * to_values[i];
        for (int64_t i = 0; i < tokens * c.key; i++)
          nudged.query[i] = loop.query[i] + sign * small * to_query[i];
        auto& out = sign > 0 ? higher : lower;
        nudged.run(row, head, length, moved, &out, sign > 0 ? &after : &before);
      }
      for (int64_t i = 0; i < size; i++) {
        measured += (after[i] - before[i]) / (2 * small) * grad_final[index * size + i];
        along += grad_initial[index * size + i] * towards[index * size + i];
      }
      for (int64_t t = 0; t < length; t++) {
        const int64_t at = loop.row_of(row, t, head);
        for (int64_t v = at * c.value; v < (at + 1) * c.value; v++) {
          measured += (higher[v] - lower[v]) / (2 * small) * grad_output[v];
          along += grad_values[v] * to_values[v];
        }
        for (int64_t k = at * c.key; k < (at + 1) * c.key; k++) along += grad_query[k] * to_query[k];
      }
    }
  const auto whole = [](auto& x) {
    return std::all_of(x.data.get(), x.data.get() + x.size,
                       [](auto value) { return std::isfinite(static_cast<double>(value)); });
  };
  return close(output, expected, tolerance) && close(final, end, tolerance) &&
         close(one_by_one, expected, tolerance) && close(last, end, tolerance) &&
         std::fabs(along - measured) <= 20 * tolerance * (1 + std::fabs(measured)) &&
         whole(grad_read) && (c.given ? whole(grad_write) : whole(grad_beta)) &&
         (!c.decays || whole(grad_log_decay));
}

}  // namespace

bool test_delta_rule() {
  bool good = true;
  for (int64_t time : {0, 1, 21, 70})
    for (auto [key, value] : {std::pair<int64_t, int64_t>{1, 1}, {5, 33}, {18, 40}})
      for (bool masks : {false, true})
        for (int kind = 0; kind < 5; kind++)
          for (int threads : {1, 3}) {
            const bool per_key = kind == 2 || kind == 4, given = kind >= 3, decays = kind % 3 != 0;
            const Case c{threads == 3 ? 1 : 2, time, 2, key, value, masks, per_key, decays, given,
                         threads};
            const auto check = [&](bool agreed) { good = good && agreed; };
            check(agrees<float, float>(Stored::float32, c, 2e-4));
            check(agrees<double, double>(Stored::float64, c, 1e-7));
            check(agrees<Half, float>(Stored::bfloat16, c, 5e-2));
          }
  return good;
}
