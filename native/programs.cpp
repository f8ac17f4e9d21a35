#include "programs.h"

#include "kernel.h"
#include "state_product.h"
#include "vector.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

// How a matrix is divided: the same when it is packed and when it is read, so rows of the largest
// part decide.
template <class W>
Tiling tiling_of(const Programs& a, const ProgramMatrix& m) {
  constexpr int64_t lanes = width<W>;
  const int64_t out = a.back ? m.columns : m.rows, depth = a.back ? m.rows : m.columns;
  const int64_t rows = ceil_of(a.batch, a.most_parts);
  return choose_tiling({rows, ceil_of(out, lanes), 1, depth, 1},
                       {static_cast<int>(lanes), static_cast<int>(vector_registers),
                        static_cast<int>(vector_bytes)},
                       a.cache, 1);
}

template <class W>
void pack(const Programs& a, Share share) {
  constexpr int64_t lanes = width<W>;
  for (int64_t i = 0; i < a.matrix_count; i++) {
    const ProgramMatrix& m = a.matrices[i];
    const int64_t out = a.back ? m.columns : m.rows, depth = a.back ? m.rows : m.columns;
    const int64_t of_out = a.back ? 1 : m.columns, of_depth = a.back ? m.columns : 1;
    const int64_t columns = tiling_of<W>(a, m).columns, blocks = ceil_of(out, lanes);
    const W* from = static_cast<const W*>(a.numbers) + m.at;
    W* to = static_cast<W*>(a.packed) + m.packed;
    const int64_t panels = ceil_of(blocks, columns);
    for (int64_t p = share.begin(panels); p < share.end(panels); p++) {
      const int64_t first = p * columns, here = smaller(columns, blocks - first);
      W* panel = to + first * depth * lanes;
      for (int64_t k = 0; k < depth; k++)
        for (int64_t j = 0; j < here * lanes; j++) {
          const int64_t column = first * lanes + j;
          panel[k * here * lanes + j] = column < out ? from[column * of_out + k * of_depth] : 0;
        }
    }
  }
}

// What a thread knows about its rows at a time.
template <class W>
struct Rows {
  using V = Vector<W>;
  static constexpr int64_t lanes = width<W>;
  const Programs& a;
  int64_t begin, end, together;
  struct Place {
    W* data;  // of the first row
    int64_t stride;
  } places[space_count] = {};
  W *lasting, *before, *after, *tape, *local, *tile;
  char* ended;

  Rows(const Programs& a, Share share)
      : a(a), begin(share.begin(a.batch)), end(share.end(a.batch)), together(program_rows(a)) {
    const int64_t state = a.width(Space::before), kept = a.width(Space::tape);
    const int64_t each = a.width(Space::lasting) + 2 * state + kept;
    W* at = static_cast<W*>(a.workspace) + begin * each + share.part * program_part(a);
    const auto take = [&at](int64_t numbers) {
      W* const taken = reinterpret_cast<W*>((reinterpret_cast<uintptr_t>(at) + 63) / 64 * 64);
      at = taken + numbers;
      return taken;
    };
    const int64_t rows = end - begin;
    tile = take(program_tile);
    local = take(together * a.width(Space::local));
    lasting = take(rows * a.width(Space::lasting));
    before = take(rows * state), after = take(rows * state), tape = take(rows * kept);
    ended = static_cast<char*>(a.workspace) + programs_workspace(a, a.most_parts) - a.batch;
  }

  void put(Space space, const void* data, int64_t stride) {
    places[static_cast<int>(space)] = {static_cast<W*>(const_cast<void*>(data)), stride};
  }
  void put(Space space, const W* data, int64_t stride) {
    put(space, static_cast<const void*>(data), stride);
  }
  // One row after another in (time, batch, numbers).
  void put_time(Space space, const void* data, int64_t t) {
    const int64_t width = a.width(space);
    put(space, static_cast<const W*>(data) + (t * a.batch + begin) * width, width);
  }
  template <class Of>
  void put_sequence(Space space, const Of& x, int64_t t) {
    put(space, static_cast<const W*>(x.data) + begin * x.batch_stride + t * x.time_stride,
        x.batch_stride);
  }
  W* row(Space space, int64_t r) const {
    const Place& place = places[static_cast<int>(space)];
    return place.data + r * place.stride;
  }

  // An operand from some row on. Registers of a few rows begin with the first of them.
  struct Operand {
    W* data;
    int64_t stride;
  };
  template <class Where>
  Operand operand(const Where& where, int64_t from) const {
    const Place& place = places[static_cast<int>(where.space)];
    const int64_t first = where.space == Space::local ? 0 : from;
    return {place.data + where.at + first * place.stride, place.stride};
  }

  template <int operands, class F>
  static void map(const Operand& to, const Operand (&x)[3], int64_t rows, int64_t n, F f) {
    for (int64_t r = 0; r < rows; r++) {
      W* const out = to.data + r * to.stride;
      const W* const a = x[0].data + r * x[0].stride;
      const W* const b = x[1].data + r * x[1].stride;
      const W* const c = x[2].data + r * x[2].stride;
      const auto some = [&](int64_t i, int64_t there) {
        if constexpr (operands == 1) put_some(out + i, f(fetch(a + i, there)), there);
        else if constexpr (operands == 2)
          put_some(out + i, f(fetch(a + i, there), fetch(b + i, there)), there);
        else
          put_some(out + i, f(fetch(a + i, there), fetch(b + i, there), fetch(c + i, there)), there);
      };
      int64_t i = 0;
      for (; i + lanes <= n; i += lanes) some(i, lanes);
      if (i < n) some(i, n - i);
    }
  }

  // Rows from `from` to `until` through one operation that is no product.
  void pointwise(const Instruction& code, int64_t from, int64_t until) const {
    const Operand to = operand(code.to, from);
    const Operand x[3] = {operand(code.from[0], from), operand(code.from[1], from),
                          operand(code.from[2], from)};
    const int64_t rows = until - from, n = code.width;
    const auto one_by_one = [&](auto f) { map<1>(to, x, rows, n, f); };
    const auto two_by_two = [&](auto f) { map<2>(to, x, rows, n, f); };
    const auto three_by_three = [&](auto f) { map<3>(to, x, rows, n, f); };
    const V one = V{} + 1;
    switch (code.operation) {
      case Operation::move: return one_by_one([](V a) { return a; });
      case Operation::accumulate:
        for (int64_t r = 0; r < rows; r++) {
          if (ended[from + r + begin]) continue;
          W* out = to.data + r * to.stride;
          const W* given = x[0].data + r * x[0].stride;
          for (int64_t i = 0; i < n; i += lanes) {
            const int64_t there = smaller(lanes, n - i);
            put_some(out + i, fetch(out + i, there) + fetch(given + i, there), there);
          }
        }
        return;
      case Operation::affine: {
        const W* literals = static_cast<const W*>(a.literals);
        const V factor = V{} + literals[code.more[0]], more = V{} + literals[code.more[1]];
        return one_by_one([=](V a) { return factor * a + more; });
      }
      case Operation::expand:
        for (int64_t r = 0; r < rows; r++) {
          const V number = V{} + x[0].data[r * x[0].stride];
          W* out = to.data + r * to.stride;
          for (int64_t i = 0; i < n; i += lanes) put_some(out + i, number, smaller(lanes, n - i));
        }
        return;
      case Operation::sum:
        for (int64_t r = 0; r < rows; r++) {
          const W* given = x[0].data + r * x[0].stride;
          V sum{};
          for (int64_t i = 0; i < n; i += lanes) sum += fetch(given + i, smaller(lanes, n - i));
          W each[lanes];
          store(each, sum);
          for (int64_t half = lanes / 2; half > 0; half /= 2)
            for (int64_t i = 0; i < half; i++) each[i] += each[i + half];
          to.data[r * to.stride] = each[0];
        }
        return;
      case Operation::add: return two_by_two([](V a, V b) { return a + b; });
      case Operation::sub: return two_by_two([](V a, V b) { return a - b; });
      case Operation::mul: return two_by_two([](V a, V b) { return a * b; });
      case Operation::div: return two_by_two([](V a, V b) { return a / b; });
      // NaN from either side, as torch has it.
      case Operation::maximum: return two_by_two([](V a, V b) { return a != a ? a : b > a ? b : b != b ? b : a; });
      case Operation::minimum: return two_by_two([](V a, V b) { return a != a ? a : b < a ? b : b != b ? b : a; });
      case Operation::less: return two_by_two([=](V a, V b) { return a < b ? one : V{}; });
      case Operation::less_equal: return two_by_two([=](V a, V b) { return a <= b ? one : V{}; });
      case Operation::equal: return two_by_two([=](V a, V b) { return a == b ? one : V{}; });
      case Operation::where: return three_by_three([](V m, V a, V b) { return m != 0 ? a : b; });
      case Operation::sigmoid: return one_by_one([](V a) { return sigmoid(a); });
      case Operation::tanh: return one_by_one([](V a) { return STATEWISE_LEVEL::tanh(a); });
      case Operation::relu: return one_by_one([](V a) { return a < 0 ? V{} : a; });
      case Operation::exp: return one_by_one([](V a) { return STATEWISE_LEVEL::exp(a); });
      case Operation::log: return one_by_one([](V a) { return STATEWISE_LEVEL::log(a); });
      case Operation::sqrt: return one_by_one([](V a) { return square_root(a); });
      case Operation::abs: return one_by_one([](V a) { return absolute(a); });
      case Operation::sign:
        return one_by_one([=](V a) { return a > 0 ? one : a < 0 ? -one : a == 0 ? V{} : a; });
      case Operation::softplus: return one_by_one([](V a) { return softplus(a); });
      case Operation::log_sigmoid: return one_by_one([](V a) { return log_sigmoid(a); });
      case Operation::slope_of_sigmoid: return two_by_two([](V g, V y) { return g * (y * (1 - y)); });
      case Operation::slope_of_tanh: return two_by_two([](V g, V y) { return g * (1 - y * y); });
      case Operation::slope_of_relu: return two_by_two([](V g, V y) { return y > 0 ? g : V{}; });
      case Operation::share:
        return two_by_two([=](V a, V b) { return a > b ? one : a == b ? one / 2 : V{}; });
      default: return;
    }
  }

  void product(const Instruction& code) const {
    const ProgramMatrix& m = a.matrices[code.more[0]];
    const Tiling tiling = tiling_of<W>(a, m);
    const int64_t out = a.back ? m.columns : m.rows, depth = a.back ? m.rows : m.columns;
    const int64_t blocks = ceil_of(out, lanes), rows = end - begin;
    const Operand to = operand(code.to, 0), x = operand(code.from[0], 0);
    const W* packed = static_cast<const W*>(a.packed) + m.packed;
    for (int64_t first = 0; first < blocks; first += tiling.columns) {
      const int64_t columns = smaller(tiling.columns, blocks - first);
      const W* panel = packed + first * depth * lanes;
      const int64_t there = smaller(columns * lanes, out - first * lanes);
      const bool whole = there == columns * lanes;
      for (int64_t r = 0; r < rows; r += tiling.rows) {
        const int64_t some = smaller(tiling.rows, rows - r);
        W* result = to.data + r * to.stride + first * lanes;
        W* written = whole ? result : tile;
        const int64_t stride = whole ? to.stride : columns * lanes;
        tile_of<W>(some, columns)(panel, x.data + r * x.stride, x.stride, 1, 0, 1, depth,
                                  written, stride);
        for (int64_t i = 0; !whole && i < some; i++)
          memcpy(result + i * to.stride, tile + i * stride, there * sizeof(W));
      }
    }
  }

  void run() const {
    const int64_t rows = end - begin;
    for (int64_t i = 0; i < a.instructions;) {
      const Operation first = a.code[i].operation;
      if (first == Operation::product || first == Operation::product_transposed) {
        product(a.code[i++]);
        continue;
      }
      int64_t last = i;
      while (last < a.instructions && a.code[last].operation != Operation::product &&
             a.code[last].operation != Operation::product_transposed)
        last++;
      for (int64_t r = 0; r < rows; r += together)
        for (int64_t j = i; j < last; j++) pointwise(a.code[j], r, smaller(rows, r + together));
      i = last;
    }
  }

  void copy(W* to, const W* from, Space like) const { memcpy(to, from, a.width(like) * sizeof(W)); }
  void clear(Space space, int64_t r) const {
    if (a.width(space)) memset(row(space, r), 0, a.width(space) * sizeof(W));
  }
};

template <class W>
void forward(const Programs& a, Share share) {
  Rows<W> p(a, share);
  const int64_t state = a.width(Space::before), rows = p.end - p.begin;
  W* const now = static_cast<W*>(a.state) + p.begin * state;
  const W* const start = static_cast<const W*>(a.start) + p.begin * state;
  p.put(Space::local, p.local, a.width(Space::local));
  p.put(Space::lasting, p.lasting, a.width(Space::lasting));
  p.put(Space::literal, a.literals, 0);
  p.put(Space::vector, a.vectors, 0);
  p.put(Space::before, p.before, state);
  p.put(Space::after, p.after, state);
  p.put(Space::tape, p.tape, a.width(Space::tape));
  for (int64_t t = 0; t < a.time; t++) {
    for (int64_t r = 0; r < rows; r++) {
      const bool over = a.mask.lengths && a.offset + t >= a.mask.lengths[p.begin + r];
      p.ended[p.begin + r] = over;
      // A row that has ended computes on its start: whatever comes of it is not looked at.
      const bool anew = over || resets(a.mask, p.begin + r, t);
      p.copy(p.before + r * state, (anew ? start : now) + r * state, Space::before);
    }
    p.put_sequence(Space::drive, a.drive, t);
    p.put_sequence(Space::output, a.output, t);
    if (a.tape) p.put_time(Space::tape, a.tape, t);
    p.run();
    for (int64_t r = 0; r < rows; r++) {
      if (p.ended[p.begin + r]) p.clear(Space::output, r);
      else p.copy(now + r * state, p.after + r * state, Space::before);
      if (a.states)
        p.copy(static_cast<W*>(a.states) + (t * a.batch + p.begin + r) * state, now + r * state,
               Space::before);
    }
  }
}

template <class W>
void backward(const Programs& a, Share share) {
  Rows<W> p(a, share);
  const int64_t state = a.width(Space::before), rows = p.end - p.begin;
  const W* const start = static_cast<const W*>(a.start) + p.begin * state;
  W* const grad_state = static_cast<W*>(a.grad_state) + p.begin * state;
  W* const grad_start = static_cast<W*>(a.grad_start) + p.begin * state;
  p.put(Space::local, p.local, a.width(Space::local));
  p.put(Space::lasting, p.lasting, a.width(Space::lasting));
  p.put(Space::literal, a.literals, 0);
  p.put(Space::vector, a.vectors, 0);
  p.put(Space::before, p.before, state);
  p.put(Space::grad_before, p.after, state);
  p.put(Space::grad_state, grad_state, state);
  const int64_t vectors = a.width(Space::vector);
  p.put(Space::grad_vector, static_cast<W*>(a.grad_vector) + p.begin * vectors, vectors);
  for (int64_t t = a.time - 1; t >= 0; t--) {
    const W* const last = (t == 0 ? static_cast<const W*>(a.initial)
                                  : static_cast<const W*>(a.states) + (t - 1) * a.batch * state) +
                          p.begin * state;
    for (int64_t r = 0; r < rows; r++) {
      const bool over = a.mask.lengths && a.offset + t >= a.mask.lengths[p.begin + r];
      p.ended[p.begin + r] = over;
      const bool anew = over || resets(a.mask, p.begin + r, t);
      p.copy(p.before + r * state, (anew ? start : last) + r * state, Space::before);
    }
    p.put_sequence(Space::drive, a.drive, t);
    p.put_sequence(Space::grad_output, a.grad_output, t);
    p.put_sequence(Space::grad_drive, a.grad_drive, t);
    p.put_time(Space::tape, a.tape, t);
    p.put_time(Space::operand, a.operand, t);
    p.put_time(Space::grad_tape, a.grad_tape, t);
    p.run();
    for (int64_t r = 0; r < rows; r++) {
      if (p.ended[p.begin + r]) {
        p.clear(Space::grad_drive, r);
        p.clear(Space::operand, r);
        p.clear(Space::grad_tape, r);
        continue;
      }
      W* const gradient = grad_state + r * state;
      const W* const found = p.after + r * state;
      if (resets(a.mask, p.begin + r, t)) {
        W* const sum = grad_start + r * state;
        for (int64_t i = 0; i < state; i++) sum[i] += found[i], gradient[i] = 0;
      } else {
        p.copy(gradient, found, Space::before);
      }
    }
  }
}

}  // namespace

void programs_pack(const Programs& a, Share share) {
  if (a.stored == Stored::float64) pack<double>(a, share);
  else pack<float>(a, share);
}

void programs(const Programs& a, Share share) {
  if (a.stored == Stored::float64) a.back ? backward<double>(a, share) : forward<double>(a, share);
  else a.back ? backward<float>(a, share) : forward<float>(a, share);
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
