"""The package that a failed import needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild.drift.missing import with_package_named
from envbuild.errors import RepoError
from envbuild.source import open_repo
from envbuild.spec import read_spec

UV = 'version = 1\nrequires-python = ">=3.12"\n'
PROJECT = '[project]\nname = "a"\nversion = "1"\ndependencies = []\n'


def remedy(directory: Path, module: str, files: dict[str, str], code: str = "cell-failed") -> str | None:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content)
    repo = open_repo(str(directory))
    message = f"cell 3 (In [2]) failed: ModuleNotFoundError: No module named '{module}'"
    error = RepoError(message, code=code, file="a.ipynb", remedy="look", detail="Traceback")
    found = with_package_named(error, read_spec(repo), repo)
    assert (found.message, found.code, found.file, found.detail) == (message, code, "a.ipynb", "Traceback")
    return found.remedy


@pytest.mark.parametrize(
    ("module", "files", "expected"),
    [
        ("sklearn", {"requirements.txt": "numpy\n"}, "add `scikit-learn` to requirements.txt; look"),
        ("yaml.nodes", {"binder/requirements.txt": ""}, "add `pyyaml` to binder/requirements.txt; look"),
        (
            "six",
            {"pyproject.toml": PROJECT},
            "add `six` to pyproject.toml, in dependencies of [project]; look",
        ),
        ("six", {"pyproject.toml": PROJECT, "uv.lock": UV}, 'run `uv add "six"`; look'),
        ("six", {"Pipfile": "[packages]\n"}, 'add `six = "*"` to Pipfile, in [packages]; look'),
        (
            "six",
            {},
            "declare the dependencies: make a requirements.txt with `six` and what else is imported; look",
        ),
    ],
)
def test_the_package_and_the_file_are_named(
    tmp_path: Path, module: str, files: dict[str, str], expected: str
) -> None:
    assert remedy(tmp_path, module, files) == expected


@pytest.mark.parametrize(
    ("module", "files"),
    [
        ("helpers", {"requirements.txt": "", "src/helpers.py": ""}),  # the repository's own
        ("numpy.gone", {"requirements.txt": "numpy\n"}),  # declared already
        ("tkinter", {"requirements.txt": ""}),  # of the standard library
        ("google", {"requirements.txt": ""}),  # nobody knows whose
        ("six.moves'; 'six' is not a package", {"requirements.txt": ""}),
    ],
)
def test_what_no_package_would_mend_is_left_as_it_is(
    tmp_path: Path, module: str, files: dict[str, str]
) -> None:
    assert remedy(tmp_path, module, files) == "look"


def test_other_failures_are_left_as_they_are(tmp_path: Path) -> None:
    assert remedy(tmp_path, "six", {"requirements.txt": ""}, code="kernel-died") == "look"
