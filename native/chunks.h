// What chunkwise forms share: rows of a head as matrices, states as panels of columns.
//
// Included by kernels alone, inside the namespace of their level. A state (key, value) is kept as
// panels, each `wide` rows of panel<W> columns, padded with zeros: a tile's reach, and small enough
// for the nearest cache.
#pragma once

#include "tile.h"

namespace statewise {
namespace STATEWISE_LEVEL {

// Tokens of a chunk, whose steps become products of matrices. A token costs 4 to 6 key value
// operations for what crosses chunks and 2 chunk (key + value) for what stays within, so short is
// cheap, and 16 tokens fill a vector of the longest kind.
constexpr int64_t chunk = 16;

// Tiles over one vector of columns need more rows to keep the arithmetic busy.
constexpr int narrow_rows = tile_rows * 2;
template <class W>
using Narrow = Tile<W, narrow_rows, 1>;
template <class W>
using Wide = Tile<W, tile_rows, 2>;

inline int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

template <class W>
inline W sum(Vector<W> x) {
  W total = 0;
  for (int i = 0; i < width<W>; i++) total += x[i];
  return total;
}

template <class W>
inline W dot(const W* a, const W* b, int64_t n) {
  Vector<W> total{};
  for (int64_t i = 0; i < n; i += width<W>) total += load(a + i) * load(b + i);
  return sum<W>(total);
}

#if defined(__GNUC__) && !defined(__clang__)
#define SHUFFLES 1

// Swaps blocks of a matrix of two rows: of a0 a1 a2 a3 and b0 b1 b2 b3, one apart, the first row is
// a0 b0 a2 b2 and the second a1 b1 a3 b3.
template <int apart, class W>
inline void interleave(Vector<W>& a, Vector<W>& b) {
  constexpr int n = width<W>;
  typename VectorOf<W>::bits first, second;
#pragma GCC unroll 16
  for (int i = 0; i < n; i++) {
    first[i] = i / apart % 2 ? n + i - apart : i;
    second[i] = i / apart % 2 ? n + i : i + apart;
  }
  const Vector<W> left = a, right = b;
  a = __builtin_shuffle(left, right, first);
  b = __builtin_shuffle(left, right, second);
}

// Sums of pairs of a row's numbers, those of a and of b in turn.
template <int apart, class W>
inline Vector<W> fold_pair(Vector<W> a, Vector<W> b) {
  interleave<apart, W>(a, b);
  return a + b;
}

// Halves the number of vectors, again and again; number i of the one that is left sums up vector i.
template <int apart, class W>
inline void fold_sums(Vector<W> (&x)[width<W>]) {
  if constexpr (apart < width<W>) {
#pragma GCC unroll 16
    for (int i = 0; i < width<W> / (2 * apart); i++)
      x[i] = fold_pair<apart, W>(x[2 * i], x[2 * i + 1]);
    fold_sums<2 * apart, W>(x);
  }
}
#endif

// The sums of `chunk` vectors. One after another they would take longer than what they sum up.
template <class W>
inline void sums(const Vector<W>* x, W* to) {
#ifdef SHUFFLES
  for (int64_t i = 0; i < chunk; i += width<W>) {
    Vector<W> some[width<W>];
#pragma GCC unroll 16
    for (int j = 0; j < width<W>; j++) some[j] = x[i + j];
    fold_sums<1, W>(some);
    store(to + i, some[0]);
  }
#else
  for (int64_t i = 0; i < chunk; i++) to[i] = sum<W>(x[i]);
#endif
}

template <class S>
inline const S* at(const Heads& x, int64_t row, int64_t t, int64_t head) {
  return static_cast<const S*>(x.data) + row * x.batch_stride + t * x.time_stride +
         head * x.head_stride;
}
template <class S>
inline S* at(const MutableHeads& x, int64_t row, int64_t t, int64_t head) {
  return static_cast<S*>(x.data) + row * x.batch_stride + t * x.time_stride + head * x.head_stride;
}

// Memory of one thread, taken piece by piece.
struct Pool {
  char* next;
  template <class W>
  W* take(int64_t n) {
    char* taken = next;
    next += up(n * static_cast<int64_t>(sizeof(W)), 64);
    return reinterpret_cast<W*>(taken);
  }
};

// Sixteen numbers at a time by way of registers: a loop over two arrays would first ask whether they
// overlap.
template <class To, class From, class Change>
inline void convert(const From* from, int64_t n, To* to, Change change) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    To block[16];
    for (int j = 0; j < 16; j++) block[j] = change(from[i + j]);
    memcpy(to + i, block, sizeof block);
  }
  for (; i < n; i++) to[i] = change(from[i]);
}

// Copies rows into a rectangle that ends in zeros.
template <class S, class W>
inline void gather(const Heads& x, int64_t row, int64_t t, int64_t head, int64_t count,
                   int64_t from, int64_t width, W scale, W* to, int64_t to_row) {
  for (int64_t i = 0; i < chunk; i++, to += to_row) {
    const int64_t filled = i < count ? width : 0;
    if (i < count)
      convert(at<S>(x, row, t + i, head) + from, width, to,
              [=](S number) { return scale * widen(number); });
    if (filled < to_row) memset(to + filled, 0, (to_row - filled) * sizeof(W));
  }
}

template <class S, class W>
inline void scatter(const W* from, int64_t from_row, int64_t count, int64_t width, W scale,
                    const MutableHeads& x, int64_t row, int64_t t, int64_t head, int64_t to) {
  for (int64_t i = 0; i < count; i++, from += from_row)
    convert(from, width, at<S>(x, row, t + i, head) + to,
            [=](W number) { return narrow<S>(scale * number); });
}

// Fetches rows of a chunk to come, a few lines between the products of this one. Rows of a head are
// short and lie far apart, which processors do not foresee; and of lines asked for all at once most
// were not there in time, since few requests are kept open: with a key and a value of 128 reading
// them took a third of a pass of linear attention, and takes 3% of it this way.
class Ahead {
 public:
  template <class S>
  void want(const Heads& x, int64_t row, int64_t t, int64_t end, int64_t head, int64_t width) {
    const int64_t count = end - t < chunk ? end - t : chunk;
    if (!x.data || t < 0 || count <= 0 || width <= 0) return;
    const int64_t bytes = static_cast<int64_t>(sizeof(S));
    rows_[wanted_++] = {reinterpret_cast<const char*>(at<S>(x, row, t, head)),
                        x.time_stride * bytes, count, (width * bytes + 63) / 64};
    total_ += count * rows_[wanted_ - 1].lines;
  }
  // So many times `some` will be called.
  void spread(int64_t calls) { share_ = (total_ + calls - 1) / calls; }
  void some() {
    for (int64_t n = share_; n > 0 && done_ < wanted_; n--) {
      Rows& rows = rows_[done_];
      __builtin_prefetch(rows.next + line_ * 64, 0, 3);
      if (++line_ < rows.lines) continue;
      line_ = 0;
      rows.next += rows.stride;
      if (--rows.left == 0) done_++;
    }
  }

 private:
  struct Rows {
    const char* next;
    int64_t stride, left, lines;
  };
  Rows rows_[8];
  int wanted_ = 0, done_ = 0;
  int64_t line_ = 0, total_ = 0, share_ = 0;
};

// to (chunk x chunk) = a b^T, given b transposed.
template <class W>
inline void inner(const W* a, int64_t a_row, const W* transposed, int64_t n, W* to) {
  for (int64_t i = 0; i < chunk; i += narrow_rows)
    for (int64_t j = 0; j < chunk; j += width<W>) {
      Narrow<W> tile;
      tile.zero();
      tile.add(a + i * a_row, a_row, 1, transposed + j, chunk, n);
      tile.write(to + i * chunk + j, chunk);
    }
}

// to (key x count) = state times the rows of all panels, count of them, given transposed.
template <int64_t count, class W>
inline void against(const W* state, int64_t wide, int64_t panels, const W* transposed, W* to) {
  constexpr int vectors = count >= panel<W> ? 2 : 1;
  constexpr int height = vectors == 2 ? tile_rows : narrow_rows;
  for (int64_t k = 0; k < wide; k += height)
    for (int64_t j = 0; j < count; j += vectors * width<W>) {
      Tile<W, height, vectors> tile;
      tile.zero();
      for (int64_t p = 0; p < panels; p++)
        tile.add(state + (p * wide + k) * panel<W>, panel<W>, 1,
                 transposed + p * panel<W> * count + j, count, panel<W>);
      tile.write(to + k * count + j, count);
    }
}

// to (chunk x chunk) = rows times other rows, given transposed, both in panels.
template <class W>
inline void across(const W* rows, const W* transposed, int64_t panels, W* to) {
  for (int64_t i = 0; i < chunk; i += narrow_rows)
    for (int64_t j = 0; j < chunk; j += width<W>) {
      Narrow<W> tile;
      tile.zero();
      for (int64_t p = 0; p < panels; p++)
        tile.add(rows + (p * chunk + i) * panel<W>, panel<W>, 1,
                 transposed + p * panel<W> * chunk + j, chunk, panel<W>);
      tile.write(to + i * chunk + j, chunk);
    }
}

// Adds left (chunk x chunk, strided) times rows (chunk x wide).
template <class W>
inline void mix(const W* left, int64_t left_row, int64_t left_step, const W* rows, int64_t wide,
                W* to) {
  for (int64_t i = 0; i < chunk; i += narrow_rows)
    for (int64_t k = 0; k < wide; k += width<W>) {
      Narrow<W> tile;
      tile.read(to + i * wide + k, wide);
      tile.add(left + i * left_row, left_row, left_step, rows + k, wide, chunk);
      tile.write(to + i * wide + k, wide);
    }
}

template <class W>
inline void scaled(const W* from, const W* factor, W* to) {
  for (int64_t i = 0; i < chunk; i++)
    for (int64_t j = 0; j < panel<W>; j += width<W>)
      store(to + i * panel<W> + j, factor[i] * load(from + i * panel<W> + j));
}

// A chunk has its rows scaled, its factors and its triangle P, as linear_chunks.h says; what is
// written is `values`, solved for where there is a delta rule.
//
// One panel of output = queries S + P values.
template <class W, class C>
void answer(const C& c, int64_t wide, const W* state, const W* values, W* output) {
  for (int64_t i0 = 0; i0 < c.count; i0 += tile_rows) {
    Wide<W> tile;
    tile.zero();
    tile.add(c.queries + i0 * wide, wide, 1, state, panel<W>, wide);
    tile.scale(c.query_factor + i0);
    tile.add(c.P + i0 * chunk, chunk, 1, values, panel<W>, i0);
    tile.add_lower(c.P + i0 * chunk + i0, chunk, values + i0 * panel<W>, panel<W>);
    tile.write(output + i0 * panel<W>, panel<W>);
  }
}

// One panel of next = end S + rows^T (factor values), from one place to another or the same.
template <class W>
void carry(const W* end, const W* rows, const W* factor, int64_t count, int64_t wide,
           const W* values, W* spare, const W* state, W* next, Ahead& ahead) {
  scaled(values, factor, spare);
  for (int64_t k = 0; k < wide; k += tile_rows) {
    ahead.some();
    Wide<W> tile;
    tile.read(state + k * panel<W>, panel<W>);
    tile.scale(end + k);
    tile.add(rows + k, 1, wide, spare, panel<W>, count);
    tile.write(next + k * panel<W>, panel<W>);
  }
}

// One panel of S = end S + writes^T values.
template <class W, class C>
void advance(const C& c, int64_t wide, const W* values, W* spare, const W* state, W* next,
             Ahead& ahead) {
  carry(c.end, c.writes, c.write_factor, c.count, wide, values, spare, state, next, ahead);
}

// Between (key, value) rows and panels of columns, padded with zeros.
template <class W>
void fold(const W* from, int64_t key, int64_t value, int64_t wide, int64_t first, int64_t last,
          W* to) {
  for (int64_t p = first; p < last; p++) {
    const int64_t left = value - p * panel<W>, columns = left < panel<W> ? left : panel<W>;
    for (int64_t k = 0; k < wide; k++, to += panel<W>) {
      const int64_t filled = k < key ? columns : 0;
      if (filled) memcpy(to, from + k * value + p * panel<W>, filled * sizeof(W));
      memset(to + filled, 0, (panel<W> - filled) * sizeof(W));
    }
  }
}
template <class W>
void unfold(const W* from, int64_t key, int64_t value, int64_t wide, int64_t first, int64_t last,
            W* to) {
  for (int64_t p = first; p < last; p++, from += wide * panel<W>) {
    const int64_t left = value - p * panel<W>, columns = left < panel<W> ? left : panel<W>;
    for (int64_t k = 0; k < key; k++)
      memcpy(to + k * value + p * panel<W>, from + k * panel<W>, columns * sizeof(W));
  }
}

// How many tokens from t on make one chunk: chunks end at multiples of their size and at resets.
inline int64_t chunk_at(const Mask& mask, int64_t row, int64_t t, int64_t end) {
  int64_t stop = (t / chunk + 1) * chunk;
  if (stop > end) stop = end;
  int64_t next = t + 1;
  while (next < stop && !resets(mask, row, next)) next++;
  return next - t;
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
