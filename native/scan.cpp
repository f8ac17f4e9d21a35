#include "scan.h"

#include "pairs.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

// One number or a register of them, to where it is kept or added up.
template <class S, class W>
inline void keep(S* to, W x) {
  if constexpr (sizeof(W) > sizeof(double)) memcpy(to, &x, sizeof x);
  else *to = narrow<S>(x);
}
template <class W, class V>
inline void add_to(W* to, V x) {
  V sum;
  memcpy(&sum, to, sizeof sum);
  sum += x;
  memcpy(to, &sum, sizeof sum);
}

// What happens to the channels of one line at one time, forwards and backwards.
struct Real {
  // h = decay h + drive, or the drive alone where the state starts anew.
  template <class A, class S, class W, class Count, class Fresh>
  static inline void advance(const A* decay, const S* drive, W* h, S* out, Count count,
                             Fresh fresh) {
    for (int64_t i = 0; i < count; i++) {
      const W driven = widen(drive[i]);
      h[i] = fresh ? driven : widen(decay[i]) * h[i] + driven;
      out[i] = narrow<S>(h[i]);
    }
  }

  // From what later times send to h, to what h sends to earlier ones.
  template <class A, class H, class S, class W, class Count, class Fresh, class ToDecay>
  static inline void retreat(const A* decay, const H* before, const S* grad, W* carry, S* to_drive,
                             ToDecay to_decay, Count count, Fresh fresh) {
    for (int64_t i = 0; i < count; i++) {
      const W g = carry[i] + widen(grad[i]);
      to_drive[i] = narrow<S>(g);
      to_decay(i, fresh ? W(0) : g * widen(before[i]));
      carry[i] = fresh ? W(0) : widen(decay[i]) * g;
    }
  }
};

// The same for pairs (real, imaginary). By torch's convention gradients are conjugate: those that
// pass through a product are multiplied by the conjugate of the other factor.
struct Complex {
  template <class A, class S, class W, class Count, class Fresh>
  static inline void advance(const A* decay, const S* drive, W* h, S* out, Count count,
                             Fresh fresh) {
    int64_t i = 0;
#if defined(STATEWISE_PAIRS)
    for (; i + width<W> <= count; i += width<W>) {
      Vector<W> x = load(drive + i);
      if (!fresh) x += times(load(decay + i), load(h + i));
      store(h + i, x);
      store(out + i, x);
    }
#endif
    for (; i < count; i += 2) {
      const W re = h[i], im = h[i + 1];
      h[i] = fresh ? drive[i] : decay[i] * re - decay[i + 1] * im + drive[i];
      h[i + 1] = fresh ? drive[i + 1] : decay[i] * im + decay[i + 1] * re + drive[i + 1];
      out[i] = h[i];
      out[i + 1] = h[i + 1];
    }
  }

  template <class A, class H, class S, class W, class Count, class Fresh, class ToDecay>
  static inline void retreat(const A* decay, const H* before, const S* grad, W* carry, S* to_drive,
                             ToDecay to_decay, Count count, Fresh fresh) {
    int64_t i = 0;
#if defined(STATEWISE_PAIRS)
    for (; i + width<W> <= count; i += width<W>) {
      const Vector<W> g = load(carry + i) + load(grad + i);
      store(to_drive + i, g);
      to_decay(i, fresh ? Vector<W>{} : times_conjugate(load(before + i), g));
      store(carry + i, fresh ? Vector<W>{} : times_conjugate(load(decay + i), g));
    }
#endif
    for (; i < count; i += 2) {
      const W re = carry[i] + grad[i], im = carry[i + 1] + grad[i + 1];
      to_drive[i] = re;
      to_drive[i + 1] = im;
      to_decay(i, fresh ? W(0) : re * before[i] + im * before[i + 1]);
      to_decay(i + 1, fresh ? W(0) : im * before[i] - re * before[i + 1]);
      carry[i] = fresh ? W(0) : decay[i] * re + decay[i + 1] * im;
      carry[i + 1] = fresh ? W(0) : decay[i] * im - decay[i + 1] * re;
    }
  }
};

template <bool choice, class Yes, class No>
struct Pick {
  using type = Yes;
};
template <class Yes, class No>
struct Pick<false, Yes, No> {
  using type = No;
};

template <class Field, bool constant, bool around, class S, class W>
void forward(const Scan& a, Share share) {
  using A = typename Pick<constant, W, S>::type;
  for_tiles(a.shape.batch, a.shape.dim, share, [&](int64_t row, int64_t from, int64_t width) {
    alignas(64) W h[tile];
    const int64_t state = row * a.shape.dim + from;
    memcpy(h, static_cast<const W*>(a.initial) + state, width * sizeof(W));
    const int64_t end = length(a.mask, row, a.shape.time);
    const int64_t prefetched = width < a.shape.dim ? end - rows_ahead : 0;
    auto decay = walk<A>(a.decay.at, row, 0, from);
    auto drive = walk<S>(a.drive, row, 0, from);
    auto output = walk<S>(a.output, row, 0, from);
    for (int64_t t = 0; t < end; t++) {
      const bool ahead = t < prefetched;
      const auto step = [=, &h](auto fresh) {
        for_lines<S>(width, [=, &h](int64_t begin, auto count) {
          if (ahead) {
            if (!constant) prefetch(decay.later(rows_ahead) + begin);
            prefetch(drive.later(rows_ahead) + begin);
          }
          alignas(64) S out[line<S>];
          Field::advance(decay.at + begin, drive.at + begin, h + begin, out, count, fresh);
          put<around>(output.at + begin, out, count);
        });
      };
      if (resets(a.mask, row, t)) step(Constant<true>());
      else step(Constant<false>());
      decay.next(), drive.next(), output.next();
    }
    memcpy(static_cast<W*>(a.final) + state, h, width * sizeof(W));
    clear<S>(a.output, row, end, a.shape.time, from, width);
  });
  if (around) end_stream();
}

// Times whose share in the gradient of a constant decay is added up before it joins the total, so
// that over a long time the total's rounding counts once for so many.
constexpr int64_t times_summed = 64;

template <class Field, bool constant, bool around, class S, class W>
void backward(const ScanBackward& a, Share share) {
  using A = typename Pick<constant, W, S>::type;
  for_tiles(a.shape.batch, a.shape.dim, share, [&](int64_t row, int64_t from, int64_t width) {
    alignas(64) W carry[tile];  // what later times send to h_t
    // Of the gradient of a constant decay.
    alignas(64) W sum[constant ? tile : 1], total[constant ? tile : 1];
    if (constant) {
      memset(sum, 0, sizeof sum);
      memset(total, 0, sizeof total);
    }
    const int64_t state = row * a.shape.dim + from;
    const W* initial = static_cast<const W*>(a.initial) + state;
    memcpy(carry, static_cast<const W*>(a.grad_final) + state, width * sizeof(W));
    const int64_t end = length(a.mask, row, a.shape.time);
    if (!constant) clear<S>(a.grad_decay, row, end, a.shape.time, from, width);
    clear<S>(a.grad_drive, row, end, a.shape.time, from, width);
    const int64_t prefetched = width < a.shape.dim ? rows_ahead : end;
    auto decay = walk<A>(a.decay.at, row, end - 1, from);
    auto before = walk<S>(a.output, row, end - 2, from);  // h_{t-1}
    auto grad_output = walk<S>(a.grad_output, row, end - 1, from);
    auto grad_decay = walk<A>(a.grad_decay, row, end - 1, from);
    auto grad_drive = walk<S>(a.grad_drive, row, end - 1, from);
    for (int64_t t = end - 1; t >= 0; t--) {
      const bool ahead = t > prefetched;
      const auto step = [=, &carry, &sum](auto fresh, const auto* h) {
        for_lines_down<S>(width, [=, &carry, &sum](int64_t begin, auto count) {
          if (ahead) {
            if (!constant) prefetch(decay.earlier(rows_ahead) + begin);
            prefetch(before.earlier(rows_ahead) + begin);
            prefetch(grad_output.earlier(rows_ahead) + begin);
          }
          alignas(64) S drive_out[line<S>], decay_out[line<S>];
          const auto retreat = [&](auto to_decay) {
            Field::retreat(decay.at + begin, h + begin, grad_output.at + begin, carry + begin,
                           drive_out, to_decay, count, fresh);
          };
          if constexpr (constant) {
            retreat([&](int64_t i, auto x) { add_to(sum + begin + i, x); });
            put<around>(grad_drive.at + begin, drive_out, count);
          } else {
            retreat([&](int64_t i, auto x) { keep(decay_out + i, x); });
            put<around>(grad_drive.at + begin, drive_out, count);
            put<around>(grad_decay.at + begin, decay_out, count);
          }
        });
      };
      if (resets(a.mask, row, t)) step(Constant<true>(), initial);
      else if (t == 0) step(Constant<false>(), initial);
      else step(Constant<false>(), before.at);
      if (constant && t % times_summed == 0) {
        for (int64_t i = 0; i < width; i++) {
          total[i] += sum[i];
          sum[i] = 0;
        }
      }
      decay.previous(), before.previous(), grad_output.previous();
      grad_decay.previous(), grad_drive.previous();
    }
    memcpy(static_cast<W*>(a.grad_initial) + state, carry, width * sizeof(W));
    if (constant)
      memcpy(at<W>(a.grad_decay, row, 0, from), total, width * sizeof(W));
  });
  if (around) end_stream();
}

template <class Field, class S, class W>
void forward(const Scan& a, Share share) {
  const bool around = a.stream && lines_whole<S>(a.output);
  if (a.decay.constant)
    return around ? forward<Field, true, true, S, W>(a, share)
                  : forward<Field, true, false, S, W>(a, share);
  return around ? forward<Field, false, true, S, W>(a, share)
                : forward<Field, false, false, S, W>(a, share);
}

template <class Field, class S, class W>
void backward(const ScanBackward& a, Share share) {
  const bool around = a.stream && lines_whole<S>(a.grad_drive);
  if (a.decay.constant)
    return around ? backward<Field, true, true, S, W>(a, share)
                  : backward<Field, true, false, S, W>(a, share);
  return around && lines_whole<S>(a.grad_decay)
             ? backward<Field, false, true, S, W>(a, share)
             : backward<Field, false, false, S, W>(a, share);
}

template <class W>
void sum_rows(const SumRows& a, Share share) {
  for_tiles(1, a.shape.dim, share, [&](int64_t, int64_t from, int64_t width) {
    alignas(64) W sum[tile] = {};
    const W* row = static_cast<const W*>(a.rows) + from;
    for (int64_t i = 0; i < a.shape.batch; i++, row += a.shape.dim)
      for (int64_t j = 0; j < width; j++) sum[j] += row[j];
    memcpy(static_cast<W*>(a.sum) + from, sum, width * sizeof(W));
  });
}

}  // namespace

void scan(const Scan& a, Share share) {
  if (a.decay.complex)
    return a.shape.stored == Stored::float64 ? forward<Complex, double, double>(a, share)
                                             : forward<Complex, float, float>(a, share);
  switch (a.shape.stored) {
    case Stored::float32: return forward<Real, float, float>(a, share);
    case Stored::float64: return forward<Real, double, double>(a, share);
    case Stored::bfloat16: return forward<Real, bfloat16, float>(a, share);
  }
}

void scan_backward(const ScanBackward& a, Share share) {
  if (a.decay.complex)
    return a.shape.stored == Stored::float64 ? backward<Complex, double, double>(a, share)
                                             : backward<Complex, float, float>(a, share);
  switch (a.shape.stored) {
    case Stored::float32: return backward<Real, float, float>(a, share);
    case Stored::float64: return backward<Real, double, double>(a, share);
    case Stored::bfloat16: return backward<Real, bfloat16, float>(a, share);
  }
}

void sum_rows(const SumRows& a, Share share) {
  if (a.shape.stored == Stored::float64) sum_rows<double>(a, share);
  else sum_rows<float>(a, share);
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
