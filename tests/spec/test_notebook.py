"""Notebook files, good and bad."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuild.errors import RepoError
from envbuild.source import Repo
from envbuild.spec.findings import Findings
from envbuild.spec.model import ImportLine, InstallLine, Notebook, Problem, Requirement
from envbuild.spec.notebook import read_notebook
from tests.spec.conftest import Files
from tests.spec.documents import notebook, notebook_3


@pytest.fixture
def read(make_repo: Callable[[Files], Repo], findings: Findings) -> Callable[[str | bytes], Notebook]:
    """Read one notebook with the given content."""
    return lambda content: read_notebook(make_repo({"n.ipynb": content}), "n.ipynb", findings)


Read = Callable[[str | bytes], Notebook]


def test_everything_a_notebook_says(read: Read, findings: Findings) -> None:
    text = notebook(
        "import numpy, os\nfrom sklearn.svm import SVC",
        "# /// script\n# requires-python = '>=3.12'\n# dependencies = ['pandas>=2']\n# ///",
        "%pip install seaborn",
        kernel="my-kernel",
    )
    assert Notebook(
        path="n.ipynb",
        kernel="my-kernel",
        language="python",
        language_version="3.11.4",
        imports=("numpy", "sklearn"),
        installs=(InstallLine("pip install seaborn", ("seaborn",), cell=3, line=1),),
        script_requirements=(Requirement("pandas>=2", "n.ipynb"),),
        script_python=">=3.12",
        import_lines=(
            ImportLine("numpy", cell=1, line=1),
            ImportLine("os", cell=1, line=1),
            ImportLine("sklearn.svm.SVC", cell=1, line=2),
        ),
    ) == read(text)
    assert () == findings.problems


def test_nbformat_3(read: Read) -> None:
    result = read(notebook_3("import numpy\n%pip install a", "import pandas", language="python"))

    assert ("numpy", "pandas") == result.imports
    assert ("a",) == result.installs[0].requirements


def test_what_nbformat_writes_is_read(read: Read) -> None:
    """The reference implementation's own output, with an output that must not be searched."""
    document = nbformat.v4.new_notebook()  # type: ignore[no-untyped-call]
    output = nbformat.v4.new_output("stream", text="import wrong")  # type: ignore[no-untyped-call]
    document.cells = [
        nbformat.v4.new_markdown_cell("import wrong"),  # type: ignore[no-untyped-call]
        nbformat.v4.new_code_cell("import right", outputs=[output]),  # type: ignore[no-untyped-call]
    ]
    assert ("right",) == read(nbformat.writes(document)).imports


def test_modules_that_the_notebook_writes_are_its_own(read: Read) -> None:
    assert ("numpy",) == read(notebook("%%writefile helper.py\nx = 1", "import helper, numpy")).imports


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_only_python_writes(read: Read, value: float) -> None:
    """Jupyter saves NaN in outputs although JSON has none."""
    document = json.loads(notebook("import a"))
    document["cells"][0]["outputs"] = [{"data": {"application/json": value}}]

    assert ("a",) == read(json.dumps(document)).imports


def test_byte_order_mark(read: Read) -> None:
    assert ("a",) == read(b"\xef\xbb\xbf" + notebook("import a").encode()).imports


def test_no_kernel_and_no_language(read: Read) -> None:
    result = read(notebook("import a", kernel=None, language=None))
    assert (None, None, ("a",)) == (result.kernel, result.language, result.imports)


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        ("", "bad-notebook", 1),
        ("{", "bad-notebook", 1),
        (notebook("import a")[:-20], "bad-notebook", 1),
        ('{\n"nbformat": 4,\n"cells": [}\n', "bad-notebook", 3),
        ("[]", "bad-notebook", None),
        ("null", "bad-notebook", None),
        ('"text"', "bad-notebook", None),
        ("{}", "bad-notebook", None),
        ('{"nbformat": "4", "cells": []}', "bad-notebook", None),
        ('{"nbformat": 4, "cells": {}}', "bad-notebook", None),
        ('{"nbformat": 4, "cells": [{"cell_type": "code", "source": [1]}]}', "bad-notebook", None),
        ('{"nbformat": 4, "metadata": {"kernelspec": {"name": 3}}}', "bad-notebook", None),
        ("\0" * 100, "bad-notebook", 1),
        (b'{"nbformat": 4,\n\0', "bad-notebook", 2),
        (b'{"nbformat": 4, "cells": [],\n"metadata": {"kernelspec": {"name": "\xff"}}}', "bad-notebook", 2),
        ('{"nbformat": 2, "worksheets": []}', "bad-nbformat", None),
        ('{"nbformat": 99, "cells": []}', "bad-nbformat", None),
        ('{"nbformat": 99, "cells": {"new": "shape"}}', "bad-nbformat", None),
        ('{"nbformat": 4, "x": ' + "[" * 100_000, "bad-notebook", None),
        ('{"nbformat": ' + "9" * 10_000 + "}", "bad-notebook", None),
    ],
)
def test_bad_files(read: Read, content: str | bytes, code: str, line: int | None) -> None:
    with pytest.raises(RepoError) as caught:
        read(content)
    error = caught.value

    assert (code, "n.ipynb", line) == (error.code, error.file, error.line)
    assert str(error).isprintable()
    assert len(str(error)) < 300


def test_nul_bytes_are_named(read: Read) -> None:
    with pytest.raises(RepoError, match="NUL"):
        read(b'{"nbformat": 4, \0}')


@pytest.mark.parametrize(
    "name",
    [
        "../../etc",
        "..",
        ".",
        "/etc",
        "a/b",
        "a b",
        "a\nb",
        "-\0",
        "ünï",
        "x" * 101,
        "python3; rm",
        "\x1b[31m",
    ],
)
def test_kernel_names_are_validated(read: Read, findings: Findings, name: str) -> None:
    result = read(notebook(kernel=name))
    (problem,) = findings.problems

    assert None is result.kernel
    assert ("error", "bad-kernel-name", "n.ipynb") == (problem.level, problem.code, problem.file)
    assert problem.message.isprintable()


@pytest.mark.parametrize(
    ("kernel", "metadata"),
    [
        ("ir", {"language": "R"}),
        ("ir", {"language": None}),
        ("julia-1.9", {"language": None}),
        ("bash", {"language": "bash"}),
        ("octave", {"language": "octave"}),
        ("python3", {"language": "R"}),
    ],
)
def test_cells_in_other_languages_are_not_read(
    read: Read, findings: Findings, kernel: str, metadata: dict[str, Any]
) -> None:
    result = read(notebook("library(x)\nimport a", kernel=kernel, **metadata))

    assert () == findings.problems
    assert (kernel, ()) == (result.kernel, result.imports)
    assert result.language not in (None, "python")


def test_the_kernelspecs_language_counts_first(read: Read, findings: Findings) -> None:
    text = json.loads(notebook("import a", language="R"))
    text["metadata"]["kernelspec"]["language"] = "python"

    assert ("a",) == read(json.dumps(text)).imports
    assert () == findings.problems


def test_texts_of_the_metadata_are_safe_to_print(read: Read) -> None:
    result = read(notebook(language="R\x1b[31m", language_info={"name": "R\n", "version": "\u202e1"}))
    assert (r"R", r"\u202e1") == (result.language, result.language_version)


def test_python_2_is_a_warning(read: Read, findings: Findings) -> None:
    result = read(notebook("print 'x'\nimport numpy", language_info={"version": "2.7.18"}))

    assert ("numpy",) == result.imports
    assert [("warning", "python-2")] == [(problem.level, problem.code) for problem in findings.problems]


def test_install_of_what_no_index_has_is_a_warning(read: Read, findings: Findings) -> None:
    read(notebook("x", "!pip install git+https://me:secret@example.org/a"))

    assert (
        Problem(
            "warning",
            "install-not-supported",
            "cell 2 installs 'git+https://***@example.org/a', which the environment will lack",
            "n.ipynb",
            remedy="name the package in requirements.txt if an index has it",
        ),
    ) == findings.problems


def test_two_script_blocks_are_an_error(read: Read, findings: Findings) -> None:
    block = "# /// script\n# dependencies = []\n# ///"
    read(notebook(block, block))

    assert ["bad-script-block"] == [problem.code for problem in findings.problems]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["nbformat", "cells", "worksheets", "metadata", "kernelspec", "name", "source", "cell_type"]
            ),
            children,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(),
        JSON.map(lambda value: json.dumps(value).encode()),
        JSON.map(lambda value: json.dumps({"nbformat": 4, "metadata": value, "cells": value}).encode()),
        st.integers(0, 400).map(lambda end: notebook("import a", "%pip install b").encode()[:end]),
    )
)
def test_any_bytes_are_read_or_refused(make_repo: Callable[[Files], Repo], content: bytes) -> None:
    """Never another exception than :class:`RepoError`."""
    try:
        read_notebook(make_repo({"n.ipynb": content}), "n.ipynb", Findings())
    except RepoError as error:
        assert error.file == "n.ipynb"


def test_an_executed_copy_of_another_is_left_out(make_repo: Any) -> None:
    """Whatever it is called; not when what it was made from is gone, and not the notebook itself."""
    content = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "cells": [],
        "metadata": {"envbuild": {"notebook": "a.ipynb"}},
    }
    repo = make_repo({"out/a.ipynb": json.dumps(content)})

    assert read_notebook(repo, "out/a.ipynb", Findings(), {"a.ipynb", "out/a.ipynb"}) is None
    assert read_notebook(repo, "out/a.ipynb", Findings(), {"out/a.ipynb"}) is not None
