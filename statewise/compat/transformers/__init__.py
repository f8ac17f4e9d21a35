"""The hub's library (transformers) at native speed on a CPU, with a state you own.

    from statewise.compat.transformers import read_state, use_native, write_state

    model = AutoModelForCausalLM.from_pretrained("state-spaces/mamba-130m-hf")
    print(use_native(model))

`use_native` computes the recurrences of a loaded model by our ops, in place and reversibly;
`read_state` and `write_state` take the state out of the library's caches, and put it back.
"""

from statewise.compat.transformers.native import Native as Native
from statewise.compat.transformers.native import use_native as use_native
from statewise.compat.transformers.states import read_state as read_state
from statewise.compat.transformers.states import write_state as write_state

__all__ = ["Native", "read_state", "use_native", "write_state"]
