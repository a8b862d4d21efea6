"""Locks of Poetry, PDM and Pipenv are taken over without drift: by groups and markers, or by walking them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.errors import RepoError
from envbuild.lock.adopt import adopt
from envbuild.lock.uv_process import Uv
from envbuild.source.repo import Repo
from envbuild.spec.model import Adopted, AdoptedKind, Requirement, SourceRequirement, Spec
from tests.support.index import Index, IndexedFile, make_wheel

Take = Callable[..., dict[str, str]]
OTHER = "linux/arm64"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    return root


@pytest.fixture
def take(root: Path, uv: Uv) -> Take:
    """Adopt the lock in ``root``; versions by name."""

    def take(
        kind: AdoptedKind,
        *asked: str,
        extras: tuple[str, ...] = (),
        groups: tuple[str, ...] = (),
        platform: str = "linux/amd64",
        python: str = "3.11.2",
    ) -> dict[str, str]:
        requirements = tuple(Requirement(text, "pyproject.toml", 1) for text in asked)
        adopted = Adopted(kind, kind, extras, groups)
        spec = Spec("demo", "Demo", adopted=adopted, requirements=requirements)
        taken = adopt(spec, repo=Repo(root), uv=uv, python=python, glibc="2.36", platform=platform)
        assert sorted(taken.pins, key=lambda pin: pin.name) == list(taken.pins)
        unbuilt = {requirement.text: "unbuilt" for requirement in taken.unbuilt}
        return {pin.name: pin.version for pin in taken.pins} | unbuilt

    return take


def table(*entries: IndexedFile, more: str = "", python: str = "*", sha256: str = "") -> str:
    """One ``[[package]]`` of a ``poetry.lock`` or ``pdm.lock`` with the files ``entries``."""
    name, version = entries[0].filename.split("-")[:2]
    files = ", ".join(
        f'{{ file = "{one.filename}", hash = "sha256:{sha256 or one.sha256}" }}' for one in entries
    )
    return (
        f'[[package]]\nname = "{name.replace("_", "-")}"\nversion = "{version}"\n'
        f'python-versions = "{python}"\nfiles = [{files}]\n{more}\n'
    )


def write_poetry(root: Path, *tables: str, version: str = "2.1") -> None:
    metadata = f'[metadata]\nlock-version = "{version}"\npython-versions = "*"\n'
    (root / "poetry.lock").write_text("".join(tables) + metadata)


def write_pdm(root: Path, *tables: str, more: str = 'strategy = ["inherit_metadata"]') -> None:
    (root / "pdm.lock").write_text("".join(tables) + f'[metadata]\nlock_version = "4.5.0"\n{more}\n')


def write_pipfile(root: Path, **sections: dict[str, object]) -> None:
    (root / "Pipfile.lock").write_text(json.dumps({"_meta": {"pipfile-spec": 6}, **sections}, indent=4))


MAIN = 'groups = ["main"]'


# By groups and markers


def test_groups_extras_and_markers_of_poetry(index: Index, root: Path, take: Take) -> None:
    app, plot, test, windows = (index.add(make_wheel(name)) for name in ("app", "plot", "test", "windows"))
    index.add(make_wheel("app", "2.0"))  # newer than the lock
    write_poetry(
        root,
        table(app, more=MAIN),
        table(plot, more='groups = ["main", "dev"]\nmarkers = {main = "extra == \\"plots\\""}'),
        table(test, more='groups = ["dev"]'),
        table(windows, more=MAIN + "\nmarkers = \"sys_platform == 'win32'\""),
    )

    assert {"app": "1.0"} == take("poetry.lock")
    assert {"app": "1.0", "plot": "1.0"} == take("poetry.lock", extras=("Plots",))
    assert {"app": "1.0", "plot": "1.0", "test": "1.0"} == take("poetry.lock", groups=("dev",))


def test_an_extra_of_poetry_is_not_the_group_of_its_name(index: Index, root: Path, take: Take) -> None:
    plot, test = index.add(make_wheel("plot")), index.add(make_wheel("test"))
    write_poetry(
        root,
        table(plot, more=MAIN + '\nmarkers = "extra == \\"dev\\""'),
        table(test, more='groups = ["dev"]'),
    )

    assert {"plot": "1.0"} == take("poetry.lock", extras=("dev",))
    assert {"test": "1.0"} == take("poetry.lock", groups=("dev",))


def test_of_several_versions_the_targets(index: Index, root: Path, take: Take) -> None:
    old, new = index.add(make_wheel("app", "1.0")), index.add(make_wheel("app", "2.0"))
    write_poetry(
        root,
        table(old, more=MAIN + "\nmarkers = \"python_version < '3.12'\""),
        table(new, more=MAIN + "\nmarkers = \"python_version >= '3.12'\"", python=">=3.12"),
    )

    assert {"app": "1.0"} == take("poetry.lock")
    assert {"app": "2.0"} == take("poetry.lock", python="3.13.5")


def test_an_extra_is_a_group_of_pdm(index: Index, root: Path, take: Take) -> None:
    app, plot, test = (index.add(make_wheel(name)) for name in ("app", "plot", "test"))
    write_pdm(
        root,
        table(app, more='groups = ["default"]'),
        table(app, more='groups = ["default"]\nextras = ["more"]'),
        table(plot, more='groups = ["plots"]'),
        table(test, more='groups = ["test"]\nmarker = "platform_machine == \'aarch64\'"'),
    )

    assert {"app": "1.0"} == take("pdm.lock")
    assert {"app": "1.0", "plot": "1.0"} == take("pdm.lock", extras=("plots",), groups=("test",))
    assert {"app", "plot", "test"} == set(
        take("pdm.lock", extras=("plots",), groups=("test",), platform=OTHER)
    )


def test_sections_of_pipenv(index: Index, root: Path, take: Take) -> None:
    app, test = index.add(make_wheel("app")), index.add(make_wheel("test"))
    write_pipfile(
        root,
        default={
            "app": {"version": "==1.0", "hashes": [f"sha256:{app.sha256}"]},
            "other": {"version": "==1.0", "hashes": [], "markers": "sys_platform == 'win32'"},
        },
        develop={"test": {"version": "==1.0", "hashes": [f"sha256:{test.sha256}"]}},
    )

    assert {"app": "1.0"} == take("Pipfile.lock")
    assert {"app": "1.0", "test": "1.0"} == take("Pipfile.lock", groups=("dev",))


def test_what_pipenv_did_not_look_up(index: Index, root: Path, take: Take) -> None:
    """It leaves version and marker out for what its own machine does not need; the Pipfile has the marker."""
    write_pipfile(root, default={"app": {"version": "*"}})

    assert {} == take("Pipfile.lock", "app; sys_platform == 'win32'")
    for asked in ((), ("app",)):
        with pytest.raises(RepoError, match="app has no version") as caught:
            take("Pipfile.lock", *asked)
        assert "Pipfile.lock:6" == caught.value.place


# By walking


def test_walking_through_dependencies(index: Index, root: Path, take: Take) -> None:
    app, lib, deep, windows, stray = (
        index.add(make_wheel(name)) for name in ("app", "lib", "deep", "windows", "stray")
    )
    write_poetry(
        root,
        table(
            app,
            more=(
                '[package.dependencies]\nLib = "^1.0"\n'
                "windows = {version = '*', markers = 'os_name == \"nt\"'}"
            ),
        ),
        table(lib, more='[package.dependencies]\ndeep = ">=1,<2"\napp = "*"'),
        table(deep),
        table(windows),
        table(stray),
        version="1.1",
    )

    assert {"app": "1.0", "lib": "1.0", "deep": "1.0"} == take("poetry.lock", "app>=1")


def test_walking_with_extras(index: Index, root: Path, take: Take) -> None:
    app, lib, socks = (index.add(make_wheel(name)) for name in ("app", "lib", "socks"))
    write_poetry(
        root,
        table(app, more='[package.dependencies]\nlib = {version = "*", extras = ["all"]}'),
        table(
            lib,
            more=(
                '[package.dependencies]\nsocks = {version = "*", optional = true}\n'
                'absent = {version = "*", optional = true}\n[package.extras]\nall = ["socks (>=1)"]\n'
                'more = ["absent"]'
            ),
        ),
        table(socks),
        version="2.0",
    )

    assert {"lib": "1.0"} == take("poetry.lock", "lib")
    assert {"lib": "1.0", "socks": "1.0"} == take("poetry.lock", "lib[ALL]")
    assert {"app": "1.0", "lib": "1.0", "socks": "1.0"} == take("poetry.lock", "app", "lib")


def test_walking_pdms_entries_with_extras(index: Index, root: Path, take: Take) -> None:
    lib, socks = index.add(make_wheel("lib")), index.add(make_wheel("socks"))
    write_pdm(
        root,
        table(lib),
        table(lib, more='extras = ["all"]\ndependencies = ["socks", "lib==1.0"]'),
        table(socks),
        more="cross_platform = true",
    )

    assert {"lib": "1.0"} == take("pdm.lock", "lib")
    assert {"lib": "1.0", "socks": "1.0"} == take("pdm.lock", "lib[all]")


def test_walking_takes_what_fits_all(index: Index, root: Path, take: Take) -> None:
    """What one dependency rules out may have been chosen for another before."""
    app, other, old, new = (
        index.add(make_wheel(name, version))
        for name, version in (("app", "1.0"), ("other", "1.0"), ("lib", "1.0"), ("lib", "2.0"))
    )
    write_poetry(
        root,
        table(app, more='[package.dependencies]\nlib = "*"'),
        table(other, more='[package.dependencies]\nlib = "<2"'),
        table(old),
        table(new),
        version="1.1",
    )

    assert "2.0" == take("poetry.lock", "app")["lib"]
    for asked in (("app", "other"), ("other", "app")):
        assert "1.0" == take("poetry.lock", *asked)["lib"]


def test_walking_by_the_python_of_a_package(index: Index, root: Path, take: Take) -> None:
    old, new = index.add(make_wheel("app", "1.0")), index.add(make_wheel("app", "2.0"))
    write_poetry(root, table(old, python="~2.7 || ^3.6"), table(new, python=">=3.12"), version="1.1")

    assert {"app": "1.0"} == take("poetry.lock", "app")
    assert {"app": "2.0"} == take("poetry.lock", "app", python="3.13.5")


@pytest.mark.parametrize("asked", [("app>=2",), ("missing",), ("needy",), ("app", "old"), ("old", "app")])
def test_what_the_lock_does_not_have_is_an_error(
    index: Index, root: Path, take: Take, asked: tuple[str, ...]
) -> None:
    app, needy, old = (index.add(make_wheel(name)) for name in ("app", "needy", "old"))
    write_poetry(
        root,
        table(app, more='[package.dependencies]\nold = ">=2"' if asked[0] != "app>=2" else ""),
        table(needy, more='[package.dependencies]\nmissing = "*"'),
        table(old),
        version="1.1",
    )
    with pytest.raises(RepoError) as caught:
        take("poetry.lock", *asked)
    assert ("adopted-lock-unfit", "poetry.lock") == (caught.value.code, caught.value.file)


# Files


def test_the_wheel_that_fits_best(index: Index, root: Path, take: Take, uv: Uv) -> None:
    pure = index.add(make_wheel("app"))
    native = index.add(make_wheel("app", tag="cp311-cp311-manylinux_2_17_x86_64"))
    index.add(make_wheel("app", tag="cp311-cp311-manylinux_2_28_x86_64"))  # not in the lock
    source = index.add_source("app", "1.0")
    write_poetry(root, table(pure, native, source, more=MAIN))
    spec = Spec("demo", "Demo", adopted=Adopted("poetry.lock", "poetry.lock"))

    for platform, expected in (("linux/amd64", native), (OTHER, pure)):
        taken = adopt(spec, repo=Repo(root), uv=uv, python="3.11.2", glibc="2.36", platform=platform)
        (pin,) = taken.pins
        assert (expected.filename, expected.sha256) == (pin.filename, pin.sha256)
        assert index.base + expected.path == pin.url


def test_another_hash_than_the_indexs_is_an_error(index: Index, root: Path, take: Take) -> None:
    app = index.add(make_wheel("app"))
    write_poetry(root, table(app, more=MAIN, sha256="0" * 64))
    write_pipfile(root, default={"app": {"version": "==1.0", "hashes": ["sha256:" + "0" * 64]}})

    for kind, line in (("poetry.lock", 1), ("Pipfile.lock", 6)):
        with pytest.raises(RepoError) as caught:
            take(kind)
        assert ("hash-mismatch", f"{kind}:{line}") == (caught.value.code, caught.value.place)


def test_an_index_in_the_lock_is_named_and_not_asked(index: Index, root: Path, take: Take) -> None:
    with Index() as theirs:
        app = theirs.add(make_wheel("app"))
        index.add(make_wheel("app", tag="py2.py3-none-any"))
        address = theirs.url.replace("://", "://me:secret@")
        source = f'[package.source]\ntype = "legacy"\nurl = "{address}"\nreference = "own"\n'
        write_poetry(root, table(app, more=f"{MAIN}\n{source}"))
        with pytest.raises(RepoError) as caught:
            take("poetry.lock")
        assert [] == theirs.requests
        assert theirs.url.replace("://", "://***@") in str(caught.value.remedy)
        del index.files[next(iter(index.files))]
        index.add(make_wheel("app", "2.0"))
        with pytest.raises(RepoError, match="app") as caught:
            take("poetry.lock")
        assert theirs.url.replace("://", "://***@") in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            '[package.source]\ntype = "git"\nurl = "https://me:secret@example.org/x"',
            r"git\+https://.*example",
        ),
        ('[package.source]\ntype = "directory"\nurl = "lib"', "the directory lib"),
    ],
)
def test_what_comes_from_elsewhere_is_named(
    index: Index, root: Path, take: Take, more: str, words: str
) -> None:
    write_poetry(root, table(index.add(make_wheel("app")), more=f"{MAIN}\n{more}"))
    with pytest.raises(RepoError, match=words) as caught:
        take("poetry.lock")
    assert ("unsupported-package", "poetry.lock:1") == (caught.value.code, caught.value.place)
    assert "secret" not in str(caught.value)


def test_what_has_only_a_source_is_to_be_built(index: Index, root: Path, take: Take) -> None:
    """The lock says so, or the index, when the lock has nothing but hashes."""
    native = index.add(make_wheel("app", tag="cp311-cp311-manylinux_2_17_x86_64"))
    source = index.add_source("app", "1.0")
    slow = index.add_source("slow", "1.0")
    write_poetry(root, table(native, source, more=MAIN))
    hashes = {"version": "==1.0", "hashes": [f"sha256:{slow.sha256}"]}
    write_pipfile(root, default={"slow": hashes})

    assert {"app": "1.0"} == take("poetry.lock")
    assert {"app==1.0": "unbuilt"} == take("poetry.lock", platform=OTHER)
    assert {"slow==1.0": "unbuilt"} == take("Pipfile.lock")


def test_what_the_project_names_from_elsewhere_is_built_from_there(index: Index, root: Path, uv: Uv) -> None:
    """What it depends on comes from the lock, in old formats, too."""
    app, lib = index.add(make_wheel("app")), index.add(make_wheel("lib"))
    source = '[package.source]\ntype = "git"\nurl = "https://example.org/x"\nresolved_reference = "00"'
    adopted = Adopted("poetry.lock", "poetry.lock")
    asked = SourceRequirement("vcs", "https://example.org/x", "pyproject.toml", 1, name="app")
    spec = Spec("demo", "Demo", adopted=adopted, sources=(asked,))
    for version, groups in (("2.1", MAIN), ("1.1", "")):
        needed = f'{groups}\n[package.dependencies]\nlib = "*"\n{source}'
        write_poetry(root, table(app, more=needed), table(lib, more=groups), version=version)
        taken = adopt(spec, repo=Repo(root), uv=uv, python="3.11.2", glibc="2.36", platform="linux/amd64")
        assert (["lib"], ()) == ([pin.name for pin in taken.pins], taken.unbuilt)


def test_without_a_file_for_the_target_or_a_hash(index: Index, root: Path, take: Take) -> None:
    native = index.add(make_wheel("app", tag="cp311-cp311-manylinux_2_17_x86_64"))
    write_poetry(root, table(native, more=MAIN))
    with pytest.raises(RepoError, match=r"app 1\.0 has no file for linux/arm64 with Python 3\.11\.2"):
        take("poetry.lock", platform=OTHER)
    write_pdm(root, '[[package]]\nname = "app"\nversion = "1.0"\ngroups = ["default"]\n')
    with pytest.raises(RepoError, match="app has no sha256"):
        take("pdm.lock")


# What a lock covers


@pytest.mark.parametrize(
    "platform", ["windows_amd64", "macos_arm64", "manylinux_2_17_aarch64", "musllinux_1_1_x86_64"]
)
def test_a_lock_of_other_machines(index: Index, root: Path, take: Take, platform: str) -> None:
    target = f'strategy = ["inherit_metadata"]\n[[metadata.targets]]\nplatform = "{platform}"\n'
    write_pdm(root, table(index.add(make_wheel("app")), more='groups = ["default"]'), more=target)
    with pytest.raises(RepoError, match=platform) as caught:
        take("pdm.lock")
    assert "adopted-lock-unfit" == caught.value.code


def test_a_lock_of_this_machine(index: Index, root: Path, take: Take) -> None:
    target = 'strategy = ["inherit_metadata"]\n[[metadata.targets]]\nplatform = "manylinux_2_17_x86_64"\n'
    write_pdm(root, table(index.add(make_wheel("app")), more='groups = ["default"]'), more=target)

    assert {"app": "1.0"} == take("pdm.lock")


def test_a_package_for_another_python(index: Index, root: Path, take: Take) -> None:
    write_poetry(root, table(index.add(make_wheel("app")), more=MAIN, python=">=3.12"))
    with pytest.raises(RepoError, match=r"app 1\.0 is for Python >=3\.12") as caught:
        take("poetry.lock")
    assert ("adopted-lock-unfit", 1) == (caught.value.code, caught.value.line)


def test_two_versions_for_one_target(index: Index, root: Path, take: Take) -> None:
    write_poetry(
        root, *(table(index.add(make_wheel("app", version)), more=MAIN) for version in ("1.0", "2.0"))
    )
    with pytest.raises(RepoError, match=r"two versions of app: 1\.0 and 2\.0"):
        take("poetry.lock")
