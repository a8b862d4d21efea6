"""What is written beside notebooks: where, the digests of inputs, and JUnit's XML."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from envbuild.errors import RepoError, UsageError
from envbuild.notebook.execute import Executed
from envbuild.notebook.inputs import hash_inputs
from envbuild.notebook.junit import junit_report
from envbuild.notebook.places import check_places
from envbuild.progress import Silent
from envbuild.source import Repo

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class Warned(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("data/b.csv", "data/a.csv", "data/deep/c.csv", "data/x.txt", "a.csv", ".git/x.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "data/link.csv").symlink_to("/etc/passwd")
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], []),
        (["data/*.csv"], ["data/a.csv", "data/b.csv"]),
        (["data/"], ["data/a.csv", "data/b.csv", "data/deep/c.csv", "data/x.txt"]),
        (["*.csv"], ["a.csv", "data/a.csv", "data/b.csv", "data/deep/c.csv"]),
        (["/a.csv", "data/**/c.csv"], ["a.csv", "data/deep/c.csv"]),
    ],
)
def test_inputs_are_hashed_in_order(data: Path, patterns: list[str], expected: list[str]) -> None:
    assert dict.fromkeys(expected, EMPTY) == hash_inputs(Repo(data), patterns, Silent())
    assert expected == list(hash_inputs(Repo(data), patterns, Silent()))


def test_an_input_that_is_not_there_is_told(data: Path) -> None:
    reporter = Warned()

    assert {} == hash_inputs(Repo(data), ["missing.csv"], reporter)
    assert ["inputs: no file fits 'missing.csv'"] == reporter.warnings


def test_too_many_inputs(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envbuild.notebook.inputs._MOST_FILES", 1)

    with pytest.raises(RepoError) as caught:
        hash_inputs(Repo(data), ["*.csv"], Silent())

    assert "too-many-inputs" == caught.value.code


def test_what_is_no_pattern(data: Path) -> None:
    with pytest.raises(UsageError) as caught:
        hash_inputs(Repo(data), ["!data"], Silent())

    assert "bad-pattern" == caught.value.code


@pytest.mark.parametrize(
    ("notebooks", "output"),
    [
        (["a.ipynb", "a.executed.ipynb"], None),
        (["a.ipynb"], "."),
        (["a.ipynb", "sub/a.ipynb"], "./sub/.."),
    ],
)
def test_a_result_never_replaces_a_notebook(tmp_path: Path, notebooks: list[str], output: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        check_places(tmp_path, notebooks, tmp_path / output if output else None)

    assert "result-replaces-notebook" == caught.value.code


def test_notebooks_of_the_same_name_have_results_of_their_own(tmp_path: Path) -> None:
    check_places(tmp_path, ["a.ipynb", "sub/a.ipynb"], tmp_path / "out" / "deep")


def test_junit() -> None:
    failed = RepoError(
        "cell 3 failed: \x1b[31mZero\ud800 <&>", code="cell-failed", file="m/b.ipynb", detail="1/0"
    )
    died = RepoError("the kernel died", code="kernel-died", file="c.ipynb")
    results = [
        Executed("a.ipynb", Path("a"), None, seconds=1.5, cells=2),
        Executed("m/b.ipynb", None, failed),
        Executed("c.ipynb", None, died),
        Executed("d.ipynb", None, None, skipped=True),
    ]

    written = junit_report(results, seconds=2, properties={"image": "sha256:1"})

    suite = ElementTree.fromstring(written).find("testsuite")
    assert suite is not None
    assert {
        "name": "envbuild run",
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
        "time": "2.000",
    } == suite.attrib
    cases = suite.findall("testcase")
    assert [("notebooks", "a.ipynb", "1.500"), ("m", "m/b.ipynb", "0.000")] == [
        (case.get("classname"), case.get("name"), case.get("time")) for case in cases[:2]
    ]
    assert [[], ["failure"], ["error"], ["skipped"]] == [[child.tag for child in case] for case in cases]
    failure = cases[1][0]
    assert "cell 3 failed: \N{REPLACEMENT CHARACTER}[31mZero\N{REPLACEMENT CHARACTER} <&>" == failure.get(
        "message"
    )
    assert "1/0" in (failure.text or "")
