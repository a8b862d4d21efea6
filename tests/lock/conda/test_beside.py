"""Projects and other sources beside conda packages."""

from __future__ import annotations

import pytest

from envbuild.base.recipe import load_recipes
from envbuild.errors import RepoError
from envbuild.lock.conda.beside import check_sources
from envbuild.lock.conda.part import CondaPart
from envbuild.spec.model import SourceRequirement
from tests.lock.conda.test_wheels import package

BASE = load_recipes()[0]
PROJECT = SourceRequirement("path", ".", "environment.yml", 7, name="mine")


def part(*versions: str) -> CondaPart:
    """An environment for two platforms; "" is one without Python."""
    platforms = ("linux/amd64", "linux/arm64")
    return CondaPart(
        {
            platform: (package("python", version),) if version else ()
            for platform, version in zip(platforms, versions, strict=True)
        }
    )


def test_a_project_for_the_bases_python_is_built() -> None:
    check_sources([PROJECT], part(f"{BASE.python_minor}.0", f"{BASE.python_minor}.99"), BASE)


@pytest.mark.parametrize(
    ("other", "has"), [("3.8.1", "Python 3.8.1"), ("3.1", "Python 3.1"), ("", "no Python")]
)
def test_a_project_for_another_python_is_refused(other: str, has: str) -> None:
    with pytest.raises(RepoError) as caught:
        check_sources([PROJECT], part(f"{BASE.python_minor}.0", other), BASE)

    assert ("not-supported", "environment.yml", 7) == (
        caught.value.code,
        caught.value.file,
        caught.value.line,
    )
    assert f"mine cannot be built: conda's environment has {has} on linux/arm64" in caught.value.message
    assert f"python={BASE.python_minor}" in (caught.value.remedy or "")


def test_what_is_no_project_is_refused() -> None:
    source = SourceRequirement("vcs", "https://example.org/a", "environment.yml", 9, name="a")
    with pytest.raises(RepoError) as caught:
        check_sources([source], part(BASE.python, BASE.python), BASE)

    assert ("not-supported", 9) == (caught.value.code, caught.value.line)


def test_without_sources_any_python_will_do() -> None:
    check_sources([], part("3.8.1", ""), BASE)
