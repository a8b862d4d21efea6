"""Podman's service for one command: it has no daemon, so we start what answers to its API.

The service listens on a socket in a directory that only we can enter, and ends with us whatever ends us: a
shell between us and it waits for the end of its own input, which the kernel brings about.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from envbuild.errors import MachineError

__all__ = ["PodmanService"]

_START_SECONDS = 120.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.01
# $1 is the directory, the rest the command. The service's own input must not keep ours open. Without rights,
# podman is two processes, of which the first may end without telling the second: both are told.
_SHELL = """
directory=$1
shift
trap : TERM
exec 3<&0 </dev/null
"$@" 3<&- &
service=$!
{ cat <&3 >/dev/null; kill -s TERM 0; } &
exec 3<&-
wait "$service" || wait "$service"
rm -r "$directory"
"""


class PodmanService:
    """A running ``podman system service``.

    ``address`` is its URL, like ``unix:///run/user/1000/envbuild-x/podman.sock``.

    Parameters:
        program: the path of ``podman``.
        environment: the user's variables; they tell where podman keeps images.

    Raises:
        MachineError: it does not start; with what it said.
    """

    def __init__(self, program: str, environment: Mapping[str, str]) -> None:
        runtime = environment.get("XDG_RUNTIME_DIR", "")
        place = runtime if Path(runtime).is_dir() and runtime else None
        self._directory = Path(tempfile.mkdtemp(prefix="envbuild-", dir=place))
        path = self._directory / "podman.sock"
        self.address = f"unix://{path}"
        log = self._directory / "log"
        # Opened for reading now: when the service has ended, the shell has removed it.
        with log.open("wb") as output, log.open("rb") as said:
            self._process = subprocess.Popen(
                [
                    *("/bin/sh", "-c", _SHELL, "sh", str(self._directory)),
                    *(program, "system", "service", "--time", "0", self.address),
                ],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=dict(environment),
                cwd="/",
                start_new_session=True,  # Ctrl-C is for us, who then end it
            )
            try:
                self._wait_until_listening(path, said)
            except BaseException:
                self.close()
                raise

    def _wait_until_listening(self, path: Path, log: BinaryIO) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(path):
            if self._process.poll() is not None or time.monotonic() > deadline:
                lines = log.read().decode(errors="replace").strip().splitlines()
                said = lines[-1] if lines else "it does not answer"
                raise MachineError(f"podman's service does not start: {said}", code="podman-failed")
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            shutil.rmtree(self._directory, ignore_errors=True)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
