"""Locks of Poetry, PDM and Pipenv as files: what is in them, and every way in which they can be broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from envbuild.errors import RepoError, UsageError
from envbuild.source import Repo
from envbuild.spec import Spec
from envbuild.spec.locked import Dependency, LockedFile, LockedPackage, LockedSet
from envbuild.spec.model import PythonRequest
from envbuild.spec.pdm_lock import read_pdm_lock
from envbuild.spec.pipfile_lock import read_pipfile_lock
from envbuild.spec.poetry_lock import read_poetry_lock
from tests.spec.conftest import Files
from tests.spec.documents import PDM_LOCK, PIPFILE_LOCK, POETRY_LOCK

SpecOf = Callable[..., Spec]
MakeRepo = Callable[[Files], Repo]
HASH = "0" * 64
WHEEL = LockedFile("numpy-2.0.0-py3-none-any.whl", HASH)

READERS: dict[str, Callable[[Repo, str], LockedSet]] = {
    "poetry.lock": read_poetry_lock,
    "pdm.lock": read_pdm_lock,
    "Pipfile.lock": lambda repo, path: read_pipfile_lock(repo, path)[0],
}
DOCUMENTS = {"poetry.lock": POETRY_LOCK, "pdm.lock": PDM_LOCK, "Pipfile.lock": PIPFILE_LOCK}
PROJECT = '[project]\nname = "demo"\nversion = "0"\ndependencies = ["numpy"]\n'


def test_poetry_2(make_repo: MakeRepo) -> None:
    lock = read_poetry_lock(make_repo({"poetry.lock": POETRY_LOCK}), "poetry.lock")

    python = (SpecifierSet(">=3.9"),)
    package = LockedPackage("numpy", "2.0.0", 3, (WHEEL,), python, groups={"main": ""})
    assert (package,) == lock.packages
    assert PythonRequest("<4,>=3.11", "poetry.lock", 13) == lock.python


POETRY_1 = """\
[[package]]
name = "Requests"
version = "2.0"
category = "main"
optional = false
python-versions = "~2.7 || ^3.6"

[package.dependencies]
idna = ">=2,<3"
PySocks = {version = ">=1.5.6", optional = true, markers = "extra == \\"socks\\""}
colorama = [
    {version = "*", markers = "sys_platform == \\"win32\\""},
    {version = ">=1", extras = ["X"], markers = "sys_platform == \\"cygwin\\""},
]

[package.extras]
socks = ["PySocks (>=1.5.6)"]

[package.source]
type = "legacy"
url = "https://example.org/simple"
reference = "own"

[metadata]
lock-version = "1.1"
python-versions = "*"
content-hash = "00"

[metadata.files]
Requests = [{file = "requests-2.0-py3-none-any.whl", hash = "sha256:%s"}, {file = "a.tar.gz", hash = "md5:0"}]
"""


def test_poetry_1(make_repo: MakeRepo) -> None:
    """No groups, files by name at the end, and dependencies in all their forms."""
    lock = read_poetry_lock(make_repo({"poetry.lock": POETRY_1 % HASH}), "poetry.lock")

    (package,) = lock.packages
    assert ("requests", None, "https://example.org/simple") == (package.name, package.groups, package.index)
    assert (LockedFile("requests-2.0-py3-none-any.whl", HASH),) == package.files
    assert ("<2.8,>=2.7", "<4,>=3.6") == tuple(map(str, package.python))
    assert (
        Dependency("idna", (SpecifierSet(">=2,<3"),)),
        Dependency(
            "pysocks", (SpecifierSet(">=1.5.6"),), marker='extra == "socks"', when=frozenset({"socks"})
        ),
        Dependency("colorama", (SpecifierSet(),), marker='sys_platform == "win32"'),
        Dependency("colorama", (SpecifierSet(">=1"),), frozenset({"x"}), marker='sys_platform == "cygwin"'),
    ) == package.dependencies
    assert (None, "00") == (lock.python, lock.content_hash)


def test_poetry_has_a_marker_for_each_group(make_repo: MakeRepo) -> None:
    content = POETRY_LOCK.replace(
        'groups = ["main"]', 'groups = ["main", "Dev_1"]\nmarkers = {main = "extra == \\"x\\""}'
    )
    (package,) = read_poetry_lock(make_repo({"poetry.lock": content}), "poetry.lock").packages

    assert {"main": 'extra == "x"', "dev-1": ""} == package.groups


@pytest.mark.parametrize(
    ("source", "elsewhere"),
    [
        ('type = "git"\nurl = "https://example.org/x"\nreference = "v1"\nresolved_reference = "00"', "git+"),
        ('type = "url"\nurl = "https://example.org/x.zip"', "https://example.org/x.zip"),
        ('type = "directory"\nurl = "lib"', "the directory lib"),
        ('type = "file"\nurl = "x.whl"', "the file x.whl"),
    ],
)
def test_poetry_from_elsewhere(make_repo: MakeRepo, source: str, elsewhere: str) -> None:
    content = POETRY_LOCK.replace("\n[metadata]", f"\n[package.source]\n{source}\n\n[metadata]")
    (package,) = read_poetry_lock(make_repo({"poetry.lock": content}), "poetry.lock").packages

    assert package.elsewhere.startswith(elsewhere)


PDM_OLD = """\
[metadata]
lock_version = "4.3"
strategy = ["cross_platform"]

[[package]]
name = "requests"
version = "2.0"
requires_python = ">=3.7"
dependencies = ["idna<3,>=2", "colorama; sys_platform == 'win32'"]

[[package]]
name = "requests"
version = "2.0"
extras = ["Socks"]
dependencies = ["PySocks>=1.5.6", "requests==2.0"]

[metadata.files]
"requests 2.0" = [{url = "https://example.org/requests-2.0-py3-none-any.whl#x", hash = "sha256:%s"}]
"""


def test_pdm_with_dependencies_of_extras_apart(make_repo: MakeRepo) -> None:
    lock = read_pdm_lock(make_repo({"pdm.lock": PDM_OLD % HASH}), "pdm.lock")

    plain, extra = lock.packages
    assert (LockedFile("requests-2.0-py3-none-any.whl", HASH),) == plain.files
    assert (
        Dependency("idna", (SpecifierSet(">=2,<3"),)),
        Dependency("colorama", marker='sys_platform == "win32"'),
    ) == plain.dependencies
    assert (
        Dependency("pysocks", (SpecifierSet(">=1.5.6"),), when=frozenset({"socks"})),
    ) == extra.dependencies
    assert (None, 5, ()) == (plain.groups, plain.line, lock.platforms)


def test_pdm_platforms(make_repo: MakeRepo) -> None:
    one = '[[metadata.targets]]\nrequires_python = ">=3.11"\nplatform = "windows_amd64"\n'
    every = '[[metadata.targets]]\nrequires_python = ">=3.11"\n'
    repo = make_repo(
        {"one.lock": PDM_LOCK + one, "every.lock": PDM_LOCK + one + every}  # tables may come later
    )

    assert ("windows_amd64",) == read_pdm_lock(repo, "one.lock").platforms
    assert () == read_pdm_lock(repo, "every.lock").platforms


def test_pipfile_lock(make_repo: MakeRepo) -> None:
    document = {
        "_meta": {
            "pipfile-spec": 6,
            "hash": {"sha256": "00"},
            "sources": [{"name": "a"}, {"name": "own", "url": "https://example.org"}],
        },
        "default": {
            "NumPy": {"version": "==2.0", "hashes": ["sha256:" + HASH, "md5:0"], "index": "own"},
            "local": {"path": ".", "editable": True},
            "other": {"version": "*"},
        },
        "develop": {"pytest": {"version": "==8.0", "markers": "python_version >= '3.8'"}},
    }
    repo = make_repo({"Pipfile.lock": json.dumps(document, indent=4)})
    lock, _ = read_pipfile_lock(repo, "Pipfile.lock")

    numpy, local, other, pytest_ = lock.packages
    assert (
        LockedPackage(
            "numpy", "2.0", 18, (LockedFile("", HASH),), index="https://example.org", groups={"default": ""}
        )
        == numpy
    )
    assert (".", "") == (local.elsewhere, local.version)
    assert ("", "") == (other.elsewhere, other.version)
    assert {"dev": 'python_version >= "3.8"'} == pytest_.groups
    assert "00" == lock.content_hash


BROKEN = {
    "poetry.lock": [
        ("", None),
        ("[metadata]\nlock-version = 3", None),
        ('[metadata]\nlock-version = "3.0"', 2),
        ('package = {}\n[metadata]\nlock-version = "2.1"', None),
        ('package = [1]\n[metadata]\nlock-version = "2.1"', None),
        (POETRY_LOCK.replace('name = "numpy"', 'name = "../x"'), 3),
        (POETRY_LOCK.replace('name = "numpy"', "name = 1"), 3),
        (POETRY_LOCK.replace('"2.0.0"', '"two"'), 3),
        (POETRY_LOCK.replace('">=3.9"', '"snake"'), 3),
        (POETRY_LOCK.replace("numpy-2.0.0-py3", "../numpy-2.0.0-py3"), 3),
        (POETRY_LOCK.replace("file =", "fil ="), 3),
        (POETRY_LOCK.replace('["main"]', "1"), 3),
        (POETRY_LOCK.replace('["main"]', '["main"]\nmarkers = "snake"'), 3),
        (POETRY_LOCK.replace('["main"]', '["main"]\nmarkers = 1'), 3),
        (POETRY_LOCK.replace('["main"]', '["main"]\ndependencies = 1'), 3),
        (POETRY_LOCK.replace('["main"]', '["main"]\ndependencies = {x = 1}'), 3),
        (POETRY_LOCK.replace('["main"]', '["main"]\ndependencies = {x = "^"}'), 3),
        (POETRY_LOCK.replace('["main"]', '["main"]\nextras = {x = ["-x"]}'), 3),
        (POETRY_LOCK.replace('["main"]', '["main"]\nsource = {type = "sftp"}'), 3),
        (POETRY_LOCK.replace('"^3.11"', '"snake"'), None),
        (POETRY_LOCK.replace("[[package]]", "<<<<<<< HEAD\n[[package]]"), 3),
        (POETRY_LOCK.replace("[metadata]", "[[package]]\n[metadata]\n[metadata]"), 15),
        ("\ufeff" + POETRY_LOCK, 1),
        (POETRY_LOCK[:200], 9),
        (b"\xff", 1),
        ("x = " + "[" * 100_000, None),
        ("\0", 1),
    ],
    "pdm.lock": [
        ("", None),
        ('[metadata]\nlock_version = "5.0"', 2),
        ('package = 1\n[metadata]\nlock_version = "4.4"', None),
        (PDM_LOCK.replace('"2.0.0"', '""'), 6),
        (PDM_LOCK.replace('strategy = ["inherit_metadata"]', "strategy = 1"), None),
        (PDM_LOCK.replace('strategy = ["inherit_metadata"]', "targets = 1"), None),
        (PDM_LOCK.replace('strategy = ["inherit_metadata"]', "targets = [1]"), None),
        (PDM_LOCK.replace('groups = ["default"]\nfiles', "groups = [1]\nfiles"), 6),
        (PDM_LOCK.replace("files =", 'marker = "snake"\nfiles ='), 6),
        (PDM_LOCK.replace("files =", 'requires_python = "snake"\nfiles ='), 6),
        (PDM_LOCK.replace("files =", 'dependencies = ["-e ."]\nfiles ='), 6),
        (PDM_LOCK.replace("files =", "extras = [1]\nfiles ="), 6),
        (PDM_LOCK.replace("files =", 'files = "x"\nother ='), 6),
    ],
    "Pipfile.lock": [
        ("", 1),
        ("[]", None),
        ("{}", None),
        ('{"_meta": {"pipfile-spec": 7}}', None),
        ('{"_meta": {"pipfile-spec": 6}, "default": []}', None),
        ('{"_meta": {"pipfile-spec": 6}, "default": {}, "default": {}}', None),
        (PIPFILE_LOCK.replace('"==2.0.0"', '">=2.0.0"'), 8),
        (PIPFILE_LOCK.replace('"==2.0.0"', "1"), 8),
        (PIPFILE_LOCK.replace('"==2.0.0"', '"==two"'), 8),
        (PIPFILE_LOCK.replace('"numpy"', '"--index-url"'), 8),
        (PIPFILE_LOCK.replace('"hashes": [', '"hashes": [1, '), 8),
        (PIPFILE_LOCK.replace('"hashes"', '"markers": "snake", "hashes"'), 8),
        (PIPFILE_LOCK.replace('"hashes"', '"sys_platform": 1, "hashes"'), 8),
        (PIPFILE_LOCK[:-20], None),
        (b"\xff", 1),
        ("[" * 100_000, None),
    ],
}


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [(name, content, line) for name, contents in BROKEN.items() for content, line in contents],
)
def test_a_broken_lock(make_repo: MakeRepo, name: str, content: str | bytes, line: int | None) -> None:
    with pytest.raises(RepoError) as caught:
        READERS[name](make_repo({name: content}), name)

    assert name == caught.value.file
    assert line is None or line == caught.value.line
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


FIRST_KEYS = ["name", "version", "files", "file", "hash", "groups", "markers", "marker", "dependencies"]
MORE_KEYS = ["source", "extras", "optional", "hashes", "type", "url", "numpy", "python-versions", "strategy"]
KEYS = st.sampled_from(FIRST_KEYS) | st.sampled_from(MORE_KEYS)
VALUES = st.recursive(
    st.sampled_from(
        ["a", "numpy", "*", "^1", "1.0", "4.5.0", "2.1", "main", "sha256:" + HASH, "a.whl", "git"]
    )
    | st.integers(min_value=-1, max_value=7)
    | st.booleans(),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            KEYS,
            children,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=VALUES, more=VALUES)
def test_any_shape_is_read_or_refused(make_repo: MakeRepo, values: Any, more: Any) -> None:
    documents = {
        "poetry.lock": {"package": [values, more], "metadata": {"lock-version": "2.1"}},
        "pdm.lock": {"package": [values], "metadata": {"lock_version": "4.5", "strategy": more}},
    }
    files = {name: tomli_w.dumps(document) for name, document in documents.items()}
    files["Pipfile.lock"] = json.dumps({"_meta": {"pipfile-spec": 6}, "default": {"a": values}, "b": more})
    repo = make_repo(files)

    for name, read in READERS.items():
        try:
            assert isinstance(read(repo, name), LockedSet)
        except RepoError as error:
            assert name == error.file


# With the project they are of


@pytest.mark.parametrize("name", ["poetry.lock", "pdm.lock"])
def test_a_lock_needs_its_project(spec_of: SpecOf, name: str) -> None:
    (problem,) = spec_of({name: DOCUMENTS[name]}).problems

    assert ("error", "bad-lock", name) == (problem.level, problem.code, problem.file)


@pytest.mark.parametrize(
    ("name", "heading", "key", "level"),
    [
        ("poetry.lock", "[metadata]\n", 'content-hash = "{}"\n', "error"),
        ("pdm.lock", "[metadata]\n", 'content_hash = "sha256:{}"\n', "warning"),
    ],
)
def test_a_lock_of_another_project(spec_of: SpecOf, name: str, heading: str, key: str, level: str) -> None:
    stale = DOCUMENTS[name].replace(heading, heading + key.format(HASH))
    (problem,) = spec_of({name: stale, "pyproject.toml": PROJECT}).problems

    assert (level, "stale-foreign-lock", name) == (problem.level, problem.code, problem.file)
    assert problem.remedy == f"run `{name.partition('.')[0]} lock`"


def test_a_pipfile_that_was_changed(spec_of: SpecOf) -> None:
    document = json.loads(PIPFILE_LOCK)
    document["_meta"]["hash"] = {"sha256": HASH}
    (problem,) = spec_of({"Pipfile.lock": json.dumps(document), "Pipfile": "[packages]\na = '*'"}).problems

    assert ("error", "stale-foreign-lock", "run `pipenv lock`") == (
        problem.level,
        problem.code,
        problem.remedy,
    )


def test_a_broken_pipfile_beside_its_lock(spec_of: SpecOf) -> None:
    """Neither of them goes unmentioned."""
    spec = spec_of({"Pipfile.lock": PIPFILE_LOCK, "Pipfile": "\0"})

    (problem,) = spec.problems
    assert ("error", "Pipfile") == (problem.level, problem.file)
    assert "Pipfile has to be mended first" == {use.path: use.reason for use in spec.files}["Pipfile.lock"]


def test_a_pipfile_lock_alone_has_groups(spec_of: SpecOf) -> None:
    assert [] == [
        problem for problem in spec_of({"Pipfile.lock": PIPFILE_LOCK}).problems if problem.level == "error"
    ]
    with pytest.raises(UsageError, match="no group"):
        spec_of({"Pipfile.lock": PIPFILE_LOCK}, groups=("dev",))
    with pytest.raises(UsageError, match="extras"):
        spec_of({"Pipfile.lock": PIPFILE_LOCK}, extras=("x",))


def test_sources_are_at_the_locks_commit(spec_of: SpecOf) -> None:
    commit = "0123456789" * 4
    source = (
        f'[package.source]\ntype = "git"\nurl = "https://example.org/n"\nresolved_reference = "{commit}"\n'
    )
    spec = spec_of(
        {
            "poetry.lock": POETRY_LOCK.replace("\n[metadata]", f"\n{source}\n[metadata]"),
            "pyproject.toml": (
                '[tool.poetry.dependencies]\nnumpy = { git = "https://example.org/n", branch = "main" }\n'
            ),
        }
    )

    assert [("vcs", "numpy", commit)] == [
        (source.kind, source.name, source.revision) for source in spec.sources
    ]
    assert [] == list(spec.problems)
