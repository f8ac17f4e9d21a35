#include "matrix_scan.h"

#include "lanes.h"
#include "matrix.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

// Calls visit(row, from, width) for every tile of part `part` of batch x blocks. No result depends
// on where the cuts fall.
template <class Visit>
void for_blocks(const MatrixShape& shape, int64_t cut, int64_t widest, int part, int parts,
                Visit visit) {
  const int64_t all = shape.batch * shape.blocks, cuts = (all + cut - 1) / cut;
  int64_t at = cuts * part / parts * cut, end = cuts * (part + 1) / parts * cut;
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

// Small blocks. Registers hold blocks as they lie in memory, one after another; blocks of three are
// spread to four by four with zeros, so that every row begins at a power of two. A unit is what
// fills whole vectors of state: several blocks, or one that is wider than a vector.
template <class W, int n>
struct Unit {
  static constexpr int padded = n == 3 ? 4 : n;
  static constexpr int numbers = padded > lanes<W> ? padded : lanes<W>;  // of state
  static constexpr int blocks = numbers / padded;
  static constexpr int state_vectors = numbers / lanes<W>;
  static constexpr int vectors = padded * state_vectors;  // of transitions

  // Blocks that must follow the last one that is read or written where it lies: vectors reach
  // beyond what they hold of blocks of three.
  static constexpr int reach = n == 3 ? 2 : 0;

  static constexpr int tile = 4096 / (padded * padded);  // blocks; their transitions stay in L1

  // Where number e of the padded state, or of the padded transitions, lies in memory.
  struct State {
    static constexpr bool there(int e) { return e % padded < n; }
    static constexpr int address(int e) { return e / padded * n + e % padded; }
  };
  struct Transition {
    static constexpr bool there(int e) { return e % padded < n && e / padded % padded < n; }
    static constexpr int address(int e) {
      return e / (padded * padded) * n * n + e / padded % padded * n + e % padded;
    }
  };

  // Which number of the state multiplies number e of the transitions: by its column or its row.
  struct Column {
    static constexpr int of(int e) { return e / (padded * padded) * padded + e % padded; }
  };
  struct Row {
    static constexpr int of(int e) { return e / padded; }
  };
};

// The lanes of a vector of padded numbers that begins with number `first`.
template <class Map, int first, int width>
struct Spread {
  static constexpr int count() {
    int found = 0;
    for (int lane = 0; lane < width; lane++) found += Map::there(first + lane);
    return found;
  }
  static constexpr int at(int lane) {  // where a lane comes from, in memory after the first
    return Map::there(first + lane) ? Map::address(first + lane) - Map::address(first) : 0;
  }
  struct Keep {
    static constexpr bool at(int lane) { return Map::there(first + lane); }
  };
  struct Back {  // which lane goes to a place in memory after the first
    static constexpr int at(int place) {
      for (int lane = 0; lane < width; lane++)
        if (Map::there(first + lane) && Map::address(first + lane) - Map::address(first) == place)
          return lane;
      return 0;  // beyond the numbers of this vector: what follows is written over it
    }
  };
};

template <class Map, int vector, class W, class S>
Vector<W> load_spread(const S* from) {
  constexpr int first = vector * lanes<W>;
  using Lanes = Spread<Map, first, lanes<W>>;
  if constexpr (Lanes::count() == 0) {
    return Vector<W>{};
  } else {
    const Vector<W> x = load(from + Map::address(first));
    if constexpr (Lanes::count() == lanes<W>) return x;
    else return keep<typename Lanes::Keep, W>(pick<Lanes, W>(x, x));
  }
}

template <class Map, int vector, class W, class S>
void store_packed(S* to, Vector<W> x) {
  constexpr int first = vector * lanes<W>;
  using Lanes = Spread<Map, first, lanes<W>>;
  if constexpr (Lanes::count() == lanes<W>) store(to + Map::address(first), x);
  else if constexpr (Lanes::count() > 0)
    store(to + Map::address(first), pick<typename Lanes::Back, W>(x, x));
}

// The state of a unit, laid out beside the transitions of vector `vector`.
template <class Which, int vector, class W>
struct Beside {
  static constexpr int source = Which::of(vector * lanes<W>) / lanes<W>;
  static constexpr int at(int lane) { return Which::of(vector * lanes<W> + lane) % lanes<W>; }
};
template <class Which, int vector, class W>
Vector<W> beside(const Vector<W>* state) {
  using Lanes = Beside<Which, vector, W>;
  return pick<Lanes, W>(state[Lanes::source], state[Lanes::source]);
}

template <class S, class W, int n>
void forward_unit(const S* transition, const S* drive, S* output, W* h, bool fresh) {
  using U = Unit<W, n>;
  Vector<W> was[U::state_vectors], product[U::vectors] = {};
  if (!fresh) {
    unrolled<U::state_vectors>([&](auto k) { was[k] = load(h + k * lanes<W>); });
    unrolled<U::vectors>([&](auto k) {
      product[k] = load_spread<typename U::Transition, k, W>(transition) *
                   beside<typename U::Column, k, W>(was);
    });
    add_chunks<1, U::padded, U::vectors, W>(product);
  }
  unrolled<U::state_vectors>([&](auto k) {
    const Vector<W> now = product[k] + load_spread<typename U::State, k, W>(drive);
    store(h + k * lanes<W>, now);
    store_packed<typename U::State, k, W>(output, now);
  });
}

// What a unit that may not be read or written in place works on: zeros beyond its blocks.
template <class S, class W, int n>
struct Stage {
  using U = Unit<W, n>;
  alignas(64) S transition[U::blocks * n * n + lanes<W>] = {};
  alignas(64) S state[U::blocks * n + lanes<W>] = {};
};

template <class S>
void copy(S* to, const S* from, int64_t numbers) {
  memcpy(to, from, numbers * sizeof(S));
}

template <class S, class W, int n>
void forward_small(const MatrixScan& a, int part, int parts) {
  using U = Unit<W, n>;
  Stage<S, W, n> stage, out;
  const auto tile = [&](int64_t row, int64_t from, int64_t width) {
    alignas(64) W h[U::tile * U::padded] = {};
    const int64_t state = (row * a.shape.blocks + from) * n;
    const W* initial = static_cast<const W*>(a.initial) + state;
    for (int64_t i = 0; i < width * n; i++) h[i / n * U::padded + i % n] = initial[i];
    const int64_t end = length(a.mask, row, a.shape.time);
    auto transition = walk<S>(a.transition, row, 0, from * n * n);
    auto drive = walk<S>(a.drive, row, 0, from * n);
    auto output = walk<S>(a.output, row, 0, from * n);
    for (int64_t t = 0; t < end; t++) {
      const bool fresh = resets(a.mask, row, t);
      for (int64_t block = 0; block < width; block += U::blocks) {
        const S *unit = transition.at + block * n * n, *driven = drive.at + block * n;
        S* written = output.at + block * n;
        const int64_t left = width - block;
        const bool staged = left < U::blocks + U::reach;
        const int64_t count = left < U::blocks ? left : U::blocks;
        if (staged) {
          copy(stage.transition, unit, count * n * n);
          copy(stage.state, driven, count * n);
          unit = stage.transition, driven = stage.state, written = out.state;
        }
        forward_unit<S, W, n>(unit, driven, written, h + block * U::padded, fresh);
        if (staged) copy(output.at + block * n, out.state, count * n);
      }
      transition.next(), drive.next(), output.next();
    }
    W* final = static_cast<W*>(a.final) + state;
    for (int64_t i = 0; i < width * n; i++) final[i] = h[i / n * U::padded + i % n];
    clear<S>(a.output, row, end, a.shape.time, from * n, width * n);
  };
  for_blocks(a.shape, U::blocks, U::tile, part, parts, tile);
}

// `outer(k, gradient)` takes the gradient of vector k of the transitions.
template <class S, class W, int n, class Before, class Outer>
void backward_unit(const S* transition, const Before* before, const S* grad_output, S* grad_drive,
                   W* carry, bool fresh, Outer outer) {
  using U = Unit<W, n>;
  Vector<W> g[U::state_vectors], was[U::state_vectors], product[U::vectors] = {};
  unrolled<U::state_vectors>([&](auto k) {
    g[k] = load(carry + k * lanes<W>) + load_spread<typename U::State, k, W>(grad_output);
    was[k] = fresh ? Vector<W>{} : load_spread<typename U::State, k, W>(before);
    store_packed<typename U::State, k, W>(grad_drive, g[k]);
  });
  unrolled<U::vectors>([&](auto k) {
    const Vector<W> rows = beside<typename U::Row, k, W>(g);
    if (fresh) return outer(k, Vector<W>{});
    outer(k, rows * beside<typename U::Column, k, W>(was));
    product[k] = rows * load_spread<typename U::Transition, k, W>(transition);
  });
  add_chunks<U::padded, U::padded, U::vectors, W>(product);
  unrolled<U::state_vectors>([&](auto k) { store(carry + k * lanes<W>, product[k]); });
}

// Whether vectors beginning `from` numbers into a time may be written around the caches.
template <class S, class W>
bool vectors_whole(const MutableSequence& x, int64_t from) {
  return streamable<S> && lines_whole<S>(x) && from % lanes<W> == 0;
}

template <class S, class W, int n, bool summed>
void backward_small(const MatrixScanBackward& a, int part, int parts) {
  using U = Unit<W, n>;
  Stage<S, W, n> stage, out;
  Stage<W, W, n> start;
  alignas(64) S grad_output_stage[U::blocks * n + lanes<W>] = {};
  const auto tile = [&](int64_t row, int64_t from, int64_t width) {
    alignas(64) W carry[U::tile * U::padded] = {};  // what later times send to h_t
    alignas(64) W sums[summed ? U::tile * U::padded * U::padded : 1] = {};
    const int64_t state = (row * a.shape.blocks + from) * n;
    const W* initial = static_cast<const W*>(a.initial) + state;
    const W* grad_final = static_cast<const W*>(a.grad_final) + state;
    for (int64_t i = 0; i < width * n; i++) carry[i / n * U::padded + i % n] = grad_final[i];
    const int64_t end = length(a.mask, row, a.shape.time);
    if (!summed) clear<S>(a.grad_transition, row, end, a.shape.time, from * n * n, width * n * n);
    clear<S>(a.grad_drive, row, end, a.shape.time, from * n, width * n);
    auto transition = walk<S>(a.transition, row, end - 1, from * n * n);
    auto output = walk<S>(a.output, row, end - 2, from * n);  // h_{t-1}
    auto grad_output = walk<S>(a.grad_output, row, end - 1, from * n);
    auto grad_drive = walk<S>(a.grad_drive, row, end - 1, from * n);
    Walk<S> grad_transition{nullptr, 0};
    if (!summed) grad_transition = walk<S>(a.grad_transition, row, end - 1, from * n * n);
    const bool around = !summed && a.stream && n != 3 && vectors_whole<S, W>(a.grad_transition, from * n * n);
    for (int64_t t = end - 1; t >= 0; t--) {
      const bool fresh = resets(a.mask, row, t);
      const auto all_units = [&](const auto* before, auto* stage_before) {
        const int64_t units = (width + U::blocks - 1) / U::blocks;
        for (int64_t u = 0; u < units; u++) {
          // Downwards as time does, which the memory follows better; but what is written beyond
          // blocks of three must be written over.
          const int64_t block = (n == 3 ? u : units - 1 - u) * U::blocks;
          const S *unit = transition.at + block * n * n, *came = grad_output.at + block * n;
          const auto* was = before + block * n;
          S *driven = grad_drive.at + block * n, *moved = grad_transition.at + block * n * n;
          const int64_t left = width - block;
          const bool staged = left < U::blocks + U::reach;
          const int64_t count = left < U::blocks ? left : U::blocks;
          if (staged) {
            copy(stage.transition, unit, count * n * n);
            copy(grad_output_stage, came, count * n);
            copy(stage_before, was, count * n);
            unit = stage.transition, came = grad_output_stage, was = stage_before;
            driven = out.state, moved = out.transition;
          }
          const auto outer = [&](auto k, Vector<W> gradient) {
            if constexpr (summed) {
              W* sum = sums + block * U::padded * U::padded + k * lanes<W>;
              store(sum, load(sum) + gradient);
            } else {
              if (around && !staged) store_around(moved + k * lanes<W>, gradient);
              else store_packed<typename U::Transition, k, W>(moved, gradient);
            }
          };
          backward_unit<S, W, n>(unit, was, came, driven, carry + block * U::padded, fresh, outer);
          if (staged) {
            copy(grad_drive.at + block * n, out.state, count * n);
            if (!summed) copy(grad_transition.at + block * n * n, out.transition, count * n * n);
          }
        }
      };
      if (t == 0) all_units(initial, start.state);
      else all_units(output.at, stage.state);
      transition.previous(), output.previous(), grad_output.previous(), grad_drive.previous();
      grad_transition.previous();
    }
    W* grad_initial = static_cast<W*>(a.grad_initial) + state;
    for (int64_t i = 0; i < width * n; i++) grad_initial[i] = carry[i / n * U::padded + i % n];
    if (summed) {
      W* to = static_cast<W*>(a.sums) + state * n;
      for (int64_t block = 0; block < width; block++)
        for (int64_t i = 0; i < n; i++)
          for (int64_t j = 0; j < n; j++)
            to[(block * n + i) * n + j] = sums[(block * U::padded + i) * U::padded + j];
    }
  };
  for_blocks(a.shape, U::blocks, U::tile, part, parts, tile);
  if (a.stream) end_stream();
}

// Blocks of any size, one at a time.

// The products of n numbers with x, which has zeros beyond, added in as many sums as lanes.
template <class S, class W>
Vector<W> dot(const S* from, int64_t n, const W* x) {
  Vector<W> sum = {};
  int64_t j = 0;
  for (; j + lanes<W> <= n; j += lanes<W>) sum += load(from + j) * load(x + j);
  if (j == n) return sum;
  S tail[lanes<W>] = {};
  memcpy(tail, from + j, (n - j) * sizeof(S));
  return sum + load(tail) * load(x + j);
}

// y += A x, reading A by rows; x and y have room for whole vectors, x zeros there.
template <class S, class W>
void apply_rows(const S* a, int64_t n, const W* x, W* y) {
  for (int64_t i = 0; i < n; i += lanes<W>) {
    Vector<W> row[lanes<W>];
    const int64_t left = n - i;
    unrolled<lanes<W>>([&](auto k) {
      row[k] = k < left ? dot(a + (i + k) * n, n, x) : Vector<W>{};
    });
    add_chunks<1, lanes<W>, lanes<W>, W>(row);
    store(y + i, load(y + i) + row[0]);
  }
}

// Calls visit(first, count, block) for one block of as many rows of the batch as go together.
template <class Arguments, class Visit>
void for_groups(const Arguments& a, int part, int parts, Visit visit) {
  const int64_t blocks = a.shape.blocks;
  const int64_t all = (a.shape.batch + a.together - 1) / a.together * blocks;
  for (int64_t at = all * part / parts; at < all * (part + 1) / parts; at++) {
    const int64_t first = at / blocks * a.together, left = a.shape.batch - first;
    visit(first, left < a.together ? left : a.together, at % blocks);
  }
}

template <class W, class Arguments>
W* work_of(const Arguments& a, int part) {
  const bool shares = matrix_shares(a.shape, a.transition);
  return static_cast<W*>(a.work) + part * matrix_work_numbers(a.shape, a.together, shares);
}

template <class S, class W, int rows>
void forward_dense(const MatrixScan& a, int part, int parts) {
  const int64_t n = a.shape.n, ld = matrix_padded(n);
  const bool shares = matrix_shares(a.shape, a.transition);
  W* const h = work_of<W>(a, part);
  W* const next = h + rows * ld;
  W* const m = next + rows * ld;
  for_groups(a, part, parts, [&](int64_t first, int64_t count, int64_t block) {
    memset(h, 0, 2 * rows * ld * sizeof(W));
    int64_t end[rows] = {}, last = 0;
    for (int64_t r = 0; r < count; r++) {
      end[r] = length(a.mask, first + r, a.shape.time);
      if (end[r] > last) last = end[r];
      const W* initial = static_cast<const W*>(a.initial);
      copy(h + r * ld, initial + ((first + r) * a.shape.blocks + block) * n, n);
    }
    auto transition = walk<S>(a.transition, first, 0, block * n * n);
    if (shares && last > 0) {  // by columns, so that a state's numbers each move a whole line
      memset(m, 0, n * ld * sizeof(W));
      for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) m[j * ld + i] = widen(transition.at[i * n + j]);
    }
    for (int64_t t = 0; t < last; t++) {
      for (int64_t r = 0; r < count; r++) {
        if (t >= end[r]) continue;
        const S* drive = walk<S>(a.drive, first + r, t, block * n).at;
        for (int64_t i = 0; i < n; i++) next[r * ld + i] = widen(drive[i]);
        if (resets(a.mask, first + r, t)) memset(h + r * ld, 0, n * sizeof(W));
      }
      if (shares) multiply<Into::add>(rows, n, n, Matrix<W>{h, ld, 1}, m, ld, next, ld);
      else if (!resets(a.mask, first, t)) apply_rows(transition.at, n, h, next);
      for (int64_t r = 0; r < count; r++) {
        if (t >= end[r]) continue;
        S* output = at<S>(a.output, first + r, t, block * n);
        for (int64_t i = 0; i < n; i++) {
          h[r * ld + i] = next[r * ld + i];
          output[i] = narrow<S>(next[r * ld + i]);
        }
      }
      transition.next();
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

// y += A^T g, reading A by rows.
template <class S, class W>
void apply_columns(const S* a, int64_t n, const W* g, W* y) {
  for (int64_t i = 0; i < n; i++, a += n) {
    const Vector<W> factor = all<Vector<W>>(g[i]);
    int64_t j = 0;
    for (; j + lanes<W> <= n; j += lanes<W>) store(y + j, load(y + j) + factor * load(a + j));
    for (; j < n; j++) y[j] += g[i] * widen(a[j]);
  }
}

template <class S, class W, int rows>
void backward_dense(const MatrixScanBackward& a, int part, int parts) {
  const int64_t n = a.shape.n, ld = matrix_padded(n), state = rows * ld;
  const bool shares = matrix_shares(a.shape, a.transition);
  W* const carry = work_of<W>(a, part);  // what later times send to h_t
  W* const next = carry + state;
  // The last few times' gradients and states, whose outer products are added together.
  W* const m = next + 3 * state;
  W* const sum = m + n * ld;
  W* const gs = shares ? sum + n * ld : next + state;
  W* const hs = gs + (shares ? matrix_chunk : 1) * state;
  for_groups(a, part, parts, [&](int64_t first, int64_t count, int64_t block) {
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
    auto transition = walk<S>(a.transition, first, last - 1, block * n * n);
    if (shares) {
      memset(m, 0, 2 * n * ld * sizeof(W));  // and its sum of gradients
      memset(gs, 0, 2 * matrix_chunk * state * sizeof(W));
      for (int64_t i = 0; last > 0 && i < n; i++)
        for (int64_t j = 0; j < n; j++) m[i * ld + j] = widen(transition.at[i * n + j]);
    } else if (sums) {
      memset(sums, 0, n * n * sizeof(W));
    }
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
      if (shares) multiply<Into::add>(rows, n, n, Matrix<W>{g, ld, 1}, m, ld, next, ld);
      else apply_columns(transition.at, n, g, next);
      for (int64_t r = 0; r < count; r++) {
        if (t >= end[r]) continue;
        if (resets(a.mask, first + r, t)) memset(carry + r * ld, 0, n * sizeof(W));
        else copy(carry + r * ld, static_cast<const W*>(next + r * ld), n);
      }
      if (sums && !shares) outer_product<true>(sums, g, h, n);
      if (sums && shares && (++kept == matrix_chunk || t == 0)) {
        multiply<Into::add>(n, n, kept * rows, Matrix<W>{gs, 1, ld}, hs, ld, sum, ld);
        kept = 0;
      }
      transition.previous();
    }
    for (int64_t r = 0; r < count; r++) {
      W* grad_initial =
          static_cast<W*>(a.grad_initial) + ((first + r) * a.shape.blocks + block) * n;
      copy(grad_initial, static_cast<const W*>(carry + r * ld), n);
    }
    if (sums && shares)
      for (int64_t i = 0; i < n; i++) copy(sums + i * n, static_cast<const W*>(sum + i * ld), n);
  });
}

template <class S, class W>
void forward(const MatrixScan& a, int part, int parts) {
  switch (a.shape.n) {
    case 2: return forward_small<S, W, 2>(a, part, parts);
    case 3: return forward_small<S, W, 3>(a, part, parts);
    case 4: return forward_small<S, W, 4>(a, part, parts);
    case 8: return forward_small<S, W, 8>(a, part, parts);
  }
  switch (a.together) {
    case 4: return forward_dense<S, W, 4>(a, part, parts);
    case 2: return forward_dense<S, W, 2>(a, part, parts);
    default: return forward_dense<S, W, 1>(a, part, parts);
  }
}

template <class S, class W, int n>
void backward_small(const MatrixScanBackward& a, int part, int parts) {
  if (a.sums) backward_small<S, W, n, true>(a, part, parts);
  else backward_small<S, W, n, false>(a, part, parts);
}

template <class S, class W>
void backward(const MatrixScanBackward& a, int part, int parts) {
  switch (a.shape.n) {
    case 2: return backward_small<S, W, 2>(a, part, parts);
    case 3: return backward_small<S, W, 3>(a, part, parts);
    case 4: return backward_small<S, W, 4>(a, part, parts);
    case 8: return backward_small<S, W, 8>(a, part, parts);
  }
  switch (a.together) {
    case 4: return backward_dense<S, W, 4>(a, part, parts);
    case 2: return backward_dense<S, W, 2>(a, part, parts);
    default: return backward_dense<S, W, 1>(a, part, parts);
  }
}

template <class S, class W>
void sums(const MatrixScanSums& a, int part, int parts) {
  const int64_t numbers = a.shape.blocks * a.shape.n * a.shape.n;
  const int64_t all = a.shared ? numbers : numbers * a.groups;
  const W* from = static_cast<const W*>(a.sums);
  S* to = static_cast<S*>(a.grad_transition);
  for (int64_t i = all * part / parts; i < all * (part + 1) / parts; i++) {
    W sum = a.shared ? W(0) : from[i];
    for (int64_t group = 0; a.shared && group < a.groups; group++) sum += from[group * numbers + i];
    to[i] = narrow<S>(sum);
  }
}

}  // namespace

void matrix_scan(const MatrixScan& a, int part, int parts) {
  switch (a.shape.stored) {
    case Stored::float32: return forward<float, float>(a, part, parts);
    case Stored::float64: return forward<double, double>(a, part, parts);
    case Stored::bfloat16: return forward<bfloat16, float>(a, part, parts);
  }
}

void matrix_scan_backward(const MatrixScanBackward& a, int part, int parts) {
  switch (a.shape.stored) {
    case Stored::float32: return backward<float, float>(a, part, parts);
    case Stored::float64: return backward<double, double>(a, part, parts);
    case Stored::bfloat16: return backward<bfloat16, float>(a, part, parts);
  }
}

void matrix_scan_sums(const MatrixScanSums& a, int part, int parts) {
  switch (a.shape.stored) {
    case Stored::float32: return sums<float, float>(a, part, parts);
    case Stored::float64: return sums<double, double>(a, part, parts);
    case Stored::bfloat16: return sums<bfloat16, float>(a, part, parts);
  }
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
