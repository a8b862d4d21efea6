"""The audit file: who built and pushed what, a line of JSON each, and nothing is pushed without one.

A line is appended with one write and is on the disk before work goes on. Before a push there is one that says
what is about to be pushed (``begun``), and after it one that says how that ended (``done``, ``failed``):
whoever finds the first without the second knows that somebody was ended in between.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import pwd
import socket
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import envbuild
from envbuild.errors import MachineError
from envbuild.observation import Observation, failure_code, timestamp
from envbuild.source.text import redact_all
from envbuild.store.locks import wait_for

__all__ = ["Action", "Audit", "who"]

Action = Literal["build", "push"]

_TOKEN: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_MOST_TOKEN_BYTES: Final = 16_384
_MOST_TEXT: Final = 1000
# What CI systems say about who made them work, and in which run: the first variable that is set counts.
_CI_VARIABLES: Final = {
    "actor": ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_USER_ID", "CIRCLE_USERNAME"),
    "repository": ("GITHUB_REPOSITORY", "CI_PROJECT_PATH"),
    "run": ("GITHUB_RUN_ID", "CI_JOB_URL", "BUILD_URL", "CIRCLE_BUILD_URL"),
}


@dataclass(frozen=True, slots=True)
class Audit:
    """Writes what is done in one run.

    Parameters:
        path: the file; None when nobody asked for one.
        actor: who does it (:func:`who`).
        observation: the run.
        tell: also gets every line, after it is written.
    """

    path: Path | None
    actor: Mapping[str, Any]
    observation: Observation
    tell: Callable[[Mapping[str, Any]], None]

    @contextmanager
    def build(self) -> Iterator[None]:
        """Have the block recorded as a build, however it ends. The file is there before it begins.

        Raises:
            MachineError: the file cannot be written.
        """
        if self.path is not None:
            os.close(_open(self.path))
        with self._ending("build", {}):
            yield

    @contextmanager
    def push(self, references: Sequence[str]) -> Iterator[None]:
        """Have the block, which pushes to ``references``, recorded: before it begins and when it has ended.

        Raises:
            MachineError: the file cannot be written; nothing is pushed then.
        """
        what = {"references": list(references)}
        self._write("push", "begun", what)
        with self._ending("push", what):
            yield

    @contextmanager
    def _ending(self, action: Action, what: Mapping[str, Any]) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._write(action, "failed", {**what, "error": failure_code(error)})
            raise
        self._write(action, "done", what)

    def _write(self, action: Action, outcome: str, what: Mapping[str, Any]) -> None:
        observation = self.observation
        line: dict[str, Any] = redact_all(
            {
                "time": timestamp(),
                "build": observation.build,
                "action": action,
                "outcome": outcome,
                "actor": self.actor,
                "source": observation.source,
                **{name: observation.facts.get(name) for name in ("environment", "lock", "digest")},
                "images": observation.images,
                **what,
                "seconds": round(observation.seconds, 3),
                "version": envbuild.__version__,
            }
        )
        if self.path is not None:
            _append(self.path, json.dumps(line) + "\n")
        self.tell(line)


def who(environment: Mapping[str, str], claimed: str | None) -> dict[str, Any]:
    """Who runs this process: ``user``, ``uid`` and ``host``; the rest is None unless it is known.

    Parameters:
        environment: has what a CI system says (``ci``).
        claimed: who the user says they are (``claimed``).

    ``service_account`` is the name in the pod's token (``system:serviceaccount:NAMESPACE:NAME``).
    """
    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = None
    ci = {
        field: next((environment[name][:_MOST_TEXT] for name in names if environment.get(name)), None)
        for field, names in _CI_VARIABLES.items()
    }
    return {
        "user": user,
        "uid": uid,
        "host": socket.gethostname(),
        "claimed": claimed,
        "service_account": _service_account(),
        "ci": ci if any(ci.values()) else None,
    }


def _service_account() -> str | None:
    """The subject of the pod's token: a claim for people, which is all that is taken from it."""
    try:
        with _TOKEN.open("rb") as stream:
            parts = stream.read(_MOST_TOKEN_BYTES).split(b".")
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
        subject = claims["sub"]
    except (OSError, ValueError, IndexError, KeyError, TypeError, RecursionError, binascii.Error):
        return None
    return subject[:_MOST_TEXT] if isinstance(subject, str) else None


def _append(path: Path, line: str) -> None:
    handle = _open(path)
    try:
        # Where there are no locks a line is one write all the same; only mending needs to be alone.
        wait_for(handle)
        data = _mended(handle) + line.encode("ascii")
        if os.write(handle, data) != len(data):
            raise _not_written(path, "the disk is full")
        os.fsync(handle)
    except OSError as error:
        raise _not_written(path, error.strerror or str(error)) from error
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    """A descriptor that only appends.

    Raises:
        MachineError: there is none.
    """
    flags = os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        try:
            handle = os.open(path, os.O_RDWR | flags, 0o640)
        except PermissionError:  # one that may be added to and not read
            handle = os.open(path, os.O_WRONLY | flags, 0o640)
    except OSError as error:
        raise _not_written(path, error.strerror or str(error)) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _not_written(path, "it is not a file")
    return handle


def _mended(handle: int) -> bytes:
    """A line break, if what was written last is only half a line: a full disk cut it off."""
    size = os.fstat(handle).st_size
    try:
        last = os.pread(handle, 1, size - 1) if size else b"\n"
    except OSError:
        return b""
    return b"" if last == b"\n" else b"\n"


def _not_written(path: Path, why: str) -> MachineError:
    return MachineError(
        f"the audit file {path} cannot be written: {why}",
        code="audit-not-written",
        remedy="make its directory, let the user write it, or name another (--audit-log, ENVBUILD_AUDIT_LOG)",
    )
