"""runtime.txt, .python-version and specifiers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuild.source import Repo
from envbuild.spec.findings import Findings
from envbuild.spec.model import PythonRequest
from envbuild.spec.python_version import is_specifier, read_python_version, read_runtime_txt, specifier_of
from tests.spec.conftest import Files

MakeRepo = Callable[[Files], Repo]


@pytest.mark.parametrize(
    ("content", "specifier", "codes"),
    [
        ("python-3.11", "==3.11.*", []),
        ("python-3.11\n", "==3.11.*", []),
        ("python-3.11.4\r\n", "==3.11.*", ["python-patch-release"]),
        ("\ufeffpython-3.13", "==3.13.*", []),
        ("r-4.1-2021-03-29", None, []),
        ("julia-1.9", None, []),
        ("python-three", None, ["bad-runtime"]),
        ("python-٣.٤", None, ["bad-runtime"]),
        ("", None, ["bad-runtime"]),
        (b"\xff", None, ["bad-encoding"]),
    ],
)
def test_runtime_txt(
    make_repo: MakeRepo, findings: Findings, content: str | bytes, specifier: str | None, codes: list[str]
) -> None:
    request = read_runtime_txt(make_repo({"runtime.txt": content}), "runtime.txt", findings)

    assert (PythonRequest(specifier, "runtime.txt", 1) if specifier else None) == request
    assert codes == [problem.code for problem in findings.problems]


@pytest.mark.parametrize(
    ("content", "request_", "codes"),
    [
        ("3.11", ("==3.11.*", 1), []),
        ("# why\n\n 3.11 \n3.12", ("==3.11.*", 3), []),
        ("3.11.7", ("==3.11.*", 1), ["python-patch-release"]),
        ("cpython@3.11", ("==3.11.*", 1), []),
        ("cpython-3.11", ("==3.11.*", 1), []),
        (">=3.11,<3.13", (">=3.11,<3.13", 1), []),
        ("pypy3.10", None, ["not-supported-yet"]),
        ("3.13t", None, ["not-supported-yet"]),
        ("my-environment", None, ["python-version-ignored"]),
        ("", None, []),
    ],
)
def test_python_version_file(
    make_repo: MakeRepo, findings: Findings, content: str, request_: tuple[str, int] | None, codes: list[str]
) -> None:
    request = read_python_version(make_repo({".python-version": content}), ".python-version", findings)

    assert (PythonRequest(request_[0], ".python-version", request_[1]) if request_ else None) == request
    assert codes == [problem.code for problem in findings.problems]
    assert [request_ is not None] == [file.used for file in findings.files]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_any_bytes_are_read(make_repo: MakeRepo, content: bytes) -> None:
    repo = make_repo({"file": content})
    for read in (read_runtime_txt, read_python_version):
        request = read(repo, "file", Findings())
        assert request is None or is_specifier(request.specifier)


@pytest.mark.parametrize("value", [None, 3.11, "snake", "3.11", ">=" + "9" * 5000, ">=1" + ",>=1" * 100])
def test_what_is_no_specifier(value: object) -> None:
    assert not is_specifier(value)


@given(st.text())
def test_any_text_is_a_specifier_or_not(text: str) -> None:
    specifier = specifier_of(text)
    assert specifier is None or is_specifier(specifier)
