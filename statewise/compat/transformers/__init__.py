"""The hub's library (transformers) at native speed on a CPU, with a state you own.

    from statewise.compat.transformers import read_state, use_native, write_state

    model = AutoModelForCausalLM.from_pretrained("state-spaces/mamba-130m-hf")
    print(use_native(model))

`use_native` computes the recurrences of a loaded model by our ops, in place and reversibly;
`read_state` and `write_state` take the state out of the library's caches, and put it back;
`register` lets the library load language models of ours.
"""

from typing import Any

from statewise.compat.transformers.native import Native as Native
from statewise.compat.transformers.native import use_native as use_native
from statewise.compat.transformers.states import read_state as read_state
from statewise.compat.transformers.states import write_state as write_state

__all__ = ["Native", "byte_tokenizer", "read_state", "register", "use_native", "write_state"]


def register() -> None:
    """Let `AutoModelForCausalLM.from_pretrained` load the folders of our language models.

    What it loads has the library's `generate`, with our state as the cache, and goes into its
    pipelines, its Trainer and PEFT. See `statewise.compat.transformers.auto`.
    """
    from statewise.compat.transformers import auto

    auto.register()


def byte_tokenizer() -> Any:
    """Return a tokenizer of the library whose tokens are bytes, as ours are without a tokenizer."""
    from statewise.compat.transformers import auto

    return auto.byte_tokenizer()
