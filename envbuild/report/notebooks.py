"""Notebooks and the traces of their runs: executed copies, which say what they were run with."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from envbuild.errors import RepoError
from envbuild.notebook.places import EXECUTED
from envbuild.notebook.provenance import Provenance, read_provenance
from envbuild.report.model import NotebookEntry, Run
from envbuild.source import Repo, printable
from envbuild.spec.model import Notebook

__all__ = ["notebook_entries"]

_LARGEST: Final = 256 << 20
_ENDING: Final = ".ipynb"
_EXPECTED: Final = "raises-exception"


class _Output(msgspec.Struct):
    output_type: str = ""


class _CellMetadata(msgspec.Struct):
    tags: Any = None


class _Cell(msgspec.Struct):
    outputs: list[_Output] = []
    metadata: _CellMetadata = msgspec.field(default_factory=_CellMetadata)

    @property
    def failed(self) -> bool:
        """Whether it ended in an error that was not expected."""
        expected = isinstance(self.metadata.tags, list) and _EXPECTED in self.metadata.tags
        return not expected and any(output.output_type == "error" for output in self.outputs)


class _Metadata(msgspec.Struct):
    envbuild: Any = None


class _Document(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    cells: list[_Cell] = []


_decode = msgspec.json.Decoder(_Document).decode


@dataclass(frozen=True, slots=True)
class _Trace:
    """An executed notebook: what it is a copy of, and what it says."""

    of: str
    path: str
    provenance: Provenance
    failed: int | None


def notebook_entries(
    repo: Repo, notebooks: Sequence[Notebook], results: Sequence[Repo], lock_digest: str | None
) -> tuple[NotebookEntry, ...]:
    """The notebooks of a repository by path, each with its last run.

    A run's trace is ``NAME.executed.ipynb`` beside the notebook, the notebook itself, or a file of the same
    path in one of ``results``.

    Parameters:
        notebooks: what was read of them (:attr:`envbuild.spec.Spec.notebooks`).
        results: directories that executed copies were written to (``envbuild run -o``).
        lock_digest: ``sha256:<hex>`` of the lock that the report is about.
    """
    known = {notebook.path for notebook in notebooks}
    traces = [trace for place in (repo, *results) for trace in _traces(place)]
    copies = {path for path in known if path.endswith(EXECUTED) and _original(path) in known}
    last: dict[str, _Trace] = {}
    for trace in sorted(traces, key=lambda trace: (_started(trace.provenance), trace.path)):
        last[trace.of if trace.of in known else trace.path] = trace
    return tuple(
        NotebookEntry(
            notebook.path,
            notebook.kernel,
            notebook.language,
            _run(last[notebook.path], lock_digest) if notebook.path in last else None,
        )
        for notebook in sorted(notebooks, key=lambda notebook: notebook.path)
        if notebook.path not in copies
    )


def _traces(repo: Repo) -> list[_Trace]:
    found = []
    for file in repo.files():
        if file.kind == "file" and file.path.endswith(_ENDING.encode()):
            trace = _trace(repo, os.fsdecode(file.path))
            if trace is not None:
                found.append(trace)
    return found


def _trace(repo: Repo, path: str) -> _Trace | None:
    try:
        data = repo.read(path, _LARGEST)
        try:
            document = _decode(data)
        except msgspec.DecodeError:  # Python writes NaN, and reads it
            document = msgspec.convert(json.loads(data), _Document)
    except (RepoError, ValueError, RecursionError):  # reading the repository has told what is wrong with it
        return None
    provenance = read_provenance({"envbuild": document.metadata.envbuild})
    if provenance is None:
        return None
    failed = next((number for number, cell in enumerate(document.cells, 1) if cell.failed), None)
    shown = printable(path)
    return _Trace(provenance.notebook or _original(shown), shown, provenance, failed)


def _original(path: str) -> str:
    """The notebook that an executed copy is of."""
    return path.removesuffix(EXECUTED) + _ENDING if path.endswith(EXECUTED) else path


def _run(trace: _Trace, lock_digest: str | None) -> Run:
    said = trace.provenance
    return Run(
        path=trace.path,
        started=_time(said.started),
        seconds=said.seconds,
        platform=said.platform,
        image_id=said.image_id,
        environment=said.environment,
        lock=None if lock_digest is None or said.lock is None else said.lock == lock_digest,
        commit=said.commit,
        dirty=said.dirty,
        # What Python writes for NaN is no JSON.
        parameters=json.loads(json.dumps(dict(said.parameters)), parse_constant=str),
        inputs=dict(said.inputs),
        failed=trace.failed,
    )


def _started(provenance: Provenance) -> datetime:
    return _time(provenance.started) or datetime.min.replace(tzinfo=UTC)


def _time(text: object) -> datetime | None:
    """The moment that an RFC 3339 text names, in UTC."""
    try:
        moment = datetime.fromisoformat(str(text))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
