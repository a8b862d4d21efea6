"""An engine that isolates nothing: it starts a program of the test's on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

from envbuild.engine.model import Command
from envbuild.image.model import Image
from envbuild.progress import Reporter
from envbuild.store import Blob, Store

__all__ = ["EMPTY_IMAGE", "FakeEngine", "FakeRunning", "labelled_image"]

EMPTY_IMAGE = Image("linux/amd64", Blob("sha256:0", 0), Blob("sha256:0", 0), ())


def labelled_image(store: Store, **labels: str) -> Image:
    """An image without layers, whose config is in ``store``; ``env`` is the label ``dev.envbuild.env``."""
    named = {f"dev.envbuild.{name}": value for name, value in labels.items()}
    config = store.put_blob(json.dumps({"config": {"Labels": named}}).encode())
    return Image("linux/amd64", config, Blob("sha256:0", 0), ())


class FakeRunning:
    """A child process; counts how often it was asked to end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.terminated = 0

    def poll(self) -> int | None:
        code = self.process.poll()
        return None if code is None else _exit_code(code)

    def wait(self) -> int:
        return _exit_code(self.process.wait())

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ran_out_of_memory(self) -> bool:
        return False

    def terminate(self, grace: float = 5) -> None:
        self.terminated += 1
        self.process.terminate()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.terminate()


def _exit_code(code: int) -> int:
    return 128 - code if code < 0 else code


class FakeEngine:
    """Starts ``program(command)``, Python source, in the place of every command.

    Attributes:
        commands: the commands that were started.
        running: what came of them.
    """

    name = "fake"
    listen_address = "127.0.0.1"
    runs_as_caller = True

    def __init__(self, program: Callable[[Command], str]) -> None:
        self._program = program
        self.commands: list[Command] = []
        self.running: list[FakeRunning] = []

    def unavailable(self) -> str | None:
        return None

    def prepare(self, image: Image, *, reporter: Reporter) -> None:
        pass

    def start(self, image: Image, command: Command) -> FakeRunning:
        self.commands.append(command)
        output = command.output.open("ab") if command.output else None
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", self._program(command)],
                stdout=output,
                stderr=output,
                env={**os.environ, **command.env},
            )
        finally:
            if output:
                output.close()
        running = FakeRunning(process)
        self.running.append(running)
        return running
