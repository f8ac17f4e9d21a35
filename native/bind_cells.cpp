#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <tuple>
#include <vector>

#include "arrays.h"
#include "cells.h"

namespace statewise {

int64_t cache_of_a_core();  // bytes

namespace {

using Lengths = std::initializer_list<int64_t>;

// Contiguous, of just these lengths, and of this type.
void* whole(const char* name, const Array& array, Lengths lengths, Stored stored) {
  bool fits = array.ndim() == lengths.size() &&
              array.dtype() == (stored == Stored::float64 ? nb::dtype<double>() : nb::dtype<float>());
  int64_t stride = 1;
  for (size_t axis = lengths.size(); fits && axis-- > 0;) {
    const int64_t length = lengths.begin()[axis];
    fits = static_cast<int64_t>(array.shape(axis)) == length &&
           (length <= 1 || array.size() == 0 || array.stride(axis) == stride);
    stride *= length;
  }
  if (!fits) {
    std::string wanted = "(";
    for (const int64_t length : lengths)
      wanted += (wanted.size() > 1 ? ", " : "") + std::to_string(length);
    refuse(name, array, wanted + "), contiguous and in the precision of the work");
  }
  return array.data();
}

void* maybe_whole(const char* name, const MaybeArray& array, Lengths lengths, Stored stored) {
  return array ? whole(name, *array, lengths, stored) : nullptr;
}

Stored precision(const char* name, const Array& array) {
  if (array.dtype() == nb::dtype<double>()) return Stored::float64;
  if (array.dtype() == nb::dtype<float>()) return Stored::float32;
  refuse(name, array, "float32 or float64");
}

CellKind known(int kind) {
  if (kind < 0 || kind > static_cast<int>(CellKind::indrnn))
    throw nb::value_error(("there is no kind of cell " + std::to_string(kind)).c_str());
  return static_cast<CellKind>(kind);
}

// What forward and backward have in common.
Cells common(int kind, int switches, int64_t offset, bool pack, const Array& recurrent,
             const MaybeArray& vectors, const MaybeArray& reset, const MaybeArray& lengths,
             const Array& output, const Array& workspace, int threads) {
  Cells a{};
  a.kind = known(kind);
  a.switches = switches;
  const CellShape cell = cell_shape(a.kind, switches);
  a.stored = precision("output", output);
  if (output.ndim() != 3) refuse("output", output, "(batch, time, hidden)");
  a.batch = output.shape(0), a.time = output.shape(1);
  const int64_t hidden = output.shape(2);
  if (recurrent.ndim() != 3 || recurrent.shape(0) == 0)
    refuse("recurrent", recurrent, "(heads, gates * head_dim, operands * head_dim)");
  a.heads = recurrent.shape(0), a.width = hidden / a.heads;
  if (a.heads * a.width != hidden) refuse("recurrent", recurrent, "of heads that divide hidden");
  a.recurrent =
      whole("recurrent", recurrent,
            {a.heads, cell.operands ? cell.gates * a.width : 0, cell.operands * a.width}, a.stored);
  a.vectors = maybe_whole("vectors", vectors, {cell.vectors, hidden}, a.stored);
  if (cell.vectors && !a.vectors) throw nb::value_error("this cell needs vectors");
  a.offset = offset;
  a.mask = mask(reset, lengths, a.batch, a.time);
  a.pack = pack;
  a.most_parts = threads;
  a.cache = cache_of_a_core();
  const int64_t bytes = cells_workspace(a, threads);
  if (workspace.ndim() != 1 || static_cast<int64_t>(workspace.nbytes()) < bytes)
    refuse("workspace", workspace, "at least " + std::to_string(bytes) + " bytes");
  a.workspace = workspace.data();
  memset(static_cast<char*>(a.workspace) + 64, 0, 64 * (threads + 1));  // the barriers
  return a;
}

// How much there is to do: a step costs more than its numbers.
int64_t work(const Cells& a) {
  const CellShape cell = cell_shape(a.kind, a.switches);
  return a.batch * a.time * a.heads * a.width * cell.gates * (16 + cell.operands * a.width / 8);
}

void forward(int kind, int switches, int64_t offset, bool pack, const Array& recurrent,
             const MaybeArray& recurrent_bias, const MaybeArray& vectors, const MaybeArray& reset,
             const MaybeArray& lengths, const Array& gates, const MaybeArray& rest,
             const Array& state, const Array& output, const Array& workspace, int threads) {
  Cells a = common(kind, switches, offset, pack, recurrent, vectors, reset, lengths, output,
                   workspace, threads);
  const CellShape cell = cell_shape(a.kind, switches);
  const int64_t hidden = a.heads * a.width, kept = cell.leaves - 1 + cell.extras;
  a.recurrent_bias =
      maybe_whole("recurrent_bias", recurrent_bias, {cell.gates * hidden}, a.stored);
  const CellsForward arguments{
      a, whole("gates", gates, {a.time, a.batch, cell.gates * hidden}, a.stored),
      maybe_whole("rest", rest, {a.time, a.batch, kept * hidden}, a.stored),
      whole("state", state, {cell.leaves, a.batch, hidden}, a.stored),
      mutable_sequence("output", output, output)};
  nb::gil_scoped_release released;
  run_team(table_of_cells_forward, arguments, work(a), threads);
}

void backward(int kind, int switches, int64_t offset, bool pack, const Array& recurrent,
              const MaybeArray& vectors, const MaybeArray& reset, const MaybeArray& lengths,
              const Array& gates, const Array& rest, const Array& initial, const Array& output,
              const Array& grad_output, const Array& grad_state, const Array& grad_gates,
              const MaybeArray& grad_recurrent, const Array& operands, const MaybeArray& second,
              const MaybeArray& grad_vectors, const MaybeArray& grad_bias,
              const MaybeArray& grad_recurrent_bias, const Array& workspace, int threads) {
  const Cells a = common(kind, switches, offset, pack, recurrent, vectors, reset, lengths, output,
                         workspace, threads);
  const CellShape cell = cell_shape(a.kind, switches);
  const int64_t hidden = a.heads * a.width, kept = cell.leaves - 1 + cell.extras;
  const auto of_gates = [&](const char* name, const Array& array) {
    return whole(name, array, {a.time, a.batch, cell.gates * hidden}, a.stored);
  };
  const auto of_state = [&](const char* name, const Array& array) {
    return whole(name, array, {cell.leaves, a.batch, hidden}, a.stored);
  };
  const CellsBackward arguments{
      a,
      of_gates("gates", gates),
      whole("rest", rest, {a.time, a.batch, kept * hidden}, a.stored),
      of_state("initial", initial),
      sequence("output", output, output),
      sequence("grad_output", grad_output, output),
      of_state("grad_state", grad_state),
      of_gates("grad_gates", grad_gates),
      grad_recurrent ? of_gates("grad_recurrent", *grad_recurrent) : nullptr,
      whole("operands", operands, {a.time, a.batch, cell.operands * hidden}, a.stored),
      maybe_whole("second", second, {a.time, a.batch, hidden}, a.stored),
      maybe_whole("grad_vectors", grad_vectors, {a.batch, cell.vectors, hidden}, a.stored),
      maybe_whole("grad_bias", grad_bias, {a.batch, cell.gates * hidden}, a.stored),
      maybe_whole("grad_recurrent_bias", grad_recurrent_bias, {a.batch, cell.gates * hidden},
                  a.stored)};
  if ((!cell.additive && !arguments.grad_recurrent) ||
      (cell.first < cell.gates && !arguments.second) || (cell.vectors && !arguments.grad_vectors))
    throw nb::value_error("this cell needs grad_recurrent, second or grad_vectors");
  nb::gil_scoped_release released;
  run_team(table_of_cells_backward, arguments, work(a), threads);
}

void step(int kind, int switches, const Array& x, const Array& input, const Array& recurrent,
          const MaybeArray& input_bias, const MaybeArray& recurrent_bias,
          const MaybeArray& vectors, const std::vector<Array>& before,
          const std::vector<Array>& after, int threads) {
  CellsStep a{};
  a.kind = known(kind);
  a.switches = switches;
  const CellShape cell = cell_shape(a.kind, switches);
  if (x.ndim() != 2) refuse("x", x, "(batch, dim)");
  a.stored = precision("x", x);
  a.batch = x.shape(0), a.dim = x.shape(1);
  if (before.size() != static_cast<size_t>(cell.leaves) || after.size() != before.size())
    throw nb::value_error("the state has another number of leaves");
  if (before[0].ndim() != 2) refuse("state", before[0], "(batch, hidden)");
  const int64_t hidden = before[0].shape(1);
  // Without heads the matrix may come as it is.
  const bool headed = recurrent.ndim() == 3;
  if ((!headed && recurrent.ndim() != 2) || recurrent.shape(0) == 0)
    refuse("recurrent", recurrent, "(heads, gates * head_dim, operands * head_dim)");
  a.heads = headed ? recurrent.shape(0) : 1, a.width = hidden / a.heads;
  if (a.heads * a.width != hidden) refuse("recurrent", recurrent, "of heads that divide hidden");
  a.x = whole("x", x, {a.batch, a.dim}, a.stored);
  a.input = whole("input", input, {cell.gates * hidden, a.dim}, a.stored);
  const int64_t rows = cell.operands ? cell.gates * a.width : 0, across = cell.operands * a.width;
  a.recurrent = headed ? whole("recurrent", recurrent, {a.heads, rows, across}, a.stored)
                       : whole("recurrent", recurrent, {rows, across}, a.stored);
  a.input_bias = maybe_whole("input_bias", input_bias, {cell.gates * hidden}, a.stored);
  a.recurrent_bias =
      maybe_whole("recurrent_bias", recurrent_bias, {cell.gates * hidden}, a.stored);
  a.vectors = maybe_whole("vectors", vectors, {cell.vectors, hidden}, a.stored);
  if (cell.vectors && !a.vectors) throw nb::value_error("this cell needs vectors");
  for (size_t leaf = 0; leaf < before.size(); leaf++) {
    a.before[leaf] = whole("state", before[leaf], {a.batch, hidden}, a.stored);
    a.after[leaf] = whole("next state", after[leaf], {a.batch, hidden}, a.stored);
  }
  alignas(64) char barrier[64] = {};
  a.barrier = barrier;
  std::vector<double> kept(cell.first < cell.gates ? a.batch * (cell.gates + 1) * hidden : 0);
  a.kept = kept.data();
  nb::gil_scoped_release released;
  // A thread is worth waking for some microseconds of reading.
  run_team(table_of_cells_step, a, a.batch * cell.gates * hidden * (a.dim + a.width) / 8, threads);
}

int64_t workspace(int kind, int switches, int64_t batch, int64_t heads, int64_t width, int bytes,
                  int threads) {
  Cells a{};
  a.kind = known(kind), a.switches = switches;
  a.stored = bytes == 8 ? Stored::float64 : Stored::float32;
  a.batch = batch, a.heads = heads, a.width = width;
  return cells_workspace(a, threads);
}

std::tuple<int, int, int, int, int> shape(int kind, int switches) {
  const CellShape cell = cell_shape(known(kind), switches);
  return {cell.leaves - 1 + cell.extras, cell.first, cell.operands, cell.additive, cell.apart};
}

nb::dict tiling(int kind, int switches, int64_t batch, int64_t heads, int64_t width, int threads) {
  const CellShape cell = cell_shape(known(kind), switches);
  constexpr int bytes[] = {16, 32, 64}, registers[] = {16, 16, 32};
  const int wide = bytes[level()], lanes = wide / 4;
  const Tiling found = choose_tiling(
      {batch, heads * ceil_of(width, lanes), cell.first - (cell.apart < cell.gates),
       cell.operands * width, cell.first < cell.gates ? 2 : 1},
      {lanes, registers[level()], wide}, cache_of_a_core(), threads);
  nb::dict facts;
  facts["row_parts"] = found.row_parts;
  facts["unit_parts"] = found.unit_parts;
  facts["rows"] = found.rows;
  facts["columns"] = found.columns * lanes;
  facts["cycles"] = found.cycles;
  return facts;
}

}  // namespace

void bind_cells(nb::module_& module) {
  using namespace nb::literals;
  module.def("cells_forward", &forward, "kind"_a, "switches"_a, "offset"_a, "pack"_a,
             "recurrent"_a, "recurrent_bias"_a.none(), "vectors"_a.none(), "reset"_a.none(),
             "lengths"_a.none(), "gates"_a, "rest"_a.none(), "state"_a, "output"_a, "workspace"_a,
             "threads"_a,
             "Run a cell over a stretch of time: gates come as products and leave as what is kept, "
             "state goes from the first to the last.");
  module.def("cells_backward", &backward, "kind"_a, "switches"_a, "offset"_a, "pack"_a,
             "recurrent"_a, "vectors"_a.none(), "reset"_a.none(), "lengths"_a.none(), "gates"_a,
             "rest"_a, "initial"_a, "output"_a, "grad_output"_a, "grad_state"_a, "grad_gates"_a,
             "grad_recurrent"_a.none(), "operands"_a, "second"_a.none(), "grad_vectors"_a.none(),
             "grad_bias"_a.none(), "grad_recurrent_bias"_a.none(), "workspace"_a, "threads"_a,
             "Run back over the stretch; grad_state goes from that of the last state to that of "
             "the first, grad_gates are the products' gradients.");
  module.def("cells_step", &step, "kind"_a, "switches"_a, "x"_a, "input"_a, "recurrent"_a,
             "input_bias"_a.none(), "recurrent_bias"_a.none(), "vectors"_a.none(), "before"_a,
             "after"_a, "threads"_a, "Write the state after one more input to after.");
  module.def("cells_workspace", &workspace, "kind"_a, "switches"_a, "batch"_a, "heads"_a,
             "width"_a, "bytes"_a, "threads"_a, "Return the bytes that a call needs for itself.");
  module.def("cells_shape", &shape, "kind"_a, "switches"_a,
             "Return how much is kept beside the gates, how many gates come first, how many "
             "leaves the matrix reads, whether both products are added, and which gate, if it is "
             "one of them, reads the first of these leaves alone.");
  module.def("cells_tiling", &tiling, "kind"_a, "switches"_a, "batch"_a, "heads"_a, "width"_a,
             "threads"_a, "Return how a forward pass is divided in float32, and its cycles a step.");
}

}  // namespace statewise
