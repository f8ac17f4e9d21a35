#include "stabilized_attention.h"

#include "matrix.h"
#include "products.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

// A NaN in either stays one, as in torch.maximum.
template <class W>
inline W maximum(W x, W y) {
  return x > y || x != x ? x : y;
}

template <class W>
constexpr W unit = 1;

// Gates have no axis after the heads, whose stride is then one.
template <class Pointer>
inline int64_t head_stride(const StridedOf<4, Pointer>& x) {
  return x.stride[2];
}
template <class Pointer>
inline int64_t head_stride(const StridedOf<3, Pointer>&) {
  return 1;
}
template <class S, int rank, class Pointer>
inline S* at(const StridedOf<rank, Pointer>& x, int64_t row, int64_t head, int64_t t) {
  return static_cast<S*>(x.data) + row * x.stride[0] + t * x.stride[1] + head * head_stride(x);
}

// Hands out a thread's scratch memory.
template <class W>
struct Scratch {
  char* free;
  W* matrix(int64_t rows, int64_t columns) {
    W* made = reinterpret_cast<W*>(free);
    free += up_to(padded<W>(rows) * row_stride<W>(columns) * sizeof(W), 64);
    return made;
  }
  W* vector(int64_t n) { return matrix(1, n); }
};

template <class W>
inline W sum(Vector<W> x) {
  W total = 0;
#pragma GCC unroll 16
  for (int i = 0; i < width<W>; i++) total += x[i];
  return total;
}

// Over n numbers, padded.
template <class W>
inline W dot(const W* x, const W* y, int64_t n) {
  Vector<W> total{};
  for (int64_t i = 0; i < n; i += width<W>) total += load(x + i) * load(y + i);
  return sum<W>(total);
}

// Of n numbers, not padded.
template <class W>
inline double wide_dot(const W* x, const W* y, int64_t n) {
  constexpr int64_t lanes = 8;
  double sums[lanes] = {}, total = 0;
  for (int64_t i = 0; i + lanes <= n; i += lanes)
    for (int64_t j = 0; j < lanes; j++) sums[j] += static_cast<double>(x[i + j]) * y[i + j];
  for (int64_t i = n / lanes * lanes; i < n; i++) total += static_cast<double>(x[i]) * y[i];
  for (int64_t j = 0; j < lanes; j++) total += sums[j];
  return total;
}

template <class W>
inline void fill(W* x, int64_t n) {
  memset(x, 0, n * sizeof(W));
}

// Rows of a sequence to scratch, `factor` times, with zeros up to the padding.
template <class S, class W>
inline void read_rows(const Strided<4>& x, int64_t row, int64_t head, int64_t t, int64_t count,
                      int64_t from, int64_t values, W factor, W* to, int64_t to_row) {
  const int64_t across = padded<W>(values), down = padded<W>(count);
  for (int64_t i = 0; i < count; i++) {
    const S* source = at<const S>(x, row, head, t + i) + from;
    W* target = to + i * to_row;
    for (int64_t j = 0; j < values; j++) target[j] = factor * widen(source[j]);
    for (int64_t j = values; j < across; j++) target[j] = 0;
  }
  for (int64_t i = count; i < down; i++) fill(to + i * to_row, across);
}

template <class W>
inline void read_matrix(const W* from, int64_t from_row, int64_t rows, int64_t columns, W* to,
                        int64_t to_row) {
  for (int64_t i = 0; i < rows; i++) {
    memcpy(to + i * to_row, from + i * from_row, columns * sizeof(W));
    fill(to + i * to_row + columns, padded<W>(columns) - columns);
  }
  for (int64_t i = rows; i < padded<W>(rows); i++) fill(to + i * to_row, padded<W>(columns));
}

template <class W>
inline void write_matrix(const W* from, int64_t from_row, int64_t rows, int64_t columns, W* to,
                         int64_t to_row) {
  for (int64_t i = 0; i < rows; i++)
    memcpy(to + i * to_row, from + i * from_row, columns * sizeof(W));
}

template <class S, class W>
inline void write_rows(const W* from, int64_t from_row, int64_t values, const MutableStrided<4>& x,
                       int64_t row, int64_t head, int64_t t, int64_t count, W factor) {
  for (int64_t i = 0; i < count; i++) {
    S* target = at<S>(x, row, head, t + i);
    for (int64_t j = 0; j < values; j++) target[j] = narrow<S>(W(factor * from[i * from_row + j]));
  }
}

template <class S, int rank>
inline void clear_rows(const MutableStrided<rank>& x, int64_t row, int64_t head, int64_t begin, int64_t end,
                       int64_t from, int64_t values) {
  for (int64_t t = begin; t < end; t++)
    memset(at<S>(x, row, head, t) + from, 0, values * sizeof(S));
}

// The gates of consecutive times of one row and head, none of which resets but maybe the first.
template <class W>
struct Gates {
  W *log_input, *log_forget, *m;
  W *forget, *admit;
  W *carried;  // what is left at t of the state before the first time
  W *low, *floor;  // max(|n.q|, exp(-m)) as max(low |n.q|, floor), neither of which overflows
  W *weight;  // of every time so far in the present one

  Gates(Scratch<W>& scratch, int64_t chunk)
      : log_input(scratch.vector(chunk)),
        log_forget(scratch.vector(chunk)),
        m(scratch.vector(chunk)),
        forget(scratch.vector(chunk)),
        admit(scratch.vector(chunk)),
        carried(scratch.vector(chunk)),
        low(scratch.vector(chunk)),
        floor(scratch.vector(chunk)),
        weight(scratch.vector(chunk)) {}

  void read(const StabilizedInputs& x, int64_t row, int64_t head, int64_t t, int64_t count,
            W m_before, bool fresh) {
    for (int64_t i = 0; i < count; i++) {
      log_input[i] = *at<const W>(x.log_input, row, head, t + i);
      log_forget[i] = *at<const W>(x.log_forget, row, head, t + i);
    }
    W before = fresh ? W(0) : m_before;
    for (int64_t i = 0; i < count; i++) {
      const W kept = log_forget[i] + before;
      m[i] = maximum(kept, log_input[i]);
      forget[i] = kept - m[i];
      admit[i] = log_input[i] - m[i];
      low[i] = m[i] < 0 ? m[i] : W(0);
      floor[i] = low[i] - m[i];
      before = m[i];
    }
    for (int64_t i = 0; i < count; i += width<W>) {
      W* const exponents[] = {forget, admit, low, floor};
      for (W* x : exponents) store(x + i, exp(load(x + i)));
      store(floor + i, larger(load(floor + i), all<Vector<W>>(Numbers<W>::tiny)));
    }
    if (fresh) forget[0] = 0;
    W left = 1;
    for (int64_t i = 0; i < count; i++) carried[i] = left *= forget[i];
  }

  // Takes `weight` from time t - 1 to t.
  void advance(int64_t t) {
    const W by = forget[t];
    for (int64_t j = 0; j < t; j++) weight[j] *= by;
    weight[t] = admit[t];
  }
};

// Calls visit(begin, end, fresh) for the runs of times of [begin, end) that only a first may reset.
template <class Visit>
inline void for_runs(const Mask& mask, int64_t row, int64_t begin, int64_t end, Visit visit) {
  while (begin < end) {
    int64_t stop = begin + 1;
    while (stop < end && !resets(mask, row, stop)) stop++;
    visit(begin, stop, resets(mask, row, begin));
    begin = stop;
  }
}
template <class Visit>
inline void for_runs_down(const Mask& mask, int64_t row, int64_t begin, int64_t end, Visit visit) {
  while (begin < end) {
    int64_t start = end - 1;
    while (start > begin && !resets(mask, row, start)) start--;
    visit(start, end, resets(mask, row, start));
    end = start;
  }
}

// The part of one row and head that a thread computes: all of it, or some columns of the value.
struct Task {
  int64_t row, head, from, values;
};

template <class Visit>
inline void for_tasks(const StabilizedShape& shape, Share share, bool columns, Visit visit) {
  const int64_t rows = shape.batch * shape.heads;
  if (!rows) return;
  constexpr int64_t least = 32;  // columns worth a task
  int64_t blocks = columns ? (share.threads + rows - 1) / rows : 1;
  const int64_t most = (shape.value + least - 1) / least;
  if (blocks > most) blocks = most;
  const int64_t values = up_to((shape.value + blocks - 1) / blocks, least);
  const int64_t tasks = rows * blocks;
  for (int64_t i = share.begin(tasks); i < share.end(tasks); i++) {
    const int64_t from = i % blocks * values;
    int64_t wide = shape.value - from;
    if (wide > values) wide = values;
    if (blocks == 1) wide = shape.value;
    if (wide > 0 || from == 0) visit(Task{i / blocks / shape.heads, i / blocks % shape.heads, from, wide});
  }
}

template <class W>
struct StateOf {
  W *C, *n, *m;
};
template <class W, class Pointer>
inline auto state_at(const StabilizedStateOf<Pointer>& x, const StabilizedShape& shape,
                     int64_t index) {
  return StateOf<W>{static_cast<W*>(x.C) + index * shape.key * shape.value,
                    static_cast<W*>(x.n) + index * shape.key, static_cast<W*>(x.m) + index};
}

// Where the state before a chunk is saved.
template <class W, class Pointer>
inline StateOf<W> border_at(Pointer borders, const StabilizedShape& shape, int64_t index) {
  W* const C = static_cast<W*>(borders) + index * stabilized_border(shape);
  W* const n = C + shape.key * shape.value;
  return {C, n, n + shape.key};
}

// ---- forward, by chunks ------------------------------------------------------------------------

template <class S, class W>
void by_chunks(const StabilizedAttention& a, Share share) {
  const StabilizedShape& shape = a.shape;
  const StabilizedInputs& x = a.inputs;
  const int64_t K = shape.key, chunk = shape.chunk;
  const int64_t chunks = (shape.time + chunk - 1) / chunk;
  const W scale = static_cast<W>(x.scale), eps = static_cast<W>(x.eps);
  const int64_t k_row = row_stride<W>(K), v_row = row_stride<W>(shape.value);
  const int64_t l_row = row_stride<W>(chunk);

  Scratch<W> scratch{a.scratch + share.thread * stabilized_scratch(shape)};
  Gates<W> gates(scratch, chunk);
  W* const Q = scratch.matrix(chunk, K);
  W* const keys = scratch.matrix(chunk, K);
  W* const keys_across = scratch.matrix(K, chunk);
  W* const V = scratch.matrix(chunk, shape.value);
  W* const A = scratch.matrix(chunk, chunk);
  W* const numerator = scratch.matrix(chunk, shape.value);
  W* const C = scratch.matrix(K, shape.value);
  W* const n = scratch.vector(K);
  W* const normalizer = scratch.vector(chunk);

  for_tasks(shape, share, true, [&](const Task& task) {
    const int64_t row = task.row, head = task.head, values = task.values;
    const int64_t index = row * shape.heads + head;
    const int64_t K_padded = padded<W>(K), V_padded = padded<W>(values);
    const int64_t end = length(x.mask, row, shape.time);
    const auto initial = state_at<const W>(x.initial, shape, index);
    read_matrix(initial.C + task.from, shape.value, K, values, C, v_row);
    read_matrix(initial.n, K, 1, K, n, K_padded);
    W m = *initial.m;
    MutableStrided<4> output = a.output;
    output.data = static_cast<S*>(output.data) + task.from;

    const auto run = [&](int64_t begin, int64_t stop, bool fresh) {
      const int64_t count = stop - begin, across = padded<W>(count);
      gates.read(x, row, head, begin, count, m, fresh);
      if (fresh) {  // the state may hold NaN
        for (int64_t i = 0; i < K_padded; i++) fill(C + i * v_row, V_padded);
        fill(n, K_padded);
      }
      read_rows<S>(x.query, row, head, begin, count, 0, K, scale, Q, k_row);
      read_rows<S>(x.key, row, head, begin, count, 0, K, W(1), keys, k_row);
      read_rows<S>(x.value, row, head, begin, count, task.from, values, W(1), V, v_row);
      transpose(across, K_padded, keys, k_row, keys_across, l_row);
      product<Triangle::result>(across, across, K_padded, {Q, k_row, 1}, keys_across, l_row,
                                {A, l_row, nullptr, 0});
      for (int64_t t = 0; t < across; t++) {
        W* line = A + t * l_row;
        if (t >= count) {
          fill(line, across);
          continue;
        }
        gates.advance(t);
        for (int64_t j = 0; j <= t; j++) line[j] *= gates.weight[j];
        fill(line + t + 1, across - t - 1);
        normalizer[t] = gates.carried[t] * dot(Q + t * k_row, n, K_padded);
        Vector<W> total{};
        for (int64_t j = 0; j <= t; j += width<W>) total += load(line + j);
        normalizer[t] += sum<W>(total);
      }
      product<Triangle::none>(across, V_padded, K_padded, {Q, k_row, 1}, C, v_row,
                              {numerator, v_row, nullptr, 0});
      for (int64_t t = count; t < across; t++) gates.carried[t] = 0;
      product<Triangle::left>(across, V_padded, count, {A, l_row, 1}, V, v_row,
                              {numerator, v_row, gates.carried, 1});
      for (int64_t t = 0; t < count; t++) {
        const W size = normalizer[t] < 0 ? -normalizer[t] : normalizer[t];
        const W floor = gates.floor[t], low = gates.low[t];
        const W denominator = maximum(size * low, floor) + eps * floor;
        write_rows<S>(numerator + t * v_row, v_row, values,
                      output,
                      row, head, begin + t, 1, W(low / denominator));
      }

      const W left = gates.carried[count - 1];
      for (int64_t j = 0; j < K_padded; j++) n[j] *= left;
      for (int64_t t = 0; t < count; t++) {
        W* line = keys + t * k_row;
        for (int64_t j = 0; j < K_padded; j++) {
          line[j] *= gates.weight[t];
          n[j] += line[j];
        }
      }
      product<Triangle::none>(K_padded, V_padded, count, {keys, 1, k_row}, V, v_row,
                              {C, v_row, &left, 0});
      m = gates.m[count - 1];
    };

    for (int64_t i = 0; i < chunks; i++) {
      if (a.borders) {
        const auto border = border_at<W>(a.borders, shape, index * chunks + i);
        write_matrix(C, v_row, K, values, border.C + task.from, shape.value);
        if (task.from == 0) {
          // Every number, since what an operator returns should be the same every time.
          fill(border.n, stabilized_border(shape) - K * shape.value);
          memcpy(border.n, n, K * sizeof(W));
          *border.m = m;
        }
      }
      const int64_t begin = i * chunk, stop = begin + chunk;
      for_runs(x.mask, row, begin, stop < end ? stop : end, run);
    }
    clear_rows<S>(a.output, row, head, end, shape.time, task.from, values);
    const auto final = state_at<W>(a.final, shape, index);
    write_matrix(C, v_row, K, values, final.C + task.from, shape.value);
    if (task.from == 0) {
      memcpy(final.n, n, K * sizeof(W));
      *final.m = m;
    }
  });
}

// ---- forward, one time after another -----------------------------------------------------------

// C = forget C + key value^T, and output = C^T query, for some columns. C is read and written once.
template <int vectors, class S, class W>
inline void step_columns(int64_t K, W forget, const W* query, const W* key, const S* value,
                         const W* before, W* after, int64_t stride, W factor, S* output) {
  constexpr int64_t n = vectors * width<W>;
  alignas(64) W wide[n];
  for (int64_t i = 0; i < n; i++) wide[i] = widen(value[i]);
  Vector<W> v[vectors], total[vectors];
#pragma GCC unroll 4
  for (int i = 0; i < vectors; i++) {
    v[i] = load(wide + i * width<W>);
    total[i] = Vector<W>{};
  }
  for (int64_t j = 0; j < K; j++, after += stride) {
    const W k = key[j], q = query[j];
#pragma GCC unroll 4
    for (int i = 0; i < vectors; i++) {
      Vector<W> c = k * v[i];
      if (before) c += forget * load(before + i * width<W>);
      store(after + i * width<W>, c);
      total[i] += q * c;
    }
    if (before) before += stride;
  }
#pragma GCC unroll 4
  for (int i = 0; i < vectors; i++) store(wide + i * width<W>, Vector<W>(factor * total[i]));
  for (int64_t i = 0; i < n; i++) output[i] = narrow<S>(wide[i]);
}

template <class S, class W>
void one_by_one(const StabilizedAttention& a, Share share) {
  const StabilizedShape& shape = a.shape;
  const StabilizedInputs& x = a.inputs;
  const int64_t K = shape.key;
  const W scale = static_cast<W>(x.scale), eps = static_cast<W>(x.eps);
  Scratch<W> scratch{a.scratch + share.thread * stabilized_scratch(shape)};
  Gates<W> gates(scratch, 1);
  W *const query = scratch.vector(K), *const key = scratch.vector(K), *const n = scratch.vector(K);

  for_tasks(shape, share, true, [&](const Task& task) {
    const int64_t row = task.row, head = task.head;
    const int64_t index = row * shape.heads + head;
    const int64_t end = length(x.mask, row, shape.time);
    const auto initial = state_at<const W>(x.initial, shape, index);
    const auto final = state_at<W>(a.final, shape, index);
    const W* C = initial.C + task.from;
    memcpy(n, initial.n, K * sizeof(W));
    W m = *initial.m;
    for (int64_t t = 0; t < end; t++) {
      const bool fresh = resets(x.mask, row, t);
      gates.read(x, row, head, t, 1, m, fresh);
      m = gates.m[0];
      const W forget = gates.forget[0], admit = gates.admit[0];
      const S* q = at<const S>(x.query, row, head, t);
      const S* k = at<const S>(x.key, row, head, t);
      for (int64_t j = 0; j < K; j++) {
        query[j] = scale * widen(q[j]);
        key[j] = admit * widen(k[j]);
        n[j] = fresh ? key[j] : forget * n[j] + key[j];
      }
      W normalizer = 0;
      for (int64_t j = 0; j < K; j++) normalizer += query[j] * n[j];
      if (normalizer < 0) normalizer = -normalizer;
      const W floor = gates.floor[0], low = gates.low[0];
      const W factor = low / (maximum(normalizer * low, floor) + eps * floor);

      const S* value = at<const S>(x.value, row, head, t) + task.from;
      S* output = at<S>(a.output, row, head, t) + task.from;
      W* after = final.C + task.from;
      int64_t j = 0;
      const auto columns = [&](auto vectors) {
        constexpr int count = vectors;
        for (; j + count * width<W> <= task.values; j += count * width<W>)
          step_columns<count>(K, forget, query, key, value + j, fresh ? nullptr : C + j, after + j,
                              shape.value, factor, output + j);
      };
      columns(Constant<4>());
      columns(Constant<1>());
      for (; j < task.values; j++) {
        const W v = widen(value[j]);
        W total = 0;
        for (int64_t i = 0; i < K; i++) {
          const int64_t place = i * shape.value + j;
          after[place] = key[i] * v + (fresh ? W(0) : forget * C[place]);
          total += query[i] * after[place];
        }
        output[j] = narrow<S>(W(factor * total));
      }
      C = after;
    }
    clear_rows<S>(a.output, row, head, end, shape.time, task.from, task.values);
    if (end == 0) write_matrix(C, shape.value, K, task.values, final.C + task.from, shape.value);
    if (task.from == 0) {
      memcpy(final.n, n, K * sizeof(W));
      *final.m = m;
    }
  });
}

template <class S, class W>
void forward(const StabilizedAttention& a, Share share) {
  if (a.shape.chunk) by_chunks<S, W>(a, share);
  else one_by_one<S, W>(a, share);
}

// ---- backward ----------------------------------------------------------------------------------
//
// Neither output nor m-free state depends on the stabilizer, so every gradient below is taken with
// m held constant; the final state's unit exp(m) alone sends one back through the maxima, which
// `through_maxima` follows. Held so, a log_input is a factor of its key and a log_forget one of
// whatever crosses its time.

template <class S, class W>
void backward(const StabilizedAttentionBackward& a, Share share) {
  const StabilizedShape& shape = a.shape;
  const StabilizedInputs& x = a.inputs;
  const int64_t K = shape.key, values = shape.value, chunk = shape.chunk;
  const int64_t chunks = (shape.time + chunk - 1) / chunk;
  const W scale = static_cast<W>(x.scale), eps = static_cast<W>(x.eps);
  const int64_t k_row = row_stride<W>(K), v_row = row_stride<W>(values);
  const int64_t l_row = row_stride<W>(chunk);
  const int64_t K_padded = padded<W>(K), V_padded = padded<W>(values);

  Scratch<W> scratch{a.scratch + share.thread * stabilized_backward_scratch(shape)};
  Gates<W> gates(scratch, chunk);
  W* const Q = scratch.matrix(chunk, K);
  W* const keys = scratch.matrix(chunk, K);
  W* const keys_across = scratch.matrix(K, chunk);
  W* const dQ = scratch.matrix(chunk, K);
  W* const dK = scratch.matrix(chunk, K);
  W* const V = scratch.matrix(chunk, values);
  W* const V_across = scratch.matrix(values, chunk);
  W* const U = scratch.matrix(chunk, values);  // gradients of the numerators
  W* const dV = scratch.matrix(chunk, values);
  W* const A = scratch.matrix(chunk, chunk);
  W* const decay = scratch.matrix(chunk, chunk);
  W* const dA = scratch.matrix(chunk, chunk);
  W* const C = scratch.matrix(K, values);
  W* const C_across = scratch.matrix(values, K);
  W* const dC = scratch.matrix(K, values);
  W* const dC_across = scratch.matrix(values, K);
  W* const n = scratch.vector(K);
  W* const dn = scratch.vector(K);
  W* const denominator = scratch.vector(chunk);
  W* const crossing = scratch.vector(chunk);  // what a log_forget receives
  W* const admitted = scratch.vector(chunk);  // what a log_input receives
  W* const columns = scratch.vector(chunk);
  W* const carried_in = scratch.vector(chunk);
  W* const carried_out = scratch.vector(chunk);

  for_tasks(shape, share, false, [&](const Task& task) {
    const int64_t row = task.row, head = task.head;
    const int64_t index = row * shape.heads + head;
    const int64_t end = length(x.mask, row, shape.time);
    const auto grad_final = state_at<const W>(a.grad_final, shape, index);
    const auto final = state_at<const W>(a.final, shape, index);
    read_matrix(grad_final.C, values, K, values, dC, v_row);
    read_matrix(grad_final.n, K, 1, K, dn, K_padded);
    // The gradient of m itself, less what follows from the unit of C and n. Later the state before
    // the first time adds as much again where nothing was forgotten: hence in double.
    double of_unit = 0;
    for (int64_t j = 0; j < K; j++)
      of_unit += wide_dot(grad_final.C + j * values, final.C + j * values, values);
    of_unit += wide_dot(grad_final.n, final.n, K);
    double through_maxima = *grad_final.m - of_unit;

    W m_before = 0;
    const auto run = [&](int64_t begin, int64_t stop, bool fresh) {
      const int64_t count = stop - begin, across = padded<W>(count);
      gates.read(x, row, head, begin, count, m_before, fresh);
      read_rows<S>(x.query, row, head, begin, count, 0, K, scale, Q, k_row);
      read_rows<S>(x.key, row, head, begin, count, 0, K, W(1), keys, k_row);
      read_rows<S>(x.value, row, head, begin, count, 0, values, W(1), V, v_row);
      read_rows<S>(a.grad_output, row, head, begin, count, 0, values, W(1), U, v_row);
      transpose(across, K_padded, keys, k_row, keys_across, l_row);
      transpose(across, V_padded, V, v_row, V_across, l_row);
      transpose(K_padded, V_padded, dC, v_row, dC_across, k_row);

      // The forward pass again, as far as the normalizers.
      product<Triangle::result>(across, across, K_padded, {Q, k_row, 1}, keys_across, l_row,
                                {A, l_row, nullptr, 0});
      for (int64_t t = 0; t < across; t++) {
        W *line = A + t * l_row, *decays = decay + t * l_row;
        if (t >= count) {
          fill(line, across);
          fill(decays, across);
          continue;
        }
        gates.advance(t);
        for (int64_t j = 0; j <= t; j++) {
          decays[j] = gates.weight[j];
          line[j] *= gates.weight[j];
        }
        fill(decays + t + 1, across - t - 1);
        fill(line + t + 1, across - t - 1);
        Vector<W> total{};
        for (int64_t j = 0; j <= t; j += width<W>) total += load(line + j);
        W normalizer = sum<W>(total);
        if (!fresh) normalizer += gates.carried[t] * dot(Q + t * k_row, n, K_padded);
        denominator[t] = normalizer;
      }

      // Through the division. `crossing` holds the gradients of the normalizers for a while.
      W* const dnormalizer = crossing;
      for (int64_t t = 0; t < count; t++) {
        const W low = gates.low[t], floor = gates.floor[t];
        const W size = (denominator[t] < 0 ? -denominator[t] : denominator[t]) * low;
        const W sign = (denominator[t] > 0) - (denominator[t] < 0);
        const W share = size > floor ? W(1) : size == floor ? W(0.5) : W(0);
        denominator[t] = maximum(size, floor) + eps * floor;
        dnormalizer[t] = -sign * share * low / denominator[t];
        const W by = low / denominator[t];
        W* line = U + t * v_row;
        for (int64_t j = 0; j < V_padded; j++) line[j] *= by;
      }
      product<Triangle::result>(across, across, V_padded, {U, v_row, 1}, V_across, l_row,
                                {dA, l_row, nullptr, 0});
      if (fresh) {
        for (int64_t t = 0; t < across; t++) fill(dQ + t * k_row, K_padded);
      } else {
        transpose(K_padded, V_padded, C, v_row, C_across, k_row);
        product<Triangle::none>(across, K_padded, V_padded, {U, v_row, 1}, C_across, k_row,
                                {dQ, k_row, nullptr, 0});
      }
      fill(columns, across);
      for (int64_t t = 0; t < count; t++) {
        W *line = dA + t * l_row, *weights = A + t * l_row, *decays = decay + t * l_row;
        W* query = Q + t * k_row;
        W* gradient = dQ + t * k_row;
        const W carried = fresh ? W(0) : gates.carried[t];
        fill(line + t + 1, across - t - 1);
        // What the numerator sends back, times the numerator: by that much the division's other
        // side moves.
        W moved = dot(line, weights, across) + carried * dot(query, gradient, K_padded);
        const W by = dnormalizer[t] *= moved;
        for (int64_t j = 0; j <= t; j++) {
          const W g = line[j] + by;
          line[j] = g * decays[j];
          decays[j] = g * weights[j];  // from here on: gradients of the logarithms of the decays
          columns[j] += decays[j];
        }
        if (fresh) {
          carried_in[t] = 0;
        } else {
          for (int64_t j = 0; j < K_padded; j++)
            gradient[j] = carried * (gradient[j] + by * n[j]);
          carried_in[t] = dot(query, gradient, K_padded);
        }
      }
      for (int64_t t = count; t < across; t++) fill(dA + t * l_row, across);
      product<Triangle::left>(across, K_padded, count, {dA, l_row, 1}, keys, k_row,
                              {dQ, k_row, &unit<W>, 0});

      // Keys and values: through the state after the run, and within it.
      product<Triangle::none>(across, K_padded, V_padded, {V, v_row, 1}, dC_across, k_row,
                              {dK, k_row, nullptr, 0});
      for (int64_t t = 0; t < count; t++) {
        W* gradient = dK + t * k_row;
        for (int64_t j = 0; j < K_padded; j++) gradient[j] = gates.weight[t] * (gradient[j] + dn[j]);
        carried_out[t] = dot(keys + t * k_row, gradient, K_padded);
      }
      product<Triangle::left_transposed>(across, K_padded, count, {dA, 1, l_row}, Q, k_row,
                                         {dK, k_row, &unit<W>, 0});
      product<Triangle::none>(across, V_padded, K_padded, {keys, k_row, 1}, dC, v_row,
                              {dV, v_row, nullptr, 0});
      fill(gates.weight + count, across - count);
      product<Triangle::left_transposed>(across, V_padded, count, {A, 1, l_row}, U, v_row,
                                         {dV, v_row, gates.weight, 1});

      write_rows<S>(dQ, k_row, K, a.grad_query, row, head, begin, count, scale);
      write_rows<S>(dK, k_row, K, a.grad_key, row, head, begin, count, W(1));
      write_rows<S>(dV, v_row, values, a.grad_value, row, head, begin, count, W(1));

      // What crosses the whole run, then the gradient of the state before it.
      W whole = 0;
      const W left = gates.carried[count - 1];
      if (!fresh) {
        for (int64_t j = 0; j < K_padded; j++)
          whole += dot(C + j * v_row, dC + j * v_row, V_padded);
        whole = left * (whole + dot(n, dn, K_padded));
      }
      for (int64_t j = 0; j < K_padded; j++) dn[j] *= left;
      for (int64_t t = 0; t < count; t++) {
        W* query = Q + t * k_row;
        const W carried = fresh ? W(0) : gates.carried[t];
        for (int64_t j = 0; j < K_padded; j++) {
          query[j] *= carried;
          dn[j] += dnormalizer[t] * query[j];
        }
      }
      if (fresh) {
        for (int64_t j = 0; j < K_padded; j++) fill(dC + j * v_row, V_padded);
        fill(dn, K_padded);
      } else {
        product<Triangle::none>(K_padded, V_padded, count, {Q, 1, k_row}, U, v_row,
                                {dC, v_row, &left, 0});
      }

      // Gates. A log_forget receives of every pair of times it lies between, added up without
      // differences: these would cancel where little is left of the past.
      for (int64_t t = 0; t < count; t++) admitted[t] = carried_out[t] + columns[t];
      W after = 0;
      fill(columns, across);
      for (int64_t t = count - 1; t >= 0; t--) {
        const W* line = decay + t * l_row;
        for (int64_t j = 0; j < t; j++) columns[j] += line[j];
        columns[t] = 0;
        Vector<W> between{};
        for (int64_t j = 0; j < t; j += width<W>) between += load(columns + j);
        after += carried_in[t];
        crossing[t] = whole + after + sum<W>(between);
      }
      W before = 0;
      for (int64_t t = 0; t < count; t++) {
        crossing[t] += before;
        before += carried_out[t];
      }
      if (fresh) crossing[0] = 0;
      for (int64_t t = count - 1; t >= 0; t--) {
        const W past = t ? gates.m[t - 1] : fresh ? W(0) : m_before;
        const W kept = gates.log_forget[t] + past;
        const W share = kept > gates.log_input[t] ? W(1) : kept == gates.log_input[t] ? W(0.5) : W(0);
        const double onward = share * through_maxima;
        *at<W>(a.grad_log_input, row, head, begin + t) =
            static_cast<W>(admitted[t] + (through_maxima - onward));
        *at<W>(a.grad_log_forget, row, head, begin + t) = static_cast<W>(crossing[t] + onward);
        through_maxima = onward;
      }
      if (fresh) through_maxima = 0;
    };

    clear_rows<S>(a.grad_query, row, head, end, shape.time, 0, K);
    clear_rows<S>(a.grad_key, row, head, end, shape.time, 0, K);
    clear_rows<S>(a.grad_value, row, head, end, shape.time, 0, values);
    clear_rows<W>(a.grad_log_input, row, head, end, shape.time, 0, 1);
    clear_rows<W>(a.grad_log_forget, row, head, end, shape.time, 0, 1);
    for (int64_t i = (end + chunk - 1) / chunk - 1; i >= 0; i--) {
      const auto border = border_at<const W>(a.borders, shape, index * chunks + i);
      const int64_t begin = i * chunk, stop = begin + chunk < end ? begin + chunk : end;
      if (!resets(x.mask, row, begin)) {
        read_matrix(border.C, values, K, values, C, v_row);
        read_matrix(border.n, K, 1, K, n, K_padded);
      }
      m_before = *border.m;
      for_runs_down(x.mask, row, begin, stop, run);
    }
    const auto grad_initial = state_at<W>(a.grad_initial, shape, index);
    write_matrix(dC, v_row, K, values, grad_initial.C, values);
    memcpy(grad_initial.n, dn, K * sizeof(W));
    if (end == 0) {
      *grad_initial.m = *grad_final.m;
      return;
    }
    if (!resets(x.mask, row, 0)) {
      const auto initial = state_at<const W>(x.initial, shape, index);
      for (int64_t j = 0; j < K; j++)
        through_maxima += wide_dot(initial.C + j * values, dC + j * v_row, values);
      through_maxima += wide_dot(initial.n, dn, K);
    }
    *grad_initial.m = static_cast<W>(through_maxima);
  });
}

}  // namespace

void stabilized_attention(const StabilizedAttention& a, Share share) {
  switch (a.shape.stored) {
    case Stored::float32: return forward<float, float>(a, share);
    case Stored::float64: return forward<double, double>(a, share);
    case Stored::bfloat16: return forward<bfloat16, float>(a, share);
  }
}

void stabilized_attention_backward(const StabilizedAttentionBackward& a, Share share) {
  switch (a.shape.stored) {
    case Stored::float32: return backward<float, float>(a, share);
    case Stored::float64: return backward<double, double>(a, share);
    case Stored::bfloat16: return backward<bfloat16, float>(a, share);
  }
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
