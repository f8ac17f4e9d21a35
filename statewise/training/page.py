"""Pages of HTML that need nothing else, and run nothing.

What came from a file is escaped by construction: `tag` escapes every text that it did not make.
"""

import base64
import html
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from statewise import __version__


class Markup(str):
    """Text that is HTML already."""


def tag(name: str, *parts: object, style: str = "") -> Markup:
    """Return an element, escaped inside.

    Args:
        name: of the element; it may bring a class, as in p.quiet.
        parts: what it holds.
        style: of this one alone, as CSS.
    """
    name, _, kind = name.partition(".")
    inside = "".join(p if isinstance(p, Markup) else html.escape(str(p)) for p in parts)
    given = f' class="{kind}"' if kind else ""
    given += f' style="{html.escape(style)}"' if style else ""
    return Markup(f"<{name}{given}>{inside}</{name}>\n")


STYLE = """
:root { color-scheme: light }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 46rem; color: #1f2937;
  background: #fff; font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .75rem }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #e5e7eb }
figure { margin: 1.8rem 0 0 } figure h3 { font-size: 1rem; margin: 0 0 .3rem }
figure div { overflow-x: auto } img { display: block; width: 100%; min-width: 24rem }
figcaption, .quiet { color: #4b5563; font-size: .9rem }
table { border-collapse: collapse; width: 100%; font-size: .95rem }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
  border-bottom: 1px solid #f0f1f3 }
th { font-weight: 600 }
.matrix { display: block; overflow-x: auto; font-size: .8rem }
.matrix th, .matrix td { text-align: right; padding: .2rem .5rem; overflow-wrap: normal }
th, td:not(:last-child) { overflow-wrap: normal }
pre { background: #f6f7f9; padding: .8rem; border-radius: 4px; font-size: .82rem;
  line-height: 1.45; white-space: pre-wrap }
dl { margin: 0 } dt { font-weight: 600 } dd { margin: 0 }
dl div { display: grid; grid-template-columns: 7rem 2fr 3fr; gap: 0 1rem; padding: .3rem 0;
  border-bottom: 1px solid #f0f1f3 }
@media (max-width: 36rem) {
  dl div { grid-template-columns: 7rem 1fr }
  dd.quiet { grid-column: 2 }
}
"""


def facts(rows: Iterable[tuple[str, str, str]]) -> Markup:
    """Return names, what they are, and what that means, one under the other."""
    lines = [
        tag("div", tag("dt", name), tag("dd", value), tag("dd.quiet", gloss))
        for name, value, gloss in rows
    ]
    return tag("dl", *lines)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """Return a table with a line of names above."""
    lines = [tag("tr", *(tag("td", cell) for cell in row)) for row in rows]
    return tag("table", tag("tr", *(tag("th", name) for name in head)), *lines)


def figure(title: str, drawn: Markup | bytes, caption: str) -> Markup:
    """Return a picture with its name above and its explanation below.

    Args:
        title: its name.
        drawn: the picture, of HTML or a PNG.
        caption: what one sees.
    """
    if isinstance(drawn, bytes):
        source = "data:image/png;base64," + base64.b64encode(drawn).decode()
        drawn = Markup(f'<img src="{source}" alt="{html.escape(title)}">')
    return tag("figure", tag("h3", title), tag("div", drawn), tag("figcaption", caption))


def document(title: str, *body: str) -> str:
    """Return a whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Should something ever slip through unescaped, the browser still runs and fetches nothing.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        + tag("title", title)
        + tag("style", Markup(STYLE))
        + "</head><body>\n"
        + "".join(body)
        + tag("p.quiet", f"Written by statewise {__version__}.")
        + "</body></html>\n"
    )


def replace(path: Path, content: bytes) -> None:
    """Write a file whole, in place of what it was."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(content)
    os.replace(draft, path)
