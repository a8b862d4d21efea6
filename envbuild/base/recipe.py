"""The bases on offer (``base-images/*/base.toml``), and which one a repository gets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

import tomli
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from envbuild.errors import MachineError, RepoError
from envbuild.lock.model import BaseImage
from envbuild.spec.model import Problem, PythonRequest

__all__ = [
    "BaseRecipe",
    "base_images",
    "check_python",
    "choose",
    "debian_keyring",
    "load_recipes",
    "recipe_named",
]

# Files in which people copy the full version of some interpreter they had. The patch is not meant as a
# demand there (and hosting services never took it as one); ``requires-python`` is meant as written.
_LOOSE_FILES = frozenset({"runtime.txt", ".python-version"})


@dataclass(frozen=True, slots=True)
class BaseRecipe:
    """What a base image is made of, before anything is locked.

    ``name`` is the folder's, ``python`` the version Debian's ``suite`` has (``3.11.2``; stable releases keep
    it), ``glibc`` the newest manylinux policy wheels may need. ``packages`` are the Debian packages asked
    for, ``excluded`` the dependencies done without and ``scripts`` the packages whose maintainer scripts
    are not run, each with the reason. ``server`` are the Jupyter server's requirements (PEP 508).
    ``digest`` is that of the recipe's text.

    With an ``image`` the base is that one of a registry, under its ``name``; ``python`` and ``glibc`` are
    what it has, and ``packages`` of ``suite`` are what files are added to it from.
    """

    name: str
    python: str
    suite: str
    glibc: str
    platforms: tuple[str, ...]
    packages: tuple[str, ...]
    excluded: Mapping[str, str]
    scripts: Mapping[str, str]
    server: tuple[str, ...]
    digest: str
    image: BaseImage | None = None

    @property
    def python_minor(self) -> str:
        """``3.11`` of ``3.11.2``."""
        return ".".join(self.python.split(".")[:2])


def base_images() -> Path:
    """The folder with the recipes: in the installed package, or beside it in a source checkout.

    Raises:
        MachineError: this installation has none.
    """
    package = Path(str(resources.files("envbuild")))
    for folder in (package / "_base_images", package.parent / "base-images"):
        if folder.is_dir():
            return folder
    raise MachineError(
        "this installation of envbuild has no base image recipes",
        code="broken-installation",
        remedy="install envbuild again",
    )


def debian_keyring() -> Path:
    """The Debian archive's public keys, as in the package debian-archive-keyring."""
    return base_images() / "keys" / "debian-archive-keyring.gpg"


def load_recipes(folder: Path | None = None) -> tuple[BaseRecipe, ...]:
    """The recipes of ``folder`` (default: :func:`base_images`), oldest Python first."""
    files = sorted((folder or base_images()).glob("*/base.toml"))
    recipes = [_read(file.parent.name, file.read_bytes()) for file in files]
    return tuple(sorted(recipes, key=lambda recipe: (Version(recipe.python), recipe.name)))


def recipe_named(name: str) -> BaseRecipe:
    """The recipe a lock names.

    Raises:
        MachineError: this version of envbuild does not have it.
    """
    for recipe in load_recipes():
        if recipe.name == name:
            return recipe
    raise MachineError(
        f"this version of envbuild has no base image recipe `{name}`",
        code="unknown-base",
        remedy="use the version of envbuild that wrote the lock, or run `envbuild lock --upgrade-base`",
    )


def _read(name: str, text: bytes) -> BaseRecipe:
    table: dict[str, Any] = tomli.loads(text.decode())
    packages = table["packages"]
    return BaseRecipe(
        name=name,
        python=table["python"],
        suite=table["suite"],
        glibc=table["glibc"],
        platforms=tuple(table["platforms"]),
        packages=tuple(packages["include"]),
        excluded=packages["exclude"],
        scripts=packages["scripts"],
        server=tuple(table["server"]["requirements"]),
        digest=hashlib.sha256(text).hexdigest(),
    )


def choose(
    requests: Sequence[PythonRequest], recipes: Sequence[BaseRecipe], *, required: bool = True
) -> BaseRecipe:
    """The recipe that fits every request: the one most hints wish for, else the newest Python.

    Parameters:
        required: whether the base's Python is the one asked for; with conda, which brings its own, a request
            that no recipe fits is passed over.

    Raises:
        RepoError: no recipe fits; names the file and line that rules the last ones out, and what is offered.
    """
    fitting = list(recipes)
    for request in requests:
        if request.hint:
            continue
        left = [recipe for recipe in fitting if _admits(request, recipe.python)]
        if not left and not required:
            continue
        if not left:
            raise _not_offered(request, recipes)
        fitting = left
    hints = [request for request in requests if request.hint]
    return max(
        fitting,
        key=lambda recipe: (
            sum(_admits(hint, recipe.python) for hint in hints),
            Version(recipe.python),
            recipe.name,
        ),
    )


def check_python(requests: Sequence[PythonRequest], python: str, recipe: BaseRecipe) -> tuple[Problem, ...]:
    """Whether the exact version ``python`` is what every request (hints aside) asks for.

    Parameters:
        recipe: of the base that has it.

    Returns:
        A note for each file that names another patch release in passing (``runtime.txt``).

    Raises:
        RepoError: a request rules ``python`` out.
    """
    notes = []
    for request in requests:
        if request.hint:
            continue
        if not _admits(request, python):
            raise _not_offered(request, [replace(recipe, python=python)])
        if not _specifier(request).contains(python, prereleases=True):
            notes.append(
                Problem(
                    level="note",
                    code="python-patch",
                    message=f"asks for Python {request.specifier}; the image has {python}",
                    file=request.file,
                    line=request.line,
                )
            )
    return tuple(notes)


def _specifier(request: PythonRequest) -> SpecifierSet:
    try:
        return SpecifierSet(request.specifier)
    except InvalidSpecifier as error:
        raise RepoError(
            f"`{request.specifier}` is not a Python version specifier",
            code="bad-python-version",
            file=request.file,
            line=request.line,
            remedy="write it like `>=3.11,<3.14`",
        ) from error


def _admits(request: PythonRequest, python: str) -> bool:
    """Whether ``python`` will do. Hints and copied versions only count up to the minor release."""
    specifier = _specifier(request)
    if specifier.contains(python, prereleases=True):
        return True
    if not (request.hint or PurePosixPath(request.file).name in _LOOSE_FILES):
        return False
    exact = [Version(one.version) for one in specifier if one.operator == "==" and "*" not in one.version]
    return len(exact) == len(specifier) == 1 and exact[0].release[:2] == Version(python).release[:2]


def _not_offered(request: PythonRequest, recipes: Sequence[BaseRecipe]) -> RepoError:
    offered = [recipe.python for recipe in recipes]
    if recipes[0].image is not None:
        return RepoError(
            f"asks for Python {request.specifier}, and the base {recipes[0].name} has {offered[0]}",
            code="python-not-offered",
            file=request.file,
            line=request.line,
            remedy="name a base with such a Python (`--base`, or the setting `base`), or allow this one",
        )
    return RepoError(
        f"asks for Python {request.specifier}, which no base image offers (there is {', '.join(offered)})",
        code="python-not-offered",
        file=request.file,
        line=request.line,
        remedy=f"allow one of these, try one with `--python {offered[-1].rpartition('.')[0]}`, or declare the"
        " environment in an environment.yml: conda brings any Python",
    )
