// Linear attention by chunks of tokens: what crosses from chunk to chunk does so by products of
// matrices with the state, what stays within a chunk by a triangle of weights between its tokens.
//
// Decays between two tokens are products of the decays between, never differences of sums of
// logarithms: so none is too strong, minus infinity included. Included by linear_attention.cpp alone.
#pragma once

#include "chunks.h"
#include "linear_attention.h"

namespace statewise {
namespace STATEWISE_LEVEL {

// What a chunk is to the state, whichever decay it has. With rows scaled by their factors,
//   output = queries S + P values,  S = end S + writes^T values.
template <class W>
struct AttentionChunk {
  int64_t start, count;  // tokens; a chunk that ends early is filled up with zeros, of decay one
  W *queries, *writes;   // chunk x key, with a decay per key; else the rows as they are given
  W *query_factor, *write_factor;
  W* P;    // chunk x chunk, a lower triangle
  W* end;  // key
  // For the gradient.
  W *query, *key;  // chunk x key, as given, the query scaled
  W* decay;        // chunk; with a decay per key, chunk x key
  W* weights;      // chunk x chunk: one decay, as it lies between writing and reading
};

template <class W>
inline void place(AttentionChunk<W>& c, Pool& pool, int64_t wide, bool per_key) {
  c.start = -1;
  c.query_factor = pool.take<W>(chunk);
  c.write_factor = pool.take<W>(chunk);
  c.P = pool.take<W>(chunk * chunk);
  c.end = pool.take<W>(wide);
  c.query = c.queries = pool.take<W>(chunk * wide);
  c.key = c.writes = pool.take<W>(chunk * wide);
  if (per_key) {
    c.queries = pool.take<W>(chunk * wide);
    c.writes = pool.take<W>(chunk * wide);
    c.decay = pool.take<W>(chunk * wide);
  } else {
    c.decay = pool.take<W>(chunk);
    c.weights = pool.take<W>(chunk * chunk);
  }
}

inline Heads heads_of(const Strided<4>& x) {
  return {x.data, x.stride[0], x.stride[1], x.stride[2]};
}
inline Heads heads_of(const Strided<5>& x) {
  return {x.data, x.stride[0], x.stride[1], x.stride[2]};
}
inline MutableHeads heads_of(const MutableStrided<4>& x) {
  return {x.data, x.stride[0], x.stride[1], x.stride[2]};
}

// A head of one row of a batch, as both passes see it.
template <class W>
struct AttentionHead {
  Heads query, key, value, log_decay;
  int64_t row, head, group;
  int64_t keys, wide, values, panels;
  W scale;
  const W* bonus;  // wide numbers, or null
};

template <class W, class Arguments>
inline AttentionHead<W> head_of(const Arguments& a, int64_t unit, W* bonus) {
  const LinearAttentionShape& shape = a.shape;
  const int64_t head = unit % shape.heads, wide = up(shape.key, chunk);
  if (a.bonus) {
    memset(bonus, 0, wide * sizeof(W));
    memcpy(bonus, static_cast<const W*>(a.bonus) + head * shape.key, shape.key * sizeof(W));
  }
  return {heads_of(a.query),
          heads_of(a.key),
          heads_of(a.value),
          shape.decay == Decay::none ? Heads{} : heads_of(a.log_decay),
          unit / shape.heads,
          head,
          head / (shape.heads / shape.groups),
          shape.key,
          wide,
          shape.value,
          up(shape.value, panel<W>) / panel<W>,
          static_cast<W>(shape.scale),
          a.bonus ? bonus : nullptr};
}

// All that is read of the chunk at t.
template <class S, class W>
inline void want(Ahead& ahead, const AttentionHead<W>& x, int64_t t, int64_t end, bool per_key) {
  ahead.want<S>(x.query, x.row, t, end, x.group, x.keys);
  ahead.want<S>(x.key, x.row, t, end, x.group, x.keys);
  ahead.want<S>(x.value, x.row, t, end, x.head, x.values);
  if (per_key) ahead.want<W>(x.log_decay, x.row, t, end, x.head, x.keys);
}

template <class W>
inline int64_t columns(const AttentionHead<W>& x, int64_t p) {
  const int64_t left = x.values - p * panel<W>;
  return left < panel<W> ? left : panel<W>;
}

// One decay a head, or none.
template <class W, bool before>
void weigh_by_head(const AttentionHead<W>& x, AttentionChunk<W>& c, W* spare) {
  W whole = 1, between[chunk] = {};
  for (int64_t i = 0; i < chunk; i++) {
    const bool real = i < c.count && x.log_decay.data;
    const W decay = real ? exp(*at<W>(x.log_decay, x.row, c.start + i, x.head)) : 1;
    if (before) {
      c.query_factor[i] = whole;
      memcpy(c.weights + i * chunk, between, sizeof between);
    }
    whole *= decay;
    for (int64_t j = 0; j < chunk; j++) between[j] *= decay;
    between[i] = 1;
    if (!before) {
      c.query_factor[i] = whole;
      memcpy(c.weights + i * chunk, between, sizeof between);
    }
  }
  memcpy(c.write_factor, between, sizeof between);
  for (int64_t k = 0; k < x.wide; k++) c.end[k] = whole;
  transpose(chunk, x.wide, c.key, x.wide, spare, chunk);
  inner(c.query, x.wide, spare, x.wide, c.P);
  for (int64_t at = 0; at < chunk * chunk; at += width<W>)
    store(c.P + at, load(c.P + at) * load(c.weights + at));
  if (before) {
    Vector<W> products[chunk];
    for (int64_t i = 0; i < chunk; i++) {
      products[i] = Vector<W>{};
      for (int64_t k = i * x.wide; k < (i + 1) * x.wide; k += width<W>)
        products[i] += load(c.query + k) * load(x.bonus + k - i * x.wide) * load(c.key + k);
    }
    W diagonal[chunk];
    sums<W>(products, diagonal);
    for (int64_t i = 0; i < chunk; i++) c.P[i * chunk + i] = diagonal[i];
  }
}

// The products of all pairs of tokens, summed up over some vectors of keys only, what j wrote being
// carried on from i to i + 1 by one decay.
template <int vectors, class W, bool before>
inline void pairs(const AttentionHead<W>& x, const AttentionChunk<W>& c, int64_t from, W* partial) {
  for (int64_t j = 0; j < c.count; j++) {
    Vector<W> written[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) written[v] = load(c.key + j * x.wide + from + v * width<W>);
    for (int64_t i = j; i < c.count; i++) {
      const W* query = c.query + i * x.wide + from;
      const W* decay = c.decay + i * x.wide + from;
      W* to = partial + (i * chunk + j) * width<W>;
      Vector<W> sum = from ? load(to) : Vector<W>{};
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) {
        const int64_t k = v * width<W>;
        if (before && i == j) {
          sum += load(query + k) * load(x.bonus + from + k) * written[v];
          continue;
        }
        if (!before && i > j) written[v] *= load(decay + k);
        sum += load(query + k) * written[v];
        if (before) written[v] *= load(decay + k);
      }
      store(to, sum);
    }
  }
}

// A decay for every key. `partial` is chunk * chunk vectors, whose upper triangle is zero.
template <class W, bool before>
void weigh_by_key(const AttentionHead<W>& x, AttentionChunk<W>& c, W* partial) {
  for (int64_t i = 0; i < chunk; i++) {
    W* decay = c.decay + i * x.wide;
    const W* given = i < c.count ? at<W>(x.log_decay, x.row, c.start + i, x.head) : nullptr;
    int64_t k = 0;
    for (; given && k + width<W> <= x.keys; k += width<W>) store(decay + k, exp(load(given + k)));
    if (given && k < x.keys) {
      store(decay + k, exp(load(given + k, x.keys - k)), x.keys - k);
      k = x.keys;
    }
    for (; k < x.wide; k++) decay[k] = 1;
    c.query_factor[i] = c.write_factor[i] = 1;
  }
  for (int64_t k = 0; k < x.wide; k += width<W>) {
    Vector<W> entering = all<Vector<W>>(1), leaving = all<Vector<W>>(1);
#pragma GCC unroll 4
    for (int64_t i = 0; i < chunk; i++) {
      const int64_t at = i * x.wide + k, last = (chunk - 1 - i) * x.wide + k;
      const Vector<W> after = entering * load(c.decay + at);
      store(c.queries + at, (before ? entering : after) * load(c.query + at));
      store(c.writes + last, leaving * load(c.key + last));
      entering = after;
      leaving *= load(c.decay + last);
    }
    store(c.end + k, entering);
  }
  int64_t from = 0;
  for (; from + 4 * width<W> <= x.wide; from += 4 * width<W>)
    pairs<4, W, before>(x, c, from, partial);
  for (; from < x.wide; from += width<W>) pairs<1, W, before>(x, c, from, partial);
  for (int64_t i = 0; i < c.count; i++) {
    Vector<W> products[chunk];
    for (int64_t j = 0; j < chunk; j++) products[j] = load(partial + (i * chunk + j) * width<W>);
    sums<W>(products, c.P + i * chunk);
  }
  memset(c.P + c.count * chunk, 0, (chunk - c.count) * chunk * sizeof(W));
}

template <class S, class W, bool per_key, bool before>
void pack(const AttentionHead<W>& x, int64_t t, int64_t count, W* spare, AttentionChunk<W>& c) {
  gather<S, W>(x.query, x.row, t, x.group, count, 0, x.keys, x.scale, c.query, x.wide);
  gather<S, W>(x.key, x.row, t, x.group, count, 0, x.keys, 1, c.key, x.wide);
  c.start = t;
  c.count = count;
  if (per_key) weigh_by_key<W, before>(x, c, spare);
  else weigh_by_head<W, before>(x, c, spare);
}

template <class S, class W, bool per_key, bool before>
void forward_by_chunks(const LinearAttention& a, int64_t unit, int64_t first, int64_t last,
                       char* workspace) {
  Pool pool{workspace};
  const AttentionHead<W> x = head_of(a, unit, pool.take<W>(up(a.shape.key, chunk)));
  const int64_t time = a.shape.time, block = a.shape.block, size = x.keys * x.values;
  const int64_t blocks = up(time, block) / block, wide = x.wide;
  const MutableHeads to = heads_of(a.output);
  AttentionChunk<W> c;
  place(c, pool, wide, per_key);
  const int64_t spares = per_key ? chunk * chunk * width<W> : chunk * wide;
  W* spare = pool.take<W>(spares);
  memset(spare, 0, spares * sizeof(W));
  W* values = pool.take<W>(chunk * panel<W>);
  W* output = pool.take<W>(chunk * panel<W>);
  W* state = pool.take<W>((last - first) * wide * panel<W>);
  const int64_t end = length(a.mask, x.row, time);
  const auto keep = [&](int64_t t) {
    unfold(state, x.keys, x.values, wide, first, last,
           static_cast<W*>(a.states) + (unit * blocks + t / block) * size);
  };
  fold(static_cast<const W*>(a.initial) + unit * size, x.keys, x.values, wide, first, last, state);
  for (int64_t t = 0, count; t < end; t += count) {
    if (a.states && t % block == 0) keep(t);
    if (resets(a.mask, x.row, t)) memset(state, 0, (last - first) * wide * panel<W> * sizeof(W));
    count = chunk_at(a.mask, x.row, t, end);
    pack<S, W, per_key, before>(x, t, count, spare, c);
    Ahead ahead;
    want<S>(ahead, x, t + count, end, per_key);
    ahead.want<S>({to.data, to.batch_stride, to.time_stride, to.head_stride}, x.row, t + count, end,
                  x.head, x.values);
    ahead.spread((last - first) * wide / tile_rows);
    for (int64_t p = first; p < last; p++) {
      W* mine = state + (p - first) * wide * panel<W>;
      gather<S, W>(x.value, x.row, t, x.head, count, p * panel<W>, columns(x, p), 1, values,
                   panel<W>);
      answer(c, wide, mine, values, output);
      scatter<S, W>(output, panel<W>, count, columns(x, p), 1, to, x.row, t, x.head, p * panel<W>);
      advance(c, wide, values, output, mine, mine, ahead);
    }
  }
  unfold(state, x.keys, x.values, wide, first, last, static_cast<W*>(a.final) + unit * size);
  // Nobody reads these; but what an operator returns is the same when it is called again.
  for (int64_t t = up(end, block); a.states && t < time; t += block) keep(t);
  const int64_t left = first * panel<W>, right = last * panel<W>;
  for (int64_t t = end; t < time; t++)
    memset(at<S>(to, x.row, t, x.head) + left, 0,
           ((right < x.values ? right : x.values) - left) * sizeof(S));
}

// The gradients of one head. `grad` is that of the state after a chunk, then that before it.
template <class S, class W, bool per_key, bool before>
struct AttentionGradient {
  const LinearAttentionBackward& a;
  const AttentionHead<W>& x;
  const int64_t wide, panels;
  W *values, *grad_output, *grad_value, *spare;  // panels of chunk x panel; one; one
  W *values_upright, *output_upright;            // value x chunk
  W* rows;                                       // key x chunk
  W *grad_query, *grad_key, *grad_decay;         // chunk x key
  W* grad_P;                                     // chunk x chunk
  W* kept;                                       // key: of the state, by the decay of all the chunk
  W* grad_bonus;                                 // key

  AttentionGradient(const LinearAttentionBackward& a, const AttentionHead<W>& x, Pool& pool)
      : a(a), x(x), wide(x.wide), panels(x.panels) {
    const int64_t all = panels * chunk * panel<W>;
    values = pool.take<W>(all);
    grad_output = pool.take<W>(all);
    values_upright = pool.take<W>(all);
    output_upright = pool.take<W>(all);
    grad_value = pool.take<W>(chunk * panel<W>);
    spare = pool.take<W>(chunk * panel<W>);
    rows = pool.take<W>(chunk * wide);
    grad_query = pool.take<W>(chunk * wide);
    grad_key = pool.take<W>(chunk * wide);
    grad_decay = pool.take<W>(chunk * wide);
    grad_P = pool.take<W>(chunk * chunk);
    kept = pool.take<W>(wide);
    grad_bonus = pool.take<W>(wide);
    memset(grad_bonus, 0, wide * sizeof(W));
  }

  // One panel of grad_value = writes grad + P^T grad_output.
  void to_values(const AttentionChunk<W>& c, const W* grad, const W* dy) {
    for (int64_t i0 = 0; i0 < c.count; i0 += tile_rows) {
      Wide<W> tile;
      tile.zero();
      tile.add(c.writes + i0 * wide, wide, 1, grad, panel<W>, wide);
      tile.scale(c.write_factor + i0);
      const int64_t next = i0 + tile_rows;
      tile.add_lower_transposed(c.P + i0 * chunk + i0, chunk, dy + i0 * panel<W>, panel<W>);
      tile.add(c.P + next * chunk + i0, 1, chunk, dy + next * panel<W>, panel<W>, chunk - next);
      tile.write(grad_value + i0 * panel<W>, panel<W>);
    }
  }

  // kept = end * the sums over the values of state * grad; one for all keys goes to the first.
  void through_the_chunk(const AttentionChunk<W>& c, const W* state, const W* grad) {
    Vector<W> products[chunk], whole{};
    for (int64_t k0 = 0; k0 < wide; k0 += chunk) {
      for (int64_t k = 0; k < chunk; k++) {
        Vector<W> both{};
        for (int64_t p = 0; p < panels; p++)
          for (int64_t j = 0; j < panel<W>; j += width<W>) {
            const int64_t at = (p * wide + k0 + k) * panel<W> + j;
            both += load(state + at) * load(grad + at);
          }
        products[k] = both;
        whole += both;
      }
      if (per_key) sums<W>(products, kept + k0);
    }
    if (per_key)
      for (int64_t k = 0; k < wide; k += width<W>)
        store(kept + k, load(kept + k) * load(c.end + k));
    else *kept = c.end[0] * sum<W>(whole);
  }

  void run(const AttentionChunk<W>& c, const W* state, W* grad) {
    // The last chunk of a block fetches the first of the block before.
    Ahead ahead;
    if (c.start % a.shape.block == 0) {
      const int64_t later = c.start - a.shape.block;
      want<S>(ahead, x, later, later + chunk, per_key);
      ahead.want<S>(heads_of(a.grad_output), x.row, later, later + chunk, x.head, x.values);
    }
    ahead.spread(panels * wide / tile_rows);
    for (int64_t p = 0; p < panels; p++) {
      const int64_t place = p * chunk * panel<W>, width = columns(x, p), from = p * panel<W>;
      W* dy = grad_output + place;
      gather<S, W>(heads_of(a.grad_output), x.row, c.start, x.head, c.count, from, width, 1, dy,
                   panel<W>);
      gather<S, W>(x.value, x.row, c.start, x.head, c.count, from, width, 1, values + place,
                   panel<W>);
      to_values(c, grad + p * wide * panel<W>, dy);
      scatter<S, W>(grad_value, panel<W>, c.count, width, 1, heads_of(a.grad_value), x.row, c.start,
                    x.head, from);
      transpose(chunk, panel<W>, dy, panel<W>, output_upright + place, chunk);
      transpose(chunk, panel<W>, values + place, panel<W>, values_upright + place, chunk);
    }
    against<chunk>(state, wide, panels, output_upright, rows);
    transpose(wide, chunk, rows, chunk, grad_query, wide);
    against<chunk>(grad, wide, panels, values_upright, rows);
    transpose(wide, chunk, rows, chunk, grad_key, wide);
    across(grad_output, values_upright, panels, grad_P);
    if (x.log_decay.data) through_the_chunk(c, state, grad);
    for (int64_t p = 0; p < panels; p++) {
      W* mine = grad + p * wide * panel<W>;
      carry(c.end, c.queries, c.query_factor, c.count, wide, grad_output + p * chunk * panel<W>,
            spare, mine, mine, ahead);
    }
    if (per_key) within_by_key(c);
    else within_by_head(c);
    if (before) by_bonus(c);
    scatter<S, W>(grad_query, wide, c.count, x.keys, x.scale, heads_of(a.grad_query), x.row,
                  c.start, x.head, 0);
    scatter<S, W>(grad_key, wide, c.count, x.keys, 1, heads_of(a.grad_key), x.row, c.start, x.head,
                  0);
  }

  W* grad_log_decay(int64_t t) const {
    const int64_t token = (x.row * a.shape.time + t) * a.shape.heads + x.head;
    return static_cast<W*>(a.grad_log_decay) + token * (per_key ? x.keys : 1);
  }

  // What the tokens themselves count for, where they are read before they are written.
  void by_bonus(const AttentionChunk<W>& c) {
    for (int64_t i = 0; i < c.count; i++) {
      const W by = grad_P[i * chunk + i];
      for (int64_t k = 0; k < wide; k += width<W>) {
        const int64_t at = i * wide + k;
        const Vector<W> query = load(c.query + at), key = load(c.key + at);
        const Vector<W> bonus = by * load(x.bonus + k);
        store(grad_query + at, load(grad_query + at) + bonus * key);
        store(grad_key + at, load(grad_key + at) + bonus * query);
        store(grad_bonus + k, load(grad_bonus + k) + by * query * key);
      }
    }
  }

  void within_by_head(const AttentionChunk<W>& c) {
    Vector<W> entered[chunk], left[chunk];
    for (int64_t i = 0; i < chunk; i++) {
      entered[i] = left[i] = Vector<W>{};
      for (int64_t at = i * wide; at < (i + 1) * wide; at += width<W>) {
        const Vector<W> dq = c.query_factor[i] * load(grad_query + at);
        const Vector<W> dk = c.write_factor[i] * load(grad_key + at);
        entered[i] += dq * load(c.query + at);
        left[i] += dk * load(c.key + at);
        store(grad_query + at, dq);
        store(grad_key + at, dk);
      }
    }
    W crossing[chunk * chunk], mixed[chunk * chunk];
    for (int64_t i = 0; i < chunk; i++) {
      W both[chunk], P[chunk], weight[chunk], product[chunk];
      memcpy(both, grad_P + i * chunk, sizeof both);
      memcpy(P, c.P + i * chunk, sizeof P);
      memcpy(weight, c.weights + i * chunk, sizeof weight);
      for (int64_t j = 0; j < chunk; j++) {  // what lies above the diagonal may be no number
        const bool there = before ? j < i : j <= i;
        product[j] = there ? both[j] * P[j] : 0;
        both[j] = there ? both[j] * weight[j] : 0;
      }
      memcpy(crossing + i * chunk, product, sizeof product);
      memcpy(mixed + i * chunk, both, sizeof both);
    }
    mix(mixed, chunk, 1, c.key, wide, grad_query);
    mix(mixed, 1, chunk, c.query, wide, grad_key);
    if (!x.log_decay.data) return;
    // The decay at m weighs on all that enters at or after m (or after m alone), leaves before m, or
    // crosses m. Sums of what is there, and none of differences: nothing cancels where decays are
    // strong.
    W entering[chunk], leaving[chunk], earlier[chunk + 1] = {}, below[chunk] = {}, inside = 0;
    sums<W>(entered, entering);
    sums<W>(left, leaving);
    for (int64_t j = 0; j < chunk; j++) earlier[j + 1] = earlier[j] + leaving[j];
    for (int64_t m = chunk - 1; m >= 0; m--) {
      const auto read_here = [&] {
        inside += entering[m];
        for (int64_t j = 0; j < chunk; j++) below[j] += crossing[m * chunk + j];
      };
      if (!before) read_here();
      W total = *kept + inside + earlier[m];
      for (int64_t j = 0; j < m; j++) total += below[j];
      if (before) read_here();
      if (m < c.count) *grad_log_decay(c.start + m) = total;
    }
  }

  void within_by_key(const AttentionChunk<W>& c) {
    for (int64_t k = 0; k < wide; k += width<W>) {
      Vector<W> by_query[chunk], by_decay[chunk];
      for (int64_t i = 0; i < chunk; i++) by_query[i] = by_decay[i] = Vector<W>{};
      for (int64_t j = 0; j < c.count; j++) {
        Vector<W> written[chunk];  // what j wrote, as it stands after every token
        written[j] = load(c.key + j * wide + k);
        for (int64_t i = j + 1; i < c.count; i++)
          written[i] = written[i - 1] * load(c.decay + i * wide + k);
        Vector<W> back = load(grad_key + j * wide + k);
        for (int64_t i = c.count - 1; i > j; i--) {
          const W by = grad_P[i * chunk + j];
          const Vector<W> query = load(c.query + i * wide + k);
          if (!before) {
            back += by * query;
            by_query[i] += by * written[i];
          }
          by_decay[i] += back * written[i];
          back *= load(c.decay + i * wide + k);
          if (before) {
            back += by * query;
            by_query[i] += by * written[i - 1];
          }
        }
        if (!before) {
          const W by = grad_P[j * chunk + j];
          back += by * load(c.query + j * wide + k);
          by_query[j] += by * written[j];
        }
        store(grad_key + j * wide + k, back);
      }
      // What came from earlier chunks is read by the queries, or goes on to the next chunk.
      Vector<W> later = load(kept + k), entering[chunk], decay = all<Vector<W>>(1);
      for (int64_t i = 0; i < c.count; i++) {
        const Vector<W> after = decay * load(c.decay + i * wide + k);
        entering[i] = before ? decay : after;
        decay = after;
      }
      for (int64_t i = c.count - 1; i >= 0; i--) {
        const int64_t at = i * wide + k;
        const Vector<W> dq = load(grad_query + at), read = load(c.queries + at) * dq;
        if (!before) later += read;
        store(grad_decay + at, by_decay[i] + later);
        if (before) later += read;
        store(grad_query + at, by_query[i] + entering[i] * dq);
      }
    }
    for (int64_t i = 0; i < c.count; i++)
      memcpy(grad_log_decay(c.start + i), grad_decay + i * wide, x.keys * sizeof(W));
  }
};

template <class S, class W, bool per_key, bool before>
void backward_by_chunks(const LinearAttentionBackward& a, int64_t unit, char* workspace) {
  constexpr int64_t slots = largest_block / chunk;
  Pool pool{workspace};
  const AttentionHead<W> x = head_of(a, unit, pool.take<W>(up(a.shape.key, chunk)));
  const int64_t time = a.shape.time, block = a.shape.block, size = x.keys * x.values;
  const int64_t blocks = up(time, block) / block, wide = x.wide;
  const int64_t folded = x.panels * wide * panel<W>;
  AttentionGradient<S, W, per_key, before> gradient(a, x, pool);
  const int64_t spares = per_key ? chunk * chunk * width<W> : chunk * wide;
  W* spare = pool.take<W>(spares);
  memset(spare, 0, spares * sizeof(W));
  W* grad = pool.take<W>(folded);
  W* zero = pool.take<W>(folded);
  AttentionChunk<W> chunks[slots];
  W* states[slots];
  for (int64_t i = 0; i < block / chunk; i++) {
    place(chunks[i], pool, wide, per_key);
    states[i] = pool.take<W>(folded);
  }
  if (a.mask.reset) memset(zero, 0, folded * sizeof(W));

  const int64_t end = length(a.mask, x.row, time);
  const auto clear = [&](const MutableStrided<4>& to, int64_t width) {
    for (int64_t t = end; t < time; t++)
      memset(at<S>(heads_of(to), x.row, t, x.head), 0, width * sizeof(S));
  };
  clear(a.grad_query, x.keys);
  clear(a.grad_key, x.keys);
  clear(a.grad_value, x.values);
  if (a.grad_log_decay)
    for (int64_t t = end; t < time; t++)
      memset(gradient.grad_log_decay(t), 0, (per_key ? x.keys : 1) * sizeof(W));

  fold(static_cast<const W*>(a.grad_final) + unit * size, x.keys, x.values, wide, 0, x.panels, grad);
  for (int64_t begin = up(end, block) - block; begin >= 0; begin -= block) {
    const int64_t stop = begin + block < end ? begin + block : end;
    int64_t starts[largest_block], count = 0;
    fold(static_cast<const W*>(a.states) + (unit * blocks + begin / block) * size, x.keys, x.values,
         wide, 0, x.panels, states[0]);
    for (int64_t i = 0; i < block / chunk; i++) chunks[i].start = -1;
    const auto packed = [&](int64_t t) -> AttentionChunk<W>& {
      AttentionChunk<W>& c = chunks[(t - begin) / chunk];
      if (c.start != t) pack<S, W, per_key, before>(x, t, chunk_at(a.mask, x.row, t, end), spare, c);
      return c;
    };
    // A chunk begins at a multiple of its size or at a reset, where the state is zero.
    const auto state_before = [&](int64_t t) -> const W* {
      return resets(a.mask, x.row, t) ? zero : states[(t - begin) / chunk];
    };
    for (int64_t t = begin; t < stop;) {
      starts[count++] = t;
      const W* state = state_before(t);
      const AttentionChunk<W>& c = packed(t);
      t += c.count;
      if (t == stop || resets(a.mask, x.row, t)) continue;
      W* next = states[(t - begin) / chunk];
      Ahead ahead;
      want<S>(ahead, x, t, stop, per_key);
      ahead.want<S>(heads_of(a.grad_output), x.row, t, stop, x.head, x.values);
      ahead.spread(x.panels * wide / tile_rows);
      for (int64_t p = 0; p < x.panels; p++) {
        const int64_t mine = p * wide * panel<W>;
        gather<S, W>(x.value, x.row, c.start, x.head, c.count, p * panel<W>, columns(x, p), 1,
                     gradient.values, panel<W>);
        advance(c, wide, gradient.values, gradient.spare, state + mine, next + mine,
                ahead);
      }
    }
    while (count--) {
      const int64_t t = starts[count];
      gradient.run(packed(t), state_before(t), grad);
      if (resets(a.mask, x.row, t)) memset(grad, 0, folded * sizeof(W));
    }
  }
  unfold(grad, x.keys, x.values, wide, 0, x.panels, static_cast<W*>(a.grad_initial) + unit * size);
  if (before)
    memcpy(static_cast<W*>(a.grad_bonus) + unit * x.keys, gradient.grad_bonus,
           x.keys * sizeof(W));
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
