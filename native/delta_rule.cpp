#include "delta_rule.h"

#include "chunks.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

constexpr int64_t slots = delta_rule_segment / chunk;
constexpr int64_t pairs = chunk * (chunk + 1) / 2;

// What a chunk is to the state, whichever decay it has. With rows scaled by their factors,
//   u = values - reads S - A u,  output = queries S + P u,  S = end S + writes^T u.
template <class W>
struct Chunk {
  int64_t start, count;                    // times
  const W *reads, *queries, *writes;       // chunk x key
  W *read_factor, *query_factor, *write_factor;
  W *A, *P;  // chunk x chunk, lower triangles; A without its diagonal
  W* end;    // key
  // For the gradient, and where the rows above point to.
  W *key, *query, *write;  // as given, query scaled
  W *beta, *decay;         // chunk; with decays per key, chunk x key
  W *between, *inner_key, *inner_query;  // one decay: chunk x chunk, decayed inner products
  W *before;  // per key: chunk x key, decay from the chunk's start
  W *read_rows, *query_rows, *aged;  // per key: rows with decay; pairs x key, writes as time goes by
};

template <class W>
void place(Chunk<W>& c, Pool& pool, int64_t wide, bool per_key) {
  c.start = -1;
  c.read_factor = pool.take<W>(chunk);
  c.query_factor = pool.take<W>(chunk);
  c.write_factor = pool.take<W>(chunk);
  c.beta = pool.take<W>(chunk);
  c.A = pool.take<W>(chunk * chunk);
  c.P = pool.take<W>(chunk * chunk);
  c.end = pool.take<W>(wide);
  c.key = pool.take<W>(chunk * wide);
  c.query = pool.take<W>(chunk * wide);
  if (per_key) {
    c.write = pool.take<W>(chunk * wide);
    c.decay = pool.take<W>(chunk * wide);
    c.before = pool.take<W>(chunk * wide);
    c.read_rows = pool.take<W>(chunk * wide);
    c.query_rows = pool.take<W>(chunk * wide);
    c.aged = pool.take<W>(pairs * wide);
  } else {
    c.decay = pool.take<W>(chunk);
    c.between = pool.take<W>(chunk * chunk);
    c.inner_key = pool.take<W>(chunk * chunk);
    c.inner_query = pool.take<W>(chunk * chunk);
  }
}

// All that is read of the chunk at t.
template <class S, class W>
inline void want(Ahead& ahead, const DeltaRuleInputs& x, int64_t row, int64_t t, int64_t end,
                 int64_t head) {
  ahead.want<S>(x.query, row, t, end, head, x.key);
  ahead.want<S>(x.read, row, t, end, head, x.key);
  ahead.want<S>(x.write, row, t, end, head, x.key);
  ahead.want<S>(x.values, row, t, end, head, x.value);
  if (x.per_key) ahead.want<W>(x.log_decay, row, t, end, head, x.key);
}

template <class W>
inline W gate(const Heads& x, int64_t row, int64_t t, int64_t head) {
  return *at<W>(x, row, t, head);
}

// One decay a head. Decays between two times are products, never differences of sums of
// logarithms: so none is too strong, minus infinity included.
template <class S, class W>
void pack_scalar(const DeltaRuleInputs& x, int64_t row, int64_t head, int64_t t, int64_t count,
                 W* spare, Chunk<W>& c) {
  const int64_t wide = up(x.key, chunk);
  gather<S, W>(x.read, row, t, head, count, 0, x.key, 1, c.key, wide);
  gather<S, W>(x.query, row, t, head, count, 0, x.key, static_cast<W>(x.scale), c.query, wide);
  W before = 1, between[chunk] = {}, beta[chunk];
  for (int64_t i = 0; i < chunk; i++) {
    const bool real = i < count;
    beta[i] = real ? gate<W>(x.beta, row, t + i, head) : 0;
    const W decay = real && x.log_decay.data ? exp(gate<W>(x.log_decay, row, t + i, head)) : 1;
    before *= decay;
    c.read_factor[i] = c.query_factor[i] = before;
    for (int64_t j = 0; j < chunk; j++) between[j] *= decay;
    between[i] = 1;
    memcpy(c.between + i * chunk, between, sizeof between);
  }
  memcpy(c.beta, beta, sizeof beta);
  for (int64_t k = 0; k < wide; k++) c.end[k] = before;
  transpose(chunk, wide, c.key, wide, spare, chunk);
  inner(c.key, wide, spare, wide, c.inner_key);
  inner(c.query, wide, spare, wide, c.inner_query);
  for (int64_t i = 0; i < chunk; i++) {
    W key[chunk], query[chunk], A[chunk], P[chunk];
    memcpy(key, c.inner_key + i * chunk, sizeof key);
    memcpy(query, c.inner_query + i * chunk, sizeof query);
    memcpy(between, c.between + i * chunk, sizeof between);
    for (int64_t j = 0; j < chunk; j++) {  // what lies above the diagonal is never read
      key[j] *= between[j];
      query[j] *= between[j];
      A[j] = key[j] * beta[j];
      P[j] = query[j] * beta[j];
    }
    memcpy(c.inner_key + i * chunk, key, sizeof key);
    memcpy(c.inner_query + i * chunk, query, sizeof query);
    memcpy(c.A + i * chunk, A, sizeof A);
    memcpy(c.P + i * chunk, P, sizeof P);
  }
  for (int64_t i = 0; i < chunk; i++) c.write_factor[i] = between[i] * beta[i];
  c.reads = c.writes = c.key;
  c.queries = c.query;
}

inline int64_t pair(int64_t i, int64_t j) { return i * (i + 1) / 2 + j; }

// A decay for every key. What j wrote, as it stands at time i, is what it was at i - 1 times one
// decay: products again.
template <class S, class W>
void pack_per_key(const DeltaRuleInputs& x, int64_t row, int64_t head, int64_t t, int64_t count,
                  Chunk<W>& c) {
  const int64_t wide = up(x.key, chunk);
  const bool given = x.write.data != nullptr;  // the read then meets the state before the decay
  gather<S, W>(x.read, row, t, head, count, 0, x.key, 1, c.key, wide);
  gather<S, W>(x.query, row, t, head, count, 0, x.key, static_cast<W>(x.scale), c.query, wide);
  if (given) gather<S, W>(x.write, row, t, head, count, 0, x.key, 1, c.write, wide);
  for (int64_t i = 0; i < chunk; i++) {
    const bool real = i < count;
    c.beta[i] = given ? 1 : real ? gate<W>(x.beta, row, t + i, head) : 0;
    c.read_factor[i] = c.query_factor[i] = c.write_factor[i] = 1;
    if (!given)
      for (int64_t k = 0; k < wide; k++) c.write[i * wide + k] = c.beta[i] * c.key[i * wide + k];
    W* decay = c.decay + i * wide;
    for (int64_t k = 0; k < wide; k++) decay[k] = 1;
    if (real && x.log_decay.data) {
      const W* log_decay = at<W>(x.log_decay, row, t + i, head);
      int64_t k = 0;
      for (; k + width<W> <= x.key; k += width<W>) store(decay + k, exp(load(log_decay + k)));
      for (; k < x.key; k++) decay[k] = exp(log_decay[k]);
    }
    W* before = c.before + i * wide;
    for (int64_t k = 0; k < wide; k++) {
      const W last = i ? before[k - wide] : W(1);
      before[k] = last * decay[k];
      c.read_rows[i * wide + k] = (given ? last : before[k]) * c.key[i * wide + k];
      c.query_rows[i * wide + k] = before[k] * c.query[i * wide + k];
    }
    for (int64_t j = 0; j < chunk; j++) c.A[i * chunk + j] = c.P[i * chunk + j] = 0;
    for (int64_t j = 0; j <= i; j++) {
      W* now = c.aged + pair(i, j) * wide;
      if (j == i) {
        memcpy(now, c.write + i * wide, wide * sizeof(W));
        c.P[i * chunk + j] = dot(now, c.query + i * wide, wide);
        continue;
      }
      const W* last = c.aged + pair(i - 1, j) * wide;
      Vector<W> read{}, asked{};
      for (int64_t k = 0; k < wide; k += width<W>) {
        const Vector<W> old = load(last + k), aged = old * load(decay + k);
        store(now + k, aged);
        read += (given ? old : aged) * load(c.key + i * wide + k);
        asked += aged * load(c.query + i * wide + k);
      }
      c.A[i * chunk + j] = sum<W>(read);
      c.P[i * chunk + j] = sum<W>(asked);
    }
  }
  memcpy(c.end, c.before + (chunk - 1) * wide, wide * sizeof(W));
  c.reads = c.read_rows;
  c.queries = c.query_rows;
  c.writes = c.aged + pair(chunk - 1, 0) * wide;
}

inline bool by_key(const DeltaRuleInputs& x) { return x.per_key || x.write.data; }

template <class S, class W>
inline void pack(const DeltaRuleInputs& x, int64_t row, int64_t head, int64_t t, int64_t count,
                 W* spare, Chunk<W>& c) {
  if (by_key(x)) pack_per_key<S, W>(x, row, head, t, count, c);
  else pack_scalar<S, W>(x, row, head, t, count, spare, c);
  c.start = t;
  c.count = count;
}

// Turns the values of one panel, in u, into what is written.
template <class W>
void solve(const Chunk<W>& c, int64_t wide, const W* state, W* u) {
  for (int64_t i0 = 0; i0 < c.count; i0 += tile_rows) {
    Wide<W> tile;
    tile.zero();
    tile.add(c.reads + i0 * wide, wide, 1, state, panel<W>, wide);
    tile.scale(c.read_factor + i0);
    tile.add(c.A + i0 * chunk, chunk, 1, u, panel<W>, i0);
    const W* triangle = c.A + i0 * chunk + i0;
#pragma GCC unroll 8
    for (int i = 0; i < tile_rows; i++)
#pragma GCC unroll 2
      for (int j = 0; j < 2; j++) {
        W* to = u + (i0 + i) * panel<W> + j * width<W>;
        const Vector<W> solved = load(to) - tile.x[i][j];
        store(to, solved);
#pragma GCC unroll 8
        for (int below = i + 1; below < tile_rows; below++)
          tile.x[below][j] += triangle[below * chunk + i] * solved;
      }
  }
}

template <class S, class W>
inline int64_t columns(const DeltaRuleInputs& x, int64_t p) {
  const int64_t left = x.value - p * panel<W>;
  return left < panel<W> ? left : panel<W>;
}

template <class S, class W>
void forward(const DeltaRule& a, Share share) {
  const DeltaRuleInputs& x = a.inputs;
  const int64_t wide = up(x.key, chunk), panels = up(x.value, panel<W>) / panel<W>;
  const int64_t heads = x.batch * x.heads, segments = up(x.time, delta_rule_segment) / delta_rule_segment;
  // Where heads are fewer than threads, the columns of their states are divided too.
  int64_t shares = heads && heads < share.threads ? (share.threads + heads - 1) / heads : 1;
  if (shares > panels) shares = panels;
  const int64_t work = heads * shares, size = x.key * x.value;

  Pool pool{a.scratch + share.thread * a.scratch_bytes};
  Chunk<W> c;
  place(c, pool, wide, by_key(x));
  W* spare = pool.take<W>(chunk * wide);
  W* u = pool.take<W>(chunk * panel<W>);
  W* output = pool.take<W>(chunk * panel<W>);
  W* state = pool.take<W>(panels * wide * panel<W>);

  for (int64_t item = share.begin(work); item < share.end(work); item++) {
    const int64_t index = item / shares, row = index / x.heads, head = index % x.heads;
    const int64_t first = panels * (item % shares) / shares;
    const int64_t last = panels * (item % shares + 1) / shares;
    const int64_t end = length(x.mask, row, x.time);
    const int64_t left = first * panel<W>;
    const int64_t right = last * panel<W> < x.value ? last * panel<W> : x.value;
    fold(static_cast<const W*>(a.initial) + index * size, x.key, x.value, wide, first, last, state);
    for (int64_t t = 0; t < end;) {
      if (a.states && t % delta_rule_segment == 0)
        unfold(state, x.key, x.value, wide, first, last,
               static_cast<W*>(a.states) + (index * segments + t / delta_rule_segment) * size);
      if (resets(x.mask, row, t)) memset(state, 0, (last - first) * wide * panel<W> * sizeof(W));
      const int64_t count = chunk_at(x.mask, row, t, end);
      pack<S, W>(x, row, head, t, count, spare, c);
      Ahead ahead;
      want<S, W>(ahead, x, row, t + count, end, head);
      ahead.spread((last - first) * wide / tile_rows);
      for (int64_t p = first; p < last; p++) {
        W* mine = state + (p - first) * wide * panel<W>;
        gather<S, W>(x.values, row, t, head, count, p * panel<W>, columns<S, W>(x, p), 1, u,
                     panel<W>);
        solve(c, wide, mine, u);
        answer(c, wide, mine, u, output);
        scatter<S, W>(output, panel<W>, count, columns<S, W>(x, p), 1, a.output, row, t, head,
                      p * panel<W>);
        advance(c, wide, u, output, mine, mine, ahead);
      }
      t += count;
    }
    unfold(state, x.key, x.value, wide, first, last, static_cast<W*>(a.final) + index * size);
    // Nobody reads those beyond the end, but what an operator returns should not be chance.
    for (int64_t t = up(end, delta_rule_segment); a.states && t < x.time; t += delta_rule_segment)
      unfold(state, x.key, x.value, wide, first, last,
             static_cast<W*>(a.states) + (index * segments + t / delta_rule_segment) * size);
    for (int64_t t = end; t < x.time; t++)
      memset(at<S>(a.output, row, t, head) + left, 0, (right - left) * sizeof(S));
  }
}

// The gradient of a chunk, whose u and state are known. On entry `grad` is that of the state after
// the chunk; it leaves as that of the state before.
template <class S, class W>
struct Adjoint {
  const DeltaRuleBackward& a;
  int64_t wide, panels;
  // Panels of chunk x panel; what u sends back is negated.
  W *u, *grad_output, *grad_u, *spare;
  W *beside, *upright;   // value x 2 chunk: grad_u and grad_output; value x chunk: u
  W *to_rows, *to_writes;   // key x 2 chunk, key x chunk
  W *grad_read, *grad_query, *grad_write;  // chunk x key
  W *key_out, *query_out;
  W *grad_A, *grad_P, *mixed, *crossing;   // chunk x chunk
  W* at_end;                // key
  W* grad_decay;            // chunk x key

  Adjoint(const DeltaRuleBackward& a, int64_t wide, int64_t panels)
      : a(a), wide(wide), panels(panels) {}

  void place(Pool& pool) {
    const int64_t block = chunk * panel<W> * panels;
    u = pool.take<W>(block);
    grad_output = pool.take<W>(block);
    grad_u = pool.take<W>(block);
    spare = pool.take<W>(2 * chunk * panel<W>);
    beside = pool.take<W>(2 * block);
    upright = pool.take<W>(block);
    to_rows = pool.take<W>(2 * chunk * wide);
    to_writes = pool.take<W>(chunk * wide);
    grad_read = pool.take<W>(chunk * wide);
    grad_query = pool.take<W>(chunk * wide);
    grad_write = pool.take<W>(chunk * wide);
    key_out = pool.take<W>(chunk * wide);
    query_out = pool.take<W>(chunk * wide);
    grad_A = pool.take<W>(chunk * chunk);
    grad_P = pool.take<W>(chunk * chunk);
    mixed = pool.take<W>(chunk * chunk);
    crossing = pool.take<W>(chunk * chunk);
    at_end = pool.take<W>(wide);
    grad_decay = pool.take<W>(chunk * wide);
  }

  // grad_u = -(I + A)^-T (P^T grad_output + writes grad)
  void solve_back(const Chunk<W>& c, const W* grad, const W* dy, W* to) {
    for (int64_t i0 = chunk - tile_rows; i0 >= 0; i0 -= tile_rows) {
      Wide<W> tile;
      tile.zero();
      tile.add(c.writes + i0 * wide, wide, 1, grad, panel<W>, wide);
      tile.scale(c.write_factor + i0);
      const int64_t next = i0 + tile_rows;
      tile.add(c.P + next * chunk + i0, 1, chunk, dy + next * panel<W>, panel<W>, chunk - next);
      tile.add_lower_transposed(c.P + i0 * chunk + i0, chunk, dy + i0 * panel<W>, panel<W>);
      tile.add(c.A + next * chunk + i0, 1, chunk, to + next * panel<W>, panel<W>, chunk - next);
      const W* triangle = c.A + i0 * chunk + i0;
#pragma GCC unroll 8
      for (int i = tile_rows - 1; i >= 0; i--)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
          const Vector<W> solved = -tile.x[i][j];
          store(to + (i0 + i) * panel<W> + j * width<W>, solved);
#pragma GCC unroll 8
          for (int above = 0; above < i; above++)
            tile.x[above][j] += triangle[i * chunk + above] * solved;
        }
    }
  }

  void run(const Chunk<W>& c, int64_t row, int64_t head, const W* state, W* grad, Ahead& ahead) {
    const DeltaRuleInputs& x = a.inputs;
    for (int64_t p = 0; p < panels; p++) {
      const int64_t block = p * chunk * panel<W>, width = columns<S, W>(x, p);
      W* dy = grad_output + block;
      gather<S, W>(a.grad_output, row, c.start, head, c.count, p * panel<W>, width, 1, dy, panel<W>);
      solve_back(c, grad + p * wide * panel<W>, dy, grad_u + block);
      scatter<S, W>(grad_u + block, panel<W>, c.count, width, -1, a.grad_values, row, c.start, head,
                    p * panel<W>);
      transpose(chunk, panel<W>, grad_u + block, panel<W>, beside + 2 * block, 2 * chunk);
      transpose(chunk, panel<W>, dy, panel<W>, beside + 2 * block + chunk, 2 * chunk);
      transpose(chunk, panel<W>, u + block, panel<W>, upright + block, chunk);
    }
    against<2 * chunk>(state, wide, panels, beside, to_rows);
    against<chunk>(grad, wide, panels, upright, to_writes);
    transpose(wide, chunk, to_rows, 2 * chunk, grad_read, wide);
    transpose(wide, chunk, to_rows + chunk, 2 * chunk, grad_query, wide);
    transpose(wide, chunk, to_writes, chunk, grad_write, wide);
    across(grad_u, upright, panels, grad_A);
    across(grad_output, upright, panels, grad_P);
    if (x.log_decay.data)
      for (int64_t k = 0; k < wide; k++) {
        Vector<W> both{};
        for (int64_t p = 0; p < panels; p++)
          for (int64_t j = 0; j < panel<W>; j += width<W>)
            both += load(state + (p * wide + k) * panel<W> + j) *
                    load(grad + (p * wide + k) * panel<W> + j);
        at_end[k] = c.end[k] * sum<W>(both);
      }
    for (int64_t p = 0; p < panels; p++) {
      const int64_t block = p * chunk * panel<W>;
      W* mine = grad + p * wide * panel<W>;
      scaled(grad_output + block, c.query_factor, spare);
      scaled(grad_u + block, c.read_factor, spare + chunk * panel<W>);
      for (int64_t k = 0; k < wide; k += tile_rows) {
        ahead.some();
        Wide<W> tile;
        tile.read(mine + k * panel<W>, panel<W>);
        tile.scale(c.end + k);
        tile.add(c.queries + k, 1, wide, spare, panel<W>, chunk);
        tile.add(c.reads + k, 1, wide, spare + chunk * panel<W>, panel<W>, chunk);
        tile.write(mine + k * panel<W>, panel<W>);
      }
    }
    if (by_key(x)) finish_per_key(c, row, head);
    else finish_scalar(c, row, head);
  }

  void finish_scalar(const Chunk<W>& c, int64_t row, int64_t head) {
    const DeltaRuleInputs& x = a.inputs;
    W weights[chunk], entering[chunk], leaving[chunk], beta[chunk];  // what comes from, goes to another chunk
    memcpy(weights, c.beta, sizeof weights);
    for (int64_t i = 0; i < chunk; i++) {
      const W* key = c.key + i * wide;
      const W written = dot(key, grad_write + i * wide, wide);
      entering[i] = c.read_factor[i] * dot(key, grad_read + i * wide, wide) +
                    c.query_factor[i] * dot(c.query + i * wide, grad_query + i * wide, wide);
      leaving[i] = c.write_factor[i] * written;
      beta[i] = c.between[(chunk - 1) * chunk + i] * written;
      for (int64_t k = 0; k < wide; k++) {
        key_out[i * wide + k] = c.read_factor[i] * grad_read[i * wide + k] +
                                c.write_factor[i] * grad_write[i * wide + k];
        query_out[i * wide + k] = c.query_factor[i] * grad_query[i * wide + k];
      }
    }
    for (int64_t i = 0; i < chunk; i++) {
      W A[chunk], P[chunk], key[chunk], query[chunk], between[chunk], across[chunk];
      memcpy(A, grad_A + i * chunk, sizeof A);
      memcpy(P, grad_P + i * chunk, sizeof P);
      memcpy(key, c.inner_key + i * chunk, sizeof key);
      memcpy(query, c.inner_query + i * chunk, sizeof query);
      memcpy(between, c.between + i * chunk, sizeof between);
      for (int64_t j = 0; j < chunk; j++) {
        const W from_A = j < i ? A[j] : 0, from_P = j <= i ? P[j] : 0;
        const W both = (j < i ? A[j] * key[j] : 0) + (j <= i ? P[j] * query[j] : 0);
        beta[j] += both;
        across[j] = weights[j] * both;
        A[j] = from_A * weights[j] * between[j];
        P[j] = from_P * weights[j] * between[j];
      }
      memcpy(crossing + i * chunk, across, sizeof across);
      memcpy(grad_A + i * chunk, A, sizeof A);
      memcpy(grad_P + i * chunk, P, sizeof P);
    }
    transpose(chunk, chunk, grad_A, chunk, mixed, chunk);
    for (int64_t ij = 0; ij < chunk * chunk; ij += width<W>)
      store(mixed + ij, load(mixed + ij) + load(grad_A + ij));
    mix(mixed, chunk, 1, c.key, wide, key_out);
    mix(grad_P, 1, chunk, c.query, wide, key_out);
    mix(grad_P, chunk, 1, c.key, wide, query_out);
    scatter<S, W>(key_out, wide, c.count, x.key, 1, a.grad_read, row, c.start, head, 0);
    scatter<S, W>(query_out, wide, c.count, x.key, static_cast<W>(x.scale), a.grad_query, row,
                  c.start, head, 0);
    for (int64_t i = 0; i < c.count; i++) *at<W>(a.grad_beta, row, c.start + i, head) = beta[i];
    if (!x.log_decay.data) return;
    // The decay at m weighs on all that enters at or after m, leaves before m, or crosses m. Sums of
    // what is there, and none of differences: nothing cancels where decays are strong.
    W through = 0, inside = 0, below[chunk] = {};
    for (int64_t k = 0; k < wide; k++) through += at_end[k];
    W left[chunk + 1] = {0};
    for (int64_t j = 0; j < chunk; j++) left[j + 1] = left[j] + leaving[j];
    for (int64_t m = chunk - 1; m >= 0; m--) {
      inside += entering[m];
      W total = through + inside + left[m];
      for (int64_t j = 0; j < chunk; j++) below[j] += crossing[m * chunk + j];
      for (int64_t j = 0; j < m; j++) total += below[j];
      if (m < c.count) *at<W>(a.grad_log_decay, row, c.start + m, head) = total;
    }
  }

  void finish_per_key(const Chunk<W>& c, int64_t row, int64_t head) {
    const DeltaRuleInputs& x = a.inputs;
    const bool given = x.write.data != nullptr;
    for (int64_t k = 0; k < wide; k += width<W>) {
      Vector<W> read[chunk], query[chunk], decay[chunk];
      for (int64_t i = 0; i < chunk; i++) read[i] = query[i] = decay[i] = Vector<W>{};
      for (int64_t j = 0; j < chunk; j++) {
        Vector<W> back = load(grad_write + j * wide + k);  // to what j wrote, as it is at time i
        for (int64_t i = chunk - 1; i >= j; i--) {
          const W from_P = grad_P[i * chunk + j], from_A = grad_A[i * chunk + j];
          const Vector<W> aged = load(c.aged + pair(i, j) * wide + k);
          const Vector<W> key = load(c.key + i * wide + k);
          back += from_P * load(c.query + i * wide + k);
          query[i] += from_P * aged;
          if (i == j) break;
          if (!given) {
            back += from_A * key;
            read[i] += from_A * aged;
          }
          decay[i] += back * aged;
          back *= load(c.decay + i * wide + k);
          if (given) {
            back += from_A * key;
            read[i] += from_A * load(c.aged + pair(i - 1, j) * wide + k);
          }
        }
        store(grad_write + j * wide + k, back);
      }
      Vector<W> later = load(at_end + k);
      for (int64_t i = chunk - 1; i >= 0; i--) {
        const int64_t at = i * wide + k;
        const Vector<W> from_read = load(grad_read + at), from_query = load(grad_query + at);
        const Vector<W> before = load(c.before + at);
        const Vector<W> seen = !given ? before : i ? load(c.before + at - wide) : all<Vector<W>>(1);
        const Vector<W> entering = load(c.read_rows + at) * from_read;
        later += load(c.query_rows + at) * from_query;
        if (!given) later += entering;
        store(grad_decay + at, decay[i] + later);
        if (given) later += entering;
        store(key_out + at, read[i] + seen * from_read);
        store(query_out + at, query[i] + before * from_query);
      }
    }
    if (given) {
      scatter<S, W>(grad_write, wide, c.count, x.key, 1, a.grad_write, row, c.start, head, 0);
    } else {
      for (int64_t i = 0; i < c.count; i++) {
        const W* write = grad_write + i * wide;
        *at<W>(a.grad_beta, row, c.start + i, head) = dot(c.key + i * wide, write, wide);
        for (int64_t k = 0; k < wide; k++) key_out[i * wide + k] += c.beta[i] * write[k];
      }
    }
    scatter<S, W>(key_out, wide, c.count, x.key, 1, a.grad_read, row, c.start, head, 0);
    scatter<S, W>(query_out, wide, c.count, x.key, static_cast<W>(x.scale), a.grad_query, row,
                  c.start, head, 0);
    if (x.log_decay.data)
      scatter<W, W>(grad_decay, wide, c.count, x.key, 1, a.grad_log_decay, row, c.start, head, 0);
  }
};

template <class S>
void clear_from(const MutableHeads& x, int64_t row, int64_t head, int64_t begin, int64_t end,
                int64_t width) {
  if (!x.data) return;
  for (int64_t t = begin; t < end; t++) memset(at<S>(x, row, t, head), 0, width * sizeof(S));
}

template <class S, class W>
void backward(const DeltaRuleBackward& a, Share share) {
  const DeltaRuleInputs& x = a.inputs;
  const int64_t wide = up(x.key, chunk), panels = up(x.value, panel<W>) / panel<W>;
  const int64_t heads = x.batch * x.heads, size = x.key * x.value;
  const int64_t segments = up(x.time, delta_rule_segment) / delta_rule_segment;
  const int64_t folded = panels * wide * panel<W>, block = panels * chunk * panel<W>;

  Pool pool{a.scratch + share.thread * a.scratch_bytes};
  Adjoint<S, W> adjoint(a, wide, panels);
  adjoint.place(pool);
  W* spare = pool.take<W>(chunk * (wide > panel<W> ? wide : panel<W>));
  W* grad = pool.take<W>(folded);
  W* zero = pool.take<W>(folded);
  W* state = pool.take<W>(folded);
  W* written = pool.take<W>(delta_rule_segment * panels * panel<W>);  // time x value: every u
  Chunk<W> kept[slots];
  W* states[slots];
  for (int64_t i = 0; i < slots; i++) {
    place(kept[i], pool, wide, by_key(x));
    states[i] = pool.take<W>(folded);
  }
  memset(zero, 0, folded * sizeof(W));

  for (int64_t index = share.begin(heads); index < share.end(heads); index++) {
    const int64_t row = index / x.heads, head = index % x.heads;
    const int64_t end = length(x.mask, row, x.time);
    fold(static_cast<const W*>(a.grad_final) + index * size, x.key, x.value, wide, 0, panels, grad);
    clear_from<S>(a.grad_query, row, head, end, x.time, x.key);
    clear_from<S>(a.grad_read, row, head, end, x.time, x.key);
    clear_from<S>(a.grad_write, row, head, end, x.time, x.key);
    clear_from<S>(a.grad_values, row, head, end, x.time, x.value);
    clear_from<W>(a.grad_beta, row, head, end, x.time, 1);
    clear_from<W>(a.grad_log_decay, row, head, end, x.time, x.per_key ? x.key : 1);
    for (int64_t segment = up(end, delta_rule_segment) / delta_rule_segment - 1; segment >= 0;
         segment--) {
      const int64_t begin = segment * delta_rule_segment;
      const int64_t stop = begin + delta_rule_segment < end ? begin + delta_rule_segment : end;
      int64_t starts[delta_rule_segment + 1], chunks = 0;
      fold(static_cast<const W*>(a.states) + (index * segments + segment) * size, x.key, x.value,
           wide, 0, panels, state);
      for (Chunk<W>& c : kept) c.start = -1;
      for (int64_t t = begin; t < stop;) {
        starts[chunks++] = t;
        const int64_t slot = (t - begin) / chunk;
        // A chunk begins at a multiple of its size or at a reset, where the state is zero.
        if (resets(x.mask, row, t)) memset(state, 0, folded * sizeof(W));
        else memcpy(states[slot], state, folded * sizeof(W));
        const int64_t count = chunk_at(x.mask, row, t, end);
        Chunk<W>& c = kept[slot];
        pack<S, W>(x, row, head, t, count, spare, c);
        Ahead ahead;
        if (t + count < stop) want<S, W>(ahead, x, row, t + count, stop, head);
        else ahead.want<S>(a.grad_output, row, t, stop, head, x.value);
        ahead.spread(panels * wide / tile_rows);
        for (int64_t p = 0; p < panels; p++) {
          W* u = adjoint.u + p * chunk * panel<W>;
          W* mine = state + p * wide * panel<W>;
          gather<S, W>(x.values, row, t, head, count, p * panel<W>, columns<S, W>(x, p), 1, u,
                       panel<W>);
          solve(c, wide, mine, u);
          for (int64_t i = 0; i < count; i++)
            memcpy(written + ((t - begin + i) * panels + p) * panel<W>, u + i * panel<W>,
                   panel<W> * sizeof(W));
          advance(c, wide, u, spare, mine, mine, ahead);
        }
        t += count;
      }
      while (chunks--) {
        const int64_t t = starts[chunks], slot = (t - begin) / chunk;
        const bool fresh = resets(x.mask, row, t);
        Ahead ahead;
        if (chunks) ahead.want<S>(a.grad_output, row, starts[chunks - 1], t, head, x.value);
        else want<S, W>(ahead, x, row, begin - delta_rule_segment, end, head);
        ahead.spread(panels * wide / tile_rows);
        const int64_t count = chunk_at(x.mask, row, t, end);
        Chunk<W>& c = kept[slot];
        if (c.start != t) pack<S, W>(x, row, head, t, count, spare, c);
        memset(adjoint.u, 0, block * sizeof(W));
        for (int64_t p = 0; p < panels; p++)
          for (int64_t i = 0; i < count; i++)
            memcpy(adjoint.u + (p * chunk + i) * panel<W>,
                   written + ((t - begin + i) * panels + p) * panel<W>, panel<W> * sizeof(W));
        adjoint.run(c, row, head, fresh ? zero : states[slot], grad, ahead);
        if (fresh) memset(grad, 0, folded * sizeof(W));
      }
    }
    unfold(grad, x.key, x.value, wide, 0, panels, static_cast<W*>(a.grad_initial) + index * size);
  }
}

// A block of columns, token by token: the state is passed over twice. T is a vector, or one number;
// `adds` is whether there is `add`.
template <class T, int columns, bool adds, class S, class W>
void recur(const DeltaRule& a, int64_t index, int64_t from, W* rows) {
  const DeltaRuleInputs& x = a.inputs;
  constexpr int lanes = sizeof(T) / sizeof(W);
  const int64_t row = index / x.heads, head = index % x.heads, size = x.key * x.value;
  const int64_t end = length(x.mask, row, x.time);
  const W* old = static_cast<const W*>(a.initial) + index * size + from;
  W* state = static_cast<W*>(a.final) + index * size + from;
  W *read = rows, *write = rows + x.key, *query = rows + 2 * x.key, *decay = rows + 3 * x.key;
  W* add = rows + 4 * x.key;
  const auto get = [](const W* at) {
    T value;
    memcpy(&value, at, sizeof value);
    return value;
  };
  if (end == 0)
    for (int64_t k = 0; k < x.key; k++)
      memcpy(state + k * x.value, old + k * x.value, columns * lanes * sizeof(W));
  for (int64_t t = 0; t < end; t++) {
    if (resets(x.mask, row, t)) {
      for (int64_t k = 0; k < x.key; k++) memset(state + k * x.value, 0, columns * lanes * sizeof(W));
      old = state;
    }
    const S *key = at<S>(x.read, row, t, head), *asked = at<S>(x.query, row, t, head);
    const S* values = at<S>(x.values, row, t, head) + from;
    const bool decays = x.log_decay.data && !(a.once && t);
    const W* log_decay = decays ? at<W>(x.log_decay, row, t, head) : nullptr;
    const W one = log_decay && !x.per_key ? exp(*log_decay) : 1;
    const W beta = x.beta.data ? gate<W>(x.beta, row, t, head) : 1;
    int64_t k = 0;
    if (log_decay && x.per_key) {
      // One by one they took as long as all else: 2,048 of them in a step of 8 heads of 128.
      for (; k + width<W> <= x.key; k += width<W>) store(decay + k, exp(load(log_decay + k)));
      for (; k < x.key; k++) decay[k] = exp(log_decay[k]);
    }
    for (; k < x.key; k++) decay[k] = one;
    for (k = 0; k < x.key; k++) {
      query[k] = static_cast<W>(x.scale) * widen(asked[k]);
      read[k] = x.write.data ? widen(key[k]) : decay[k] * widen(key[k]);
      write[k] = x.write.data ? widen(at<S>(x.write, row, t, head)[k]) : beta * widen(key[k]);
      if (adds) add[k] = widen(at<S>(a.add, row, t, head)[k]);
    }
    // Two sums in turn, since one would wait for itself.
    T u[2][columns], value[columns], output[columns];
    for (int j = 0; j < columns; j++) u[0][j] = u[1][j] = output[j] = T{};
    for (k = 0; k + 2 <= x.key; k += 2)
#pragma GCC unroll 2
      for (int turn = 0; turn < 2; turn++)
#pragma GCC unroll 8
        for (int j = 0; j < columns; j++)
          u[turn][j] += read[k + turn] * get(old + (k + turn) * x.value + j * lanes);
    if (k < x.key)
      for (int j = 0; j < columns; j++) u[0][j] += read[k] * get(old + k * x.value + j * lanes);
#pragma GCC unroll 8
    for (int j = 0; j < columns; j++) {
      W wide[lanes];
      for (int i = 0; i < lanes; i++) wide[i] = widen(values[j * lanes + i]);
      value[j] = get(wide);
      u[0][j] += u[1][j];
      if (!adds) u[0][j] = value[j] - u[0][j];
    }
    for (k = 0; k < x.key; k++)
#pragma GCC unroll 8
      for (int j = 0; j < columns; j++) {
        T now = decay[k] * get(old + k * x.value + j * lanes) + write[k] * u[0][j];
        if (adds) now += add[k] * value[j];
        memcpy(state + k * x.value + j * lanes, &now, sizeof now);
        output[j] += query[k] * now;
      }
    S* out = at<S>(a.output, row, t, head) + from;
    for (int j = 0; j < columns; j++) {
      W wide[lanes];
      memcpy(wide, &output[j], sizeof wide);
      for (int i = 0; i < lanes; i++) out[j * lanes + i] = narrow<S>(wide[i]);
    }
    old = state;
  }
  for (int64_t t = end; t < x.time; t++)
    memset(at<S>(a.output, row, t, head) + from, 0, columns * lanes * sizeof(S));
}

template <bool adds, class S, class W>
void recurrent(const DeltaRule& a, Share share) {
  const DeltaRuleInputs& x = a.inputs;
  constexpr int64_t lanes = width<W>;
  W* rows = reinterpret_cast<W*>(a.scratch + share.thread * a.scratch_bytes);
  const int64_t heads = x.batch * x.heads;
  for (int64_t index = share.begin(heads); index < share.end(heads); index++) {
    int64_t from = 0;
    for (; from + 4 * lanes <= x.value; from += 4 * lanes)
      recur<Vector<W>, 4, adds, S, W>(a, index, from, rows);
    for (; from + lanes <= x.value; from += lanes)
      recur<Vector<W>, 1, adds, S, W>(a, index, from, rows);
    for (; from < x.value; from++) recur<W, 1, adds, S, W>(a, index, from, rows);
  }
}
template <class S, class W>
void recurrent(const DeltaRule& a, Share share) {
  if (a.add.data) return recurrent<true, S, W>(a, share);
  return recurrent<false, S, W>(a, share);
}

}  // namespace

void delta_rule(const DeltaRule& a, Share share) {
  switch (a.inputs.stored) {
    case Stored::float32: return forward<float, float>(a, share);
    case Stored::float64: return forward<double, double>(a, share);
    case Stored::bfloat16: return forward<bfloat16, float>(a, share);
  }
}

void delta_rule_recurrent(const DeltaRule& a, Share share) {
  switch (a.inputs.stored) {
    case Stored::float32: return recurrent<float, float>(a, share);
    case Stored::float64: return recurrent<double, double>(a, share);
    case Stored::bfloat16: return recurrent<bfloat16, float>(a, share);
  }
}

void delta_rule_backward(const DeltaRuleBackward& a, Share share) {
  switch (a.inputs.stored) {
    case Stored::float32: return backward<float, float>(a, share);
    case Stored::float64: return backward<double, double>(a, share);
    case Stored::bfloat16: return backward<bfloat16, float>(a, share);
  }
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
