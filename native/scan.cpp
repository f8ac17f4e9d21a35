#include "scan.h"

#include "kernel.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

template <class S, class W>
void forward(const Scan& a, int part, int parts) {
  for_tiles(a.shape.batch, a.shape.dim, part, parts, [&](int64_t row, int64_t from, int64_t width) {
    alignas(64) W h[tile];
    alignas(64) S line[tile];
    const int64_t state = row * a.shape.dim + from;
    memcpy(h, static_cast<const W*>(a.initial) + state, width * sizeof(W));
    const int64_t end = length(a.mask, row, a.shape.time);
    for (int64_t t = 0; t < end; t++) {
      const S* decay = at<S>(a.decay, row, t, from);
      const S* drive = at<S>(a.drive, row, t, from);
      S* output = at<S>(a.output, row, t, from);
      // A state stored as it is computed is itself the row to be streamed.
      constexpr bool narrows = sizeof(S) != sizeof(W);
      S* to = !a.stream ? output : narrows ? line : reinterpret_cast<S*>(h);
      if (resets(a.mask, row, t)) {
        STATEWISE_INDEPENDENT
        for (int64_t i = 0; i < width; i++) {
          h[i] = widen(drive[i]);
          to[i] = narrow<S>(h[i]);
        }
        if (a.stream) stream(output, to, width * sizeof(S));
      } else {
        const int64_t ahead = t + rows_ahead;
        for_bursts(width, [&](int64_t begin, int64_t w) {
          if (ahead < end) {
            prefetch(at<S>(a.decay, row, ahead, from + begin), w);
            prefetch(at<S>(a.drive, row, ahead, from + begin), w);
            if (!a.stream) prefetch<true>(at<S>(a.output, row, ahead, from + begin), w);
          }
          STATEWISE_INDEPENDENT
          for (int64_t i = begin; i < begin + w; i++) {
            h[i] = widen(decay[i]) * h[i] + widen(drive[i]);
            if (narrows || !a.stream) to[i] = narrow<S>(h[i]);
          }
          if (a.stream) stream(output + begin, to + begin, w * sizeof(S));
        });
      }
    }
    memcpy(static_cast<W*>(a.final) + state, h, width * sizeof(W));
    clear<S>(a.output, row, end, a.shape.time, from, width);
  });
  if (a.stream) end_stream();
}

// One time of the adjoint. `carry` comes in as what later times send to h_t and leaves as what
// goes on to h_{t-1}, of which `before` holds the value.
template <class S, class W, class Before>
inline void adjoint(const S* decay, const Before* before, const S* grad_output, W* carry,
                    S* grad_decay, S* grad_drive, int64_t width) {
  STATEWISE_INDEPENDENT
  for (int64_t i = 0; i < width; i++) {
    const W g = carry[i] + widen(grad_output[i]);
    grad_drive[i] = narrow<S>(g);
    grad_decay[i] = narrow<S>(g * widen(before[i]));
    carry[i] = widen(decay[i]) * g;
  }
}

template <class S, class W>
void backward(const ScanBackward& a, int part, int parts) {
  for_tiles(a.shape.batch, a.shape.dim, part, parts, [&](int64_t row, int64_t from, int64_t width) {
    alignas(64) W carry[tile];
    alignas(64) S decay_line[tile];
    alignas(64) S drive_line[tile];
    const int64_t state = row * a.shape.dim + from;
    memcpy(carry, static_cast<const W*>(a.grad_final) + state, width * sizeof(W));
    const int64_t end = length(a.mask, row, a.shape.time);
    clear<S>(a.grad_decay, row, end, a.shape.time, from, width);
    clear<S>(a.grad_drive, row, end, a.shape.time, from, width);
    for (int64_t t = end - 1; t >= 0; t--) {
      const S* decay = at<S>(a.decay, row, t, from);
      const S* grad_output = at<S>(a.grad_output, row, t, from);
      S* grad_decay = at<S>(a.grad_decay, row, t, from);
      S* grad_drive = at<S>(a.grad_drive, row, t, from);
      S* decay_to = a.stream ? decay_line : grad_decay;
      S* drive_to = a.stream ? drive_line : grad_drive;
      const auto write = [&](int64_t i, int64_t w) {
        if (!a.stream) return;
        stream(grad_decay + i, decay_line + i, w * sizeof(S));
        stream(grad_drive + i, drive_line + i, w * sizeof(S));
      };
      if (resets(a.mask, row, t)) {
        STATEWISE_INDEPENDENT
        for (int64_t i = 0; i < width; i++) {
          drive_to[i] = narrow<S>(carry[i] + widen(grad_output[i]));
          decay_to[i] = narrow<S>(W(0));
          carry[i] = 0;
        }
        write(0, width);
      } else if (t > 0) {
        const S* before = at<S>(a.output, row, t - 1, from);
        const int64_t ahead = ahead_backwards(t);
        for_bursts(width, [&](int64_t i, int64_t w) {
          if (ahead >= 0) {
            prefetch(at<S>(a.decay, row, ahead, from + i), w);
            prefetch(at<S>(a.output, row, ahead, from + i), w);
            prefetch(at<S>(a.grad_output, row, ahead, from + i), w);
          }
          adjoint(decay + i, before + i, grad_output + i, carry + i, decay_to + i, drive_to + i, w);
          write(i, w);
        });
      } else {
        adjoint(decay, static_cast<const W*>(a.initial) + state, grad_output, carry, decay_to,
                drive_to, width);
        write(0, width);
      }
    }
    memcpy(static_cast<W*>(a.grad_initial) + state, carry, width * sizeof(W));
  });
  if (a.stream) end_stream();
}

}  // namespace

void scan(const Scan& a, int part, int parts) {
  switch (a.shape.stored) {
    case Stored::float32: return forward<float, float>(a, part, parts);
    case Stored::float64: return forward<double, double>(a, part, parts);
    case Stored::bfloat16: return forward<bfloat16, float>(a, part, parts);
  }
}

void scan_backward(const ScanBackward& a, int part, int parts) {
  switch (a.shape.stored) {
    case Stored::float32: return backward<float, float>(a, part, parts);
    case Stored::float64: return backward<double, double>(a, part, parts);
    case Stored::bfloat16: return backward<bfloat16, float>(a, part, parts);
  }
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
