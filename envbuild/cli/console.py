"""Everything that reaches the user: results on stdout, the rest on stderr."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from envbuild.cli.stages import Display, LiveDisplay, PlainDisplay, RunningStage
from envbuild.cli.text import escape, escape_block
from envbuild.errors import EnvbuildError
from envbuild.source.text import printable, redact

__all__ = ["Console"]

_COLOURS = {"error": "31;1", "warning": "33;1", "help": "36"}


class Console:
    """What the command line says, and a :class:`envbuild.progress.Reporter` for the library.

    Parameters:
        machine: print one JSON document instead of text (``--json``).
        quiet: no progress and no notes.
        verbose: also what is only of interest when something looks wrong.
        debug: tracebacks with errors.
        environment: variables that describe the terminal (``TERM``, ``NO_COLOR``, ``CI``).
        stdout, stderr: where to write; the process's own by default.
    """

    def __init__(
        self,
        *,
        machine: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        debug: bool = False,
        environment: Mapping[str, str],
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.machine = machine
        self.quiet = quiet
        self.verbose = verbose
        self.debug = debug
        self.seconds: dict[str, float] = {}
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        terminal = self._stderr.isatty() and environment.get("TERM", "dumb") != "dumb"
        self._terminal = terminal
        self._colour = terminal and not environment.get("NO_COLOR")
        live = terminal and not environment.get("CI")
        self._display: Display = LiveDisplay(self._stderr) if live else PlainDisplay(self._stderr)

    # The Reporter the library sees

    @contextmanager
    def stage(self, name: str, *, unit: str = "B") -> Iterator[RunningStage]:
        """See :class:`envbuild.progress.Reporter`."""
        stage = RunningStage(name, unit, on_change=self._changed)
        if not self.quiet:
            self._display.opened(stage)
        failed = True
        try:
            yield stage
            failed = False
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + stage.seconds
            if not self.quiet:
                self._display.closed(stage, show=not failed and (self.verbose or stage.is_notable()))

    def _changed(self, stage: RunningStage) -> None:
        if not self.quiet:
            self._display.changed(stage)

    def note(self, message: str) -> None:
        """See :class:`envbuild.progress.Reporter`."""
        if not self.quiet:
            self._display.write(escape(message))

    def warn(self, message: str) -> None:
        """See :class:`envbuild.progress.Reporter`."""
        self._display.write(f"{self._label('warning')} {escape(message)}")

    @property
    def rounded_seconds(self) -> dict[str, float]:
        """How long each stage took, in seconds, for documents."""
        return {name: round(value, 3) for name, value in self.seconds.items()}

    # Results

    def result(self, *lines: str) -> None:
        """Print ``lines`` on stdout (nothing under ``--json``)."""
        if not self.machine:
            self._write_result("".join(printable(line) + "\n" for line in lines))

    def document(self, value: Mapping[str, Any]) -> None:
        """Print the one JSON document (nothing without ``--json``)."""
        if self.machine:
            self._write_result(json.dumps(value, indent=2) + "\n")

    def print(self, text: str) -> None:
        """Print ``text``, a whole document of whatever kind, on stdout."""
        self._write_result(text)

    def _write_result(self, text: str) -> None:
        # A stdout that cannot show a character shows an escape instead of failing halfway.
        encoding = self._stdout.encoding or "utf-8"
        self._stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._stdout.flush()

    # Ends

    def error(self, error: EnvbuildError) -> None:
        """The end of a command that failed: a message, and under ``--json`` the error document."""
        self.close()
        if self.debug:
            shown = redact("".join(traceback.format_exception(error)))
            self._stderr.write("\n".join(escape_block(shown)) + "\n")
        self.document(
            {
                key: redact(value) if isinstance(value, str) else value
                for key, value in error.to_json().items()
            }
        )
        self.message(error)

    def message(self, error: EnvbuildError) -> None:
        """Print what is wrong, where, and what to do."""
        lines = [f"{self._label('error')} {escape(redact(str(error)))}"]
        if error.detail:
            lines += [f"    {line}".rstrip() for line in escape_block(redact(error.detail).rstrip())]
        if error.remedy:
            lines.append(f"  {self._label('help')} {escape(error.remedy)}")
        self._stderr.write("\n".join(lines) + "\n")
        self._stderr.flush()

    def interrupted(self, message: str) -> None:
        """Print ``message`` instead of the ``^C`` that the terminal has echoed."""
        self.close()
        self._stderr.write(("\r\x1b[K" if self._terminal else "") + message + "\n")
        self._stderr.flush()

    def close(self) -> None:
        """Stop the live display. Harmless when called again."""
        self._display.close()

    def _label(self, word: str) -> str:
        return f"\x1b[{_COLOURS[word]}m{word}:\x1b[0m" if self._colour else f"{word}:"
