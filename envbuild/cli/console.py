"""Everything that reaches the user: results on stdout, the rest on stderr."""

from __future__ import annotations

import json
import re
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from envbuild.cli.stages import LiveDisplay, PlainDisplay, RunningStage
from envbuild.cli.text import escape, escape_block
from envbuild.errors import EnvbuildError
from envbuild.observation import LEVELS, FinishedStage, Observation, failure_code, new_build_id
from envbuild.source.text import printable, redact

if TYPE_CHECKING:
    from envbuild.cli.journal import Journal
    from envbuild.image.model import Image

__all__ = ["Console"]

_IDENTIFIER = re.compile(r"[a-z0-9:-]{1,80}")
_COLOURS = {"error": "31;1", "warning": "33;1", "help": "36"}


class Console:
    """What the command line says, and a :class:`envbuild.progress.Reporter` for the library.

    Parameters:
        machine: print one JSON document instead of text (``--json``).
        quiet: no progress and no notes.
        verbose: also what is only of interest when something looks wrong.
        debug: tracebacks with errors.
        log_format: ``text`` for people; ``json``: what goes to stderr are lines of JSON.
        observation: what this run did; one of its own by default.
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
        log_format: str = "text",
        observation: Observation | None = None,
        environment: Mapping[str, str],
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.machine = machine
        self.quiet = quiet
        self.verbose = verbose
        self.debug = debug
        self.observation = observation or Observation(new_build_id())
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        terminal = self._stderr.isatty() and environment.get("TERM", "dumb") != "dumb"
        self._terminal = terminal
        self._colour = terminal and not environment.get("NO_COLOR")
        live = terminal and not environment.get("CI")
        self._display = LiveDisplay(self._stderr) if live else PlainDisplay(self._stderr)
        self.journal: Journal | None = None
        if log_format == "json":
            from envbuild.cli.journal import Journal

            self.journal = Journal(self._stderr, self.observation)
            self.journal.take_over()

    # The Reporter the library sees

    @contextmanager
    def stage(self, name: str, *, unit: str = "B") -> Iterator[RunningStage]:
        """See :class:`envbuild.progress.Reporter`."""
        stage = RunningStage(name, unit, on_change=self._changed)
        if not self.quiet:
            (self.journal or self._display).opened(stage)
        failure: str | None = None
        try:
            yield stage
        except BaseException as error:
            failure = failure_code(error)
            raise
        finally:
            self.observation.stages.append(
                FinishedStage(name, unit, stage.seconds, stage.done, stage.cached, failure)
            )
            if self.quiet:
                pass
            elif self.journal is not None:
                self.journal.closed(stage, failure=failure)
            else:
                shown = failure is None and (self.verbose or stage.is_notable())
                self._display.closed(stage, show=shown)

    def _changed(self, stage: RunningStage) -> None:
        if not self.quiet:
            (self.journal or self._display).changed(stage)

    def note(self, message: str) -> None:
        """See :class:`envbuild.progress.Reporter`."""
        if self.quiet:
            return
        if self.journal is not None:
            self.journal.write("info", message, event="note")
        else:
            self._display.write(escape(message))

    def warn(self, message: str) -> None:
        """See :class:`envbuild.progress.Reporter`."""
        if self.journal is not None:
            self.journal.write("warning", message, event="warning")
        else:
            self._display.write(f"{self._label('warning')} {escape(message)}")

    def event(self, message: str, *, event: str, **more: Any) -> None:
        """Say something that is only for machines (``--log-format json``)."""
        if self.journal is not None and not self.quiet:
            self.journal.write("info", message, event=event, **more)

    def audited(self, line: Mapping[str, Any]) -> None:
        """Show a line of the audit file (:mod:`envbuild.audit`) to machines, whoever wants it quiet."""
        if self.journal is not None:
            self.journal.write("info", f"{line['action']} {line['outcome']}", event="audit", audit=line)

    def identify(self, **facts: str | None) -> None:
        """Remember what is worked on: it is on every line from here on (see :attr:`Observation.facts`).

        An image of a stranger may say anything about itself: what is no identifier is passed over.
        """
        known = {name: value for name, value in facts.items() if value and _IDENTIFIER.fullmatch(value)}
        self.observation.facts.update(known)

    def took(self, images: Sequence[Image], index: str | None) -> None:
        """Remember which ``images`` (one per platform) this is about.

        Parameters:
            index: the digest of the index over them, None when there is one image.
        """
        self.observation.images = {image.platform: image.image_id for image in images}
        self.identify(digest=index or images[0].manifest.digest)

    def assembled(self, images: Sequence[Image], index: str | None) -> None:
        """Remember which ``images`` were made, and where their layers come from; see :meth:`took`."""
        self.took(images, index)
        found: Counter[str] = Counter(layer.found or "packed" for image in images for layer in image.layers)
        self.observation.layers += found
        self.event("assembled", event="layers", layers={level: found[level] for level in LEVELS})

    @property
    def rounded_seconds(self) -> dict[str, float]:
        """How long each stage took, in seconds, for documents."""
        return {name: round(value, 3) for name, value in self.observation.stage_seconds.items()}

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
        from envbuild.cli.documents import error_document

        self.close()
        trace = redact("".join(traceback.format_exception(error))) if self.debug else None
        if trace is not None and self.journal is None:
            self._stderr.write("\n".join(escape_block(trace)) + "\n")
        self.document(error_document(error))
        self.message(error, trace=trace)

    def message(self, error: EnvbuildError, *, trace: str | None = None) -> None:
        """Print what is wrong, where, and what to do."""
        if self.journal is not None:
            self.journal.error(error, trace=trace)
            return
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
        if self.journal is not None:
            self.journal.write("info", message, event="interrupted")
            return
        self._stderr.write(("\r\x1b[K" if self._terminal else "") + message + "\n")
        self._stderr.flush()

    def close(self) -> None:
        """Stop the live display. Harmless when called again."""
        self._display.close()

    def _label(self, word: str) -> str:
        return f"\x1b[{_COLOURS[word]}m{word}:\x1b[0m" if self._colour else f"{word}:"
