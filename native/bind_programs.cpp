#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <tuple>
#include <vector>

#include "arrays.h"
#include "programs.h"

namespace statewise {

int64_t cache_of_a_core();  // bytes

namespace {

constexpr const char* operation_names[] = {
#define STATEWISE_NAME(name) #name,
    STATEWISE_PROGRAM_OPERATIONS(STATEWISE_NAME)};
constexpr const char* space_names[] = {STATEWISE_PROGRAM_SPACES(STATEWISE_NAME)};
#undef STATEWISE_NAME

using Sizes = std::vector<std::tuple<int64_t, int64_t>>;

int64_t& width(Programs& a, Space space) { return a.widths[static_cast<int>(space)]; }

bool may_write(Space space) {
  switch (space) {
    case Space::literal:
    case Space::vector:
    case Space::drive:
    case Space::before:
    case Space::grad_output:
    case Space::grad_state: return false;
    default: return true;
  }
}

// Every place that an instruction names lies in its space: a wrong program is an error in words.
void check(const Programs& a) {
  const auto fail = [](int64_t i, const char* what) {
    throw nb::value_error(("instruction " + std::to_string(i) + ": " + what).c_str());
  };
  for (int64_t i = 0; i < a.instructions; i++) {
    const Instruction& code = a.code[i];
    const auto inside = [&](const auto& where, int64_t numbers) {
      const int64_t space = static_cast<int64_t>(where.space);
      return space >= 0 && space < space_count && where.at >= 0 && numbers >= 0 &&
             where.at + numbers <= a.widths[space];
    };
    const int64_t operation = static_cast<int64_t>(code.operation);
    if (operation < 0 || operation >= operation_count) fail(i, "there is no such operation");
    int64_t read = code.width, written = code.width, operands = 1;
    switch (code.operation) {
      case Operation::expand: read = 1; break;
      case Operation::sum: written = 1; break;
      case Operation::affine:
        for (const int64_t more : code.more)
          if (more < 0 || more >= a.width(Space::literal)) fail(i, "no such literal");
        break;
      case Operation::product:
      case Operation::product_transposed: {
        if (code.more[0] < 0 || code.more[0] >= a.matrix_count) fail(i, "no such matrix");
        if (a.back != (code.operation == Operation::product_transposed))
          fail(i, "a product of the other direction");
        const ProgramMatrix& m = a.matrices[code.more[0]];
        read = a.back ? m.rows : m.columns, written = a.back ? m.columns : m.rows;
        if (code.to.space == Space::local || code.from[0].space == Space::local)
          fail(i, "a product of registers that do not last");
        break;
      }
      case Operation::where: operands = 3; break;
      case Operation::add:
      case Operation::sub:
      case Operation::mul:
      case Operation::div:
      case Operation::maximum:
      case Operation::minimum:
      case Operation::less:
      case Operation::less_equal:
      case Operation::equal:
      case Operation::slope_of_sigmoid:
      case Operation::slope_of_tanh:
      case Operation::slope_of_relu:
      case Operation::share: operands = 2; break;
      default: break;
    }
    if (!inside(code.to, written) || !may_write(code.to.space) ||
        (a.back && code.to.space == Space::tape))
      fail(i, "a result that has no room where it goes");
    for (int64_t j = 0; j < operands; j++)
      if (!inside(code.from[j], read)) fail(i, "an operand beyond its space");
  }
}

// What both directions have in common; `sizes` are the rows and columns of the matrices.
void common(Programs& a, std::vector<ProgramMatrix>& matrices, int64_t offset, int64_t local,
            int64_t lasting, const Sizes& sizes, const Array& code, const Array& literals,
            const Array& numbers, const Array& vectors, const Array& drive, const Array& start,
            const MaybeArray& reset, const MaybeArray& lengths, const Array& packed,
            const Array& workspace, int threads) {
  const Shape shape = shape_of("drive", drive);
  if (shape.stored == Stored::bfloat16) refuse("drive", drive, "float32 or float64");
  a.stored = shape.stored, a.batch = shape.batch, a.time = shape.time, a.offset = offset;
  a.drive = sequence("drive", drive, drive);
  if (code.ndim() != 2 || code.shape(1) != 12 || code.dtype() != nb::dtype<int64_t>() ||
      (code.size() && (code.stride(0) != 12 || code.stride(1) != 1)))
    refuse("code", code, "a contiguous int64 (instructions, 12)");
  a.code = static_cast<const Instruction*>(code.data()), a.instructions = code.shape(0);
  if (literals.ndim() != 1 || vectors.ndim() != 1 || numbers.ndim() != 1 || start.ndim() != 2)
    throw nb::value_error("literals, vectors and numbers have one axis, start has two");
  const int64_t literal = literals.shape(0), vector = vectors.shape(0), state = start.shape(1);
  width(a, Space::local) = local, width(a, Space::lasting) = lasting;
  width(a, Space::literal) = literal, width(a, Space::vector) = vector;
  width(a, Space::drive) = shape.dim, width(a, Space::before) = state;
  a.literals = contiguous<1>("literals", literals, {literal}, a.stored);
  a.vectors = contiguous<1>("vectors", vectors, {vector}, a.stored);
  a.start = contiguous<2>("start", start, {a.batch, state}, a.stored);
  int64_t all = 0, all_packed = 0;
  for (const auto& [rows, columns] : sizes) {
    if (rows < 0 || columns < 0) throw nb::value_error("a matrix of negative size");
    matrices.push_back({rows, columns, all, all_packed});
    all += rows * columns, all_packed += program_packed_size(matrices.back(), a.back);
  }
  a.matrices = matrices.data(), a.matrix_count = matrices.size();
  a.numbers = contiguous<1>("numbers", numbers, {all}, a.stored);
  a.packed = contiguous<1>("packed", packed, {all_packed}, a.stored);
  a.mask = mask(reset, lengths, a.batch, a.time);
  a.most_parts = threads < 1 ? 1 : threads;
  a.cache = cache_of_a_core();
  a.workspace = workspace.data();
  if (workspace.ndim() != 1) refuse("workspace", workspace, "(bytes,)");
}

void start_work(const Programs& a, const Array& workspace, bool pack, int threads) {
  check(a);
  const int64_t bytes = programs_workspace(a, a.most_parts);
  if (static_cast<int64_t>(workspace.nbytes()) < bytes)
    refuse("workspace", workspace, "at least " + std::to_string(bytes) + " bytes");
  int64_t products = 0, numbers = 0;
  for (int64_t i = 0; i < a.instructions; i++) numbers += a.code[i].width;
  for (int64_t i = 0; i < a.matrix_count; i++)
    products += a.matrices[i].rows * a.matrices[i].columns;
  nb::gil_scoped_release released;
  if (pack) run(table_of_programs_pack, a, products, threads);
  run(table_of_programs, a, a.batch * a.time * (numbers + products / 8), threads);
}

void forward(int64_t offset, bool pack, int64_t local, int64_t lasting, const Sizes& sizes,
             int64_t tape, const Array& code, const Array& literals, const Array& numbers,
             const Array& vectors, const Array& drive, const Array& start, const MaybeArray& reset,
             const MaybeArray& lengths, const Array& state, const Array& output,
             const MaybeArray& states, const MaybeArray& kept, const Array& packed,
             const Array& workspace, int threads) {
  Programs a{};
  std::vector<ProgramMatrix> matrices;
  common(a, matrices, offset, local, lasting, sizes, code, literals, numbers, vectors, drive, start,
         reset, lengths, packed, workspace, threads);
  const int64_t numbers_of_state = a.width(Space::before);
  width(a, Space::tape) = tape, width(a, Space::after) = numbers_of_state;
  if (output.ndim() != 3 || output.shape(0) != drive.shape(0) || output.shape(1) != drive.shape(1) ||
      output.dtype() != drive.dtype())
    refuse("output", output, "(batch, time, output) in the type of drive");
  width(a, Space::output) = output.shape(2);
  a.output = mutable_sequence("output", output, output);
  a.state = contiguous<2>("state", state, {a.batch, numbers_of_state}, a.stored);
  a.states = contiguous<3>("states", states, {a.time, a.batch, numbers_of_state}, a.stored);
  a.tape = contiguous<3>("tape", kept, {a.time, a.batch, tape}, a.stored);
  start_work(a, workspace, pack, threads);
}

void backward(int64_t offset, bool pack, int64_t local, int64_t lasting, const Sizes& sizes,
              const Array& code, const Array& literals, const Array& numbers, const Array& vectors,
              const Array& drive, const Array& start, const MaybeArray& reset,
              const MaybeArray& lengths, const Array& initial, const Array& states,
              const Array& kept, const Array& grad_output, const Array& grad_state,
              const Array& grad_start, const Array& grad_drive, const Array& operand,
              const Array& grad_tape, const Array& grad_vector, const Array& packed,
              const Array& workspace, int threads) {
  Programs a{};
  a.back = true;
  std::vector<ProgramMatrix> matrices;
  common(a, matrices, offset, local, lasting, sizes, code, literals, numbers, vectors, drive, start,
         reset, lengths, packed, workspace, threads);
  const int64_t state = a.width(Space::before), vector = a.width(Space::vector);
  if (kept.ndim() != 3 || operand.ndim() != 3)
    throw nb::value_error("tape and operand have three axes");
  const int64_t tape = kept.shape(2), read = operand.shape(2);
  width(a, Space::tape) = width(a, Space::grad_tape) = tape;
  width(a, Space::operand) = read;
  width(a, Space::grad_state) = width(a, Space::grad_before) = state;
  width(a, Space::grad_drive) = a.width(Space::drive);
  width(a, Space::grad_vector) = vector;
  if (grad_output.ndim() != 3 || grad_output.shape(0) != drive.shape(0) ||
      grad_output.shape(1) != drive.shape(1) || grad_output.dtype() != drive.dtype())
    refuse("grad_output", grad_output, "(batch, time, output) in the type of drive");
  width(a, Space::grad_output) = grad_output.shape(2);
  a.grad_output = sequence("grad_output", grad_output, grad_output);
  a.grad_drive = mutable_sequence("grad_drive", grad_drive, drive);
  a.initial = contiguous<2>("initial", initial, {a.batch, state}, a.stored);
  a.states = contiguous<3>("states", states, {a.time, a.batch, state}, a.stored);
  a.tape = contiguous<3>("tape", kept, {a.time, a.batch, tape}, a.stored);
  a.grad_state = contiguous<2>("grad_state", grad_state, {a.batch, state}, a.stored);
  a.grad_start = contiguous<2>("grad_start", grad_start, {a.batch, state}, a.stored);
  a.operand = contiguous<3>("operand", operand, {a.time, a.batch, read}, a.stored);
  a.grad_tape = contiguous<3>("grad_tape", grad_tape, {a.time, a.batch, tape}, a.stored);
  a.grad_vector = contiguous<2>("grad_vector", grad_vector, {a.batch, vector}, a.stored);
  start_work(a, workspace, pack, threads);
}

// Bytes of workspace, and numbers of packed matrices.
std::tuple<int64_t, int64_t> room(bool back, int64_t batch, int64_t local, int64_t lasting,
                                  int64_t state, int64_t tape, const Sizes& sizes, int bytes,
                                  int threads) {
  Programs a{};
  a.stored = bytes == 8 ? Stored::float64 : Stored::float32;
  a.batch = batch;
  width(a, Space::local) = local, width(a, Space::lasting) = lasting;
  width(a, Space::before) = state, width(a, Space::tape) = tape;
  int64_t packed = 0;
  for (const auto& [rows, columns] : sizes)
    packed += program_packed_size({rows, columns, 0, 0}, back);
  return {programs_workspace(a, threads < 1 ? 1 : threads), packed};
}

}  // namespace

void bind_programs(nb::module_& module) {
  using namespace nb::literals;
  module.def("program_operations", [] {
    return std::vector<std::string>(operation_names, operation_names + operation_count);
  }, "Return the names of the operations, in the order of their numbers.");
  module.def("program_spaces", [] {
    return std::vector<std::string>(space_names, space_names + space_count);
  }, "Return the names of the spaces, in the order of their numbers.");
  module.def("program_forward", &forward, "offset"_a, "pack"_a, "local"_a, "lasting"_a,
             "sizes"_a, "tape"_a, "code"_a, "literals"_a, "numbers"_a, "vectors"_a, "drive"_a,
             "start"_a, "reset"_a.none(), "lengths"_a.none(), "state"_a, "output"_a,
             "states"_a.none(), "kept"_a.none(), "packed"_a, "workspace"_a, "threads"_a,
             "Run a program over a stretch of time; state goes from the first to the last.");
  module.def("program_backward", &backward, "offset"_a, "pack"_a, "local"_a, "lasting"_a,
             "sizes"_a, "code"_a, "literals"_a, "numbers"_a, "vectors"_a, "drive"_a, "start"_a,
             "reset"_a.none(), "lengths"_a.none(), "initial"_a, "states"_a, "kept"_a,
             "grad_output"_a, "grad_state"_a, "grad_start"_a, "grad_drive"_a, "operand"_a,
             "grad_tape"_a, "grad_vector"_a, "packed"_a, "workspace"_a, "threads"_a,
             "Run back over the stretch; grad_state goes from that of the last state to that of "
             "the first.");
  module.def("program_room", &room, "back"_a, "batch"_a, "local"_a, "lasting"_a, "state"_a,
             "tape"_a, "sizes"_a, "bytes"_a, "threads"_a,
             "Return the bytes of workspace and the numbers of packed matrices that a call needs.");
}

}  // namespace statewise
