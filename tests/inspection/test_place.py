"""What names on the command line mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.errors import UsageError
from envbuild.inspection.place import Place, parse_place


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout" / "oci-layout").write_text("{}")
    (tmp_path / "project").mkdir()
    (tmp_path / "envbuild.lock").write_text("")
    (tmp_path / "image.tar").write_text("")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("oci:layout", Place("layout", "layout")),
        ("oci:layout:demo:1", Place("layout", "layout", "demo:1")),
        ("archive:image.tar", Place("archive", "image.tar")),
        ("archive:image.tar:demo:1", Place("archive", "image.tar", "demo:1")),
        ("cache:demo:1", Place("cache", "demo:1")),
        ("layout", Place("layout", "layout")),
        ("project", Place("source", "project")),
        (".", Place("source", ".")),
        ("./image.tar", Place("archive", "image.tar")),
        ("envbuild.lock", Place("lock", "envbuild.lock")),
        ("elsewhere/envbuild.lock", Place("lock", "elsewhere/envbuild.lock")),
        (".#main", Place("source", ".#main")),
        ("project#v1", Place("source", "project#v1")),
        ("https://example.org/team/repo", Place("source", "https://example.org/team/repo")),
        ("git+ssh://git@example.org/repo", Place("source", "git+ssh://git@example.org/repo")),
        ("10.5281/zenodo.1234", Place("source", "10.5281/zenodo.1234")),
        ("known", Place("cache", "known")),
        ("known:1", Place("registry", "known:1")),
        ("team/known", Place("registry", "team/known")),
        ("registry.example.org/known", Place("registry", "registry.example.org/known")),
        ("localhost/known", Place("registry", "localhost/known")),
        ("127.0.0.1:5000/known", Place("registry", "127.0.0.1:5000/known")),
        ("python:3.12-slim", Place("registry", "python:3.12-slim")),
        ("python@sha256:" + "0" * 64, Place("registry", "python@sha256:" + "0" * 64)),
    ],
)
def test_names(text: str, place: Place) -> None:
    cached = {"known", "registry.example.org/known", "localhost/known", "127.0.0.1:5000/known"}

    assert place == parse_place(text, cached.__contains__)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad-place"),
        ("a\0b", "bad-place"),
        ("./nothing", "no-such-place"),
        ("/nothing.tar", "no-such-place"),
        ("Not A Name", "bad-image-name"),
        ("x" * 5000, "bad-image-name"),
    ],
)
def test_what_is_no_name(text: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_place(text)
    assert code == caught.value.code
