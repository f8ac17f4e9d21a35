#include "selective_scan.h"

#include "kernel.h"
#include "lanes.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

constexpr int64_t chunk = selective_chunk;
constexpr int64_t block = 16;  // states whose B and C are laid out at once

template <class W>
constexpr int64_t tile_of = selective_tile(sizeof(W) == 8 ? Stored::float64 : Stored::float32);

// Numbers of a chunk as the recurrence reads them: for one vector of channels, all times in a row.
// The odd line keeps vectors of the same time apart: 4096 bytes from one to the next, they would
// drive each other out of the nearest cache, and laying out took longer than the recurrence.
template <class W>
struct Laid {
  alignas(64) W at[tile_of<W> / width<W>][chunk + 1][width<W>];
  W* of(int64_t vector, int64_t t) { return at[vector][t]; }
};

// One row of a batch and one tile of channels within a group.
struct Place {
  int64_t row, group, from, width;  // `from` counts within the group
  int64_t channel;                  // and this within all
};

// Calls visit(place) for a share of all channels, cut into tiles; no result depends on where.
template <class W, class Visit>
inline void for_places(const SelectiveScanInputs& in, Share share, Visit visit) {
  for_tiles(in.batch * in.groups, in.dim, share,
            [&](int64_t row, int64_t from, int64_t width) {
              for (int64_t at = from; at < from + width; at += tile_of<W>) {
                const int64_t rest = from + width - at, group = row % in.groups;
                visit(Place{row / in.groups, group, at, rest < tile_of<W> ? rest : tile_of<W>,
                            group * in.dim + at});
              }
            });
}

// The first `count` numbers, or as many as fill a vector; the others are zero, or left alone.
template <class S, class W>
inline Vector<W> read(const S* at, int64_t count) {
  if constexpr (sizeof(S) == sizeof(W)) {
    return count >= width<W> ? load<W>(at) : load<W>(at, count);
  } else {
    alignas(64) W wide[width<W>] = {};
    if (count >= width<W>)
      for (int64_t i = 0; i < width<W>; i++) wide[i] = widen(at[i]);
    else
      for (int64_t i = 0; i < count; i++) wide[i] = widen(at[i]);
    return load<W>(wide);
  }
}
template <class S, class W>
inline void write(S* at, Vector<W> x, int64_t count) {
  if constexpr (sizeof(S) == sizeof(W)) {
    if (count >= width<W>) store<W>(at, x);
    else store<W>(at, x, count);
  } else {
    alignas(64) W wide[width<W>];
    store<W>(wide, x);
    if (count >= width<W>)
      for (int64_t i = 0; i < width<W>; i++) at[i] = narrow<S>(wide[i]);
    else
      for (int64_t i = 0; i < count; i++) at[i] = narrow<S>(wide[i]);
  }
}

// Lanes that lie `stride` apart, as the channels of (channels, state) do.
template <class W>
inline Vector<W> gather(const W* at, int64_t stride, int64_t count) {
  alignas(64) W all[width<W>] = {};
  for (int64_t i = 0; i < count && i < width<W>; i++) all[i] = at[i * stride];
  return load<W>(all);
}
template <class W>
inline void scatter(W* at, int64_t stride, Vector<W> x, int64_t count) {
  alignas(64) W all[width<W>];
  store<W>(all, x);
  for (int64_t i = 0; i < count && i < width<W>; i++) at[i * stride] = all[i];
}

template <class W>
inline W sum(Vector<W> x) {
  alignas(64) W all[width<W>];
  store<W>(all, x);
  for (int64_t half = width<W> / 2; half > 0; half /= 2)
    for (int64_t i = 0; i < half; i++) all[i] += all[i + half];
  return all[0];
}

// Polynomials for 2^r between -1/2 and 1/2, exactly 1 at 0, so that a state without decay is kept:
// relative errors 9e-8 and 2e-16 beside rounding.
template <class V>
inline V near_one(V r, float) {
  constexpr float terms[] = {1.0f, 0.6931469775964916f, 0.240222420835769f, 0.055507337470922596f,
                             0.009671512722139359f, 0.001326472604196969f};
  return polynomial(terms, r);
}
template <class V>
inline V near_one(V r, double) {
  constexpr double terms[] = {1.0,
                              0.6931471805599443,
                              0.2402265069590985,
                              0.05550410866487372,
                              0.009618129107695252,
                              0.001333355813409997,
                              0.00015403530345694041,
                              1.525274556762532e-05,
                              1.3215485433343277e-06,
                              1.017325807776883e-07,
                              7.0659003038788665e-09,
                              5.159971906134805e-10};
  return polynomial(terms, r);
}

// 2^p: what the scan takes most of its time for, and so without the second digits and the last care
// of `exp`. The error is a unit in the last place beside the rounding of p; it is 0 or infinity
// beyond the range.
#if defined(__AVX512F__)
inline Vector<float> power_of_two(Vector<float> p) {
  const __m512 whole = _mm512_roundscale_ps(p, 8), rest = _mm512_reduce_ps(p, 8);
  return _mm512_scalef_ps(near_one<Vector<float>>(rest, 0.0f), whole);
}
inline Vector<double> power_of_two(Vector<double> p) {
  const __m512d whole = _mm512_roundscale_pd(p, 8), rest = _mm512_reduce_pd(p, 8);
  return _mm512_scalef_pd(near_one<Vector<double>>(rest, 0.0), whole);
}
#else
template <class V>
inline V power_of_two(V p) {
  using N = NumbersOf<V>;
  using T = typename Parts<V>::number;
  constexpr T bias = sizeof(T) == 4 ? 127 : 1023;  // of exponents, which are 0 for 2^-bias
  p = p < -bias ? all<V>(-bias) : p;
  p = p > bias + 1 ? all<V>(bias + 1) : p;
  const V shifted = p + N::round;
  const auto whole = bits_of(shifted) - bits_of(all<V>(N::round - bias));
  return near_one(p - (shifted - N::round), T()) * number_with<V>(whole, 0);
}
#endif

// The inputs of one place, a vector of channels at one time.
template <class S, class W>
struct Inputs {
  const SelectiveScanInputs& in;
  const Place place;
  const S *x, *step_size, *gate;

  Inputs(const SelectiveScanInputs& in, const Place& place)
      : in(in),
        place(place),
        x(walk<S>(in.x, place.row, 0, place.channel).at),
        step_size(walk<S>(in.step_size, place.row, 0, place.channel).at),
        gate(in.gate.data ? walk<S>(in.gate, place.row, 0, place.channel).at : nullptr) {}

  Vector<W> x_at(int64_t t, int64_t i, int64_t count) const {
    return read<S, W>(x + t * in.x.time_stride + i, count);
  }
  Vector<W> gate_at(int64_t t, int64_t i, int64_t count) const {
    return read<S, W>(gate + t * in.gate.time_stride + i, count);
  }
  Vector<W> raw_step_at(int64_t t, int64_t i, int64_t count) const {
    const Vector<W> given = read<S, W>(step_size + t * in.step_size.time_stride + i, count);
    if (!in.step_bias) return given;
    return given + read<W, W>(static_cast<const W*>(in.step_bias) + place.channel + i, count);
  }
  Vector<W> step_at(int64_t t, int64_t i, int64_t count) const {
    const Vector<W> raw = raw_step_at(t, i, count);
    return in.step_bias ? softplus(raw) : raw;
  }
  Vector<W> skip_at(int64_t i, int64_t count) const {
    return in.skip ? read<W, W>(static_cast<const W*>(in.skip) + place.channel + i, count) : Vector<W>{};
  }
};

// One chunk of times of one place, in the type of the arithmetic.
template <class W>
struct Chunk {
  const Place& place;
  int64_t begin, times;
  bool last;
  int64_t first, states;  // the block of states whose B and C are here
  bool fresh[chunk];
  W B[chunk][block], C[chunk][block];
  Laid<W> step, drive, y;

  explicit Chunk(const Place& place) : place(place) {}

  void move(const SelectiveScanInputs& in, int64_t from, int64_t end) {
    begin = from;
    times = end - begin < chunk ? end - begin : chunk;
    last = begin + times == end;
    for (int64_t t = 0; t < times; t++) fresh[t] = resets(in.mask, place.row, begin + t);
  }

  // Reads B and C of the block of states from `n`.
  template <class S>
  void weigh(const SelectiveScanInputs& in, int64_t n) {
    first = n;
    states = in.state - n < block ? in.state - n : block;
    weigh<S>(in.B, B), weigh<S>(in.C, C);
  }

  // Calls visit(t, i, v, count) for every vector of channels at every time.
  template <class Visit>
  void for_vectors(Visit visit) const {
    for (int64_t t = 0; t < times; t++)
      for (int64_t i = 0, v = 0; i < place.width; i += width<W>, v++)
        visit(t, i, v, place.width - i);
  }

 private:
  template <class S>
  void weigh(const Strided<4>& all, W (&here)[chunk][block]) const {
    const S* data = static_cast<const S*>(all.data) + place.row * all.stride[0] +
                    begin * all.stride[1] + place.group * all.stride[2] + first;
    for (int64_t t = 0; t < times; t++)
      for (int64_t j = 0; j < states; j++) here[t][j] = widen(data[t * all.stride[1] + j]);
  }
};

// Where the numbers of a place are in (batch, slots, state, channels), and in (batch, channels,
// state), where those of one state lie `state` apart.
template <class W, class Data>
inline W* along_channels(const SelectiveScanInputs& in, const Place& place, Data* data, int64_t n,
                         int64_t slot = 0, int64_t slots = 1) {
  const int64_t row = (place.row * slots + slot) * in.state + n;
  return static_cast<W*>(data) + row * in.groups * in.dim + place.channel;
}
template <class W, class Data>
inline W* along_states(const SelectiveScanInputs& in, const Place& place, Data* data) {
  return static_cast<W*>(data) + (place.row * in.groups * in.dim + place.channel) * in.state;
}

// Calls visit(j, Constant count) for blocks of four states, then for single ones: four chains of
// dependent operations fill the units that one would leave idle.
template <class Visit>
inline void for_states(int64_t count, Visit visit) {
  int64_t j = 0;
  for (; j + 4 <= count; j += 4) visit(j, Constant<4>());
  for (; j < count; j++) visit(j, Constant<1>());
}

template <class W, int64_t many>
using Group = Vector<W>[many];  // the same of several states

template <class W, int64_t many>
inline void read_rates(const SelectiveScanInputs& in, const Chunk<W>& c, int64_t i, int64_t j,
                       Group<W, many>& rate) {
  const W* rates = static_cast<const W*>(in.rates) + c.place.channel + i;
  for (int64_t k = 0; k < many; k++)
    rate[k] = read<W, W>(rates + (c.first + j + k) * in.groups * in.dim, c.place.width - i);
}

// The states before a chunk.
template <class W, int64_t many>
inline void read_states(const SelectiveScanInputs& in, const Chunk<W>& c, const void* borders,
                        int64_t slot, int64_t slots, int64_t i, int64_t j,
                        Group<W, many>& h) {
  for (int64_t k = 0; k < many; k++) {
    const int64_t n = c.first + j + k, count = c.place.width - i;
    if (c.begin == 0)
      h[k] = gather(along_states<const W>(in, c.place, in.initial) + i * in.state + n, in.state,
                    count);
    else
      h[k] = read<W, W>(along_channels<const W>(in, c.place, borders, n, slot, slots) + i, count);
  }
}

// Adds to y what the block of states sends there, through all times of a chunk.
template <class W>
void advance(const SelectiveScan& a, Chunk<W>& c) {
  const SelectiveScanInputs& in = a.in;
  const int64_t border = c.begin / chunk, newest = a.kept - 1;
  for (int64_t i = 0, v = 0; i < c.place.width; i += width<W>, v++)
    for_states(c.states, [&, i, v](int64_t j, auto count) {
      constexpr int64_t many = decltype(count)();
      Group<W, many> h, rate;
      read_rates<W, many>(in, c, i, j, rate);
      read_states<W, many>(in, c, a.borders, border - 1 < newest ? border - 1 : newest, a.kept, i,
                           j, h);
      for (int64_t t = 0; t < c.times; t++) {
        const Vector<W> s = load<W>(c.step.of(v, t)), d = load<W>(c.drive.of(v, t));
        Vector<W> out = load<W>(c.y.of(v, t));
        if (c.fresh[t])
          for (int64_t k = 0; k < many; k++) h[k] = Vector<W>{};
        for (int64_t k = 0; k < many; k++) {
          h[k] = power_of_two(s * rate[k]) * h[k] + d * c.B[t][j + k];
          out += h[k] * c.C[t][j + k];
        }
        store<W>(c.y.of(v, t), out);
      }
      for (int64_t k = 0; k < many; k++) {
        const int64_t n = c.first + j + k, rest = c.place.width - i;
        if (c.last)
          scatter(along_states<W>(in, c.place, a.final) + i * in.state + n, in.state, h[k], rest);
        else
          write<W, W>(along_channels<W>(in, c.place, a.borders, n,
                                        border < newest ? border : newest, a.kept) + i,
                      h[k], rest);
      }
    });
}

template <class S, class W>
void forward(const SelectiveScan& a, Share share) {
  const SelectiveScanInputs& in = a.in;
  for_places<W>(in, share, [&](const Place& place) {
    Chunk<W> c(place);
    const Inputs<S, W> inputs(in, place);
    const int64_t end = length(in.mask, place.row, in.time);
    if (end == 0)
      memcpy(along_states<W>(in, place, a.final), along_states<const W>(in, place, in.initial),
             place.width * in.state * sizeof(W));
    for (int64_t begin = 0; begin < end; begin += chunk) {
      c.move(in, begin, end);
      c.for_vectors([&](int64_t t, int64_t i, int64_t v, int64_t count) {
        const Vector<W> x = inputs.x_at(begin + t, i, count);
        const Vector<W> s = inputs.step_at(begin + t, i, count);
        store<W>(c.step.of(v, t), s);
        store<W>(c.drive.of(v, t), s * x);
        store<W>(c.y.of(v, t), inputs.skip_at(i, count) * x);
      });
      for (int64_t n = 0; n < in.state; n += block) {
        c.template weigh<S>(in, n);
        advance(a, c);
      }
      c.for_vectors([&](int64_t t, int64_t i, int64_t v, int64_t count) {
        Vector<W> out = load<W>(c.y.of(v, t));
        if (inputs.gate) {
          const Vector<W> z = inputs.gate_at(begin + t, i, count);
          out *= z * sigmoid(z);
        }
        write<S, W>(at<S>(a.output, place.row, begin + t, place.channel) + i, out, count);
      });
    }
    clear<S>(a.output, place.row, end, in.time, place.channel, place.width);
  });
}

// A chunk and what flows back through it.
template <class W>
struct Return {
  Laid<W> grad_y, grad_step, grad_drive;
  // Of four states and one vector of channels: the decays, and what they leave of the states.
  alignas(64) W decay[chunk][4][width<W>], kept[chunk][4][width<W>];
  // Of four states, summed over the vectors of a tile.
  alignas(64) W B[chunk][4][width<W>], C[chunk][4][width<W>];
};

// The way of `advance` again and then back. It leaves the gradients of B and C for one tile.
template <class W, bool gated>
void retreat(const SelectiveScanBackward& a, Chunk<W>& c, Return<W>& r, W* tile_B, W* tile_C) {
  const SelectiveScanInputs& in = a.in;
  for_states(c.states, [&](int64_t j, auto count) {
    constexpr int64_t many = decltype(count)();
    memset(r.B, 0, c.times * sizeof r.B[0]);
    memset(r.C, 0, c.times * sizeof r.C[0]);
    for (int64_t i = 0, v = 0; i < c.place.width; i += width<W>, v++) {
      const int64_t rest = c.place.width - i;
      Group<W, many> h, rate;
      read_rates<W, many>(in, c, i, j, rate);
      read_states<W, many>(in, c, a.borders, c.begin / chunk - 1, a.kept, i, j, h);
      for (int64_t t = 0; t < c.times; t++) {
        const Vector<W> s = load<W>(c.step.of(v, t)), d = load<W>(c.drive.of(v, t));
        Vector<W> out = {};
        if (gated) out = load<W>(c.y.of(v, t));
        if (c.fresh[t])
          for (int64_t k = 0; k < many; k++) h[k] = Vector<W>{};
        for (int64_t k = 0; k < many; k++) {
          const Vector<W> decay = power_of_two(s * rate[k]), kept = decay * h[k];
          store<W>(r.decay[t][k], decay);
          store<W>(r.kept[t][k], kept);
          h[k] = kept + d * c.B[t][j + k];
          if (gated) out += h[k] * c.C[t][j + k];
        }
        if (gated) store<W>(c.y.of(v, t), out);
      }
      Group<W, many> g, sum_rate;  // the gradients of h, and of the rates
      for (int64_t k = 0; k < many; k++) {
        const int64_t n = c.first + j + k;
        sum_rate[k] = read<W, W>(along_channels<W>(in, c.place, a.row_rates, n) + i, rest);
        if (c.last)
          g[k] = gather(along_states<const W>(in, c.place, a.grad_final) + i * in.state + n,
                        in.state, rest);
        else
          g[k] = read<W, W>(along_channels<W>(in, c.place, a.carry, n) + i, rest);
      }
      for (int64_t t = c.times - 1; t >= 0; t--) {
        const Vector<W> s = load<W>(c.step.of(v, t)), d = load<W>(c.drive.of(v, t));
        const Vector<W> dy = load<W>(r.grad_y.of(v, t));
        Vector<W> ds = load<W>(r.grad_step.of(v, t)), dd = load<W>(r.grad_drive.of(v, t));
        for (int64_t k = 0; k < many; k++) {
          const Vector<W> kept = load<W>(r.kept[t][k]), now = kept + d * c.B[t][j + k];
          g[k] += dy * c.C[t][j + k];
          store<W>(r.C[t][k], load<W>(r.C[t][k]) + dy * now);
          store<W>(r.B[t][k], load<W>(r.B[t][k]) + g[k] * d);
          dd += g[k] * c.B[t][j + k];
          const Vector<W> through = g[k] * kept;  // the gradient of the decay's logarithm
          ds += through * rate[k];
          sum_rate[k] += through * s;
          g[k] *= load<W>(r.decay[t][k]);
        }
        if (c.fresh[t])
          for (int64_t k = 0; k < many; k++) g[k] = Vector<W>{};
        store<W>(r.grad_step.of(v, t), ds);
        store<W>(r.grad_drive.of(v, t), dd);
      }
      for (int64_t k = 0; k < many; k++) {
        const int64_t n = c.first + j + k;
        write<W, W>(along_channels<W>(in, c.place, a.row_rates, n) + i, sum_rate[k], rest);
        if (c.begin == 0)
          scatter(along_states<W>(in, c.place, a.grad_initial) + i * in.state + n, in.state, g[k],
                  rest);
        else
          write<W, W>(along_channels<W>(in, c.place, a.carry, n) + i, g[k], rest);
      }
    }
    for (int64_t t = 0; t < c.times; t++)
      for (int64_t k = 0; k < many; k++) {
        const int64_t at = (c.begin + t) * in.state + c.first + j + k;
        tile_B[at] = sum<W>(load<W>(r.B[t][k]));
        tile_C[at] = sum<W>(load<W>(r.C[t][k]));
      }
  });
}

template <class S, class W>
void backward(const SelectiveScanBackward& a, Share share) {
  const SelectiveScanInputs& in = a.in;
  const bool gated = in.gate.data != nullptr;
  const int64_t channels = in.groups * in.dim, tiles = (in.dim + tile_of<W> - 1) / tile_of<W>;
  const int64_t units = in.batch * in.groups * tiles;
  for (int64_t unit = share.begin(units); unit < share.end(units); unit++) {
    const int64_t row = unit / (in.groups * tiles), group = unit / tiles % in.groups;
    const int64_t from = unit % tiles * tile_of<W>, rest = in.dim - from;
    const Place place{row, group, from, rest < tile_of<W> ? rest : tile_of<W>,
                      group * in.dim + from};
    Chunk<W> c(place);
    Return<W> r;
    alignas(64) W sums_skip[tile_of<W>] = {}, sums_bias[tile_of<W>] = {};
    const Inputs<S, W> inputs(in, place);
    const int64_t end = length(in.mask, row, in.time);
    W* tile_B = static_cast<W*>(a.tile_B) + unit * in.time * in.state;
    W* tile_C = static_cast<W*>(a.tile_C) + unit * in.time * in.state;
    memset(tile_B + end * in.state, 0, (in.time - end) * in.state * sizeof(W));
    memset(tile_C + end * in.state, 0, (in.time - end) * in.state * sizeof(W));
    clear<S>(a.grad_x, row, end, in.time, place.channel, place.width);
    clear<S>(a.grad_step_size, row, end, in.time, place.channel, place.width);
    if (gated) clear<S>(a.grad_gate, row, end, in.time, place.channel, place.width);
    for (int64_t n = 0; n < in.state; n++)
      memset(along_channels<W>(in, place, a.row_rates, n), 0, place.width * sizeof(W));
    if (end == 0)
      memcpy(along_states<W>(in, place, a.grad_initial),
             along_states<const W>(in, place, a.grad_final), place.width * in.state * sizeof(W));
    const auto grad_at = [&](int64_t t, int64_t i, int64_t count) {
      return read<S, W>(walk<S>(a.grad_output, row, t, place.channel).at + i, count);
    };

    for (int64_t begin = (end + chunk - 1) / chunk * chunk - chunk; begin >= 0; begin -= chunk) {
      c.move(in, begin, end);
      // Lanes beyond the last channel hold zeros throughout: nothing enters or leaves there.
      c.for_vectors([&](int64_t t, int64_t i, int64_t v, int64_t count) {
        const Vector<W> x = inputs.x_at(begin + t, i, count);
        const Vector<W> s = inputs.step_at(begin + t, i, count);
        Vector<W> dy = grad_at(begin + t, i, count);
        if (gated) {
          const Vector<W> z = inputs.gate_at(begin + t, i, count);
          dy *= z * sigmoid(z);
          store<W>(c.y.of(v, t), inputs.skip_at(i, count) * x);
        }
        store<W>(c.step.of(v, t), s);
        store<W>(c.drive.of(v, t), s * x);
        store<W>(r.grad_y.of(v, t), dy);
        store<W>(r.grad_step.of(v, t), Vector<W>{});
        store<W>(r.grad_drive.of(v, t), Vector<W>{});
      });
      for (int64_t n = 0; n < in.state; n += block) {
        c.template weigh<S>(in, n);
        if (gated) retreat<W, true>(a, c, r, tile_B, tile_C);
        else retreat<W, false>(a, c, r, tile_B, tile_C);
      }
      c.for_vectors([&](int64_t t, int64_t i, int64_t v, int64_t count) {
        const auto put = [&](const MutableSequence& to, Vector<W> x) {
          write<S, W>(at<S>(to, row, begin + t, place.channel) + i, x, count);
        };
        const Vector<W> x = inputs.x_at(begin + t, i, count), dy = load<W>(r.grad_y.of(v, t));
        const Vector<W> dd = load<W>(r.grad_drive.of(v, t));
        put(a.grad_x, dd * load<W>(c.step.of(v, t)) + dy * inputs.skip_at(i, count));
        store<W>(sums_skip + i, load<W>(sums_skip + i) + dy * x);
        // The rates are those of powers of two.
        Vector<W> ds = load<W>(r.grad_step.of(v, t)) * W(0.6931471805599453) + dd * x;
        if (in.step_bias) ds *= sigmoid(inputs.raw_step_at(begin + t, i, count));
        store<W>(sums_bias + i, load<W>(sums_bias + i) + ds);
        put(a.grad_step_size, ds);
        if (gated) {
          const Vector<W> z = inputs.gate_at(begin + t, i, count), open = sigmoid(z);
          put(a.grad_gate, grad_at(begin + t, i, count) * load<W>(c.y.of(v, t)) * open *
                               (1 + z * (1 - open)));
        }
      });
    }
    const int64_t at_row = row * channels + place.channel;
    memcpy(static_cast<W*>(a.row_skip) + at_row, sums_skip, place.width * sizeof(W));
    memcpy(static_cast<W*>(a.row_bias) + at_row, sums_bias, place.width * sizeof(W));
  }
}

template <class S, class W>
void sums(const SelectiveScanSums& a, Share share) {
  const int64_t channels = a.groups * a.dim, tiles = (a.dim + tile_of<W> - 1) / tile_of<W>;
  const W* rates = static_cast<const W*>(a.row_rates);
  for (int64_t i = share.begin(channels); i < share.end(channels); i++) {
    W skip = 0, bias = 0;
    for (int64_t row = 0; row < a.batch; row++) {
      skip += static_cast<const W*>(a.row_skip)[row * channels + i];
      bias += static_cast<const W*>(a.row_bias)[row * channels + i];
    }
    if (a.grad_skip) static_cast<W*>(a.grad_skip)[i] = skip;
    if (a.grad_step_bias) static_cast<W*>(a.grad_step_bias)[i] = bias;
    for (int64_t n = 0; n < a.state; n++) {
      W rate = 0;
      for (int64_t row = 0; row < a.batch; row++)
        rate += rates[(row * a.state + n) * channels + i];
      static_cast<W*>(a.grad_A)[i * a.state + n] = rate;
    }
  }
  const int64_t size = a.time * a.state, groups = a.batch * a.groups;
  const auto add = [&](const void* parts_of, void* grad, int64_t at, int64_t n) {
    const int64_t row = at / (a.time * a.groups), t = at / a.groups % a.time, group = at % a.groups;
    const W* first = static_cast<const W*>(parts_of) +
                     (row * a.groups + group) * tiles * size + t * a.state + n;
    W total = 0;
    for (int64_t tile = 0; tile < tiles; tile++) total += first[tile * size];
    static_cast<S*>(grad)[at * a.state + n] = narrow<S>(total);
  };
  const int64_t all = groups * a.time;
  for (int64_t at = share.begin(all); at < share.end(all); at++)
    for (int64_t n = 0; n < a.state; n++) {
      add(a.tile_B, a.grad_B, at, n);
      add(a.tile_C, a.grad_C, at, n);
    }
}

template <class W>
void transpose(const SelectiveScanRates& a, Share share) {
  const W* A = static_cast<const W*>(a.A);
  W* rates = static_cast<W*>(a.rates);
  for (int64_t i = share.begin(a.channels); i < share.end(a.channels); i++)
    for (int64_t n = 0; n < a.state; n++)
      rates[n * a.channels + i] = A[i * a.state + n] * W(1.4426950408889634);
}

// The weighted sum of the next states of one channel, which are stored. Here the state lies as it
// is kept, and its axis in the lanes.
template <class S, class W, class Count>
inline Vector<W> step_of(W* next, const W* h, const W* A, const S* B, const S* C, W doublings,
                         W drive, Count states) {
  Vector<W> sums{};
  for (int64_t n = 0; n < states; n += width<W>) {
    const int64_t count = states - n;
    const Vector<W> decay = power_of_two(read<W, W>(A + n, count) * doublings);
    const Vector<W> now = decay * read<W, W>(h + n, count) + read<S, W>(B + n, count) * drive;
    write<W, W>(next + n, now, count);
    sums += now * read<S, W>(C + n, count);
  }
  return sums;
}

template <class S, class W>
void step(const SelectiveScanStep& a, Share share) {
  const SelectiveScanInputs& in = a.in;
  const int64_t channels = in.groups * in.dim, all = in.batch * channels;
  const int64_t stop = share.end(all);
  int64_t i = share.begin(all);
  while (i < stop) {
    // A vector of channels, or fewer where a group or the share ends.
    const int64_t row = i / channels, channel = i % channels, group = channel / in.dim;
    int64_t count = in.dim - channel % in.dim;
    if (count > stop - i) count = stop - i;
    if (count > width<W>) count = width<W>;
    const auto projected = [&](const Strided<4>& p) {
      return static_cast<const S*>(p.data) + row * p.stride[0] + group * p.stride[2];
    };
    const S *B = projected(in.B), *C = projected(in.C);
    const Inputs<S, W> inputs(in, {row, group, channel % in.dim, count, channel});
    const Vector<W> x = inputs.x_at(0, 0, count);
    alignas(64) W doublings[width<W>], drive[width<W>];
    Vector<W> sums[width<W>] = {};
    const Vector<W> step_size = inputs.step_at(0, 0, count);
    store<W>(doublings, step_size * W(1.4426950408889634));
    store<W>(drive, step_size * x);
    const W* rates = static_cast<const W*>(in.rates);
    const W* h = static_cast<const W*>(in.initial);
    W* next = static_cast<W*>(a.final);
    for (int64_t k = 0; k < count; k++) {
      const int64_t at = (i + k) * in.state;
      const auto states = [&](auto number) {
        return step_of<S, W>(next + at, h + at, rates + (channel + k) * in.state, B, C,
                             doublings[k], drive[k], number);
      };
      sums[k] = in.state == 16 ? states(Constant<16>()) : states(in.state);
    }
    add_chunks<1, lanes<W>, lanes<W>, W>(sums);  // every channel's states, into its lane
    Vector<W> y = sums[0] + inputs.skip_at(0, count) * x;
    if (inputs.gate) {
      const Vector<W> z = inputs.gate_at(0, 0, count);
      y *= z * sigmoid(z);
    }
    write<S, W>(static_cast<S*>(a.output) + i, y, count);
    i += count;
  }
}

}  // namespace

void selective_scan_rates(const SelectiveScanRates& a, Share share) {
  if (a.stored == Stored::float64) transpose<double>(a, share);
  else transpose<float>(a, share);
}

void selective_scan(const SelectiveScan& a, Share share) {
  switch (a.in.stored) {
    case Stored::float32: return forward<float, float>(a, share);
    case Stored::float64: return forward<double, double>(a, share);
    case Stored::bfloat16: return forward<bfloat16, float>(a, share);
  }
}

void selective_scan_backward(const SelectiveScanBackward& a, Share share) {
  switch (a.in.stored) {
    case Stored::float32: return backward<float, float>(a, share);
    case Stored::float64: return backward<double, double>(a, share);
    case Stored::bfloat16: return backward<bfloat16, float>(a, share);
  }
}

void selective_scan_sums(const SelectiveScanSums& a, Share share) {
  switch (a.stored) {
    case Stored::float32: return sums<float, float>(a, share);
    case Stored::float64: return sums<double, double>(a, share);
    case Stored::bfloat16: return sums<bfloat16, float>(a, share);
  }
}

void selective_scan_step(const SelectiveScanStep& a, Share share) {
  switch (a.in.stored) {
    case Stored::float32: return step<float, float>(a, share);
    case Stored::float64: return step<double, double>(a, share);
    case Stored::bfloat16: return step<bfloat16, float>(a, share);
  }
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
