"""The ``pip:`` section beside what conda brings."""

from __future__ import annotations

import pytest

from envbuild.errors import RepoError
from envbuild.lock.conda.part import CondaPart
from envbuild.lock.conda.wheels import BesideConda
from envbuild.lock.uv_process import Uv
from envbuild.spec.conda_locked import LockedCondaPackage
from tests.lock.conftest import lines
from tests.support.index import Index, make_wheel


def package(
    name: str, version: str, *depends: str, noarch: str = "", purls: tuple[str, ...] = ()
) -> LockedCondaPackage:
    """A conda package of which only this matters."""
    filename = f"{name}-{version}-0.conda"
    return LockedCondaPackage(
        name, version, "0", "lab", "noarch", filename, "0" * 64, "", 1, noarch, depends, 1, purls
    )


PART = CondaPart(
    {
        "linux/amd64": (
            package("python", "3.12.4"),
            package("library", "1.0"),
            package("numeric", "1.26.4", "python >=3.12"),
            package("pytorch", "2.5.0", "python", purls=("pkg:pypi/torch@2.5.0?source=x",)),
            package("pure_py", "3.0", noarch="python"),
            package("odd", "1.1.1w", "python"),
        )
    }
)


def test_what_conda_provides() -> None:
    """What is not a Python package, or has no version pip knows, is not there for pip."""
    assert {"numeric": "1.26.4", "torch": "2.5.0", "pure-py": "3.0"} == PART.provided("linux/amd64")
    assert "3.12.4" == PART.python("linux/amd64")


def test_only_what_conda_lacks_is_added(index: Index, uv: Uv) -> None:
    index.add(make_wheel("app", requires=["numeric>=1,<=1.26.4", "torch==2.5.0", "helper"]))
    index.add(make_wheel("helper", requires=["pure_py>=2"]))
    index.add(make_wheel("numeric", "1.26.4", requires=["never"]))
    index.add(make_wheel("numeric", "2.0"))
    index.add(make_wheel("torch", "2.5.0", requires=["never"]))
    pins = BesideConda(uv, PART).resolve(lines("app"), python="3.11.2", glibc="2.36", platform="linux/amd64")

    assert ["app", "helper"] == [pin.name for pin in pins]


def test_the_python_is_condas(index: Index, uv: Uv) -> None:
    index.add(make_wheel("app", "1.0", tag="cp311-cp311-manylinux_2_17_x86_64"))
    index.add(make_wheel("app", "1.0", tag="cp312-cp312-manylinux_2_17_x86_64"))
    (pin,) = BesideConda(uv, PART).resolve(
        lines("app"), python="3.11.2", glibc="2.36", platform="linux/amd64"
    )

    assert "app-1.0-cp312-cp312-manylinux_2_17_x86_64.whl" == pin.filename


def test_a_contradiction_to_conda_names_the_line(index: Index, uv: Uv) -> None:
    index.add(make_wheel("numeric", "2.0"))
    with pytest.raises(RepoError) as caught:
        BesideConda(uv, PART).resolve(
            lines("numeric>=2"), python="3.11.2", glibc="2.36", platform="linux/amd64"
        )

    assert "requirements.txt:1" == caught.value.place


def test_with_a_date(index: Index, uv: Uv) -> None:
    index.add(make_wheel("app", requires=["numeric"]), uploaded="2024-01-01T00:00:00Z")
    pins = BesideConda(uv, PART).resolve(
        lines("app"),
        python="3.11.2",
        glibc="2.36",
        platform="linux/amd64",
        exclude_newer="2025-01-01T00:00:00Z",
    )

    assert ["app"] == [pin.name for pin in pins]
