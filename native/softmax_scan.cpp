#include "softmax_scan.h"

#include "vector.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

// Calls visit(row, from, to) for a share of batch x heads.
template <class Visit>
inline void for_heads(int64_t batch, int64_t heads, Share share, Visit visit) {
  const int64_t all = batch * heads;
  int64_t at = share.begin(all);
  const int64_t end = share.end(all);
  while (at < end) {
    const int64_t row = at / heads, from = at % heads;
    const int64_t to = from + (end - at) < heads ? from + (end - at) : heads;
    visit(row, from, to);
    at += to - from;
  }
}

template <class T, class Pointer>
inline T* at(const StridedOf<4, Pointer>& x, int64_t row, int64_t t, int64_t head) {
  return static_cast<T*>(x.data) + row * x.stride[0] + t * x.stride[1] + head * x.stride[2];
}
template <class W>
inline const W* at(const Strided<3>& x, int64_t row, int64_t t, int64_t head) {
  return static_cast<const W*>(x.data) + row * x.stride[0] + t * x.stride[1] + head;
}

// The coefficients of every time, and the last maximum and total, for a vector of heads at once.
template <class W>
void coefficients(const SoftmaxScan& a, int64_t row, int64_t from, int64_t to, int64_t end) {
  using V = Vector<W>;
  const V nothing = all<V>(-W(INFINITY));
  for (int64_t head = from; head < to; head += width<W>) {
    const int64_t count = to - head < width<W> ? to - head : width<W>;
    const int64_t place = row * a.heads + head;
    V maximum = load(static_cast<const W*>(a.maximum) + place, count);
    V total = load(static_cast<const W*>(a.total) + place, count);
    for (int64_t t = 0; t < end; t++) {
      const V score = load(at<W>(a.score, row, t, head), count);
      const bool fresh = resets(a.mask, row, t);
      if (fresh) {
        maximum = nothing;
        total = V{};
      }
      const V high = score > maximum ? score : maximum;
      const V shift = high == nothing ? V{} : high;
      const V kept = exp(maximum - shift), added = exp(score - shift);
      const V before = t == 0 && !fresh ? kept : kept * total;
      maximum = high;
      total = kept * total + added;
      const V share = total == 0 ? V{} : 1 / total;
      const int64_t here = (row * a.time + t) * a.heads + head;
      store(static_cast<W*>(a.decay) + here, before * share, count);
      store(static_cast<W*>(a.weight) + here, added * share, count);
    }
    store(static_cast<W*>(a.last_maximum) + place, maximum, count);
    store(static_cast<W*>(a.last_total) + place, total, count);
    const V none = {};
    for (int64_t t = end; t < a.time; t++) {
      const int64_t here = (row * a.time + t) * a.heads + head;
      store(static_cast<W*>(a.decay) + here, none, count);
      store(static_cast<W*>(a.weight) + here, none, count);
    }
  }
}

template <class W>
void forward(const SoftmaxScan& a, Share share) {
  for_heads(a.batch, a.heads, share, [&](int64_t row, int64_t from, int64_t to) {
    const int64_t end = length(a.mask, row, a.time);
    coefficients<W>(a, row, from, to, end);
    // The mean is kept where the weighted sum will be.
    const int64_t place = row * a.heads + from, heads = to - from;
    W* state = static_cast<W*>(a.last_weighted) + place * a.dim;
    memcpy(state, static_cast<const W*>(a.weighted) + place * a.dim, heads * a.dim * sizeof(W));
    for (int64_t t = 0; t < end; t++) {
      const bool fresh = resets(a.mask, row, t);
      for (int64_t i = 0; i < heads; i++) {
        const int64_t here = (row * a.time + t) * a.heads + from + i;
        const W decay = static_cast<const W*>(a.decay)[here];
        const W weight = static_cast<const W*>(a.weight)[here];
        const W* value = at<const W>(a.value, row, t, from + i);
        W* output = at<W>(a.output, row, t, from + i);
        W* mean = state + i * a.dim;
        if (fresh)
          for (int64_t j = 0; j < a.dim; j++) output[j] = mean[j] = weight * value[j];
        else
          for (int64_t j = 0; j < a.dim; j++)
            output[j] = mean[j] = decay * mean[j] + weight * value[j];
      }
    }
    for (int64_t t = end; t < a.time; t++)
      for (int64_t head = from; head < to; head++)
        memset(at<W>(a.output, row, t, head), 0, a.dim * sizeof(W));
    if (end > 0)
      for (int64_t i = 0; i < heads; i++) {
        const W total = static_cast<const W*>(a.last_total)[place + i];
        for (int64_t j = 0; j < a.dim; j++) state[i * a.dim + j] *= total;
      }
  });
}

template <class W>
inline W sum_of(Vector<W> x) {
  W parts[width<W>], sum = 0;
  store(parts, x);
  for (int64_t i = 0; i < width<W>; i++) sum += parts[i];
  return sum;
}

template <class W>
inline W dot(const W* a, const W* b, int64_t dim) {
  Vector<W> sums = {};
  int64_t j = 0;
  for (; j + width<W> <= dim; j += width<W>) sums += load(a + j) * load(b + j);
  if (j < dim) sums += load(a + j, dim - j) * load(b + j, dim - j);
  return sum_of<W>(sums);
}

// The gradient for one head. With z_t the logarithm of the total of all weights,
// G_t = sum of exp(z_t - z_s) grad_s and c_t = sum of exp(z_t - z_s) grad_s . y_s over s >= t,
// grad_value_t = weight_t G_t  and  grad_score_t = weight_t (G_t . value_t - c_t).
template <class W>
void backward(const SoftmaxScanBackward& a, int64_t row, int64_t head) {
  using V = Vector<W>;
  const int64_t place = row * a.heads + head, end = length(a.mask, row, a.time), dim = a.dim;
  const auto scalar = [&](const void* x) { return static_cast<const W*>(x)[place]; };
  const auto vector = [&](const void* x) { return static_cast<const W*>(x) + place * dim; };
  W* grad_score = static_cast<W*>(a.grad_score) + (row * a.time) * a.heads + head;
  for (int64_t t = end; t < a.time; t++) {
    grad_score[t * a.heads] = 0;
    memset(at<W>(a.grad_value, row, t, head), 0, dim * sizeof(W));
  }
  W* carry = static_cast<W*>(a.grad_weighted) + place * dim;  // G, and in the end what its name says
  W* to_maximum = static_cast<W*>(a.grad_maximum) + place;
  W* to_total = static_cast<W*>(a.grad_total) + place;
  const W* grad_weighted = vector(a.grad_last_weighted);
  if (end == 0) {
    memcpy(carry, grad_weighted, dim * sizeof(W));
    *to_maximum = scalar(a.grad_last_maximum);
    *to_total = scalar(a.grad_last_total);
    return;
  }
  const W total = scalar(a.last_total);
  W c = -total * scalar(a.grad_last_total);
  for (int64_t j = 0; j < dim; j++) carry[j] = total * grad_weighted[j];
  for (int64_t t = end - 1; t >= 0; t--) {
    const int64_t here = (row * a.time + t) * a.heads + head;
    const bool fresh = resets(a.mask, row, t);
    const W decay = fresh ? W(0) : static_cast<const W*>(a.decay)[here];
    const W weight = static_cast<const W*>(a.weight)[here];
    const W* grad = at<const W>(a.grad_output, row, t, head);
    const W* mean = at<const W>(a.output, row, t, head);
    const W* value = at<const W>(a.value, row, t, head);
    W* to_value = at<W>(a.grad_value, row, t, head);
    V past = {}, own = {};
    const auto step = [&](int64_t j, auto take, auto give) {
      const V g = take(grad + j), sum = take(carry + j) + g;
      past += g * take(mean + j);
      own += sum * take(value + j);
      give(to_value + j, weight * sum);
      give(carry + j, decay * sum);
    };
    int64_t j = 0;
    for (; j + width<W> <= dim; j += width<W>)
      step(j, [](const W* x) { return load(x); }, [](W* x, V y) { store(x, y); });
    const int64_t rest = dim - j;
    if (rest)
      step(j, [=](const W* x) { return load(x, rest); }, [=](W* x, V y) { store(x, y, rest); });
    c += sum_of<W>(past);
    // A weight of zero is that of a forbidden time: its gradient is zero, whatever it holds.
    grad_score[t * a.heads] = weight * (sum_of<W>(own) - c);
    c *= decay;
  }
  *to_total = -c;
  *to_maximum = resets(a.mask, row, 0)
                    ? W(0)
                    : dot(carry, vector(a.weighted), dim) - c * scalar(a.total);
  // What would change with the maximum alone goes to where it came from: the first that reached it.
  const W rest = scalar(a.grad_last_maximum) - scalar(a.grad_last_total) * total -
                 dot(grad_weighted, vector(a.last_weighted), dim);
  const W maximum = scalar(a.last_maximum);
  int64_t begin = end;
  while (begin > 0 && !resets(a.mask, row, begin - 1)) begin--;
  if (begin == 0 && scalar(a.maximum) == maximum) {
    *to_maximum += rest;
  } else {
    for (int64_t t = begin > 0 ? begin - 1 : 0; t < end; t++)
      if (*at<W>(a.score, row, t, head) == maximum && maximum > -W(INFINITY)) {
        grad_score[t * a.heads] += rest;
        break;
      }
  }
}

template <class W>
void backward(const SoftmaxScanBackward& a, Share share) {
  for_heads(a.batch, a.heads, share, [&](int64_t row, int64_t from, int64_t to) {
    for (int64_t head = from; head < to; head++) backward<W>(a, row, head);
  });
}

}  // namespace

void softmax_scan(const SoftmaxScan& a, Share share) {
  if (a.stored == Stored::float64) forward<double>(a, share);
  else forward<float>(a, share);
}

void softmax_scan_backward(const SoftmaxScanBackward& a, Share share) {
  if (a.stored == Stored::float64) backward<double>(a, share);
  else backward<float>(a, share);
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
