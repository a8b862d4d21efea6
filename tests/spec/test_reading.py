"""Whole repositories, hostile ones above all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuild.errors import EnvbuildError, UsageError
from envbuild.source import Repo
from envbuild.spec import Spec, read_spec
from envbuild.spec.model import PythonRequest
from tests.spec.conftest import Files
from tests.spec.documents import notebook
from tests.spec.test_detection import CANDIDATES

MakeRepo = Callable[[Files], Repo]
SpecOf = Callable[..., Spec]


def _errors(spec: Spec) -> list[tuple[str, str | None]]:
    return [(problem.code, problem.file) for problem in spec.problems if problem.level == "error"]


def test_all_of_it(spec_of: SpecOf) -> None:
    spec = spec_of(
        {
            "runtime.txt": "python-3.11",
            "requirements.txt": "numpy\n-c constraints.txt",
            "constraints.txt": "numpy<3",
            "analysis.ipynb": notebook("import numpy", kernel="my-kernel"),
            "sub/other.ipynb": notebook("import numpy", kernel="other"),
            "plain.ipynb": notebook("", kernel="my-project"),
        }
    )
    assert ("my-project", "My Project") == (spec.name, spec.display_name)
    assert ("my-kernel", "other") == spec.kernels
    assert ["analysis.ipynb", "plain.ipynb", "sub/other.ipynb"] == [item.path for item in spec.notebooks]
    assert ["numpy<3"] == [item.text for item in spec.constraints]
    assert (
        PythonRequest("==3.11.*", "runtime.txt", 1),
        PythonRequest("==3.11.*", "analysis.ipynb", hint=True),
    ) == spec.python
    assert () == spec.problems


def test_reading_twice_gives_the_same(make_repo: MakeRepo) -> None:
    repo = make_repo({"b.ipynb": notebook("import b"), "a.ipynb": notebook("import a, c"), "x.py": ""})
    assert read_spec(repo) == read_spec(repo)


def test_every_mistake_is_named(spec_of: SpecOf) -> None:
    """One run, all errors."""
    spec = spec_of(
        {
            "a.ipynb": "{",
            "b.ipynb": '{"nbformat": 99}',
            "c.ipynb": notebook(kernel="../../etc"),
            "requirements.txt": "a b",
            "apt.txt": "git;",
            "runtime.txt": "nonsense",
        }
    )
    assert [
        ("bad-notebook", "a.ipynb"),
        ("bad-nbformat", "b.ipynb"),
        ("bad-kernel-name", "c.ipynb"),
        ("bad-apt", "apt.txt"),
        ("bad-requirement", "requirements.txt"),
        ("bad-runtime", "runtime.txt"),
    ] == sorted(_errors(spec), key=lambda item: (item[1] or "").replace("apt", "n"))
    assert () == spec.kernels


class TestNames:
    @pytest.mark.parametrize(
        ("directory", "name"),
        [
            ("Plain", "plain"),
            ("with space", "with-space"),
            ("naïve", "na-ve"),
            ("..x", "x"),
            ("日本", "repository"),
            ("-r", "r"),
            ("a\nb", "a-nb"),
            ("x" * 200, "x" * 60),
        ],
    )
    def test_of_the_directory(self, tmp_path: Path, directory: str, name: str) -> None:
        root = tmp_path / directory
        root.mkdir()
        spec = read_spec(Repo(root))

        assert name == spec.name
        assert spec.display_name.isprintable()

    def test_of_the_option(self, spec_of: SpecOf) -> None:
        assert ("given", "Given") == (lambda spec: (spec.name, spec.display_name))(spec_of({}, name="Given"))

    @pytest.mark.parametrize("name", ["", "../x", "a b", "a\nb"])
    def test_bad_option(self, spec_of: SpecOf, name: str) -> None:
        with pytest.raises(UsageError):
            spec_of({}, name=name)

    @pytest.mark.parametrize("name", ['"../../etc"', '"\\u001b[31m"', "3", '""'])
    def test_hostile_project_name(self, spec_of: SpecOf, name: str) -> None:
        spec = spec_of({"pyproject.toml": f"[project]\nname = {name}\ndependencies = []"})

        assert ("my-project", "My Project") == (spec.name, spec.display_name)
        assert [("bad-pyproject", "pyproject.toml", 2)] == [
            (problem.code, problem.file, problem.line) for problem in spec.problems
        ]


class TestPython:
    def test_option_replaces_the_files(self, spec_of: SpecOf) -> None:
        spec = spec_of({"runtime.txt": "python-3.11"}, python="3.13")
        assert (PythonRequest("==3.13.*", "command line"),) == spec.python

    def test_bad_option(self, spec_of: SpecOf) -> None:
        with pytest.raises(UsageError):
            spec_of({}, python="snake")

    @pytest.mark.parametrize(
        ("version", "hints"),
        [("3.12.1", ["==3.12.*"]), ("2.7", ["==2.7.*"]), (3.11, []), ("x", []), ("", [])],
    )
    def test_hints(self, spec_of: SpecOf, version: Any, hints: list[str]) -> None:
        spec = spec_of({"n.ipynb": notebook(language_info={"version": version})})
        assert hints == [request.specifier for request in spec.python if request.hint]

    def test_the_same_hint_is_given_once(self, spec_of: SpecOf) -> None:
        assert 1 == len(spec_of({"a.ipynb": notebook(), "b.ipynb": notebook()}).python)


class TestHostile:
    @pytest.mark.parametrize("name", ["fifo", "n.ipynb", "requirements.txt", "binder", "start"])
    def test_fifos(self, make_repo: MakeRepo, name: str) -> None:
        repo = make_repo({})
        os.mkfifo(repo.root / name)

        assert [("special-file", name)] == _errors(read_spec(repo))

    @pytest.mark.parametrize("name", ["link", "n.ipynb", "requirements.txt", "pyproject.toml", "runtime.txt"])
    @pytest.mark.parametrize("target", ["../outside", "/etc/passwd", "../../.."])
    def test_links_that_lead_out(self, make_repo: MakeRepo, name: str, target: str) -> None:
        repo = make_repo({})
        (repo.root.parent / "outside").write_text("secret")
        (repo.root / name).symlink_to(target)
        spec = read_spec(repo)

        assert [("outside-repository", name)] == _errors(spec)
        assert "secret" not in repr(spec)

    def test_links_inside_and_to_nothing_are_fine(self, make_repo: MakeRepo) -> None:
        repo = make_repo({"a.ipynb": notebook("import numpy"), "sub/requirements.txt": "numpy"})
        (repo.root / "latest.ipynb").symlink_to("a.ipynb")
        (repo.root / ".#a.ipynb").symlink_to("me@host.1:2")
        (repo.root / "requirements.txt").symlink_to("sub/requirements.txt")
        spec = read_spec(repo)

        assert ["a.ipynb", "latest.ipynb"] == [item.path for item in spec.notebooks]
        assert ["numpy"] == [item.text for item in spec.requirements]
        assert () == spec.problems

    @pytest.mark.parametrize(
        "name", [b"a b", b'it\'s "quoted"', b"new\nline", b"\xff\xfe", b"-r", b"$(touch x)", b"\x1b[31m"]
    )
    def test_file_names(self, make_repo: MakeRepo, name: bytes) -> None:
        """Good notebooks are read, bad ones named on one line."""
        repo = make_repo({})
        path = os.path.join(os.fsencode(repo.root), name)  # noqa: PTH118
        for suffix, content in ((b".ipynb", notebook("import numpy")), (b"2.ipynb", "{")):
            with open(path + suffix, "w") as stream:  # noqa: PTH123
                stream.write(content)
        spec = read_spec(repo)

        assert 1 == len(spec.notebooks)
        assert ["bad-notebook"] == [code for code, _ in _errors(spec)]
        assert all(text.isprintable() for text in (spec.notebooks[0].path, spec.problems[0].file or ""))

    def test_a_read_only_repository(self, make_repo: MakeRepo) -> None:
        repo = make_repo({"requirements.txt": "numpy", "n.ipynb": notebook("import numpy")})
        repo.root.chmod(0o555)
        try:
            assert () == read_spec(repo).problems
        finally:
            repo.root.chmod(0o755)

    def test_credentials_are_nowhere(self, spec_of: SpecOf) -> None:
        url = "https://me:hunter2@example.org/simple?token=hunter2"
        spec = spec_of(
            {
                "requirements.txt": f"-i {url}\n{url}\na @ {url}\n-e git+{url}\n-r {url}\nx {url}\n-f{url}",
                "runtime.txt": url,
                ".python-version": url,
                "n.ipynb": notebook(f"!pip install {url}\n%pip install -i {url} a", kernel=url),
                "pyproject.toml": f'[project]\nname = "{url}"\nrequires-python = "{url}"',
            }
        )
        assert "hunter2" not in repr(spec)

    def test_nothing_of_it_runs(self, make_repo: MakeRepo, tmp_path: Path) -> None:
        """Read from inside the repository, by a fresh interpreter, as a user would."""
        canary = tmp_path / "canary"
        code = f"open({str(canary)!r}, 'w').close()\n"
        names = (
            "setup.py",
            "conftest.py",
            "sitecustomize.py",
            "usercustomize.py",
            "tomli.py",
            "json.py",
            "msgspec.py",
        )
        repo = make_repo(
            dict.fromkeys(names, code)
            | {
                "x.pth": f"import os; {code}",
                "pip.conf": "[global]\nindex-url = x",
                "uv.toml": "index-url = 'x'",
            }
            | {"n.ipynb": notebook(code, f"!touch {canary}", "import conftest"), "requirements.txt": "numpy"}
        )
        program = """
from envbuild.source import open_repo
from envbuild.spec import read_spec
read_spec(open_repo("."))
"""
        subprocess.run([sys.executable, "-P", "-c", program], cwd=repo.root, check=True, timeout=600)

        assert not canary.exists()

    def test_code_with_warnings(self, spec_of: SpecOf) -> None:
        """Python warns about invalid escapes while it parses; that is the notebook's affair."""
        spec = spec_of({"n.ipynb": notebook("import numpy\nx = '\\d'\nassert (1, 'x')\n1 is 1")})
        assert ["numpy"] == [item.text for item in spec.requirements]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(
            [name for name, _ in CANDIDATES.values()] + ["runtime.txt", ".python-version", "n.ipynb"]
        ),
        st.one_of(
            st.binary(max_size=200), st.sampled_from([content.encode() for _, content in CANDIDATES.values()])
        ),
        max_size=5,
    )
)
def test_any_files_are_read(make_repo: MakeRepo, files: dict[str, bytes]) -> None:
    """Never another exception than ours, and no file of a known kind is passed over in silence."""
    repo = make_repo(files)
    try:
        spec = read_spec(repo)
    except EnvbuildError:
        return
    finally:
        for name in files:
            (repo.root / name).unlink()
    spoken_of = {file.path for file in spec.files} | {problem.file for problem in spec.problems}
    assert set(files) - {"n.ipynb"} <= spoken_of
