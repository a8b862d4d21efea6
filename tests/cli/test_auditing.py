"""Which commands are recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envbuild.cli.main import run


def test_a_build_that_fails_is_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audit = tmp_path / "audit.jsonl"
    repository = tmp_path / "demo"
    repository.mkdir()
    (repository / "requirements.txt").write_text("numpy\n")

    code = run(["build", str(repository), "--locked", "--audit-log", str(audit), "--actor", "alice"])

    (line,) = [json.loads(text) for text in audit.read_text().splitlines()]
    assert 1 == code
    assert ("build", "failed", "lock-missing", "alice", {"directory": str(repository)}) == (
        line["action"],
        line["outcome"],
        line["error"],
        line["actor"]["claimed"],
        line["source"],
    )


def test_a_build_that_cannot_be_recorded_does_not_begin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["build", str(tmp_path / "none"), "--audit-log", str(tmp_path / "no" / "audit"), "--json"])

    assert (3, "audit-not-written") == (code, json.loads(capsys.readouterr().out)["error"])


def test_other_verbs_are_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVBUILD_AUDIT_LOG", str(tmp_path / "audit"))

    run(["plan", str(tmp_path / "none")])

    assert not (tmp_path / "audit").exists()


def test_a_repository_may_not_say_where_it_is_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "envbuild.toml").write_text('audit-log = "/tmp/elsewhere"\n')

    assert 1 == run(["plan", str(tmp_path), "--json"])
    assert "setting-not-allowed" == json.loads(capsys.readouterr().out)["error"]
