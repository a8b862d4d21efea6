"""pyproject.toml: dependencies, extras, groups, Python."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuild.errors import RepoError, UsageError
from envbuild.source import Repo
from envbuild.spec.findings import Findings
from envbuild.spec.model import PythonRequest, Requirement
from envbuild.spec.pyproject import Pyproject, read_pyproject
from tests.spec.conftest import Files

FULL = """\
[project]
name = "My.Project"
requires-python = ">=3.11"
dependencies = [
  "numpy>=2",
  'pandas; python_version < "3.13"',
]

[project.optional-dependencies]
plot = ["matplotlib"]
All_Of = ["my-project[plot,more]", "scipy"]
more = ["my.project[all-of]", "seaborn"]

[dependency-groups]
test = ["pytest", { include-group = "Typing" }]
typing = ["mypy"]
"""


@pytest.fixture
def project(make_repo: Callable[[Files], Repo]) -> Callable[[str | bytes], Pyproject]:
    return lambda content: read_pyproject(make_repo({"pyproject.toml": content}), "pyproject.toml")


Project = Callable[[str | bytes], Pyproject]


def _texts(requirements: tuple[Requirement, ...]) -> list[str]:
    return [requirement.text for requirement in requirements]


def test_what_it_says(project: Project, findings: Findings) -> None:
    full = project(FULL)

    assert "My.Project" == full.name
    assert ("all-of", "more", "plot") == full.extras
    assert ("test", "typing") == full.groups
    assert full.has_dependencies
    assert PythonRequest(">=3.11", "pyproject.toml", 3) == full.python(findings)


def test_dependencies_have_lines(project: Project, findings: Findings) -> None:
    assert (
        Requirement("numpy>=2", "pyproject.toml", 5),
        Requirement('pandas; python_version < "3.13"', "pyproject.toml", 6),
    ) == project(FULL).dependencies((), (), findings).requirements


def test_extras_that_name_each_other(project: Project, findings: Findings) -> None:
    requirements = project(FULL).dependencies(("all.of",), (), findings).requirements

    assert {"scipy", "matplotlib", "seaborn"} == set(_texts(requirements)[2:])
    assert () == findings.problems


def test_groups_that_include(project: Project, findings: Findings) -> None:
    assert ["pytest", "mypy"] == _texts(project(FULL).dependencies((), ("TEST",), findings).requirements)[2:]


@pytest.mark.parametrize(
    ("extras", "groups", "code"), [(("x",), (), "unknown-extra"), ((), ("x",), "unknown-group")]
)
def test_selections_that_do_not_exist(
    project: Project, findings: Findings, extras: tuple[str, ...], groups: tuple[str, ...], code: str
) -> None:
    with pytest.raises(UsageError) as caught:
        project(FULL).dependencies(extras, groups, findings)

    assert code == caught.value.code
    assert "plot" in str(caught.value.remedy) or "test" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        ('[project]\ndynamic = ["dependencies"]', "dynamic-dependencies", 2),
        ('[project]\ndependencies = [\n "a b"]', "bad-requirement", 3),
        ('[project]\ndependencies = ["a @ https://me:secret@example.org/a.whl"]', "credentials-in-url", 2),
        ('[project]\ndependencies = "a"', "bad-pyproject", 2),
        ("[project]\ndependencies = [1]", "bad-pyproject", 2),
        ("[project]\n\ndependencies = {}", "bad-pyproject", 3),
    ],
)
def test_bad_dependencies(project: Project, findings: Findings, content: str, code: str, line: int) -> None:
    project(content).dependencies((), (), findings)
    (problem,) = findings.problems

    assert (code, "pyproject.toml", line) == (problem.code, problem.file, problem.line)
    assert "secret" not in problem.message


@pytest.mark.parametrize(
    "values", ['["a", {include-group = "g"}]', '[{include-group = "missing"}]', "[3]", "{}", '"a"']
)
def test_bad_groups(project: Project, findings: Findings, values: str) -> None:
    project(f"[dependency-groups]\ng = {values}").dependencies((), ("g",), findings)
    assert {"bad-pyproject"} == {problem.code for problem in findings.problems}


def test_groups_that_double_at_every_level_end(project: Project, findings: Findings) -> None:
    lines = [f'g{i} = [{{include-group = "g{i + 1}"}}, {{include-group = "g{i + 1}"}}]' for i in range(40)]
    text = "[dependency-groups]\n" + "\n".join(lines) + '\ng40 = ["a"]'

    assert ["a"] == _texts(project(text).dependencies((), ("g0",), findings).requirements)


def test_requires_python_that_is_none(project: Project, findings: Findings) -> None:
    assert None is project("[project]\nrequires-python = 'snake'").python(findings)
    assert [("bad-pyproject", 2)] == [(problem.code, problem.line) for problem in findings.problems]


@pytest.mark.parametrize(
    ("content", "tool"),
    [
        ("[tool.poetry.dependencies]\nnumpy = '*'", None),
        ("[tool.pixi.dependencies]\nnumpy = '*'", "pixi"),
        ("[tool.pixi.pypi-dependencies]\nnumpy = '*'", "pixi"),
        ("[tool.ruff]", None),
    ],
)
def test_dependencies_of_other_tools(project: Project, content: str, tool: str | None) -> None:
    assert tool == project(content).foreign_tool


@pytest.mark.parametrize(
    ("table", "codes"),
    [
        ('[[tool.uv.index]]\nurl = "https://me:secret@example.org"', ["index-in-repository"]),
        ('[tool.uv]\nindex-url = "https://example.org"', ["index-in-repository"]),
        ('[tool.uv.pip]\nextra-index-url = ["https://example.org"]', ["index-in-repository"]),
        ('[tool.uv]\nconstraint-dependencies = ["a<1"]', ["option-ignored"]),
        ('[tool.uv.sources]\nNumPy = { git = "https://example.org" }', ["not-supported-yet"]),
        ('[tool.uv.sources]\nother = { git = "https://example.org" }', []),
        ("[tool.uv]\ndev-dependencies = []", []),
        ('[[tool.poetry.source]]\nname = "own"\nurl = "https://example.org"', ["index-in-repository"]),
        ('[[tool.pdm.source]]\nname = "own"\nurl = "https://example.org"', ["index-in-repository"]),
        ("[tool.pdm.resolution]\nallow-prereleases = true", ["option-ignored"]),
    ],
)
def test_settings_of_other_tools_do_not_steer(
    project: Project, findings: Findings, table: str, codes: list[str]
) -> None:
    project(table).check_solving((Requirement("numpy", "pyproject.toml"),), findings)

    assert codes == [problem.code for problem in findings.problems]
    assert all(problem.line for problem in findings.problems)


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"[project]\nname = \n", "bad-toml", 2),
        (b"[project]\nname = 'a\xff'", "bad-encoding", 2),
        (b"a = 1\na = 2", "bad-toml", 2),
        (b"x = " + b"[" * 100_000, "bad-toml", None),
        (b"x = " + b"9" * 10_000, "bad-toml", None),
        (b"\0", "bad-toml", 1),
    ],
)
def test_what_is_not_toml(project: Project, content: bytes, code: str, line: int | None) -> None:
    with pytest.raises(RepoError) as caught:
        project(content)

    assert (code, "pyproject.toml", line) == (caught.value.code, caught.value.file, caught.value.line)


KEYS = st.sampled_from(
    [
        "project",
        "name",
        "dependencies",
        "optional-dependencies",
        "dynamic",
        "tool",
        "uv",
        "poetry",
        "pdm",
        "dev-dependencies",
        "group",
        "extras",
        "source",
        "python",
        "package-mode",
        "sources",
        "index",
        "dependency-groups",
        "include-group",
        "requires-python",
        "g",
        "pip",
        "pixi",
    ]
)
VALUES = st.recursive(
    st.sampled_from(["a", "g", "numpy>=1", "x y", "https://example.org", "dependencies"])
    | st.integers()
    | st.booleans(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(KEYS, children, max_size=4),
    max_leaves=10,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_shape_is_read(make_repo: Callable[[Files], Repo], data: dict[str, object]) -> None:
    import tomli_w

    findings = Findings()
    project = read_pyproject(make_repo({"pyproject.toml": tomli_w.dumps(data)}), "pyproject.toml")
    project.python(findings)
    assert project.foreign_tool in (None, "pixi")
    requirements = project.dependencies(project.extras, project.groups, findings)
    project.check_solving(requirements.requirements, findings)
    assert all(problem.file == "pyproject.toml" for problem in findings.problems)
