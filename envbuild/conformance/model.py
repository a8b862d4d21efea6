"""The records of the hub contract: what a test is, how the image is started for it, what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Protocol, Self

__all__ = [
    "Answers",
    "ContractTest",
    "Evidence",
    "Heard",
    "Kernel",
    "Limits",
    "Outcome",
    "Platform",
    "Result",
    "Scenario",
    "State",
    "Subject",
    "Trial",
]

State = Literal["passed", "failed", "not-checked"]


@dataclass(frozen=True, slots=True)
class Subject:
    """The image under test, as its engine describes it.

    ``name`` is what the user calls it. ``user`` is the ``USER`` of its config, empty without one; ``home``
    what ``$HOME`` is; ``places`` are the absolute paths it may write to: the home directory, the working
    directory, declared volumes, temporary directories and what the user named. ``ports`` are the TCP ports it
    exposes, ``command`` tells whether it has an entry point or a command of its own.
    """

    name: str
    image_id: str
    user: str
    home: str
    places: tuple[str, ...]
    ports: tuple[int, ...]
    command: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container under test may use: seconds until its server answers, bytes of memory, processes."""

    seconds: float = 120
    memory: int = 4 << 30
    processes: int = 1024


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way in which somebody starts the image.

    Parameters:
        id: kebab-case.
        argv: what is given to the image's entry point; None: the image's own command.
        shell: ``argv`` replaces the entry point, too, as a pod's ``command`` does.
        user: ``uid:gid``; None: the image's own.
        env: variables besides the image's own.
        empty_home: an empty volume is mounted over ``$HOME``.
        read_only: nothing but :attr:`Subject.places` can be written.
        questions: the request to :mod:`envbuild.conformance.program`, without ``seconds`` and ``ports``;
            None: the command is run to its end instead.
        stops: it gets SIGTERM at the end, and is watched while it ends.
    """

    id: str
    argv: tuple[str, ...] | None
    shell: bool = False
    user: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    empty_home: bool = False
    read_only: bool = False
    questions: Mapping[str, Any] | None = None
    stops: bool = False


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that was asked to add: what it said, or what went wrong."""

    name: str
    language: str
    error: str | None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """The status of the server's first good answer, None without one; the seconds until then, and what was
    heard instead.
    """

    status: int | None
    seconds: float
    said: str


@dataclass(frozen=True, slots=True)
class Answers:
    """What :mod:`envbuild.conformance.program` found out in a container.

    ``listening`` has ``any``, ``loopback`` or ``other`` with each port that is listened on; ``anonymous`` is
    the status of an answer without the token; ``orphan`` is ``reaped`` or ``zombie``; ``hub`` are the
    requests that the stand-in for a hub got. What was not asked is None.
    """

    server: Heard
    listening: tuple[tuple[str, int], ...]
    anonymous: int | None = None
    kernels: tuple[Kernel, ...] | None = None
    orphan: str | None = None
    hub: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of one container.

    ``trouble`` is a clause about the container when it gave no ``answers``; ``blind`` tells that it could not
    be looked into, because the image has no Python for that. ``exit_code`` is None while it ran on;
    ``stop_seconds`` is how long it took to end after SIGTERM. ``written`` are paths that are not as in the
    image, None when nobody looked or they are too many to list. ``log`` is the end of its output.
    """

    trouble: str | None = None
    blind: bool = False
    answers: Answers | None = None
    exit_code: int | None = None
    stop_seconds: float | None = None
    written: tuple[str, ...] | None = None
    log: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether an image does what a test is about; ``seen`` says in a clause what was seen of it."""

    state: State
    seen: str


@dataclass(frozen=True, slots=True)
class ContractTest:
    """One promise of the hub contract.

    Parameters:
        id: kebab-case; never changes its meaning.
        title: what has to hold, a clause about the image.
        purpose: what it is good for, a sentence.
        relied_on_by: who breaks without it.
        method: how it is found out, a sentence.
        remedy: how to mend the image, in the imperative.
        check: tells from the image's description and the evidence of ``scenario`` whether it holds.
        scenario: None: the description is enough.
        requires: ids of tests without which this one says nothing.
    """

    id: str
    title: str
    purpose: str
    relied_on_by: str
    method: str
    remedy: str
    check: Callable[[Subject, Evidence], Outcome] = field(repr=False)
    scenario: Scenario | None = None
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """A test, what came of it, the seconds its container took (0 when another test had paid), and the end of
    the container's output when the test did not pass.
    """

    test: ContractTest
    outcome: Outcome
    seconds: float
    log: str = ""


class Trial(Protocol):
    """A container of the image under test; as a context manager it leaves nothing behind."""

    def ask(self, argv: tuple[str, ...], seconds: float) -> tuple[int | None, str]:
        """Run a second process in it; its exit code (None: the container was ended, or had ended) and output.

        After ``seconds`` the container is killed.
        """

    def wait(self, seconds: float) -> int | None:
        """The exit code once the container has ended; None when it runs on after ``seconds``."""

    def terminate(self) -> None:
        """Send SIGTERM to its first process, and to no other."""

    def out_of_memory(self) -> bool:
        """Whether it was ended for lack of memory."""

    def written(self) -> tuple[str, ...] | None:
        """Paths that are not as in the image; None when there are too many of them."""

    def log(self) -> str:
        """The end of its output."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Platform(Protocol):
    """What starts containers of the image under test."""

    @property
    def subject(self) -> Subject:
        """The image."""

    def start(self, scenario: Scenario) -> Trial | str:
        """A started container; or a clause that says why this image cannot be started so.

        Raises:
            MachineError: the engine failed.
        """
