"""The references of flash-linear-attention, file by file: its package asks for triton."""

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

PACKAGE = "fla-core"

CASTS = "computes in float32 whatever it is given"
"""What is wrong with most of them."""

LAST: dict[str, Any] = {"output_final_state": True}
"""What asks these files for the last state too."""


def folder() -> Path:
    """Return where fla/ops is.

    Raises:
        ModuleNotFoundError: if the package is not installed.
    """
    package = find_spec("fla")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'fla'", name=PACKAGE)
    return Path(package.submodule_search_locations[0], "ops")


def naive(name: str) -> Any:
    """Return one file of fla/ops, given its path there without its ending.

    Raises:
        ModuleNotFoundError: if the package is not installed.
    """
    spec = spec_from_file_location(f"fla_{name.replace('/', '_')}", folder() / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def swapped(*tensors: Any) -> list[Any]:
    """Return tensors with their axes of time and of heads exchanged: half the files want that."""
    return [x.transpose(1, 2) for x in tensors]
