"""What the pod writes: lines of JSON about its phases (docs/logs.md), and the document at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from envbuild.errors import EnvbuildError, MachineError, RemoteError, RepoError, UsageError
from envbuild.progress import Reporter, Stage
from envbuild.quantities import duration, quantity

__all__ = ["Transcript", "error_left"]

_KINDS: Final[Mapping[int, type[EnvbuildError]]] = {
    kind.exit_code: kind for kind in (RepoError, UsageError, MachineError, RemoteError)
}
_MOST_LINES: Final = 100_000
_MOST_TEXT: Final = 20_000
_MOST: Final = 1 << 60


class _Foreign(EnvbuildError):
    """An error with an exit code that none of ours has: a bug in the builder, an interrupt."""

    def __init__(self, message: str, exit_code: int, **details: Any) -> None:
        super().__init__(message, **details)
        self.exit_code = exit_code


class Transcript:
    """Reads the lines of one pod after the other and says what people want to know of them.

    ``error`` is what the builder said it failed with. Nothing in a line is believed to be of any form.

    Parameters:
        reporter: told of notes and warnings, and of phases that are over.
        raw: gets every line of the log as it is instead, for ``--log-format json``.
    """

    def __init__(self, reporter: Reporter, raw: Callable[[str], None] | None = None) -> None:
        self.error: EnvbuildError | None = None
        self._reporter = reporter
        self._raw = raw
        self._rest: list[str] = []

    def start(self) -> None:
        """Another pod begins."""
        self.error = None
        self._rest.clear()

    def line(self, data: bytes, stage: Stage) -> None:
        """Take one line; ``stage`` shows the phase that the pod is in."""
        text = data.decode("utf-8", "replace")
        said = _entry(text)
        if said is None:
            if len(self._rest) < _MOST_LINES:
                self._rest.append(text)
            return
        event, phase = said.get("event"), str(said.get("phase", ""))
        if event == "error":
            self.error = _error(said)
        elif event == "stage-begin":
            stage.detail(phase)
        if self._raw is not None:
            self._raw(text)
        elif event == "note":
            self._reporter.note(str(said["message"]))
        elif event == "warning":
            self._reporter.warn(str(said["message"]))
        elif event == "stage-end" and "error" not in said and (summary := _summary(phase, said)):
            self._reporter.note(summary)

    @property
    def document(self) -> dict[str, Any] | None:
        """What the builder printed with ``--json``; None when it did not come whole."""
        # Log lines of other threads may have been in between, and are not in the rest.
        for start in reversed([number for number, text in enumerate(self._rest) if text == "{"]):
            try:
                found = json.loads("\n".join(self._rest[start:]))
            except (ValueError, RecursionError):
                continue
            return found if isinstance(found, dict) else None
        return None


def _entry(text: str) -> dict[str, Any] | None:
    """The line of a log that ``text`` is, None when it is something else."""
    if not text.startswith("{"):
        return None
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    fits = isinstance(said, dict) and {"time", "level", "message"} <= said.keys()
    return said if fits else None


def error_left(result: Mapping[str, str]) -> EnvbuildError | None:
    """The error that a builder left in its pod's termination message (``--variables``), None without one."""
    if "error" not in result:
        return None
    file, colon, line = result.get("error_place", "").rpartition(":")
    in_line = bool(colon) and line.isascii() and line.isdecimal()
    code = result.get("error_exit_code", "")
    said = {
        "error": result["error"],
        "message": result.get("error_message"),
        "file": (file if in_line else result.get("error_place")) or None,
        "line": int(line[:9]) if in_line else None,
        "remedy": result.get("error_remedy") or None,
        "exit_code": int(code[:3]) if code.isascii() and code.isdecimal() else None,
    }
    return _error(said)


def _error(said: Mapping[str, Any]) -> EnvbuildError:
    def text(name: str) -> str | None:
        value = said.get(name)
        return value[:_MOST_TEXT] if isinstance(value, str) else None

    line, code = said.get("line"), said.get("exit_code")
    details: dict[str, Any] = {
        "code": text("error") or "internal",
        "file": text("file"),
        "line": line if isinstance(line, int) else None,
        "remedy": text("remedy"),
        "detail": text("detail"),
    }
    message = text("message") or "the build failed"
    if isinstance(code, int) and code in _KINDS:
        return _KINDS[code](message, **details)
    # It becomes ours, and 0 (or 256, for a shell) would say that nothing has failed.
    return _Foreign(message, code if isinstance(code, int) and 0 < code < 256 else 70, **details)


def _summary(phase: str, said: Mapping[str, Any]) -> str | None:
    """A phase that is over as people see it at home, None when nothing notable happened in it."""
    seconds, done, cached = (_number(said.get(name)) for name in ("seconds", "done", "cached"))
    if seconds < 1.0 and not (done > cached and seconds >= 0.1):
        return None
    unit = str(said.get("unit", ""))
    parts = [f"  {phase:<8}"]
    if done:
        known = f" ({quantity(int(cached), unit)} cached)" if cached else ""
        parts.append(quantity(int(done), unit) + known)
    return " ".join([*parts, f"in {duration(seconds)}"])


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and 0 <= value <= _MOST else 0.0
