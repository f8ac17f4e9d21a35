"""Run every claim that has no verdict, and keep it: what is stopped goes on where it was."""

from statewise.literature.catalogue import papers
from statewise.literature.records import read, valid
from statewise.literature.reproduce import describe, reproduce


def main() -> None:
    """Run them in the order of their numbers."""
    for name, paper in papers().items():
        if valid(read(name), paper.claim) is None:
            print(describe(reproduce(name, record=True)), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
