"""What a platform team writes down: environments, pools of nodes, and where images are kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from envbuild.image.reference import Reference

__all__ = [
    "Environment",
    "Fleet",
    "GitSource",
    "ImageSource",
    "LockSource",
    "Pin",
    "Pool",
    "Resources",
    "Source",
    "Toleration",
]


@dataclass(frozen=True, slots=True)
class Toleration:
    """A taint that pods put up with, in Kubernetes' words; an empty ``key`` or ``effect`` means any."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


@dataclass(frozen=True, slots=True)
class Pool:
    """Nodes of one kind.

    ``selector`` is the labels they have, in order of name; ``disk`` how many bytes of images may be kept
    warm on each, None when nobody set a bound; ``gpu`` the name of the resource its nodes offer
    (``nvidia.com/gpu``), None without. ``keep_previous``: also the images that environments had before are
    kept on them, if there is room.
    """

    name: str
    selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    platform: str = "linux/amd64"
    gpu: str | None = None
    disk: int | None = None
    keep_previous: bool = False


@dataclass(frozen=True, slots=True)
class Resources:
    """What a server may use: ``cpu`` in cores, ``memory`` in bytes, ``gpu`` in devices; None is no bound.

    Requests are what the scheduler keeps free for it, limits what it may not go beyond.
    """

    cpu_request: float | None = None
    cpu_limit: float | None = None
    memory_request: int | None = None
    memory_limit: int | None = None
    gpu: int = 0


@dataclass(frozen=True, slots=True)
class ImageSource:
    """An image in a registry, by tag or digest; envbuild need not have built it."""

    reference: Reference


@dataclass(frozen=True, slots=True)
class LockSource:
    """A lock on this machine; the repository is the directory it is in."""

    path: Path


@dataclass(frozen=True, slots=True)
class GitSource:
    """A repository in git.

    ``ref`` is a branch, a tag or a commit, ``subdir`` the directory of the notebooks in it.
    """

    url: str
    ref: str = "HEAD"
    subdir: str = ""


Source = ImageSource | LockSource | GitSource


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment that people choose.

    ``name`` is a DNS label, unique in the fleet. ``pools`` are names of pools, the first is where its
    servers run by default, and all are kept warm. ``users`` and ``groups`` are who may use it; both
    empty: everybody. ``idle_timeout`` is in seconds, None: servers are not ended for being idle.
    ``launches`` is how often it is started in a week, as far as known: what is used more is warmed first.
    ``variables`` are for the server's process.
    """

    name: str
    source: Source
    display_name: str = ""
    description: str = ""
    pools: tuple[str, ...] = ()
    resources: Resources = Resources()
    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    idle_timeout: int | None = None
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    default: bool = False
    launches: int = 0
    variables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet file.

    ``registry`` is the image repository (``registry.example.org/team/envs``) that built images go to,
    None when every environment is an image already. ``pull_secrets`` are names of Kubernetes secrets,
    never passwords. ``environments`` and ``pools`` are in the file's order.
    """

    name: str
    path: Path
    environments: tuple[Environment, ...]
    pools: tuple[Pool, ...] = ()
    registry: str | None = None
    namespace: str = "default"
    pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pin:
    """What an environment is at present: the image that was built of it, or that its tag led to.

    ``reference`` has a digest. ``commit`` and ``lock_digest`` (``sha256:…``) are None where the image was
    not built from git, or not by envbuild. ``previous`` is the image that it had before this one, with a
    digest, too. Pins of a fleet are kept in ``fleet.lock`` beside its file: hub configuration and warm nodes
    come from these alone, so that a rollback is an older version of that file.
    """

    environment: str
    reference: Reference
    commit: str | None = None
    lock_digest: str | None = None
    previous: Reference | None = None

    def after(self, before: Pin | None) -> Pin:
        """The same for an environment that was ``before``: an image that stays keeps its predecessor."""
        if before is None:
            return self
        old, new = before.reference, self.reference
        same = (old.name, old.digest) == (new.name, new.digest)
        return replace(self, previous=before.previous if same else old)
