"""An HTML page about what differs: one file, without a script, that shows a stranger's outputs safely.

What a notebook gave is data here: text is escaped, HTML is in frames that may do nothing (``sandbox``), and
drawings are images, in which nothing runs. The page's policy forbids scripts and whatever is not in the file
itself; frames inherit it (https://www.w3.org/TR/CSP3/#security-inherit-csp).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from envbuild.outputs.compare import Difference, Shown
from envbuild.outputs.pictures import BITMAPS
from envbuild.outputs.verdict import CellVerdict, NotebookVerdict
from envbuild.quantities import count

__all__ = ["report_page"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'"
_DRAWING = "image/svg+xml"
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=]")
_LONGEST_TEXT = 200_000
_LONGEST_SOURCE = 4_000
_OUTCOMES = {
    "same": "same",
    "differs": "differs",
    "failed": "failed",
    "nothing-stored": "nothing to compare",
    "skipped": "skipped",
}
_STATES = {
    "not-compared": "not compared",
    "not-executed": "not executed",
    "nothing-stored": "without stored outputs",
    "not-reached": "not reached",
}
_MARKS = {"same": "✓", "differs": "≠", "failed": "✗"}


def report_page(name: str, verdicts: Sequence[NotebookVerdict]) -> str:
    """The page about ``verdicts``.

    Parameters:
        name: of the repository, for the title.
    """
    title = f"Outputs of {escape(name)}"
    style = files("envbuild.outputs").joinpath("page.css").read_text("utf-8")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{title}</title><style>{style}</style></head><body>",
            f"<header><h1>{title}</h1><p>{_summary(verdicts)}</p></header>",
            *_contents(verdicts),
            "<main>",
            *(part for number, verdict in enumerate(verdicts) for part in _notebook(number, verdict)),
            "</main></body></html>",
            "",
        ]
    )


def _summary(verdicts: Sequence[NotebookVerdict]) -> str:
    counts = {outcome: sum(one.outcome == outcome for one in verdicts) for outcome in _OUTCOMES}
    parts = [f"{amount} {_OUTCOMES[outcome]}" for outcome, amount in counts.items() if amount]
    return f"{count(len(verdicts), 'notebook')} executed again: {', '.join(parts)}."


def _contents(verdicts: Sequence[NotebookVerdict]) -> Iterator[str]:
    yield '<nav aria-label="Notebooks"><ul>'
    for number, verdict in enumerate(verdicts):
        link = f'<a href="#notebook-{number}">{escape(verdict.notebook)}</a>'
        yield f"<li>{_badge(verdict.outcome)} {link}</li>"
    yield "</ul></nav>"


def _badge(outcome: str) -> str:
    mark = _MARKS.get(outcome, "–")
    return f'<span class="badge {outcome}"><span aria-hidden="true">{mark}</span> {_OUTCOMES[outcome]}</span>'


def _notebook(number: int, verdict: NotebookVerdict) -> Iterator[str]:
    yield f'<section id="notebook-{number}"><h2>{escape(verdict.notebook)} {_badge(verdict.outcome)}</h2>'
    yield f"<p>{_cells(verdict)}</p>"
    if verdict.outcome == "failed" and verdict.error is not None:
        yield f'<p class="what">{escape(verdict.error.message)}</p>'
        if verdict.error.detail:
            yield _block(escape(_cut(verdict.error.detail)))
    for cell in verdict.cells:
        if cell.differences or cell.skipped:
            yield from _cell(cell)
    yield "</section>"


def _cells(verdict: NotebookVerdict) -> str:
    compared = verdict.count("same", "differs")
    parts = [f"{verdict.count('same')} of {count(compared, 'cell')} that were compared give the same"]
    for state, text in _STATES.items():
        amount = sum(cell.state == state for cell in verdict.cells)
        if amount:
            parts.append(f"{amount} {text}")
    return "; ".join(parts) + "."


def _cell(cell: CellVerdict) -> Iterator[str]:
    yield f"<article><h3>{escape(cell.place)}</h3>"
    source = _block(escape(_cut(cell.source, _LONGEST_SOURCE)))
    yield f"<details><summary>Code</summary>{source}</details>"
    for difference in cell.differences:
        where, what = escape(difference.where), escape(difference.summary)
        yield f'<h4>{where}: <span class="what">{what}</span></h4>'
        yield from _difference(difference)
    yield from (f'<p class="note">{escape(what)}: cannot be compared</p>' for what in cell.skipped)
    yield "</article>"


def _difference(difference: Difference) -> Iterator[str]:
    if difference.lines:
        yield _block("\n".join(map(_line, difference.lines)))
    shown = [one for one in (difference.stored, difference.new) if one is not None]
    if all(one.kind not in (*BITMAPS, _DRAWING, "text/html") for one in shown):
        if not difference.lines:
            yield from _side_by_side([("Stored", difference.stored), ("New", difference.new)])
        return
    sides: list[tuple[str, Shown | None]] = [("Stored", difference.stored), ("New", difference.new)]
    if difference.picture is not None:
        where = Shown("image/png", base64.b64encode(difference.picture).decode())
        sides.append(("Where they differ", where))
    yield from _side_by_side(sides)


def _side_by_side(sides: Sequence[tuple[str, Shown | None]]) -> Iterator[str]:
    yield '<div class="sides">'
    for label, shown in sides:
        content = '<p class="note">nothing</p>' if shown is None else _shown(shown, label)
        yield f"<figure><figcaption>{label}</figcaption>{content}</figure>"
    yield "</div>"


def _shown(shown: Shown, label: str) -> str:
    if shown.kind in BITMAPS:
        data = _NOT_BASE64.sub("", shown.content)  # which would end up in an attribute
        return f'<img alt="{label}" src="data:{shown.kind};base64,{data}">'
    if shown.kind == _DRAWING:
        data = base64.b64encode(shown.content.encode("utf-8", "replace")).decode()
        return f'<img alt="{label}" src="data:{shown.kind};base64,{data}">'
    if shown.kind == "text/html" and len(shown.content) <= _LONGEST_TEXT:
        document = escape(
            f'<meta charset="utf-8"><body style="font-family: sans-serif">{shown.content}', quote=True
        )
        return f'<iframe sandbox title="{label}" srcdoc="{document}"></iframe>'
    return _block(escape(_cut(shown.content)))


def _block(content: str) -> str:
    # Whoever has no mouse scrolls it, too.
    return f'<pre tabindex="0">{content}</pre>'


def _line(line: str) -> str:
    tag = {"-": "del", "+": "ins"}.get(line[:1])
    text = escape(line)
    return f"<{tag}>{text}</{tag}>" if tag else text


def _cut(text: str, longest: int = _LONGEST_TEXT) -> str:
    return text if len(text) <= longest else text[:longest] + "\n…"
