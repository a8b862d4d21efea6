"""What a container's wait asks a daemon. Real daemons: test_docker.py, tests/integration/test_podman.py."""

from __future__ import annotations

import io
import socket
import struct
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from envbuild.engine.docker_container import Container, Daemon
from envbuild.engine.model import Command


class _Stream(io.BytesIO):
    """What the SDK gives as the container's streams: nothing is said."""

    _response = SimpleNamespace(close=lambda: None)


class _Api:
    """Of a daemon whose container is looked at three times until it has ended, with code 7."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._states = [
            {"Running": False, "Status": "created", "ExitCode": 0},
            {"Running": True, "Status": "running", "ExitCode": 0},
            {"Running": False, "Status": "stopping", "ExitCode": 0},
        ]

    def create_host_config(self, **_: Any) -> dict[str, Any]:
        return {}

    def create_container(self, *_: Any, **__: Any) -> dict[str, str]:
        return {"Id": "c"}

    def attach_socket(self, *_: Any) -> _Stream:
        return _Stream()

    def start(self, _: str) -> None:
        pass

    def inspect_container(self, _: str) -> dict[str, Any]:
        self.asked.append("state")
        return {"State": self._states.pop(0)}

    def wait(self, _: str, timeout: float | None) -> dict[str, int]:
        self.asked.append("wait")
        return {"StatusCode": 7}

    def remove_container(self, *_: Any, **__: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("daemon", "asked"),
    [(Daemon(), ["wait"]), (Daemon(waits_idly=False), ["state", "state", "state", "wait"])],
)
def test_who_cannot_wait_idly_is_asked_when_it_is_over(daemon: Daemon, asked: list[str]) -> None:
    """The code is what ``wait`` says: a container that stops has none yet."""
    api = _Api()

    with Container(SimpleNamespace(api=api), "image", Command(("true",)), daemon=daemon) as running:
        assert [7, 7] == [running.wait(), running.wait()]

    assert asked == api.asked


def test_who_waits_finds_all_that_was_said(tmp_path: Path) -> None:
    """The container's last words may come after its end is known."""
    ours, theirs = socket.socketpair()

    class Late(_Api):
        def attach_socket(self, *_: Any) -> Any:
            stream = ours.makefile("rb", buffering=0)
            stream._response = SimpleNamespace(close=stream.close)  # type: ignore[attr-defined]
            return stream

        def wait(self, _: str, timeout: float | None) -> dict[str, int]:
            def say() -> None:
                theirs.sendall(struct.pack(">BxxxL", 1, 5) + b"words")
                theirs.close()

            threading.Timer(0.1, say).start()
            return super().wait(_, timeout)

    command = Command(("true",), output=tmp_path / "output")
    with ours, Container(SimpleNamespace(api=Late()), "image", command, daemon=Daemon()) as running:
        assert (7, b"words") == (running.wait(), (tmp_path / "output").read_bytes())
