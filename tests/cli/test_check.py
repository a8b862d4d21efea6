"""``envbuild check`` as it is used: exit codes, formats, configuration, suppression, mending."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envbuild.cli.main import run
from tests.check.conftest import code, notebook

FILES = {
    "requirements.txt": "numpy\n",
    "a.ipynb": notebook(
        code("import numpy\n!pip install numpy\nopen('/home/alice/x')", id="x"), code("y", id="x"), minor=5
    ),
    "docs/b.ipynb": notebook("open('/home/alice/x')"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def codes(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> list[tuple[str, str | None]]:
    """Code and file of what ``check --json`` finds."""
    run(["check", str(root), "--json", *options])
    document = json.loads(capsys.readouterr().out)
    return [(finding["code"], finding["file"]) for finding in document["findings"]]


ALL = [
    ("EB101", None),
    ("EB601", "a.ipynb"),
    ("EB602", "a.ipynb"),
    ("EB405", "a.ipynb"),
    ("EB602", "docs/b.ipynb"),
]


def test_text(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["check", str(root), "--select", "EB602"])
    shown = capsys.readouterr()
    assert (
        "a.ipynb:11: EB602 warning: cell 1, line 3: `/home/alice/x` is in somebody's home directory\n"
        "  help: use a path relative to the notebook, or read it from a parameter\n"
        "docs/b.ipynb:9: EB602 warning: cell 1, line 1: `/home/alice/x` is in somebody's home directory\n"
        "  help: use a path relative to the notebook, or read it from a parameter\n"
    ) == shown.out
    assert "2 notebooks: 0 errors, 2 warnings, 0 notes\n" == shown.err


def test_exit_codes(root: Path) -> None:
    assert 0 == run(["check", str(root)])
    assert 1 == run(["check", str(root), "--strict"])
    (root / "broken.ipynb").write_text("{")
    assert 1 == run(["check", str(root)])
    assert 0 == run(["check", str(root), "--ignore", "notebook-unreadable"])
    assert 2 == run(["check", str(root), "--select", "EB999"])
    assert 2 == run(["check", "--explain", "nonsense"])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ALL),
        (["--select", "EB6"], [ALL[1], ALL[2], ALL[4]]),
        (["--select", "EB6,EB101", "--ignore", "EB602"], ALL[:2]),
        (["--ignore", "path-not-portable"], [*ALL[:2], ALL[3]]),
    ],
)
def test_selection(
    root: Path, capsys: pytest.CaptureFixture[str], options: list[str], expected: list[tuple[str, str | None]]
) -> None:
    assert expected == codes(root, capsys, *options)


def test_configuration(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "envbuild.toml").write_text(
        '[check]\nselect = ["EB6", "EB4"]\nignore = ["EB601"]\n'
        '[check.per-file-ignores]\n"docs/" = ["EB602"]\n'
    )
    assert [ALL[2], ALL[3]] == codes(root, capsys)
    assert [ALL[0]] == codes(root, capsys, "--select", "lock-missing")

    (root / "envbuild.toml").write_text('[check]\nselect = ["EB999"]\n')
    assert 1 == run(["check", str(root)])
    assert "envbuild.toml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "remark", ["# envbuild: ignore", "# envbuild: ignore[EB602]", "# envbuild:ignore[EB6, x]"]
)
def test_remarks(root: Path, capsys: pytest.CaptureFixture[str], remark: str) -> None:
    (root / "docs/b.ipynb").write_text(notebook(f"open('/home/alice/x')  {remark}"))
    assert ALL[:4] == codes(root, capsys)


def test_tags(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = code("open('/home/alice/x')", tags=["envbuild-ignore-EB602"])
    (root / "docs/b.ipynb").write_text(notebook(cell))
    assert ALL[:4] == codes(root, capsys)
    (root / "docs/b.ipynb").write_text(notebook(code("open('/home/alice/x')", tags=["envbuild-ignore-EB5"])))
    assert ALL == codes(root, capsys)


def test_github(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["check", str(root), "--format", "github", "--select", "EB601"])
    assert (
        "::notice file=a.ipynb,line=10,title=EB601 install-in-cell::cell 1, line 2: "
        "`pip install numpy` installs while the notebook runs (remove the line: the environment has it)\n"
    ) == capsys.readouterr().out


def test_fix(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (root / "a.ipynb").read_text()
    (root / "a.ipynb").chmod(0o640)

    assert 0 == run(["check", str(root), "--diff"])
    shown = capsys.readouterr().out
    assert before == (root / "a.ipynb").read_text()
    assert '-    "!pip install numpy\\n",\n+    "%pip install numpy\\n",\n' in shown

    assert 0 == run(["check", str(root), "--fix"])
    after = (root / "a.ipynb").read_text()
    pairs = list(zip(before.splitlines(), after.splitlines(), strict=True))
    assert ['    "!pip install numpy\\n",', '   "id": "x"'] == [old for old, new in pairs if old != new]
    capsys.readouterr()
    assert 0o640 == (root / "a.ipynb").stat().st_mode & 0o777
    assert ("EB405", "a.ipynb") not in codes(root, capsys)
    assert 0 == run(["check", str(root), "--fix"])
    assert after == (root / "a.ipynb").read_text()


def test_output_file(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["check", str(root), "--format", "sarif", "-o", str(tmp_path / "out.sarif")])
    assert "" == capsys.readouterr().out
    document = json.loads((tmp_path / "out.sarif").read_text())
    assert len(ALL) == len(document["runs"][0]["results"])
    assert 3 == run(["check", str(root), "-o", str(tmp_path / "out.sarif" / "out.txt")])


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["check", "--explain", "EB101"])
    assert capsys.readouterr().out.startswith("EB101 lock-missing (warning)\n\nThere is no lock")
