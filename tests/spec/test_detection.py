"""Which files count, and that every other one is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from envbuild.errors import UsageError
from envbuild.spec import Spec
from envbuild.spec.detection import DEAD_KINDS, DEPENDENCY_KINDS, ENGINE_KINDS
from envbuild.spec.model import Adopted
from tests.spec.documents import (
    CONDA_LOCK,
    PDM_LOCK,
    PIPFILE_LOCK,
    PIXI_LOCK,
    POETRY_LOCK,
    PYLOCK,
    UV_LOCK,
    notebook,
)
from tests.spec.test_requirements import HASH

SpecOf = Callable[..., Spec]

HASHED = f"numpy==2.0.0 --hash={HASH}"
PROJECT = '[project]\nname = "demo"\nrequires-python = ">=3.11"\ndependencies = ["from-project"]\n'
SETUP_CFG = "[metadata]\nname = demo\n"

# In order of precedence: label -> (file, content).
CANDIDATES = {
    "pylock": ("pylock.toml", PYLOCK),
    "uv": ("uv.lock", UV_LOCK),
    "poetry": ("poetry.lock", POETRY_LOCK),
    "pipenv lock": ("Pipfile.lock", PIPFILE_LOCK),
    "pdm": ("pdm.lock", PDM_LOCK),
    "hashed": ("requirements.txt", HASHED),
    "conda-lock": ("conda-lock.yml", CONDA_LOCK),
    "pixi lock": ("pixi.lock", PIXI_LOCK),
    "conda": ("environment.yml", "channels: [nodefaults, lab]\ndependencies: [python=3.12]\n"),
    "pixi": ("pixi.toml", "[workspace]\nchannels = ['lab']\n[dependencies]\npython = '3.12.*'\n"),
    "pipenv": ("Pipfile", "[packages]\n"),
    "requirements": ("requirements.txt", "from-txt"),
    "requirements.in": ("requirements.in", "from-in"),
    "pyproject": ("pyproject.toml", PROJECT),
    "setup.cfg": ("setup.cfg", SETUP_CFG),
    "setup.py": ("setup.py", ""),
}
SUPPORTED = {
    "pylock",
    "poetry",
    "pipenv lock",
    "pdm",
    "pipenv",
    "uv",
    "hashed",
    "conda-lock",
    "pixi lock",
    "conda",
    "pixi",
    "requirements",
    "requirements.in",
    "pyproject",
    "setup.cfg",
    "setup.py",
}
NEED_PROJECT = {"uv", "poetry", "pdm"}
ORDER = list(CANDIDATES)
PAIRS = [
    (winner, loser)
    for index, winner in enumerate(ORDER)
    for loser in ORDER[index + 1 :]
    if CANDIDATES[winner][0] != CANDIDATES[loser][0]
]


def _errors(spec: Spec) -> list[tuple[str, str | None]]:
    return [(problem.code, problem.file) for problem in spec.problems if problem.level == "error"]


def _used(spec: Spec) -> dict[str, bool]:
    return {file.path: file.used for file in spec.files}


@pytest.mark.parametrize(("winner", "loser"), PAIRS)
def test_precedence(spec_of: SpecOf, winner: str, loser: str) -> None:
    """Of two files the one of higher precedence counts, alone; the other is named with the reason."""
    (winner_file, winner_content), (loser_file, loser_content) = CANDIDATES[winner], CANDIDATES[loser]
    files = {winner_file: winner_content, loser_file: loser_content}
    if winner in NEED_PROJECT:
        files["pyproject.toml"] = PROJECT
    spec = spec_of(files)
    reasons = {file.path: file.reason for file in spec.files}

    assert (winner in SUPPORTED) == _used(spec)[winner_file]
    assert ([] if winner in SUPPORTED else [("not-supported-yet", winner_file)]) == _errors(spec)
    if loser != "pyproject":
        assert winner == "pipenv lock" or not _used(spec)[loser_file]
    assert winner_file in reasons[loser_file]
    assert not spec.inferred


@pytest.mark.parametrize("label", ORDER)
def test_alone(spec_of: SpecOf, label: str) -> None:
    file, content = CANDIDATES[label]
    spec = spec_of({file: content} | ({"pyproject.toml": PROJECT} if label in NEED_PROJECT else {}))

    assert (label in SUPPORTED) == _used(spec)[file]
    assert ([] if label in SUPPORTED else [("not-supported-yet", file)]) == _errors(spec)


@pytest.mark.parametrize("directory", ["binder", ".binder"])
@pytest.mark.parametrize(
    "name",
    sorted(
        {
            name
            for kinds in (DEPENDENCY_KINDS, ENGINE_KINDS, DEAD_KINDS)
            for _, names in kinds
            for name in names
        }
        | {"Dockerfile", "apt.txt", "runtime.txt", ".python-version", "start", "pylock.dev.toml"}
    ),
)
def test_the_binder_directory_hides_the_root(spec_of: SpecOf, directory: str, name: str) -> None:
    """Whatever is in the root is named, and not even read."""
    spec = spec_of({name: b"\xff", f"{directory}/requirements.txt": "numpy"})

    assert {name: False, f"{directory}/requirements.txt": True} == _used(spec)
    assert ["numpy"] == [requirement.text for requirement in spec.requirements]
    assert [] == _errors(spec)


def test_two_binder_directories_are_an_error(spec_of: SpecOf) -> None:
    spec = spec_of({"binder/requirements.txt": "a", ".binder/requirements.txt": "b"})
    assert [("two-binder-directories", ".binder")] == _errors(spec)


def test_a_file_called_binder_is_no_binder_directory(spec_of: SpecOf) -> None:
    assert {"requirements.txt": True} == _used(spec_of({"binder": "", "requirements.txt": "a"}))


def test_what_adds_to_the_environment_is_never_ignored(spec_of: SpecOf) -> None:
    assert {"apt.txt": True, "requirements.txt": True} == _used(
        spec_of({"apt.txt": "", "requirements.txt": "numpy"})
    )


@pytest.mark.parametrize("kind", [kind for kind, _ in DEAD_KINDS])
def test_what_nobody_can_use(spec_of: SpecOf, kind: str) -> None:
    """In the root it gives way to dependency files; alone, or in binder/, it was meant."""
    assert [("not-supported-yet", kind)] == _errors(spec_of({kind: ""}))
    assert [] == _errors(spec_of({kind: "", "requirements.txt": "numpy"}))
    spec = spec_of({f"binder/{kind}": "", "binder/requirements.txt": "numpy"})
    assert [("not-supported-yet", f"binder/{kind}")] == _errors(spec)


def test_adopted_locks(spec_of: SpecOf) -> None:
    assert Adopted("requirements.txt", "requirements.txt") == spec_of({"requirements.txt": HASHED}).adopted
    assert Adopted("pylock.toml", "pylock.toml") == spec_of({"pylock.toml": PYLOCK}).adopted


def test_a_named_pylock(spec_of: SpecOf) -> None:
    spec = spec_of({"pylock.dev.toml": PYLOCK, "requirements.txt": "a"})

    assert Adopted("pylock.toml", "pylock.dev.toml") == spec.adopted
    assert {"pylock.dev.toml": True, "requirements.txt": False} == _used(spec)


def test_several_named_pylocks_are_ambiguous(spec_of: SpecOf) -> None:
    spec = spec_of({"pylock.a.toml": PYLOCK, "pylock.b.toml": PYLOCK})

    assert [("ambiguous-lock", "pylock.a.toml")] == _errors(spec)


def test_pylock_without_a_name_wins(spec_of: SpecOf) -> None:
    spec = spec_of({"pylock.a.toml": PYLOCK, "pylock.b.toml": PYLOCK, "pylock.toml": PYLOCK})

    assert {"pylock.a.toml": False, "pylock.b.toml": False, "pylock.toml": True} == _used(spec)
    assert [] == _errors(spec)


def test_uv_lock_with_extras_and_groups(spec_of: SpecOf) -> None:
    project = (
        PROJECT
        + '[project.optional-dependencies]\nx = ["from-extra"]\n[dependency-groups]\ng = ["from-group"]\n'
    )
    spec = spec_of({"uv.lock": UV_LOCK, "pyproject.toml": project}, extras=("x",), groups=("g",))

    assert Adopted("uv.lock", "uv.lock", ("x",), ("g",)) == spec.adopted
    assert ["from-project", "from-extra", "from-group"] == [item.text for item in spec.requirements]


def test_uv_lock_needs_its_pyproject(spec_of: SpecOf) -> None:
    assert [("bad-lock", "uv.lock")] == _errors(spec_of({"uv.lock": UV_LOCK}))


def test_hashed_requirements_in_binder(spec_of: SpecOf) -> None:
    spec = spec_of({"binder/requirements.txt": HASHED})

    assert Adopted("requirements.txt", "binder/requirements.txt") == spec.adopted
    assert (HASH,) == spec.requirements[0].hashes


def test_mistakes_in_a_file_that_does_not_count_are_not_reported(spec_of: SpecOf) -> None:
    assert [] == _errors(spec_of({"pylock.toml": PYLOCK, "requirements.txt": "a b"}))


def test_a_broken_lock_is_not_passed_over(spec_of: SpecOf) -> None:
    """The next file would give another environment than the one that was locked."""
    spec = spec_of({"pylock.toml": "", "requirements.txt": "numpy"})

    assert [("bad-lock", "pylock.toml")] == _errors(spec)
    assert () == spec.requirements


def test_pyproject_gives_the_name_and_python_even_if_it_declares_nothing_used(spec_of: SpecOf) -> None:
    spec = spec_of({"requirements.txt": "numpy", "pyproject.toml": PROJECT})

    assert ("demo", "demo") == (spec.name, spec.display_name)
    assert [">=3.11"] == [request.specifier for request in spec.python]
    assert ["numpy"] == [requirement.text for requirement in spec.requirements]
    assert {"requirements.txt": True, "pyproject.toml": True} == _used(spec)


def test_a_pyproject_of_tools_only_declares_nothing(spec_of: SpecOf) -> None:
    spec = spec_of({"pyproject.toml": "[tool.ruff]\nline-length = 100", "n.ipynb": notebook("import numpy")})

    assert spec.inferred
    assert {"pyproject.toml": False} == _used(spec)


def test_a_setup_cfg_of_tools_only_declares_nothing(spec_of: SpecOf) -> None:
    spec = spec_of({"setup.cfg": "[flake8]\nmax-line-length = 100"})

    assert [] == _errors(spec)
    assert {"setup.cfg": False} == _used(spec)


def test_groups_alone_declare_nothing_until_selected(spec_of: SpecOf) -> None:
    files = {"pyproject.toml": '[dependency-groups]\ndev = ["a"]'}

    assert "dev" in spec_of(files).files[0].reason
    assert spec_of(files).inferred
    assert ["a"] == [item.text for item in spec_of(files, groups=("dev",)).requirements]


def test_other_requirements_files_are_named(spec_of: SpecOf) -> None:
    """Unless they are included."""
    files = {
        "requirements.txt": "-r requirements-base.txt",
        "requirements-base.txt": "a",
        "dev-requirements.txt": "b",
    }
    assert {
        "requirements.txt": True,
        "requirements-base.txt": True,
        "dev-requirements.txt": False,
    } == _used(spec_of(files))


def test_start_is_used(spec_of: SpecOf) -> None:
    assert {"start": True} == _used(spec_of({"start": "#!/bin/sh"}))


def test_directories_are_no_files(spec_of: SpecOf) -> None:
    spec = spec_of({"Dockerfile/x": "", "environment.yml/x": "", "start/x": ""})
    assert ((), []) == (spec.files, _errors(spec))


class TestOverride:
    def test_requirements_replace_all_files(self, spec_of: SpecOf) -> None:
        spec = spec_of({"environment.yml": "", "requirements.txt": "a b"}, requirements=("numpy >= 2",))

        assert ["numpy >= 2"] == [item.text for item in spec.requirements]
        assert {"environment.yml": False, "requirements.txt": False} == _used(spec)
        assert ([], False) == (_errors(spec), spec.inferred)

    @pytest.mark.parametrize("text", ["a b", "-r x", "https://me:secret@example.org/x.whl", "./x", ""])
    def test_bad_requirement(self, spec_of: SpecOf, text: str) -> None:
        with pytest.raises(UsageError) as caught:
            spec_of({}, requirements=(text,))

        assert "secret" not in caught.value.message

    def test_extras_without_a_project(self, spec_of: SpecOf) -> None:
        with pytest.raises(UsageError) as caught:
            spec_of({"requirements.txt": "a"}, extras=("x",))

        assert "unknown-extra" == caught.value.code
