"""What one run of a command did, kept for whoever operates it: logs, metrics and the audit line.

A run has a build id: 32 hexadecimal digits that a line in a log, a Job in a cluster and an entry of the audit
file share. It is never in an image: the same lock gives the same bytes in every run.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from envbuild.errors import UsageError
from envbuild.source.text import redact

__all__ = [
    "BUILD_ID",
    "LEVELS",
    "FinishedStage",
    "Observation",
    "Probed",
    "failure_code",
    "find_build_id",
    "new_build_id",
    "request_build_id",
    "timestamp",
]

BUILD_ID = "ENVBUILD_BUILD_ID"
# Where a layer comes from: this machine's cache, a registry, or it was made.
LEVELS = ("store", "registry", "packed")
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class FinishedStage:
    """A stage that is over: ``done`` and ``cached`` are in its ``unit``, ``failure`` is the code of the error
    that ended it.
    """

    name: str
    unit: str
    seconds: float
    done: int
    cached: int
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Probed:
    """How ``environment`` started on ``engine``: the median seconds of each phase, and whether that was good
    enough.
    """

    environment: str
    engine: str
    medians: tuple[tuple[str, float], ...]
    success: bool


@dataclass(slots=True)
class Observation:
    """One run.

    ``verb`` is empty until it is known. ``facts`` is what became known on the way and identifies what was
    worked on: ``environment`` (``env-…``), ``lock`` and ``digest`` (``sha256:…``). ``source`` is where the
    repository is (``url`` and ``revision``, or ``directory``), ``images`` the image ID for each platform.
    ``layers`` is how many came from where (:data:`LEVELS`), ``kernel_starts`` how long kernels took to
    answer: engine and seconds.
    """

    build: str
    verb: str = ""
    started: float = field(default_factory=time.monotonic)
    facts: dict[str, str] = field(default_factory=dict)
    source: dict[str, str | None] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    stages: list[FinishedStage] = field(default_factory=list)
    layers: Counter[str] = field(default_factory=Counter)
    kernel_starts: list[tuple[str, float]] = field(default_factory=list)
    probes: list[Probed] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.started

    @property
    def stage_seconds(self) -> dict[str, float]:
        """How long the stages of each name took together, in seconds."""
        spent: dict[str, float] = {}
        for stage in self.stages:
            spent[stage.name] = spent.get(stage.name, 0.0) + stage.seconds
        return spent

    @property
    def subject(self) -> str:
        """What was worked on, by a name that is the same in every run: letters, digits and ``.-_``.

        >>> Observation("", source={"url": "https://example.org/demo.git", "subdirectory": "a b"}).subject
        'example.org-demo.git-a-b'
        """
        directory = (self.source.get("directory") or "").rstrip("/").rpartition("/")[2]
        url = redact(self.source.get("url") or "").partition("://")[2].partition("?")[0]
        text = "/".join(part for part in (directory, url, self.source.get("subdirectory")) if part)
        return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")[:100] or "none"


def new_build_id() -> str:
    """A build id that nothing else has."""
    return secrets.token_hex(16)


def find_build_id(environment: Mapping[str, str]) -> str | None:
    """The build id that whoever started this process gave it (``ENVBUILD_BUILD_ID``), None without one.

    Raises:
        UsageError: what was given is not 32 hexadecimal digits.
    """
    given = environment.get(BUILD_ID, "")
    if given and _ID.fullmatch(given) is None:
        raise UsageError(
            f"{BUILD_ID} is not a build id",
            code="bad-build-id",
            remedy=f"give 32 hexadecimal digits in lower case, or unset {BUILD_ID}",
        )
    return given or None


def request_build_id(*parts: str) -> str:
    """The build id of a request: the same ``parts`` give the same id, wherever it is asked for.

    >>> request_build_id("https://example.org/repo", "main") == request_build_id("https://example.org/repomain")
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:32]


def timestamp() -> str:
    """This moment as lines of logs and of the audit file say it: RFC 3339, in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def failure_code(error: BaseException | None) -> str | None:
    """What ``error`` is called in logs, metrics and the audit file: its ``code``; None when there is none."""
    if error is None:
        return None
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return str(getattr(error, "code", "internal"))
