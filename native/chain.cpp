#include "chain.h"

#include "matrix.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

constexpr int64_t rows = chain_rows;

// Sums below this are computed again term by term: exp(h_i - max h) or exp(transition_ij - max_i)
// may have become zero in them. What they lack beside such a sum is beyond their precision.
template <class W>
constexpr W reliable = sizeof(W) == 4 ? W(1e-20) : W(1e-200);

// The part of the memory that a thread may write to as it likes.
template <class W>
struct Scratch {
  W* at;
  W* take(int64_t numbers) {
    W* taken = at;
    at += numbers;
    return taken;
  }
};
template <class W>
Scratch<W> scratch_of(void* memory, const Chain& chain, Share share) {
  return {static_cast<W*>(memory) + share.thread * chain_scratch(chain.states, chain.constant)};
}

template <class W>
inline W largest(const W* x, int64_t padded) {
  using V = Vector<W>;
  V high = load(x);
  for (int64_t i = width<W>; i < padded; i += width<W>) high = larger(high, load(x + i));
  W parts[width<W>];
  store(parts, high);
  for (int64_t i = 1; i < width<W>; i++) parts[0] = parts[i] > parts[0] ? parts[i] : parts[0];
  return parts[0];
}

// x or, if it is -inf, zero: what may be subtracted from terms that are all -inf.
template <class V>
inline V finite(V x) {
  return x == -all<V>(typename Parts<V>::number(INFINITY)) ? V{} : x;
}

template <class W>
inline Vector<W> load_some(const W* from, int64_t count) {
  return count >= width<W> ? load(from) : load(from, count);
}
template <class W>
inline void store_some(W* to, Vector<W> x, int64_t count) {
  if (count >= width<W>) store(to, x);
  else store(to, x, count);
}

// One matrix of transitions in memory, and a vector of its columns.
template <class W>
struct Transition {
  const W* at;
  int64_t row;
  Vector<W> columns(int64_t i, int64_t j, int64_t states) const {
    return load_some(at + i * row + j, states - j);
  }
};
template <class W>
inline Transition<W> transition_at(const Chain& a, int64_t row, int64_t t) {
  const auto& x = a.transition;
  return {static_cast<const W*>(x.data) + row * x.stride[0] + t * x.stride[1], x.stride[2]};
}

// The terms h_i + transition_ij of a vector of columns: the largest of them, or zero where all are
// -inf, and the sum of exp(term - largest).
template <class W>
struct Terms {
  Vector<W> largest, sum;
};
template <class W>
Terms<W> terms_of(const W* h, const Transition<W>& x, int64_t j, int64_t states) {
  using V = Vector<W>;
  V high = all<V>(-W(INFINITY));
  for (int64_t i = 0; i < states; i++) high = larger(high, x.columns(i, j, states) + h[i]);
  high = finite(high);
  V sum = {};
  for (int64_t i = 0; i < states; i++) sum += exp(x.columns(i, j, states) + h[i] - high);
  return {high, sum};
}

// logsumexp_i(h_i + transition_ij) for a vector of columns, term by term.
template <class W>
Vector<W> exact_sum(const W* h, const Transition<W>& x, int64_t j, int64_t states) {
  const Terms<W> terms = terms_of(h, x, j, states);
  return terms.largest + log(terms.sum);
}

// The transition as factors exp(transition_ij - shift_j), where it is one for all times.
template <class W>
struct Factors {
  W *matrix, *shift;
};

template <class W>
Factors<W> factors_of(const Chain& a, Scratch<W>& scratch) {
  using V = Vector<W>;
  const int64_t states = a.states, padded = chain_padded(states);
  const Factors<W> made{scratch.take(states * padded), scratch.take(padded)};
  const auto x = transition_at<W>(a, 0, 0);
  for (int64_t j = 0; j < padded; j += width<W>) {
    V high = all<V>(-W(INFINITY));
    const bool there = j < states;
    for (int64_t i = 0; there && i < states; i++) high = larger(high, x.columns(i, j, states));
    store(made.shift + j, high);
    high = finite(high);
    for (int64_t i = 0; i < states; i++) {
      // Columns beyond the states hold zeros.
      V factor = {};
      if (there) factor = exp(x.columns(i, j, states) - high);
      if (j + width<W> > states)
        for (int64_t k = 0; k < width<W>; k++)
          if (j + k >= states) reinterpret_cast<W*>(&factor)[k] = 0;
      store(made.matrix + i * padded + j, factor);
    }
  }
  return made;
}

inline bool starts(const Chain& a, int64_t row, int64_t t, double first) {
  return resets(a.mask, row, t) || first == double(INFINITY);
}

// Weights exp(h_i - shift) of a state; returns the shift.
template <class W>
W weights_of(const W* h, W* weights, int64_t padded) {
  using V = Vector<W>;
  const W high = largest(h, padded), shift = high == -W(INFINITY) ? W(0) : high;
  for (int64_t i = 0; i < padded; i += width<W>) store(weights + i, exp(load(h + i) - all<V>(shift)));
  return shift;
}

// Up to `rows` rows of the batch, forwards.
template <class W>
void log_rows(const ChainForward& a, int64_t first, int64_t count, const Factors<W>& factors,
              Scratch<W> scratch) {
  using V = Vector<W>;
  const Chain& chain = a.chain;
  const int64_t states = chain.states, padded = chain_padded(states);
  W* h = scratch.take(rows * padded);
  W* weights = scratch.take(rows * padded);
  W* sums = scratch.take(rows * padded);
  int64_t ends[rows], last = 0;
  for (int64_t r = 0; r < count; r++) {
    for (int64_t i = states; i < padded; i++) h[r * padded + i] = -W(INFINITY);
    memcpy(h + r * padded, static_cast<const W*>(chain.initial) + (first + r) * states,
           states * sizeof(W));
    ends[r] = length(chain.mask, first + r, chain.time);
    if (ends[r] > last) last = ends[r];
  }
  for (int64_t t = 0; t < chain.time; t++) {
    W shifts[rows] = {};
    if (chain.constant && t < last) {
      for (int64_t r = 0; r < count; r++) {
        const bool runs = t < ends[r] && !starts(chain, first + r, t, h[r * padded]);
        if (runs) shifts[r] = weights_of(h + r * padded, weights + r * padded, padded);
        else memset(weights + r * padded, 0, padded * sizeof(W));
      }
      multiply<Into::replace>(count, padded, states, Matrix<W>{weights, padded, 1}, factors.matrix,
                              padded, sums, padded);
    }
    for (int64_t r = 0; r < count; r++) {
      const int64_t row = first + r;
      W* to = static_cast<W*>(a.output.data) + row * a.output.stride[0] + t * a.output.stride[1];
      if (t >= ends[r]) {
        memset(to, 0, states * sizeof(W));
        continue;
      }
      const auto& s = chain.score;
      const W* score = static_cast<const W*>(s.data) + row * s.stride[0] + t * s.stride[1];
      W* state = h + r * padded;
      W* came = sums + r * padded;
      if (starts(chain, row, t, state[0])) {
        memset(came, 0, padded * sizeof(W));
      } else {
        const auto transition = transition_at<W>(chain, row, t);
        for (int64_t j = 0; j < states; j += width<W>) {
          if (!chain.constant) {
            store(came + j, exact_sum(state, transition, j, states));
            continue;
          }
          const V sum = load(came + j), shift = load(factors.shift + j);
          W small[width<W>];
          store(small, sum);
          bool doubtful = false;
          for (int64_t k = 0; k < width<W>; k++)
            doubtful |= small[k] < reliable<W> && factors.shift[j + k] > -W(INFINITY);
          if (doubtful) store(came + j, exact_sum(state, transition, j, states));
          else store(came + j, log(sum) + (shift + shifts[r]));
        }
      }
      for (int64_t j = 0; j < states; j += width<W>) {
        const V sum = load(came + j) + load_some(score + j, states - j);
        store_some(state + j, sum, states - j);
        store_some(to + j, sum, states - j);
      }
    }
  }
  for (int64_t r = 0; r < count; r++)
    memcpy(static_cast<W*>(a.final) + (first + r) * states, h + r * padded, states * sizeof(W));
}

template <class W>
void max_row(const ChainForward& a, int64_t row, Scratch<W> scratch) {
  const Chain& chain = a.chain;
  const int64_t states = chain.states, end = length(chain.mask, row, chain.time);
  W* h = scratch.take(chain_padded(states));
  W* best = scratch.take(chain_padded(states));
  memcpy(h, static_cast<const W*>(chain.initial) + row * states, states * sizeof(W));
  for (int64_t t = 0; t < chain.time; t++) {
    W* to = static_cast<W*>(a.output.data) + row * a.output.stride[0] + t * a.output.stride[1];
    int32_t* chosen = a.pointers + (row * chain.time + t) * states;
    const bool start = t < end && starts(chain, row, t, h[0]);
    if (t >= end || start)
      for (int64_t j = 0; j < states; j++) chosen[j] = -1;
    if (t >= end) {
      memset(to, 0, states * sizeof(W));
      continue;
    }
    if (start) {
      memset(best, 0, states * sizeof(W));
    } else {
      const auto x = transition_at<W>(chain, row, t);
      for (int64_t j = 0; j < states; j++) {
        best[j] = h[0] + x.at[j];
        chosen[j] = 0;
      }
      for (int64_t i = 1; i < states; i++) {
        const W from = h[i];
        const W* transition = x.at + i * x.row;
        for (int64_t j = 0; j < states; j++) {
          const W path = from + transition[j];
          const bool better = (path > best[j]) | (path != path);  // NaN stays
          best[j] = better ? path : best[j];
          chosen[j] = better ? static_cast<int32_t>(i) : chosen[j];
        }
      }
    }
    const auto& s = chain.score;
    const W* score = static_cast<const W*>(s.data) + row * s.stride[0] + t * s.stride[1];
    for (int64_t j = 0; j < states; j++) to[j] = h[j] = best[j] + score[j];
  }
  memcpy(static_cast<W*>(a.final) + row * states, h, states * sizeof(W));
}

// Rows of one team.
struct Team {
  int64_t begin, end;
};
inline Team team_of(int64_t batch, int64_t team) {
  const int64_t blocks = (batch + rows - 1) / rows, teams = chain_teams(batch);
  const int64_t begin = blocks * team / teams * rows, end = blocks * (team + 1) / teams * rows;
  return {begin, end < batch ? end : batch};
}

template <class W>
void forward(const ChainForward& a, Share share) {
  const Chain& chain = a.chain;
  Scratch<W> scratch = scratch_of<W>(a.scratch, chain, share);
  Factors<W> factors{nullptr, nullptr};
  if (chain.sum == Sum::logsumexp && chain.constant) factors = factors_of<W>(chain, scratch);
  const int64_t teams = chain_teams(chain.batch);
  for (int64_t team = share.begin(teams); team < share.end(teams); team++) {
    const Team of = team_of(chain.batch, team);
    for (int64_t row = of.begin; row < of.end; row += rows) {
      const int64_t count = of.end - row < rows ? of.end - row : rows;
      if (chain.sum == Sum::logsumexp) log_rows<W>(a, row, count, factors, scratch);
      else
        for (int64_t r = 0; r < count; r++) max_row<W>(a, row + r, scratch);
    }
  }
}

// What a team adds up for the gradient of a constant transition: products of weights, which are
// still to be multiplied by the factors, and what was computed term by term.
template <class W>
struct Sums {
  W *products, *direct;
};

// For some columns of one time, term by term: from `grad`, the gradient of their sums, adds the
// gradients of the state before, and of the transition.
template <class W>
void exact_gradient(const W* h, const Transition<W>& x, int64_t j, int64_t states, Vector<W> grad,
                    W* to_state, W* to_transition, int64_t to_row, bool adds) {
  using V = Vector<W>;
  // Shares of a sum add up to one: with the logarithm of the sum, rounded, in place of the sum they
  // did so to 1e-5 at sums of 150 in float32, and after 1,000 times gradients were 2e-5 off.
  const Terms<W> terms = terms_of(h, x, j, states);
  const V scaled = terms.sum == V{} ? V{} : grad / terms.sum;
  for (int64_t i = 0; i < states; i++) {
    const V share = exp(x.columns(i, j, states) + h[i] - terms.largest) * scaled;
    W parts[width<W>];
    store(parts, share);
    W sum = 0;
    for (int64_t k = 0; k < width<W> && j + k < states; k++) sum += parts[k];
    to_state[i] += sum;
    W* to = to_transition + i * to_row + j;
    const V before = adds ? load_some(to, states - j) : V{};
    store_some(to, before + share, states - j);
  }
}

template <class W>
void log_rows_back(const ChainBackward& a, int64_t first, int64_t count, const Factors<W>& factors,
                   const W* transposed, const Sums<W>& sums, Scratch<W> scratch) {
  using V = Vector<W>;
  const Chain& chain = a.chain;
  const int64_t states = chain.states, padded = chain_padded(states);
  W* carry = scratch.take(rows * padded);  // what later times send to h_t
  W* past = scratch.take(rows * padded);   // h_{t-1}
  W* sum = scratch.take(rows * padded);
  W* sent = scratch.take(rows * padded);
  W* all_weights = scratch.take(rows * chain_times * padded);
  W* all_ratios = scratch.take(rows * chain_times * padded);
  memset(carry, 0, rows * padded * sizeof(W));
  int64_t ends[rows], last = 0, filled = 0;
  for (int64_t r = 0; r < count; r++) {
    memcpy(carry + r * padded, static_cast<const W*>(a.grad_final) + (first + r) * states,
           states * sizeof(W));
    for (int64_t i = states; i < padded; i++) past[r * padded + i] = -W(INFINITY);
    ends[r] = length(chain.mask, first + r, chain.time);
    if (ends[r] > last) last = ends[r];
  }
  const auto slice = [&](const auto& x, int64_t row, int64_t t) {
    return static_cast<W*>(const_cast<void*>(static_cast<const void*>(x.data))) +
           row * x.stride[0] + t * x.stride[1];
  };
  const auto add_products = [&] {
    multiply<Into::add>(states, padded, filled, Matrix<W>{all_weights, padded, 1}.transposed(),
                        all_ratios, padded, sums.products, padded);
    filled = 0;
  };
  for (int64_t t = chain.time - 1; t >= 0; t--) {
    W* weights = all_weights + filled * padded;
    W* ratios = all_ratios + filled * padded;
    bool runs[rows], any = false;
    for (int64_t r = 0; r < count; r++) {
      const int64_t row = first + r;
      runs[r] = false;
      if (chain.constant) memset(weights + r * padded, 0, padded * sizeof(W));
      W* to_score = slice(a.grad_score, row, t);
      if (t >= ends[r]) {
        memset(to_score, 0, states * sizeof(W));
        continue;
      }
      const W* from = t > 0 ? slice(a.output, row, t - 1)
                            : static_cast<const W*>(chain.initial) + row * states;
      memcpy(past + r * padded, from, states * sizeof(W));
      const W* grad = slice(a.grad_output, row, t);
      for (int64_t j = 0; j < states; j++) to_score[j] = carry[r * padded + j] += grad[j];
      runs[r] = !starts(chain, row, t, past[r * padded]);
      any |= runs[r];
      if (!runs[r]) memset(carry + r * padded, 0, padded * sizeof(W));
      else if (chain.constant) weights_of(past + r * padded, weights + r * padded, padded);
    }
    if (!chain.constant) {
      for (int64_t r = 0; r < count; r++) {
        const int64_t row = first + r;
        W* to = static_cast<W*>(a.grad_transition.data) + row * a.grad_transition.stride[0] +
                t * a.grad_transition.stride[1];
        const int64_t to_row = a.grad_transition.stride[2];
        if (!runs[r]) {
          for (int64_t i = 0; i < states; i++) memset(to + i * to_row, 0, states * sizeof(W));
          continue;
        }
        memset(sent, 0, padded * sizeof(W));
        const auto transition = transition_at<W>(chain, row, t);
        for (int64_t j = 0; j < states; j += width<W>)
          exact_gradient(past + r * padded, transition, j, states, load(carry + r * padded + j),
                         sent, to, to_row, false);
        memcpy(carry + r * padded, sent, padded * sizeof(W));
      }
      continue;
    }
    if (!any) continue;
    multiply<Into::replace>(count, padded, states, Matrix<W>{weights, padded, 1}, factors.matrix,
                            padded, sum, padded);
    for (int64_t r = 0; r < count; r++)
      for (int64_t j = 0; j < padded; j += width<W>) {
        const V of = load(sum + r * padded + j);
        const V ratio = load(carry + r * padded + j) / of;
        store(ratios + r * padded + j, runs[r] ? (of < reliable<W> ? V{} : ratio) : V{});
      }
    multiply<Into::replace>(count, padded, states, Matrix<W>{ratios, padded, 1}, transposed, padded,
                            sent, padded);
    for (int64_t r = 0; r < count; r++) {
      if (!runs[r]) continue;
      W* to = sent + r * padded;
      for (int64_t i = 0; i < padded; i += width<W>)
        store(to + i, load(to + i) * load(weights + r * padded + i));
      for (int64_t j = 0; j < states; j += width<W>) {
        const V of = load(sum + r * padded + j);
        const V doubtful = of < reliable<W> ? load(carry + r * padded + j) : V{};
        W parts[width<W>];
        store(parts, doubtful);
        bool some = false;
        for (int64_t k = 0; k < width<W>; k++)
          some |= parts[k] != 0 && factors.shift[j + k] > -W(INFINITY);
        if (some)
          exact_gradient(past + r * padded, transition_at<W>(chain, first + r, t), j, states,
                         doubtful, to, sums.direct, states, true);
      }
      memcpy(carry + r * padded, to, padded * sizeof(W));
    }
    filled += count;
    if (filled + rows > rows * chain_times) add_products();
  }
  if (filled) add_products();
  for (int64_t r = 0; r < count; r++)
    memcpy(static_cast<W*>(a.grad_initial) + (first + r) * states, carry + r * padded,
           states * sizeof(W));
}

template <class W>
void max_row_back(const ChainBackward& a, int64_t row, W* direct, Scratch<W> scratch) {
  const Chain& chain = a.chain;
  const int64_t states = chain.states, end = length(chain.mask, row, chain.time);
  W* carry = scratch.take(chain_padded(states));
  W* sent = scratch.take(chain_padded(states));
  memcpy(carry, static_cast<const W*>(a.grad_final) + row * states, states * sizeof(W));
  for (int64_t t = chain.time - 1; t >= 0; t--) {
    W* to_score =
        static_cast<W*>(a.grad_score.data) + row * a.grad_score.stride[0] + t * a.grad_score.stride[1];
    W* to = direct;
    int64_t to_row = states;
    if (!chain.constant) {
      to = static_cast<W*>(a.grad_transition.data) + row * a.grad_transition.stride[0] +
           t * a.grad_transition.stride[1];
      to_row = a.grad_transition.stride[2];
      for (int64_t i = 0; i < states; i++) memset(to + i * to_row, 0, states * sizeof(W));
    }
    if (t >= end) {
      memset(to_score, 0, states * sizeof(W));
      continue;
    }
    const auto& g = a.grad_output;
    const W* grad = static_cast<const W*>(g.data) + row * g.stride[0] + t * g.stride[1];
    for (int64_t j = 0; j < states; j++) to_score[j] = carry[j] += grad[j];
    const int32_t* chosen = a.pointers + (row * chain.time + t) * states;
    memset(sent, 0, states * sizeof(W));
    for (int64_t j = 0; j < states; j++) {
      if (chosen[j] < 0) continue;
      sent[chosen[j]] += carry[j];
      to[chosen[j] * to_row + j] += carry[j];
    }
    memcpy(carry, sent, states * sizeof(W));
  }
  memcpy(static_cast<W*>(a.grad_initial) + row * states, carry, states * sizeof(W));
}

template <class W>
void backward(const ChainBackward& a, Share share) {
  const Chain& chain = a.chain;
  const int64_t states = chain.states, padded = chain_padded(states);
  Scratch<W> scratch = scratch_of<W>(a.scratch, chain, share);
  Factors<W> factors{nullptr, nullptr};
  W *transposed = nullptr, *products = nullptr;
  if (chain.sum == Sum::logsumexp && chain.constant) {
    factors = factors_of<W>(chain, scratch);
    transposed = scratch.take(states * padded);
    memset(transposed, 0, states * padded * sizeof(W));
    transpose(states, states, factors.matrix, padded, transposed, padded);
    products = scratch.take(states * padded);
  }
  const int64_t teams = chain_teams(chain.batch);
  for (int64_t team = share.begin(teams); team < share.end(teams); team++) {
    const Team of = team_of(chain.batch, team);
    W* direct = nullptr;
    if (chain.constant) {
      direct = static_cast<W*>(a.partial) + team * states * states;
      memset(direct, 0, states * states * sizeof(W));
      if (products) memset(products, 0, states * padded * sizeof(W));
    }
    for (int64_t row = of.begin; row < of.end; row += rows) {
      const int64_t count = of.end - row < rows ? of.end - row : rows;
      if (chain.sum == Sum::logsumexp)
        log_rows_back<W>(a, row, count, factors, transposed, Sums<W>{products, direct}, scratch);
      else
        for (int64_t r = 0; r < count; r++) max_row_back<W>(a, row + r, direct, scratch);
    }
    if (products)
      for (int64_t i = 0; i < states; i++)
        for (int64_t j = 0; j < states; j++)
          direct[i * states + j] += products[i * padded + j] * factors.matrix[i * padded + j];
  }
}

}  // namespace

void chain_forward(const ChainForward& a, Share share) {
  if (a.chain.stored == Stored::float64) forward<double>(a, share);
  else forward<float>(a, share);
}

void chain_backward(const ChainBackward& a, Share share) {
  if (a.chain.stored == Stored::float64) backward<double>(a, share);
  else backward<float>(a, share);
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
