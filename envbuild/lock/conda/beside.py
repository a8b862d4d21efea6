"""What may be beside conda packages though no index has it: projects of the repository, for one Python."""

from __future__ import annotations

from collections.abc import Iterable

from envbuild.base.recipe import BaseRecipe
from envbuild.errors import RepoError
from envbuild.lock.conda.part import CondaPart
from envbuild.spec.model import SourceRequirement

__all__ = ["check_sources"]


def check_sources(sources: Iterable[SourceRequirement], part: CondaPart, base: BaseRecipe) -> None:
    """Refuse what cannot be built for the environment: the base's Python builds, and conda's runs it.

    Raises:
        RepoError: one of ``sources`` is no project, or a project is for another Python than that of ``base``.
    """
    pythons = {platform: part.python(platform) for platform in sorted(part.packages)}
    for source in sources:
        if not source.is_project:
            raise RepoError(
                f"{source.name or source.location}: beside conda, packages are taken from an index only",
                code="not-supported",
                file=source.file,
                line=source.line,
                remedy="name a released version of the package",
            )
        for platform, version in pythons.items():
            if version is None or version.split(".")[:2] != base.python.split(".")[:2]:
                has = f"Python {version}" if version else "no Python"
                raise RepoError(
                    f"{source.name or source.location} cannot be built: conda's environment has {has} on"
                    f" {platform}, and projects are built by the base's Python, here {base.python_minor}",
                    code="not-supported",
                    file=source.file,
                    line=source.line,
                    remedy=f"ask for `python={base.python_minor}`, or use the project from"
                    " /srv/repo without installing it",
                )
