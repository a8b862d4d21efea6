"""``envbuild report``: where the page goes, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from envbuild.builder.make import EngineBuilt
from envbuild.cli.main import run
from envbuild.store import Store
from envbuild.store.images import record_image
from tests.inspection.conftest import LOCK, Studio
from tests.report.examples import wheel_files
from tests.support.images import make_image


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory, and an image in the cache."""
    monkeypatch.setattr("envbuild.inspection.inspector.host_platform", lambda: "linux/amd64")
    store = Store(tmp_path / "cache")
    store.prepare()
    image = Studio(store).image(LOCK)
    record_image(store, "demo:latest", image.platform, image.manifest)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_of_an_image(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Written to a file, printed, and described: always the same."""
    assert 0 == run(["report", "--image", "demo:latest", "-o", "report.html"])
    assert 0 == run(["report", "--image", "demo:latest", "-q"])
    printed = capsys.readouterr().out
    assert 0 == run(["report", "--image", "demo:latest", "--json"])
    document = json.loads(capsys.readouterr().out)

    written = (here / "report.html").read_bytes()
    assert written.decode() == printed
    assert "sha256:" + hashlib.sha256(written).hexdigest() == document["digest"]
    assert ["demo", "Demo", None, None] == [document[key] for key in ("name", "title", "output", "notebooks")]
    assert {"numpy": "2.0", "pandas": "3.0"} == {one["name"]: one["version"] for one in document["packages"]}
    assert [None] == [one["licence"] for one in document["licences"]]


def test_the_time_is_told_when_it_is_asked_for(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["report", "--image", "demo:latest", "--with-time", "--json"])

    assert json.loads(capsys.readouterr().out)["made"].endswith("Z")


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("--image", "demo:latest", "--locked"), 2, "usage"),
        ((".", "--image", "demo:latest", "--runs", "."), 2, "usage"),
        (("--image", "demo:nowhere:", "-o", "x.html"), 2, "bad-image-name"),
        (("--image", "demo:latest", "-o", "/dev/null/x.html"), 3, "not-writable"),
        (("--image", "demo:latest", "--platform", "linux/arm64"), 2, "no-such-platform"),
        (("--image", "cache:other"), 2, "no-image-there"),
        (("--image", "."), 2, "not-an-image"),
        (("--locked",), 1, "lock-missing"),
    ],
)
def test_what_cannot_be_is_said(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, error: str
) -> None:
    (here / "requirements.txt").write_text("numpy\n")

    assert code == run(["report", *arguments, "--json"])

    assert error == json.loads(capsys.readouterr().out)["error"]


def test_a_repository_that_an_engine_builds(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no lock: packages are what package managers have noted."""
    image = make_image(Store(here / "cache"), [wheel_files("six", "1.17", "six.py", site="opt/lib")])
    monkeypatch.setattr("envbuild.cli.session.Session.engine_built", lambda *_: EngineBuilt(image, (), "key"))
    monkeypatch.setattr("envbuild.base.host.host_platform", lambda: "linux/amd64")
    repository = here / "repository"
    repository.mkdir()
    (repository / "Dockerfile").write_text("FROM scratch\n")

    assert 0 == run(["report", str(repository), "--json"])

    document = json.loads(capsys.readouterr().out)
    assert [("six", "environment")] == [(one["name"], one["part"]) for one in document["packages"]]
    assert ["Asked for in", "Image ID"] == [fact["name"] for fact in document["facts"]]
    assert "envbuild up" == document["commands"][0]["command"]
    assert 2 == len(document["unknown"])


def test_a_terminal_gets_no_page(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)

    assert 2 == run(["report", "--image", "demo:latest"])
