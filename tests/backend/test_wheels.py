"""Wheels that a backend made: refused, or written anew so that bytes say what is in them and nothing else."""

from __future__ import annotations

import csv
import hashlib
import io
import random
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuild.backend.wheels import NormalWheel, normalise, wheel_metadata
from envbuild.errors import RepoError
from envbuild.lock.from_source import Metadata
from envbuild.lock.select import target_tags
from tests.support.index import make_wheel

TAGS = target_tags("3.11.2", "linux/amd64", "2.36")
# A change here changes the sha256 of every wheel that is built: locks of others will not fit any more.
GOLDEN = "73bdbb7a"


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def normal(source: Path, tmp_path: Path) -> tuple[NormalWheel, bytes]:
    target = tmp_path / "normal.whl"
    with target.open("w+b") as stream:
        wheel = normalise(source, stream, TAGS)
    return wheel, target.read_bytes()


def shuffled(data: bytes, seed: int) -> bytes:
    """The same wheel as another backend, or another machine, might have written it."""
    chance = random.Random(seed)
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        infos = old.infolist()
        chance.shuffle(infos)
        for info in infos:
            entry = zipfile.ZipInfo(info.filename, (2000 + chance.randrange(50), 1, 1, 0, 0, 0))
            entry.compress_type = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
            kept = 0o755 if (info.external_attr >> 16) & 0o100 else 0o600
            entry.external_attr = (stat.S_IFREG | kept) << 16
            new.writestr(entry, old.read(info))
    return stream.getvalue()


WHEEL = make_wheel(
    "demo",
    requires=["six>=1", 'x; extra == "more"'],
    requires_python=">=3.9",
    extras=["more"],
    files={"demo/__init__.py": b"ONE = 1\n", "demo/tool": b"#!/bin/sh\n", "demo/a.txt": b""},
    executable=["demo/tool"],
)


@pytest.mark.parametrize("seed", range(4))
def test_the_same_files_are_the_same_bytes(tmp_path: Path, seed: int) -> None:
    source = write(tmp_path / WHEEL.filename, shuffled(WHEEL.data, seed))

    wheel, data = normal(source, tmp_path)

    assert GOLDEN == hashlib.sha256(data).hexdigest()[: len(GOLDEN)]
    assert Metadata("demo", "1.0", ("six>=1", 'x; extra == "more"'), ">=3.9", ("more",)) == wheel.metadata
    assert {"any"} == {tag.platform for tag in wheel.tags}


def test_normal_is_normal(tmp_path: Path) -> None:
    _, once = normal(write(tmp_path / WHEEL.filename, WHEEL.data), tmp_path)
    _, twice = normal(write(tmp_path / WHEEL.filename, once), tmp_path)

    assert once == twice


def test_record_is_made_anew(tmp_path: Path) -> None:
    wrong = make_wheel("demo", files={"b.py": b"b", "a.py": b"a"}, bad_record=True)
    _, data = normal(write(tmp_path / wrong.filename, wrong.data), tmp_path)

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        rows = list(csv.reader(io.StringIO(archive.read("demo-1.0.dist-info/RECORD").decode())))
    assert ["a.py", "b.py"] == names[:2]
    assert "demo-1.0.dist-info/RECORD" == names[-1]
    assert names == [row[0] for row in rows]
    assert ["a.py", "sha256=ypeBEsobvcr6wjGzmiPcTaeG7_gUfE5yuYB3ha_uSLs", "1"] == rows[0]


def test_bytecode_and_signatures_are_left_out(tmp_path: Path) -> None:
    files = {
        "a.py": b"",
        "__pycache__/a.cpython-311.pyc": b"",
        "demo-1.0.dist-info/RECORD.jws": b"",
    }
    wheel = make_wheel("demo", files=files)
    _, data = normal(write(tmp_path / wheel.filename, wheel.data), tmp_path)

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert ["a.py"] == [name for name in archive.namelist() if "dist-info/" not in name or "jws" in name]


def test_modes_are_two(tmp_path: Path) -> None:
    _, data = normal(write(tmp_path / WHEEL.filename, shuffled(WHEEL.data, 1)), tmp_path)

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
    assert stat.S_IFREG | 0o755 == modes["demo/tool"]
    assert {stat.S_IFREG | 0o644} == {mode for name, mode in modes.items() if name != "demo/tool"}


def broken(members: Mapping[str, bytes], mode: int = stat.S_IFREG | 0o644) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, content)
    return stream.getvalue()


INFO = {
    "demo-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
    "demo-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\n",
}


@pytest.mark.parametrize(
    "members",
    [
        {"../evil": b""},
        {"/etc/evil": b""},
        {"a/./b": b""},
        {"a//b": b""},
        {"a\\b": b""},
        {"a\nb": b""},
        {"other-1.0.dist-info/METADATA": b""},
        {"demo-1.0.dist-info/METADATA": b"Name: other\nVersion: 1.0\n"},
        {"demo-1.0.dist-info/METADATA": b"Name: demo\nVersion: 2.0\n"},
        {"demo-1.0.dist-info/METADATA": b"Name: demo\n"},
        {"demo-1.0.dist-info/METADATA": b"Name: demo\nVersion: 1.0\nRequires-Dist: a b\n"},
        {"demo-1.0.dist-info/METADATA": b"Name: demo\nVersion: 1.0\nRequires-Dist: a @ file:///etc\n"},
        {"demo-1.0.dist-info/METADATA": b"Name: demo\nVersion: 1.0\nRequires-Python: new\n"},
        {"demo-1.0.dist-info/WHEEL": b"Wheel-Version: 2.0\n"},
    ],
)
def test_unsafe_and_wrong_wheels_are_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    source = write(tmp_path / "demo-1.0-py3-none-any.whl", broken({**INFO, **members}))

    with pytest.raises(RepoError) as caught:
        normal(source, tmp_path)

    assert caught.value.code in ("bad-built-wheel", "bad-metadata")
    assert "\n" not in caught.value.message


def test_links_are_refused(tmp_path: Path) -> None:
    data = broken({**INFO, "link": b"/etc/passwd"}, stat.S_IFLNK | 0o777)

    with pytest.raises(RepoError, match="not a regular file"):
        normal(write(tmp_path / "demo-1.0-py3-none-any.whl", data), tmp_path)


@pytest.mark.parametrize("name", ["demo-1.0-py3-none-win32.whl", "demo-1.0-cp312-cp312-linux_x86_64.whl"])
def test_wheels_for_others_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RepoError) as caught:
        normal(write(tmp_path / name, broken(INFO)), tmp_path)

    assert "built-for-another-platform" == caught.value.code


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_an_error_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes are changed anywhere; then it is refused, or what comes out is a wheel."""
    damaged = bytearray(WHEEL.data)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    source = write(tmp_path / WHEEL.filename, bytes(damaged[: data.draw(st.integers(1, len(damaged)))]))

    try:
        _, result = normal(source, tmp_path)
    except RepoError:
        return
    assert "demo" == wheel_metadata(write(tmp_path / "again.whl", result), WHEEL.filename).name
