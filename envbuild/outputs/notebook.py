"""A notebook's cells with what is stored below them, as people see it.

Format: nbformat 4 (https://nbformat.readthedocs.io/en/latest/format_description.html). Whatever is not as
the format says is read as if it were not there: a notebook is a stranger's file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from envbuild.errors import RepoError
from envbuild.source.text import clean

__all__ = ["Cell", "Display", "Failure", "Outputs", "parse_notebook", "read_cells"]

_FORMAT = 4


@dataclass(frozen=True, slots=True)
class Display:
    """One thing that is displayed: its representations by MIME type; text is ``str``, JSON anything."""

    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """The exception that ended a cell: the name of its class, and what it says."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a cell gave.

    ``streams`` has one text for ``stdout`` and one for ``stderr``: how the two interleave is chance, and so
    is into how many messages a kernel cuts them. ``displays`` are in order, the cell's value among them.
    """

    streams: Mapping[str, str]
    displays: tuple[Display, ...]
    failure: Failure | None

    def __bool__(self) -> bool:
        return bool(self.streams or self.displays or self.failure)


@dataclass(frozen=True, slots=True)
class Cell:
    """One code cell: ``number`` is its 1-based position among all cells, ``count`` the number in its prompt,
    ``ordinal`` that of a run from top to bottom."""

    number: int
    ordinal: int
    count: int | None
    source: str
    tags: tuple[str, ...]
    outputs: Outputs

    @property
    def was_run(self) -> bool:
        """Whether the notebook has something to compare a run of the cell with."""
        return self.count is not None or bool(self.outputs)


def parse_notebook(content: bytes, path: str) -> dict[str, Any]:
    """The JSON object of a notebook that has cells.

    Parameters:
        path: for errors.

    Raises:
        RepoError: it is not a notebook of nbformat 4.
    """
    try:
        try:
            document = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            document = json.loads(content)  # as Jupyter does: NaN is a number
    except (ValueError, RecursionError) as error:
        raise RepoError(
            f"this is not a notebook: {clean(str(error))}",
            code="bad-notebook",
            file=path,
            remedy="restore the notebook from an intact copy",
        ) from error
    if not isinstance(document, dict) or not isinstance(document.get("nbformat"), int):
        raise RepoError("this is not a notebook", code="bad-notebook", file=path)
    if document["nbformat"] != _FORMAT or not isinstance(document.get("cells"), list):
        raise RepoError(
            f"outputs of nbformat {document['nbformat']} cannot be compared; those of 4 can",
            code="bad-nbformat",
            file=path,
            remedy="open and save the notebook in a current JupyterLab",
        )
    return document


def read_cells(document: Mapping[str, Any]) -> tuple[Cell, ...]:
    """The code cells of a notebook's JSON object, in order."""
    cells: list[Cell] = []
    for number, cell in enumerate(document["cells"], 1):
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        count = cell.get("execution_count")
        metadata = cell.get("metadata")
        tags = metadata.get("tags") if isinstance(metadata, dict) else None
        outputs = cell.get("outputs")
        cells.append(
            Cell(
                number,
                len(cells) + 1,
                count if isinstance(count, int) and not isinstance(count, bool) else None,
                _text(cell.get("source")),
                tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
                _outputs(outputs if isinstance(outputs, list) else []),
            )
        )
    return tuple(cells)


def _outputs(outputs: Sequence[Any]) -> Outputs:
    streams: dict[str, str] = {}
    displays: list[Display] = []
    failure: Failure | None = None
    for output in outputs:
        match output:
            case {"output_type": "stream", "name": str(name), "text": text}:
                streams[name] = streams.get(name, "") + _text(text)
            case {"output_type": "display_data" | "execute_result", "data": dict(data)}:
                displays.append(
                    Display({str(kind): _representation(kind, data[kind]) for kind in sorted(data)})
                )
            case {"output_type": "error"}:
                failure = Failure(_text(output.get("ename")), _text(output.get("evalue")))
            case _:
                continue
    shown = {name: _as_shown(text) for name, text in sorted(streams.items())}
    return Outputs({name: text for name, text in shown.items() if text}, tuple(displays), failure)


def _representation(kind: str, value: Any) -> Any:
    return value if kind.endswith("json") else _text(value)


def _text(value: Any) -> str:
    """A "multiline string": one, or a list of lines."""
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _as_shown(text: str) -> str:
    r"""What a terminal shows of ``text`` after progress bars have overwritten themselves.

    >>> _as_shown("10%\r50%\rdone\nab\b\bcd\n")
    'done\ncd\n'
    """
    if "\b" in text:
        kept: list[str] = []
        for character in text:
            if character != "\b":
                kept.append(character)
            elif kept and kept[-1] != "\n":
                kept.pop()
        text = "".join(kept)
    if "\r" not in text:
        return text
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "\n".join(lines)
