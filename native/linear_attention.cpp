// A head's state stands in tiles of registers while a block of tokens passes by. The tokens' numbers
// are first copied to memory that stays in the cache, widened, in rows padded to whole vectors.
#include "linear_attention.h"

#include "linear_chunks.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

#define UNROLL _Pragma("GCC unroll 16")

// A block of tokens: rows of padded_key or padded_value numbers, one a token.
template <class W>
struct Block {
  int64_t tokens, keys, values;  // widths of the rows
  W *query, *key, *decay, *value, *output;
  W *grad_query, *grad_key, *grad_decay, *grad_value, *history;
  bool* fresh;  // the state counts as zero before this token
};

// Keys and vectors of values in a tile of the forward pass.
constexpr int forward_keys = vector_registers == 32 ? 8 : 4;
constexpr int forward_values = 2;

// y_t += S_t^T q_t for one tile of the state, whose vectors run along the values.
template <class W, Decay kind, bool before, int columns>
void tile_forward(W* state, const Block<W> x, int64_t at_key, int64_t at_value) {
  constexpr int n = width<W>;
  Vector<W> s[forward_keys][columns];
  W* place = state + at_key * x.values + at_value;
  UNROLL for (int r = 0; r < forward_keys; r++)
    UNROLL for (int c = 0; c < columns; c++) s[r][c] = load(place + r * x.values + c * n);
  const W *query = x.query + at_key, *key = x.key + at_key, *value = x.value + at_value;
  const W* decay = x.decay;
  if (kind == Decay::key) decay += at_key;
  if (kind == Decay::value) decay += at_key * x.values + at_value;
  W* output = x.output + at_value;
  for (int64_t t = 0; t < x.tokens; t++) {
    if (x.fresh[t]) {
      UNROLL for (int r = 0; r < forward_keys; r++)
        UNROLL for (int c = 0; c < columns; c++) s[r][c] = Vector<W>{};
    }
    Vector<W> v[columns], y[columns];
    UNROLL for (int c = 0; c < columns; c++) {
      v[c] = load(value + c * n);
      y[c] = load(output + c * n);
    }
    UNROLL for (int r = 0; r < forward_keys; r++)
      UNROLL for (int c = 0; c < columns; c++) {
        if (before) y[c] += query[r] * s[r][c];
        if (kind == Decay::none) s[r][c] += key[r] * v[c];
        if (kind == Decay::head) s[r][c] = *decay * s[r][c] + key[r] * v[c];
        if (kind == Decay::key) s[r][c] = decay[r] * s[r][c] + key[r] * v[c];
        if (kind == Decay::value)
          s[r][c] = load(decay + r * x.values + c * n) * s[r][c] + key[r] * v[c];
        if (!before) y[c] += query[r] * s[r][c];
      }
    UNROLL for (int c = 0; c < columns; c++) store(output + c * n, y[c]);
    query += x.keys, key += x.keys, value += x.values, output += x.values;
    if (kind == Decay::head) decay++;
    if (kind == Decay::key) decay += x.keys;
    if (kind == Decay::value) decay += x.keys * x.values;
  }
  UNROLL for (int r = 0; r < forward_keys; r++)
    UNROLL for (int c = 0; c < columns; c++) store(place + r * x.values + c * n, s[r][c]);
}

template <class W, Decay kind, bool before>
void tiles_forward(W* state, const Block<W>& x, int64_t keys) {
  constexpr int64_t step = forward_values * width<W>;
  for (int64_t at_value = 0; at_value < x.values; at_value += step)
    for (int64_t at_key = 0; at_key < keys; at_key += forward_keys)
      if (at_value + step <= x.values)
        tile_forward<W, kind, before, forward_values>(state, x, at_key, at_value);
      else
        tile_forward<W, kind, before, 1>(state, x, at_key, at_value);
}

// Values and vectors of keys in a tile of the backward pass.
constexpr int backward_values = 4;
constexpr int backward_keys = vector_registers == 32 ? 2 : 1;

#ifdef SHUFFLES
template <int apart, class W>
inline void transpose_rows(Vector<W> (&rows)[width<W>]) {
  if constexpr (apart < width<W>) {
    UNROLL for (int i = 0; i < width<W>; i++)
      if (i / apart % 2 == 0) interleave<apart, W>(rows[i], rows[i + apart]);
    transpose_rows<2 * apart, W>(rows);
  }
}
#endif

// Adds the sums of four vectors to four numbers.
template <class W>
inline void add_sums(W* to, const Vector<W> (&x)[4]) {
#ifdef SHUFFLES
  constexpr int n = width<W>;
  const Vector<W> left = fold_pair<1, W>(x[0], x[1]), right = fold_pair<1, W>(x[2], x[3]);
  if constexpr (n == 2) {
    for (int i = 0; i < 2; i++) to[i] += left[i], to[i + 2] += right[i];
  } else {
    Vector<W> sums = fold_pair<2, W>(left, right);
    if constexpr (n >= 8) sums = fold_pair<4, W>(sums, sums);
    if constexpr (n >= 16) sums = fold_pair<8, W>(sums, sums);
    for (int i = 0; i < 4; i++) to[i] += sums[i];
  }
#else
  for (int r = 0; r < 4; r++) {
    W numbers[width<W>], sum = 0;
    store(numbers, x[r]);
    for (int i = 0; i < width<W>; i++) sum += numbers[i];
    to[r] += sum;
  }
#endif
}

// Writes the transpose of `from`, of m rows of n numbers, with `row` from one row of it to the next.
template <class W>
void transpose_into(W* to, int64_t to_row, const W* from, int64_t from_row, int64_t m, int64_t n) {
  int64_t whole_m = 0, whole_n = 0;
#ifdef SHUFFLES
  constexpr int64_t w = width<W>;
  whole_m = m / w * w, whole_n = n / w * w;
  for (int64_t i = 0; i < whole_m; i += w)
    for (int64_t j = 0; j < whole_n; j += w) {
      Vector<W> rows[w];
      UNROLL for (int r = 0; r < w; r++) rows[r] = load(from + (i + r) * from_row + j);
      transpose_rows<1, W>(rows);
      UNROLL for (int r = 0; r < w; r++) store(to + (j + r) * to_row + i, rows[r]);
    }
#endif
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = i < whole_m ? whole_n : 0; j < n; j++)
      to[j * to_row + i] = from[i * from_row + j];
}

// The gradients of one tile, whose vectors run along the keys: the states before every token go to
// `history` on the way forth, and are met again on the way back.
template <class W, Decay kind, bool before, int columns>
void tile_backward(const W* state, W* grad, const Block<W> x, int64_t at_value, int64_t at_key) {
  constexpr int n = width<W>, rows = backward_values;
  constexpr int64_t tile_size = rows * columns * n;
  const int64_t decays = kind == Decay::head ? 1 : kind == Decay::key ? x.keys : x.values * x.keys;
  const int64_t place = at_value * x.keys + at_key;
  const W* decay = x.decay;
  W* grad_decay = x.grad_decay + at_key;
  if (kind == Decay::key) decay += at_key;
  if (kind == Decay::value) decay += place, grad_decay = x.grad_decay + place;
  const auto decay_of = [&](int r, int c) {
    if (kind == Decay::head) return all<Vector<W>>(*decay);
    if (kind == Decay::key) return load(decay + c * n);
    return load(decay + r * x.keys + c * n);
  };

  Vector<W> s[rows][columns];
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int c = 0; c < columns; c++) s[r][c] = load(state + place + r * x.keys + c * n);
  for (int64_t t = 0; t < x.tokens; t++) {
    if (x.fresh[t]) {
      UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int c = 0; c < columns; c++) s[r][c] = Vector<W>{};
    }
    const W *key = x.key + t * x.keys + at_key, *value = x.value + t * x.values + at_value;
    const W* grad_output = x.output + t * x.values + at_value;
    W* grad_query = x.grad_query + t * x.keys + at_key;
    W* history = x.history + t * tile_size;
    UNROLL for (int c = 0; c < columns; c++) {
      const Vector<W> k = load(key + c * n);
      Vector<W> dq = load(grad_query + c * n);
      UNROLL for (int r = 0; r < rows; r++) {
        if (kind != Decay::none) store(history + (r * columns + c) * n, s[r][c]);
        if (before) dq += s[r][c] * grad_output[r];
        if (kind == Decay::none) s[r][c] += k * value[r];
        else s[r][c] = decay_of(r, c) * s[r][c] + k * value[r];
        if (!before) dq += s[r][c] * grad_output[r];
      }
      store(grad_query + c * n, dq);
    }
    if (kind != Decay::none) decay += decays;
  }

  Vector<W> g[rows][columns];
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int c = 0; c < columns; c++) g[r][c] = load(grad + place + r * x.keys + c * n);
  for (int64_t t = x.tokens - 1; t >= 0; t--) {
    if (kind != Decay::none) decay -= decays;
    const int64_t row = t * x.keys + at_key;
    const W *query = x.query + row, *key = x.key + row;
    const W *value = x.value + t * x.values + at_value;
    const W* grad_output = x.output + t * x.values + at_value;
    const W* history = x.history + t * tile_size;
    W *grad_key = x.grad_key + row, *grad_value = x.grad_value + t * x.values + at_value;
    W* gd = grad_decay + t * (kind == Decay::value ? decays : x.keys);
    Vector<W> dv[rows];
    UNROLL for (int r = 0; r < rows; r++) dv[r] = Vector<W>{};
    UNROLL for (int c = 0; c < columns; c++) {
      const Vector<W> q = load(query + c * n), k = load(key + c * n);
      Vector<W> dk = load(grad_key + c * n), dd{};
      if (kind == Decay::head || kind == Decay::key) dd = load(gd + c * n);
      UNROLL for (int r = 0; r < rows; r++) {
        if (!before) g[r][c] += q * grad_output[r];
        dk += g[r][c] * value[r];
        dv[r] += g[r][c] * k;
        if (kind == Decay::head || kind == Decay::key)
          dd += load(history + (r * columns + c) * n) * g[r][c];
        if (kind == Decay::value)
          store(gd + r * x.keys + c * n, load(history + (r * columns + c) * n) * g[r][c]);
        if (kind != Decay::none) g[r][c] *= decay_of(r, c);
        if (before) g[r][c] += q * grad_output[r];
      }
      store(grad_key + c * n, dk);
      if (kind == Decay::head || kind == Decay::key) store(gd + c * n, dd);
    }
    if (x.fresh[t]) {
      UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int c = 0; c < columns; c++) g[r][c] = Vector<W>{};
    }
    add_sums<W>(grad_value, dv);
  }
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int c = 0; c < columns; c++) store(grad + place + r * x.keys + c * n, g[r][c]);
}

template <class W, Decay kind, bool before>
void tiles_backward(const W* state, W* grad, const Block<W>& x, int64_t values) {
  constexpr int64_t step = backward_keys * width<W>;
  for (int64_t at_key = 0; at_key < x.keys; at_key += step)
    for (int64_t at_value = 0; at_value < values; at_value += backward_values)
      if (at_key + step <= x.keys)
        tile_backward<W, kind, before, backward_keys>(state, grad, x, at_value, at_key);
      else
        tile_backward<W, kind, before, 1>(state, grad, x, at_value, at_key);
}

// Hands out pieces of a thread's memory, each beginning with a line of the cache.
template <class W>
struct Memory {
  char* at;
  W* take(int64_t numbers) {
    W* piece = reinterpret_cast<W*>(at);
    at += padded(numbers) * static_cast<int64_t>(sizeof(W));
    return piece;
  }
};

template <class S, class Array>
inline S* row_of(const Array& x, int64_t row, int64_t t, int64_t head) {
  return static_cast<S*>(x.data) + row * x.stride[0] + t * x.stride[1] + head * x.stride[2];
}

// Where a head is read: its row of a batch, its first token and its place among the heads.
struct Place {
  int64_t row, t, head;
};

template <class S, class W>
void copy_rows(W* to, const Strided<4>& x, Place at, int64_t tokens, int64_t from, int64_t dim,
               W scale) {
  const int64_t whole = padded(dim);
  for (int64_t t = 0; t < tokens; t++, to += whole) {
    const S* source = row_of<const S>(x, at.row, at.t + t, at.head) + from;
    for (int64_t i = 0; i < dim; i++) to[i] = widen(source[i]) * scale;
    for (int64_t i = dim; i < whole; i++) to[i] = 0;
  }
}

template <class S, class W>
void write_rows(const MutableStrided<4>& x, Place at, int64_t tokens, int64_t from, int64_t dim,
                const W* rows, W scale) {
  for (int64_t t = 0; t < tokens; t++, rows += padded(dim)) {
    S* to = row_of<S>(x, at.row, at.t + t, at.head) + from;
    for (int64_t i = 0; i < dim; i++) to[i] = narrow<S>(rows[i] * scale);
  }
}

template <class S>
void clear_rows(const MutableStrided<4>& x, int64_t row, int64_t begin, int64_t end, int64_t head,
                int64_t from, int64_t dim) {
  for (int64_t t = begin; t < end; t++)
    memset(row_of<S>(x, row, t, head) + from, 0, dim * sizeof(S));
}

// exp of the log decays of a block; `across` swaps keys and values, when they are one for each.
template <class W>
void copy_decays(W* to, const Strided<5>& x, Decay kind, Place at, int64_t tokens, int64_t keys,
                 int64_t from, int64_t values, bool across) {
  const int64_t key_rows = padded(keys), value_rows = padded(values);
  for (int64_t t = 0; t < tokens; t++) {
    const W* source = row_of<const W>(x, at.row, at.t + t, at.head);
    if (kind == Decay::head) {
      to[t] = exp(*source);
    } else if (kind == Decay::key) {
      W* row = to + t * key_rows;
      int64_t i = 0;
      for (; i + width<W> <= keys; i += width<W>) store(row + i, exp(load(source + i)));
      if (i < keys) store(row + i, exp(load(source + i, keys - i)), keys - i);
      for (i = keys; i < key_rows; i++) row[i] = 0;
    } else {
      W* tile = to + t * key_rows * value_rows;
      memset(tile, 0, key_rows * value_rows * sizeof(W));
      for (int64_t i = 0; i < keys; i++)
        for (int64_t j = 0; j < values; j++)
          tile[across ? j * key_rows + i : i * value_rows + j] =
              exp(source[i * x.stride[3] + from + j]);
    }
  }
}

void copy_marks(bool* to, const Mask& mask, int64_t row, int64_t t, int64_t tokens) {
  for (int64_t i = 0; i < tokens; i++) to[i] = resets(mask, row, t + i);
}

// sum_k query_k bonus_k key_k
template <class W>
W bonus_sum(const W* query, const W* bonus, const W* key, int64_t keys) {
  W sum = 0;
  for (int64_t i = 0; i < keys; i++) sum += query[i] * bonus[i] * key[i];
  return sum;
}

template <class S, class W, Decay kind, bool before>
void forward(const LinearAttention& a, int64_t row, int64_t head, int64_t from, int64_t values,
             char* workspace) {
  const auto& shape = a.shape;
  const int64_t keys = shape.key, key_rows = padded(keys), value_rows = padded(values);
  const int64_t block = shape.block, group = head / (shape.heads / shape.groups);
  const int64_t blocks = (shape.time + block - 1) / block;
  const int64_t place = (row * shape.heads + head) * keys * shape.value + from;
  Memory<W> memory{workspace};
  W* state = memory.take(key_rows * value_rows);
  Block<W> x{};
  x.keys = key_rows, x.values = value_rows;
  x.query = memory.take(block * key_rows), x.key = memory.take(block * key_rows);
  x.value = memory.take(block * value_rows), x.output = memory.take(block * value_rows);
  x.decay = memory.take(block * (kind == Decay::value ? key_rows * value_rows : key_rows));
  bool fresh[largest_block];
  x.fresh = fresh;
  const W* bonus = before ? static_cast<const W*>(a.bonus) + head * keys : nullptr;

  const W* initial = static_cast<const W*>(a.initial) + place;
  memset(state, 0, key_rows * value_rows * sizeof(W));
  for (int64_t i = 0; i < keys; i++)
    memcpy(state + i * value_rows, initial + i * shape.value, values * sizeof(W));
  const int64_t end = length(a.mask, row, shape.time);
  const auto keep = [&](W* to) {
    for (int64_t i = 0; i < keys; i++)
      memcpy(to + i * shape.value, state + i * value_rows, values * sizeof(W));
  };
  const auto kept = [&](int64_t t) {
    const int64_t which = (row * shape.heads + head) * blocks + t / block;
    return static_cast<W*>(a.states) + which * keys * shape.value + from;
  };
  for (int64_t t = 0; t < end; t += block) {
    if (a.states) keep(kept(t));
    x.tokens = t + block < end ? block : end - t;
    const Place here{row, t, head}, shared{row, t, group};
    copy_rows<S>(x.query, a.query, shared, x.tokens, 0, keys, static_cast<W>(shape.scale));
    copy_rows<S>(x.key, a.key, shared, x.tokens, 0, keys, W(1));
    copy_rows<S>(x.value, a.value, here, x.tokens, from, values, W(1));
    if (kind != Decay::none)
      copy_decays(x.decay, a.log_decay, kind, here, x.tokens, keys, from, values, false);
    copy_marks(fresh, a.mask, row, t, x.tokens);
    memset(x.output, 0, x.tokens * value_rows * sizeof(W));
    tiles_forward<W, kind, before>(state, x, keys);
    if (before)
      for (int64_t i = 0; i < x.tokens; i++) {
        const W sum = bonus_sum(x.query + i * key_rows, bonus, x.key + i * key_rows, keys);
        for (int64_t j = 0; j < values; j++)
          x.output[i * value_rows + j] += sum * x.value[i * value_rows + j];
      }
    write_rows<S>(a.output, here, x.tokens, from, values, x.output, W(1));
  }
  keep(static_cast<W*>(a.final) + place);
  // Nobody reads these; but what an operator returns is the same when it is called again.
  for (int64_t t = (end + block - 1) / block * block; a.states && t < shape.time; t += block)
    keep(kept(t));
  clear_rows<S>(a.output, row, end, shape.time, head, from, values);
}

template <class S, class W, Decay kind, bool before>
void backward(const LinearAttentionBackward& a, int64_t row, int64_t head, char* workspace) {
  const auto& shape = a.shape;
  const int64_t keys = shape.key, values = shape.value;
  const int64_t key_rows = padded(keys), value_rows = padded(values);
  const int64_t block = shape.block, group = head / (shape.heads / shape.groups);
  const int64_t blocks = (shape.time + block - 1) / block;
  const int64_t which = row * shape.heads + head, size = keys * values;
  Memory<W> memory{workspace};
  W* state = memory.take(key_rows * value_rows);
  W* grad = memory.take(key_rows * value_rows);
  Block<W> x{};
  x.keys = key_rows, x.values = value_rows;
  const int64_t decays = kind == Decay::value ? key_rows * value_rows : key_rows;
  x.query = memory.take(block * key_rows), x.key = memory.take(block * key_rows);
  x.value = memory.take(block * value_rows), x.output = memory.take(block * value_rows);
  x.decay = memory.take(block * decays), x.grad_decay = memory.take(block * decays);
  x.grad_query = memory.take(block * key_rows), x.grad_key = memory.take(block * key_rows);
  x.grad_value = memory.take(block * value_rows);
  x.history = memory.take(block * backward_values * backward_keys * width<W>);
  bool fresh[largest_block];
  x.fresh = fresh;
  const W* bonus = before ? static_cast<const W*>(a.bonus) + head * keys : nullptr;
  W* grad_bonus = before ? static_cast<W*>(a.grad_bonus) + which * keys : nullptr;
  if (before) memset(grad_bonus, 0, keys * sizeof(W));

  const int64_t end = length(a.mask, row, shape.time);
  clear_rows<S>(a.grad_query, row, end, shape.time, head, 0, keys);
  clear_rows<S>(a.grad_key, row, end, shape.time, head, 0, keys);
  clear_rows<S>(a.grad_value, row, end, shape.time, head, 0, values);
  const int64_t per_token = kind == Decay::head ? 1 : kind == Decay::key ? keys : size;
  const auto grad_log_decay = [&](int64_t t) {
    return static_cast<W*>(a.grad_log_decay) +
           ((row * shape.time + t) * shape.heads + head) * per_token;
  };
  if (kind != Decay::none)
    for (int64_t t = end; t < shape.time; t++)
      memset(grad_log_decay(t), 0, per_token * sizeof(W));

  const auto across = [&](W* to, const W* from) {
    memset(to, 0, key_rows * value_rows * sizeof(W));
    transpose_into(to, key_rows, from, values, keys, values);
  };
  across(grad, static_cast<const W*>(a.grad_final) + which * size);
  for (int64_t t = (end + block - 1) / block * block - block; t >= 0; t -= block) {
    across(state, static_cast<const W*>(a.states) + (which * blocks + t / block) * size);
    x.tokens = t + block < end ? block : end - t;
    const Place here{row, t, head}, shared{row, t, group};
    copy_rows<S>(x.query, a.query, shared, x.tokens, 0, keys, static_cast<W>(shape.scale));
    copy_rows<S>(x.key, a.key, shared, x.tokens, 0, keys, W(1));
    copy_rows<S>(x.value, a.value, here, x.tokens, 0, values, W(1));
    copy_rows<S>(x.output, a.grad_output, here, x.tokens, 0, values, W(1));
    if (kind != Decay::none)
      copy_decays(x.decay, a.log_decay, kind, here, x.tokens, keys, 0, values, true);
    copy_marks(fresh, a.mask, row, t, x.tokens);
    memset(x.grad_query, 0, x.tokens * key_rows * sizeof(W));
    memset(x.grad_key, 0, x.tokens * key_rows * sizeof(W));
    memset(x.grad_value, 0, x.tokens * value_rows * sizeof(W));
    if (kind == Decay::head || kind == Decay::key)
      memset(x.grad_decay, 0, x.tokens * key_rows * sizeof(W));
    tiles_backward<W, kind, before>(state, grad, x, values);

    if (before)
      for (int64_t i = 0; i < x.tokens; i++) {
        const W *q = x.query + i * key_rows, *k = x.key + i * key_rows;
        const W *v = x.value + i * value_rows, *dy = x.output + i * value_rows;
        W *dq = x.grad_query + i * key_rows, *dk = x.grad_key + i * key_rows;
        const W sum = bonus_sum(q, bonus, k, keys);
        W of_sum = 0;
        for (int64_t j = 0; j < values; j++) of_sum += dy[j] * v[j];
        for (int64_t j = 0; j < values; j++) x.grad_value[i * value_rows + j] += sum * dy[j];
        for (int64_t j = 0; j < keys; j++) {
          dq[j] += of_sum * bonus[j] * k[j];
          dk[j] += of_sum * bonus[j] * q[j];
          grad_bonus[j] += of_sum * q[j] * k[j];
        }
      }
    write_rows<S>(a.grad_query, here, x.tokens, 0, keys, x.grad_query,
                  static_cast<W>(shape.scale));
    write_rows<S>(a.grad_key, here, x.tokens, 0, keys, x.grad_key, W(1));
    write_rows<S>(a.grad_value, here, x.tokens, 0, values, x.grad_value, W(1));
    for (int64_t i = 0; kind != Decay::none && i < x.tokens; i++) {
      W* to = grad_log_decay(t + i);
      if (kind == Decay::head) {
        W sum = 0;
        for (int64_t j = 0; j < keys; j++) sum += x.grad_decay[i * key_rows + j];
        *to = sum * x.decay[i];
      } else if (kind == Decay::key) {
        for (int64_t j = 0; j < keys; j++)
          to[j] = x.grad_decay[i * key_rows + j] * x.decay[i * key_rows + j];
      } else {
        const W *gd = x.grad_decay + i * decays, *d = x.decay + i * decays;
        for (int64_t k = 0; k < keys; k++)
          for (int64_t v = 0; v < values; v++)
            to[k * values + v] = gd[v * key_rows + k] * d[v * key_rows + k];
      }
    }
  }
  W* grad_initial = static_cast<W*>(a.grad_initial) + which * size;
  transpose_into(grad_initial, values, grad, key_rows, values, keys);
}

// What a kernel is compiled for.
template <Decay decay_, bool before_>
struct Form {
  static constexpr Decay decay = decay_;
  static constexpr bool before = before_;
};

template <class Visit>
void for_form(Decay decay, bool bonus, Visit visit) {
  switch (decay) {
    case Decay::none:
      return bonus ? visit(Form<Decay::none, true>()) : visit(Form<Decay::none, false>());
    case Decay::head:
      return bonus ? visit(Form<Decay::head, true>()) : visit(Form<Decay::head, false>());
    case Decay::key:
      return bonus ? visit(Form<Decay::key, true>()) : visit(Form<Decay::key, false>());
    case Decay::value:
      return bonus ? visit(Form<Decay::value, true>()) : visit(Form<Decay::value, false>());
  }
}

template <class S, class W>
void forward(const LinearAttention& a, Share share) {
  // Where there are fewer heads than threads, the columns of a state are divided too: they know
  // nothing of each other.
  const int64_t units = a.shape.batch * a.shape.heads;
  const int64_t tile_columns = forward_values * width<W>;
  static_assert(forward_values * width<W> == panel<W>, "a panel is as wide as a tile");
  const int64_t tiles = (a.shape.value + tile_columns - 1) / tile_columns;
  int64_t pieces = units && units < share.threads ? (share.threads + units - 1) / units : 1;
  if (pieces > tiles) pieces = tiles;
  const int64_t tasks = units * pieces;
  char* workspace = a.workspace + share.thread * a.workspace_size;
  for_form(a.shape.decay, a.bonus, [&](auto form) {
    for (int64_t task = share.begin(tasks); task < share.end(tasks); task++) {
      using Form = decltype(form);
      const int64_t unit = task / pieces, piece = task % pieces;
      const int64_t first = tiles * piece / pieces, last = tiles * (piece + 1) / pieces;
      if constexpr (Form::decay != Decay::value)
        if (a.shape.chunkwise) {
          forward_by_chunks<S, W, Form::decay == Decay::key, Form::before>(a, unit, first, last,
                                                                          workspace);
          continue;
        }
      const int64_t from = first * tile_columns;
      int64_t to = last * tile_columns;
      if (to > a.shape.value) to = a.shape.value;
      forward<S, W, Form::decay, Form::before>(a, unit / a.shape.heads, unit % a.shape.heads, from,
                                               to - from, workspace);
    }
  });
}

template <class S, class W>
void backward(const LinearAttentionBackward& a, Share share) {
  const int64_t units = a.shape.batch * a.shape.heads;
  char* workspace = a.workspace + share.thread * a.workspace_size;
  for_form(a.shape.decay, a.bonus, [&](auto form) {
    using Form = decltype(form);
    for (int64_t unit = share.begin(units); unit < share.end(units); unit++) {
      if constexpr (Form::decay != Decay::value)
        if (a.shape.chunkwise) {
          backward_by_chunks<S, W, Form::decay == Decay::key, Form::before>(a, unit, workspace);
          continue;
        }
      backward<S, W, Form::decay, Form::before>(a, unit / a.shape.heads, unit % a.shape.heads,
                                                workspace);
    }
  });
}

// One token, some columns of one head: the state is read once and written once.
template <class S, class W, int64_t columns, class Count>
void step_columns(const LinearAttentionStep& a, int64_t row, int64_t head, const W* weights,
                  int64_t from, Count last) {
  const int64_t keys = a.shape.key, values = a.shape.value;
  constexpr int64_t n = width<W>;
  const W *query = weights, *key = weights + keys, *decay = weights + 2 * keys;
  const int64_t unit = row * a.shape.heads + head, place = unit * keys * values + from;
  const W* state = static_cast<const W*>(a.state) + place;
  W* next = static_cast<W*>(a.next) + place;
  const S* value = static_cast<const S*>(a.value.data) + row * a.value.stride[0] +
                   head * a.value.stride[1] + from;
  const W* by_value = static_cast<const W*>(a.log_decay.data) + row * a.log_decay.stride[0] +
                      head * a.log_decay.stride[1] + from;
  W wide_value[columns * n] = {};
  for (int64_t i = 0; i < (columns - 1) * n + last; i++) wide_value[i] = widen(value[i]);
  Vector<W> v[columns], y[columns];
  UNROLL for (int c = 0; c < columns; c++) v[c] = load(wide_value + c * n), y[c] = Vector<W>{};
  const bool each = a.shape.decay == Decay::value, before = a.bonus;
  for (int64_t k = 0; k < keys; k++) {
    UNROLL for (int c = 0; c < columns; c++) {
      const auto count = [&](auto visit) {
        if (c == columns - 1) visit(last);
        else visit(Constant<n>());
      };
      count([&](auto count) {
        const Vector<W> s = load(state + c * n, count), written = key[k] * v[c];
        Vector<W> d = all<Vector<W>>(decay[k]);
        if (each) d = exp(load(by_value + k * a.log_decay.stride[2] + c * n, count));
        const Vector<W> after = d * s + written;
        // With a bonus the weights end with it.
        y[c] += query[k] * (before ? s + weights[3 * keys + k] * written : after);
        store(next + c * n, after, count);
      });
    }
    state += values, next += values;
  }
  W sums[columns * n];
  UNROLL for (int c = 0; c < columns; c++) store(sums + c * n, y[c]);
  S* output = static_cast<S*>(a.output) + unit * values + from;
  for (int64_t i = 0; i < (columns - 1) * n + last; i++) output[i] = narrow<S>(sums[i]);
}

template <class S, class W>
void step(const LinearAttentionStep& a, Share share) {
  const auto& shape = a.shape;
  constexpr int64_t n = width<W>, wide_step = 4 * n;
  W* weights = reinterpret_cast<W*>(a.workspace + share.thread * a.workspace_size);
  const int64_t keys = shape.key, units = shape.batch * shape.heads;
  for (int64_t unit = share.begin(units); unit < share.end(units); unit++) {
    const int64_t row = unit / shape.heads, head = unit % shape.heads;
    const int64_t group = head / (shape.heads / shape.groups);
    const auto at = [&](const Strided<3>& x) {
      return static_cast<const S*>(x.data) + row * x.stride[0] + group * x.stride[1];
    };
    const S *query = at(a.query), *key = at(a.key);
    const W* log_decay = static_cast<const W*>(a.log_decay.data) + row * a.log_decay.stride[0] +
                         head * a.log_decay.stride[1];
    for (int64_t k = 0; k < keys; k++) weights[k] = widen(query[k]) * static_cast<W>(shape.scale);
    for (int64_t k = 0; k < keys; k++) weights[keys + k] = widen(key[k]);
    W* decay = weights + 2 * keys;
    if (shape.decay == Decay::key)
      for (int64_t k = 0; k < keys; k++) decay[k] = exp(log_decay[k]);
    else
      for (int64_t k = 0; k < keys; k++) decay[k] = 1;
    if (shape.decay == Decay::head) {
      const W one = exp(*log_decay);
      for (int64_t k = 0; k < keys; k++) decay[k] = one;
    }
    if (a.bonus)
      memcpy(weights + 3 * keys, static_cast<const W*>(a.bonus) + head * keys, keys * sizeof(W));
    int64_t from = 0;
    const Constant<n> whole;
    for (; from + wide_step <= shape.value; from += wide_step)
      step_columns<S, W, 4>(a, row, head, weights, from, whole);
    for (; from + n <= shape.value; from += n)
      step_columns<S, W, 1>(a, row, head, weights, from, whole);
    if (from < shape.value)
      step_columns<S, W, 1>(a, row, head, weights, from, shape.value - from);
  }
}

}  // namespace

void linear_attention_step(const LinearAttentionStep& a, Share share) {
  switch (a.shape.stored) {
    case Stored::float32: return step<float, float>(a, share);
    case Stored::float64: return step<double, double>(a, share);
    case Stored::bfloat16: return step<bfloat16, float>(a, share);
  }
}

void linear_attention(const LinearAttention& a, Share share) {
  switch (a.shape.stored) {
    case Stored::float32: return forward<float, float>(a, share);
    case Stored::float64: return forward<double, double>(a, share);
    case Stored::bfloat16: return forward<bfloat16, float>(a, share);
  }
}

void linear_attention_backward(const LinearAttentionBackward& a, Share share) {
  switch (a.shape.stored) {
    case Stored::float32: return backward<float, float>(a, share);
    case Stored::float64: return backward<double, double>(a, share);
    case Stored::bfloat16: return backward<bfloat16, float>(a, share);
  }
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
