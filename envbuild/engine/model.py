"""What it means to run an image: one Protocol for every engine, and the two records it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from envbuild.pack import recipe

if TYPE_CHECKING:
    from envbuild.image.model import Image
    from envbuild.progress import Reporter

__all__ = ["GRACE_SECONDS", "Command", "Engine", "Mount", "Running"]

# How long a process may take to end after it was asked to, before it is killed.
GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Mount:
    """The host's ``source`` (absolute) seen at ``target`` (absolute); read-only unless ``writable``."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One process to run in an image, after the image's own entry point.

    Parameters:
        argv: the program, looked up on the image's ``PATH``, and its arguments.
        env: variables added to the image's own. They never show up in a process list.
        workdir: where it starts.
        mounts: what of the host it sees. Nothing else is visible to it.
        owner: the numeric user its files in writable mounts should belong to. Engines that cannot act for
            another user (bubblewrap) run as the calling user and ignore it.
        ports: TCP ports of this machine's 127.0.0.1 that reach the same ports of the process, which must
            listen on the engine's :attr:`Engine.listen_address`.
        stdin: whether the process gets the caller's standard input, with a terminal of its own when that
            is one.
        output: a file that gets the process's standard output and error; None: the caller's own.
        memory: bytes that all processes of it together may use; None: as many as there are. An engine that
            cannot limit it (bubblewrap) ignores it.
        tied: the process ends with ours however ours ends, also by ``kill -9``. For that the image needs
            ``sh``, ``cat`` and an init as its first process, as ours have. Otherwise, an engine with a daemon
            lets the process run on until the next envbuild.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    workdir: str = "/" + recipe.REPO_DIR
    mounts: tuple[Mount, ...] = ()
    owner: int | None = None
    ports: tuple[int, ...] = ()
    stdin: bool = False
    output: Path | None = None
    memory: int | None = None
    tied: bool = False


class Running(Protocol):
    """A started :class:`Command`; as a context manager it leaves no process and no file behind."""

    def poll(self) -> int | None:
        """The exit code (128 + n when signal n ended it), or None while the process runs."""

    def wait(self) -> int:
        """Wait for the end and return the exit code."""

    def send_signal(self, number: int) -> None:
        """Send a signal to the process and its process group; nothing happens when it has ended."""

    def terminate(self, grace: float = GRACE_SECONDS) -> None:
        """Ask the process to end (SIGTERM); after ``grace`` seconds, or when interrupted, kill all of it."""

    def ran_out_of_memory(self) -> bool:
        """Whether a process of it, which has ended, was killed for lack of memory; as far as can be known."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Engine(Protocol):
    """A way to run images on this machine."""

    @property
    def name(self) -> str:
        """What users call it."""

    @property
    def listen_address(self) -> str:
        """The address inside on which a published port has to be listened to."""

    @property
    def runs_as_caller(self) -> bool:
        """Whether processes act as the calling user, whatever :attr:`Command.owner` says."""

    def unavailable(self) -> str | None:
        """Why the engine cannot be used here and what would change that; None when it works."""

    def prepare(self, image: Image, *, reporter: Reporter) -> None:
        """Make ``image`` ready to start. Does nothing, and fast, when it is.

        Raises:
            MachineError: the image cannot be unpacked or loaded.
        """

    def start(self, image: Image, command: Command) -> Running:
        """Start ``command`` in ``image``, which was prepared.

        Call it from a thread that lives as long as the process should: bubblewrap ties the two together.

        Raises:
            MachineError: the process cannot be started.
        """
