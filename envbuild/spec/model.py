"""What a repository asks for, as read from its files: the :class:`Spec`.

Reading never resolves, downloads or runs anything; every value says which file and line it came from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "Adopted",
    "AdoptedKind",
    "AptPackage",
    "BaseRequest",
    "CondaRequest",
    "EngineBuild",
    "Execution",
    "FileUse",
    "ImportLine",
    "InstallLine",
    "Notebook",
    "OtherKernel",
    "Problem",
    "PythonRequest",
    "Requirement",
    "SourceRequirement",
    "Spec",
    "SpecOptions",
]

AdoptedKind = Literal[
    "uv.lock",
    "pylock.toml",
    "requirements.txt",
    "poetry.lock",
    "Pipfile.lock",
    "pdm.lock",
    "conda-lock.yml",
    "pixi.lock",
]
"""The locks of others that can be taken over."""


@dataclass(frozen=True, slots=True)
class BaseRequest:
    """The registry's image that is to be the base, in full (``docker.io/library/python:3.12-slim``).

    ``file`` is None when it is not the repository that asks for it.
    """

    reference: str
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class SpecOptions:
    """What the user says beside the repository.

    ``extras`` and ``groups`` select optional dependencies of ``pyproject.toml``. ``python`` is a version
    (``3.11``) or a specifier set, and ``requirements`` are PEP 508 texts; each replaces what the files say.
    ``name`` replaces the project's name. ``network`` are the steps that may reach the network. ``base`` is
    the registry's image to build on, None for a base that fits.
    ``is_own_index`` tells whether an address is that of a package index of the user's; it is asked only if
    files name one.
    """

    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    python: str | None = None
    requirements: tuple[str, ...] | None = None
    name: str | None = None
    network: tuple[str, ...] = ()
    base: BaseRequest | None = None
    is_own_index: Callable[[str], bool] = lambda url: False


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement line.

    ``text`` is a PEP 508 requirement (``pandas[excel]>=2; python_version < "3.13"``) without credentials.
    ``hashes`` are ``sha256:...`` values given with it (pip's ``--hash``).
    """

    text: str
    file: str
    line: int | None = None
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceRequirement:
    """A requirement on something that no index has as a wheel: it has to be built, in the sandbox.

    ``kind`` is ``"vcs"`` (a git repository), ``"url"`` (an archive or a wheel), ``"path"`` (a project, an
    archive or a wheel in the repository) or ``"sdist"`` (the index's source distribution, though there may
    be wheels: pip's ``--no-binary``). ``location`` is the URL without credentials, revision and fragment, or
    the path relative to the repository's root ("." for the root), or "" for an sdist. ``name`` is canonical,
    None when the line does not give one. ``revision`` is a git ref, None for the default branch.

    Of a project in the repository (a directory), ``dynamic`` tells that only its build knows what it depends
    on; otherwise that is in :attr:`Spec.requirements`. ``digest`` is of what decides how it is built and,
    when dynamic, what it depends on: it changes when the lock has to.
    """

    kind: Literal["vcs", "url", "path", "sdist"]
    location: str
    file: str
    line: int | None = None
    name: str | None = None
    extras: tuple[str, ...] = ()
    marker: str | None = None
    editable: bool = False
    revision: str | None = None
    subdirectory: str = ""
    hashes: tuple[str, ...] = ()
    dynamic: bool = False
    digest: str = ""

    @property
    def is_project(self) -> bool:
        """Whether this is a project in the repository, which is built with the image and not pinned."""
        return self.kind == "path" and not is_archive(self.location)


def is_archive(location: str) -> bool:
    """Whether a path or URL names a file that installers take: a wheel or a source distribution."""
    return location.lower().endswith((".whl", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip"))


@dataclass(frozen=True, slots=True)
class AptPackage:
    """One entry of ``apt.txt``: a Debian package's ``name``, and the ``version`` if one is demanded.

    ``line`` is None for a package that a notebook (``file``) needs for its kernel.
    """

    name: str
    file: str
    line: int | None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class CondaRequest:
    """What is asked of conda: ``channels`` in order of priority and ``packages`` (conda MatchSpecs).

    The ``pip:`` section of an ``environment.yml`` is in :attr:`Spec.requirements`. A channel is a name
    (``conda-forge``) or a URL without credentials. ``variables`` are name and value of what the image sets.
    """

    file: str
    channels: tuple[str, ...]
    packages: tuple[Requirement, ...]
    variables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class OtherKernel:
    """A kernel that is not Python's: the name and the language (lower case) a notebook states."""

    name: str
    language: str
    notebook: str


@dataclass(frozen=True, slots=True)
class EngineBuild:
    """The image is not assembled: a container engine builds it, as the file ``path`` says.

    With ``"repo2docker"`` that is one of several files which only its buildpacks know how to follow.
    """

    kind: Literal["Dockerfile", "repo2docker"]
    path: str


@dataclass(frozen=True, slots=True)
class Execution:
    """Something that has to run, in the sandbox, for the image to be what was asked for.

    ``what`` is for people (``postBuild``), ``why`` a sentence, ``when`` tells the step of envbuild that runs
    it, ``network`` whether it may reach the network.
    """

    what: str
    why: str
    when: Literal["lock", "build"]
    file: str
    line: int | None = None
    network: bool = False


@dataclass(frozen=True, slots=True)
class PythonRequest:
    """One place that restricts the Python version.

    ``specifier`` is a PEP 440 specifier set (``>=3.11,<3.14``, ``==3.11.*``). ``hint`` marks a wish that
    is followed when possible and never an error (a notebook's ``language_info.version``).
    """

    specifier: str
    file: str
    line: int | None = None
    hint: bool = False


@dataclass(frozen=True, slots=True)
class FileUse:
    """What became of one file the repository offers: used or not, and why."""

    path: str
    kind: str
    used: bool
    reason: str


@dataclass(frozen=True, slots=True)
class ImportLine:
    """An import in a notebook cell: ``module`` is dotted, ``a.b`` also for ``from a import b``.

    ``cell`` and ``line`` as for :class:`InstallLine`.
    """

    module: str
    cell: int
    line: int


@dataclass(frozen=True, slots=True)
class InstallLine:
    """A ``%pip install`` (or ``!pip``, ``%conda``, ...) line in a notebook cell.

    ``cell`` is the 1-based position of the cell in the notebook, ``line`` the 1-based line in the cell.
    """

    text: str
    requirements: tuple[str, ...]
    cell: int
    line: int


@dataclass(frozen=True, slots=True)
class Notebook:
    """One notebook: what it needs to be opened and run.

    ``path`` is for people (printable, see :func:`envbuild.source.printable`). ``imports`` are the names that
    decide where a module comes from (``numpy``, ``google.cloud.storage``), without the standard library;
    ``import_lines`` are the imports one by one, with it, and without modules that the notebook writes.
    ``script_requirements`` and ``script_python`` are those of a PEP 723 block.
    """

    path: str
    kernel: str | None
    language: str | None
    language_version: str | None
    imports: tuple[str, ...]
    installs: tuple[InstallLine, ...] = ()
    script_requirements: tuple[Requirement, ...] = ()
    script_python: str | None = None
    import_lines: tuple[ImportLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong or noteworthy that reading found.

    ``level`` is ``"error"`` (locking and building refuse), ``"warning"`` or ``"note"``.
    """

    level: Literal["error", "warning", "note"]
    code: str
    message: str
    file: str | None = None
    line: int | None = None
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Adopted:
    """A lock the repository already has, to be taken over as it is.

    ``kind`` ``"requirements.txt"`` means that every line is pinned and hashed; then the pins are in
    :attr:`Spec.requirements`. ``extras`` and ``groups`` select from the others.
    """

    kind: AdoptedKind
    path: str
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spec:
    """Everything the repository asks for.

    ``name`` is the project's name, valid as a kernelspec name (``[A-Za-z0-9._-]+``, lower case);
    ``display_name`` is for people. ``kernels`` are the kernelspec names the Python notebooks use beside the
    first and ``python3``, sorted.
    ``declared_by`` is the path of the file that declares the dependencies (``command line`` when that does);
    ``inferred`` is true when the requirements come from the notebooks' imports because no file declares any.
    ``other_kernels`` are those of notebooks in other languages, ``kernel_packages`` the packages of the index
    that are added for them. ``base`` is the registry's image to build on. ``post_build`` is the path of a
    script that runs when everything else is in the image. ``executions`` says what will run, in this order.
    ``packages`` are the canonical names that the file which declares the dependencies declares or locks, None
    when it is not known (there is no such file, or it could not be read).
    """

    name: str
    display_name: str
    python: tuple[PythonRequest, ...] = ()
    base: BaseRequest | None = None
    requirements: tuple[Requirement, ...] = ()
    constraints: tuple[Requirement, ...] = ()
    sources: tuple[SourceRequirement, ...] = ()
    conda: CondaRequest | None = None
    apt: tuple[AptPackage, ...] = ()
    post_build: str | None = None
    executions: tuple[Execution, ...] = ()
    engine_build: EngineBuild | None = None
    adopted: Adopted | None = None
    declared_by: str | None = None
    inferred: bool = False
    notebooks: tuple[Notebook, ...] = ()
    kernels: tuple[str, ...] = ()
    other_kernels: tuple[OtherKernel, ...] = ()
    kernel_packages: tuple[str, ...] = ()
    files: tuple[FileUse, ...] = ()
    problems: tuple[Problem, ...] = field(default=())
    packages: frozenset[str] | None = None
