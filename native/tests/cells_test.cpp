#include "../cells.h"

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// The cells once more, as plain loops: for a unit, from the sums of its gates.
struct Sums {
  std::vector<double> x, u;  // products with the input, with the state
};

void advance(CellKind kind, int s, const Sums& p, const double* vectors, int64_t hidden,
             std::vector<double>& state) {
  std::vector<double>& h = state;
  switch (kind) {
    case CellKind::elman: h[0] = s ? std::fmax(p.x[0] + p.u[0], 0) : std::tanh(p.x[0] + p.u[0]); return;
    case CellKind::indrnn: {
      const double sum = p.x[0] + vectors[0] * h[0];
      h[0] = s ? std::fmax(sum, 0) : std::tanh(sum);
      return;
    }
    case CellKind::lstm: {
      const bool peeps = s & peepholes;
      const auto peep = [&](int i, double c) { return peeps ? vectors[i * hidden] * c : 0; };
      const double i = sigmoid(p.x[0] + p.u[0] + peep(0, h[1]));
      const double f = sigmoid(p.x[1] + p.u[1] + peep(1, h[1]));
      h[1] = f * h[1] + i * std::tanh(p.x[2] + p.u[2]);
      h[0] = sigmoid(p.x[3] + p.u[3] + peep(2, h[1])) * std::tanh(h[1]);
      return;
    }
    case CellKind::gru: {
      const double r = sigmoid(p.x[0] + p.u[0]), z = sigmoid(p.x[1] + p.u[1]);
      h[0] = (1 - z) * std::tanh(p.x[2] + r * p.u[2]) + z * h[0];
      return;
    }
    case CellKind::slstm: {
      const double f = p.x[1] + p.u[1], carried = h[3] - std::log1p(std::exp(-f));
      const double m = std::fmax(carried, p.x[0] + p.u[0]);
      const double i = std::exp(p.x[0] + p.u[0] - m), kept = std::exp(carried - m);
      h[1] = kept * h[1] + i * std::tanh(p.x[2] + p.u[2]);
      h[2] = kept * h[2] + i, h[3] = m;
      h[0] = sigmoid(p.x[3] + p.u[3]) * h[1] / h[2];
      return;
    }
    default: return;
  }
}

// Every array at its exact size, and outputs NaN until they are written.
template <class W>
bool agrees(Stored stored, CellKind kind, int switches, int64_t batch, int64_t time, int64_t heads,
            int64_t width, bool masks, int threads, double tolerance) {
  const CellShape cell = cell_shape(kind, switches);
  const int64_t hidden = heads * width, across = cell.operands * width;
  const int64_t kept = cell.leaves - 1 + cell.extras, sums = batch * time * cell.gates * hidden;
  auto gates = random<W>(sums, -1, 1);
  auto recurrent = random<W>(heads * cell.gates * width * across, -0.3, 0.3);
  auto vectors = random<W>(cell.vectors * hidden, -1, 1);
  auto initial = random<W>(cell.leaves * batch * hidden, 0.5, 1);
  auto grad_output = random<W>(batch * time * hidden, -1, 1);
  auto grad_state = random<W>(cell.leaves * batch * hidden, -1, 1);
  std::unique_ptr<bool[]> reset(new bool[batch * time]);
  for (int64_t i = 0; i < batch * time; i++) reset[i] = masks && dice() % 4 == 0;
  std::unique_ptr<int64_t[]> lengths(new int64_t[batch]);
  for (int64_t i = 0; i < batch; i++) lengths[i] = masks ? int64_t(dice() % (time + 1)) : time;

  Cells a{};
  a.stored = stored, a.kind = kind, a.switches = switches;
  a.batch = batch, a.time = time, a.heads = heads, a.width = width;
  a.mask = {reset.get(), time, 1, lengths.get()};
  a.recurrent = recurrent.data.get(), a.vectors = vectors.data.get();
  a.pack = true, a.most_parts = threads, a.cache = 1 << 20;
  Exact<char> workspace(cells_workspace(a, threads));
  std::memset(workspace.data.get(), 0, workspace.size);
  a.workspace = workspace.data.get();

  auto projected = gates.size ? std::vector<double>(gates.data.get(), gates.data.get() + sums)
                              : std::vector<double>();
  Exact<W> rest(time * batch * kept * hidden), state(cell.leaves * batch * hidden);
  Exact<W> output(batch * time * hidden);
  std::copy(initial.data.get(), initial.data.get() + initial.size, state.data.get());
  const auto rows = [&](auto& x) { return Sequence{x.data.get(), time * hidden, hidden}; };
  run_team(table_of_cells_forward,
           CellsForward{a, gates.data.get(), rest.data.get(), state.data.get(),
                        MutableSequence{output.data.get(), time * hidden, hidden}},
           1 << 20, threads);
  Exact<W> grad_gates(sums), grad_recurrent(sums), operands(batch * time * cell.operands * hidden);
  Exact<W> second(batch * time * hidden), grad_vectors(batch * cell.vectors * hidden);
  const int64_t of_biases = batch * cell.gates * hidden;
  Exact<W> grad_bias(of_biases), grad_recurrent_bias(cell.additive ? 0 : of_biases);
  for (auto* x : {&grad_vectors, &grad_bias, &grad_recurrent_bias})
    for (int64_t i = 0; i < x->size; i++) (*x)[i] = 0;
  std::memset(workspace.data.get(), 0, workspace.size);
  run_team(table_of_cells_backward,
           CellsBackward{a, gates.data.get(), rest.data.get(), initial.data.get(), rows(output),
                         rows(grad_output), grad_state.data.get(), grad_gates.data.get(),
                         cell.additive ? nullptr : grad_recurrent.data.get(), operands.data.get(),
                         cell.first < cell.gates ? second.data.get() : nullptr,
                         grad_vectors.data.get(), grad_bias.data.get(),
                         cell.additive ? nullptr : grad_recurrent_bias.data.get()},
           1 << 20, threads);
  for (auto* x : {&grad_gates, &grad_state, &grad_vectors, &operands, &rest})
    for (int64_t i = 0; i < x->size; i++)
      if (!std::isfinite(static_cast<double>((*x)[i]))) return false;
  bool good = true;
  const auto sums_are_of = [&](Exact<W>& bias, Exact<W>& each) {
    for (int64_t i = 0; i < bias.size; i++) {
      double sum = 0;
      for (int64_t t = 0; t < time; t++) sum += each[t * of_biases + i];
      good = good && std::fabs(bias[i] - sum) <= tolerance * (1 + std::fabs(sum));
    }
  };
  sums_are_of(grad_bias, grad_gates);
  sums_are_of(grad_recurrent_bias, grad_recurrent);
  // The values of cells with two stages, or gates that recur, are compared from Python.
  if (cell.first < cell.gates || cell.operands > 1) return good;

  std::vector<double> states(initial.data.get(), initial.data.get() + initial.size);
  for (int64_t r = 0; r < batch; r++)
    for (int64_t t = 0; t < time; t++) {
      const auto leaf = [&](int64_t l, int64_t i) -> double& {
        return states[(l * batch + r) * hidden + i];
      };
      if (t < lengths[r]) {
        if (reset[r * time + t])
          for (int64_t i = 0; i < hidden; i++)
            for (int64_t l = 0; l < cell.leaves; l++) leaf(l, i) = l == 2 ? 1e-300 : 0;
        const std::vector<double> before = states;
        for (int64_t i = 0; i < hidden; i++) {
          const int64_t head = i / width;
          Sums p;
          for (int64_t g = 0; g < cell.gates; g++) {
            p.x.push_back(projected[((t * batch + r) * cell.gates + g) * hidden + i]);
            double u = 0;
            for (int64_t k = 0; k < across; k++)
              u += recurrent[((head * cell.gates + g) * width + i % width) * across + k] *
                   before[r * hidden + head * width + k];
            p.u.push_back(u);
          }
          std::vector<double> unit;
          for (int64_t l = 0; l < cell.leaves; l++) unit.push_back(leaf(l, i));
          std::vector<double> weights;
          for (int64_t v = 0; v < cell.vectors; v++)
            weights.push_back(vectors[v * hidden + i]);
          if (kind == CellKind::slstm && reset[r * time + t]) unit[3] = -1e300;
          advance(kind, switches, p, weights.data(), 1, unit);
          for (int64_t l = 0; l < cell.leaves; l++) leaf(l, i) = unit[l];
        }
      }
      for (int64_t i = 0; i < hidden; i++) {
        const double wanted = t < lengths[r] ? leaf(0, i) : 0;
        const double found = output[(r * time + t) * hidden + i];
        good = good && std::fabs(found - wanted) <= tolerance * (1 + std::fabs(wanted));
      }
    }
  return good && close(state, states, tolerance);
}

}  // namespace

bool test_cells() {
  const std::pair<CellKind, int> kinds[] = {
      {CellKind::elman, 0},      {CellKind::elman, 1}, {CellKind::lstm, 0},
      {CellKind::lstm, peepholes}, {CellKind::gru, 0}, {CellKind::gru_before, 0},
      {CellKind::mgu, 0},        {CellKind::slstm, 0}, {CellKind::indrnn, 1},
      {CellKind::lstm, peepholes | gates_recur}};
  bool good = true;
  for (const auto& [kind, switches] : kinds)
    for (int64_t batch : {1, 5})
      for (int64_t time : {0, 1, 5})
        for (int64_t heads : {1, 2})
          for (int64_t width : {1, 17, 64})
            for (bool masks : {false, true})
              for (int threads : {1, 3}) {
                if (cell_shape(kind, switches).operands != 1 && heads > 1) continue;
                good = good &&
                       agrees<float>(Stored::float32, kind, switches, batch, time, heads, width,
                                     masks, threads, 1e-5) &&
                       agrees<double>(Stored::float64, kind, switches, batch, time, heads, width,
                                      masks, threads, 1e-12);
              }
  return good;
}
