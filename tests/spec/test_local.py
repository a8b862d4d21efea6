"""Projects in the repository that are installed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from envbuild.spec.model import Execution, SourceRequirement, Spec

SpecOf = Callable[..., Spec]

BUILD_SYSTEM = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
PROJECT = BUILD_SYSTEM + '[project]\nname = "My.Project"\nversion = "1"\ndependencies = ["numpy>=2"]\n'


def project(spec: Spec) -> SourceRequirement:
    (source,) = spec.sources
    return source


def texts(spec: Spec) -> list[str]:
    return [requirement.text for requirement in spec.requirements]


def test_a_project_with_a_build_system_is_installed_editable(spec_of: SpecOf) -> None:
    spec = spec_of({"pyproject.toml": PROJECT})
    source = project(spec)

    assert ("path", ".", "my-project", True, False) == (
        source.kind,
        source.location,
        source.name,
        source.editable,
        source.dynamic,
    )
    assert ["numpy>=2"] == texts(spec)
    assert (
        Execution(
            "building my-project from source",
            "the project in the repository is installed",
            "build",
            "pyproject.toml",
            1,
        ),
    ) == spec.executions


def test_without_a_build_system_it_is_not(spec_of: SpecOf) -> None:
    spec = spec_of({"pyproject.toml": PROJECT.removeprefix(BUILD_SYSTEM)})

    assert ((), ["numpy>=2"], ()) == (spec.sources, texts(spec), spec.executions)


@pytest.mark.parametrize(("package", "installed"), [("true", True), ("false", False)])
def test_uv_can_say_otherwise(spec_of: SpecOf, package: str, installed: bool) -> None:
    spec = spec_of({"pyproject.toml": PROJECT + f"[tool.uv]\npackage = {package}\n"})

    assert installed == bool(spec.sources)


@pytest.mark.parametrize(
    "files",
    [
        {"setup.py": "from setuptools import setup; setup()"},
        {"setup.cfg": "[metadata]\nname = x\n", "pyproject.toml": BUILD_SYSTEM},
        {"pyproject.toml": BUILD_SYSTEM + '[project]\nname = "x"\ndynamic = ["version", "dependencies"]\n'},
    ],
)
def test_only_the_build_knows_what_these_depend_on(spec_of: SpecOf, files: dict[str, str]) -> None:
    spec = spec_of(files)

    assert project(spec).dynamic
    assert [] == [problem for problem in spec.problems if problem.level == "error"]
    assert ["lock", "build"] == [execution.when for execution in spec.executions]


def test_what_an_editable_line_installs_is_read(spec_of: SpecOf) -> None:
    extra = '[project.optional-dependencies]\nplot = ["seaborn"]\nother = ["x"]\n'
    spec = spec_of({"requirements.txt": "pandas\n-e .[plot]", "pyproject.toml": PROJECT + extra})

    assert ["pandas", "numpy>=2", "seaborn"] == texts(spec)
    assert ("my-project", ("plot",)) == (project(spec).name, project(spec).extras)
    assert {"requirements.txt:2"} == {f"{one.file}:{one.line}" for one in spec.executions}


def test_a_line_of_another_name_is_an_error(spec_of: SpecOf) -> None:
    spec = spec_of({"requirements.txt": "other @ ./.", "pyproject.toml": PROJECT})

    assert [("name-mismatch", 1)] == [(one.code, one.line) for one in spec.problems]


def test_direct_references_of_a_project(spec_of: SpecOf) -> None:
    more = PROJECT.replace('"numpy>=2"', '"numpy", "x @ git+https://example.org/x@v1"')
    spec = spec_of({"pyproject.toml": more})

    assert [None, "v1"] == [source.revision for source in spec.sources]
    assert ["numpy"] == texts(spec)


def digest(spec_of: SpecOf, files: dict[str, str]) -> str:
    return project(spec_of(files)).digest


def test_a_digest_is_of_what_decides_the_build(spec_of: SpecOf) -> None:
    before = digest(spec_of, {"pyproject.toml": PROJECT, "x.py": "", "setup.py": "1"})

    assert before == digest(spec_of, {"pyproject.toml": PROJECT + "# more\n", "x.py": "new", "setup.py": "2"})
    assert before != digest(spec_of, {"pyproject.toml": PROJECT.replace("hatchling", "flit-core")})


def test_a_digest_is_of_all_that_metadata_comes_from_when_they_are_dynamic(spec_of: SpecOf) -> None:
    dynamic = PROJECT.replace('dependencies = ["numpy>=2"]', 'dynamic = ["dependencies"]')
    before = digest(spec_of, {"pyproject.toml": dynamic, "setup.py": "1"})

    assert before != digest(spec_of, {"pyproject.toml": dynamic, "setup.py": "2"})


def test_packages_to_be_built_from_the_index(spec_of: SpecOf) -> None:
    spec = spec_of({"requirements.txt": "--no-binary=NumPy,pandas\nnumpy\npandas"})

    assert [("sdist", "numpy"), ("sdist", "pandas")] == [(one.kind, one.name) for one in spec.sources]


def test_wheels_run_nothing(spec_of: SpecOf) -> None:
    spec = spec_of(
        {"requirements.txt": "https://example.org/x-1-py3-none-any.whl\n./y-1-py3-none-any.whl"}
        | {"y-1-py3-none-any.whl": ""}
    )

    assert (2, ()) == (len(spec.sources), spec.executions)
