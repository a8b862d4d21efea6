"""Whether a cell gave the same as is stored for it: streams, what it displayed, the exception."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from envbuild.outputs.notebook import Display, Outputs
from envbuild.outputs.pictures import (
    BITMAPS,
    PictureDifference,
    PictureRules,
    compare_bitmaps,
    compare_drawings,
)
from envbuild.outputs.structures import compare_values
from envbuild.outputs.text import TextRules, compare_texts, diff_lines
from envbuild.source.text import clean

__all__ = ["Comparison", "Difference", "Rules", "Shown", "compare_outputs"]

_DRAWING = "image/svg+xml"
_PICTURES = (*BITMAPS, _DRAWING)
_TEXTS = ("text/html", "text/latex", "text/markdown", "text/plain")
# Only a program in a browser knows what these look like; their text says little about it.
_LIVE = {
    "application/vnd.jupyter.widget-view+json": "a widget",
    "application/vnd.jupyter.widget-state+json": "a widget",
    "application/vnd.bokehjs_exec.v0+json": "a Bokeh plot",
    "application/vnd.bokehjs_load.v0+json": "Bokeh's loader",
    "application/vnd.holoviews_exec.v0+json": "a HoloViews plot",
    "application/vnd.holoviews_load.v0+json": "HoloViews' loader",
    "application/javascript": "JavaScript",
    "text/javascript": "JavaScript",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What may differ between two outputs."""

    text: TextRules
    pictures: PictureRules


@dataclass(frozen=True, slots=True)
class Shown:
    """One representation of an output: its MIME type and its text (of bitmaps: base64)."""

    kind: str
    content: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not the same.

    Attributes:
        where: ``stdout``, ``stderr``, ``output 2``, ``exception``.
        kind: ``text``, ``picture``, ``data``, ``missing``, ``extra``, ``kind``, ``exception``.
        summary: in a few words.
        stored, new: what was compared; None: there is nothing.
        lines: the lines of a text that differ, as in a diff.
        picture: a PNG of where two pictures differ.
    """

    where: str
    kind: str
    summary: str
    stored: Shown | None = None
    new: Shown | None = None
    lines: tuple[str, ...] = ()
    picture: bytes | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences of a cell, and what could not be compared (``output 2: a widget``)."""

    differences: tuple[Difference, ...] = ()
    skipped: tuple[str, ...] = ()


def compare_outputs(stored: Outputs, new: Outputs, rules: Rules) -> Comparison:
    """Compare what is stored below a cell with what it gave when it was run again.

    Of each thing that is displayed the best representation is compared that both have: data, then pictures,
    then HTML, then text.
    """
    differences: list[Difference] = []
    skipped: list[str] = []
    for name in sorted({*stored.streams, *new.streams}):
        old, now = stored.streams.get(name), new.streams.get(name)
        differences += _texts(name, "text/plain", old, now, rules)
    for index in range(max(len(stored.displays), len(new.displays))):
        where = f"output {index + 1}"
        if index >= len(new.displays):
            shown = _best(stored.displays[index])
            differences.append(Difference(where, "missing", f"{_a(shown)} is missing", stored=shown))
        elif index >= len(stored.displays):
            shown = _best(new.displays[index])
            differences.append(Difference(where, "extra", f"{_a(shown)} was added", new=shown))
        else:
            found = _displays(where, stored.displays[index].data, new.displays[index].data, rules)
            if isinstance(found, str):
                skipped.append(f"{where}: {found}")
            elif found is not None:
                differences.append(found)
    return Comparison((*differences, *_failures(stored, new, rules)), tuple(skipped))


def _failures(stored: Outputs, new: Outputs, rules: Rules) -> list[Difference]:
    old, now = stored.failure, new.failure
    if old is None and now is None:
        return []
    before, after = (Shown("text/plain", f"{one.name}: {one.message}") if one else None for one in (old, now))
    if before is None or after is None:
        what = clean(after.content) + " was raised" if after else "the exception was not raised"
        return [Difference("exception", "exception", what, before, after)]
    trouble = compare_texts(before.content, after.content, rules.text)
    return [Difference("exception", "exception", trouble, before, after)] if trouble else []


def _texts(where: str, kind: str, old: str | None, now: str | None, rules: Rules) -> list[Difference]:
    stored = None if old is None else Shown(kind, old)
    new = None if now is None else Shown(kind, now)
    if old is None or now is None:
        lines = diff_lines(old or "", now or "", rules.text)
        what = "missing" if now is None else "extra"
        said = next((line[1:].strip() for line in lines if line[1:].strip()), "")
        summary = f"{clean(said)!r} {'is missing' if now is None else 'was added'}"
        return [Difference(where, what, summary, stored, new, tuple(lines))]
    trouble = compare_texts(old, now, rules.text)
    if trouble is None:
        return []
    return [Difference(where, "text", trouble, stored, new, tuple(diff_lines(old, now, rules.text)))]


def _displays(
    where: str, old: Mapping[str, Any], now: Mapping[str, Any], rules: Rules
) -> Difference | str | None:
    """How the two differ; a text: what cannot be compared; None: they are the same."""
    if old == now:
        return None
    live = next((what for kind, what in _LIVE.items() if kind in old and kind in now), None)
    both = {kind for kind in old if kind in now and kind not in _LIVE and not _has_script(kind, old, now)}
    if live is None and any(_has_script("text/html", data) for data in (old, now)):
        live = "HTML that a script draws"
    if live is not None and both <= {"text/plain"}:
        return live
    pictures = [kind for kind in _PICTURES if kind in both]
    data = sorted(kind for kind in both if kind.endswith("json"))
    if not data and not pictures and any(kind in side for side in (old, now) for kind in _PICTURES):
        return _other_kind(where, old, now)
    if data:
        trouble = compare_values(old[data[0]], now[data[0]], rules.text)
        return None if trouble is None else _data(where, data[0], trouble, old, now, rules)
    if pictures:
        return _pictures(where, pictures[0], old[pictures[0]], now[pictures[0]], rules)
    kinds = [kind for kind in _TEXTS if kind in both] or sorted(both)
    if not kinds:
        return _other_kind(where, old, now)
    found = _texts(where, kinds[0], str(old[kinds[0]]), str(now[kinds[0]]), rules)
    if found and kinds[0] == "text/html" and "text/plain" in both:
        # What differs is easier to see in a table of text than in its markup.
        plain = _texts(where, "text/plain", str(old["text/plain"]), str(now["text/plain"]), rules)
        return replace(plain[0], stored=found[0].stored, new=found[0].new) if plain else found[0]
    return found[0] if found else None


def _has_script(kind: str, *sides: Mapping[str, Any]) -> bool:
    return kind == "text/html" and any("<script" in str(side.get(kind, "")).lower() for side in sides)


def _other_kind(where: str, old: Mapping[str, Any], now: Mapping[str, Any]) -> Difference:
    stored, new = _best(Display(old)), _best(Display(now))
    return Difference(where, "kind", f"{_a(new)} instead of {_a(stored)}", stored, new)


def _data(
    where: str, kind: str, trouble: str, old: Mapping[str, Any], now: Mapping[str, Any], rules: Rules
) -> Difference:
    stored, new = (Shown(kind, json.dumps(side[kind], indent=1, sort_keys=True)) for side in (old, now))
    lines = tuple(diff_lines(stored.content, new.content, rules.text))
    return Difference(where, "data", trouble, stored, new, lines)


def _pictures(where: str, kind: str, old: Any, now: Any, rules: Rules) -> Difference | None:
    old, now = str(old), str(now)
    found: PictureDifference | None
    if kind == _DRAWING:
        found = compare_drawings(old, now, rules.text)
    else:
        try:
            found = compare_bitmaps(_decoded(old), _decoded(now), rules.pictures)
        except binascii.Error:
            found = PictureDifference("the pictures cannot be compared: they are not base64")
    if found is None:
        return None
    stored, new = Shown(kind, old), Shown(kind, now)
    return Difference(where, "picture", found.summary, stored, new, picture=found.picture)


def _decoded(text: str) -> bytes:
    return base64.b64decode("".join(text.split()).encode("ascii", "replace"), validate=True)


def _best(display: Display) -> Shown:
    """The representation that is shown of something that has no counterpart."""
    for kind in (*_PICTURES, *_TEXTS):
        if kind in display.data:
            return Shown(kind, str(display.data[kind]))
    kind = min(display.data, default="nothing")
    return Shown(kind, "")


def _a(shown: Shown) -> str:
    return {"text/plain": "text", "text/html": "HTML"}.get(shown.kind) or clean(shown.kind)
