"""Headless execution in the environment image: notebooks, or any command.

Notebooks run with their own directory as working directory, on the kernel they name, each in a container of
its own, and are not changed: what comes of them is written to other files (like nbconvert and papermill do).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from envbuild.engine.model import Command, Engine, Mount
from envbuild.errors import RepoError
from envbuild.image.model import Image
from envbuild.notebook.batch import Batch
from envbuild.notebook.exchange import LARGEST_RESULT, Exchange, Task
from envbuild.notebook.failures import failure_error
from envbuild.notebook.parameters import parameter_cells, redacted
from envbuild.notebook.places import check_places, page_path, result_path, write_result
from envbuild.notebook.provenance import Provenance, with_provenance
from envbuild.pack import recipe
from envbuild.progress import Reporter, Stage
from envbuild.source.text import printable
from envbuild.source.work_tree import SourceState
from envbuild.store import Store

__all__ = ["Evidence", "Executed", "execute", "result_path", "run_command"]

_PYTHON = f"/{recipe.SERVER_PREFIX}/bin/python3"
_KILLED = 137


@dataclass(frozen=True, slots=True)
class Executed:
    """One notebook: as it was given, where its ``result`` was written (None when there is none), and the
    ``error``, if it did not run to its end.

    ``page`` is where it was written as HTML. ``seconds`` are those of its container, ``cells`` how many came
    to their end. ``skipped`` tells that it was not begun because another one had failed.
    """

    notebook: str
    result: Path | None
    error: RepoError | None
    page: Path | None = None
    seconds: float = 0.0
    cells: int = 0
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is recorded in executed notebooks besides what is known here anyway.

    ``source`` is the state of the repository, ``inputs`` path -> digest of the data it declares
    (:func:`envbuild.notebook.inputs.hash_inputs`). Without ``times`` the same run gives the same file.
    """

    source: SourceState = field(default_factory=SourceState)
    inputs: Mapping[str, str] | None = None
    times: bool = True


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
    jobs: int = 1,
    total_timeout: float | None = None,
    memory: int | None = None,
    fail_fast: bool = False,
    pages: bool = False,
    evidence: Evidence | None = None,
) -> tuple[Executed, ...]:
    """Run ``notebooks``; one that fails does not stop the others, unless with ``fail_fast``.

    Parameters:
        image: the environment image, without the repository's files.
        repository: seen by the notebooks as ``/srv/repo``, writable.
        notebooks: paths relative to ``repository``, ``/``-separated.
        output: where executed copies are written (:func:`result_path`).
        timeout: seconds a single cell may take; None: as long as it wants.
        parameters: variables (JSON values) set at the beginning, as papermill does.
        contents: what is executed instead of the file, for some or all of ``notebooks``; still in the
            file's directory.
        jobs: how many run at once.
        total_timeout: seconds after which none runs any more.
        memory: bytes that each may have, with all its processes.
        fail_fast: begin no other notebook when one has failed.
        pages: also write each as HTML.
        evidence: what is recorded in them; None: what is known here, and times.

    Returns:
        One :class:`Executed` per notebook, in order. Its error's code is one of those in docs/running.md.

    Raises:
        UsageError: a result would take the place of a notebook.
        MachineError: the engine fails, or a result cannot be written.
        KeyboardInterrupt: what ran until then was written.
    """
    evidence = evidence or Evidence()
    check_places(repository, notebooks, output)
    engine.prepare(image, reporter=reporter)
    task = Task(
        timeout=timeout,
        memory=memory,
        parameters=parameter_cells(parameters) if parameters else None,
        page=pages,
    )
    record = _record(image, store, parameters or {}, evidence)

    with reporter.stage("run", unit="cells") as stage:
        progress = _Display(stage)

        def work(number: int) -> Executed:
            notebook = notebooks[number]
            content = (contents or {}).get(notebook)
            asked = replace(task, notebook=f"/{recipe.REPO_DIR}/{notebook}", content=content)
            own = replace(record, notebook=printable(notebook))
            run = _Run(notebook, asked, own, evidence.times, image, repository, output)
            executed = run.execute(engine, store, progress, lambda: batch.stopped)
            if len(notebooks) > 1:
                reporter.note(_told(executed))
            return executed

        batch: Batch[Executed] = Batch(
            work,
            len(notebooks),
            jobs=jobs,
            last=lambda executed: fail_fast and executed.error is not None,
            seconds=total_timeout,
        )
        try:
            batch.run()
        except KeyboardInterrupt:
            for executed in batch.outcomes.values():
                if executed.error is not None and executed.error.remedy:
                    reporter.note(f"{printable(executed.notebook)}: {executed.error.remedy}")
            raise
    return tuple(
        batch.outcomes.get(number) or _not_begun(notebook, over=batch.stopped == "total-timeout")
        for number, notebook in enumerate(notebooks)
    )


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


@dataclass(frozen=True, slots=True)
class _Run:
    """One notebook that is to run."""

    notebook: str
    task: Task
    record: Provenance
    times: bool
    image: Image
    repository: Path
    output: Path | None

    def execute(
        self, engine: Engine, store: Store, display: _Display, stopped: Callable[[], str | None]
    ) -> Executed:
        """Run it to its end, or until ``stopped`` says why not."""
        with store.temporary_directory() as scratch, ExitStack() as opened:
            exchange = Exchange(scratch / "exchange", opened)
            exchange.ask(self.task)
            log = scratch / "log"
            command = Command(
                exchange.arguments(_PYTHON),
                mounts=(Mount(self.repository, f"/{recipe.REPO_DIR}", writable=True), *exchange.mounts),
                owner=self.repository.stat().st_uid,
                output=log,
                memory=self.task.memory,
            )
            line = display.line(self.notebook)
            begun, clock = datetime.now(UTC), time.monotonic()
            try:
                with engine.start(self.image, command) as running:
                    code = exchange.follow(running, line, lambda: stopped() is not None)
            finally:
                line.close()
            seconds = time.monotonic() - clock
            failure = exchange.failure()
            if failure is not None and stopped() is not None and failure.get("kind") != "cell-failed":
                failure["kind"] = stopped()
            elif code == _KILLED and self.task.memory is not None and not exchange.ended:
                failure = {"kind": "out-of-memory"}
            record = self.record
            if self.times:
                started = begun.isoformat(timespec="seconds").replace("+00:00", "Z")
                record = replace(record, started=started, seconds=round(seconds, 3))
            content, failure = _checked(exchange.result(), record, failure)
            written = self._write(content)
            page = self._write_page(exchange.page(), written)
            error = failure_error(self.notebook, failure, written, log) if failure is not None else None
        return Executed(self.notebook, written, error, page, round(seconds, 3), line.cells_done)

    def _write(self, content: bytes) -> Path | None:
        if not content:
            return None
        path = result_path(self.repository, self.notebook, self.output)
        write_result(path, content)
        return path

    def _write_page(self, content: bytes, result: Path | None) -> Path | None:
        if not content or result is None or len(content) > LARGEST_RESULT:
            return None
        write_result(page_path(result), content)
        return page_path(result)


def _checked(
    content: bytes, record: Provenance, failure: dict[str, Any] | None
) -> tuple[bytes, dict[str, Any] | None]:
    """The executed notebook with its record, empty if it is none, and the failure, which that may be."""
    if len(content) > LARGEST_RESULT:
        return b"", failure or {"kind": "too-much-output"}
    if not content:
        return b"", failure or {"kind": "not-written", "message": "nothing was left"}
    try:
        return with_provenance(content, record), failure
    except ValueError as error:
        return b"", failure or {"kind": "not-written", "message": f"what was left is no notebook: {error}"}


def _record(image: Image, store: Store, parameters: Mapping[str, Any], evidence: Evidence) -> Provenance:
    # An image that a container engine has built has other labels, or none.
    config = json.loads(store.read_blob(image.config.digest))
    labels = config.get("config", {}).get("Labels") or {}
    return Provenance(
        image_id=image.image_id,
        platform=image.platform,
        environment=labels.get("dev.envbuild.env"),
        lock=labels.get("dev.envbuild.lock.digest"),
        parameters=redacted(parameters),
        commit=evidence.source.commit,
        dirty=evidence.source.dirty,
        inputs=evidence.inputs or {},
    )


def _not_begun(notebook: str, *, over: bool) -> Executed:
    if not over:
        return Executed(notebook, None, None, skipped=True)
    error = RepoError(
        "the time for all notebooks was over before its turn",
        code="total-timeout",
        file=notebook,
        remedy="raise --total-timeout, or run fewer notebooks",
    )
    return Executed(notebook, None, error)


def _told(executed: Executed) -> str:
    outcome = "done" if executed.error is None else executed.error.message
    return f"{printable(executed.notebook)}: {outcome} ({executed.cells} cells in {executed.seconds:.1f} s)"


class _Display:
    """The stage that all notebooks share."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._lines: dict[str, str] = {}
        self._lock = threading.Lock()

    def line(self, notebook: str) -> _Line:
        """What is shown for one of them."""
        self.show(notebook, "starting")
        return _Line(self, self._stage, notebook)

    def show(self, notebook: str, text: str | None) -> None:
        """Say ``text`` about ``notebook``, or nothing any more."""
        with self._lock:
            if text is None:
                self._lines.pop(notebook, None)
            else:
                self._lines[notebook] = f"{notebook} {text}"
            self._stage.detail("; ".join(self._lines.values()))


class _Line:
    """See :class:`envbuild.notebook.exchange.Progress`."""

    def __init__(self, display: _Display, stage: Stage, notebook: str) -> None:
        self._display = display
        self._stage = stage
        self._notebook = notebook
        self._cells = 0
        self.cells_done = 0

    def started(self, cells: int) -> None:
        """The kernel is about to start; so many cells will run."""
        self._cells += max(0, cells)
        self._stage.add_total(max(0, cells))

    def cell(self, number: int) -> None:
        """The cell that is this one of them runs."""
        self._display.show(self._notebook, f"cell {number}/{self._cells}")

    def done(self) -> None:
        """It came to its end."""
        if self.cells_done < self._cells:
            self.cells_done += 1
            self._stage.advance(1)

    def close(self) -> None:
        """Nothing more happens to this notebook."""
        self._display.show(self._notebook, None)
