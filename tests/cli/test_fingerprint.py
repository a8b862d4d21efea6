"""Saved fingerprints on the command line; those of images are tested where they are taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envbuild.cli.main import run
from envbuild.fingerprint.program import fingerprint, text_of


@pytest.fixture(scope="module")
def taken() -> dict[str, Any]:
    return fingerprint()


@pytest.fixture
def saved(tmp_path: Path, taken: dict[str, Any]) -> Path:
    path = tmp_path / "saved.json"
    path.write_text(text_of(taken))
    return path


@pytest.fixture
def changed(tmp_path: Path, taken: dict[str, Any]) -> Path:
    """As it would be with another NumPy, where there are more processors."""
    packages = {**taken["environment"]["packages"], "demo\x1b": {"version": "1\n", "record": None}}
    environment = {**taken["environment"], "packages": packages}
    path = tmp_path / "changed.json"
    path.write_text(text_of({**taken, "environment": environment, "machine": {"processors": 640}}))
    return path


def test_a_saved_one_is_printed_as_it_was(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["fingerprint", str(saved)])
    assert saved.read_text() == capsys.readouterr().out


def test_the_same(saved: Path, taken: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["fingerprint", str(saved), "--against", str(saved)])
    assert f"the same: {taken['digest']}\n" == capsys.readouterr().out


def test_differences_are_named_and_what_is_only_the_machines_is_a_note(
    saved: Path, changed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 1 == run(["fingerprint", str(changed), "--against", str(saved)])
    printed = capsys.readouterr()
    assert "  + packages demo\\x1b  1\\n\n" == printed.out
    assert "on another machine: processors" in printed.err
    assert "640" in printed.err


def test_document(saved: Path, changed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 1 == run(["fingerprint", str(changed), "--against", str(saved), "--json"])
    document = json.loads(capsys.readouterr().out)
    added = {"what": "packages demo\x1b", "before": None, "after": {"version": "1\n", "record": None}}
    assert (False, [added]) == (document["same"], document["changes"])
    assert "processors" in [change["what"] for change in document["machine"]]


def test_altered_files_are_named(
    tmp_path: Path, taken: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    packages = {"demo": {"version": "1", "altered": {"demo.py": "changed"}}}
    path = tmp_path / "altered.json"
    path.write_text(text_of({**taken, "environment": {**taken["environment"], "packages": packages}}))

    assert 1 == run(["fingerprint", str(path)])
    assert "not as it was installed: demo: demo.py: changed" in capsys.readouterr().err


def test_a_file_that_is_none(tmp_path: Path, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none.json").write_text("{}")

    assert 2 == run(["fingerprint", str(saved), "--against", str(tmp_path / "none.json")])
    assert "is not a fingerprint" in capsys.readouterr().err
