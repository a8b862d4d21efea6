"""What a build says, as lines that repo2docker's callers read.

With ``--json-logs`` each is an object with ``message``, which ends with a line end, and ``phase``:
``fetching``, ``building``, ``pushing``, ``running``, ``failed``. For BinderHub a build has failed at the
first line with ``failed``; it shows all others.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Mapping
from typing import Any, Literal, TextIO

from envbuild.errors import EnvbuildError
from envbuild.quantities import duration, quantity
from envbuild.source.text import printable, redact

__all__ = ["JournalReader", "Lines", "Phase"]

Phase = Literal["fetching", "building", "pushing", "running", "failed"]

_ORDER: tuple[Phase, ...] = ("fetching", "building", "pushing")
_PHASES: dict[str, Phase] = {"source": "fetching", "push": "pushing", "publish": "pushing"}
_NOTABLE_SECONDS = 1.0
_MOST = 1 << 60


class Lines:
    """Writes to ``stream``: objects, or with ``as_json=False`` text for people."""

    def __init__(self, stream: TextIO, *, as_json: bool) -> None:
        self._stream = stream
        self._as_json = as_json
        self._lock = threading.Lock()

    def say(self, phase: Phase, message: str) -> None:
        """Write ``message``, of one or several lines."""
        text = json.dumps({"message": message + "\n", "phase": phase}) if self._as_json else message
        with self._lock:
            self._stream.write(text + "\n")
            self._stream.flush()

    def error(self, error: EnvbuildError) -> None:
        """Write why it failed and what to do."""
        self.say("failed", _failure({**error.to_json(), "message": error.message}))


class JournalReader(io.TextIOBase):
    """Stands for the standard error of ``envbuild --log-format json`` (docs/logs.md).

    Parameters:
        names: what is fetched, built and pushed, for the line that begins each phase.
    """

    def __init__(self, lines: Lines, names: Mapping[Phase, str]) -> None:
        self._lines = lines
        self._names = names
        self._rest = ""
        self._phase: Phase | None = None
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """Take ``text``; every whole line of it is told."""
        with self._lock:
            *whole, self._rest = (self._rest + text).split("\n")
            for line in whole:
                self._read(line)
        return len(text)

    def _read(self, line: str) -> None:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict) or "message" not in event:
            if line.strip():  # what somebody wrote past the journal
                self._tell(printable(line))
            return
        message = str(event["message"])
        match event.get("event"):
            case "stage-begin":
                self.enter(_PHASES.get(str(event.get("phase")), "building"))
            case "stage-end" | "stage-progress" as kind:
                text = _stage(event, ended=kind == "stage-end")
                if text:
                    self._tell(text)
            case "note":
                self._tell(message)
            case "error":
                self._lines.say("failed", _failure(event))
            case "interrupted":
                self._lines.say("failed", message)
            case _ if event.get("level") != "info":
                self._tell(f"{event.get('level')}: {message}")

    def _tell(self, text: str) -> None:
        # The journal has no passwords; what only looks like a line of it may.
        self._lines.say(self._phase or "building", redact(text))

    def enter(self, phase: Phase) -> None:
        """Begin ``phase`` unless it, or one that comes after it, has begun."""
        if self._phase is not None and _ORDER.index(phase) <= _ORDER.index(self._phase):
            return
        self._phase = phase
        self._lines.say(phase, f"{phase.capitalize()} {self._names[phase]}")


def _stage(event: Mapping[str, Any], *, ended: bool) -> str | None:
    """A line for a stage that ended or goes on, None when nobody wants to read about it."""
    done, cached = int(_number(event.get("done"))), int(_number(event.get("cached")))
    seconds = _number(event.get("seconds"))
    if "error" in event or (ended and seconds < _NOTABLE_SECONDS and done <= cached):
        return None
    unit = str(event.get("unit"))
    parts = [f"  {event.get('phase', '')!s:<8}"]
    if done:
        parts.append(quantity(done, unit))
    if not ended:
        total = int(_number(event.get("total")))
        return " ".join([*parts, *([f"of {quantity(total, unit)}"] if done and total > done else []), "..."])
    if cached:
        parts.append(f"({quantity(cached, unit)} cached)")
    return " ".join([*parts, f"in {duration(seconds)}"])


def _number(value: object) -> float:
    """Of a line that may be somebody else's."""
    return value if isinstance(value, (int, float)) and 0 <= value <= _MOST else 0


def _failure(error: Mapping[str, Any]) -> str:
    """The error document ``error`` as people read it."""
    place = ":".join(str(error[key]) for key in ("file", "line") if error.get(key) is not None)
    parts = [f"error: {place}: {error['message']}" if place else f"error: {error['message']}"]
    if error.get("traceback"):
        parts.insert(0, str(error["traceback"]).rstrip())
    if error.get("detail"):
        parts += [f"    {line}" for line in str(error["detail"]).rstrip().splitlines()]
    if error.get("remedy"):
        parts.append(f"  help: {error['remedy']}")
    return "\n".join(printable(line) for line in redact("\n".join(parts)).splitlines())
