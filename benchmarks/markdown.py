"""What the pages that benchmarks write are made of."""

from collections.abc import Iterable, Mapping, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return cells as a table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def bullets(named: Mapping[str, object]) -> str:
    """Return a list of what is named, such as a machine."""
    return "\n".join(f"- {name}: {value}" for name, value in named.items())
