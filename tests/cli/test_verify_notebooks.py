"""The arguments of ``envbuild verify --notebooks``, and what it prints."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from envbuild.cli.console import Console
from envbuild.cli.main import run
from envbuild.cli.reproducing import _cell, _print
from envbuild.cli.reproducing_documents import reproduced_document
from envbuild.errors import RepoError
from envbuild.outputs.compare import Difference
from envbuild.outputs.verdict import CellVerdict, NotebookVerdict

DIFFERS = CellVerdict(
    4,
    2,
    "x",
    "differs",
    (Difference("stdout", "text", "number 0.6 instead of 0.5 (20 %)", lines=("-0.5", "+0.6")),),
)
WIDGET = CellVerdict(5, 3, "x", "same", skipped=("output 1: a widget",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.ipynb"], "to verify notebooks, add --notebooks"),
        (["--report", "x.html"], "--report goes with --notebooks"),
        (["--accept"], "--accept goes with --notebooks"),
        (["--notebooks", "--image", "x"], "--notebooks goes with neither --image nor --key nor --signature"),
        (["--notebooks", "--relative-tolerance", "-1"], "-1.0 is not in the range x>=0"),
        (["--notebooks", "--sanitize-with", "nowhere"], "'nowhere' does not exist"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == run(["verify", *arguments])
    assert message in capsys.readouterr().err


def test_a_file_of_replacements_is_read_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sanitize.cfg").write_text("regex: (\nreplace: a\n")

    assert 2 == run(
        ["verify", "--notebooks", str(tmp_path), "--sanitize-with", str(tmp_path / "sanitize.cfg")]
    )
    assert "sanitize.cfg:1: 'regex: (' is not a replacement" in capsys.readouterr().err


def test_a_repository_without_notebooks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "requirements.txt").write_text("")

    assert 2 == run(["verify", "--notebooks", str(tmp_path), "--cache-dir", str(tmp_path / "cache")])
    assert "there is no notebook in the repository" in capsys.readouterr().err


class _Session:
    def __init__(self) -> None:
        self.console = Console(environment={})


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (
            NotebookVerdict("a.ipynb", "same", (WIDGET,)),
            "same: a.ipynb: 1 cell, 1 not comparable\n"
            "  cell 5 (In [3]) output 1: a widget: cannot be compared\n",
        ),
        (
            NotebookVerdict("a.ipynb", "differs", (DIFFERS, WIDGET, CellVerdict(6, 4, "x", "not-executed"))),
            "differs: a.ipynb: 1 of 2 cells, 1 not executed, 1 not comparable\n"
            "  cell 4 (In [2]) stdout: number 0.6 instead of 0.5 (20 %)\n"
            "    -0.5\n"
            "    +0.6\n"
            "  cell 5 (In [3]) output 1: a widget: cannot be compared\n",
        ),
        (
            NotebookVerdict("a.ipynb", "nothing-stored"),
            "nothing to compare: a.ipynb: executed; it has no stored outputs\n",
        ),
        (NotebookVerdict("a.ipynb", "skipped"), "skipped: a.ipynb: as the configuration says\n"),
        (NotebookVerdict("a.ipynb", "failed", error=RepoError("x", code="cell-failed")), "failed: a.ipynb\n"),
    ],
)
def test_what_is_printed(verdict: NotebookVerdict, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    _print(_Session(), verdict)  # type: ignore[arg-type]

    assert expected == capsys.readouterr().out


def test_a_long_difference_is_cut() -> None:
    long = Difference("stdout", "text", "many", lines=tuple(f"-{number}" for number in range(30)))
    lines = _cell(CellVerdict(1, 1, "x", "differs", (long,)), 20)

    assert (22, "    … and 10 more lines (--verbose, --report)") == (len(lines), lines[-1])


def test_a_notebook_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = Difference("stdout", "text", "\x1b[2J", lines=("-\x1b]0;x\x07",))
    _print(_Session(), NotebookVerdict("a.ipynb", "differs", (CellVerdict(1, 1, "x", "differs", (evil,)),)))  # type: ignore[arg-type]

    assert "\x1b" not in capsys.readouterr().out


def test_the_document_is_described() -> None:
    """Every key is in docs/schemas.md."""
    error = RepoError("outputs differ", code="outputs-differ", file="a.ipynb")
    document = reproduced_document(
        [NotebookVerdict("a.ipynb", "differs", (DIFFERS, WIDGET), error)],
        error="outputs-differ",
        engine="bubblewrap",
        accepted=["a.ipynb"],
        report=Path("out.html"),
        seconds={},
    )

    assert document == json.loads(json.dumps(document))
    schemas = (Path(__file__).parents[2] / "docs" / "schemas.md").read_text()
    section = schemas.partition("## verify --notebooks\n")[2].partition("\n## ")[0]
    described = set(re.findall(r"`([a-z_]+)(?:\[\])?`", section))
    assert set() == _keys(document) - described


def _keys(value: Any) -> set[str]:
    if isinstance(value, list):
        return {key for item in value for key in _keys(item)}
    if not isinstance(value, dict):
        return set()
    return set(value) | {key for name, inner in value.items() if name != "error" for key in _keys(inner)}
