"""What papers found, each as one short file that anyone can run: `statewise reproduce NAME`.

A paper file lies in the folder of its family. Its docstring begins with the finding in one sentence
and the paper, and says in a paragraph that begins with "Weak" where the miniature is weak. Then

    PAPER = 21                         its number in papers.tsv
    CLAIM = Claim(...)                 the inequalities, committed before they are run
    ALONE = ("one step",)              recipes that measure time: one after another, after the rest
    RECIPES = {"one step": {...}, ...} what is compared, from our parts
    def measure(recipe, budget, seed)  what was measured of one of them, by name

`measure` runs in a process of its own, by one thread, unless it is in `ALONE`.
"""

from statewise.literature.catalogue import Entry as Entry
from statewise.literature.catalogue import Paper as Paper
from statewise.literature.catalogue import entries as entries
from statewise.literature.catalogue import paper as paper
from statewise.literature.catalogue import papers as papers
from statewise.literature.reproduce import Run as Run
from statewise.literature.reproduce import reproduce as reproduce

__all__ = ["Entry", "Paper", "Run", "entries", "paper", "papers", "reproduce"]
