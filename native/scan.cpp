#include "scan.h"

#include "kernel.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

template <class S, class W, bool around>
void forward(const Scan& a, int part, int parts) {
  for_tiles(a.shape.batch, a.shape.dim, part, parts, [&](int64_t row, int64_t from, int64_t width) {
    alignas(64) W h[tile];
    const int64_t state = row * a.shape.dim + from;
    memcpy(h, static_cast<const W*>(a.initial) + state, width * sizeof(W));
    const int64_t end = length(a.mask, row, a.shape.time);
    const int64_t prefetched = width < a.shape.dim ? end - rows_ahead : 0;
    auto decay = walk<S>(a.decay, row, 0, from);
    auto drive = walk<S>(a.drive, row, 0, from);
    auto output = walk<S>(a.output, row, 0, from);
    for (int64_t t = 0; t < end; t++) {
      const bool ahead = t < prefetched;
      const auto step = [=, &h](auto fresh) {
        for_lines<S>(width, [=, &h](int64_t begin, auto count) {
          if (ahead) {
            prefetch(decay.later(rows_ahead) + begin);
            prefetch(drive.later(rows_ahead) + begin);
          }
          alignas(64) S out[line<S>];
          for (int64_t i = 0; i < count; i++) {
            const W driven = widen(drive.at[begin + i]);
            h[begin + i] = fresh ? driven : widen(decay.at[begin + i]) * h[begin + i] + driven;
            out[i] = narrow<S>(h[begin + i]);
          }
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

template <class S, class W, bool around>
void backward(const ScanBackward& a, int part, int parts) {
  for_tiles(a.shape.batch, a.shape.dim, part, parts, [&](int64_t row, int64_t from, int64_t width) {
    alignas(64) W carry[tile];  // what later times send to h_t
    const int64_t state = row * a.shape.dim + from;
    const W* initial = static_cast<const W*>(a.initial) + state;
    memcpy(carry, static_cast<const W*>(a.grad_final) + state, width * sizeof(W));
    const int64_t end = length(a.mask, row, a.shape.time);
    clear<S>(a.grad_decay, row, end, a.shape.time, from, width);
    clear<S>(a.grad_drive, row, end, a.shape.time, from, width);
    const int64_t prefetched = width < a.shape.dim ? rows_ahead : end;
    auto decay = walk<S>(a.decay, row, end - 1, from);
    auto before = walk<S>(a.output, row, end - 2, from);  // h_{t-1}
    auto grad_output = walk<S>(a.grad_output, row, end - 1, from);
    auto grad_decay = walk<S>(a.grad_decay, row, end - 1, from);
    auto grad_drive = walk<S>(a.grad_drive, row, end - 1, from);
    for (int64_t t = end - 1; t >= 0; t--) {
      const bool ahead = t > prefetched;
      const auto step = [=, &carry](auto fresh, const auto* h) {
        for_lines_down<S>(width, [=, &carry](int64_t begin, auto count) {
          if (ahead) {
            prefetch(decay.earlier(rows_ahead) + begin);
            prefetch(before.earlier(rows_ahead) + begin);
            prefetch(grad_output.earlier(rows_ahead) + begin);
          }
          alignas(64) S decay_out[line<S>], drive_out[line<S>];
          for (int64_t i = 0; i < count; i++) {
            const W g = carry[begin + i] + widen(grad_output.at[begin + i]);
            drive_out[i] = narrow<S>(g);
            decay_out[i] = narrow<S>(fresh ? W(0) : g * widen(h[begin + i]));
            carry[begin + i] = fresh ? W(0) : widen(decay.at[begin + i]) * g;
          }
          put<around>(grad_drive.at + begin, drive_out, count);
          put<around>(grad_decay.at + begin, decay_out, count);
        });
      };
      if (resets(a.mask, row, t)) step(Constant<true>(), initial);
      else if (t == 0) step(Constant<false>(), initial);
      else step(Constant<false>(), before.at);
      decay.previous(), before.previous(), grad_output.previous();
      grad_decay.previous(), grad_drive.previous();
    }
    memcpy(static_cast<W*>(a.grad_initial) + state, carry, width * sizeof(W));
  });
  if (around) end_stream();
}

template <class S, class W>
void forward(const Scan& a, int part, int parts) {
  if (a.stream && lines_whole<S>(a.output)) forward<S, W, true>(a, part, parts);
  else forward<S, W, false>(a, part, parts);
}

template <class S, class W>
void backward(const ScanBackward& a, int part, int parts) {
  if (a.stream && lines_whole<S>(a.grad_decay) && lines_whole<S>(a.grad_drive))
    backward<S, W, true>(a, part, parts);
  else
    backward<S, W, false>(a, part, parts);
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
