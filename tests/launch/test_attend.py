"""A process in the care of ours: signals, its end, our end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from envbuild.launch.attend import Attendant, Ended
from tests.support.engines import EMPTY_IMAGE, Command, FakeEngine, FakeRunning
from tests.support.waiting import wait_until

READY = "import pathlib, signal, sys, time; pathlib.Path({ready!r}).touch(); "


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    kept = [signal.getsignal(number) for number in numbers]
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in zip(numbers, kept, strict=True):
        signal.signal(number, handler)


def attend(tmp_path: Path, program: str, *signals: int) -> tuple[Ended, FakeRunning]:
    """Stay with ``program``; when it has set up what it does with signals, ours gets ``signals``."""
    ready = tmp_path / "ready"
    engine = FakeEngine(lambda command: program.format(ready=str(ready)))

    def started() -> None:
        wait_until(ready.exists)
        for number in signals:
            os.kill(os.getpid(), number)

    ended = Attendant().attend(lambda: engine.start(EMPTY_IMAGE, Command(())), started)
    return ended, engine.running[0]


def test_its_exit_code_is_ours(tmp_path: Path) -> None:
    ended, _ = attend(tmp_path, READY + "sys.exit(0)")
    assert Ended(0, None) == ended


def test_an_interrupt_is_passed_on_and_does_not_end_us(tmp_path: Path) -> None:
    program = "import signal, sys; signal.signal(2, lambda *_: sys.exit(7)); " + READY + "time.sleep(60)"
    ended, _ = attend(tmp_path, program, signal.SIGINT)
    assert Ended(7, "exit code 7") == ended


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_ends_us_ends_it_and_needs_no_reason(tmp_path: Path, number: int) -> None:
    ended, running = attend(tmp_path, READY + "time.sleep(60)", number)
    assert Ended(128 + signal.SIGTERM, None) == ended
    assert running.process.returncode is not None


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("SIGKILL", "it was killed (SIGKILL)"),
        ("SIGSEGV", "it crashed (SIGSEGV)"),
    ],
)
def test_a_crash_has_a_reason(tmp_path: Path, number: str, reason: str) -> None:
    ended, _ = attend(tmp_path, READY + f"import os; os.kill(os.getpid(), signal.{number})")
    assert reason == ended.reason


def test_lack_of_memory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeRunning, "ran_out_of_memory", lambda running: True)
    ended, _ = attend(tmp_path, READY + "import os; os.kill(os.getpid(), signal.SIGKILL)")
    assert "the machine ran out of memory, and it was killed" == ended.reason


ORPHAN = """
from envbuild.launch.attend import Attendant
from tests.support.engines import EMPTY_IMAGE, Command, FakeEngine
engine = FakeEngine(lambda command: "import time; time.sleep(60)")
Attendant().attend(
    lambda: engine.start(EMPTY_IMAGE, Command(())),
    lambda: print(engine.running[0].process.pid, flush=True),
)
"""


def test_it_ends_when_the_application_is_killed() -> None:
    """`kill -9` of the process that started us: nobody tells us, and nothing is left."""
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ORPHAN!r}])"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert parent.stdout is not None
    process = int(parent.stdout.readline())

    parent.kill()

    # Its end of the pipe is open while ours, or the process, still runs.
    assert "" == parent.stdout.read()
    assert not Path(f"/proc/{process}").exists()
    parent.stdout.close()
    parent.wait()
