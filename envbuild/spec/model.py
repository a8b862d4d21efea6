"""What a repository asks for, as read from its files: the :class:`Spec`.

Reading never resolves, downloads or runs anything; every value says which file and line it came from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "Adopted",
    "FileUse",
    "InstallLine",
    "Notebook",
    "Problem",
    "PythonRequest",
    "Requirement",
    "Spec",
    "SpecOptions",
]


@dataclass(frozen=True, slots=True)
class SpecOptions:
    """What the user says beside the repository.

    ``extras`` and ``groups`` select optional dependencies of ``pyproject.toml``. ``python`` is a version
    (``3.11``) or a specifier set, and ``requirements`` are PEP 508 texts; each replaces what the files say.
    ``name`` replaces the project's name.
    """

    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    python: str | None = None
    requirements: tuple[str, ...] | None = None
    name: str | None = None


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
    decide where a module comes from (``numpy``, ``google.cloud.storage``), without the standard library.
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

    ``kind`` is ``"uv.lock"``, ``"pylock.toml"`` or ``"requirements.txt"`` (every line pinned and hashed;
    then the pins are in :attr:`Spec.requirements`). ``extras`` and ``groups`` select from the other two.
    """

    kind: Literal["uv.lock", "pylock.toml", "requirements.txt"]
    path: str
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spec:
    """Everything the repository asks for.

    ``name`` is the project's name, valid as a kernelspec name (``[A-Za-z0-9._-]+``, lower case);
    ``display_name`` is for people. ``kernels`` are the kernelspec names the Python notebooks use, sorted.
    ``inferred`` is true when the requirements come from the notebooks' imports because no file declares any.
    """

    name: str
    display_name: str
    python: tuple[PythonRequest, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    constraints: tuple[Requirement, ...] = ()
    adopted: Adopted | None = None
    inferred: bool = False
    notebooks: tuple[Notebook, ...] = ()
    kernels: tuple[str, ...] = ()
    files: tuple[FileUse, ...] = ()
    problems: tuple[Problem, ...] = field(default=())
