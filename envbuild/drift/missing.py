"""What to add when a notebook imports what is not there."""

from __future__ import annotations

import re

from envbuild.drift.declaring import declaring_place, line_for_package
from envbuild.errors import RepoError
from envbuild.source import Repo
from envbuild.spec.imports import distribution_of, imported_name
from envbuild.spec.inference import local_modules
from envbuild.spec.model import Spec
from envbuild.spec.pep508 import canonical_name, parse_requirement

__all__ = ["with_package_named"]

_MISSING = re.compile(r"ModuleNotFoundError: No module named '([A-Za-z_][\w.]{0,199})'$", re.ASCII)


def with_package_named(error: RepoError, spec: Spec, repo: Repo) -> RepoError:
    """``error``, with a remedy that names the package and the file when a cell could not import a module.

    A module of the standard library, of the repository, or of a package that is declared already is no
    package's that could be added: then the error is returned as it is.
    """
    found = _MISSING.search(error.message) if error.code == "cell-failed" else None
    name = imported_name(found[1]) if found else ""
    if not name or name.split(".")[0] in local_modules(repo.files()):
        return error
    package = distribution_of(name)
    declared = {parsed.name for one in spec.requirements if (parsed := parse_requirement(one.text))}
    if not package or canonical_name(package) in declared:
        return error
    place = declaring_place(spec, repo)
    line = line_for_package(package, place)
    section = f", in {place.section}" if place.section else ""
    remedy = f"run `{line}`" if place.way == "command" else f"add `{line}` to {place.path}{section}"
    if place.new:
        remedy = f"declare the dependencies: make a {place.path} with `{line}` and what else is imported"
    return RepoError(
        error.message,
        code=error.code,
        file=error.file,
        line=error.line,
        remedy="; ".join(filter(None, [remedy, error.remedy])),
        detail=error.detail,
    )
