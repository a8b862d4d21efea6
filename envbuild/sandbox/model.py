"""A step of a build that executes foreign code, and the seam to the engines that can run one.

A step sees an image, its mounts and nothing else of the host: no files, no environment variables, no secrets,
and no network unless it was declared. What it changes in the image is captured and becomes a layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from envbuild.engine.model import Mount
from envbuild.image.model import Image
from envbuild.pack import recipe
from envbuild.pack.tar import Entry
from envbuild.progress import Reporter

__all__ = ["Limits", "Outcome", "Sandbox", "Step"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a step may use: wall-clock ``seconds``, and all of it together ``memory`` in bytes, ``processes``
    and ``cpus`` (None: all there are).
    """

    seconds: float = 3600.0
    memory: int = 8 << 30
    processes: int = 4096
    cpus: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One command to run in an image.

    Parameters:
        title: what users call it (``postBuild``), for messages.
        argv: the program and its arguments. The image's entry point is not run.
        env: variables added to the image's own; they are seen by the step, so they hold no secrets.
        user: ``"root"`` is root of the sandbox and of nothing else; ``"user"`` is the image's own user.
        mounts: directories of the host it sees. What it writes into writable ones is not captured.
        network: whether it reaches the network, with the user's proxies and certificates.
        output: the file that gets its standard output and error.
        ignored: paths (``var/lib/apt/lists``) whose changes are not captured, nor those of what is below
            them, besides :data:`envbuild.pack.recipe.NOT_CAPTURED`.
    """

    title: str
    argv: Sequence[str]
    output: Path
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    workdir: str = "/" + recipe.REPO_DIR
    user: Literal["root", "user"] = "user"
    mounts: tuple[Mount, ...] = ()
    network: bool = False
    limits: Limits = Limits()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step.

    Parameters:
        code: the exit code (128 + n when signal n ended it).
        exceeded: the limit that ended the step, for people (``more than 8 GiB of memory``), or None.
        changes: what is different in the image, see :func:`envbuild.sandbox.changes.find_changes`; empty when
            the step failed. Contents are read when the layer is written, before the context ends.
    """

    code: int
    exceeded: str | None
    changes: tuple[Entry, ...]

    @property
    def succeeded(self) -> bool:
        """Whether the step came to its end without an error."""
        return self.code == 0 and self.exceeded is None


class Sandbox(Protocol):
    """An engine (:mod:`envbuild.engine`) that can run steps."""

    @property
    def name(self) -> str:
        """What users call it."""

    def unavailable(self) -> str | None:
        """Why it cannot be used here and what would change that; None when it works."""

    def execute(self, image: Image, step: Step, reporter: Reporter) -> AbstractContextManager[Outcome]:
        """Run ``step`` in ``image`` to its end.

        Raises:
            MachineError: the image's architecture is not this machine's, or the engine failed.
        """

    def attached(
        self,
        image: Image,
        argv: Sequence[str],
        variables: Mapping[str, str],
        limits: Limits,
        reporter: Reporter,
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        """How to start a program of ``image``, as the image's user, connected to whoever starts it.

        The program sees the image's files, which it cannot change, its standard input, output and error, and
        nothing else: no network, and no variables but ``variables``, not even the image's. It ends with the
        process that is started, which holds it to ``limits``.

        Returns:
            A command, to which more arguments of the program may be added, and variables to start it with.

        Raises:
            MachineError: the image's architecture is not this machine's, or the engine failed.
        """
