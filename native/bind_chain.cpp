#include <memory>

#include "arrays.h"
#include "chain.h"
#include "scan.h"

namespace statewise {
namespace {

Chain chain_of(Sum sum, const Array& transition, const Array& score, const Array& initial,
               const MaybeArray& reset, const MaybeArray& lengths) {
  const Shape shape = shape_of("score", score);
  if (shape.stored == Stored::bfloat16) refuse("score", score, "float32 or float64");
  const int64_t batch = shape.batch, time = shape.time, states = shape.dim;
  const bool constant = transition.ndim() == 2;
  Strided<4> transitions{};
  if (constant) {
    const auto one = strided("transition", transition, {states, states}, shape.stored);
    transitions = {one.data, {0, 0, one.stride[0]}};
  } else {
    transitions = strided("transition", transition, {batch, time, states, states}, shape.stored);
  }
  return {sum,
          shape.stored,
          batch,
          time,
          states,
          constant,
          transitions,
          strided("score", score, {batch, time, states}, shape.stored),
          state("initial", initial, shape),
          mask(reset, lengths, batch, time)};
}

int32_t* pointers_of(const Array& array, const Chain& chain) {
  const int64_t sizes[] = {chain.batch, chain.time, chain.states};
  bool fits = array.ndim() == 3 && array.dtype() == nb::dtype<int32_t>();
  for (int64_t axis = 2, step = 1; fits && axis >= 0; axis--) {
    fits = static_cast<int64_t>(array.shape(axis)) == sizes[axis] &&
           (sizes[axis] < 2 || !array.size() || array.stride(axis) == step);
    step *= sizes[axis];
  }
  if (!fits) refuse("pointers", array, "a contiguous int32 (batch, time, states)");
  return static_cast<int32_t*>(array.data());
}

int64_t work(const Chain& chain) {
  return chain.batch * chain.time * chain.states * chain.states;
}

int64_t number_size(const Chain& chain) { return chain.stored == Stored::float64 ? 8 : 4; }

// Bytes of memory for every part.
int64_t scratch_bytes(const Chain& chain, int64_t done, int threads) {
  return threads_for(done, threads) * chain_scratch(chain.states, chain.constant) *
         number_size(chain);
}

template <Sum sum>
void forward(const Array& transition, const Array& score, const Array& initial,
             const MaybeArray& reset, const MaybeArray& lengths, const Array& output,
             const Array& final, const MaybeArray& pointers, int threads) {
  const Chain chain = chain_of(sum, transition, score, initial, reset, lengths);
  const Shape shape{chain.stored, chain.batch, chain.time, chain.states};
  if (sum == Sum::maximum && !pointers) throw nb::value_error("a maximum needs pointers");
  const Scratch memory(scratch_bytes(chain, work(chain), threads));
  const ChainForward arguments{
      chain,
      mutable_strided("output", output, {chain.batch, chain.time, chain.states}, chain.stored),
      state("final", final, shape), pointers ? pointers_of(*pointers, chain) : nullptr,
      memory.data()};
  nb::gil_scoped_release released;
  run(table_of_chain_forward, arguments, work(chain), threads,
      Pieces{chain_teams(chain.batch)});
}

template <Sum sum>
void backward(const Array& transition, const Array& score, const Array& initial,
              const MaybeArray& reset, const MaybeArray& lengths, const Array& output,
              const MaybeArray& pointers, const Array& grad_output, const Array& grad_final,
              const Array& grad_transition, const Array& grad_score, const Array& grad_initial,
              int threads) {
  const Chain chain = chain_of(sum, transition, score, initial, reset, lengths);
  const Shape shape{chain.stored, chain.batch, chain.time, chain.states};
  if (sum == Sum::maximum && !pointers) throw nb::value_error("a maximum needs pointers");
  const int64_t sequence[] = {chain.batch, chain.time, chain.states};
  const int64_t matrix[] = {chain.states, chain.states};
  const int64_t matrices[] = {chain.batch, chain.time, chain.states, chain.states};
  const int64_t teams = chain_teams(chain.batch);
  std::unique_ptr<char[]> partial;
  MutableStrided<4> to_transition{};
  if (chain.constant) {
    const auto one = mutable_strided("grad_transition", grad_transition, matrix, chain.stored);
    if (chain.states > 1 && one.stride[0] != chain.states)
      refuse("grad_transition", grad_transition, "contiguous");
    partial.reset(new char[teams * chain.states * chain.states * number_size(chain)]);
  } else {
    to_transition = mutable_strided("grad_transition", grad_transition, matrices, chain.stored);
  }
  const Scratch memory(scratch_bytes(chain, 3 * work(chain), threads));
  const ChainBackward arguments{
      chain,
      strided("output", output, sequence, chain.stored),
      strided("grad_output", grad_output, sequence, chain.stored),
      pointers ? pointers_of(*pointers, chain) : nullptr,
      state("grad_final", grad_final, shape),
      mutable_strided("grad_score", grad_score, sequence, chain.stored),
      state("grad_initial", grad_initial, shape),
      to_transition,
      partial.get(),
      memory.data()};
  nb::gil_scoped_release released;
  run(table_of_chain_backward, arguments, 3 * work(chain), threads,
      Pieces{chain_teams(chain.batch)});
  if (chain.constant) {
    const Shape sums{chain.stored, teams, 1, chain.states * chain.states};
    run(table_of_sum_rows, SumRows{sums, partial.get(), grad_transition.data()},
        teams * chain.states * chain.states, threads);
  }
}

// One time, of contiguous arrays without that axis: (states, states) or (batch, states, states), and
// (batch, states). For a single time a transition is not worth turning into factors.
template <Sum sum>
void step(const Array& transition, const Array& score, const Array& h, const Array& after,
          const MaybeArray& pointers, int threads) {
  if (h.ndim() != 2) refuse("h", h, "(batch, states)");
  const int64_t batch = static_cast<int64_t>(h.shape(0)), states = static_cast<int64_t>(h.shape(1));
  const Shape shape{stored_of("h", h), batch, 1, states};
  if (shape.stored == Stored::bfloat16) refuse("h", h, "float32 or float64");
  const bool each = transition.ndim() == 3;
  if (each) strided("transition", transition, {batch, states, states}, shape.stored);
  else strided("transition", transition, {states, states}, shape.stored);
  const int64_t row = transition.stride(each ? 1 : 0);
  const Chain chain{sum,
                    shape.stored,
                    batch,
                    1,
                    states,
                    false,
                    {transition.data(), {each ? transition.stride(0) : 0, 0, row}},
                    {state("score", score, shape), {states, 0}},
                    state("h", h, shape),
                    {nullptr, 0, 0, nullptr}};
  int32_t* chosen = nullptr;
  if (sum == Sum::maximum) {
    if (!pointers || pointers->ndim() != 2 || pointers->dtype() != nb::dtype<int32_t>() ||
        pointers->shape(0) != h.shape(0) || pointers->shape(1) != h.shape(1) ||
        (batch > 1 && pointers->stride(0) != states) || (states > 1 && pointers->stride(1) != 1))
      throw nb::value_error("pointers should be a contiguous int32 (batch, states)");
    chosen = static_cast<int32_t*>(pointers->data());
  }
  const Scratch memory(scratch_bytes(chain, work(chain), threads));
  const ChainForward arguments{chain,
                               {state("after", after, shape), {states, 0}},
                               after.data(),
                               chosen,
                               memory.data()};
  nb::gil_scoped_release released;
  run(table_of_chain_forward, arguments, work(chain), threads);
}

template <Sum sum>
void bind(nb::module_& module, const char* name, const char* name_step,
          const char* name_backward) {
  using namespace nb::literals;
  module.def(name, &forward<sum>, "transition"_a, "score"_a, "initial"_a, "reset"_a.none(),
             "lengths"_a.none(), "output"_a, "final"_a, "pointers"_a.none(), "threads"_a,
             "Write h_t[j] = sum_i(h_{t-1}[i] + transition[i, j]) + score_t[j], and the last h.");
  module.def(name_step, &step<sum>, "transition"_a, "score"_a, "h"_a, "after"_a,
             "pointers"_a.none(), "threads"_a, "Write the next h to after.");
  module.def(name_backward, &backward<sum>, "transition"_a, "score"_a, "initial"_a,
             "reset"_a.none(), "lengths"_a.none(), "output"_a, "pointers"_a.none(),
             "grad_output"_a, "grad_final"_a, "grad_transition"_a, "grad_score"_a,
             "grad_initial"_a, "threads"_a, "Write the gradients of that scan.");
}

}  // namespace

void bind_chain(nb::module_& module) {
  bind<Sum::logsumexp>(module, "log_chain", "log_chain_step", "log_chain_backward");
  bind<Sum::maximum>(module, "max_chain", "max_chain_step", "max_chain_backward");
}

}  // namespace statewise
