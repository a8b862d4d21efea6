"""Languages other than Python: what gives a repository's notebooks a kernel for one.

A kernel needs an interpreter, which the repository has to ask for, and the program that speaks Jupyter's
protocol for it, which envbuild adds by itself when only that is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from envbuild.pack import recipe

__all__ = ["Packages", "Place", "Way", "chosen_way", "installed_way", "known_language", "remedy"]

Place = Literal["apt", "conda", "index"]
"""Where a package is from: ``apt.txt``, conda, or the package index of Python."""

Packages = Mapping[Place, Iterable[str]]
"""Names of packages by where they are from; those of the index are canonical (PEP 503).

Channels do not agree on what is in one: a name of conda may have "-" or "_" (``bash_kernel``).
"""

_PYTHON = f"/{recipe.ENV_PREFIX}/bin/python3"
_IRKERNEL = ("--no-echo", "-e", "IRkernel::main()", "--args", "{connection_file}")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to have a kernel for ``language`` (lower case; ``display_name`` is for people).

    ``interpreter`` matches the names of packages from ``place`` that bring the language, None when every
    image has it. ``kernel`` is the package that speaks the protocol, and where it is from; what
    the index has may be from conda as well. ``argv`` starts the kernel, without a shell. ``default`` is the
    usual name of the kernelspec.
    """

    language: str
    display_name: str
    default: str
    place: Place
    interpreter: str | None
    kernel: tuple[Place, str]
    argv: tuple[str, ...]

    @property
    def language_name(self) -> str:
        """The language as kernelspecs state it, which Jupyter compares letter by letter."""
        return "R" if self.language == "r" else self.language

    @property
    def variables(self) -> Mapping[str, str]:
        """What its kernelspec sets, so that nothing in ``$HOME`` counts."""
        if self.language == "r":
            return recipe.R_KERNEL_VARIABLES
        return recipe.PYTHON_KERNEL_VARIABLES if self.argv[0] == _PYTHON else {}

    def offers(self, packages: Packages) -> bool:
        """Whether ``packages`` bring the language."""
        if self.interpreter is None:
            return True
        return any(re.fullmatch(self.interpreter, name) for name in _names(packages, self.place))

    def is_complete(self, packages: Packages) -> bool:
        """Whether ``packages`` have the kernel too."""
        place, name = self.kernel
        return name in _names(packages, place) or (place == "index" and name in _names(packages, "conda"))


def _names(packages: Packages, place: Place) -> set[str]:
    names = set(packages.get(place, ()))
    return {name.replace("_", "-") for name in names} if place == "conda" else names


def _on_ipykernel(module: str) -> tuple[str, ...]:
    return (_PYTHON, "-m", module, "-f", "{connection_file}")


def _xeus(language: str, display_name: str, package: str, default: str, *options: str) -> Way:
    """A conda package that is interpreter and kernel in one (https://xeus.readthedocs.io)."""
    program = f"/{recipe.ENV_PREFIX}/bin/{package.replace('xeus-', 'x').replace('xcling', 'xcpp')}"
    argv = (program, "-f", "{connection_file}", *options)
    return Way(language, display_name, default, "conda", re.escape(package), ("conda", package), argv)


_R_OF_DEBIAN = r"r-base|r-base-core|r-recommended|r-(?:cran|bioc|other)-.+"

_WAYS = (
    Way("r", "R", "ir", "apt", _R_OF_DEBIAN, ("apt", "r-cran-irkernel"), ("/usr/bin/R", *_IRKERNEL)),
    _xeus("r", "R", "xeus-r", "xr"),
    Way(
        "r",
        "R",
        "ir",
        "conda",
        "r-.+",
        ("conda", "r-irkernel"),
        (f"/{recipe.ENV_PREFIX}/bin/R", *_IRKERNEL),
    ),
    Way(
        "octave",
        "Octave",
        "octave",
        "apt",
        "octave",
        ("index", "octave-kernel"),
        _on_ipykernel("octave_kernel"),
    ),
    Way(
        "octave",
        "Octave",
        "octave",
        "conda",
        "octave",
        ("index", "octave-kernel"),
        _on_ipykernel("octave_kernel"),
    ),
    Way(
        "bash",
        "Bash",
        "bash",
        "index",
        None,
        ("index", "bash-kernel"),
        _on_ipykernel("bash_kernel"),
    ),
    _xeus("c++", "C++", "xeus-cpp", "xcpp17", "-std=c++17"),
    _xeus("c++", "C++", "xeus-cling", "xcpp17", "-std=c++17"),
    _xeus("lua", "Lua", "xeus-lua", "xlua"),
    _xeus("sql", "SQL", "xeus-sql", "xsql"),
)

_REMEDIES = {
    "r": "add r-cran-irkernel to apt.txt, or r-irkernel to environment.yml",
    "octave": "add octave to apt.txt, or to environment.yml",
    "c++": "add xeus-cpp to environment.yml",
    "lua": "add xeus-lua to environment.yml",
    "sql": "add xeus-sql to environment.yml",
}


def known_language(language: str) -> Way | None:
    """What is known of ``language``, however it is had: one of its ways, None when there is none."""
    return next((way for way in _WAYS if way.language == language), None)


def chosen_way(language: str, packages: Packages) -> Way | None:
    """The way to a kernel for ``language`` (lower case) in a repository that asks for ``packages``.

    One that lacks nothing comes first; otherwise :attr:`Way.kernel` is to be added.

    >>> chosen_way("r", {"apt": {"r-base"}}).kernel
    ('apt', 'r-cran-irkernel')
    >>> chosen_way("r", {"apt": {"git"}}) is None
    True
    """
    offered = [way for way in _WAYS if way.language == language and way.offers(packages)]
    return next((way for way in offered if way.is_complete(packages)), offered[0] if offered else None)


def installed_way(language: str, packages: Packages) -> Way | None:
    """The way to a kernel for ``language`` where ``packages`` are installed, None when they have none."""
    way = chosen_way(language, packages)
    return way if way is not None and way.is_complete(packages) else None


def remedy(language: str) -> str:
    """What to do when a repository has a notebook in ``language`` and nothing that runs it."""
    return _REMEDIES.get(language, "move the notebook out of the repository, or give it another kernel")
