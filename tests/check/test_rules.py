"""What each rule finds, and what it must not find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from envbuild.check.checker import Checked
from envbuild.check.rule import Finding
from envbuild.check.rules import GROUPS, RULES
from envbuild.lock.freshness import inputs_digest
from envbuild.source import Repo
from envbuild.spec import read_spec
from tests.check.conftest import code, notebook, result
from tests.support.builds import lock_of
from tests.support.index import make_wheel

Check = Callable[..., Checked]
Found = Callable[..., list[Finding]]


def places(findings: list[Finding] | tuple[Finding, ...]) -> list[tuple[str, int | None, int | None]]:
    return [(finding.rule.code, finding.cell, finding.cell_line) for finding in findings]


def test_every_rule_can_be_looked_up() -> None:
    """Codes are unique and sorted, names are unique, and each says what it is about."""
    codes = [rule.code for rule in RULES]
    assert sorted(set(codes)) == codes
    assert len(codes) == len({rule.name for rule in RULES})
    assert set() == {code[:3] for code in codes} - GROUPS.keys()
    assert [] == [rule.code for rule in RULES if not rule.summary.endswith(".") and ":" not in rule.summary]


def test_a_good_repository_is_good(check: Check, repo: Repo) -> None:
    files = {
        "requirements.txt": "numpy\n",
        "n.ipynb": notebook(
            code("import numpy\nimport helper", 1), code("numpy.zeros(2)", 2, result("0", 2))
        ),
        "helper.py": "",
    }
    check(files)
    lock = lock_of(make_wheel("numpy"))
    target = replace(
        lock.targets[0], wheels=tuple(replace(wheel, direct=True) for wheel in lock.targets[0].wheels)
    )
    base = replace(lock.base, python="3.11.2")
    lock = replace(lock, inputs=inputs_digest(read_spec(repo)), targets=(target,), base=base)

    assert () == check(files, lock=lock).findings


# EB1


def test_lock_missing_and_stale(check: Check) -> None:
    files = {"requirements.txt": "numpy\n", "n.ipynb": notebook("x = 1")}
    assert [("EB101", "warning")] == [(f.rule.code, f.severity) for f in check(files, "EB1").findings]

    stale = check(files, "EB1", lock=lock_of(make_wheel("numpy"), name="repository")).findings
    assert [("EB102", "envbuild.lock", "out of date: numpy (requirements.txt:1) was added")] == [
        (finding.rule.code, finding.file, finding.message) for finding in stale
    ]


def test_a_lock_that_is_none(check: Check) -> None:
    files = {"envbuild.lock": "<<<<<<< HEAD\n", "requirements.txt": "", "n.ipynb": notebook("x = 1")}
    assert [("EB103", "envbuild.lock", 1)] == [
        (finding.rule.code, finding.file, finding.line) for finding in check(files, "EB1").findings
    ]


def test_problems_of_the_repository(check: Check) -> None:
    files = {"requirements.txt": "numpy >= = 2\n", "n.ipynb": notebook("x = 1")}
    (problem,) = check(files, "EB105").findings
    assert ("error", "requirements.txt", 1) == (problem.severity, problem.file, problem.line)


def test_nothing_declared(check: Check) -> None:
    assert ["EB104"] == [f.rule.code for f in check({"n.ipynb": notebook("import numpy")}, "EB104").findings]
    assert () == check({"n.ipynb": notebook("import os")}, "EB104").findings


# EB3


@pytest.mark.parametrize(
    ("version", "severity"),
    [("2.7.18", "warning"), ("3.9.1", "note"), ("3.11.9", None), ("3.14.0", "warning"), ("3", None)],
)
def test_python_versions(check: Check, version: str, severity: str | None) -> None:
    text = notebook("x = 1", language_info={"name": "python", "version": version})
    lock = lock_of()
    lock = replace(lock, base=replace(lock.base, python="3.11.2"))

    found = check({"requirements.txt": "", "n.ipynb": text}, "EB303", lock=lock).findings

    assert ([severity] if severity else []) == [finding.severity for finding in found]


def test_code_of_python_2(check: Check) -> None:
    cells = ["%matplotlib inline\nx = 1", "print x"]
    text = notebook(*cells, language_info={"name": "python", "version": "2.7.18"})
    assert [("error", 2)] == [(one.severity, one.cell) for one in check({"n.ipynb": text}, "EB303").findings]


@pytest.mark.parametrize(("asked", "severity"), [("3.13", "note"), ("3.9", "warning"), ("3.11", None)])
def test_python_that_the_repository_excludes(check: Check, asked: str, severity: str | None) -> None:
    files = {"runtime.txt": f"python-{asked}\n", "requirements.txt": "", "n.ipynb": notebook("x = 1")}
    found = check(files, "EB303").findings
    assert ([severity] if severity else []) == [finding.severity for finding in found]
    assert all("runtime.txt" in finding.message for finding in found)


def test_kernels(check: Check) -> None:
    julia = notebook("1 + 1", language="julia", kernelspec={"name": "julia-1.9", "language": "julia"})
    nameless = notebook("x = 1", kernelspec={})
    files = {"requirements.txt": "", "j.ipynb": julia, "n.ipynb": nameless}
    assert [("EB301", "j.ipynb"), ("EB302", "n.ipynb")] == [
        (finding.rule.code, finding.file) for finding in check(files, "EB3").findings
    ]


# EB4


def test_files_that_are_no_notebooks(check: Check) -> None:
    conflict = notebook("x = 1").replace('   "source"', '<<<<<<< HEAD\n=======\n>>>>>>> main\n"source"')
    files = {"cut.ipynb": '{\n"cells": [', "merge.ipynb": conflict, "old.ipynb": '{"nbformat": 2}'}
    assert [("EB401", "cut.ipynb", 2), ("EB402", "merge.ipynb", 8), ("EB401", "old.ipynb", None)] == [
        (finding.rule.code, finding.file, finding.line) for finding in check(files, "EB4").findings
    ]


def test_bytes_that_are_no_text_where_only_jupyter_looks(check: Check) -> None:
    output = {"output_type": "error", "ename": "x", "evalue": "", "traceback": ["?"]}
    data = notebook(code("x", 1, output)).encode().replace(b"?", b"\xff")
    found = check({"n.ipynb": data}).findings
    assert ["line 13 is not UTF-8 text"] == [one.message for one in found if one.rule.code == "EB401"]


def test_conflicts_in_cells(found: Found) -> None:
    assert [("EB403", 2, 2)] == places(found("x = 1", "y = 2\n<<<<<<< local\n=======", select="EB403"))


def test_ids(found: Found) -> None:
    cells = [code("a", id="one"), code("b", id="one"), code("c")]
    assert [("EB405", 2, None), ("EB406", 3, None)] == places(found(*cells, minor=5, select="EB4"))
    assert [] == found(*cells[:1], "x", minor=4, select="EB4")


# EB5


@pytest.mark.parametrize(
    ("counts", "cells"),
    [([1, 2, 3], []), ([1, 5, 9], []), ([4, 0, 5], []), ([2, 1, 3], [2]), ([None, None], []), ([3, 3], [2])],
)
def test_order(found: Found, counts: list[int | None], cells: list[int]) -> None:
    findings = found(*(code("x", count) for count in counts), select="EB501")
    assert cells == [finding.cell for finding in findings]


def test_cells_that_were_not_run(found: Found) -> None:
    trivial = ["# later", "!pip install a \\\n  b", "%load_ext x\n# and\npip install c"]
    cells = [
        code("x", 1),
        *trivial,
        code("a", 0),
        code("b", None, result("1")),
        code("y"),
        code("z", tags=["skip-execution"]),
        code("  "),
    ]
    assert [("EB502", 7, None)] == places(found(*cells, select="EB502"))
    assert [] == found("x", "y", select="EB502")


def test_stale_outputs(found: Found) -> None:
    cells = [
        code("x", 1, result("1", 1)),
        code("y", None, result("2", 2)),
        code("z", 5, result("3", 4)),
        code("", 6, result("4", 6)),
        code("w", 0, result("5", 3)),
    ]
    assert [("EB503", number, None) for number in (2, 3, 4)] == places(found(*cells, select="EB503"))
    assert [] == found(code("x", None, result("1")), select="EB503")  # nbdev and others take counts away


def test_failures(found: Found) -> None:
    output = {"output_type": "error", "ename": "\x1b[31mKeyError", "evalue": "", "traceback": []}
    findings = found(code("x", 1, output), code("y", 2, output, tags=["raises-exception"]), select="EB504")
    assert ["this cell failed with KeyError"] == [finding.message for finding in findings]


def test_messages_can_be_printed(found: Found) -> None:
    """A lone surrogate is valid JSON, and no text that can be written."""
    output = {"output_type": "error", "ename": "\ud800\n", "evalue": "", "traceback": []}
    (finding,) = found(code("x = '😀'", 1, output), select="EB504")
    assert "this cell failed with \ufffd\\n" == finding.message


def test_large_outputs(found: Found) -> None:
    small, large = (code("x", 1, result("x" * size, 1)) for size in (1_000_000, 2_000_000))
    assert [("EB505", 2, None)] == places(found(small, large, select="EB505"))
    assert [("EB505", None, None)] == places(found(*[small] * 10, select="EB505"))


# EB6


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("x = 1\n!pip install numpy", 2),
        ("%conda install numpy", 1),
        ("!sudo apt-get -y install graphviz", 1),
        ("import subprocess, sys\nsubprocess.check_call([sys.executable, '-m', 'pip', 'install', 'a'])", 2),
        ("import os\nos.system('pip install a')", 2),
        ("# pip install numpy", None),
        ("print('pip install numpy')", None),
        ("import sys\nif 'google.colab' in sys.modules:\n    !pip install numpy", None),
        ("try:\n    import a\nexcept ImportError:\n    !pip install a", None),
    ],
)
def test_installs(found: Found, source: str, line: int | None) -> None:
    expected = [] if line is None else [("EB601", 1, line)]
    assert expected == places(found(source, select="EB601"))


def test_installs_of_what_is_there_are_notes(check: Check) -> None:
    files = {"requirements.txt": "numpy\n", "n.ipynb": notebook("%pip install numpy")}
    assert ["note"] == [finding.severity for finding in check(files, "EB601").findings]


@pytest.mark.parametrize(
    "source",
    [
        "open('/home/alice/data.csv')",
        "path = r'C:\\Users\\alice\\data'",
        "path = 'D:/data/x.csv'",
        "pd.read_csv('~/data/x.csv')",
        "pd.read_csv('/content/drive/MyDrive/x.csv')",
        "pd.read_csv(f'/kaggle/input/{name}')",
        "%cd /home/alice/project",
        "!ls /content/sample_data",
        "open('file:///Users/bob/x')",
    ],
)
def test_paths_of_one_machine(found: Found, source: str) -> None:
    assert [("EB602", 1, 1)] == places(found(source, select="EB602"))


@pytest.mark.parametrize(
    "source",
    [
        "open('data/home/alice.csv')",
        "get('https://example.org/home/alice/')",
        "print('/home/alice/data.csv')",
        "'/home/alice is where it was'",
        "x = 'a:b'; y = 'r:/'; z = 'http://example.org'",
        "open('/tmp/x'); open('/etc/hosts')",
        "name.startswith('/home/alice/')",
        "# /home/alice/data",
        "!curl https://example.org/home/alice/x",
        "open('~/.netrc')",
    ],
)
def test_other_texts(found: Found, source: str) -> None:
    assert [] == found(source, select="EB602")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("x = 1\nname = input('name?')", 2),
        ("import getpass\ngetpass.getpass()", 2),
        ("breakpoint()", 1),
        ("%debug", 1),
        ("%matplotlib qt", 1),
        ("from google.colab import drive\ndrive.mount('/content/drive')", 2),
        ("input = 3\nmodel(input)", None),
        ("def input(x): return x\ninput(1)", None),
        ("self.input(x)", None),
        ("%matplotlib inline", None),
        ("# input()", None),
        ("%%bash\nread input()", None),
    ],
)
def test_cells_that_wait(found: Found, source: str, line: int | None) -> None:
    expected = [] if line is None else [("EB603", 1, line)]
    assert expected == places(found(source, select="EB603"))


def test_what_a_function_asks_is_a_note(found: Found) -> None:
    findings = found("def ask():\n    return input()", select="EB603")
    assert [("note", 2)] == [(finding.severity, finding.cell_line) for finding in findings]


def test_other_languages_are_not_read_as_python(check: Check) -> None:
    text = notebook("input('x')\n!pip install a\nopen('/home/alice/x')", language="octave")
    assert () == check({"requirements.txt": "", "n.ipynb": text}, "EB6").findings
    assert () == check({"requirements.txt": "", "n.ipynb": text}, "EB2").findings


def test_a_hit_in_a_notebook_that_python_wrote(check: Check) -> None:
    """NaN is no JSON, and Jupyter writes it."""
    text = notebook(code("np.NaN\ninput()", 1, result("x", 1)))
    text = text.replace('"text/plain": [', '"application/json": NaN,\n"text/plain": [')
    (finding,) = check({"n.ipynb": text}, "EB603").findings
    assert "input()" in text.splitlines()[(finding.line or 0) - 1]
