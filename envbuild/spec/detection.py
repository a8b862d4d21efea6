"""Which of the repository's files count: the kinds that are known, where they are looked for, who wins.

Files are looked for in ``binder/`` or ``.binder/``, else in the root. Of the files that declare Python
dependencies exactly one counts: the first of :data:`DEPENDENCY_KINDS` that is there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from envbuild.source import RepoFile
from envbuild.spec.findings import Findings

__all__ = ["CONDA_KINDS", "DEAD_KINDS", "DEPENDENCY_KINDS", "ENGINE_KINDS", "Listing", "list_files"]

_Kinds = tuple[tuple[str, tuple[str, ...]], ...]  # (kind, file names)

_BINDER_DIRECTORIES: Final = ("binder", ".binder")

# In order of precedence: locks first, which are never solved again. The kind of a file is its usual name.
# requirements.txt is there twice: when every line is pinned and hashed it is a lock.
DEPENDENCY_KINDS: Final[_Kinds] = (
    ("pylock.toml", ("pylock.toml",)),
    ("uv.lock", ("uv.lock",)),
    ("poetry.lock", ("poetry.lock",)),
    ("Pipfile.lock", ("Pipfile.lock",)),
    ("pdm.lock", ("pdm.lock",)),
    ("requirements.txt", ("requirements.txt",)),
    ("conda-lock.yml", ("conda-lock.yml", "conda-lock.yaml")),
    ("pixi.lock", ("pixi.lock",)),
    ("environment.yml", ("environment.yml", "environment.yaml")),
    ("pixi.toml", ("pixi.toml",)),
    ("Pipfile", ("Pipfile",)),
    ("requirements.txt", ("requirements.txt",)),
    ("requirements.in", ("requirements.in",)),
    ("pyproject.toml", ("pyproject.toml",)),
    ("setup.cfg", ("setup.cfg",)),
    ("setup.py", ("setup.py",)),
)

# Those of them that are conda's, and pixi's.
CONDA_KINDS: Final = ("conda-lock.yml", "pixi.lock", "environment.yml", "pixi.toml")

# What only repo2docker's buildpacks can follow; one of them decides about the whole image.
ENGINE_KINDS: Final[_Kinds] = (
    ("install.R", ("install.R",)),
    ("DESCRIPTION", ("DESCRIPTION",)),
    ("renv.lock", ("renv.lock",)),
    ("Project.toml", ("Project.toml", "JuliaProject.toml")),
    ("default.nix", ("default.nix",)),
)

# Known, and of no use to anybody here: Binder dropped the first and never read the second.
DEAD_KINDS: Final[_Kinds] = (
    ("REQUIRE", ("REQUIRE",)),
    ("flake.nix", ("flake.nix",)),
)

_PYTHON_KINDS: Final = ("runtime.txt", ".python-version")
_NAMED_PYLOCK: Final = re.compile(r"pylock\.[^.]+\.toml")
_LOOKS_LIKE_REQUIREMENTS: Final = re.compile(r"[\w.-]*requirements?[\w.-]*\.(?:txt|in)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Listing:
    """The names in the directory that counts; ``directory`` is "" for the root."""

    directory: str
    names: frozenset[str]

    def path(self, name: str) -> str | None:
        """The path of the file ``name``, or None when there is none."""
        if name not in self.names:
            return None
        return f"{self.directory}/{name}" if self.directory else name

    def find(self, names: tuple[str, ...]) -> list[str]:
        """The paths of those of ``names`` that are there."""
        return [path for name in names if (path := self.path(name))]

    @property
    def known(self) -> list[tuple[str, str]]:
        """``(path, kind)`` of every file of a known kind, sorted."""
        kinds = {name: _kind_of(name) for name in self.names}
        return sorted((self.path(name) or "", kind) for name, kind in kinds.items() if kind)

    @property
    def named_pylocks(self) -> list[str]:
        """The paths of ``pylock.NAME.toml`` files, sorted."""
        return self.find(tuple(sorted(name for name in self.names if _NAMED_PYLOCK.fullmatch(name))))

    @property
    def other_requirements(self) -> list[str]:
        """Files that are called like requirements, but not exactly, sorted."""
        main = ("requirements.txt", "requirements.in")
        return self.find(
            tuple(
                sorted(
                    name
                    for name in self.names
                    if _LOOKS_LIKE_REQUIREMENTS.fullmatch(name) and name not in main
                )
            )
        )


def list_files(files: tuple[RepoFile, ...], findings: Findings) -> Listing:
    """Choose the directory that counts; files of known kinds in the root are named when it is another."""
    kinds = {file.path.decode("ascii"): file.kind for file in files if file.path in (b"binder", b".binder")}
    directories = [name for name in _BINDER_DIRECTORIES if kinds.get(name) == "dir"]
    for name in _BINDER_DIRECTORIES:
        if kinds.get(name) == "symlink":
            findings.error(
                "bad-binder-directory",
                "this is a symbolic link",
                name,
                remedy="make it a directory or remove it",
            )
    if len(directories) > 1:
        findings.error(
            "two-binder-directories",
            "there are both binder/ and .binder/, and only one can count",
            ".binder",
            remedy="remove one of them",
        )
    root = _names(files, "")
    if not directories:
        return Listing("", root)
    directory = directories[0]
    for name in sorted(root):
        if kind := _kind_of(name):
            findings.ignored(name, kind, f"{directory}/ is there, so the root's files do not count")
    return Listing(directory, _names(files, directory))


def _names(files: tuple[RepoFile, ...], directory: str) -> frozenset[str]:
    """The names of what is not a directory, directly in ``directory``. Known names are all ASCII."""
    prefix = f"{directory}/".encode() if directory else b""
    names = (
        file.path[len(prefix) :] for file in files if file.kind != "dir" and file.path.startswith(prefix)
    )
    return frozenset(name.decode("ascii") for name in names if b"/" not in name and name.isascii())


def _kind_of(name: str) -> str | None:
    for kinds in (DEPENDENCY_KINDS, ENGINE_KINDS, DEAD_KINDS):
        for kind, names in kinds:
            if name in names:
                return kind
    if name in _PYTHON_KINDS or name in ("Dockerfile", "apt.txt", "postBuild", "start"):
        return name
    return "pylock.toml" if _NAMED_PYLOCK.fullmatch(name) else None
