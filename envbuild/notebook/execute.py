"""Headless execution in the environment image: notebooks, or any command.

Notebooks run with their own directory as working directory, on the kernel they name, and are not changed:
what comes of them is written to other files (like nbconvert and papermill do). The code in them is not
trusted, so what it leaves for us is read through files we opened before it started, never by name.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from envbuild.engine.model import Command, Engine, Mount, Running
from envbuild.errors import MachineError, RepoError
from envbuild.image.model import Image
from envbuild.pack import recipe
from envbuild.progress import Reporter, Stage
from envbuild.source.log import last_lines, plain_text
from envbuild.store import Store
from envbuild.store.disk import write_atomic

__all__ = ["Executed", "execute", "result_path", "run_command"]

_PYTHON = f"/{recipe.SERVER_PREFIX}/bin/python3"
_EXCHANGE = "/run/envbuild/exchange"
_RUNNER = "/run/envbuild/runner.py"
_POLL_SECONDS = 0.05
_LONGEST_EVENT = 1 << 20
_LARGEST_RESULT = 1 << 30


@dataclass(frozen=True, slots=True)
class Executed:
    """One notebook that was run: ``notebook`` as it was given, where its ``result`` was written (None when
    it was not even started), and the ``error``, if it did not run to its end."""

    notebook: str
    result: Path | None
    error: RepoError | None


def result_path(repository: Path, notebook: str, output: Path | None) -> Path:
    """Where the executed copy of ``notebook`` (relative to ``repository``) goes.

    Below ``output`` it keeps its relative path; without one it is put beside the notebook:

    >>> str(result_path(Path("/repo"), "a/b.ipynb", Path("/out")))
    '/out/a/b.ipynb'
    >>> str(result_path(Path("/repo"), "a/b.ipynb", None))
    '/repo/a/b.executed.ipynb'
    """
    if output is not None:
        return output / notebook
    return (repository / notebook).with_suffix(".executed.ipynb")


def execute(
    image: Image,
    repository: Path,
    notebooks: Sequence[str],
    *,
    engine: Engine,
    store: Store,
    reporter: Reporter,
    output: Path | None = None,
    timeout: float | None = None,
    parameters: Mapping[str, Any] | None = None,
    contents: Mapping[str, bytes] | None = None,
) -> tuple[Executed, ...]:
    """Run ``notebooks`` one after the other; one that fails does not stop the others.

    Parameters:
        image: the environment image, without the repository's files.
        repository: seen by the notebooks as ``/srv/repo``, writable.
        notebooks: paths relative to ``repository``, ``/``-separated.
        output: where executed copies are written (:func:`result_path`).
        timeout: seconds a single cell may take; None: as long as it wants.
        parameters: variables (JSON values) set at the beginning, as papermill does.
        contents: what is executed instead of the file, for some or all of ``notebooks``; still in the
            file's directory.

    Returns:
        One :class:`Executed` per notebook, in order. Its error's code is ``cell-failed`` (with the traceback
        in ``detail``), ``cell-timeout``, ``kernel-died``, ``no-kernel``, ``unreadable`` or ``not-executed``.

    Raises:
        MachineError: the engine fails, or a result cannot be written.
    """
    engine.prepare(image, reporter=reporter)
    with store.temporary_directory() as scratch, ExitStack() as opened:
        exchange = _Exchange(scratch / "exchange", len(notebooks), opened)
        exchange.ask(notebooks, timeout, dict(parameters or {}), dict(contents or {}))
        log = scratch / "log"
        command = Command(
            (_PYTHON, _RUNNER, f"{_EXCHANGE}/request.json"),
            mounts=(
                Mount(repository, f"/{recipe.REPO_DIR}", writable=True),
                Mount(exchange.directory, _EXCHANGE, writable=True),
                Mount(Path(__file__).with_name("runner.py"), _RUNNER),
            ),
            owner=repository.stat().st_uid,
            output=log,
        )
        with reporter.stage("run", unit="cells") as stage, engine.start(image, command) as running:
            failures = _follow(running, exchange, notebooks, stage)
        results = []
        for number, notebook in enumerate(notebooks):
            failure = failures.get(number, _UNTOLD)
            written = _write_result(exchange.result(number), result_path(repository, notebook, output))
            error = _error(notebook, failure, written, log) if failure is not None else None
            results.append(Executed(notebook, written, error))
        return tuple(results)


def run_command(
    image: Image, repository: Path, argv: Sequence[str], *, engine: Engine, reporter: Reporter
) -> int:
    """Run any command in the image, with our standard input, output and error; returns its exit code.

    Raises:
        MachineError: the engine fails.
    """
    engine.prepare(image, reporter=reporter)
    command = Command(
        tuple(argv),
        mounts=(Mount(repository, f"/{recipe.REPO_DIR}", writable=True),),
        owner=repository.stat().st_uid,
        stdin=True,
    )
    with engine.start(image, command) as running:
        return running.wait()


_UNTOLD = {"kind": "not-executed", "message": "the process that runs notebooks ended before its turn"}


class _Exchange:
    """The directory through which we talk to ``runner.py``; see there."""

    def __init__(self, directory: Path, count: int, opened: ExitStack) -> None:
        directory.mkdir()
        # The container's user may be another than ours; nobody else gets here through the parent.
        directory.chmod(0o777)
        self.directory = directory
        self.events = opened.enter_context(_shared_file(directory / "events"))
        self._results = [
            opened.enter_context(_shared_file(directory / f"{number}.ipynb")) for number in range(count)
        ]

    def ask(
        self,
        notebooks: Sequence[str],
        timeout: float | None,
        parameters: dict[str, Any],
        contents: dict[str, bytes],
    ) -> None:
        """Write the request, and what is to be executed instead of files of the repository."""
        root = Path("/", recipe.REPO_DIR)
        paths = {notebook: str(root / notebook) for notebook in notebooks}
        for number, notebook in enumerate(notebooks):
            if notebook in contents:
                self._give(f"{number}.source.ipynb", contents[notebook])
                paths[notebook] = f"{_EXCHANGE}/{number}.source.ipynb"
        items = [
            {
                "path": paths[notebook],
                "directory": str((root / notebook).parent),
                "result": f"{_EXCHANGE}/{number}.ipynb",
            }
            for number, notebook in enumerate(notebooks)
        ]
        request = {"notebooks": items, "timeout": timeout, "parameters": parameters}
        self._give("request.json", json.dumps(request).encode())

    def _give(self, name: str, content: bytes) -> None:
        (self.directory / name).write_bytes(content)
        (self.directory / name).chmod(0o644)

    def result(self, number: int) -> bytes:
        """The executed notebook; empty when there is none."""
        return self._results[number].read(_LARGEST_RESULT)


def _shared_file(path: Path) -> IO[bytes]:
    stream = path.open("xb+")
    path.chmod(0o666)
    return stream


def _follow(
    running: Running, exchange: _Exchange, notebooks: Sequence[str], stage: Stage
) -> dict[int, dict[str, Any] | None]:
    """Report progress until the runner ends: number of each notebook that ended -> its failure or None."""
    failures: dict[int, dict[str, Any] | None] = {}
    ended = False
    pending = b""
    while not ended:
        ended = running.poll() is not None
        pending += exchange.events.read(_LONGEST_EVENT)
        *lines, pending = pending.split(b"\n")
        for event in _events(lines):
            number = event.get("notebook")
            if not isinstance(number, int) or not 0 <= number < len(notebooks):
                continue
            if event.get("event") == "started" and isinstance(event.get("cells"), int):
                stage.detail(notebooks[number])
                stage.add_total(event["cells"])
            elif event.get("event") == "cell":
                stage.advance(1)
            elif event.get("event") == "ended":
                failure = event.get("failure")
                failures[number] = failure if isinstance(failure, dict) else None
        if not ended:
            time.sleep(_POLL_SECONDS)
    return failures


def _events(lines: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _write_result(content: bytes, path: Path) -> Path | None:
    if not content:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    except OSError as error:
        raise MachineError(
            f"the executed notebook cannot be written: {error.strerror}",
            code="not-writable",
            file=str(path),
            remedy="name a directory you may write to with -o",
        ) from error
    return path


# What runner.py calls a failure -> message and remedy, with the place in the notebook and what was said.
_FAILURES = {
    "cell-failed": ("{place} failed: {said}", None),
    "cell-timeout": ("{place} took longer than allowed", "raise --timeout, or leave it out"),
    "kernel-died": ("the kernel died in {place}", "it may have run out of memory"),
    "no-kernel": ("the environment lacks its kernel: {said}", "lock the environment again"),
    "unreadable": ("it is not a notebook that can be run: {said}", None),
    "not-executed": ("{place} could not be run: {said}", None),
}


def _error(notebook: str, failure: Mapping[str, Any], written: Path | None, log: Path) -> RepoError:
    code = str(failure.get("kind"))
    if code not in _FAILURES:
        code = "not-executed"
    said = plain_text(str(failure.get("message"))).strip()
    cell = failure.get("cell")
    place = f"cell {cell} (In [{failure.get('count')}])" if isinstance(cell, int) else "the notebook"
    message, remedy = _FAILURES[code]
    detail = plain_text(str(failure.get("traceback") or ""))
    if not detail and code in ("kernel-died", "not-executed"):
        detail = last_lines(log)
    remedies = [remedy, None if written is None else f"what was run until then is in {written}"]
    return RepoError(
        message.format(place=place, said=said.partition("\n")[0]),
        code=code,
        file=notebook,
        remedy="; ".join(filter(None, remedies)) or None,
        detail=detail or None,
    )
