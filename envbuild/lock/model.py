"""What a repository gets, exactly: the :class:`Lock`.

A lock names every artifact of the image by file name, sha256, size and a path below a *named source*
(``pypi``, ``debian``, ``debian-security``). Where a source is comes from configuration, so the same lock
builds behind a mirror and has the same digest there. ``lockfile.py`` is its TOML form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from envbuild.pack import recipe

__all__ = [
    "Artifact",
    "Base",
    "BaseImage",
    "Built",
    "CondaPackage",
    "Deb",
    "ImageLayer",
    "Lock",
    "PlatformImage",
    "Target",
    "Wheel",
]


@dataclass(frozen=True, slots=True, order=True)
class Artifact:
    """One file to download.

    ``source`` is the name of where it is from, ``path`` its path below that source's address ("" when the
    file has to be looked up by name), ``size`` is in bytes, ``sha256`` is lower-case hex.
    """

    filename: str
    sha256: str
    size: int
    source: str
    path: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Wheel:
    """One locked wheel. ``layer`` is the id of the layer it is packed into (plan.py)."""

    name: str
    version: str
    artifact: Artifact
    layer: str = ""
    direct: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Built:
    """What one package is built from, in the sandbox, with nothing left to decide.

    ``kind`` is ``"sdist"`` (a source distribution of the index), ``"vcs"`` (a git repository at ``location``;
    ``revision`` is what was asked for, ``commit`` what that was, in full), ``"url"`` (``archive`` at
    ``location``) or ``"path"`` (in the repository, at ``location``: ``archive``, or without one a project,
    which is built with the image). ``archive`` may be a wheel, which is taken as it is. ``requires`` is the
    whole environment of the build, ``editable`` is of projects. The wheel that came of it has the same
    ``name``, and the source ``"built"``.
    """

    name: str
    kind: Literal["sdist", "vcs", "url", "path"]
    location: str = ""
    revision: str = ""
    commit: str = ""
    subdirectory: str = ""
    editable: bool = False
    archive: Artifact | None = None
    requires: tuple[Wheel, ...] = ()

    @property
    def is_project(self) -> bool:
        """Whether this is a project in the repository, of which no wheel is pinned."""
        return self.kind == "path" and self.archive is None


@dataclass(frozen=True, slots=True, order=True)
class Deb:
    """One locked Debian package; ``arch`` is Debian's name (``amd64``, ``arm64``, ``all``).

    ``direct``: ``apt.txt`` asks for it; the others came with one of those, or are the base's.
    """

    name: str
    version: str
    arch: str
    artifact: Artifact
    direct: bool = False


@dataclass(frozen=True, slots=True, order=True)
class CondaPackage:
    """One locked conda package; ``build`` and ``subdir`` (``linux-64``, ``noarch``) as in its record.

    The artifact's ``source`` is the channel's name, its path ``<subdir>/<file name>``. ``depends`` are the
    record's own, which ``conda-meta`` in the image repeats. ``site_packages`` is where a ``python`` looks for
    packages, if its record says so (``python_site_packages_path``, CEP 17). ``layer`` and ``direct`` as for
    :class:`Wheel`.
    """

    name: str
    version: str
    build: str
    subdir: str
    artifact: Artifact
    md5: str = ""
    noarch: str = ""
    depends: tuple[str, ...] = ()
    layer: str = ""
    direct: bool = False
    site_packages: str = ""


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """A layer of an image in a registry: what its descriptor says, and what it unpacks to.

    ``size`` is that of the blob ``digest``, ``raw_size`` that of the tar, in bytes; ``media_type`` is as the
    image's manifest has it.
    """

    digest: str
    media_type: str
    size: int
    diff_id: str
    raw_size: int


@dataclass(frozen=True, slots=True)
class PlatformImage:
    """An image in a registry for one platform, and what was found in it.

    ``digest``, ``media_type`` and ``size`` are the manifest's, ``config`` and ``config_size`` the config's;
    ``layers`` are bottom to top. ``python`` is where the interpreter is (``/usr/local/bin/python3.12``),
    ``shell`` what people get in a terminal, ``certificates`` the bundle of authorities ("" when there is
    none), ``distribution`` the release whose dpkg administers it (``debian bookworm``), "" when none does.
    ``passwd`` and ``group`` are the texts of its files in ``/etc``, ``variables`` what it sets and is kept.
    """

    digest: str
    media_type: str
    size: int
    config: str
    config_size: int
    layers: tuple[ImageLayer, ...]
    python: str
    shell: str
    certificates: str = ""
    distribution: str = ""
    passwd: str = ""
    group: str = ""
    variables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class BaseImage:
    """The image in a registry that a base is.

    ``reference`` is what was asked for, in full (``docker.io/library/python:3.12-slim``), ``digest`` what
    that was: of an index, or of a manifest. ``platforms`` are those that were locked.
    """

    reference: str
    digest: str
    platforms: dict[str, PlatformImage]


@dataclass(frozen=True, slots=True)
class Base:
    """The locked base image: an operating system with a Python, and the Jupyter server beside it.

    ``recipe`` names a folder of ``base-images/``; ``python`` is exact (``3.11.2``); ``glibc`` is the newest
    manylinux policy that wheels may need (``2.36``). ``debs`` and ``server`` are keyed by platform
    (``linux/amd64``); debs are always locked for every platform of the recipe, because the interpreter
    that compiles bytecode is the host's build of the same version. ``date`` is when the debs were the newest
    (``YYYY-MM-DDTHH:MM:SSZ``): the day of the snapshot archive that still has them.

    With an ``image`` the operating system and its Python are that image's, ``recipe`` is "", and ``debs`` of
    ``suite`` are what is added to it.
    """

    recipe: str
    suite: str
    python: str
    glibc: str
    debs: dict[str, tuple[Deb, ...]]
    server: dict[str, tuple[Wheel, ...]]
    date: str
    image: BaseImage | None = None

    @property
    def name(self) -> str:
        """What people call it: the recipe's name, or the image's."""
        return self.recipe if self.image is None else self.image.reference

    @property
    def python_minor(self) -> str:
        """``3.11`` of ``3.11.2``."""
        return ".".join(self.python.split(".")[:2])

    def executable(self, platform: str) -> str:
        """Where the interpreter is in the image (``/usr/bin/python3.11``)."""
        if self.image is None:
            return f"/usr/bin/python{self.python_minor}"
        return self.image.platforms[platform].python


@dataclass(frozen=True, slots=True)
class Target:
    """What the user's environment is on one platform (``linux/amd64``, ``linux/arm64``).

    With ``conda`` packages the environment is a conda prefix with their Python, and ``wheels`` are installed
    into that. ``apt`` are the Debian packages that ``apt.txt`` adds to the base, with all they need.
    ``built`` says where wheels come from that no index has, and names the repository's projects to install.
    """

    platform: str
    wheels: tuple[Wheel, ...]
    conda: tuple[CondaPackage, ...] = ()
    apt: tuple[Deb, ...] = ()
    built: tuple[Built, ...] = ()

    @property
    def versions(self) -> dict[str, str]:
        """Version by name of everything the user's environment has, sorted by name.

        Where two have the same name, it is the one that wins in the image: a wheel, then a conda package.
        """
        packages: tuple[Wheel | CondaPackage | Deb, ...] = (*self.apt, *self.conda, *self.wheels)
        return dict(sorted({package.name: package.version for package in packages}.items()))

    @property
    def conda_python(self) -> str | None:
        """The exact version of the Python that conda brings, None when it brings none."""
        return next((package.version for package in self.conda if package.name == "python"), None)


@dataclass(frozen=True, slots=True)
class Lock:
    """Everything needed to assemble the environment image, and nothing else.

    ``inputs`` is the digest of what was locked (``sha256:...``; see ``lock/freshness``), ``cutoff`` the date
    (``YYYY-MM-DDTHH:MM:SSZ``) after which published artifacts were not considered, ``kernels`` the extra
    kernelspec names (beside ``name`` and ``python3``), ``other_kernels`` name and language of those that are
    not Python's, ``recipe`` the version of the packing recipe, ``variables`` name and value of the
    environment variables that the repository sets in its image.
    """

    name: str
    display_name: str
    inputs: str
    cutoff: str
    kernels: tuple[str, ...]
    recipe: int
    resolver: str
    base: Base
    targets: tuple[Target, ...]
    other_kernels: tuple[tuple[str, str], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_base(cls, base: Base, apt: Mapping[str, tuple[Deb, ...]] = MappingProxyType({})) -> Lock:
        """A lock of nothing but ``base`` and Debian packages: what is needed to run something in them.

        Parameters:
            apt: those that ``apt.txt`` adds, by platform.
        """
        return cls(
            name=base.recipe or "base",
            display_name=base.name,
            inputs="",
            cutoff=base.date,
            kernels=(),
            recipe=recipe.VERSION,
            resolver="",
            base=base,
            targets=tuple(Target(platform, (), apt=debs) for platform, debs in sorted(apt.items())),
        )

    def target(self, platform: str) -> Target:
        """The section for ``platform``; raises :class:`KeyError` when the lock has none."""
        for target in self.targets:
            if target.platform == platform:
                return target
        raise KeyError(platform)
