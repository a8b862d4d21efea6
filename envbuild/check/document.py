"""A notebook file as its rules see it: cells with outputs and tags, and where in the file everything is."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from envbuild.spec.cells import parse_cell
from envbuild.spec.model import Notebook
from envbuild.spec.notebook import PYTHON_LANGUAGES

__all__ = ["Cell", "Document", "read_document"]

# Python writes numbers that JSON does not have; what is in a text stays.
_NOT_NUMBERS = re.compile(rb'"(?:[^"\\]|\\.)*"|-?Infinity|NaN')
_SAME_LENGTH = {b"NaN": b"0.0", b"Infinity": b"0.000000", b"-Infinity": b"-0.000000"}
# Half of a surrogate pair, as an escape: Python reads and writes that, and nothing else does.
_HALVES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{4}|.)")
_BETWEEN = re.compile(rb'"\s*,\s*"')


class _RawCell(msgspec.Struct):
    cell_type: str = ""
    source: str | list[str] = ""
    input: str | list[str] = ""  # nbformat 3
    language: str = "python"  # nbformat 3
    execution_count: Any = None
    prompt_number: Any = None  # nbformat 3
    outputs: msgspec.Raw = msgspec.Raw(b"[]")
    metadata: Any = None
    id: Any = None


class _RawSheet(msgspec.Struct):
    cells: list[_RawCell] = []


class _RawNotebook(msgspec.Struct):
    nbformat: int
    nbformat_minor: Any = 0
    cells: list[_RawCell] = []
    worksheets: list[_RawSheet] = []


class _Slices(msgspec.Struct):
    """The cells as they are in the file, to find out where that is."""

    cells: list[msgspec.Raw] = []
    worksheets: list[dict[str, msgspec.Raw]] = []


class _CellSlices(msgspec.Struct):
    source: msgspec.Raw = msgspec.Raw(b"")
    input: msgspec.Raw = msgspec.Raw(b"")
    outputs: msgspec.Raw = msgspec.Raw(b"")


class _Output(msgspec.Struct):
    text: str | list[str] = ""
    traceback: list[str] = []
    data: dict[str, msgspec.Raw] = {}


_decode = msgspec.json.Decoder(_RawNotebook).decode
_slices = msgspec.json.Decoder(_Slices).decode
_cell_slices = msgspec.json.Decoder(_CellSlices).decode
_texts = msgspec.json.Decoder(list[_Output]).decode
_lines = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell. ``number`` is its 1-based position; ``outputs`` are JSON, as they are in the file.

    ``count`` is the execution count, None when there is none (Colab writes 0 when it does not know).
    ``tags`` are those of its metadata.
    """

    number: int
    kind: str
    source: str
    count: int | None
    outputs: bytes = field(repr=False)
    tags: frozenset[str]
    id: str | None

    @property
    def has_outputs(self) -> bool:
        """Whether there is any output."""
        return len(self.outputs) > 2 and self.outputs[1:100].strip() not in (b"", b"]")

    def texts(self) -> Iterator[str]:
        """The texts among the outputs; pictures and the like are not decoded."""
        try:
            outputs = _texts(self.outputs)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        for output in outputs:
            if output.text:
                yield _joined(output.text)
            if output.traceback:
                yield "\n".join(output.traceback)
            for kind, value in output.data.items():
                if kind.startswith("text/") or kind.endswith("json"):
                    text = msgspec.json.decode(value)
                    if isinstance(text, list) and all(isinstance(part, str) for part in text):
                        text = "".join(text)
                    yield text if isinstance(text, str) else bytes(value).decode("utf-8", "replace")

    def read_outputs(self) -> list[dict[str, Any]]:
        """The outputs, decoded; what is no object is left out, and all of what is not UTF-8."""
        try:
            value = json.loads(self.outputs)
        except (ValueError, RecursionError):
            return []
        return [output for output in value if isinstance(output, dict)] if isinstance(value, list) else []


class Document:
    """One notebook file that could be read.

    Parameters:
        notebook: what the spec says of it.
        data: the file's bytes; ``text`` is the same, and as long, without what is no JSON.
        cells: all of them, in order.
        nbformat: major and minor version.
    """

    def __init__(
        self,
        notebook: Notebook,
        data: bytes,
        text: bytes,
        cells: tuple[Cell, ...],
        nbformat: tuple[int, int],
    ) -> None:
        self.notebook = notebook
        self.path = notebook.path
        self.data = data
        self.cells = cells
        self.nbformat, self.minor = nbformat
        self._text = text
        self._trees: dict[int, ast.Module | None] = {}

    @property
    def is_python(self) -> bool:
        """Whether its code is Python, as far as it says."""
        return (self.notebook.language or "python").lower() in PYTHON_LANGUAGES

    @cached_property
    def code_cells(self) -> tuple[Cell, ...]:
        """The cells with code, in whatever language."""
        return tuple(cell for cell in self.cells if cell.kind == "code")

    @cached_property
    def python_cells(self) -> tuple[Cell, ...]:
        """The cells with Python code, and what IPython adds to it; none in another language."""
        return self.code_cells if self.is_python else ()

    def tree(self, cell: Cell) -> ast.Module | None:
        """See :func:`envbuild.spec.cells.parse_cell`; parsed once."""
        if cell.number not in self._trees:
            self._trees[cell.number] = parse_cell(cell.source)
        return self._trees[cell.number]

    def line_of(self, cell: int | None, line: int | None = None, needle: bytes | None = None) -> int | None:
        """The 1-based line in the file of a cell, a line of its source, or ``needle`` in its outputs."""
        if cell is None:
            return None
        start, raw = self._slices[cell - 1]
        offset = start
        parts = _cell_slices(raw)
        if needle is not None:
            outputs = bytes(parts.outputs)
            offset += max(0, raw.find(outputs)) + max(0, outputs.find(needle))
        elif line is not None:
            source = bytes(parts.source) or bytes(parts.input)
            offset += max(0, raw.find(source)) + _offset_in_source(source, line)
        return self.data.count(b"\n", 0, offset) + 1

    def span_of_line(self, cell: int, line: int) -> tuple[int, int]:
        """Where a line of a cell's source is in the file: from, to (of the last one: from, from)."""
        start, raw = self._slices[cell - 1]
        parts = _cell_slices(raw)
        source = bytes(parts.source) or bytes(parts.input)
        begin = start + max(0, raw.find(source))
        return begin + _offset_in_source(source, line), begin + _offset_in_source(source, line + 1)

    def slice_of(self, cell: int) -> tuple[int, bytes]:
        """Where a cell begins in the file, and its bytes."""
        return self._slices[cell - 1]

    @cached_property
    def _slices(self) -> list[tuple[int, bytes]]:
        found = _slices(self._text)
        raws: list[msgspec.Raw] = list(found.cells) if self.nbformat == 4 else []
        if self.nbformat == 3:
            for sheet in found.worksheets:
                raws += _lines(sheet.get("cells", msgspec.Raw(b"[]")))
        places, position = [], 0
        for raw in raws:
            text = bytes(raw)
            position = self._text.find(text, position)
            places.append((position, text))
            position += len(text)
        return places


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def _offset_in_source(source: bytes, line: int) -> int:
    """Where line ``line`` of a cell begins in its ``source``: a JSON text, or a list of texts."""
    position, seen = source.find(b'"') + 1, 1
    for escape in _ESCAPE.finditer(source):
        if seen == line:
            break
        if escape[0] == b"\\n":
            seen += 1
            between = _BETWEEN.match(source, escape.end())
            position = between.end() if between else escape.end()
    return position


def read_document(notebook: Notebook, data: bytes) -> Document | None:
    """The file ``data``, of which the spec read ``notebook``; None when it is not one after all."""
    text = data
    try:
        try:
            raw = _decode(data)
        except msgspec.DecodeError:
            text = _plain(data)
            raw = _decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    cells = raw.cells if raw.nbformat == 4 else [cell for sheet in raw.worksheets for cell in sheet.cells]
    minor = raw.nbformat_minor if isinstance(raw.nbformat_minor, int) else 0
    return Document(
        notebook,
        data,
        text,
        tuple(_cell(number, cell) for number, cell in enumerate(cells, 1)),
        (raw.nbformat, minor),
    )


def _plain(data: bytes) -> bytes:
    """``data`` without numbers and halves of characters that are no JSON, the same length."""
    data = _HALVES.sub(lambda match: b"\\ufffd" if match[1] else match[0], data)
    return _NOT_NUMBERS.sub(lambda match: _SAME_LENGTH.get(match[0], match[0]), data)


def _cell(number: int, raw: _RawCell) -> Cell:
    source = raw.source or raw.input
    count = raw.execution_count if raw.execution_count is not None else raw.prompt_number
    tags = raw.metadata.get("tags") if isinstance(raw.metadata, dict) else None
    other = raw.language not in PYTHON_LANGUAGES  # nbformat 3
    return Cell(
        number,
        "other" if raw.cell_type == "code" and other else raw.cell_type,
        _joined(source),
        count if isinstance(count, int) else None,
        bytes(raw.outputs),
        frozenset(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else frozenset(),
        raw.id if isinstance(raw.id, str) else None,
    )
