#include "log_scan.h"

#include "vector.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

// Calls visit(begin, count) for every vector of a row; the last may have fewer numbers.
template <class W, class Visit>
inline void for_vectors(int64_t dim, Visit visit) {
  int64_t i = 0;
  for (; i + width<W> <= dim; i += width<W>) visit(i, Constant<width<W>>());
  if (i < dim) visit(i, dim - i);
}
template <class W, int64_t n>
inline Vector<W> take(const W* from, Constant<n>) {
  return load(from);
}
template <class W>
inline Vector<W> take(const W* from, int64_t count) {
  return load(from, count);
}
template <class W, int64_t n>
inline void give(W* to, Vector<W> x, Constant<n>) {
  store(to, x);
}
template <class W>
inline void give(W* to, Vector<W> x, int64_t count) {
  store(to, x, count);
}

template <class W>
void forward(const LogScan& a, Share share) {
  using V = Vector<W>;
  const V nothing = all<V>(-W(INFINITY));
  for_tiles(a.shape.batch, a.shape.dim, share, [&](int64_t row, int64_t from, int64_t dim) {
    alignas(64) W state[tile + width<W>];
    const int64_t place = row * a.shape.dim + from;
    memcpy(state, static_cast<const W*>(a.initial) + place, dim * sizeof(W));
    const int64_t end = length(a.mask, row, a.shape.time);
    auto decay = walk<W>(a.log_decay, row, 0, from);
    auto drive = walk<W>(a.log_drive, row, 0, from);
    auto output = walk<W>(a.output, row, 0, from);
    for (int64_t t = 0; t < end; t++) {
      const bool fresh = resets(a.mask, row, t);
      for_vectors<W>(dim, [&](int64_t i, auto count) {
        const V b = take(drive.at + i, count);
        const V x = fresh ? nothing : take(decay.at + i, count) + load(state + i);
        const V high = x > b ? x : b, low = x > b ? b : x;
        const V sum = high + log1p_unit(exp(low - high));
        const V h = high == nothing ? nothing : sum;
        store(state + i, h);
        give(output.at + i, h, count);
      });
      decay.next(), drive.next(), output.next();
    }
    memcpy(static_cast<W*>(a.final) + place, state, dim * sizeof(W));
    clear<W>(a.output, row, end, a.shape.time, from, dim);
  });
}

// The shares of both terms in the sum, exp(x - h) and exp(b - h), are computed from x - b alone: h
// may be large, and its rounding would be theirs.
template <class W>
void backward(const LogScanBackward& a, Share share) {
  using V = Vector<W>;
  const V nothing = all<V>(-W(INFINITY));
  for_tiles(a.shape.batch, a.shape.dim, share, [&](int64_t row, int64_t from, int64_t dim) {
    alignas(64) W carry[tile + width<W>];  // what later times send to h_t
    const int64_t place = row * a.shape.dim + from;
    const W* initial = static_cast<const W*>(a.initial) + place;
    memcpy(carry, static_cast<const W*>(a.grad_final) + place, dim * sizeof(W));
    const int64_t end = length(a.mask, row, a.shape.time);
    clear<W>(a.grad_log_decay, row, end, a.shape.time, from, dim);
    clear<W>(a.grad_log_drive, row, end, a.shape.time, from, dim);
    auto decay = walk<W>(a.log_decay, row, end - 1, from);
    auto drive = walk<W>(a.log_drive, row, end - 1, from);
    auto before = walk<W>(a.output, row, end - 2, from);
    auto grad = walk<W>(a.grad_output, row, end - 1, from);
    auto to_decay = walk<W>(a.grad_log_decay, row, end - 1, from);
    auto to_drive = walk<W>(a.grad_log_drive, row, end - 1, from);
    for (int64_t t = end - 1; t >= 0; t--) {
      const bool fresh = resets(a.mask, row, t);
      const W* past = t > 0 ? before.at : initial;
      for_vectors<W>(dim, [&](int64_t i, auto count) {
        const V b = take(drive.at + i, count);
        const V x = fresh ? nothing : take(decay.at + i, count) + take(past + i, count);
        const V g = load(carry + i) + take(grad.at + i, count);
        const V high = x > b ? x : b, low = x > b ? b : x;
        const V ratio = exp(low - high), larger_share = g / (1 + ratio);
        const V smaller_share = larger_share * ratio;
        V to_past = x > b ? larger_share : smaller_share;
        V to_b = x > b ? smaller_share : larger_share;
        to_past = high == nothing ? V{} : to_past;
        to_b = high == nothing ? V{} : to_b;
        store(carry + i, to_past);
        give(to_decay.at + i, to_past, count);
        give(to_drive.at + i, to_b, count);
      });
      decay.previous(), drive.previous(), before.previous(), grad.previous();
      to_decay.previous(), to_drive.previous();
    }
    memcpy(static_cast<W*>(a.grad_initial) + place, carry, dim * sizeof(W));
  });
}

}  // namespace

void log_scan(const LogScan& a, Share share) {
  if (a.shape.stored == Stored::float64) forward<double>(a, share);
  else forward<float>(a, share);
}

void log_scan_backward(const LogScanBackward& a, Share share) {
  if (a.shape.stored == Stored::float64) backward<double>(a, share);
  else backward<float>(a, share);
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
