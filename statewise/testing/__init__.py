"""The laws: what holds for every mixer, as tests that other projects can run on theirs.

    from statewise.testing import check_mixer

    check_mixer(Mine)            # its `example()`; or an instance, or what makes one when called

A law is a function whose docstring is the law. It is tried in eval mode, in float64 and float32, on
inputs that nobody chose; one that does not hold raises `LawBroken` with its name, its sentence and
what was seen. The laws read two things off a mixer besides its interface, both optional:

    example_input(batch, time, generator, dtype)   where an input is not (batch, time, dim)
    longest_agreement = 63                         where perturbations grow, see `longest_agreement`
"""

from collections.abc import Callable, Sequence

import torch

from statewise.mixers.base import Cell, Mixer, WholeSequence
from statewise.testing.agreement import LIMITS, LawBroken, agree
from statewise.testing.derivatives import (
    compiles_whole,
    double_backward_is_right,
    forward_mode_is_right,
    gradients_are_right,
    vmap_is_a_loop,
)
from statewise.testing.forms import (
    is_causal,
    no_state_means_the_initial_state,
    rows_are_kept_apart,
    solving_equals_forward,
    splits_anywhere,
    steps_equal_forward,
)
from statewise.testing.learning import (
    bfloat16_is_close,
    every_parameter_learns,
    extreme_inputs_stay_finite,
)
from statewise.testing.masks import (
    a_reset_heals_nan,
    a_reset_is_a_fresh_start,
    no_gradient_crosses_a_reset,
    nothing_is_legal,
    padding_changes_nothing,
)
from statewise.testing.subject import (
    TIMES,
    AnyMixer,
    Source,
    Subject,
    example_input,
    longest_agreement,
    prepare,
)
from statewise.testing.values import (
    arguments_are_left_alone,
    outputs_alias_nothing,
    state_dict_round_trips,
    the_state_has_its_declared_size,
    the_state_keeps_its_precision,
    the_state_owns_its_memory,
    the_state_survives_a_file,
)

__all__ = [
    "CELL_LAWS",
    "COMPILER_LAWS",
    "DTYPES",
    "LAWS",
    "LIMITS",
    "TIMES",
    "WHOLE_SEQUENCE_LAWS",
    "Law",
    "LawBroken",
    "Subject",
    "a_reset_heals_nan",
    "a_reset_is_a_fresh_start",
    "agree",
    "arguments_are_left_alone",
    "bfloat16_is_close",
    "check_mixer",
    "check_whole_sequence",
    "compiles_whole",
    "double_backward_is_right",
    "every_parameter_learns",
    "example_input",
    "extreme_inputs_stay_finite",
    "forward_mode_is_right",
    "gradients_are_right",
    "hold",
    "is_causal",
    "laws_of",
    "longest_agreement",
    "no_gradient_crosses_a_reset",
    "no_state_means_the_initial_state",
    "nothing_is_legal",
    "outputs_alias_nothing",
    "padding_changes_nothing",
    "prepare",
    "rows_are_kept_apart",
    "sentence",
    "solving_equals_forward",
    "splits_anywhere",
    "state_dict_round_trips",
    "steps_equal_forward",
    "table",
    "the_state_has_its_declared_size",
    "the_state_keeps_its_precision",
    "the_state_owns_its_memory",
    "the_state_survives_a_file",
    "vmap_is_a_loop",
]

Law = Callable[[Subject], None]

DTYPES = (torch.float64, torch.float32)

WHOLE_SEQUENCE_LAWS: tuple[Law, ...] = (
    rows_are_kept_apart,
    arguments_are_left_alone,
    outputs_alias_nothing,
    a_reset_is_a_fresh_start,
    no_gradient_crosses_a_reset,
    a_reset_heals_nan,
    padding_changes_nothing,
    nothing_is_legal,
    every_parameter_learns,
    extreme_inputs_stay_finite,
    bfloat16_is_close,
    state_dict_round_trips,
    gradients_are_right,
    forward_mode_is_right,
    vmap_is_a_loop,
    double_backward_is_right,
)
"""What holds for every `WholeSequence`."""

LAWS: tuple[Law, ...] = (
    steps_equal_forward,
    splits_anywhere,
    no_state_means_the_initial_state,
    is_causal,
    the_state_has_its_declared_size,
    the_state_keeps_its_precision,
    the_state_owns_its_memory,
    the_state_survives_a_file,
    *WHOLE_SEQUENCE_LAWS,
)
"""What holds for every `Mixer`."""

CELL_LAWS: tuple[Law, ...] = (solving_equals_forward,)
"""What holds for every `Cell`, beside what holds for every `Mixer`."""

COMPILER_LAWS: tuple[Law, ...] = (compiles_whole,)
"""What holds for all, and has to be tried where no hook checks shapes: Dynamo refuses those."""


def laws_of(mixer: AnyMixer) -> tuple[Law, ...]:
    """Return the laws of a mixer's kind, but for those of the compiler."""
    if isinstance(mixer, WholeSequence):
        return WHOLE_SEQUENCE_LAWS
    return (*LAWS, *CELL_LAWS) if isinstance(mixer, Cell) else LAWS


def check_mixer(
    mixer: Source,
    *,
    laws: Sequence[Law] | None = None,
    dtypes: Sequence[torch.dtype] = DTYPES,
    times: Sequence[int] = TIMES,
    seed: int = 0,
) -> None:
    """Try every law on a mixer.

    Args:
        mixer: an instance, which is copied and not changed; a class, whose `example()` is tried; or
            a callable that makes one. With the last two, the law that the `state_dict` holds
            everything is at its strongest, since another instance is made.
        laws: which ones; all of its kind if absent.
        dtypes: in which precisions.
        times: the lengths at which forms are compared.
        seed: of the weights of what is made, and of the inputs.

    Raises:
        LawBroken: at the first law that does not hold.
        TypeError: if it is no `Mixer`.
    """
    _check(Mixer, mixer, laws, dtypes, times, seed)


def check_whole_sequence(
    mixer: Source,
    *,
    laws: Sequence[Law] | None = None,
    dtypes: Sequence[torch.dtype] = DTYPES,
    times: Sequence[int] = TIMES,
    seed: int = 0,
) -> None:
    """Try every law that has no need of a state, on a `WholeSequence`; see `check_mixer`."""
    _check(WholeSequence, mixer, laws, dtypes, times, seed)


def _check(
    kind: type,
    mixer: Source,
    laws: Sequence[Law] | None,
    dtypes: Sequence[torch.dtype],
    times: Sequence[int],
    seed: int,
) -> None:
    found = prepare(mixer, dtypes[0]).mixer
    if not isinstance(found, kind):
        raise TypeError(f"{type(found).__name__} is no {kind.__name__}")
    tried = (*laws_of(found), *COMPILER_LAWS) if laws is None else laws
    for dtype in dtypes:
        for law in tried:
            hold(law, mixer, dtype, times=times, seed=seed)


def hold(
    law: Law, mixer: Source, dtype: torch.dtype, *, times: Sequence[int] = TIMES, seed: int = 0
) -> None:
    """Try one law on one mixer in one precision.

    Raises:
        LawBroken: if it does not hold, or if the mixer raised anything.
    """
    subject = prepare(mixer, dtype, times=times, seed=seed)
    try:
        law(subject)
    except Exception as error:
        seen = str(error)
        if not isinstance(error, LawBroken):
            seen = f"{type(error).__name__}: {seen.strip().partition(chr(10))[0]}"
        raise LawBroken(
            f"{type(subject.mixer).__name__} in {dtype} breaks the law {law.__name__}: "
            f"{sentence(law)} Seen: {seen}"
        ) from error


def sentence(law: Law) -> str:
    """Return what a law says."""
    return " ".join((law.__doc__ or "").split("\n\n")[0].split())


def table() -> list[tuple[str, str, str]]:
    """Return every law's name, its sentence, and the kinds it holds for."""
    rows = []
    for law in (*LAWS, *CELL_LAWS, *COMPILER_LAWS):
        kinds = "every mixer that keeps a state"
        if law in CELL_LAWS:
            kinds = "every cell"
        if law in (*WHOLE_SEQUENCE_LAWS, *COMPILER_LAWS):
            kinds = "every mixer"
        rows.append((law.__name__, sentence(law), kinds))
    return rows
