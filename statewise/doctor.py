"""What this machine has, which backend each op uses on it, and why."""

import importlib
import pkgutil
import platform
import warnings
from typing import Any

import torch

import statewise
from statewise import backends, ops

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

WITHOUT_CORE = (
    "Without it everything works, on torch operations: on two cores the scan of a linear mixer "
    "took 2 to 40 times as long, by size, and its gradient 5 to 30 times (in a clone of the "
    "repository `python -m benchmarks.ops scan` measures it here). To build it, install a C++ "
    "compiler and then statewise again: `pip install --force-reinstall --no-deps .`"
)


def tables() -> dict[str, tuple[backends.Row, ...]]:
    """Return every op of the folder with the table that chooses its backend."""
    packages = [module.name for module in pkgutil.iter_modules(ops.__path__) if module.ispkg]
    return {op: importlib.import_module(f"statewise.ops.{op}").TABLE for op in packages}


def remarks() -> dict[str, list[str]]:
    """Return what ops say of how they run here, for those that do."""
    packages = {op: importlib.import_module(f"statewise.ops.{op}") for op in tables()}
    return {op: package.remarks() for op, package in packages.items() if "remarks" in vars(package)}


def examine() -> dict[str, Any]:
    """Return the versions, the processor, the core, and the choice of every op, as plain values."""
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing core: the report says it itself
        choices = {
            op: [
                {"device": device, "dtype": str(dtype).removeprefix("torch."), **choice._asdict()}
                for device in devices
                for dtype in DTYPES
                for x in [torch.empty(1, 1, 1, device=device, dtype=dtype)]
                for choice in [backends.choose(op, table, x)]
            ]
            for op, table in tables().items()
        }
    return {
        "statewise": statewise.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "native": backends.core.about() if backends.core else None,
        "native_missing": backends.core_missing,
        "ops": choices,
        "remarks": remarks(),
    }


def describe(report: dict[str, Any]) -> str:
    """Return the report as a page of text."""
    lines = [
        f"statewise {report['statewise']}, torch {report['torch']}, Python {report['python']}, "
        f"{report['system']}, {report['threads']} threads"
    ]
    if report["native"]:
        about = ", ".join(f"{name} {value}" for name, value in report["native"].items())
        lines.append(f"native core: {about}")
    else:
        lines.append(f"native core: missing, because {report['native_missing']}.")
        lines.append(WITHOUT_CORE)
    for op, choices in report["ops"].items():
        lines.append(f"\n{op}")
        for choice in choices:
            where = f"{choice['device']} {choice['dtype']}"
            lines.append(f"  {where:16} {choice['backend']:10} {choice['reason']}")
        lines += [f"  {remark}" for remark in report["remarks"].get(op, [])]
    return "\n".join(lines)
