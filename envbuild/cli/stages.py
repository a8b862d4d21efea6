"""Stages as people see them: a live line each on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from envbuild.cli.text import byte_size, duration, escape
from envbuild.quantities import quantity

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.live import Live
    from rich.table import Table

__all__ = ["LiveDisplay", "PlainDisplay", "RunningStage"]

# A live display flickers when the work is over at once; plain logs need a sign of life now and then.
_LIVE_AFTER_SECONDS = 0.25
_HEARTBEAT_SECONDS = 20.0


@dataclass(slots=True)
class RunningStage:
    """A :class:`envbuild.progress.Stage` that remembers what it was told."""

    name: str
    unit: str
    on_change: Callable[[RunningStage], None]
    started: float = field(default_factory=time.monotonic)
    total: int = 0
    done: int = 0
    cached: int = 0
    text: str = ""
    reported: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add_total(self, amount: int) -> None:
        """See :class:`envbuild.progress.Stage`."""
        with self._lock:
            self.total += amount

    def advance(self, amount: int, *, cached: bool = False) -> None:
        """See :class:`envbuild.progress.Stage`."""
        with self._lock:
            self.done += amount
            if cached:
                self.cached += amount
        self.on_change(self)

    def detail(self, text: str) -> None:
        """See :class:`envbuild.progress.Stage`."""
        self.text = text
        self.on_change(self)

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.started

    def amount(self, value: int) -> str:
        """``value`` in the stage's unit."""
        return quantity(value, self.unit)

    def progress(self) -> str:
        """``34.0 MB of 120.3 MB``, as far as it is known."""
        if self.total > self.done:
            done = byte_size(self.done) if self.unit == "B" else f"{self.done:,}"
            return f"{done} of {self.amount(self.total)}"
        return self.amount(self.done) if self.done else ""

    def summary(self) -> str:
        """One line for a finished stage: ``fetch  120.3 MB (80.0 MB cached) in 3.2 s``."""
        parts = [f"{self.name:<8}"]
        if self.done and self.cached >= self.done:
            parts.append(f"{self.amount(self.done)}, all cached,")
        elif self.done:
            parts.append(self.amount(self.done))
            if self.cached:
                parts.append(f"({self.amount(self.cached)} cached)")
        parts.append(f"in {duration(self.seconds)}")
        return " ".join(parts)

    def is_notable(self) -> bool:
        """Whether anything happened that somebody would want to read about."""
        return self.seconds >= 1.0 or (self.done > self.cached and self.seconds >= 0.1)


class PlainDisplay:
    """Lines for logs: one when a stage is over, and a sign of life while a long one runs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def opened(self, stage: RunningStage) -> None:
        """A stage began."""

    def changed(self, stage: RunningStage) -> None:
        """A stage moved on."""
        now = time.monotonic()
        if now - stage.reported < _HEARTBEAT_SECONDS:
            return
        stage.reported = now
        progress = stage.progress()
        self.write(f"  {stage.name:<8} {progress or duration(stage.seconds)} ...")

    def closed(self, stage: RunningStage, *, show: bool) -> None:
        """A stage is over; ``show`` its summary."""
        if show:
            self.write(f"  {stage.summary()}")

    def write(self, line: str) -> None:
        """Print one line of text that is not part of a stage."""
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()

    def close(self) -> None:
        """Nothing more will come."""


class LiveDisplay:
    """One moving line per running stage; finished ones become a line that stays.

    rich is imported, and the screen touched, only when a stage lasts longer than a blink.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._running: list[RunningStage] = []
        self._live: Live | None = None
        self._timer: threading.Timer | None = None

    def opened(self, stage: RunningStage) -> None:
        """A stage began."""
        with self._lock:
            self._running.append(stage)
            if self._timer is None and self._live is None:
                self._timer = threading.Timer(_LIVE_AFTER_SECONDS, self._start)
                self._timer.daemon = True
                self._timer.start()

    def changed(self, stage: RunningStage) -> None:
        """A stage moved on; the next refresh shows it."""

    def closed(self, stage: RunningStage, *, show: bool) -> None:
        """A stage is over; ``show`` its summary."""
        with self._lock:
            self._running.remove(stage)
            if not self._running:
                self._stop()
            if show:
                mark = "✓" if "utf" in (self._stream.encoding or "").lower() else "-"
                self.write(f"{mark} {stage.summary()}")

    def write(self, line: str) -> None:
        """Print one line above the running stages."""
        with self._lock:
            if self._live is None:
                self._stream.write(line + "\n")
                self._stream.flush()
                return
            from rich.text import Text

            self._live.console.print(Text.from_ansi(line), soft_wrap=True)

    def close(self) -> None:
        """Nothing more will come: leave the screen as a plain terminal."""
        with self._lock:
            self._stop()

    def _start(self) -> None:
        from rich.console import Console as RichConsole
        from rich.live import Live

        with self._lock:
            if self._timer is None or not self._running:
                return
            self._timer = None
            console = RichConsole(file=self._stream, highlight=False, markup=False, emoji=False)
            self._live = Live(
                get_renderable=lambda: _render(list(self._running), console),
                console=console,
                refresh_per_second=8,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()


def _render(stages: list[RunningStage], console: RichConsole) -> Table:
    """A line per stage: name, bar, progress, rate, what was cached, time, what is being worked on."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for width in (8, None, 14, None, None):
        table.add_column(no_wrap=True, min_width=width)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    # Room for the ^C that the terminal echoes: a wrapped line would not be cleared.
    table.width = max(console.width - 4, 20)
    wide = console.width >= 100
    for stage in stages:
        bar = ProgressBar(stage.total or None, stage.done, width=24 if wide else 12, pulse=not stage.total)
        worked = stage.done - stage.cached
        facts = []
        if stage.unit == "B" and worked and stage.seconds > 0.5 and stage.done != stage.total:
            facts.append(f"{byte_size(int(worked / stage.seconds))}/s")
        if stage.cached and wide:
            facts.append(f"{byte_size(stage.cached) if stage.unit == 'B' else f'{stage.cached:,}'} cached")
        table.add_row(
            Text(stage.name, style="bold"),
            bar,
            Text(stage.progress()),
            Text(" ".join(facts), style="dim"),
            Text(duration(stage.seconds), style="dim"),
            Text(escape(stage.text), style="dim"),
        )
    return table
