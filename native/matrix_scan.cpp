#include "matrix_scan.h"

#include "lanes.h"
#include "matrix.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

// Calls visit(row, from, width) for every tile of a share of batch x blocks. No result depends
// on where the cuts fall.
template <class Visit>
void for_blocks(const MatrixShape& shape, int64_t cut, int64_t widest, Share share,
                Visit visit) {
  if (cut > shape.blocks) cut = shape.blocks;  // units never join blocks of two rows
  const int64_t all = shape.batch * shape.blocks, cuts = cut ? (all + cut - 1) / cut : 0;
  int64_t at = share.begin(cuts) * cut, end = share.end(cuts) * cut;
  if (end > all) end = all;
  while (at < end) {
    const int64_t row = at / shape.blocks, from = at % shape.blocks;
    int64_t width = shape.blocks - from;
    if (width > end - at) width = end - at;
    if (width > widest) width = widest;
    visit(row, from, width);
    at += width;
  }
}

// Small blocks. Registers hold blocks as they lie in memory, one after another. A unit is what fills
// whole vectors: several blocks, or one that is wider than a vector.
template <class W, int n>
struct Unit {
  static constexpr int blocks = n == 3 ? lanes<W> : n < lanes<W> ? lanes<W> / n : 1;
  static constexpr int state_vectors = blocks * n / lanes<W>;
  static constexpr int vectors = n * state_vectors;  // of transitions

  // Blocks that go through time together, so that their states stay in L1, and transitions that all
  // times share too.
  static constexpr int tile = 4096 / (n == 3 ? 4 : n);
  static constexpr int tile_shared = tile / (n == 3 ? 4 : n);
  static int64_t widest(const Sequence& transition) {
    return transition.time_stride == 0 ? tile_shared : tile;
  }

  // Which number of the state multiplies number e of the transitions: by its column or its row.
  struct Column {
    static constexpr int of(int e) { return e / (n * n) * n + e % n; }
  };
  struct Row {
    static constexpr int of(int e) { return e / n; }
  };

  // Of number r of the state, as a row of its block: the transition from column j, and the number
  // of the state that this multiplies.
  template <int j>
  struct FromColumn {
    static constexpr int of(int r) { return r * n + j; }
  };
  template <int j>
  struct Number {
    static constexpr int of(int r) { return r / n * n + j; }
  };
  // As a column of its block: the transition from it to row i.
  template <int i>
  struct ToRow {
    static constexpr int of(int c) { return c / n * n * n + i * n + c % n; }
  };
};

// The lanes of vector `vector` of what Which::of names, in a sequence of vectors, of which `source`
// joins those that came before it.
template <class Which, int vector, int source, class W>
struct Selected {
  static constexpr int of(int lane) { return Which::of(vector * lanes<W> + lane); }
  static constexpr int first() {
    int found = of(0);
    for (int lane = 1; lane < lanes<W>; lane++) found = of(lane) < found ? of(lane) : found;
    return found / lanes<W>;
  }
  static constexpr int last() {
    int found = of(0);
    for (int lane = 1; lane < lanes<W>; lane++) found = of(lane) > found ? of(lane) : found;
    return found / lanes<W>;
  }
  static constexpr int at(int lane) {
    const int from = of(lane) / lanes<W>, place = of(lane) % lanes<W>;
    if (from == source && source > first()) return lanes<W> + place;
    return source <= first() + 1 ? place : lane;
  }
};
template <class Which, int vector, class W>
inline Vector<W> select(const Vector<W>* x) {
  using Whole = Selected<Which, vector, 0, W>;
  constexpr int first = Whole::first(), more = Whole::last() - first;
  if constexpr (more == 0) {
    return pick<Selected<Which, vector, first, W>, W>(x[first], x[first]);
  } else {
    Vector<W> found = x[first];
    unrolled<more>([&](auto k) {
      constexpr int source = first + 1 + k;
      found = pick<Selected<Which, vector, source, W>, W>(found, x[source]);
    });
    return found;
  }
}

template <class S, class W, int n>
void forward_unit(const S* transition, const S* drive, S* output, W* h, bool fresh) {
  using U = Unit<W, n>;
  Vector<W> was[U::state_vectors], sum[U::vectors] = {};
  if (!fresh) {
    unrolled<U::state_vectors>([&](auto k) { was[k] = load(h + k * lanes<W>); });
    Vector<W> moves[U::vectors];
    unrolled<U::vectors>([&](auto k) { moves[k] = load(transition + k * lanes<W>); });
    if constexpr (n == 3) {
      unrolled<U::state_vectors>([&](auto k) {
        sum[k] = select<typename U::template FromColumn<0>, k, W>(moves) *
                     select<typename U::template Number<0>, k, W>(was) +
                 select<typename U::template FromColumn<1>, k, W>(moves) *
                     select<typename U::template Number<1>, k, W>(was) +
                 select<typename U::template FromColumn<2>, k, W>(moves) *
                     select<typename U::template Number<2>, k, W>(was);
      });
    } else {
      unrolled<U::vectors>(
          [&](auto k) { sum[k] = moves[k] * select<typename U::Column, k, W>(was); });
      add_chunks<1, n, U::vectors, W>(sum);
    }
  }
  unrolled<U::state_vectors>([&](auto k) {
    const Vector<W> now = sum[k] + load(drive + k * lanes<W>);
    store(h + k * lanes<W>, now);
    store(output + k * lanes<W>, now);
  });
}

// What a unit that may not be read or written in place works on: zeros beyond its blocks.
template <class S, class W, int n>
struct Stage {
  using U = Unit<W, n>;
  alignas(64) S transition[U::blocks * n * n] = {};
  alignas(64) S state[U::blocks * n] = {};
};

template <class S>
void copy(S* to, const S* from, int64_t numbers) {
  memcpy(to, from, numbers * sizeof(S));
}

template <class S, class W, int n>
void forward_small(const MatrixScan& a, Share share) {
  using U = Unit<W, n>;
  Stage<S, W, n> stage, out;
  const auto tile = [&](int64_t row, int64_t from, int64_t width) {
    alignas(64) W h[U::tile * n] = {};
    const int64_t state = (row * a.shape.blocks + from) * n;
    copy(h, static_cast<const W*>(a.initial) + state, width * n);
    const int64_t end = length(a.mask, row, a.shape.time);
    auto transition = walk<S>(a.transition, row, 0, from * n * n);
    auto drive = walk<S>(a.drive, row, 0, from * n);
    auto output = walk<S>(a.output, row, 0, from * n);
    for (int64_t t = 0; t < end; t++) {
      const bool fresh = resets(a.mask, row, t);
      const S* ahead = t + 1 < end ? transition.later(1) : transition.at;
      for (int64_t block = 0; block < width; block += U::blocks) {
        for (int64_t i = 0; i < U::blocks * n * n; i += line<S>)
          prefetch(ahead + block * n * n + i);
        const S *unit = transition.at + block * n * n, *driven = drive.at + block * n;
        S* written = output.at + block * n;
        const int64_t left = width - block;
        const bool staged = left < U::blocks;
        if (staged) {
          copy(stage.transition, unit, left * n * n);
          copy(stage.state, driven, left * n);
          unit = stage.transition, driven = stage.state, written = out.state;
        }
        forward_unit<S, W, n>(unit, driven, written, h + block * n, fresh);
        if (staged) copy(output.at + block * n, out.state, left * n);
      }
      transition.next(), drive.next(), output.next();
    }
    copy(static_cast<W*>(a.final) + state, static_cast<const W*>(h), width * n);
    clear<S>(a.output, row, end, a.shape.time, from * n, width * n);
  };
  for_blocks(a.shape, U::blocks, U::widest(a.transition), share, tile);
}

// `outer(k, gradient)` takes the gradient of vector k of the transitions.
template <class S, class W, int n, class Before, class Outer>
void backward_unit(const S* transition, const Before* before, const S* grad_output, S* grad_drive,
                   W* carry, bool fresh, Outer outer) {
  using U = Unit<W, n>;
  Vector<W> g[U::state_vectors], was[U::state_vectors], sum[U::vectors] = {};
  unrolled<U::state_vectors>([&](auto k) {
    g[k] = load(carry + k * lanes<W>) + load(grad_output + k * lanes<W>);
    was[k] = fresh ? Vector<W>{} : load(before + k * lanes<W>);
    store(grad_drive + k * lanes<W>, g[k]);
  });
  if (fresh) {
    unrolled<U::vectors>([&](auto k) { outer(k, Vector<W>{}); });
  } else {
    Vector<W> moves[U::vectors];
    unrolled<U::vectors>([&](auto k) {
      const Vector<W> rows = select<typename U::Row, k, W>(g);
      outer(k, rows * select<typename U::Column, k, W>(was));
      moves[k] = load(transition + k * lanes<W>);
      if constexpr (n != 3) sum[k] = rows * moves[k];
    });
    if constexpr (n == 3) {
      unrolled<U::state_vectors>([&](auto k) {
        sum[k] = select<typename U::template ToRow<0>, k, W>(moves) *
                     select<typename U::template Number<0>, k, W>(g) +
                 select<typename U::template ToRow<1>, k, W>(moves) *
                     select<typename U::template Number<1>, k, W>(g) +
                 select<typename U::template ToRow<2>, k, W>(moves) *
                     select<typename U::template Number<2>, k, W>(g);
      });
    } else {
      add_chunks<n, n, U::vectors, W>(sum);
    }
  }
  unrolled<U::state_vectors>([&](auto k) { store(carry + k * lanes<W>, sum[k]); });
}

// Whether vectors beginning `from` numbers into a time may be written around the caches.
template <class S, class W>
bool vectors_whole(const MutableSequence& x, int64_t from) {
  return streamable<S> && lines_whole<S>(x) && from % lanes<W> == 0;
}

template <class S, class W, int n, bool summed>
void backward_small(const MatrixScanBackward& a, Share share) {
  using U = Unit<W, n>;
  Stage<S, W, n> stage, out;
  Stage<W, W, n> start;
  alignas(64) S grad_output_stage[U::blocks * n] = {};
  const auto tile = [&](int64_t row, int64_t from, int64_t width) {
    alignas(64) W carry[U::tile * n] = {};  // what later times send to h_t
    alignas(64) W sums[summed ? U::tile_shared * n * n : 1] = {};
    const int64_t state = (row * a.shape.blocks + from) * n;
    const W* initial = static_cast<const W*>(a.initial) + state;
    copy(carry, static_cast<const W*>(a.grad_final) + state, width * n);
    const int64_t end = length(a.mask, row, a.shape.time);
    if (!summed) clear<S>(a.grad_transition, row, end, a.shape.time, from * n * n, width * n * n);
    clear<S>(a.grad_drive, row, end, a.shape.time, from * n, width * n);
    auto transition = walk<S>(a.transition, row, end - 1, from * n * n);
    auto output = walk<S>(a.output, row, end - 2, from * n);  // h_{t-1}
    auto grad_output = walk<S>(a.grad_output, row, end - 1, from * n);
    auto grad_drive = walk<S>(a.grad_drive, row, end - 1, from * n);
    Walk<S> grad_transition{nullptr, 0};
    if (!summed) grad_transition = walk<S>(a.grad_transition, row, end - 1, from * n * n);
    const bool around = !summed && a.stream && vectors_whole<S, W>(a.grad_transition, from * n * n);
    for (int64_t t = end - 1; t >= 0; t--) {
      const bool fresh = resets(a.mask, row, t);
      const auto all_units = [&](const auto* before, auto* stage_before) {
        const int64_t units = (width + U::blocks - 1) / U::blocks;
        for (int64_t u = 0; u < units; u++) {
          // Downwards as time does, which the memory follows better.
          const int64_t block = (units - 1 - u) * U::blocks;
          const S *unit = transition.at + block * n * n, *came = grad_output.at + block * n;
          const auto* was = before + block * n;
          S *driven = grad_drive.at + block * n, *moved = grad_transition.at + block * n * n;
          const int64_t left = width - block;
          const bool staged = left < U::blocks;
          if (staged) {
            copy(stage.transition, unit, left * n * n);
            copy(grad_output_stage, came, left * n);
            copy(stage_before, was, left * n);
            unit = stage.transition, came = grad_output_stage, was = stage_before;
            driven = out.state, moved = out.transition;
          }
          const auto outer = [&](auto k, Vector<W> gradient) {
            if constexpr (summed) {
              W* sum = sums + block * n * n + k * lanes<W>;
              store(sum, load(sum) + gradient);
            } else {
              if (around && !staged) store_around(moved + k * lanes<W>, gradient);
              else store(moved + k * lanes<W>, gradient);
            }
          };
          backward_unit<S, W, n>(unit, was, came, driven, carry + block * n, fresh, outer);
          if (staged) {
            copy(grad_drive.at + block * n, out.state, left * n);
            if (!summed) copy(grad_transition.at + block * n * n, out.transition, left * n * n);
          }
        }
      };
      if (t == 0) all_units(initial, start.state);
      else all_units(output.at, stage.state);
      transition.previous(), output.previous(), grad_output.previous(), grad_drive.previous();
      grad_transition.previous();
    }
    copy(static_cast<W*>(a.grad_initial) + state, static_cast<const W*>(carry), width * n);
    if (summed) {
      W* to = static_cast<W*>(a.sums) + state * n;
      copy(to, static_cast<const W*>(sums), width * n * n);
    }
  };
  for_blocks(a.shape, U::blocks, U::widest(a.transition), share, tile);
  if (a.stream) end_stream();
}

// Blocks of any size, one at a time.

// The products of n numbers with x, which has zeros beyond, added in as many sums as lanes.
// Prefetches what the next time needs in the place of these: a block is read from beginning to end,
// but the next time's lies elsewhere, where the processor's own prefetching must begin anew.
template <class S, class W>
Vector<W> dot(const S* from, const S* ahead, int64_t n, const W* x) {
  Vector<W> sum = {};
  int64_t j = 0;
  for (; j + lanes<W> <= n; j += lanes<W>) {
    prefetch(ahead + j);
    sum += load(from + j) * load(x + j);
  }
  if (j == n) return sum;
  if constexpr (sizeof(S) == sizeof(W)) return sum + load(from + j, n - j) * load(x + j);
  S tail[lanes<W>] = {};
  memcpy(tail, from + j, (n - j) * sizeof(S));
  return sum + load(tail) * load(x + j);
}

// y += A x, reading A by rows; x and y have room for whole vectors, x zeros there.
template <class S, class W>
void apply_rows(const S* a, const S* ahead, int64_t n, const W* x, W* y) {
  for (int64_t i = 0; i < n; i += lanes<W>) {
    Vector<W> row[lanes<W>];
    const int64_t left = n - i;
    unrolled<lanes<W>>([&](auto k) {
      row[k] = k < left ? dot(a + (i + k) * n, ahead + (i + k) * n, n, x) : Vector<W>{};
    });
    add_chunks<1, lanes<W>, lanes<W>, W>(row);
    store(y + i, load(y + i) + row[0]);
  }
}

template <class W, class Arguments>
W* work_of(const Arguments& a, Share share) {
  const bool shares = matrix_shares(a.shape, a.transition);
  return static_cast<W*>(a.work) + share.thread * matrix_work_numbers(a.shape, a.together, shares);
}

template <class S, class W>
void forward_each(const MatrixScan& a, Share share) {
  const int64_t n = a.shape.n, ld = matrix_padded(n), widest = matrix_widest(a.shape);
  W* const states = work_of<W>(a, share);
  W* const next = states + widest * ld;
  for_blocks(a.shape, 1, widest, share, [&](int64_t row, int64_t from, int64_t width) {
    memset(states, 0, (widest + 1) * ld * sizeof(W));
    const int64_t place = (row * a.shape.blocks + from) * n;
    const W* initial = static_cast<const W*>(a.initial) + place;
    for (int64_t block = 0; block < width; block++)
      copy(states + block * ld, initial + block * n, n);
    const int64_t end = length(a.mask, row, a.shape.time);
    auto transition = walk<S>(a.transition, row, 0, from * n * n);
    auto drive = walk<S>(a.drive, row, 0, from * n);
    auto output = walk<S>(a.output, row, 0, from * n);
    for (int64_t t = 0; t < end; t++) {
      const bool fresh = resets(a.mask, row, t);
      const S* ahead = t + 1 < end ? transition.later(1) : transition.at;
      for (int64_t block = 0; block < width; block++) {
        W* h = states + block * ld;
        const int64_t matrix = block * n * n;
        for (int64_t i = 0; i < n; i++) next[i] = widen(drive.at[block * n + i]);
        if (!fresh) apply_rows(transition.at + matrix, ahead + matrix, n, h, next);
        copy(h, static_cast<const W*>(next), n);
        for (int64_t i = 0; i < n; i++) output.at[block * n + i] = narrow<S>(next[i]);
      }
      transition.next(), drive.next(), output.next();
    }
    W* final = static_cast<W*>(a.final) + place;
    for (int64_t block = 0; block < width; block++)
      copy(final + block * n, static_cast<const W*>(states + block * ld), n);
    clear<S>(a.output, row, end, a.shape.time, from * n, width * n);
  });
}

// Blocks whose transition all times share, so that it is copied.

// Calls visit(first, count, block) for one block of as many rows of the batch as go together.
template <class Arguments, class Visit>
void for_groups(const Arguments& a, Share share, Visit visit) {
  const int64_t blocks = a.shape.blocks;
  const int64_t all = (a.shape.batch + a.together - 1) / a.together * blocks;
  for (int64_t at = share.begin(all); at < share.end(all); at++) {
    const int64_t first = at / blocks * a.together, left = a.shape.batch - first;
    visit(first, left < a.together ? left : a.together, at % blocks);
  }
}

template <class S, class W, int rows>
void forward_dense(const MatrixScan& a, Share share) {
  const int64_t n = a.shape.n, ld = matrix_padded(n);
  W* const h = work_of<W>(a, share);
  W* const next = h + rows * ld;
  W* const m = next + rows * ld;
  for_groups(a, share, [&](int64_t first, int64_t count, int64_t block) {
    memset(h, 0, 2 * rows * ld * sizeof(W));
    int64_t end[rows] = {}, last = 0;
    for (int64_t r = 0; r < count; r++) {
      end[r] = length(a.mask, first + r, a.shape.time);
      if (end[r] > last) last = end[r];
      const W* initial = static_cast<const W*>(a.initial);
      copy(h + r * ld, initial + ((first + r) * a.shape.blocks + block) * n, n);
    }
    if (last > 0) {  // by columns, so that a state's numbers each move a whole line
      const S* transition = walk<S>(a.transition, first, 0, block * n * n).at;
      memset(m, 0, n * ld * sizeof(W));
      for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) m[j * ld + i] = widen(transition[i * n + j]);
    }
    for (int64_t t = 0; t < last; t++) {
      for (int64_t r = 0; r < count; r++) {
        if (t >= end[r]) continue;
        const S* drive = walk<S>(a.drive, first + r, t, block * n).at;
        for (int64_t i = 0; i < n; i++) next[r * ld + i] = widen(drive[i]);
        if (resets(a.mask, first + r, t)) memset(h + r * ld, 0, n * sizeof(W));
      }
      multiply<Into::add>(rows, n, n, Matrix<W>{h, ld, 1}, m, ld, next, ld);
      for (int64_t r = 0; r < count; r++) {
        if (t >= end[r]) continue;
        S* output = at<S>(a.output, first + r, t, block * n);
        for (int64_t i = 0; i < n; i++) {
          h[r * ld + i] = next[r * ld + i];
          output[i] = narrow<S>(next[r * ld + i]);
        }
      }
    }
    for (int64_t r = 0; r < count; r++) {
      W* final = static_cast<W*>(a.final) + ((first + r) * a.shape.blocks + block) * n;
      copy(final, static_cast<const W*>(h + r * ld), n);
      clear<S>(a.output, first + r, end[r], a.shape.time, block * n, n);
    }
  });
}

// to = g h^T, or the sum of both where `add`.
template <bool add, class To, class W>
void outer_product(To* to, const W* g, const W* h, int64_t n) {
  for (int64_t i = 0; i < n; i++, to += n) {
    const Vector<W> factor = all<Vector<W>>(g[i]);
    int64_t j = 0;
    for (; j + lanes<W> <= n; j += lanes<W>) {
      const Vector<W> line = factor * load(h + j);
      if constexpr (add) store(to + j, load(to + j) + line);
      else store(to + j, line);
    }
    for (; j < n; j++) {
      if constexpr (add) to[j] += g[i] * h[j];
      else to[j] = narrow<To>(g[i] * h[j]);
    }
  }
}

// Of some vectors of columns: y += A^T g, and where there is a `to`, to = g x^T.
template <int vectors, bool around, class S, class W>
inline void retreat_columns(const S* a, const S* ahead, int64_t n, const W* g, const W* x, W* y,
                            S* to) {
  Vector<W> was[vectors], sum[vectors];
  unrolled<vectors>([&](auto k) {
    was[k] = load(x + k * lanes<W>);
    sum[k] = load(y + k * lanes<W>);
  });
  for (int64_t i = 0; i < n; i++, a += n, ahead += n) {
    const Vector<W> factor = all<Vector<W>>(g[i]);
    unrolled<vectors>([&](auto k) {
      prefetch(ahead + k * lanes<W>);
      sum[k] += factor * load(a + k * lanes<W>);
      if (!to) return;
      if constexpr (around) store_around(to + i * n + k * lanes<W>, factor * was[k]);
      else store(to + i * n + k * lanes<W>, factor * was[k]);
    });
  }
  unrolled<vectors>([&](auto k) { store(y + k * lanes<W>, sum[k]); });
}

// The same of all columns; as many at once as leave the sums in registers.
template <bool around, class S, class W>
void retreat(const S* a, const S* ahead, int64_t n, const W* g, const W* x, W* y, S* to) {
  constexpr int64_t together = 4;
  int64_t j = 0;
  const auto columns = [&](auto vectors) {
    for (; j + vectors * lanes<W> <= n; j += vectors * lanes<W>)
      retreat_columns<vectors, around>(a + j, ahead + j, n, g, x + j, y + j, to ? to + j : to);
  };
  columns(Constant<together>());
  columns(Constant<1>());
  for (int64_t i = 0; i < n && j < n; i++)
    for (int64_t k = j; k < n; k++) {
      y[k] += g[i] * widen(a[i * n + k]);
      if (to) to[i * n + k] = narrow<S>(g[i] * x[k]);
    }
}

template <class S, class W>
void backward_each(const MatrixScanBackward& a, Share share) {
  const int64_t n = a.shape.n, ld = matrix_padded(n), widest = matrix_widest(a.shape);
  W* const carries = work_of<W>(a, share);  // what later times send to h_t
  W* const next = carries + widest * ld;
  W* const g = next + ld;
  W* const h = g + ld;
  const bool around = !a.sums && a.stream && vectors_whole<S, W>(a.grad_transition, n);
  for_blocks(a.shape, 1, widest, share, [&](int64_t row, int64_t from, int64_t width) {
    memset(carries, 0, (widest + 3) * ld * sizeof(W));
    const int64_t place = (row * a.shape.blocks + from) * n;
    const W* initial = static_cast<const W*>(a.initial) + place;
    const W* grad_final = static_cast<const W*>(a.grad_final) + place;
    W* const sums = a.sums ? static_cast<W*>(a.sums) + place * n : nullptr;
    for (int64_t block = 0; block < width; block++)
      copy(carries + block * ld, grad_final + block * n, n);
    const int64_t end = length(a.mask, row, a.shape.time);
    clear<S>(a.grad_drive, row, end, a.shape.time, from * n, width * n);
    if (sums) memset(sums, 0, width * n * n * sizeof(W));
    else clear<S>(a.grad_transition, row, end, a.shape.time, from * n * n, width * n * n);
    auto transition = walk<S>(a.transition, row, end - 1, from * n * n);
    auto output = walk<S>(a.output, row, end - 2, from * n);  // h_{t-1}
    auto grad_output = walk<S>(a.grad_output, row, end - 1, from * n);
    auto grad_drive = walk<S>(a.grad_drive, row, end - 1, from * n);
    for (int64_t t = end - 1; t >= 0; t--) {
      const bool fresh = resets(a.mask, row, t);
      const S* ahead = t > 0 ? transition.earlier(1) : transition.at;
      for (int64_t block = width - 1; block >= 0; block--) {
        W* carry = carries + block * ld;
        for (int64_t i = 0; i < n; i++) {
          g[i] = carry[i] + widen(grad_output.at[block * n + i]);
          grad_drive.at[block * n + i] = narrow<S>(g[i]);
        }
        if (fresh) memset(h, 0, n * sizeof(W));
        else if (t == 0) copy(h, initial + block * n, n);
        else
          for (int64_t i = 0; i < n; i++) h[i] = widen(output.at[block * n + i]);
        memset(next, 0, n * sizeof(W));
        const int64_t matrix = block * n * n;
        S* to = sums ? nullptr : at<S>(a.grad_transition, row, t, from * n * n + matrix);
        if (around) retreat<true>(transition.at + matrix, ahead + matrix, n, g, h, next, to);
        else retreat<false>(transition.at + matrix, ahead + matrix, n, g, h, next, to);
        if (sums) outer_product<true>(sums + matrix, g, h, n);
        if (fresh) memset(carry, 0, n * sizeof(W));
        else copy(carry, static_cast<const W*>(next), n);
      }
      transition.previous(), output.previous(), grad_output.previous(), grad_drive.previous();
    }
    W* grad_initial = static_cast<W*>(a.grad_initial) + place;
    for (int64_t block = 0; block < width; block++)
      copy(grad_initial + block * n, static_cast<const W*>(carries + block * ld), n);
  });
  if (a.stream) end_stream();
}

template <class S, class W, int rows>
void backward_dense(const MatrixScanBackward& a, Share share) {
  const int64_t n = a.shape.n, ld = matrix_padded(n), state = rows * ld;
  W* const carry = work_of<W>(a, share);  // what later times send to h_t
  W* const next = carry + state;
  // The last few times' gradients and states, whose outer products are added together.
  W* const m = next + 3 * state;
  W* const sum = m + n * ld;
  W* const gs = sum + n * ld;
  W* const hs = gs + matrix_chunk * state;
  for_groups(a, share, [&](int64_t first, int64_t count, int64_t block) {
    const int64_t of_group = (first / a.together * a.shape.blocks + block) * n * n;
    W* const sums = a.sums ? static_cast<W*>(a.sums) + of_group : nullptr;
    memset(carry, 0, 4 * state * sizeof(W));
    int64_t end[rows] = {}, last = 0;
    for (int64_t r = 0; r < count; r++) {
      const int64_t row = first + r;
      end[r] = length(a.mask, row, a.shape.time);
      if (end[r] > last) last = end[r];
      const W* grad_final = static_cast<const W*>(a.grad_final);
      copy(carry + r * ld, grad_final + (row * a.shape.blocks + block) * n, n);
      clear<S>(a.grad_drive, row, end[r], a.shape.time, block * n, n);
      if (!sums) clear<S>(a.grad_transition, row, end[r], a.shape.time, block * n * n, n * n);
    }
    memset(m, 0, 2 * n * ld * sizeof(W));  // and its sum of gradients
    memset(gs, 0, 2 * matrix_chunk * state * sizeof(W));
    const S* transition = walk<S>(a.transition, first, 0, block * n * n).at;
    for (int64_t i = 0; last > 0 && i < n; i++)
      for (int64_t j = 0; j < n; j++) m[i * ld + j] = widen(transition[i * n + j]);
    int64_t kept = 0;
    for (int64_t t = last - 1; t >= 0; t--) {
      W *const g = gs + kept * state, *const h = hs + kept * state;
      memset(next, 0, state * sizeof(W));
      for (int64_t r = 0; r < count; r++) {
        const int64_t row = first + r;
        if (t >= end[r]) {
          memset(g + r * ld, 0, n * sizeof(W));
          memset(h + r * ld, 0, n * sizeof(W));
          continue;
        }
        const S* grad_output = walk<S>(a.grad_output, row, t, block * n).at;
        S* grad_drive = at<S>(a.grad_drive, row, t, block * n);
        for (int64_t i = 0; i < n; i++) {
          g[r * ld + i] = carry[r * ld + i] + widen(grad_output[i]);
          grad_drive[i] = narrow<S>(g[r * ld + i]);
        }
        const W* initial =
            static_cast<const W*>(a.initial) + (row * a.shape.blocks + block) * n;
        if (resets(a.mask, row, t)) {
          memset(h + r * ld, 0, n * sizeof(W));
        } else if (t == 0) {
          copy(h + r * ld, initial, n);
        } else {
          const S* output = walk<S>(a.output, row, t - 1, block * n).at;
          for (int64_t i = 0; i < n; i++) h[r * ld + i] = widen(output[i]);
        }
        if (!sums) {
          S* to = at<S>(a.grad_transition, row, t, block * n * n);
          outer_product<false>(to, g + r * ld, h + r * ld, n);
        }
      }
      multiply<Into::add>(rows, n, n, Matrix<W>{g, ld, 1}, m, ld, next, ld);
      for (int64_t r = 0; r < count; r++) {
        if (t >= end[r]) continue;
        if (resets(a.mask, first + r, t)) memset(carry + r * ld, 0, n * sizeof(W));
        else copy(carry + r * ld, static_cast<const W*>(next + r * ld), n);
      }
      if (sums && (++kept == matrix_chunk || t == 0)) {
        multiply<Into::add>(n, n, kept * rows, Matrix<W>{gs, 1, ld}, hs, ld, sum, ld);
        kept = 0;
      }
    }
    for (int64_t r = 0; r < count; r++) {
      W* grad_initial =
          static_cast<W*>(a.grad_initial) + ((first + r) * a.shape.blocks + block) * n;
      copy(grad_initial, static_cast<const W*>(carry + r * ld), n);
    }
    if (sums)
      for (int64_t i = 0; i < n; i++) copy(sums + i * n, static_cast<const W*>(sum + i * ld), n);
  });
}

template <class S, class W>
void forward(const MatrixScan& a, Share share) {
  switch (a.shape.n) {
    case 2: return forward_small<S, W, 2>(a, share);
    case 3: return forward_small<S, W, 3>(a, share);
    case 4: return forward_small<S, W, 4>(a, share);
    case 8: return forward_small<S, W, 8>(a, share);
  }
  if (!matrix_shares(a.shape, a.transition)) return forward_each<S, W>(a, share);
  switch (a.together) {
    case 4: return forward_dense<S, W, 4>(a, share);
    case 2: return forward_dense<S, W, 2>(a, share);
    default: return forward_dense<S, W, 1>(a, share);
  }
}

template <class S, class W, int n>
void backward_small(const MatrixScanBackward& a, Share share) {
  if (a.sums) backward_small<S, W, n, true>(a, share);
  else backward_small<S, W, n, false>(a, share);
}

template <class S, class W>
void backward(const MatrixScanBackward& a, Share share) {
  switch (a.shape.n) {
    case 2: return backward_small<S, W, 2>(a, share);
    case 3: return backward_small<S, W, 3>(a, share);
    case 4: return backward_small<S, W, 4>(a, share);
    case 8: return backward_small<S, W, 8>(a, share);
  }
  if (!matrix_shares(a.shape, a.transition)) return backward_each<S, W>(a, share);
  switch (a.together) {
    case 4: return backward_dense<S, W, 4>(a, share);
    case 2: return backward_dense<S, W, 2>(a, share);
    default: return backward_dense<S, W, 1>(a, share);
  }
}

template <class S, class W>
void sums(const MatrixScanSums& a, Share share) {
  const int64_t numbers = a.shape.blocks * a.shape.n * a.shape.n;
  const int64_t all = a.shared ? numbers : numbers * a.groups;
  const W* from = static_cast<const W*>(a.sums);
  S* to = static_cast<S*>(a.grad_transition);
  for (int64_t i = share.begin(all); i < share.end(all); i++) {
    W sum = a.shared ? W(0) : from[i];
    for (int64_t group = 0; a.shared && group < a.groups; group++) sum += from[group * numbers + i];
    to[i] = narrow<S>(sum);
  }
}

}  // namespace

void matrix_scan(const MatrixScan& a, Share share) {
  switch (a.shape.stored) {
    case Stored::float32: return forward<float, float>(a, share);
    case Stored::float64: return forward<double, double>(a, share);
    case Stored::bfloat16: return forward<bfloat16, float>(a, share);
  }
}

void matrix_scan_backward(const MatrixScanBackward& a, Share share) {
  switch (a.shape.stored) {
    case Stored::float32: return backward<float, float>(a, share);
    case Stored::float64: return backward<double, double>(a, share);
    case Stored::bfloat16: return backward<bfloat16, float>(a, share);
  }
}

void matrix_scan_sums(const MatrixScanSums& a, Share share) {
  switch (a.shape.stored) {
    case Stored::float32: return sums<float, float>(a, share);
    case Stored::float64: return sums<double, double>(a, share);
    case Stored::bfloat16: return sums<bfloat16, float>(a, share);
  }
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
