"""What ``envbuild verify-image`` prints, refuses and writes; without an engine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from envbuild.cli.main import run
from envbuild.conformance.model import Limits, Scenario
from envbuild.engine import Docker
from tests.conformance.platforms import SUBJECT, FakePlatform, FakeTrial, good

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas.md"


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> set[str]:
    """Ids of scenarios whose container ends; the engine is a fake."""
    broken: set[str] = set()

    def make(scenario: Scenario) -> FakeTrial:
        return FakeTrial(code=None, ended=3) if scenario.id in broken else good(scenario)

    def containers(engine: Docker, reference: str, name: str, limits: Limits, writable: Any) -> FakePlatform:
        assert ("sha256:0", "team/demo:1", 120) == (reference, name, limits.seconds)
        return FakePlatform(make)

    monkeypatch.setenv("ENVBUILD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(Docker, "unavailable", lambda self: None)
    monkeypatch.setattr("envbuild.conformance.finding.find_image", lambda text, engine, inspector: "sha256:0")
    monkeypatch.setattr("envbuild.conformance.containers.Containers", containers)
    return broken


def test_all_pass(fails: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["verify-image", "team/demo:1", "--engine", "docker"])

    lines = capsys.readouterr().out.splitlines()
    assert ["image     team/demo:1", "image ID  sha256:0", "engine    docker"] == lines[:3]
    assert "passed  user                   USER 1000:100" == lines[4]
    assert "15 tests passed" == lines[-1]


def test_a_file_that_cannot_be_written_is_told_before_the_tests(
    fails: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()

    junit = str(tmp_path / "file" / "contract.xml")
    assert 3 == run(["verify-image", "team/demo:1", "--engine", "docker", "--junit", junit])

    shown = capsys.readouterr()
    assert "" == shown.out
    assert f"{junit}: this cannot be written: Not a directory" in shown.err


def test_a_failure_says_what_was_seen_who_breaks_and_how_to_mend_it(
    fails: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fails.add("lab")
    assert 1 == run(
        ["verify-image", "team/demo:1", "--engine", "docker", "--only", "jupyter-lab", "--only", "home"]
    )

    lines = capsys.readouterr().out.splitlines()[4:]
    assert [
        "FAILED       jupyter-lab  it ended with exit code 3 before it answered",
        "not checked  home         it needs `jupyter-lab`",
        "",
        "jupyter-lab: jupyter-lab answers",
        "  seen    it ended with exit code 3 before it answered",
        "  breaks  BinderHub, `envbuild up`, hubs that start it as `cmd`",
        "  mend    install jupyterlab, with jupyter-lab on PATH",
        "  its output ended with",
        "    the end of the log",
        "",
        "0 tests passed, 1 failed, 1 not checked",
    ] == lines


def test_the_document_is_as_described(
    fails: set[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fails.add("home")
    junit = tmp_path / "new" / "contract.xml"
    arguments = ["verify-image", "team/demo:1", "--engine", "docker", "--json", "--junit", str(junit)]
    assert 1 == run([*arguments, "--only", "user", "--only", "home"])

    document = json.loads(capsys.readouterr().out)
    section = re.search(r"^## verify-image\n(.*?)(?=^## )", SCHEMAS.read_text("utf-8"), re.DOTALL | re.M)
    assert section is not None
    rows = re.findall(r"^\| ((?:`[a-z_]+(?:\[\])?`(?:, )?)+) \|", section[1], re.M)
    assert set(document) == {name for row in rows for name in re.findall(r"`([a-z_]+)", row)}
    assert set(document["tests"][0]) <= set(re.findall(r"`([a-z_]+)`", section[1]))
    assert (False, ["passed", "failed"]) == (
        document["passed"],
        [test["state"] for test in document["tests"]],
    )
    assert list(SUBJECT.places) == document["places"]
    assert b'failures="1"' in junit.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--only", "hom"], 2, "no-such-test"),
        (["--engine", "bubblewrap"], 2, "unfit-engine"),
        (["--writable", "var"], 2, "usage"),
        (["--writable", "/"], 2, "usage"),
        (["--memory", "1M"], 2, "usage"),
        (["--junit", "/dev/null/report.xml", "--only", "user"], 3, "not-writable"),
    ],
)
def test_refusals(
    fails: set[str], capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, error: str
) -> None:
    assert code == run(["verify-image", "team/demo:1", "--json", "--engine", "docker", *arguments])

    assert error == json.loads(capsys.readouterr().out)["error"]
