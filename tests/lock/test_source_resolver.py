"""Packages without wheels: solved with what their builds say, and nothing of theirs runs with uv."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from envbuild.errors import RepoError
from envbuild.lock.from_source import BuiltWheel, Metadata
from envbuild.lock.model import Artifact, Built
from envbuild.lock.select import Pin
from envbuild.lock.source_resolver import SourceResolver
from envbuild.lock.uv_process import Uv
from envbuild.spec.model import Requirement, SourceRequirement
from envbuild.store import Store
from tests.lock.conftest import lines
from tests.support.index import Index, WheelFile, make_wheel

pytestmark = pytest.mark.slow  # a real resolver

TARGET = {"python": "3.11.2", "glibc": "2.36", "platform": "linux/amd64"}


@dataclass
class Builder:
    """Builds what it was told in advance, and remembers what it was asked for."""

    store: Store
    wheels: dict[str, WheelFile] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def knows(self, name: str, version: str = "1.0", requires: Iterable[str] = ()) -> None:
        self.wheels[f"{name} {version}"] = make_wheel(name, version, requires=requires)

    def from_index(self, sdist: Pin, platform: str) -> BuiltWheel:
        what = f"{sdist.name} {sdist.version}"
        self.asked.append(what)
        archive = Artifact(sdist.filename, sdist.sha256, 1, "pypi")
        return self._built(what, Built(sdist.name, "sdist", archive=archive))

    def from_source(self, source: SourceRequirement, platform: str) -> BuiltWheel:
        what = f"{source.name} 1.0"
        self.asked.append(what)
        return self._built(what, Built(str(source.name), "vcs", location=source.location, commit="0" * 40))

    def project(self, source: SourceRequirement, platform: str) -> tuple[Built, Metadata | None]:
        raise AssertionError("projects are not resolved")

    def _built(self, what: str, built: Built) -> BuiltWheel:
        wheel = self.wheels[what]
        self.store.artifact_path(wheel.sha256).write_bytes(wheel.data)
        name, version = what.split()
        requires = tuple(
            line.removeprefix("Requires-Dist: ")
            for line in _metadata(wheel).splitlines()
            if line.startswith("Requires-Dist")
        )
        artifact = Artifact(wheel.filename, wheel.sha256, len(wheel.data), "built")
        return BuiltWheel(artifact, Metadata(name, version, requires), built)


def _metadata(wheel: WheelFile) -> str:
    import zipfile

    with zipfile.ZipFile(io.BytesIO(wheel.data)) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        return archive.read(name).decode()


@pytest.fixture
def builder(store: Store) -> Builder:
    return Builder(store)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """What a setup.py writes when it is run."""
    return tmp_path / "canary"


@pytest.fixture
def add_sdist(index: Index, canary: Path):  # type: ignore[no-untyped-def]
    """List a source distribution whose setup.py says that it was run."""

    def add(name: str, version: str = "1.0") -> str:
        stream = io.BytesIO()
        script = f"open({str(canary)!r}, 'w')\nfrom setuptools import setup\nsetup(name={name!r})\n".encode()
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            entry = tarfile.TarInfo(f"{name}-{version}/setup.py")
            entry.size = len(script)
            archive.addfile(entry, io.BytesIO(script))
        data = stream.getvalue()
        index.add(WheelFile(f"{name}-{version}.tar.gz", data))
        return hashlib.sha256(data).hexdigest()

    return add


def solved(resolver: SourceResolver, *texts: str | Requirement) -> dict[str, Pin]:
    return {pin.name: pin for pin in resolver.resolve(lines(*texts), **TARGET)}


def test_a_package_without_a_wheel_is_built_and_so_is_what_it_needs(
    index: Index, uv: Uv, builder: Builder, add_sdist, canary: Path
) -> None:
    add_sdist("old")
    add_sdist("older")
    index.add(make_wheel("new"))
    builder.knows("old", requires=["older", "new"])
    builder.knows("older")

    pins = solved(SourceResolver(uv, builder), "old")

    assert ["new", "old", "older"] == sorted(pins)
    assert ["old 1.0", "older 1.0"] == builder.asked
    assert ("sdist", None) == (pins["old"].built and pins["old"].built.kind, pins["new"].built)
    assert not canary.exists()


@pytest.mark.parametrize("variable", ["UV_NO_CONFIG", "UV_CONFIG_FILE"])
def test_the_user_s_configuration_of_uv_does_not_make_it_build(
    index: Index, uv: Uv, builder: Builder, add_sdist, canary: Path, tmp_path: Path, variable: str
) -> None:
    add_sdist("old")
    builder.knows("old")
    (tmp_path / "own.toml").write_text("no-build = false\n")
    value = str(tmp_path / "own.toml") if variable == "UV_CONFIG_FILE" else "1"
    uv = Uv(uv.store, {**uv.environment, variable: value})

    assert ["old"] == list(solved(SourceResolver(uv, builder), "old"))
    assert not canary.exists()


def test_an_older_version_is_taken_when_what_the_new_one_needs_is_not_there(
    index: Index, uv: Uv, builder: Builder, add_sdist, canary: Path
) -> None:
    """What a version depends on is known only after it was built; then uv may choose again."""
    add_sdist("old", "2.0")
    add_sdist("old", "1.0")
    index.add(make_wheel("base", "1.0"))
    builder.knows("old", "2.0", requires=["base>=2"])
    builder.knows("old", "1.0", requires=["base"])

    pins = solved(SourceResolver(uv, builder), "old")

    assert {"old": "1.0", "base": "1.0"} == {name: pin.version for name, pin in pins.items()}
    assert ["old 2.0", "old 1.0"] == builder.asked
    assert not canary.exists()


def test_wheels_are_taken_where_there_are_some(index: Index, uv: Uv, builder: Builder, add_sdist) -> None:
    index.add(make_wheel("new"))
    add_sdist("new")

    assert solved(SourceResolver(uv, builder), "new")["new"].built is None
    assert [] == builder.asked


def test_unless_a_build_is_asked_for(index: Index, uv: Uv, builder: Builder, add_sdist) -> None:
    index.add(make_wheel("new"))
    add_sdist("new")
    builder.knows("new")
    forced = SourceRequirement("sdist", "", "requirements.txt", 1, "new")

    assert solved(SourceResolver(uv, builder, [forced]), "new")["new"].built is not None


def test_sources_take_the_place_of_what_the_index_has(index: Index, uv: Uv, builder: Builder) -> None:
    index.add(make_wheel("mine", "9.0"))
    index.add(make_wheel("user", requires=["mine[x]"]))
    index.add(make_wheel("needed"))
    builder.knows("mine", requires=["needed"])
    source = SourceRequirement("vcs", "https://example.org/mine", "requirements.txt", 1, "mine")

    pins = solved(SourceResolver(uv, builder, [source]), "user")

    assert {"mine": "1.0", "needed": "1.0", "user": "1.0"} == {
        name: pin.version for name, pin in pins.items()
    }
    assert "https://example.org/mine" == (pins["mine"].built and pins["mine"].built.location)


def test_sources_for_other_systems_are_not_built(index: Index, uv: Uv, builder: Builder) -> None:
    index.add(make_wheel("new"))
    source = SourceRequirement(
        "vcs", "https://example.org/x", "r.txt", 1, "mine", marker='sys_platform == "win32"'
    )

    assert ["new"] == list(solved(SourceResolver(uv, builder, [source]), "new"))
    assert [] == builder.asked


def test_hashes_hold_for_source_distributions(uv: Uv, builder: Builder, add_sdist) -> None:
    right = add_sdist("old")
    builder.knows("old")
    good = Requirement("old==1.0", "requirements.txt", 1, (f"sha256:{right}",))
    bad = Requirement("old==1.0", "requirements.txt", 1, ("sha256:" + "0" * 64,))

    assert ["old"] == list(solved(SourceResolver(uv, builder), good))
    with pytest.raises(RepoError) as caught:
        solved(SourceResolver(uv, builder), bad)
    assert ("hash-mismatch", "requirements.txt:1") == (caught.value.code, caught.value.place)


def test_what_has_neither_is_an_error_that_names_it(index: Index, uv: Uv, builder: Builder) -> None:
    index.add(make_wheel("other", tag="cp311-cp311-win_amd64"))

    with pytest.raises(RepoError) as caught:
        solved(SourceResolver(uv, builder), "other")

    assert ("no-wheel", "requirements.txt:1") == (caught.value.code, caught.value.place)
