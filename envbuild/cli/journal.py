"""What happens as lines for machines: one JSON object each, on stderr (docs/logs.md)."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any, TextIO

from envbuild.cli.stages import RunningStage
from envbuild.errors import EnvbuildError
from envbuild.observation import Observation, timestamp
from envbuild.source.text import redact_all

__all__ = ["Journal"]

# A long stage gives a sign of life, so that whoever collects lines can tell it from one that hangs.
_HEARTBEAT_SECONDS = 20.0
_LOGGER_LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warning"))


class Journal:
    """Writes lines about one run; a display of stages, too. Methods may be called from any thread.

    Parameters:
        stream: where lines go. Each is one write, so that those of threads do not mix.
        observation: the run; its build id and facts are on every line.
    """

    def __init__(self, stream: TextIO, observation: Observation) -> None:
        self._stream = stream
        self._observation = observation
        self._lock = threading.Lock()
        self._running: list[RunningStage] = []

    # A display of stages

    def opened(self, stage: RunningStage) -> None:
        """A stage began."""
        with self._lock:
            self._running.append(stage)
        self.write("info", f"{stage.name} began", event="stage-begin", phase=stage.name)

    def changed(self, stage: RunningStage) -> None:
        """A stage moved on."""
        now = time.monotonic()
        if now - stage.reported < _HEARTBEAT_SECONDS:
            return
        stage.reported = now
        self.write(
            "info", f"{stage.name} goes on", event="stage-progress", phase=stage.name, **_amounts(stage)
        )

    def closed(self, stage: RunningStage, *, failure: str | None) -> None:
        """A stage is over; ``failure`` is the code of the error that ended it."""
        with self._lock:
            if stage in self._running:  # it was opened before somebody wished for quiet
                self._running.remove(stage)
        ended = "failed" if failure else "ended"
        self.write(
            "info",
            f"{stage.name} {ended}",
            event="stage-end",
            phase=stage.name,
            **_amounts(stage),
            **({"error": failure} if failure else {}),
        )

    # Lines

    def error(self, error: EnvbuildError, *, trace: str | None = None) -> None:
        """What went wrong, and what to do about it."""
        document = {key: value for key, value in error.to_json().items() if value is not None}
        more = {"traceback": trace} if trace else {}
        self.write("error", document.pop("message"), event="error", **document, **more)

    def write(self, level: str, message: str, *, event: str, phase: str | None = None, **more: Any) -> None:
        """Write one line: no credentials, and whole before any other."""
        observation = self._observation
        line = {
            "time": timestamp(),
            "level": level,
            "build": observation.build,
            "phase": phase or self._phase(),
            "event": event,
            "message": message,
            **observation.facts,
            **more,
        }
        # ASCII: no line separator of Unicode, no undecodable byte of a file name, whatever reads it.
        text = json.dumps(redact_all(line)) + "\n"
        with self._lock:
            self._stream.write(text)
            self._stream.flush()

    def pass_on(self, line: str) -> None:
        """Write a line of another run's journal, which has its own build id, as it is."""
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()

    def _phase(self) -> str:
        """The stage that is running (the innermost), else the verb."""
        with self._lock:
            return self._running[-1].name if self._running else self._observation.verb or "envbuild"

    def take_over(self) -> None:
        """Have what libraries log and warn about written as lines, too, instead of between them."""
        root = logging.getLogger()
        for handler in list(root.handlers):
            if isinstance(handler, _Handler):
                root.removeHandler(handler)
        root.addHandler(_Handler(self))
        logging.captureWarnings(True)


class _Handler(logging.Handler):
    """What libraries say through :mod:`logging`."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        level = next((name for least, name in _LOGGER_LEVELS if record.levelno >= least), "info")
        self._journal.write(level, record.getMessage(), event="library", logger=record.name)


def _amounts(stage: RunningStage) -> dict[str, Any]:
    amounts: dict[str, Any] = {"seconds": round(stage.seconds, 3)}
    if stage.total or stage.done:
        amounts |= {
            "unit": stage.unit or "items",
            "done": stage.done,
            "cached": stage.cached,
            "total": max(stage.total, stage.done),
        }
    return amounts
