"""Imports and install lines in cells that are not quite Python."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.spec.cells import find_imports, find_installs, find_written_module


def modules_of(source: str) -> set[str]:
    return {found.module for found in find_imports(source)}


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("import numpy", {"numpy"}),
        ("import numpy as np, os.path", {"numpy", "os.path"}),
        ("from a.b import c as d, e", {"a.b.c", "a.b.e"}),
        ("from a import *", {"a.*"}),
        ("from . import a\nfrom .b import c", set()),
        ("def f():\n    with x:\n        import deep", {"deep"}),
        ("match x:\n    case 1:\n        import deep", {"deep"}),
        ("%matplotlib inline\nimport a", {"a"}),
        ("!ls *.py\nimport a", {"a"}),
        ("files = !ls\nimport a", {"a"}),
        ("x = %timeit -o f()\nimport a", {"a"}),
        ("if x:\n    !pip install b\n    import a", {"a"}),
        ("!pip install \\\n  b c\nimport a", {"a"}),
        ("print?\n?print\nnp.array??\nimport a", {"a"}),
        ("pip install b\nimport a", {"a"}),
        ("%%time\nimport a", {"a"}),
        ("\n%%capture out --no-stderr\nimport a", {"a"}),
        ("%%bash\nimport a", set()),
        ("%%writefile x.py\nimport a", set()),
        ("%%javascript\nimport a from 'b'", set()),
        ("# import a\nx = 'import b'", set()),
        ('"""\nimport a\n"""', set()),
        ("import a\nthis is not python", {"a"}),
        ("from a.b import (c,\nprint 'python 2'", {"a.b.c"}),
        ("print 'two'\nimport a, b.c as d", {"a", "b.c"}),
        ("import a\n\0", {"a"}),
        ("import a\r\nimport b", {"a", "b"}),
        ("%load_ext autoreload\n%load_ext line_profiler\nimport a", {"line_profiler", "a"}),
        ("%reload_ext rpy2.ipython", {"rpy2.ipython"}),
        ("# %load_ext a", set()),
        ("try:\n    import a\nexcept ImportError:\n    import b", {"b"}),
        ("if TYPE_CHECKING:\n    import a\nimport b", {"b"}),
        ("if sys.platform == 'win32':\n    import a\nelif x:\n    import b\nimport c", {"c"}),
        ("if os.name == 'nt':\n    import a", set()),
        ("if 'google.colab' in sys.modules:\n    import a", set()),
        ("if IN_COLAB:\n    import a", set()),
        ("if name == 'x':\n    import a", {"a"}),
        ("", set()),
    ],
)
def test_find_modules(source: str, modules: set[str]) -> None:
    assert modules == modules_of(source)


def test_imports_that_may_fail_are_not_needed() -> None:
    source = """
        try:
            import cupy as np
        except ImportError:
            import numpy as np
        try:
            import a
        except (KeyError, ModuleNotFoundError):
            pass
        try:
            import b
        except:
            pass
        try:
            import needed
        except ValueError:
            pass
    """
    assert {"numpy", "needed"} == modules_of(textwrap.dedent(source))


def test_long_cells_are_searched_without_parsing() -> None:
    assert {"a"} == modules_of("import a\n" + "x = 1\n" * 100_000)


@pytest.mark.parametrize(
    ("source", "requirements"),
    [
        ("%pip install a", ("a",)),
        ("!pip install a b", ("a", "b")),
        ("!pip3 install -q --upgrade 'a>=1' \"b[x]\"", ("a>=1", "b[x]")),
        ("!python -m pip install a", ("a",)),
        ("!{sys.executable} -m pip install a", ("a",)),
        ("!cd x && pip install a && ls", ("a",)),
        ("  %pip install a  # why", ("a",)),
        ("pip install a", ("a",)),
        ("%uv pip install a", ("a",)),
        ("out = !pip install a", ("a",)),
        ("%%bash\napt-get install x\npip install a", ("a",)),
        ("%%time\n!pip install a", ("a",)),
        ("!pip install \\\n   a \\\n   b", ("a", "b")),
        ("!pip install --index-url https://example.org/simple a", ("a",)),
        ("!pip install -r requirements.txt -c c.txt a", ("a",)),
        ("!pip install --index-url=https://example.org/simple a", ("a",)),
        ("!pip install 'a", ()),
    ],
)
def test_find_installs(source: str, requirements: tuple[str, ...]) -> None:
    (install,) = find_installs(source)
    assert requirements == install.requirements


@pytest.mark.parametrize(
    "source",
    [
        "",
        "x = 'pip install a'",
        "# !pip install a",
        "%%writefile x\n!pip install a",
        "!pip list",
        "!pipx install a",
    ],
)
def test_no_installs(source: str) -> None:
    assert [] == find_installs(source)


def test_install_says_where() -> None:
    (install,) = find_installs("import a\n\n!pip install a \\\n  b")
    assert 3 == install.line


def test_what_no_index_has_is_told_apart() -> None:
    (install,) = find_installs("!pip install git+https://me:secret@example.org/a.git ./local b")

    assert ("b",) == install.requirements
    assert ("'git+https://***@example.org/a.git'", "'./local'") == install.others
    assert "secret" not in install.text


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("%%writefile helper.py\nx = 1", "helper"),
        ("%%file -a sub/helper.py", "helper"),
        ("%%writefile 'helper.py'", "helper"),
        ("%%writefile data.txt", None),
        ("%%writefile x.pyc", None),
        ("x = 1", None),
    ],
)
def test_find_written_module(source: str, module: str | None) -> None:
    assert module == find_written_module(source)


@pytest.mark.parametrize("tool", ["conda", "mamba", "micromamba"])
def test_conda_lines_are_told_apart(tool: str) -> None:
    (install,) = find_installs(f"!{tool} install -y -c conda-forge numpy=1.20")

    assert () == install.requirements
    assert (f"{tool} install -y -c conda-forge numpy=1.20",) == install.others


PIECES = st.sampled_from(
    [
        "import ",
        "from ",
        "a",
        ".",
        ",",
        " ",
        "\n",
        "\\\n",
        "%",
        "%%",
        "!",
        "?",
        "pip install ",
        "(",
        "'",
        "#",
        "=",
        "\0",
    ]
)


@given(st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join)))
def test_any_text_is_a_cell(source: str) -> None:
    find_imports(source)
    find_installs(source)
    find_written_module(source)


@pytest.mark.parametrize(
    "source",
    [
        "import a\n" + "(" * 50_000,
        "import a\n" + "-" * 50_000 + "1",
        "import a\nx" + ".y" * 50_000,
        "import a\n" + " " * 150_000,
        "import a\n" + "a, " * 50_000 + "!",
        "!pip install " + "pip install " * 5_000,
    ],
)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_hostile_cells_end(source: str) -> None:
    """None of these may take more than a moment, or more stack than there is."""
    find_imports(source)
    find_installs(source)
