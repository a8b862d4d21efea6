"""``envbuild export``: where the text goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envbuild.cli.main import run
from envbuild.lock.freshness import inputs_digest
from envbuild.lock.lockfile import dump_lock
from envbuild.source import Repo
from envbuild.spec import read_spec
from tests.support.locks import small_lock, small_wheel

EXPECTED = f"app==1.0 \\\n    --hash=sha256:{'0' * 64}\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a fresh lock."""
    monkeypatch.setenv("ENVBUILD_CACHE_DIR", str(tmp_path / "cache"))
    root = tmp_path / "demo"
    root.mkdir()
    (root / "requirements.txt").write_text("app\n")
    lock = small_lock(small_wheel("app", "1.0", direct=True), inputs=inputs_digest(read_spec(Repo(root))))
    (root / "envbuild.lock").write_bytes(dump_lock(lock))
    return root


def test_standard_output_has_the_text_alone(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["export", str(repository), "--format", "requirements", "--locked"])
    printed = capsys.readouterr()
    assert printed.out.endswith(EXPECTED)
    assert printed.out.startswith("# Made by")
    assert "" == printed.err


def test_a_file(repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.txt"
    arguments = [
        "export",
        str(repository),
        "--format",
        "requirements",
        "--locked",
        "-o",
        str(output),
        "--json",
    ]
    assert 0 == run(arguments)
    document = json.loads(capsys.readouterr().out)
    assert output.read_text().endswith(EXPECTED)
    assert ("requirements", str(output), ["linux/amd64"], None) == (
        document["format"],
        document["output"],
        document["platforms"],
        document["content"],
    )


def test_a_document_with_the_text(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["export", str(repository), "--format", "requirements", "--locked", "--json"])
    assert json.loads(capsys.readouterr().out)["content"].endswith(EXPECTED)


def test_a_platform_that_is_not_locked_is_stale(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", str(repository), "--format", "requirements", "--locked"]
    assert 1 == run([*arguments, "--platform", "linux/arm64"])
    assert "linux/arm64 is not locked" in capsys.readouterr().err
