"""The directory through which we talk to ``runner.py`` in a container; see there.

The code that runs beside it is not trusted: what is left for us is read through files that were opened before
it started, never by name, never without a limit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from envbuild.engine.model import Mount, Running

__all__ = ["LARGEST_RESULT", "Exchange", "Progress", "Task"]

LARGEST_RESULT = 1 << 30
# Characters. In a notebook one may become six, and nobody opens a notebook of half that size any more.
_MOST_OUTPUT = 128 << 20

_PLACE = "/run/envbuild/exchange"
_RUNNER = "/run/envbuild/runner.py"
_REQUEST = f"{_PLACE}/request.json"
_LOOK_SECONDS = 0.05
_POLL_SECONDS = 0.5  # asking an engine may be a conversation with its daemon
_LONGEST_EVENT = 1 << 20


@dataclass(frozen=True, slots=True)
class Task:
    """What the runner is asked for.

    Parameters:
        notebook: its path in the container.
        content: what is executed instead of that file; None: the file.
        timeout: seconds a cell may take.
        memory: bytes everything in the container may have together.
        parameters: see :func:`envbuild.notebook.parameters.parameter_cells`; None when there are none.
        page: whether it is wanted as a page, too.
    """

    notebook: str = ""
    content: bytes | None = None
    timeout: float | None = None
    memory: int | None = None
    parameters: Mapping[str, Mapping[str, str]] | None = None
    page: bool = False


class Progress(Protocol):
    """Is told what the runner does."""

    def started(self, cells: int) -> None:
        """The kernel is about to start; so many cells will run."""

    def cell(self, number: int) -> None:
        """The cell that is this one of them (from 1) runs."""

    def done(self) -> None:
        """It came to its end."""


class Exchange:
    """One talk, about one notebook.

    Parameters:
        directory: of ours; it must not exist yet.
        opened: what closes the files.
    """

    def __init__(self, directory: Path, opened: ExitStack) -> None:
        directory.mkdir()
        # The container's user may be another than ours; nobody else gets here through the parent.
        directory.chmod(0o777)
        self._directory = directory
        self._events = opened.enter_context(_shared_file(directory / "events"))
        self._result = opened.enter_context(_shared_file(directory / "result.ipynb"))
        self._page = opened.enter_context(_shared_file(directory / "result.html"))
        self._pending = b""
        self._ended = False
        self._failure: dict[str, Any] | None = None

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """What the container has to see of it."""
        return (
            Mount(self._directory, _PLACE, writable=True),
            Mount(Path(__file__).with_name("runner.py"), _RUNNER),
        )

    def arguments(self, python: str) -> tuple[str, ...]:
        """The command that runs the runner."""
        return (python, _RUNNER, _REQUEST)

    def ask(self, task: Task) -> None:
        """Write the request, and what is to be executed instead of the file."""
        if task.content is not None:
            self._give("source.ipynb", task.content)
        request = {
            "path": task.notebook if task.content is None else f"{_PLACE}/source.ipynb",
            "directory": task.notebook.rpartition("/")[0],
            "result": f"{_PLACE}/result.ipynb",
            "html": f"{_PLACE}/result.html" if task.page else None,
            "title": PurePosixPath(task.notebook).stem,
            "timeout": task.timeout,
            "memory": task.memory,
            "output": _MOST_OUTPUT,
            "parameters": task.parameters,
        }
        self._give("request.json", json.dumps(request).encode())

    def _give(self, name: str, content: bytes) -> None:
        (self._directory / name).write_bytes(content)
        (self._directory / name).chmod(0o644)

    def follow(self, running: Running, progress: Progress, stopped: Callable[[], bool]) -> int:
        """Tell ``progress`` until the runner has ended, or end it when ``stopped``; the exit code."""
        asked = 0.0
        while True:
            code = None
            if self._ended or time.monotonic() - asked >= _POLL_SECONDS:
                code = running.poll()
                asked = time.monotonic()
            if code is None and stopped():
                running.terminate()
                code = running.wait()
            more = self._read_events(progress)
            if code is not None and not more:
                return code
            if not more:
                time.sleep(_LOOK_SECONDS)

    def failure(self) -> dict[str, Any] | None:
        """What the runner says went wrong; None when nothing did."""
        return self._failure if self._ended else dict(_UNTOLD)

    @property
    def ended(self) -> bool:
        """Whether the runner said that it has ended."""
        return self._ended

    def result(self) -> bytes:
        """The executed notebook, at most one byte more than allowed; empty when there is none."""
        return self._result.read(LARGEST_RESULT + 1)

    def page(self) -> bytes:
        """The page; empty when there is none."""
        return self._page.read(LARGEST_RESULT + 1)

    def _read_events(self, progress: Progress) -> bool:
        """Read some of what the runner has told; whether there was anything."""
        data = self._events.read(_LONGEST_EVENT)
        *lines, rest = (self._pending + data).split(b"\n")
        self._pending = rest if len(rest) <= _LONGEST_EVENT else b""
        for event in _events(lines):
            self._take(event, progress)
        return bool(data)

    def _take(self, event: Mapping[str, Any], progress: Progress) -> None:
        match event.get("event"):
            case "started" if isinstance(event.get("cells"), int):
                progress.started(event["cells"])
            case "cell" if isinstance(event.get("number"), int):
                progress.cell(event["number"])
            case "done":
                progress.done()
            case "ended":
                failure = event.get("failure")
                self._ended = True
                self._failure = failure if isinstance(failure, dict) else None


_UNTOLD = {"kind": "not-executed", "message": "the process that runs notebooks ended before its turn"}


def _shared_file(path: Path) -> IO[bytes]:
    stream = path.open("xb+")
    path.chmod(0o666)
    return stream


def _events(lines: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event
