#include "cells.h"

#include "kernel.h"
#include "parallel.h"

#include "cell_formulas.h"
#include "state_product.h"
#include "vector.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

constexpr int most_gates = 4, most_leaves = 5, most_vectors = 3;

inline int64_t at_least_one(int64_t a) { return a < 1 ? 1 : a; }

// Threads of one team wait here for each other, once a step or more.
struct alignas(64) Barrier {
  int arrived, turn;
};

inline void wait(Barrier* barrier, int team) {
  if (team == 1) return;
  const int turn = __atomic_load_n(&barrier->turn, __ATOMIC_RELAXED);
  if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) == team) {
    __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&barrier->turn, turn + 1, __ATOMIC_RELEASE);
    return;
  }
  // More threads than processors would otherwise spin for whole slices of time.
  for (int spins = 0; __atomic_load_n(&barrier->turn, __ATOMIC_ACQUIRE) == turn; spins++) {
    if (spins > 4000) yield_thread();
#ifdef STATEWISE_X86
    else _mm_pause();
#endif
  }
}

// One product of a step. The matrix is packed for the tiles: for every block of units, `columns`
// registers side by side, `segments` times `width` terms long.
struct Product {
  int64_t columns, segments;
  int64_t first;                      // where in the matrix of a head it begins
  int64_t column_stride, row_stride;  // in the matrix, from a column, and a segment, to the next
  int64_t unit_stride, term_stride;   // from a unit, and a term, to the next
  int64_t column_gap = no_gate, segment_gap = no_gate;  // left out: what would have this number
};

// What a part of the work knows about itself.
template <class W>
struct Part {
  static constexpr int64_t lanes = width<W>;
  const Cells& a;
  CellShape shape;
  int64_t hidden, blocks;  // blocks of units in a head
  Tiling tiling;
  int64_t group;          // blocks whose registers fill whole tiles
  int row_part;
  int64_t row, row_end;   // rows of the batch
  int64_t block, block_end;  // blocks of units, through all heads
  Barrier *team, *all;
  W *packed, *packed_second, *operand, *second, *scratch;

  Part(const Cells& a, const CellShape& shape, bool back, int part, int parts)
      : a(a), shape(shape), hidden(a.heads * a.width), blocks(ceil_of(a.width, lanes)) {
    // A gate apart is the column that reads the first segment alone; going back, the segment that
    // all columns but the first leave out.
    const bool apart = shape.apart < shape.gates;
    const int64_t columns = (back ? shape.operands : shape.first) - apart;
    const int64_t segments = (back ? shape.first - apart : shape.operands);
    const int64_t terms = segments * a.width;
    const int stages = shape.operands == 0 ? 0 : shape.first < shape.gates ? 2 : 1;
    tiling = choose_tiling({a.batch, a.heads * blocks, at_least_one(columns), terms, stages},
                           {static_cast<int>(lanes), static_cast<int>(vector_registers), static_cast<int>(vector_bytes)}, a.cache,
                           parts);
    group = 1;
    while (group * at_least_one(columns) % tiling.columns) group++;
    row_part = part / tiling.unit_parts;
    const int unit_part = part % tiling.unit_parts;
    row = a.batch * row_part / tiling.row_parts;
    row_end = a.batch * (row_part + 1) / tiling.row_parts;
    block = a.heads * blocks * unit_part / tiling.unit_parts;
    block_end = a.heads * blocks * (unit_part + 1) / tiling.unit_parts;

    char* at = static_cast<char*>(a.workspace) + 64;
    all = reinterpret_cast<Barrier*>(at);
    team = all + 1 + row_part;
    at += (1 + a.most_parts) * sizeof(Barrier);
    const auto take = [&at](int64_t numbers) {
      W* taken = reinterpret_cast<W*>(at);
      at += ceil_of(numbers * static_cast<int64_t>(sizeof(W)), 64) * 64;
      return taken;
    };
    const int64_t padded = a.heads * blocks * lanes;
    packed = take(padded * terms * columns);
    const int64_t alone = !apart ? 0 : back ? shape.first : 1;
    packed_second = take(padded * a.width * (shape.gates - shape.first + alone));
    operand = take(2 * a.batch * shape.operands * hidden);
    second = take(shape.first < shape.gates ? a.batch * hidden : 0);
    const int64_t each = a.batch * max_group_registers * lanes;
    scratch = take(each * parts) + each * part;
  }

  int64_t rows() const { return row_end - row; }
  int64_t units(int64_t in_head) const { return smaller(lanes, a.width - in_head * lanes); }
  bool ended(int64_t r, int64_t t) const {
    return a.mask.lengths && a.offset + t >= a.mask.lengths[r];
  }

  // Calls visit(head, first block in the head, blocks) for every group of this part's blocks.
  template <class Visit>
  void for_groups(Visit visit) const {
    for (int64_t at = block; at < block_end;) {
      const int64_t head = at / blocks, end = smaller(block_end, (head + 1) * blocks);
      for (; at < end; at += group) visit(head, at - head * blocks, smaller(group, end - at));
      at = end;
    }
  }

  // Calls visit(first register, registers) for every tile of a group.
  template <class Visit>
  void for_tiles_of(int64_t columns, int64_t count, Visit visit) const {
    for (int64_t v = 0; v < count * columns; v += tiling.columns)
      visit(v, smaller(tiling.columns, count * columns - v));
  }

  void pack(const Product& p, const W* matrix, W* to) const {
    const int64_t depth = p.segments * a.width;
    for_groups([&](int64_t head, int64_t first, int64_t count) {
      const W* from = matrix + p.first + head * shape.gates * a.width * shape.operands * a.width;
      W* base = to + (head * blocks + first) * p.columns * depth * lanes;
      for_tiles_of(p.columns, count, [&](int64_t v, int64_t width) {
        W* panel = base + v * depth * lanes;
        for (int64_t c = 0; c < width; c++) {
          const int64_t in_head = first + (v + c) / p.columns;
          int64_t column = (v + c) % p.columns;
          column += column >= p.column_gap;
          const int64_t there = units(in_head);
          for (int64_t segment = 0; segment < p.segments; segment++)
            for (int64_t k = 0; k < a.width; k++) {
              W* put = panel + ((segment * a.width + k) * width + c) * lanes;
              const W* get = from + column * p.column_stride +
                             (segment + (segment >= p.segment_gap)) * p.row_stride +
                             in_head * lanes * p.unit_stride + k * p.term_stride;
              for (int64_t i = 0; i < lanes; i++) put[i] = i < there ? get[i * p.unit_stride] : 0;
            }
        }
      });
    });
  }

  // Multiplies this part's rows by one group; the result is (rows, registers, lanes).
  void multiply_group(const Product& p, const W* from_packed, const W* rows_of, int64_t row_stride,
                      int64_t segment_stride, int64_t head, int64_t first, int64_t count,
                      W* out) const {
    const int64_t depth = p.segments * a.width, out_stride = count * p.columns * lanes;
    const W* base = from_packed + (head * blocks + first) * p.columns * depth * lanes;
    const W* operands = rows_of + row * row_stride + head * a.width;
    for_tiles_of(p.columns, count, [&](int64_t v, int64_t width) {
      const Multiply<W> whole = tile_of<W>(tiling.rows, width);
      int64_t r = 0;
      for (; r + tiling.rows <= rows(); r += tiling.rows)
        whole(base + v * depth * lanes, operands + r * row_stride, row_stride, p.segments,
              segment_stride, p.segment_gap, a.width, out + r * out_stride + v * lanes, out_stride);
      if (r < rows())
        tile_of<W>(rows() - r, width)(base + v * depth * lanes, operands + r * row_stride,
                                      row_stride, p.segments, segment_stride, p.segment_gap,
                                      a.width, out + r * out_stride + v * lanes, out_stride);
    });
  }

  // Packs what is not packed yet for as many parts as there are.
  void prepare(const Product& first, const Product& second_stage, int parts) const {
    const bool done = !a.pack && *static_cast<int64_t*>(a.workspace) == parts;
    wait(all, parts);  // everybody has looked
    if (!done && shape.operands) {
      const W* matrix = static_cast<const W*>(a.recurrent);
      if (row_part == 0) {
        pack(first, matrix, packed);
        if (second_stage.columns) pack(second_stage, matrix, packed_second);
      }
      *static_cast<int64_t*>(a.workspace) = parts;
    }
  }
};

template <class W>
struct State {
  W* data;
  int64_t batch, hidden;
  W* at(int leaf, int64_t r, int64_t unit) const {
    return data + (leaf * batch + r) * hidden + unit;
  }
};

template <class Cell, class W>
void forward(const Cell& cell, const CellsForward& f, int part, int parts) {
  using V = Vector<W>;
  constexpr int64_t lanes = width<W>;
  const Cells& a = f.cells;
  const CellShape shape = cell.shape();
  const Part<W> p(a, shape, false, part, parts);
  const int gates = shape.gates, first = shape.first, leaves = shape.leaves;
  const int operands = shape.operands, kept = leaves - 1 + shape.extras;
  const int64_t hidden = p.hidden, across = operands * a.width;
  const bool apart = shape.apart < gates;
  const int columns = first - apart;
  const Product recurrent{columns, operands, 0, a.width * across, a.width, across, 1, shape.apart};
  const int64_t later = (apart ? shape.apart : first) * a.width * across;
  const Product waiting{apart ? 1 : gates - first, 1, later, a.width * across, 0, across, 1};
  const W* bias = static_cast<const W*>(a.recurrent_bias);
  const W* vectors = static_cast<const W*>(a.vectors);
  const State<W> state{static_cast<W*>(f.state), a.batch, hidden};
  W* const operand[2] = {p.operand, p.operand + a.batch * operands * hidden};

  p.prepare(recurrent, waiting, parts);
  p.for_groups([&](int64_t head, int64_t from, int64_t count) {
    const int64_t unit = head * a.width + from * lanes;
    const int64_t width = smaller(count * lanes, a.width - from * lanes);
    for (int64_t r = p.row; r < p.row_end; r++)
      for (int j = 0; j < operands; j++) {
        const bool none = p.ended(r, 0) || resets(a.mask, r, 0);
        W* to = operand[0] + (r * operands + j) * hidden + unit;
        if (none) memset(to, 0, width * sizeof(W));
        else memcpy(to, state.at(Cell::operand(j), r, unit), width * sizeof(W));
      }
  });
  wait(p.all, parts);

  for (int64_t t = 0; t < a.time; t++) {
    const W* now = operand[t & 1];
    W* next = operand[(t + 1) & 1];
    W* const gates_now = static_cast<W*>(f.gates) + t * a.batch * gates * hidden;
    W* const rest_now = f.rest ? static_cast<W*>(f.rest) + t * a.batch * kept * hidden : nullptr;

    // What there is of a row before the cell reads it, and of its state after.
    const auto gather = [&](V* x, V* before, V* v, int64_t r, int64_t unit, int64_t there) {
      for (int g = 0; g < gates; g++)
        x[g] = fetch(gates_now + (r * gates + g) * hidden + unit, there);
      const bool fresh = resets(a.mask, r, t);
      for (int l = 0; l < leaves; l++)
        before[l] = fresh ? V{} : fetch(state.at(l, r, unit), there);
      for (int i = 0; i < shape.vectors; i++) v[i] = fetch(vectors + i * hidden + unit, there);
    };
    const auto sums = [&](V* u, int begin, int end, const W* from, const W* alone, int64_t unit,
                          int64_t there) {
      for (int g = begin; g < end; g++) {
        const W* sum = g == shape.apart ? alone : from + (g - begin - (g > shape.apart)) * lanes;
        u[g - begin] = operands ? load(sum) : V{};
        if (bias) u[g - begin] += fetch(bias + g * hidden + unit, there);
      }
    };
    const auto keep = [&](const V* x, int begin, int end, int64_t r, int64_t unit, int64_t there) {
      for (int g = begin; g < end; g++)
        put_some(gates_now + (r * gates + g) * hidden + unit, x[g], there);
    };
    const auto finish = [&](const V* after, const V* extra, int64_t r, int64_t unit,
                            int64_t there) {
      for (int l = 0; l < leaves; l++) put_some(state.at(l, r, unit), after[l], there);
      put_some(at<W>(f.output, r, t, unit), after[0], there);
      if (rest_now) {
        W* to = rest_now + r * kept * hidden + unit;
        for (int l = 1; l < leaves; l++) put_some(to + (l - 1) * hidden, after[l], there);
        for (int e = 0; e < shape.extras; e++)
          put_some(to + (leaves - 1 + e) * hidden, extra[e], there);
      }
      const bool none = t + 1 == a.time || resets(a.mask, r, t + 1) || p.ended(r, t + 1);
      for (int j = 0; j < operands; j++)
        put_some(next + (r * operands + j) * hidden + unit, none ? V{} : after[Cell::operand(j)], there);
    };
    const auto pass = [&](int64_t r, int64_t unit, int64_t there) {
      put_some(at<W>(f.output, r, t, unit), V{}, there);
      if (rest_now)
        for (int i = 0; i < kept; i++)
          put_some(rest_now + (r * kept + i) * hidden + unit, V{}, there);
      for (int j = 0; j < operands; j++)
        put_some(next + (r * operands + j) * hidden + unit, V{}, there);
    };

    p.for_groups([&](int64_t head, int64_t from, int64_t count) {
      if (operands)
        p.multiply_group(recurrent, p.packed, now, operands * hidden, hidden, head, from, count,
                         p.scratch);
      W* const alone = p.scratch + p.rows() * count * columns * lanes;
      if (apart)
        p.multiply_group(waiting, p.packed_second, now, operands * hidden, 0, head, from, count,
                         alone);
      for (int64_t r = p.row; r < p.row_end; r++)
        for (int64_t b = 0; b < count; b++) {
          const int64_t unit = head * a.width + (from + b) * lanes, there = p.units(from + b);
          if (p.ended(r, t)) {
            pass(r, unit, there);
            continue;
          }
          V x[most_gates], u[most_gates], before[most_leaves], v[most_vectors];
          gather(x, before, v, r, unit, there);
          const int64_t at = (r - p.row) * count + b;
          sums(u, 0, first, p.scratch + at * columns * lanes, alone + at * lanes, unit, there);
          if constexpr (Cell::two_stages) {
            put_some(p.second + r * hidden + unit, cell.forward_first(x, u, before, v), there);
            keep(x, 0, first, r, unit, there);
          } else {
            V after[most_leaves], extra[1] = {};
            cell.forward(x, u, before, v, after, extra);
            keep(x, 0, gates, r, unit, there);
            finish(after, extra, r, unit, there);
          }
        }
    });
    if constexpr (Cell::two_stages) {
      wait(p.team, p.tiling.unit_parts);
      p.for_groups([&](int64_t head, int64_t from, int64_t count) {
        p.multiply_group(waiting, p.packed_second, p.second, hidden, 0, head, from, count,
                         p.scratch);
        for (int64_t r = p.row; r < p.row_end; r++)
          for (int64_t b = 0; b < count; b++) {
            const int64_t unit = head * a.width + (from + b) * lanes, there = p.units(from + b);
            if (p.ended(r, t)) continue;
            V x[most_gates], u[most_gates], before[most_leaves], v[most_vectors];
            V after[most_leaves], extra[1] = {};
            gather(x, before, v, r, unit, there);
            sums(u, first, gates,
                 p.scratch + ((r - p.row) * count + b) * (gates - first) * lanes, nullptr, unit,
                 there);
            cell.forward_second(x, u, before, v, after, extra);
            keep(x, first, gates, r, unit, there);
            finish(after, extra, r, unit, there);
          }
      });
    }
    if (operands) wait(p.team, p.tiling.unit_parts);
  }
}

template <class Cell, class W>
void backward(const Cell& cell, const CellsBackward& f, int part, int parts) {
  using V = Vector<W>;
  constexpr int64_t lanes = width<W>;
  const Cells& a = f.cells;
  const CellShape shape = cell.shape();
  const Part<W> p(a, shape, true, part, parts);
  const int gates = shape.gates, first = shape.first, leaves = shape.leaves;
  const int operands = shape.operands, kept = leaves - 1 + shape.extras;
  const int64_t hidden = p.hidden, across = operands * a.width;
  const bool apart = shape.apart < gates;
  const int columns = operands - apart;
  const Product recurrent{columns, first - apart, apart ? a.width : 0, a.width,
                          a.width * across, 1, across, no_gate, shape.apart};
  const int64_t later = apart ? 0 : first * a.width * across;
  const int64_t others = apart ? gates : gates - first;
  const Product waiting{others ? 1 : 0, others, later, a.width, a.width * across, 1, across};
  const W* vectors = static_cast<const W*>(a.vectors);
  const State<W> grad_state{static_cast<W*>(f.grad_state), a.batch, hidden};
  const State<const W> initial{static_cast<const W*>(f.initial), a.batch, hidden};

  p.prepare(recurrent, waiting, parts);
  wait(p.all, parts);

  for (int64_t t = a.time - 1; t >= 0; t--) {
    const W* const kept_gates = static_cast<const W*>(f.gates) + t * a.batch * gates * hidden;
    const W* const rest_now = static_cast<const W*>(f.rest) + t * a.batch * kept * hidden;
    const W* const rest_before = rest_now - a.batch * kept * hidden;
    W* const dx_now = static_cast<W*>(f.grad_gates) + t * a.batch * gates * hidden;
    W* const du_now = f.grad_recurrent
                          ? static_cast<W*>(f.grad_recurrent) + t * a.batch * gates * hidden
                          : dx_now;
    W* const read_now = static_cast<W*>(f.operands) + t * a.batch * operands * hidden;
    W* const second_now = f.second ? static_cast<W*>(f.second) + t * a.batch * hidden : nullptr;

    const auto gather = [&](V* x, V* before, int64_t r, int64_t unit, int64_t there) {
      for (int g = 0; g < gates; g++)
        x[g] = fetch(kept_gates + (r * gates + g) * hidden + unit, there);
      const bool fresh = resets(a.mask, r, t);
      for (int l = 0; l < leaves; l++) {
        const W* from = t == 0 ? initial.at(l, r, unit)
                        : l == 0
                            ? walk<W>(f.output, r, t - 1, unit).at
                            : rest_before + (r * kept + l - 1) * hidden + unit;
        before[l] = fresh ? V{} : fetch(from, there);
      }
    };
    const auto put = [&](W* to, const V* x, int begin, int end, int64_t r, int64_t unit,
                         int64_t there) {
      for (int g = begin; g < end; g++) put_some(to + (r * gates + g) * hidden + unit, x[g], there);
    };
    const auto add = [&](void* bias, const V* x, int begin, int end, int64_t r, int64_t unit,
                         int64_t there) {
      for (int g = begin; bias && g < end; g++) {
        W* to = static_cast<W*>(bias) + (r * gates + g) * hidden + unit;
        put_some(to, fetch(to, there) + x[g], there);
      }
    };
    const auto leave = [&](const V* d_before, int64_t r, int64_t unit, int64_t there) {
      const bool fresh = resets(a.mask, r, t);
      for (int l = 0; l < leaves; l++)
        put_some(grad_state.at(l, r, unit), fresh ? V{} : d_before[l], there);
    };

    p.for_groups([&](int64_t head, int64_t from, int64_t count) {
      for (int64_t r = p.row; r < p.row_end; r++)
        for (int64_t b = 0; b < count; b++) {
          const int64_t unit = head * a.width + (from + b) * lanes, there = p.units(from + b);
          if (p.ended(r, t)) {
            const V none[most_gates] = {};
            put(dx_now, none, 0, gates, r, unit, there);
            if (f.grad_recurrent) put(du_now, none, 0, gates, r, unit, there);
            for (int j = 0; j < operands; j++)
              put_some(read_now + (r * operands + j) * hidden + unit, V{}, there);
            if (second_now) put_some(second_now + r * hidden + unit, V{}, there);
            continue;
          }
          V x[most_gates], before[most_leaves], d[most_leaves], d_before[most_leaves];
          V dx[most_gates] = {};
          gather(x, before, r, unit, there);
          for (int l = 0; l < leaves; l++) d[l] = fetch(grad_state.at(l, r, unit), there);
          d[0] += fetch(walk<W>(f.grad_output, r, t, unit).at, there);
          for (int j = 0; j < operands; j++)
            put_some(read_now + (r * operands + j) * hidden + unit, before[Cell::operand(j)], there);
          if constexpr (Cell::two_stages) {
            const V read = cell.backward_second(x, before, d, dx, d_before);
            put_some(second_now + r * hidden + unit, read, there);
            put(dx_now, dx, 0, gates, r, unit, there);
            add(f.grad_bias, dx, first, gates, r, unit, there);
            for (int l = 0; l < leaves; l++)
              put_some(grad_state.at(l, r, unit), d_before[l], there);
          } else {
            V du[most_gates] = {}, after[most_leaves], extra[1] = {}, v[most_vectors], dv[most_vectors];
            for (int l = 1; l < leaves; l++)
              after[l] = fetch(rest_now + (r * kept + l - 1) * hidden + unit, there);
            for (int e = 0; e < shape.extras; e++)
              extra[e] = fetch(rest_now + (r * kept + leaves - 1 + e) * hidden + unit, there);
            W* const grad_vectors =
                static_cast<W*>(f.grad_vectors) + r * shape.vectors * hidden + unit;
            for (int i = 0; i < shape.vectors; i++) {
              v[i] = fetch(vectors + i * hidden + unit, there);
              dv[i] = fetch(grad_vectors + i * hidden, there);
            }
            cell.backward(x, extra, before, after, v, d, dx, du, d_before, dv);
            put(dx_now, dx, 0, gates, r, unit, there);
            add(f.grad_bias, dx, 0, gates, r, unit, there);
            if (!shape.additive) {
              put(du_now, du, 0, gates, r, unit, there);
              add(f.grad_recurrent_bias, du, 0, gates, r, unit, there);
            }
            for (int i = 0; i < shape.vectors; i++) put_some(grad_vectors + i * hidden, dv[i], there);
            leave(d_before, r, unit, there);
          }
        }
    });
    if constexpr (Cell::two_stages) {
      wait(p.team, p.tiling.unit_parts);
      p.for_groups([&](int64_t head, int64_t from, int64_t count) {
        p.multiply_group(waiting, p.packed_second, du_now + first * hidden, gates * hidden, hidden,
                         head, from, count, p.scratch);
        for (int64_t r = p.row; r < p.row_end; r++)
          for (int64_t b = 0; b < count; b++) {
            const int64_t unit = head * a.width + (from + b) * lanes, there = p.units(from + b);
            if (p.ended(r, t)) continue;
            V x[most_gates], before[most_leaves], d_before[most_leaves], dx[most_gates];
            gather(x, before, r, unit, there);
            for (int g = 0; g < first; g++)
              dx[g] = fetch(dx_now + (r * gates + g) * hidden + unit, there);
            for (int l = 0; l < leaves; l++)
              d_before[l] = fetch(grad_state.at(l, r, unit), there);
            const V d_second = load(p.scratch + ((r - p.row) * count + b) * lanes);
            cell.backward_first(x, before, d_second, dx, d_before);
            put(dx_now, dx, 0, first, r, unit, there);
            add(f.grad_bias, dx, 0, first, r, unit, there);
            leave(d_before, r, unit, there);
          }
      });
    }
    if (!operands) continue;
    wait(p.team, p.tiling.unit_parts);
    p.for_groups([&](int64_t head, int64_t from, int64_t count) {
      p.multiply_group(recurrent, p.packed, du_now, gates * hidden, hidden, head, from, count,
                       p.scratch);
      W* const alone = p.scratch + p.rows() * count * columns * lanes;
      if (apart)
        p.multiply_group(waiting, p.packed_second, du_now, gates * hidden, hidden, head, from,
                         count, alone);
      for (int64_t r = p.row; r < p.row_end; r++) {
        if (p.ended(r, t) || resets(a.mask, r, t)) continue;
        for (int64_t b = 0; b < count; b++) {
          const int64_t unit = head * a.width + (from + b) * lanes, there = p.units(from + b);
          const int64_t at = (r - p.row) * count + b;
          const W* sums = p.scratch + at * columns * lanes;
          for (int j = 0; j < operands; j++) {
            W* to = grad_state.at(Cell::operand(j), r, unit);
            const W* sum = !apart ? sums + j * lanes : j ? sums + (j - 1) * lanes : alone + at * lanes;
            put_some(to, fetch(to, there) + load(sum), there);
          }
        }
      }
    });
  }
}

// The sum of the lanes, by halves.
template <class W>
inline W sum_of(Vector<W> x) {
  W all[width<W>];
  memcpy(all, &x, sizeof x);
  for (int64_t half = width<W> / 2; half > 0; half /= 2)
    for (int64_t i = 0; i < half; i++) all[i] += all[i + half];
  return all[0];
}

// Adds to `sums` the products of some rows of a matrix with one vector.
template <class W>
inline void add_products(const W* matrix, int64_t stride, int64_t rows, const W* x, int64_t terms,
                         W* sums) {
  constexpr int64_t lanes = width<W>;
  int64_t i = 0;
  for (; i + 4 <= rows; i += 4) {
    Vector<W> sum[4] = {};
    const W* row = matrix + i * stride;
    int64_t k = 0;
    for (; k + lanes <= terms; k += lanes)
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) sum[j] += load(row + j * stride + k) * load(x + k);
    if (k < terms)
      for (int j = 0; j < 4; j++)
        sum[j] += fetch(row + j * stride + k, terms - k) * fetch(x + k, terms - k);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) sums[i + j] += sum_of<W>(sum[j]);
  }
  for (; i < rows; i++) {
    Vector<W> sum{};
    for (int64_t k = 0; k < terms; k += lanes) {
      const int64_t there = smaller(lanes, terms - k);
      sum += fetch(matrix + i * stride + k, there) * fetch(x + k, there);
    }
    sums[i] += sum_of<W>(sum);
  }
}

template <class Cell, class W>
void step(const Cell& cell, const CellsStep& f, int part, int parts) {
  using V = Vector<W>;
  constexpr int64_t lanes = width<W>;
  const CellShape shape = cell.shape();
  const int64_t hidden = f.heads * f.width, blocks = ceil_of(f.width, lanes);
  const int64_t across = shape.operands * f.width;
  const W* bias[2] = {static_cast<const W*>(f.input_bias), static_cast<const W*>(f.recurrent_bias)};

  // Calls visit(head, unit, units there, row) for every block of this part.
  const auto for_blocks = [&](auto visit) {
    const int64_t all = f.heads * blocks;
    for (int64_t b = all * part / parts; b < all * (part + 1) / parts; b++) {
      const int64_t head = b / blocks, in_head = b % blocks * lanes;
      for (int64_t r = 0; r < f.batch; r++)
        visit(head, in_head, smaller(lanes, f.width - in_head), r);
    }
  };
  const auto leaf = [&](int l, int64_t r) {
    return static_cast<const W*>(f.before[l]) + r * hidden;
  };
  const auto from_input = [&](V* x, int64_t unit, int64_t there, int64_t r) {
    for (int g = 0; g < shape.gates; g++) {
      W sums[lanes] = {};
      if (bias[0]) store(sums, fetch(bias[0] + g * hidden + unit, there));
      add_products(static_cast<const W*>(f.input) + (g * hidden + unit) * f.dim, f.dim, there,
                   static_cast<const W*>(f.x) + r * f.dim, f.dim, sums);
      x[g] = load(sums);
    }
  };
  const auto from_state = [&](V* u, int begin, int end, int64_t head, int64_t in_head,
                              int64_t there, auto operand) {
    for (int g = begin; g < end; g++) {
      W sums[lanes] = {};
      if (bias[1])
        store(sums, fetch(bias[1] + g * hidden + head * f.width + in_head, there));
      const W* rows = static_cast<const W*>(f.recurrent) +
                      ((head * shape.gates + g) * f.width + in_head) * across;
      for (int j = 0; j < (g == shape.apart ? 1 : shape.operands); j++)
        add_products(rows + j * f.width, across, there, operand(j) + head * f.width, f.width, sums);
      u[g - begin] = load(sums);
    }
  };
  const auto gather = [&](V* before, V* v, int64_t unit, int64_t there, int64_t r) {
    for (int l = 0; l < shape.leaves; l++) before[l] = fetch(leaf(l, r) + unit, there);
    for (int i = 0; i < shape.vectors; i++)
      v[i] = fetch(static_cast<const W*>(f.vectors) + i * hidden + unit, there);
  };
  const auto finish = [&](const V* after, int64_t unit, int64_t there, int64_t r) {
    for (int l = 0; l < shape.leaves; l++)
      put_some(static_cast<W*>(f.after[l]) + r * hidden + unit, after[l], there);
  };

  if constexpr (Cell::two_stages) {
    W* const kept = static_cast<W*>(f.kept);  // (batch, gates and one more, hidden)
    const int64_t stride = (shape.gates + 1) * hidden;
    for_blocks([&](int64_t head, int64_t in_head, int64_t there, int64_t r) {
      const int64_t unit = head * f.width + in_head;
      V x[most_gates], u[most_gates], before[most_leaves], v[most_vectors];
      gather(before, v, unit, there, r);
      from_input(x, unit, there, r);
      from_state(u, 0, shape.first, head, in_head, there,
                 [&](int j) { return leaf(Cell::operand(j), r); });
      const V read = cell.forward_first(x, u, before, v);
      W* to = kept + r * stride + unit;
      for (int g = 0; g < shape.gates; g++) put_some(to + g * hidden, x[g], there);
      put_some(to + shape.gates * hidden, read, there);
    });
    wait(static_cast<Barrier*>(f.barrier), parts);
    for_blocks([&](int64_t head, int64_t in_head, int64_t there, int64_t r) {
      const int64_t unit = head * f.width + in_head;
      V x[most_gates], u[most_gates], before[most_leaves], v[most_vectors];
      V after[most_leaves], extra[1] = {};
      gather(before, v, unit, there, r);
      for (int g = 0; g < shape.gates; g++)
        x[g] = fetch(kept + r * stride + g * hidden + unit, there);
      from_state(u, shape.first, shape.gates, head, in_head, there,
                 [&](int) { return kept + r * stride + shape.gates * hidden; });
      cell.forward_second(x, u, before, v, after, extra);
      finish(after, unit, there, r);
    });
  } else {
    for_blocks([&](int64_t head, int64_t in_head, int64_t there, int64_t r) {
      const int64_t unit = head * f.width + in_head;
      V x[most_gates], u[most_gates], before[most_leaves], v[most_vectors];
      V after[most_leaves], extra[1] = {};
      gather(before, v, unit, there, r);
      from_input(x, unit, there, r);
      from_state(u, 0, shape.gates, head, in_head, there,
                 [&](int j) { return leaf(Cell::operand(j), r); });
      cell.forward(x, u, before, v, after, extra);
      finish(after, unit, there, r);
    });
  }
}

// Calls visit with the cell and a number of its type.
template <class Visit>
void visit_cell(Stored stored, CellKind kind, int switches, Visit visit) {
  const auto with = [&](auto number) {
    using W = decltype(number);
    switch (kind) {
      case CellKind::elman: return visit(Elman(switches), W());
      case CellKind::lstm:
        if (switches == 0) return visit(Lstm<0>(0), W());
        if (switches == peepholes) return visit(Lstm<peepholes>(0), W());
        return visit(Lstm<-1>(switches), W());
      case CellKind::gru: return visit(Gru(switches), W());
      case CellKind::gru_before: return visit(GruBefore(switches), W());
      case CellKind::mgu: return visit(Mgu(switches), W());
      case CellKind::slstm: return visit(Slstm(switches), W());
      case CellKind::indrnn: return visit(IndRNN(switches), W());
    }
  };
  if (stored == Stored::float64) with(double());
  else with(float());
}

}  // namespace

void cells_forward(const CellsForward& f, Share share) {
  visit_cell(f.cells.stored, f.cells.kind, f.cells.switches, [&](auto cell, auto number) {
    forward<decltype(cell), decltype(number)>(cell, f, share.part, share.parts);
  });
}

void cells_backward(const CellsBackward& f, Share share) {
  visit_cell(f.cells.stored, f.cells.kind, f.cells.switches, [&](auto cell, auto number) {
    backward<decltype(cell), decltype(number)>(cell, f, share.part, share.parts);
  });
}

void cells_step(const CellsStep& f, Share share) {
  visit_cell(f.stored, f.kind, f.switches, [&](auto cell, auto number) {
    step<decltype(cell), decltype(number)>(cell, f, share.part, share.parts);
  });
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
