"""Running the host's ``git`` so that nothing of a repository runs with it.

The user's own configuration holds: credential helpers, proxies, certificates, ``url.*.insteadOf``. What
would make git start a program because a repository says so is turned off: hooks, file system monitors,
filters (``lfs`` is another matter, :mod:`envbuild.source.lfs`), transports other than those allowed.
Nobody is asked anything, and everything ends in time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from envbuild.errors import MachineError, RemoteError
from envbuild.source.git_address import GitAddress
from envbuild.source.text import clean

__all__ = ["FETCH_SECONDS", "Git", "GitFailure"]

FETCH_SECONDS = 3600.0
_SECONDS = 60.0
_POLL_SECONDS = 0.5
_MOST_OUTPUT = 256 << 20
_MOST_MESSAGE = 64 << 10
_MOST_DISK_BYTES = 20 * 10**9

# Stronger than every configuration file.
_SETTINGS = (
    "advice.detachedHead=false",
    "core.askPass=",
    "core.attributesFile=/dev/null",
    "core.autocrlf=false",
    "core.eol=lf",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.sparseCheckout=false",
    "core.symlinks=true",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",
    "http.followRedirects=initial",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=30",
    "maintenance.auto=false",
    "protocol.version=2",
    "submodule.recurse=false",
)
# Of the user's variables for git, those that say how to reach and trust a server.
_KEPT = frozenset(
    {
        *("GIT_ASKPASS", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM", "GIT_EXEC_PATH"),
        *("GIT_PROXY_COMMAND", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GIT_SSL_CAINFO"),
        *("GIT_SSL_CAPATH", "GIT_SSL_CERT", "GIT_SSL_KEY", "GIT_SSL_NO_VERIFY"),
    }
)
# Our own words only; user name and password come in variables, which do not show up in a process list.
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n"'
    ' "$ENVBUILD_GIT_USER" "$ENVBUILD_GIT_PASSWORD"; }; f'
)


class GitFailure(Exception):
    """git ended with an error; the message is what it printed, as it is."""


@dataclass(frozen=True, slots=True)
class Git:
    """How git is run for one remote repository.

    Parameters:
        address: the repository.
        environment: the process's environment variables.
        protocols: those git may use; the address's own, and what the user's ``insteadOf`` makes of it.
    """

    address: GitAddress
    environment: Mapping[str, str]
    protocols: tuple[str, ...]

    def output(self, *arguments: str, directory: Path | None = None, seconds: float = _SECONDS) -> bytes:
        """What ``git arguments`` prints.

        Parameters:
            directory: the work tree to run in; the repository there must be one of ours.
            seconds: how long it may take.

        Raises:
            GitFailure: it ended with an error.
            MachineError: there is no git.
            RemoteError: it took too long, or fetched too much.
        """
        with self.stream(*arguments, directory=directory, seconds=seconds) as stream:
            data = stream.read(_MOST_OUTPUT + 1)
        if len(data) > _MOST_OUTPUT:
            raise _too_much(self.address)
        return data

    @contextlib.contextmanager
    def stream(
        self, *arguments: str, directory: Path | None = None, seconds: float = _SECONDS
    ) -> Iterator[IO[bytes]]:
        """The output of ``git arguments`` as a file, when it has ended; as :meth:`output`."""
        place = directory or Path("/")
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as messages:
            code = self._run(self._command(arguments), place, output, messages, seconds)
            if code:
                messages.seek(0)
                raise GitFailure(messages.read(_MOST_MESSAGE).decode("utf-8", "replace"))
            output.seek(0)
            yield output

    def _command(self, arguments: Sequence[str]) -> list[str]:
        program = shutil.which("git", path=self.environment.get("PATH"))
        if program is None:
            raise MachineError(
                "git is not installed", code="no-git", remedy="install it, or give a local directory"
            )
        settings = [word for setting in self._settings() for word in ("-c", setting)]
        return [program, *settings, *arguments]

    def _settings(self) -> Iterator[str]:
        yield from _SETTINGS
        if self.address.user is not None:
            scope = self.address.url.partition("://")[0] + "://" + self.address.url.split("/")[2]
            # The empty one forgets the user's helpers: they shall neither answer nor keep these.
            yield f"credential.{scope}.helper="
            yield f"credential.{scope}.helper={_HELPER}"

    def _variables(self) -> dict[str, str]:
        variables = {
            name: value
            for name, value in self.environment.items()
            if not name.startswith(("GIT_", "SSH_ASKPASS")) or name in _KEPT
        }
        variables |= {
            "GIT_ALLOW_PROTOCOL": ":".join(self.protocols),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
            "SSH_ASKPASS_REQUIRE": "never",
        }
        if self.address.user is not None:
            variables["ENVBUILD_GIT_USER"] = self.address.user
            variables["ENVBUILD_GIT_PASSWORD"] = self.address.password or ""
        return variables

    def _run(
        self, command: list[str], place: Path, output: IO[bytes], messages: IO[bytes], seconds: float
    ) -> int:
        process = subprocess.Popen(
            command,
            cwd=place,
            env=self._variables(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=messages,
            start_new_session=True,  # no terminal to ask questions on
        )
        deadline = time.monotonic() + seconds
        try:
            while True:
                try:
                    return process.wait(_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    self._check_limits(place, output, deadline)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _check_limits(self, place: Path, output: IO[bytes], deadline: float) -> None:
        if time.monotonic() > deadline:
            raise RemoteError(
                f"{_server(self.address)} did not answer in time",
                code="git-timeout",
                remedy="try again, or clone the repository yourself and give the directory",
            )
        if _fetched(place) > _MOST_DISK_BYTES or os.fstat(output.fileno()).st_size > _MOST_OUTPUT:
            raise _too_much(self.address)


def _fetched(place: Path) -> int:
    """Bytes of the packs in the repository at ``place``, finished and unfinished."""
    total = 0
    # Files may vanish meanwhile; the next look sees what became of them.
    with contextlib.suppress(OSError), os.scandir(place / ".git" / "objects" / "pack") as entries:
        for entry in entries:
            total += entry.stat(follow_symlinks=False).st_size
    return total


def _server(address: GitAddress) -> str:
    return address.host or clean(address.url)


def _too_much(address: GitAddress) -> RemoteError:
    return RemoteError(
        f"{clean(address.url)} is larger than any sane repository",
        code="repository-too-large",
        remedy="clone what you need of it yourself and give the directory",
    )
