"""What is installed when no file declares anything."""

from __future__ import annotations

from collections.abc import Callable

from envbuild.source import RepoFile
from envbuild.spec import Spec
from envbuild.spec.inference import local_modules
from envbuild.spec.model import Requirement
from tests.spec.documents import notebook

SpecOf = Callable[..., Spec]

BLOCK = "# /// script\n# requires-python = '>=3.12'\n# dependencies = ['pandas>=2']\n# ///"


def _texts(spec: Spec) -> list[str]:
    return [requirement.text for requirement in spec.requirements]


def test_imports_become_requirements_at_their_notebook(spec_of: SpecOf) -> None:
    spec = spec_of({"b.ipynb": notebook("import yaml, numpy"), "a.ipynb": notebook("import numpy, os")})

    assert spec.inferred
    assert (Requirement("numpy", "a.ipynb"), Requirement("PyYAML", "b.ipynb")) == spec.requirements


def test_it_is_said_and_how_to_override(spec_of: SpecOf) -> None:
    (problem,) = spec_of({"a.ipynb": notebook("import numpy, helper"), "lib/helper.py": ""}).problems

    assert ("note", "inferred") == (problem.level, problem.code)
    assert "helper" in problem.message
    assert "requirements.txt" in (problem.remedy or "")


def test_the_repositorys_own_modules_are_not_installed(spec_of: SpecOf) -> None:
    files = {"helper.py": "", "src/package/__init__.py": "", "lib/plain/code.py": ""}
    spec = spec_of({"a.ipynb": notebook("import helper, package.x, plain, numpy")} | files)

    assert ["numpy"] == _texts(spec)


def test_local_modules() -> None:
    paths = [b"a.py", b"b/c.py", b"d/e/f.txt", b"\xff.py", b"g.py/x"]
    files = tuple(RepoFile(path, "file") for path in paths)

    assert {"a", "b", "c", "\ufffd"} == local_modules(files)


def test_install_lines_give_versions(spec_of: SpecOf) -> None:
    """What is asked for with a version is not asked for without one too."""
    spec = spec_of({"a.ipynb": notebook("import numpy, yaml", "%pip install 'numpy>=2' seaborn")})

    assert ["numpy>=2", "PyYAML", "seaborn"] == _texts(spec)


def test_a_script_block_says_all(spec_of: SpecOf) -> None:
    """Its notebook's imports are not searched for more; other notebooks' are."""
    spec = spec_of({"a.ipynb": notebook(BLOCK, "import scipy"), "b.ipynb": notebook("import numpy")})

    assert ["numpy", "pandas>=2"] == _texts(spec)
    assert (">=3.12", "a.ipynb", False) == (
        spec.python[0].specifier,
        spec.python[0].file,
        spec.python[0].hint,
    )


def test_unknown_imports_are_a_warning(spec_of: SpecOf) -> None:
    spec = spec_of({"a.ipynb": notebook("from google.colab import drive")})

    assert [("warning", "unknown-import", "a.ipynb"), ("note", "no-dependencies", None)] == [
        (problem.level, problem.code, problem.file) for problem in spec.problems
    ]
    assert () == spec.requirements


def test_declared_files_end_all_inference(spec_of: SpecOf) -> None:
    spec = spec_of({"requirements.txt": "", "a.ipynb": notebook("import numpy", BLOCK)})

    assert ((), False) == (spec.requirements, spec.inferred)
    assert [True] == [request.hint for request in spec.python]


def test_installs_that_are_not_declared_are_a_warning(spec_of: SpecOf) -> None:
    cells = ("x", "!pip install NumPy seaborn pip", BLOCK)
    spec = spec_of({"requirements.txt": "numpy", "a.ipynb": notebook(*cells)})

    assert [
        "cell 2 installs 'seaborn', which requirements.txt does not declare",
        "its script block names 'pandas>=2', which requirements.txt does not declare",
    ] == [problem.message for problem in spec.problems]
    assert {"warning"} == {problem.level for problem in spec.problems}


def test_installs_are_not_held_against_a_file_that_is_not_read(spec_of: SpecOf) -> None:
    spec = spec_of({"conda-lock.yml": "", "a.ipynb": notebook("!pip install numpy")})
    assert ["bad-lock"] == [problem.code for problem in spec.problems]


def test_nothing_at_all(spec_of: SpecOf) -> None:
    spec = spec_of({})

    assert ((), True) == (spec.requirements, spec.inferred)
    assert ["no-dependencies"] == [problem.code for problem in spec.problems]
