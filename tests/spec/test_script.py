"""PEP 723 blocks in cells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.spec.findings import Findings
from envbuild.spec.model import Requirement
from envbuild.spec.script import ScriptBlock, read_script_block


def test_block(findings: Findings) -> None:
    code = """import x
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "numpy>=2",
#
#   "pandas",
# ]
# ///
y = 1
"""
    assert ScriptBlock(
        (Requirement("numpy>=2", "n.ipynb"), Requirement("pandas", "n.ipynb")), ">=3.11", found=True
    ) == read_script_block(code, "n.ipynb", 1, findings)
    assert () == findings.problems


def test_the_block_ends_with_the_last_closing_line_of_the_comment(findings: Findings) -> None:
    """As the reference implementation of PEP 723 has it."""
    code = "# /// script\n# x = '''\n# ///\n# '''\n# ///\n# after\n"
    assert ScriptBlock(found=True) == read_script_block(code, "n.ipynb", 1, findings)
    assert () == findings.problems


@pytest.mark.parametrize(
    "code",
    [
        "",
        "# /// other\n# ///",
        "# /// script\n# x = 1\n",
        "# /// script\n#x = 1\n# ///",
        " # /// script\n # ///",
    ],
)
def test_no_block(findings: Findings, code: str) -> None:
    assert None is read_script_block(code, "n.ipynb", 1, findings)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("x =", "not valid TOML"),
        ("requires-python = 'snake'", "requires-python"),
        ("dependencies = 3", "not a list"),
        ("dependencies = [3]", "not a requirement"),
        ("dependencies = ['a b']", "not a requirement"),
        ("dependencies = ['a @ https://me:secret@example.org/a']", "not a requirement"),
    ],
)
def test_mistakes(findings: Findings, content: str, what: str) -> None:
    block = read_script_block(f"# /// script\n# {content}\n# ///", "n.ipynb", 7, findings)
    (problem,) = findings.problems

    assert block is not None
    assert ("error", "bad-script-block", "n.ipynb") == (problem.level, problem.code, problem.file)
    assert "cell 7" in problem.message
    assert what in problem.message
    assert "secret" not in problem.message


@given(
    st.lists(
        st.sampled_from(["# /// script\n", "# ///\n", "#\n", "# x = 1\n", "# dependencies = ['a']\n", "a\n"])
    )
)
def test_any_order_of_lines(lines: list[str]) -> None:
    read_script_block("".join(lines), "n.ipynb", 1, Findings())


def test_many_openings_end() -> None:
    read_script_block("# /// script\n" * 200_000, "n.ipynb", 1, Findings())
