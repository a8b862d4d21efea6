"""Files before and after: one requirement is another one, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from envbuild.drift.changes import Change
from envbuild.drift.declaring import Advice, Place
from envbuild.drift.editing import edited

SIX = Change("six", None, "1.17.0")
NUMPY = Change("numpy", "2.1.0", "2.3.1")
GONE = Change("numpy", "2.1.0", None)
R = Change("r-base", None, "4.4.1", "conda")


def edit(way: Any, text: str, change: Change, line: str, **more: Any) -> str | None:
    action: Any = {"added": "add", "changed": "replace", "removed": "remove"}[change.kind]
    number = next((n for n, one in enumerate(text.splitlines(), 1) if "numpy" in one), None)
    advice = Advice(change, action, "file", line, None if action == "add" else number)
    return edited(text, advice, Place("file", way, **more))


@pytest.mark.parametrize(
    ("before", "change", "line", "after"),
    [
        ("", SIX, "six==1.17.0", "six==1.17.0\n"),
        ("numpy  # why", SIX, "six==1.17.0", "numpy  # why\nsix==1.17.0\n"),
        ("numpy\r\n\r\n# end\r\n", SIX, "six", "numpy\r\n\r\n# end\r\nsix\r\n"),
        ("# a\nnumpy>=1  # fast\nb\n", NUMPY, "numpy>=2.3.1", "# a\nnumpy>=2.3.1  # fast\nb\n"),
        ("a\nNumPy\nb\n".replace("NumPy", "numpy[x]"), NUMPY, "numpy[x]==1", "a\nnumpy[x]==1\nb\n"),
        ("a\nnumpy>=1  # fast\nb\n", GONE, "", "a\nb\n"),
        ("\ufeffa\n", SIX, "six", "\ufeffa\nsix\n"),
    ],
)
def test_requirements(before: str, change: Change, line: str, after: str) -> None:
    assert edit("requirements", before, change, line) == after


@pytest.mark.parametrize(
    ("before", "change"),
    [
        ("numpy==1 \\\n  --hash=sha256:00\n", NUMPY),
        ("numpy==1 --no-binary x\n", NUMPY),
        ("numpydoc\n", NUMPY),
        ("-e ./numpy\n", GONE),
        ("numpy \\", SIX),
    ],
)
def test_lines_that_are_more_than_a_requirement_are_left_alone(before: str, change: Change) -> None:
    assert edit("requirements", before, change, "six") is None


YML = """\
name: demo  # a comment
channels: [conda-forge]

dependencies:
  - python=3.13   # the newest

  # numbers
  - numpy>=1
  - pip
  - pip:
      - "pandas[excel]>=2"
      - numpy==1.0  # old
      # to be continued
variables:
  A: b
"""


@pytest.mark.parametrize(
    ("change", "line", "old", "new"),
    [
        (SIX, "six==1.17.0", "# old\n", "# old\n      - six==1.17.0\n"),
        (NUMPY, "numpy==2.3.1", "numpy==1.0 ", "numpy==2.3.1 "),
        (GONE, "", "      - numpy==1.0  # old\n", ""),
        (
            Change("pandas", "2", "3"),
            "pandas[excel]==3",
            '"pandas[excel]>=2"',
            '"pandas[excel]==3"',
        ),
        (R, "r-base=4.4.1", "# old\n", "# old\n  - r-base=4.4.1\n"),
        (Change("numpy", "1", "2", "conda"), "numpy=2", "numpy>=1", "numpy=2"),
        (Change("numpy", "1", None, "conda"), "", "  - numpy>=1\n", ""),
    ],
)
def test_environment_yml(change: Change, line: str, old: str, new: str) -> None:
    assert YML.count(old) == 1
    assert edit("conda", YML, change, line) == YML.replace(old, new)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "dependencies:\n- python\n- pip\n",
            "dependencies:\n- python\n- pip\n- pip:\n  - six==1.17.0\n",
        ),
        (
            "dependencies:\n    - python",
            "dependencies:\n    - python\n    - pip\n    - pip:\n      - six==1.17.0\n",
        ),
        (
            "dependencies:\n  - pip:\n    - a\n  - python\n",
            "dependencies:\n  - pip:\n    - a\n    - six==1.17.0\n  - python\n",
        ),
        (
            "dependencies:\n  - pip: [a, 'b>=1']  # short\n",
            "dependencies:\n  - pip: [a, 'b>=1', \"six==1.17.0\"]  # short\n",
        ),
    ],
)
def test_the_pip_section_of_an_environment_yml(before: str, after: str) -> None:
    assert edit("conda", before, SIX, "six==1.17.0") == after


@pytest.mark.parametrize(
    "before",
    [
        "dependencies: [python, pip]\n",
        "dependencies: []\n",
        "dependencies:\n  - pip:\n",
        "dependencies: &a\n  - python\nother: *a\n",
        "dependencies: {{ x }}\n",
        "\ufeffdependencies:\n  - python\n",
        "dependencies:\n  - python\n---\nb\n",
    ],
)
def test_an_environment_yml_that_cannot_be_kept_is_left_alone(before: str) -> None:
    assert edit("conda", before, SIX, "six==1.17.0") is None


PROJECT = """\
# The project
[project]
name = "demo"
dependencies = [
    # numbers
    "numpy>=1",  # fast
    "pandas",
]  # end

[tool.black]
line-length = 99
"""


@pytest.mark.parametrize(
    ("change", "line", "old", "new"),
    [
        (SIX, "six>=1.17.0", '    "pandas",\n', '    "pandas",\n    "six>=1.17.0",\n'),
        (NUMPY, "numpy>=2.3.1", "numpy>=1", "numpy>=2.3.1"),
        (Change("pandas", "1", None), "", '    "pandas",\n', ""),
    ],
)
def test_dependencies_of_a_project(change: Change, line: str, old: str, new: str) -> None:
    assert edit("project", PROJECT, change, line) == PROJECT.replace(old, new)


def test_a_project_without_dependencies_gets_some() -> None:
    before = '[project]\nname = "demo"\n\n[tool.x]\ny = 1\n'
    after = edit("project", before, SIX, "six>=1.17.0")
    assert after == '[project]\nname = "demo"\ndependencies = [\n    "six>=1.17.0",\n]\n\n[tool.x]\ny = 1\n'


@pytest.mark.parametrize(
    "before", ['[project]\nname = "a"\ndynamic = ["dependencies"]\n', "[dependency-groups]\na = []\n", "["]
)
def test_a_project_whose_dependencies_are_elsewhere_is_left_alone(before: str) -> None:
    assert edit("project", before, SIX, "six") is None


@pytest.mark.parametrize(
    ("way", "more", "before", "after"),
    [
        (
            "Pipfile",
            {},
            '[packages]\nnumpy = "*"  # fast\n\n[requires]\npython_version = "3.13"\n',
            '[packages]\nnumpy = "*"  # fast\nsix = "==1.17.0"\n\n[requires]\npython_version = "3.13"\n',
        ),
        (
            "poetry",
            {},
            '[tool.poetry.dependencies]\npython = "^3.12"\n',
            '[tool.poetry.dependencies]\npython = "^3.12"\nsix = "==1.17.0"\n',
        ),
        (
            "pixi",
            {},
            '[dependencies]\npython = "3.13.*"\n',
            '[dependencies]\npython = "3.13.*"\n\n[pypi-dependencies]\nsix = "==1.17.0"\n',
        ),
        (
            "pixi",
            {"prefix": ("tool", "pixi")},
            '[tool.pixi.pypi-dependencies]\na = "*"\n',
            '[tool.pixi.pypi-dependencies]\na = "*"\nsix = "==1.17.0"\n',
        ),
    ],
)
def test_tables_of_tools(way: str, more: dict[str, Any], before: str, after: str) -> None:
    assert edit(way, before, SIX, 'six = "==1.17.0"', **more) == after


def test_an_entry_of_a_table_is_replaced_under_the_name_it_has() -> None:
    before = '[packages]\nZope_Event = "*"  # old\n'
    change = Change("zope-event", "5", "6")
    assert edit("Pipfile", before, change, 'zope-event = ">=6"') == before.replace('"*"', '">=6"')
    gone = Change("zope-event", "5", None)
    assert edit("Pipfile", before + 'a = "*"\n', gone, "") == '[packages]\na = "*"\n'


def test_an_entry_that_says_more_than_a_version_is_left_alone() -> None:
    before = '[packages]\nnumpy = {version = "*", extras = ["x"]}\n'
    assert edit("Pipfile", before, NUMPY, 'numpy = ">=2"') is None


def test_ways_that_nobody_can_write_are_left_alone() -> None:
    assert edit("text", "install_requires=['a']\n", SIX, "six") is None
    assert edit("command", "[project]\n", SIX, 'uv add "six"') is None
