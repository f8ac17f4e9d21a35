#include "convolution.h"

#include "lanes.h"
#include "pairs.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

// Channels side by side: as many as a vector holds, or one at the end of a row.
template <class X>
struct Channels;
template <>
struct Channels<float> {
  template <class S>
  static float get(const S* from) { return widen(*from); }
  template <class S>
  static void put(S* to, float x) { *to = narrow<S>(x); }
};
template <>
struct Channels<double> {
  static double get(const double* from) { return *from; }
  static void put(double* to, double x) { *to = x; }
};
template <>
struct Channels<Vector<float>> {
  template <class S>
  static Vector<float> get(const S* from) { return load(from); }
  template <class S>
  static void put(S* to, Vector<float> x) { store(to, x); }
};
template <>
struct Channels<Vector<double>> {
  static Vector<double> get(const double* from) { return load(from); }
  static void put(double* to, Vector<double> x) { store(to, x); }
};

// Calls visit(c, channels) for the channels of a tile, vectors first.
template <class W, class Visit>
void for_channels(int64_t width, Visit visit) {
  int64_t c = 0;
  for (; c + lanes<W> <= width; c += lanes<W>) visit(c, Channels<Vector<W>>());
  for (; c < width; c++) visit(c, Channels<W>());
}

// Calls body(k) for every tap; straight lines where their number is known when compiling.
template <int64_t width, class Body>
void for_taps(Constant<width>, Body body) {
  unrolled<width>(body);
}
template <class Body>
void for_taps(int64_t width, Body body) {
  for (int64_t k = 0; k < width; k++) body(k);
}

// Times computed together, so that taps and inputs are loaded once for several.
constexpr int together = 4;

// Channels a thread carries through time at once. The inputs that many taps look back to should
// stay in the second cache.
inline int64_t breadth(int64_t width) { return width <= 8 ? tile : 64; }

template <class Visit>
void for_narrow_tiles(const Shape& shape, int64_t taps, Share share, Visit visit) {
  const int64_t widest = breadth(taps);
  for_tiles(shape.batch, shape.dim, share, [&](int64_t row, int64_t from, int64_t width) {
    for (int64_t done = 0; done < width; done += widest)
      visit(row, from + done, width - done < widest ? width - done : widest);
  });
}

template <class S, class W, class Width>
void forward(const Convolution& a, Width taps, Share share) {
  const int64_t dim = a.shape.dim, past = taps - 1;
  const auto visit = [&](int64_t row, int64_t from, int64_t width) {
    const int64_t end = length(a.mask, row, a.shape.time);
    const W* tap = static_cast<const W*>(a.taps) + from;
    const W* bias = a.bias ? static_cast<const W*>(a.bias) + from : nullptr;
    const W* initial = static_cast<const W*>(a.initial) + row * past * dim + from;
    const auto input = walk<S>(a.x, row, 0, from);
    const int64_t stride = a.x.time_stride;
    int64_t first = -past;  // the earliest input that is still seen
    for (int64_t t = 0; t < end;) {
      int64_t calm = t;  // no reset from t to here
      while (calm < end && calm < t + together && !resets(a.mask, row, calm)) calm++;
      if (calm == t + together && t >= past && first <= t - past) {
        for_channels<W>(width, [&](int64_t c, auto channels) {
          decltype(channels.get(tap)) sum[together];
          const S* x = input.later(t) + c;
          unrolled<together>([&](auto i) {
            sum[i] = bias ? channels.get(bias + c) : decltype(channels.get(tap)){};
          });
          for_taps(taps, [&](auto k) {
            const auto factor = channels.get(tap + k * dim + c);
            unrolled<together>([&](auto i) { sum[i] += factor * channels.get(x + (i - k) * stride); });
          });
          unrolled<together>([&](auto i) {
            channels.put(at<S>(a.output, row, t + i, from + c), sum[i]);
          });
        });
        t += together;
        continue;
      }
      if (resets(a.mask, row, t)) first = t;
      const int64_t seen = t - first < past ? t - first + 1 : past + 1;
      for_channels<W>(width, [&](int64_t c, auto channels) {
        auto sum = bias ? channels.get(bias + c) : decltype(channels.get(tap)){};
        for (int64_t k = 0; k < seen; k++) {
          const auto factor = channels.get(tap + k * dim + c);
          if (t >= k) sum += factor * channels.get(input.later(t - k) + c);
          else sum += factor * channels.get(initial + (t - k + past) * dim + c);
        }
        channels.put(at<S>(a.output, row, t, from + c), sum);
      });
      t++;
    }
    W* final = static_cast<W*>(a.final) + row * past * dim + from;
    for (int64_t m = 0; m < past; m++) {
      const int64_t s = end - past + m;
      for (int64_t c = 0; c < width; c++)
        final[m * dim + c] = s < first ? W(0)
                             : s < 0   ? initial[(s + past) * dim + c]
                                       : widen(input.later(s)[c]);
    }
    clear<S>(a.output, row, end, a.shape.time, from, width);
  };
  for_narrow_tiles(a.shape, taps, share, visit);
}

// Input s meets tap k in the output of time s + k, before the end and the next reset.
template <class S, class W, class Width>
void backward(const ConvolutionBackward& a, Width taps, Share share) {
  const int64_t dim = a.shape.dim, past = taps - 1;
  const auto visit = [&](int64_t row, int64_t from, int64_t width) {
    const int64_t end = length(a.mask, row, a.shape.time);
    const W* tap = static_cast<const W*>(a.taps) + from;
    const W* initial = static_cast<const W*>(a.initial) + row * past * dim + from;
    const W* grad_final = static_cast<const W*>(a.grad_final) + row * past * dim + from;
    W* grad_initial = static_cast<W*>(a.grad_initial) + row * past * dim + from;
    W* sums = static_cast<W*>(a.sums) + row * (past + 2) * dim + from;
    W* bias = sums + (past + 1) * dim;
    for (int64_t k = 0; k < past + 2; k++) memset(sums + k * dim, 0, width * sizeof(W));
    clear<S>(a.grad_x, row, end, a.shape.time, from, width);
    const auto input = walk<S>(a.x, row, 0, from);
    const auto grad_output = walk<S>(a.grad_output, row, 0, from);
    const int64_t stride = a.grad_output.time_stride;
    int64_t until = end;  // outputs from here on do not see input s
    for (int64_t s = end - 1; s >= -past;) {
      int64_t low = s;  // no reset above here, up to s
      while (low > s - together + 1 && low > 0 && !resets(a.mask, row, low)) low--;
      if (low == s - together + 1 && s + past < until) {
        for_channels<W>(width, [&](int64_t c, auto channels) {
          using X = decltype(channels.get(tap));
          X sum[together] = {}, x[together], own = channels.get(bias + c);
          const S* g = grad_output.later(low) + c;
          unrolled<together>([&](auto i) {
            x[i] = channels.get(input.later(low + i) + c);
            own += channels.get(g + i * stride);
          });
          for_taps(taps, [&](auto k) {
            const X factor = channels.get(tap + k * dim + c);
            X of_tap = channels.get(sums + k * dim + c);
            unrolled<together>([&](auto i) {
              const X came = channels.get(g + (i + k) * stride);
              sum[i] += factor * came;
              of_tap += x[i] * came;
            });
            channels.put(sums + k * dim + c, of_tap);
          });
          channels.put(bias + c, own);
          unrolled<together>([&](auto i) {
            channels.put(at<S>(a.grad_x, row, low + i, from + c), sum[i]);
          });
        });
        if (resets(a.mask, row, low)) until = low;
        s = low - 1;
        continue;
      }
      const int64_t seen = until - s < past + 1 ? until - s : past + 1;
      const bool kept = until == end && s >= end - past;  // in the state after the end
      for_channels<W>(width, [&](int64_t c, auto channels) {
        using X = decltype(channels.get(tap));
        const X x = s < 0 ? channels.get(initial + (s + past) * dim + c)
                          : channels.get(input.later(s) + c);
        X sum = kept ? channels.get(grad_final + (s - end + past) * dim + c) : X{};
        // What is before the sequence meets no output but with later taps.
        for (int64_t k = s < 0 ? -s : 0; k < seen; k++) {
          const X came = channels.get(grad_output.later(s + k) + c);
          sum += channels.get(tap + k * dim + c) * came;
          channels.put(sums + k * dim + c, channels.get(sums + k * dim + c) + x * came);
        }
        if (s < 0) {
          channels.put(grad_initial + (s + past) * dim + c, sum);
        } else {
          channels.put(at<S>(a.grad_x, row, s, from + c), sum);
          channels.put(bias + c,
                       channels.get(bias + c) + channels.get(grad_output.later(s) + c));
        }
      });
      if (s >= 0 && resets(a.mask, row, s)) until = s;
      s--;
    }
  };
  for_narrow_tiles(a.shape, taps, share, visit);
}

// The usual widths are known when compiling.
template <class S, class W>
void forward(const Convolution& a, Share share) {
  switch (a.width) {
    case 2: return forward<S, W>(a, Constant<2>(), share);
    case 3: return forward<S, W>(a, Constant<3>(), share);
    case 4: return forward<S, W>(a, Constant<4>(), share);
    case 5: return forward<S, W>(a, Constant<5>(), share);
    case 6: return forward<S, W>(a, Constant<6>(), share);
    case 7: return forward<S, W>(a, Constant<7>(), share);
    case 8: return forward<S, W>(a, Constant<8>(), share);
    default: return forward<S, W>(a, a.width, share);
  }
}

template <class S, class W>
void backward(const ConvolutionBackward& a, Share share) {
  switch (a.width) {
    case 2: return backward<S, W>(a, Constant<2>(), share);
    case 3: return backward<S, W>(a, Constant<3>(), share);
    case 4: return backward<S, W>(a, Constant<4>(), share);
    case 5: return backward<S, W>(a, Constant<5>(), share);
    case 6: return backward<S, W>(a, Constant<6>(), share);
    case 7: return backward<S, W>(a, Constant<7>(), share);
    case 8: return backward<S, W>(a, Constant<8>(), share);
    default: return backward<S, W>(a, a.width, share);
  }
}

// Every row of the past is read once: for the sum, and to be kept one place further on.
template <class W>
void step(const ConvolutionStep& a, Share share) {
  const int64_t dim = a.dim, past = a.width - 1;
  for_tiles(a.batch, dim, share, [&](int64_t row, int64_t from, int64_t width) {
    alignas(64) W sum[tile];
    const W* x = static_cast<const W*>(a.x) + row * a.x_stride + from;
    const W* tap = static_cast<const W*>(a.taps) + from;
    const W* bias = a.bias ? static_cast<const W*>(a.bias) + from : nullptr;
    const W* before = static_cast<const W*>(a.past) + row * past * dim + from;
    W* after = static_cast<W*>(a.after) + row * past * dim + from;
    W* output = static_cast<W*>(a.output) + row * dim + from;
    for (int64_t c = 0; c < width; c++) sum[c] = (bias ? bias[c] : 0) + tap[c] * x[c];
    if (past) memcpy(after + (past - 1) * dim, x, width * sizeof(W));
    for (int64_t k = 1; k <= past; k++) {
      const W* __restrict now = before + (past - k) * dim;
      const W* __restrict factor = tap + k * dim;
      if (k == past) {
        for (int64_t c = 0; c < width; c++) sum[c] += factor[c] * now[c];
        continue;
      }
      W* __restrict kept = after + (past - k - 1) * dim;
      for (int64_t c = 0; c < width; c++) {
        sum[c] += factor[c] * now[c];
        kept[c] = now[c];
      }
    }
    memcpy(output, sum, width * sizeof(W));
  });
}

// The state of as many channels as a vector has lanes, in turn; their sums over it are then made
// together. What a channel's state has beyond whole vectors is summed by itself.
template <bool complex, class W>
void diagonal(const DiagonalStep& a, Share share) {
#if defined(STATEWISE_PAIRS)
  const int64_t vectors = a.numbers / lanes<W> * lanes<W>;
#else
  const int64_t vectors = complex ? 0 : a.numbers / lanes<W> * lanes<W>;
#endif
  alignas(64) W signs[lanes<W>];
  for (int i = 0; i < lanes<W>; i++) signs[i] = complex && i % 2 ? W(-1) : W(1);
  const int64_t channels = a.batch * a.dim, end = share.end(channels);
  int64_t first = share.begin(channels);
  if (first == end) return;
  int64_t row = first / a.dim, channel = first % a.dim;
  for (; first < end; first += lanes<W>) {
    const int64_t count = end - first < lanes<W> ? end - first : lanes<W>;
    Vector<W> sums[lanes<W>] = {};
    alignas(64) W rests[lanes<W>] = {};
    for (int64_t i = 0; i < count; i++) {
      const int64_t of_channel = channel * a.numbers, of_state = (first + i) * a.numbers;
      const W x = static_cast<const W*>(a.x)[row * a.x_stride + channel];
      const W* decay = static_cast<const W*>(a.decay) + of_channel;
      const W* write = static_cast<const W*>(a.write) + of_channel;
      const W* read = static_cast<const W*>(a.read) + of_channel;
      const W* h = static_cast<const W*>(a.h) + of_state;
      W* after = static_cast<W*>(a.after) + of_state;
      int64_t k = 0;
      for (; k < vectors; k += lanes<W>) {
        Vector<W> kept;
#if defined(STATEWISE_PAIRS)
        if constexpr (complex) kept = times(load(decay + k), load(h + k));
        else
#endif
          kept = load(decay + k) * load(h + k);
        kept += x * load(write + k);
        store(after + k, kept);
        sums[i] += load(read + k) * kept;
      }
      if constexpr (complex) {
        for (; k < a.numbers; k += 2) {
          after[k] = decay[k] * h[k] - decay[k + 1] * h[k + 1] + x * write[k];
          after[k + 1] = decay[k] * h[k + 1] + decay[k + 1] * h[k] + x * write[k + 1];
          rests[i] += read[k] * after[k] - read[k + 1] * after[k + 1];
        }
      } else {
        for (; k < a.numbers; k++) {
          after[k] = decay[k] * h[k] + x * write[k];
          rests[i] += read[k] * after[k];
        }
      }
      sums[i] *= load(signs);
      if (++channel == a.dim) channel = 0, row++;
    }
    add_chunks<1, lanes<W>, lanes<W>, W>(sums);
    alignas(64) W output[lanes<W>];
    store(output, sums[0] + load(rests));
    memcpy(static_cast<W*>(a.output) + first, output, count * sizeof(W));
  }
}

template <class W>
void sums(const ConvolutionSums& a, Share share) {
  const int64_t dim = a.shape.dim;
  for (int64_t c = share.begin(dim); c < share.end(dim); c++)
    for (int64_t k = 0; k <= a.width; k++) {
      W sum = 0;
      for (int64_t row = 0; row < a.shape.batch; row++)
        sum += static_cast<const W*>(a.sums)[(row * (a.width + 1) + k) * dim + c];
      if (k < a.width) static_cast<W*>(a.grad_weight)[c * a.width + a.width - 1 - k] = sum;
      else if (a.grad_bias) static_cast<W*>(a.grad_bias)[c] = sum;
    }
}

}  // namespace

void convolution(const Convolution& a, Share share) {
  switch (a.shape.stored) {
    case Stored::float32: return forward<float, float>(a, share);
    case Stored::float64: return forward<double, double>(a, share);
    case Stored::bfloat16: return forward<bfloat16, float>(a, share);
  }
}

void convolution_backward(const ConvolutionBackward& a, Share share) {
  switch (a.shape.stored) {
    case Stored::float32: return backward<float, float>(a, share);
    case Stored::float64: return backward<double, double>(a, share);
    case Stored::bfloat16: return backward<bfloat16, float>(a, share);
  }
}

void convolution_step(const ConvolutionStep& a, Share share) {
  if (a.stored == Stored::float64) return step<double>(a, share);
  return step<float>(a, share);
}

void diagonal_step(const DiagonalStep& a, Share share) {
  if (a.stored == Stored::float64)
    return a.complex ? diagonal<true, double>(a, share)
                     : diagonal<false, double>(a, share);
  return a.complex ? diagonal<true, float>(a, share) : diagonal<false, float>(a, share);
}

void convolution_sums(const ConvolutionSums& a, Share share) {
  if (a.shape.stored == Stored::float64) return sums<double>(a, share);
  return sums<float>(a, share);
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
