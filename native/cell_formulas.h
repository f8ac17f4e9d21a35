// The cells: for each, its formula and its derivative on lanes of units, and nothing else.
//
// A cell with one stage has `forward` and `backward`; one whose last gates read what the first have
// computed has both in two parts. In `forward`, x comes as the products with the input and leaves
// as what is kept; u is the product with the operands, the recurrent bias included. In `backward`,
// d is the gradient of the new state; dx and du those of the two products, du only where they
// differ; `before` and `d_before` are the old state and what of its gradient does not go through
// the recurrent matrix; d_vectors is added to.
#pragma once

#include "cells.h"
#include "vector.h"

namespace statewise {
namespace STATEWISE_LEVEL {

template <class V>
inline V slope_of_sigmoid(V y) {
  return y * (1 - y);
}
template <class V>
inline V slope_of_tanh(V y) {
  return 1 - y * y;
}
// NaN stays NaN.
template <class V>
inline V relu(V x) {
  return x < 0 ? V{} : x;
}

// h = tanh(x + u) or relu(x + u)
struct Elman {
  static constexpr bool two_stages = false;
  constexpr CellShape shape() const { return cell_shape(CellKind::elman, 0); }
  const bool rectified;
  explicit Elman(int switches) : rectified(switches & 1) {}
  static int operand(int j) { return j; }

  template <class V>
  void forward(V* x, const V* u, const V*, const V*, V* after, V*) const {
    x[0] = rectified ? relu(x[0] + u[0]) : tanh(x[0] + u[0]);
    after[0] = x[0];
  }
  template <class V>
  void backward(const V* kept, const V*, const V*, const V*, const V*, const V* d, V* dx, V*,
                V* d_before, V*) const {
    dx[0] = rectified ? (kept[0] > 0 ? d[0] : V{}) : d[0] * slope_of_tanh(kept[0]);
    d_before[0] = V{};
  }
};

// h = tanh(x + v h') or relu(x + v h'), every unit by itself
struct IndRNN {
  static constexpr bool two_stages = false;
  constexpr CellShape shape() const { return cell_shape(CellKind::indrnn, 0); }
  const bool rectified;
  explicit IndRNN(int switches) : rectified(switches & 1) {}
  static int operand(int j) { return j; }

  template <class V>
  void forward(V* x, const V* u, const V* before, const V* vectors, V* after, V*) const {
    const V sum = x[0] + u[0] + vectors[0] * before[0];
    x[0] = rectified ? relu(sum) : tanh(sum);
    after[0] = x[0];
  }
  template <class V>
  void backward(const V* kept, const V*, const V* before, const V*, const V* vectors, const V* d,
                V* dx, V*, V* d_before, V* d_vectors) const {
    dx[0] = rectified ? (kept[0] > 0 ? d[0] : V{}) : d[0] * slope_of_tanh(kept[0]);
    d_before[0] = dx[0] * vectors[0];
    d_vectors[0] += dx[0] * before[0];
  }
};

// c = f c' + i z,  h = o tanh(c), with gates, activations and connections that may be absent
//
// Switches that are known when compiling cost nothing; -1 is for those that are not.
template <int known>
struct Lstm {
  static constexpr bool two_stages = false;
  constexpr CellShape shape() const { return cell_shape(CellKind::lstm, switches()); }
  const int asked;
  explicit Lstm(int switches) : asked(switches) {}
  constexpr int switches() const { return known < 0 ? asked : known; }
  constexpr bool has(int what) const { return switches() & what; }
  // The state is h, c and, where gates recur, i, f, o.
  static int operand(int j) { return j ? j + 1 : 0; }

  bool has_i() const { return !has(no_input_gate); }
  bool has_f() const { return !has(no_forget_gate | coupled); }
  bool has_o() const { return !has(no_output_gate); }

  template <class V>
  void forward(V* x, const V* u, const V* before, const V* p, V* after, V*) const {
    int at = 0;
    const bool peeps = has(peepholes);
    const V one = V{} + 1, c_before = before[1];
    V i = one, f = one, o = one;
    if (has_i()) {
      const V sum = x[at] + u[at];
      x[at++] = i = sigmoid(peeps ? sum + p[0] * c_before : sum);
    }
    if (has_f()) {
      const V sum = x[at] + u[at];
      x[at++] = f = sigmoid(peeps ? sum + p[1] * c_before : sum);
    } else if (has(coupled)) {
      f = 1 - i;
    }
    V z = x[at] + u[at];
    if (!has(no_input_activation)) z = tanh(z);
    x[at++] = z;
    const V c = f * c_before + i * z;
    if (has_o()) {
      const V sum = x[at] + u[at];
      x[at] = o = sigmoid(peeps ? sum + p[2] * c : sum);
    }
    after[0] = o * (has(no_output_activation) ? c : tanh(c));
    after[1] = c;
    if (has(gates_recur)) after[2] = i, after[3] = f, after[4] = o;
  }
  template <class V>
  void backward(const V* kept, const V*, const V* before, const V* after, const V* p, const V* d,
                V* dx, V*, V* d_before, V* d_p) const {
    const bool peeps = has(peepholes);
    const V one = V{} + 1, c = after[1], c_before = before[1];
    int at = 0;
    V i = one, f = one, o = one;
    if (has_i()) i = kept[at++];
    if (has_f()) f = kept[at++];
    else if (has(coupled)) f = 1 - i;
    const V z = kept[at++];
    if (has_o()) o = kept[at];
    const V shown = has(no_output_activation) ? c : tanh(c);
    V dc = d[1] + (has(no_output_activation) ? d[0] * o : d[0] * o * slope_of_tanh(shown));
    const bool recur = has(gates_recur);
    if (has_o()) {
      const V sum = (recur ? d[0] * shown + d[4] : d[0] * shown) * slope_of_sigmoid(o);
      dx[at] = sum;
      if (peeps) dc += p[2] * sum, d_p[2] += sum * c;
    }
    dx[--at] = has(no_input_activation) ? dc * i : dc * i * slope_of_tanh(z);
    V di = dc * z, df = dc * c_before, dc_before = dc * f;
    if (recur) di += d[2], df += d[3];
    if (has(coupled)) di -= df;
    if (has_f()) {
      const V sum = df * slope_of_sigmoid(f);
      dx[--at] = sum;
      if (peeps) dc_before += p[1] * sum, d_p[1] += sum * c_before;
    }
    if (has_i()) {
      const V sum = di * slope_of_sigmoid(i);
      dx[--at] = sum;
      if (peeps) dc_before += p[0] * sum, d_p[0] += sum * c_before;
    }
    d_before[0] = V{};
    d_before[1] = dc_before;
    if (recur) d_before[2] = d_before[3] = d_before[4] = V{};
  }
};

// n = tanh(x_n + r u_n),  h = (1 - z) n + z h'
struct Gru {
  static constexpr bool two_stages = false;
  constexpr CellShape shape() const { return cell_shape(CellKind::gru, 0); }
  explicit Gru(int) {}
  static int operand(int j) { return j; }

  template <class V>
  void forward(V* x, const V* u, const V* before, const V*, V* after, V* extra) const {
    const V r = sigmoid(x[0] + u[0]), z = sigmoid(x[1] + u[1]), n = tanh(x[2] + r * u[2]);
    after[0] = n + z * (before[0] - n);
    x[0] = r, x[1] = z, x[2] = n;
    extra[0] = u[2];
  }
  template <class V>
  void backward(const V* kept, const V* extra, const V* before, const V*, const V*, const V* d,
                V* dx, V* du, V* d_before, V*) const {
    const V r = kept[0], z = kept[1], n = kept[2];
    dx[2] = d[0] * (1 - z) * slope_of_tanh(n);
    dx[1] = du[1] = d[0] * (before[0] - n) * slope_of_sigmoid(z);
    dx[0] = du[0] = dx[2] * extra[0] * slope_of_sigmoid(r);
    du[2] = dx[2] * r;
    d_before[0] = d[0] * z;
  }
};

// n = tanh(x_n + U_n (r h')),  h = (1 - z) n + z h'
struct GruBefore {
  static constexpr bool two_stages = true;
  constexpr CellShape shape() const { return cell_shape(CellKind::gru_before, 0); }
  explicit GruBefore(int) {}
  static int operand(int j) { return j; }

  template <class V>
  V forward_first(V* x, const V* u, const V* before, const V*) const {
    x[0] = sigmoid(x[0] + u[0]);
    x[1] = sigmoid(x[1] + u[1]);
    return x[0] * before[0];
  }
  template <class V>
  void forward_second(V* x, const V* u, const V* before, const V*, V* after, V*) const {
    x[2] = tanh(x[2] + u[0]);
    after[0] = x[2] + x[1] * (before[0] - x[2]);
  }
  template <class V>
  V backward_second(const V* kept, const V* before, const V* d, V* dx, V* d_before) const {
    dx[2] = d[0] * (1 - kept[1]) * slope_of_tanh(kept[2]);
    dx[1] = d[0] * (before[0] - kept[2]) * slope_of_sigmoid(kept[1]);
    d_before[0] = d[0] * kept[1];
    return kept[0] * before[0];
  }
  template <class V>
  void backward_first(const V* kept, const V* before, V d_second, V* dx, V* d_before) const {
    dx[0] = d_second * before[0] * slope_of_sigmoid(kept[0]);
    d_before[0] += d_second * kept[0];
  }
};

// n = tanh(x_n + U_n (f h')),  h = (1 - f) h' + f n
struct Mgu {
  static constexpr bool two_stages = true;
  constexpr CellShape shape() const { return cell_shape(CellKind::mgu, 0); }
  explicit Mgu(int) {}
  static int operand(int j) { return j; }

  template <class V>
  V forward_first(V* x, const V* u, const V* before, const V*) const {
    x[0] = sigmoid(x[0] + u[0]);
    return x[0] * before[0];
  }
  template <class V>
  void forward_second(V* x, const V* u, const V* before, const V*, V* after, V*) const {
    x[1] = tanh(x[1] + u[0]);
    after[0] = before[0] + x[0] * (x[1] - before[0]);
  }
  template <class V>
  V backward_second(const V* kept, const V* before, const V* d, V* dx, V* d_before) const {
    dx[1] = d[0] * kept[0] * slope_of_tanh(kept[1]);
    dx[0] = d[0] * (kept[1] - before[0]);  // of the gate so far
    d_before[0] = d[0] * (1 - kept[0]);
    return kept[0] * before[0];
  }
  template <class V>
  void backward_first(const V* kept, const V* before, V d_second, V* dx, V* d_before) const {
    dx[0] = (dx[0] + d_second * before[0]) * slope_of_sigmoid(kept[0]);
    d_before[0] += d_second * kept[0];
  }
};

// c = f c' + i z,  n = f n' + i,  h = o c / n,  where i and f are exponential and are kept in
// range by m = max(log f + m', log i); a unit whose n' is zero begins, with m = log i
struct Slstm {
  static constexpr bool two_stages = false;
  constexpr CellShape shape() const { return cell_shape(CellKind::slstm, 0); }
  explicit Slstm(int) {}
  static int operand(int j) { return j; }

  template <class V>
  void forward(V* x, const V* u, const V* before, const V*, V* after, V* extra) const {
    const V log_i = x[0] + u[0], raw_f = x[1] + u[1];
    const V carried = log_sigmoid(raw_f) + before[3];
    const auto begins = before[2] == 0;
    const V larger = carried < log_i ? log_i : carried;
    const V m = begins ? log_i : larger;
    const V i = exp(log_i - m), f = begins ? V{} : exp(carried - m);
    const V z = tanh(x[2] + u[2]), o = sigmoid(x[3] + u[3]);
    const V c = f * before[1] + i * z, n = f * before[2] + i;
    after[0] = o * (c / n), after[1] = c, after[2] = n, after[3] = m;
    x[0] = i, x[1] = f, x[2] = z, x[3] = o;
    extra[0] = sigmoid(-raw_f);  // the slope of log f
  }
  template <class V>
  void backward(const V* kept, const V* extra, const V* before, const V* after, const V*,
                const V* d, V* dx, V*, V* d_before, V*) const {
    const V i = kept[0], f = kept[1], z = kept[2], o = kept[3];
    const V share = 1 / after[2], ratio = after[1] * share;
    const V dc = d[1] + d[0] * o * share, dn = d[2] - d[0] * o * share * ratio;
    V d_carried = (dc * before[1] + dn * before[2]) * f, d_log_i = (dc * z + dn) * i;
    const V dm = d[3] - d_carried - d_log_i;
    // To the larger of the two; to both alike where they are equal. The smaller is less than one.
    const V one = V{} + 1, half = one / 2;
    const V to_f = f < one ? V{} : (i < one ? one : half);
    d_carried += dm * to_f;
    d_log_i += dm * (1 - to_f);
    dx[0] = d_log_i;
    dx[1] = d_carried * extra[0];
    dx[2] = dc * i * slope_of_tanh(z);
    dx[3] = d[0] * ratio * slope_of_sigmoid(o);
    d_before[0] = V{};
    d_before[1] = dc * f, d_before[2] = dn * f, d_before[3] = d_carried;
  }
};

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
