"""Whether two JSON values (of Plotly, Vega, GeoJSON, ...) are the same, but for what may differ."""

from __future__ import annotations

import base64
import binascii
import json
from array import array
from typing import Any

from envbuild.outputs.text import TextRules, compare_texts
from envbuild.source.text import clean

__all__ = ["compare_values"]

# Made at random each time.
_UNIQUE_KEYS = frozenset({"uid", "uuid"})
# How plotly writes arrays of floating point numbers: their bytes in base64.
_ARRAYS = {"f4": "f", "f8": "d"}


def compare_values(stored: Any, new: Any, rules: TextRules) -> str | None:
    """Where two JSON values differ first and how, in a few words; None when they are the same.

    Whole numbers are compared exactly, others with the tolerance of ``rules``, texts as
    :func:`.text.compare_texts` does.
    """
    todo = [("", stored, new)]
    while todo:
        place, old, now = todo.pop()
        trouble = None
        old, now = _unpacked(old), _unpacked(now)
        if isinstance(old, dict) and isinstance(now, dict):
            if set(old) != set(now):
                name = min(map(str, set(old) ^ set(now)))
                trouble = f"{clean(name)!r} {'is missing' if name in old else 'was added'}"
            else:
                todo += [(f"{place}.{key}", old[key], now[key]) for key in old if key not in _UNIQUE_KEYS]
        elif isinstance(old, list) and isinstance(now, list):
            if len(old) != len(now):
                trouble = f"{len(now)} values instead of {len(old)}"
            else:
                todo += [
                    (f"{place}[{index}]", *pair) for index, pair in enumerate(zip(old, now, strict=True))
                ]
        elif isinstance(old, str) and isinstance(now, str):
            trouble = compare_texts(old, now, rules)
        elif not _same_scalars(old, now, rules):
            trouble = f"{_shown(now)} instead of {_shown(old)}"
        if trouble is not None:
            return f"{clean(place.removeprefix('.'))}: {trouble}" if place else trouble
    return None


def _same_scalars(old: Any, now: Any, rules: TextRules) -> bool:
    if isinstance(old, bool) or isinstance(now, bool) or old is None or now is None:
        return old is now
    if isinstance(old, int | float) and isinstance(now, int | float):
        if isinstance(old, int) and isinstance(now, int):
            return old == now
        try:
            return rules.tolerance.allows(float(old), float(now))
        except OverflowError:
            return old == now
    return False


def _shown(value: Any) -> str:
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case str():
            return "a text"
    return clean(json.dumps(value))


def _unpacked(value: Any) -> Any:
    """The numbers of a packed array; anything else as it is."""
    if not isinstance(value, dict):
        return value
    code = _ARRAYS.get(str(value.get("dtype")))
    packed = value.get("bdata")
    if code is None or not isinstance(packed, str):
        return value
    try:
        return array(code, base64.b64decode(packed, validate=True)).tolist()
    except (binascii.Error, ValueError):
        return value
