"""Locks of other tools are taken over without drift, and nothing in them steers where we connect to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envbuild.errors import RepoError
from envbuild.lock.adopt import adopt
from envbuild.lock.uv_process import Uv
from envbuild.source.repo import Repo
from envbuild.spec.model import Adopted, Requirement, Spec
from tests.support.index import Index, IndexedFile, make_wheel

AdoptFrom = Callable[..., dict[str, Any]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    return root


@pytest.fixture
def take(root: Path, uv: Uv) -> AdoptFrom:
    """Adopt what is in ``root``; pins by name."""

    def take(
        adopted: Adopted, *requirements: Requirement, platform: str = "linux/amd64", python: str = "3.11.2"
    ) -> dict[str, Any]:
        spec = Spec("demo", "Demo", adopted=adopted, requirements=requirements)
        taken = adopt(spec, repo=Repo(root), uv=uv, python=python, glibc="2.36", platform=platform)
        unbuilt = {requirement.text: requirement for requirement in taken.unbuilt}
        return {pin.name: pin for pin in taken.pins} | unbuilt

    return take


def package(
    entry: IndexedFile, *, sha256: str | None = None, marker: str = "", url: str | None = None
) -> str:
    """One ``[[packages]]`` table of a ``pylock.toml``."""
    name, version = entry.filename.split("-")[:2]
    place = url or f"https://files.example.org/{entry.filename}"
    return (
        f'\n[[packages]]\nname = "{name.replace("_", "-")}"\nversion = "{version}"\n{marker}'
        f'wheels = [{{ url = "{place}", hashes = {{ sha256 = "{sha256 or entry.sha256}" }} }}]\n'
    )


PYLOCK = 'lock-version = "1.0"\ncreated-by = "test"\n'
THIS = Adopted("pylock.toml", "pylock.toml")


def write_pylock(root: Path, *tables: str) -> None:
    (root / "pylock.toml").write_text(PYLOCK + "".join(tables))


# pylock.toml


def test_the_pins_of_a_pylock_and_no_newer_ones(index: Index, root: Path, take: AdoptFrom) -> None:
    entry = index.add(make_wheel("app", "1.0", requires=["lib"]))
    index.add(make_wheel("app", "2.0"))
    index.add(make_wheel("lib", "1.0"))
    write_pylock(root, package(entry))
    pins = take(THIS)
    assert [("app", "1.0", entry.sha256)] == [(pin.name, pin.version, pin.sha256) for pin in pins.values()]


def test_files_come_from_the_users_index_wherever_the_lock_points(
    index: Index, root: Path, take: AdoptFrom
) -> None:
    with Index() as evil:
        entry = index.add(make_wheel("app"))
        write_pylock(root, package(entry, url=f"{evil.base}app-1.0-py3-none-any.whl"))
        pins = take(THIS)
        assert [] == evil.requests
    assert index.base + entry.path == pins["app"].url


def test_another_hash_than_the_indexs_is_an_error(index: Index, root: Path, take: AdoptFrom) -> None:
    entry = index.add(make_wheel("app"))
    write_pylock(root, package(entry, sha256="0" * 64))
    with pytest.raises(RepoError) as caught:
        take(THIS)
    assert ("hash-mismatch", "pylock.toml:5") == (caught.value.code, caught.value.place)
    assert entry.sha256 in str(caught.value)


def test_a_file_the_index_does_not_have_is_an_error(index: Index, root: Path, take: AdoptFrom) -> None:
    gone = index.add(make_wheel("app", tag="py2.py3-none-any"))
    write_pylock(root, package(gone))
    del index.files["/" + gone.path]
    index.add(make_wheel("app"))
    with pytest.raises(RepoError, match="does not have this file"):
        take(THIS)


def test_a_version_the_index_does_not_have_is_an_error(index: Index, root: Path, take: AdoptFrom) -> None:
    gone = index.add(make_wheel("app"))
    write_pylock(root, package(gone))
    del index.files["/" + gone.path]
    index.add(make_wheel("app", "2.0"))
    with pytest.raises(RepoError) as caught:
        take(THIS)
    assert ("no-such-version", "pylock.toml:5") == (caught.value.code, caught.value.place)


def test_markers_choose_for_the_target(index: Index, root: Path, take: AdoptFrom) -> None:
    old = index.add(make_wheel("app", "1.0"))
    new = index.add(make_wheel("app", "2.0"))
    write_pylock(
        root,
        package(old, marker="marker = \"platform_machine == 'x86_64'\"\n"),
        package(new, marker="marker = \"platform_machine == 'aarch64'\"\n"),
    )
    assert "1.0" == take(THIS)["app"].version
    assert "2.0" == take(THIS, platform="linux/arm64")["app"].version


def test_extras_and_groups_are_selected(index: Index, root: Path, take: AdoptFrom) -> None:
    app, plot, test = (index.add(make_wheel(name)) for name in ("app", "plot", "test"))
    tables = (
        package(app),
        package(plot, marker="marker = \"'plots' in extras\"\n"),
        package(test, marker="marker = \"'tests' in dependency_groups\"\n"),
    )
    heading = 'extras = ["plots"]\ndependency-groups = ["tests"]\n'
    write_pylock(root, heading, *tables)
    assert {"app"} == set(take(THIS))
    everything = Adopted("pylock.toml", "pylock.toml", ("plots",), ("tests",))
    assert {"app", "plot", "test"} == set(take(everything))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('vcs = { type = "git", url = "https://example.org/x", commit-id = "0" }', "version control"),
        ('directory = { path = "." }', "is a directory"),
        ('archive = { url = "https://example.org/x.zip", hashes = { sha256 = "00" } }', "an archive"),
        (
            'wheels = [{ url = "https://example.org/app-1.0-py3-none-any.whl", hashes = { md5 = "00" } }]',
            "has no sha256",
        ),
    ],
)
def test_what_is_not_a_wheel_is_named(root: Path, take: AdoptFrom, source: str, words: str) -> None:
    write_pylock(root, f'\n[[packages]]\nname = "app"\nversion = "1.0"\n{source}\n')
    with pytest.raises(RepoError, match=words) as caught:
        take(THIS)
    assert ("unsupported-package", "pylock.toml:5") == (caught.value.code, caught.value.place)
    assert "app" in caught.value.message


def test_what_has_only_a_source_is_to_be_built(root: Path, take: AdoptFrom) -> None:
    sdist = f'sdist = {{ url = "https://example.org/app-1.0.tar.gz", hashes = {{ sha256 = "{"0" * 64}" }} }}'
    write_pylock(root, f'\n[[packages]]\nname = "app"\nversion = "1.0"\n{sdist}\n')
    expected = Requirement("app==1.0", "pylock.toml", 5, ("sha256:" + "0" * 64,))

    assert {"app==1.0": expected} == take(THIS)


def test_a_lock_for_another_python_says_so(root: Path, take: AdoptFrom) -> None:
    (root / "pylock.toml").write_text(PYLOCK + 'requires-python = ">=3.13"\npackages = []\n')
    with pytest.raises(RepoError, match=r"does not fit linux/amd64 with Python 3\.11\.2"):
        take(THIS)


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        ("name =\n", "bad-toml", 1),
        ("\xff", "bad-toml", None),
        ('lock-version = "1.0"\n', "bad-adopted-lock", None),
        ('lock-version = "9.0"\ncreated-by = "x"\npackages = []\n', "bad-adopted-lock", None),
        ("x = " + "[" * 10_000, "bad-toml", None),
    ],
)
def test_a_broken_lock_is_the_repositorys_fault(
    root: Path, take: AdoptFrom, content: str, code: str, line: int | None
) -> None:
    (root / "pylock.toml").write_bytes(content.encode("latin-1"))
    with pytest.raises(RepoError) as caught:
        take(THIS)
    assert (code, "pylock.toml", line) == (caught.value.code, caught.value.file, caught.value.line)


# uv.lock


def write_uv_lock(
    root: Path, entry: IndexedFile, *, more: str = "", url: str = "https://files.example.org"
) -> None:
    """A project that depends on the one package of ``entry``."""
    name, version = entry.filename.split("-")[:2]
    (root / "pyproject.toml").write_text(
        f'[project]\nname = "demo"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["{name}"]\n'
    )
    (root / "uv.lock").write_text(
        f"""version = 1
revision = 3
requires-python = ">=3.11"

[[package]]
name = "demo"
version = "0"
source = {{ virtual = "." }}
dependencies = [{{ name = "{name}" }}]

[[package]]
name = "{name}"
version = "{version}"
source = {{ registry = "{url}/simple" }}
wheels = [
    {{ url = "{url}/{entry.filename}", hash = "sha256:{entry.sha256}", size = {len(entry.data)} }},
]
{more}"""
    )


UV_LOCK = Adopted("uv.lock", "uv.lock")


def test_the_pins_of_a_uv_lock(index: Index, root: Path, take: AdoptFrom) -> None:
    entry = index.add(make_wheel("app", "1.0"))
    index.add(make_wheel("app", "2.0"))
    write_uv_lock(root, entry)
    before = sorted(root.iterdir())
    pins = take(UV_LOCK)
    assert [("app", "1.0", entry.sha256)] == [(pin.name, pin.version, pin.sha256) for pin in pins.values()]
    assert before == sorted(root.iterdir())


def test_a_uv_lock_in_a_folder(index: Index, root: Path, take: AdoptFrom) -> None:
    entry = index.add(make_wheel("app"))
    (root / "binder").mkdir()
    write_uv_lock(root / "binder", entry)
    assert {"app"} == set(take(Adopted("uv.lock", "binder/uv.lock")))


def test_a_uv_lock_does_not_choose_the_index_or_get_our_credentials(
    index: Index, root: Path, take: AdoptFrom
) -> None:
    entry = index.add(make_wheel("app"))
    with Index() as evil:
        write_uv_lock(root, entry, url=evil.base.rstrip("/"))
        assert index.base + entry.path == take(UV_LOCK)["app"].url
        assert [] == evil.requests


def test_a_member_of_the_workspace_is_read_but_not_supported(
    index: Index, root: Path, take: AdoptFrom
) -> None:
    entry = index.add(make_wheel("app"))
    write_uv_lock(
        root,
        entry,
        more='\n[[package]]\nname = "member"\nversion = "1"\nsource = { editable = "packages/member" }\n',
    )
    lock = (root / "uv.lock").read_text()
    (root / "uv.lock").write_text(
        lock.replace('[{ name = "app" }]', '[{ name = "app" }, { name = "member" }]')
    )
    member = root / "packages" / "member"
    member.mkdir(parents=True)
    (member / "pyproject.toml").write_text('[project]\nname = "member"\nversion = "1"\n')
    with pytest.raises(RepoError, match="member") as caught:
        take(UV_LOCK)
    assert "unsupported-package" == caught.value.code


@pytest.mark.parametrize("folder", ["../outside", "/etc", "packages/../../outside"])
def test_a_member_outside_of_the_repository_is_refused(
    index: Index, root: Path, take: AdoptFrom, folder: str
) -> None:
    entry = index.add(make_wheel("app"))
    more = f'\n[[package]]\nname = "member"\nversion = "1"\nsource = {{ editable = "{folder}" }}\n'
    write_uv_lock(root, entry, more=more)
    with pytest.raises(RepoError) as caught:
        take(UV_LOCK)
    assert ("outside-repository", "uv.lock") == (caught.value.code, caught.value.file)


@pytest.mark.parametrize("pattern", ["../*", "/etc/*", "packages/../../*"])
def test_a_workspace_may_not_reach_out_of_the_repository(
    index: Index, root: Path, take: AdoptFrom, pattern: str
) -> None:
    write_uv_lock(root, index.add(make_wheel("app")))
    pyproject = root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text() + f'[tool.uv.workspace]\nmembers = ["{pattern}"]\n')
    with pytest.raises(RepoError) as caught:
        take(UV_LOCK)
    assert ("outside-repository", "pyproject.toml") == (caught.value.code, caught.value.file)


def test_what_uv_does_not_accept_is_reported_in_one_line(index: Index, root: Path, take: AdoptFrom) -> None:
    write_uv_lock(root, index.add(make_wheel("app")))
    with pytest.raises(RepoError, match="`nope`") as caught:
        take(Adopted("uv.lock", "uv.lock", extras=("nope",)))
    assert ("bad-adopted-lock", "uv.lock") == (caught.value.code, caught.value.file)
    assert "\n" not in caught.value.message


# requirements.txt with hashes

HASHED = Adopted("requirements.txt", "requirements.txt")


def pinned(entry: IndexedFile, line: int = 1, *, marker: str = "", sha256: str | None = None) -> Requirement:
    name, version = entry.filename.split("-")[:2]
    text = f"{name}=={version}{marker}"
    return Requirement(text, "requirements.txt", line, (f"sha256:{sha256 or entry.sha256}",))


def test_the_pins_of_hashed_requirements_without_their_dependencies(index: Index, take: AdoptFrom) -> None:
    """The file is the whole truth; ``--no-deps`` leaves alone what it does not name."""
    entry = index.add(make_wheel("app", "1.0", requires=["lib"]))
    index.add(make_wheel("app", "2.0"))
    index.add(make_wheel("lib"))
    pins = take(HASHED, pinned(entry))
    assert [("app", "1.0", entry.sha256)] == [(pin.name, pin.version, pin.sha256) for pin in pins.values()]


def test_of_several_hashes_the_best_wheel_is_taken(index: Index, take: AdoptFrom) -> None:
    pure = index.add(make_wheel("app"))
    native = index.add(make_wheel("app", tag="cp311-cp311-manylinux_2_17_x86_64"))
    both = Requirement("app==1.0", "r.txt", 1, (f"sha256:{pure.sha256}", f"sha256:{native.sha256}"))
    assert native.sha256 == take(HASHED, both)["app"].sha256
    assert pure.sha256 == take(HASHED, both, platform="linux/arm64")["app"].sha256


def test_a_hash_nobody_has_is_an_error(index: Index, take: AdoptFrom) -> None:
    entry = index.add(make_wheel("app"))
    with pytest.raises(RepoError) as caught:
        take(HASHED, pinned(entry, 7, sha256="0" * 64))
    assert ("hash-mismatch", "requirements.txt:7") == (caught.value.code, caught.value.place)


def test_lines_for_other_platforms_are_left_out(index: Index, take: AdoptFrom) -> None:
    old, new = index.add(make_wheel("app", "1.0")), index.add(make_wheel("app", "2.0"))
    requirements = (
        pinned(old, 1, marker="; python_version < '3.12'"),
        pinned(new, 2, marker="; python_version >= '3.12'"),
    )
    assert "1.0" == take(HASHED, *requirements)["app"].version
    assert "2.0" == take(HASHED, *requirements, python="3.13.5")["app"].version


def test_a_line_without_a_wheel_in_the_index_is_to_be_built(index: Index, take: AdoptFrom) -> None:
    app, source = index.add(make_wheel("app")), index.add_source("slow", "1.0")
    slow = Requirement("slow==1.0", "requirements.txt", 2, (f"sha256:{source.sha256}",))
    taken = take(HASHED, pinned(app), slow)

    assert slow == taken.pop("slow==1.0")
    assert ["app"] == list(taken)


def test_a_line_without_a_pin_or_a_hash_is_an_error(index: Index, take: AdoptFrom) -> None:
    entry = index.add(make_wheel("app"))
    for text in ("lib", "lib>=1", "lib==1.*"):
        with pytest.raises(RepoError) as caught:
            take(HASHED, pinned(entry), Requirement(text, "requirements.txt", 2, ("sha256:" + "0" * 64,)))
        assert ("not-pinned", "requirements.txt:2") == (caught.value.code, caught.value.place)


def test_compiled_requirements_have_pins_and_no_hashes(index: Index, take: AdoptFrom) -> None:
    """The index says what the files' hashes are; they go into our lock."""
    entry = index.add(make_wheel("app", "1.0", requires=["lib"]))
    index.add(make_wheel("app", "2.0"))
    pins = take(HASHED, Requirement("app==1.0", "requirements.txt", 1))
    assert [("app", "1.0", entry.sha256)] == [(pin.name, pin.version, pin.sha256) for pin in pins.values()]


def test_two_pins_of_one_package_are_an_error(index: Index, take: AdoptFrom) -> None:
    old, new = index.add(make_wheel("app", "1.0")), index.add(make_wheel("app", "2.0"))
    with pytest.raises(RepoError) as caught:
        take(HASHED, pinned(old, 1), pinned(new, 2))
    assert ("pinned-twice", "requirements.txt:2") == (caught.value.code, caught.value.place)
