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

__all__ = ["Limits", "Outcome", "Sandbox", "Step"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a step may use: wall-clock ``seconds``, ``memory`` in bytes over all its processes, ``cpus``."""

    seconds: float = 3600.0
    memory: int = 8 << 30
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


class Outcome(Protocol):
    """What became of a step, as long as its files are there."""

    @property
    def code(self) -> int:
        """The exit code (128 + n when signal n ended it)."""

    @property
    def exceeded(self) -> str | None:
        """The limit that ended the step, for people (``more than 8 GiB of memory``); None when none did."""

    def changes(self) -> Sequence[Entry]:
        """What is different in the image, for :func:`envbuild.pack.tar.complete`.

        Entries have normalised times, owners and modes. What was removed is an empty file ``.wh.<name>``, a
        directory that was emptied and filled anew has ``.wh..wh..opq`` in it (OCI image specification 1.1,
        layer.md). Contents are read when the layer is written, so this must be used before the context ends.
        """


class Sandbox(Protocol):
    """An engine (:mod:`envbuild.engine`) that can run steps."""

    @property
    def name(self) -> str:
        """What users call it."""

    def unavailable(self) -> str | None:
        """Why it cannot be used here and what would change that; None when it works."""

    def execute(self, image: Image, step: Step) -> AbstractContextManager[Outcome]:
        """Run ``step`` in ``image`` to its end.

        Raises:
            MachineError: the image's architecture is not this machine's, or the engine failed.
        """
