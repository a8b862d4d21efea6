"""``[tool.poetry]`` without a lock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from envbuild.errors import UsageError
from envbuild.source import Repo
from envbuild.spec import Spec
from envbuild.spec.findings import Findings
from envbuild.spec.model import PythonRequest, SourceRequirement
from envbuild.spec.poetry import python_request
from envbuild.spec.pyproject import read_pyproject
from tests.spec.conftest import Files

SpecOf = Callable[..., Spec]
MakeRepo = Callable[[Files], Repo]

PROJECT = """\
[tool.poetry]
name = "my-project"
package-mode = false

[tool.poetry.dependencies]
python = "^3.11"
NumPy = "^2.0"
requests = { version = "~2.31", extras = ["socks"] }
rich = { version = "*", optional = true }

[tool.poetry.extras]
pretty = ["rich"]

[tool.poetry.group.dev.dependencies]
pytest = ">=8"

[tool.poetry.group.all]
include-groups = ["dev", "all"]
"""


def texts(spec: Spec) -> list[str]:
    return [requirement.text for requirement in spec.requirements]


def codes(spec: Spec) -> list[tuple[str, str, int | None]]:
    return [(problem.level, problem.code, problem.line) for problem in spec.problems]


def test_a_project_of_poetry(spec_of: SpecOf) -> None:
    spec = spec_of({"pyproject.toml": PROJECT})

    assert ["NumPy<3,>=2.0", "requests[socks]<2.32,>=2.31"] == texts(spec)
    assert [7, 8] == [requirement.line for requirement in spec.requirements]
    assert "my-project" == spec.name
    assert (PythonRequest("<4,>=3.11", "pyproject.toml", 6),) == spec.python
    assert ([], ()) == (codes(spec), spec.sources)


def test_extras_and_groups(spec_of: SpecOf) -> None:
    files = {"pyproject.toml": PROJECT}
    everything = spec_of(files, extras=("pretty",), groups=("dev",))

    assert ["NumPy<3,>=2.0", "requests[socks]<2.32,>=2.31", "rich", "pytest>=8"] == texts(everything)
    assert texts(spec_of(files, groups=("all",))) == texts(spec_of(files, groups=("dev",)))
    with pytest.raises(UsageError) as caught:
        spec_of(files, groups=("docs",))
    assert ("unknown-group", "choose from: all, dev") == (caught.value.code, caught.value.remedy)


def test_the_old_table_of_development_dependencies(spec_of: SpecOf) -> None:
    content = '[tool.poetry.dependencies]\na = "1"\n[tool.poetry.dev-dependencies]\nb = "2"\n'

    assert ["a==1", "b==2"] == texts(spec_of({"pyproject.toml": content}, groups=("dev",)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('{ version = "1", markers = "os_name == \'nt\'" }', ["a==1 ; (os_name == 'nt')"]),
        ('{ version = "1", python = "<3.12" }', ['a==1 ; (python_version < "3.12")']),
        (
            '{ version = "1", python = "~3.11.4" }',
            ['a==1 ; (python_version < "3.12" and python_full_version >= "3.11.4")'],
        ),
        ('{ version = "1", python = "*" }', ["a==1"]),
        (
            '{ version = "1", platform = "linux || darwin" }',
            ['a==1 ; (sys_platform == "linux" or sys_platform == "darwin")'],
        ),
        (
            '[{ version = "<2", python = "<3.12" }, { version = ">=2", python = ">=3.12" }]',
            ['a<2 ; (python_version < "3.12")', 'a>=2 ; (python_version >= "3.12")'],
        ),
    ],
)
def test_where_a_dependency_is_for(spec_of: SpecOf, value: str, expected: list[str]) -> None:
    assert expected == texts(spec_of({"pyproject.toml": f"[tool.poetry.dependencies]\na = {value}"}))


def test_dependencies_from_elsewhere(spec_of: SpecOf) -> None:
    spec = spec_of(
        {
            "pyproject.toml": (
                "[tool.poetry.dependencies]\n"
                'a = { git = "https://example.org/a", tag = "v1", subdirectory = "python" }\n'
                'b = { url = "https://example.org/b-1.tar.gz" }\n'
                'c = { path = "lib/c", develop = true }\n'
            ),
            "lib/c/setup.py": "",
        }
    )
    git, url, path = spec.sources

    assert ("vcs", "a", "v1", "python", 2) == (git.kind, git.name, git.revision, git.subdirectory, git.line)
    assert ("url", "b", "https://example.org/b-1.tar.gz") == (url.kind, url.name, url.location)
    assert ("path", "c", "lib/c") == (path.kind, path.name, path.location)
    assert [] == codes(spec)


@pytest.mark.parametrize(
    "value",
    [
        '"snake"',
        "1",
        "[1]",
        "{ version = 1 }",
        '{ version = "1", extras = "x" }',
        '{ version = "1", markers = 1 }',
        '{ version = "1", markers = "snake" }',
        '{ version = "1", python = "snake" }',
        '{ version = "1", platform = "a b" }',
        "{ git = 1 }",
        '"^1 || ^2"',
        '"1; import os"',
        '"1\\n--index-url https://example.org"',
    ],
)
def test_what_is_no_dependency(spec_of: SpecOf, value: str) -> None:
    spec = spec_of({"pyproject.toml": f"[tool.poetry.dependencies]\na = {value}"})

    assert [("error", "bad-requirement", 2)] == codes(spec)
    assert () == spec.requirements


def test_an_index_of_the_repository_is_refused(spec_of: SpecOf) -> None:
    spec = spec_of(
        {
            "pyproject.toml": (
                '[[tool.poetry.source]]\nname = "own"\nurl = "https://me:secret@example.org"\n'
                '[tool.poetry.dependencies]\na = { version = "1", source = "own" }\n'
            )
        }
    )

    assert [("error", "index-in-repository", 2), ("error", "index-in-repository", 5)] == codes(spec)
    assert "secret" not in str(spec.problems)


def test_a_project_with_code_is_installed(spec_of: SpecOf) -> None:
    """Poetry calls every project a package; one without code cannot be installed."""
    package = PROJECT.replace("package-mode = false\n", "") + "[build-system]\nrequires = []\n"

    assert () == spec_of({"pyproject.toml": package}).sources
    (source,) = spec_of({"pyproject.toml": package, "my_project/__init__.py": ""}).sources
    assert isinstance(source, SourceRequirement)
    assert ("my-project", False) == (source.name, source.dynamic)


def test_tables_beside_a_standard_project_only_add(spec_of: SpecOf) -> None:
    content = '[project]\nname = "x"\ndependencies = ["a"]\n[tool.poetry.dependencies]\nb = "1"\n'

    assert ["a"] == texts(spec_of({"pyproject.toml": content}))


@pytest.mark.parametrize(
    ("text", "specifier"),
    [("*", None), ("^3.9", "<4,>=3.9"), ("~2.7 || ^3.6", "<4,>=3.6"), ("^3.6 || ~2.7", "<4,>=3.6")],
)
def test_python(text: str, specifier: str | None) -> None:
    request = python_request(text, "f", 1)

    assert specifier == (request.specifier if request else None)


def test_python_that_is_none(spec_of: SpecOf) -> None:
    spec = spec_of({"pyproject.toml": '[tool.poetry.dependencies]\npython = "snake"\n'})

    assert [("error", "bad-pyproject", 2)] == codes(spec)


def test_a_date_among_the_values_has_no_hash(make_repo: MakeRepo, findings: Findings) -> None:
    repo = make_repo({"pyproject.toml": "[tool.poetry.dependencies]\na = 2020-01-01\n"})

    assert frozenset() == read_pyproject(repo, "pyproject.toml").poetry.content_hashes()
