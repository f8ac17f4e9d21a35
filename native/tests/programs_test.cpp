#include "../programs.h"

#include <memory>
#include <vector>

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

using Where = decltype(Instruction::to);

Instruction instruction(Operation operation, int64_t width, Where to, Where a, Where b = {}) {
  return {operation, width, to, {a, b, {Space::literal, 0}}, {0, 0}};
}

// Elman's network as a program:  h = tanh(x + U h),  with every array at its exact size.
template <class W>
bool agrees(Stored stored, int64_t batch, int64_t time, int64_t n, bool masks, int threads,
            double tolerance) {
  const auto at = [](Space space) { return Where{space, 0}; };
  std::vector<Instruction> forward{
      instruction(Operation::product, n, at(Space::tape), at(Space::before)),
      instruction(Operation::add, n, at(Space::local), at(Space::drive), at(Space::tape)),
      instruction(Operation::tanh, n, at(Space::after), at(Space::local)),
      instruction(Operation::move, n, at(Space::output), at(Space::after))};
  const Where second{Space::local, n};
  std::vector<Instruction> backward{
      instruction(Operation::add, n, at(Space::local), at(Space::drive), at(Space::tape)),
      instruction(Operation::tanh, n, at(Space::local), at(Space::local)),
      instruction(Operation::add, n, second, at(Space::grad_output), at(Space::grad_state)),
      instruction(Operation::slope_of_tanh, n, at(Space::grad_tape), second, at(Space::local)),
      instruction(Operation::move, n, at(Space::grad_drive), at(Space::grad_tape)),
      instruction(Operation::move, n, at(Space::operand), at(Space::before)),
      instruction(Operation::product_transposed, n, at(Space::lasting), at(Space::grad_tape)),
      instruction(Operation::move, n, at(Space::grad_before), at(Space::lasting))};

  auto drive = random<W>(batch * time * n, -1, 1), matrix = random<W>(n * n, -0.3, 0.3);
  auto initial = random<W>(batch * n, -1, 1), start = random<W>(batch * n, -1, 1);
  auto grad_output = random<W>(batch * time * n, -1, 1), grad_state = random<W>(batch * n, -1, 1);
  std::unique_ptr<bool[]> reset(new bool[batch * time]);
  for (int64_t i = 0; i < batch * time; i++) reset[i] = masks && dice() % 4 == 0;
  std::unique_ptr<int64_t[]> lengths(new int64_t[batch]);
  for (int64_t i = 0; i < batch; i++) lengths[i] = masks ? int64_t(dice() % (time + 1)) : time;

  const ProgramMatrix matrices[] = {{n, n, 0, 0}};
  Programs a{};
  a.stored = stored, a.batch = batch, a.time = time;
  a.mask = {reset.get(), time, 1, lengths.get()};
  a.matrices = matrices, a.matrix_count = 1, a.most_parts = threads, a.cache = 1 << 20;
  const auto width = [&a](Space space) -> int64_t& { return a.widths[static_cast<int>(space)]; };
  for (Space space : {Space::lasting, Space::drive, Space::before, Space::tape, Space::after,
                      Space::output, Space::grad_output, Space::grad_state, Space::grad_drive,
                      Space::grad_before, Space::operand, Space::grad_tape})
    width(space) = n;
  width(Space::local) = 2 * n;
  Exact<W> packed(program_packed_size(matrices[0], false));
  Exact<char> workspace(programs_workspace(a, threads));
  const auto rows = [&](auto& x) { return Sequence{x.data.get(), time * n, n}; };
  const auto writes = [&](auto& x) { return MutableSequence{x.data.get(), time * n, n}; };
  a.numbers = matrix.data.get(), a.packed = packed.data.get();
  a.workspace = workspace.data.get(), a.start = start.data.get(), a.drive = rows(drive);

  Exact<W> state(batch * n), output(batch * time * n), states(time * batch * n);
  Exact<W> tape(time * batch * n);
  std::copy(initial.data.get(), initial.data.get() + initial.size, state.data.get());
  a.code = forward.data(), a.instructions = forward.size();
  a.state = state.data.get(), a.output = writes(output);
  a.states = states.data.get(), a.tape = tape.data.get();
  run(table_of_programs_pack, a, 1 << 20, threads);
  run(table_of_programs, a, 1 << 20, threads);

  Exact<W> grad_drive(batch * time * n), operand(time * batch * n), grad_tape(time * batch * n);
  auto grad_start = random<W>(batch * n, 0, 0);
  auto grad_initial = random<W>(batch * n, 0, 0);
  std::copy(grad_state.data.get(), grad_state.data.get() + grad_state.size, grad_initial.data.get());
  a.back = true, a.code = backward.data(), a.instructions = backward.size();
  a.initial = initial.data.get(), a.grad_output = rows(grad_output);
  a.grad_state = grad_initial.data.get(), a.grad_start = grad_start.data.get();
  a.grad_drive = writes(grad_drive);
  a.operand = operand.data.get(), a.grad_tape = grad_tape.data.get();
  run(table_of_programs_pack, a, 1 << 20, threads);
  run(table_of_programs, a, 1 << 20, threads);

  std::vector<double> wanted(batch * time * n), wanted_state(batch * n), wanted_drive(wanted.size());
  std::vector<double> wanted_initial(batch * n), wanted_start(batch * n);
  for (int64_t r = 0; r < batch; r++) {
    std::vector<double> h(initial.data.get() + r * n, initial.data.get() + (r + 1) * n);
    for (int64_t t = 0; t < lengths[r]; t++) {
      if (reset[r * time + t]) h.assign(start.data.get() + r * n, start.data.get() + (r + 1) * n);
      std::vector<double> next(n);
      for (int64_t i = 0; i < n; i++) {
        double sum = drive[(r * time + t) * n + i];
        for (int64_t k = 0; k < n; k++) sum += matrix[i * n + k] * h[k];
        wanted[(r * time + t) * n + i] = next[i] = std::tanh(sum);
      }
      h = next;
    }
    std::vector<double> g(grad_state.data.get() + r * n, grad_state.data.get() + (r + 1) * n);
    std::copy(h.begin(), h.end(), wanted_state.begin() + r * n);
    for (int64_t t = lengths[r] - 1; t >= 0; t--) {
      std::vector<double> before(n);
      for (int64_t i = 0; i < n; i++) {
        const double y = wanted[(r * time + t) * n + i];
        const double d = (g[i] + grad_output[(r * time + t) * n + i]) * (1 - y * y);
        wanted_drive[(r * time + t) * n + i] = d;
        for (int64_t k = 0; k < n; k++) before[k] += matrix[i * n + k] * d;
      }
      for (int64_t k = 0; k < n; k++) {
        if (reset[r * time + t]) wanted_start[r * n + k] += before[k], before[k] = 0;
        g[k] = before[k];
      }
    }
    std::copy(g.begin(), g.end(), wanted_initial.begin() + r * n);
  }
  return close(output, wanted, tolerance) && close(state, wanted_state, tolerance) &&
         close(grad_drive, wanted_drive, tolerance) &&
         close(grad_initial, wanted_initial, tolerance) &&
         close(grad_start, wanted_start, tolerance);
}

}  // namespace

bool test_programs() {
  bool good = true;
  for (int64_t batch : {1, 5, 19})
    for (int64_t time : {0, 1, 5})
      for (int64_t width : {1, 17, 64})
        for (bool masks : {false, true})
          for (int threads : {1, 3})
            good = good &&
                   agrees<float>(Stored::float32, batch, time, width, masks, threads, 1e-5) &&
                   agrees<double>(Stored::float64, batch, time, width, masks, threads, 1e-12);
  return good;
}
