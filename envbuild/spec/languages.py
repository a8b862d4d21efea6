"""Notebooks in other languages than Python: which kernels they want, and what has to be added for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from envbuild.kernel.languages import Packages, Way, chosen_way, known_language, remedy
from envbuild.source.text import quote
from envbuild.spec.findings import Findings
from envbuild.spec.model import AptPackage, CondaRequest, Notebook, OtherKernel, Requirement
from envbuild.spec.notebook import PYTHON_LANGUAGES
from envbuild.spec.pep508 import parse_requirement

__all__ = ["Kernels", "read_kernels"]


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels that are not Python's, and what envbuild adds so that they can be had.

    ``requirements`` are names of the package index; ``apt`` and ``conda`` are what was asked for already, and
    what is added.
    """

    kernels: tuple[OtherKernel, ...]
    requirements: tuple[str, ...]
    apt: tuple[AptPackage, ...]
    conda: CondaRequest | None


def read_kernels(
    notebooks: Iterable[Notebook],
    *,
    apt: tuple[AptPackage, ...],
    conda: CondaRequest | None,
    requirements: Iterable[Requirement],
    locked: frozenset[str],
    conda_locked: bool = False,
    findings: Findings,
) -> Kernels:
    """The kernels of ``notebooks`` that are not in Python, one for each name.

    A language that cannot be had is a warning in ``findings``: other notebooks run without it, and who wants
    all of them to builds with ``--strict``. What is added is a note.

    Parameters:
        locked: canonical names in a lock that is adopted; ``conda_locked`` whether conda's are among them.
    """
    asked_of_conda = {_conda_name(package.text) for package in conda.packages} if conda else set()
    packages: Packages = {
        "apt": {package.name for package in apt},
        "conda": asked_of_conda | (locked if conda_locked else frozenset()),
        "index": locked
        | {parsed.name for item in requirements if (parsed := parse_requirement(item.text)) is not None},
    }
    python = {"python3": "every environment"} | {
        (notebook.kernel or "python3").lower(): notebook.path
        for notebook in notebooks
        if (notebook.language or "python").lower() in PYTHON_LANGUAGES
    }
    found: dict[str, OtherKernel] = {}
    added: dict[Way, str] = {}
    for notebook in notebooks:
        language = (notebook.language or "python").lower()
        if language in PYTHON_LANGUAGES:
            continue
        way = chosen_way(language, packages)
        # A lock is not added to.
        if way is None or (conda_locked and way.kernel[0] == "conda" and not way.is_complete(packages)):
            _refuse(notebook, findings)
            continue
        kernel = OtherKernel(notebook.kernel or way.default, language, notebook.path)
        known = found.setdefault(kernel.name.lower(), kernel)
        other = python.get(kernel.name.lower(), known.notebook if known.language != language else None)
        if other is not None:
            findings.error(
                "kernel-conflict",
                f"the kernel {quote(kernel.name)} is for {way.display_name} here"
                f" and for another language in {other}",
                notebook.path,
                remedy="choose another kernel in Jupyter for one of them, and save",
            )
        elif not way.is_complete(packages):
            added.setdefault(way, notebook.path)
    for way, path in added.items():
        findings.note(
            "kernel-added",
            f"{way.kernel[1]} is added, because this notebook is in {way.display_name}",
            path,
        )
    more = {way.kernel: path for way, path in added.items()}
    from_apt = (AptPackage(name, path, None) for (place, name), path in more.items() if place == "apt")
    from_conda = (Requirement(name, path) for (place, name), path in more.items() if place == "conda")
    return Kernels(
        tuple(found[name] for name in sorted(found)),
        tuple(sorted(name for place, name in more if place == "index")),
        (*apt, *from_apt),
        conda and replace(conda, packages=(*conda.packages, *from_conda)),
    )


def _refuse(notebook: Notebook, findings: Findings) -> None:
    language = (notebook.language or "").lower()
    known = known_language(language)
    name = known.display_name if known else quote(notebook.language or "")
    kernel = f" (kernel {quote(notebook.kernel)})" if notebook.kernel else ""
    findings.warning(
        "kernel-not-supported",
        f"this notebook is in {name}{kernel}, and nothing the repository declares brings a kernel for that",
        notebook.path,
        remedy=remedy(language),
    )


def _conda_name(text: str) -> str:
    """The name in a conda MatchSpec (``conda-forge::r-base >=4``), lower case."""
    name = text.rpartition("::")[2].strip()
    for character in " =<>!~[":
        name = name.partition(character)[0]
    return name.lower()
