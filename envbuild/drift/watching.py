"""An engine whose processes are observed: what they install into the environment is told here.

The image's own Python runs a small program (:mod:`envbuild.drift.observer`), which starts the command and
looks after the environment's packages. What it writes comes from a place that is not trusted: it is read
through a file that was opened before anything ran, in limited pieces, and checked.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

from envbuild.drift.changes import Change, read_changes
from envbuild.engine.model import Command, Engine, Mount, Running
from envbuild.errors import EnvbuildError
from envbuild.image.model import Image
from envbuild.pack import recipe
from envbuild.progress import Reporter
from envbuild.store import Store

__all__ = ["Watched", "watched"]

_PYTHON = f"/{recipe.SERVER_PREFIX}/bin/python3"
_OBSERVER = "/run/envbuild/observer.py"
_REPORT = "/run/envbuild/changes"
# Where `pip install --target` is likely to be told to install.
_ROOTS = (f"/{recipe.REPO_DIR}", "/tmp")
_LONGEST_LINE = 4 << 20
_LARGEST_REPORT = 256 << 20
_MOST_LINES = 20  # that are looked at when the last ones make no sense
_POLL_SECONDS = 0.5


class Watched:
    """``engine``, with an observer around every command; see :class:`~envbuild.engine.model.Engine`.

    Parameters:
        store: holds what images are unpacked to; told at once why there will be no more to tell.
        directory: an empty one of it, for the observers' reports.
        opened: closes them.
    """

    def __init__(self, engine: Engine, store: Store, directory: Path, opened: ExitStack) -> None:
        self._engine = engine
        self._store = store
        self._directory = directory
        self._opened = opened
        self._reports: list[_Report] = []
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """See :attr:`envbuild.engine.model.Engine.name`."""
        return self._engine.name

    @property
    def listen_address(self) -> str:
        """See :attr:`envbuild.engine.model.Engine.listen_address`."""
        return self._engine.listen_address

    @property
    def runs_as_caller(self) -> bool:
        """See :attr:`envbuild.engine.model.Engine.runs_as_caller`."""
        return self._engine.runs_as_caller

    def unavailable(self) -> str | None:
        """See :meth:`envbuild.engine.model.Engine.unavailable`."""
        return self._engine.unavailable()

    def prepare(self, image: Image, *, reporter: Reporter) -> None:
        """See :meth:`envbuild.engine.model.Engine.prepare`."""
        self._engine.prepare(image, reporter=reporter)

    def start(self, image: Image, command: Command) -> Running:
        """See :meth:`envbuild.engine.model.Engine.start`."""
        with self._lock:
            path = self._directory / str(len(self._reports))
            stream = self._opened.enter_context(path.open("xb+", buffering=0))
            path.chmod(0o666)  # the container's user may be another one; nobody else gets here
            self._reports.append(_Report(stream))
        observer = (_PYTHON, "-I", "-S", _OBSERVER, _REPORT, f"/{recipe.ENV_PREFIX}", *_ROOTS, "--")
        mounts = (
            Mount(Path(__file__).with_name("observer.py"), _OBSERVER),
            Mount(path, _REPORT, writable=True),
        )
        return self._engine.start(
            image, replace(command, argv=(*observer, *command.argv), mounts=(*command.mounts, *mounts))
        )

    def changes(self) -> tuple[Change, ...]:
        """What was told until now, by all commands together."""
        with self._lock:
            found = {
                (change.manager, change.name, change.place): change
                for report in self._reports
                for change in report.latest()
            }
        return tuple(found[key] for key in sorted(found))

    @contextmanager
    def telling(self, tell: Callable[[tuple[Change, ...]], None]) -> Iterator[None]:
        """While the block runs, call ``tell`` with all changes whenever there are others than before.

        ``tell`` is called from a thread, and once more at the end from this one if something was left untold.

        Raises:
            EnvbuildError: at the end, what ``tell`` raises; or something seems to have changed, and the cache
                was deleted.
        """
        told: tuple[Change, ...] = ()
        ended = threading.Event()

        def look() -> None:
            nonlocal told
            changes = self.changes()
            # What images are unpacked to goes with the cache: packages are missing that nobody uninstalled.
            if changes and not (self._store.is_there and self._directory.is_dir()):
                raise self._store.deleted()
            if changes != told:
                tell(changes)
                told = changes

        def follow() -> None:
            while not ended.wait(_POLL_SECONDS):
                try:
                    look()
                except EnvbuildError as error:  # comes again at the end, where it can be raised
                    self._store.warn(error.message)
                    return

        thread = threading.Thread(target=follow, name="envbuild-drift", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            look()


@contextmanager
def watched(engine: Engine, store: Store) -> Iterator[Watched]:
    """``engine`` with observers, whose reports are gone after the block."""
    with store.temporary_directory() as directory, ExitStack() as opened:
        yield Watched(engine, store, directory, opened)


class _Report:
    """What one observer has told."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._pending = b""
        self._read = 0
        self._latest: tuple[Change, ...] = ()

    def latest(self) -> tuple[Change, ...]:
        """The changes in the last whole line."""
        while self._read < _LARGEST_REPORT and (data := self._stream.read(_LONGEST_LINE)):
            self._read += len(data)
            *lines, self._pending = (self._pending + data)[-2 * _LONGEST_LINE :].split(b"\n")
            found = (
                changes for line in reversed(lines[-_MOST_LINES:]) if (changes := _changes(line)) is not None
            )
            self._latest = next(found, self._latest)
        return self._latest


def _changes(line: bytes) -> tuple[Change, ...] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return read_changes(value.get("changes")) if isinstance(value, dict) else None
