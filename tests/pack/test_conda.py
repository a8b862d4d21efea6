"""Conda packages as layer entries: the same as an installer links, and packages that want to do harm."""

from __future__ import annotations

import asyncio
import bz2
import hashlib
import importlib.util
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.errors import RepoError
from envbuild.lock.model import Artifact, CondaPackage
from envbuild.pack import conda_meta
from envbuild.pack.bytecode import Compiler
from envbuild.pack.conda import CondaFiles, conda_entries
from envbuild.pack.tar import Entry, complete, write_tar
from envbuild.pack.wheel import Prefix
from tests.support.conda import PLACEHOLDER, CondaFile, File, make_conda
from tests.support.conda_channel import demo_packages
from tests.support.conda_real import real_channel

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
PREFIX = Prefix("srv/env", MINOR)
SITE = f"srv/env/lib/python{MINOR}/site-packages"
CACHE_TAG = f"cpython-{MINOR.replace('.', '')}"


@pytest.fixture(scope="module")
def compiler() -> Iterator[Compiler]:
    with Compiler([os.path.realpath(sys.executable)], {}) as running:
        yield running


def locked(made: CondaFile, **changes: Any) -> CondaPackage:
    """The package as a lock has it."""
    stem = made.filename.removesuffix(".conda").removesuffix(".tar.bz2")
    name, version, build = stem.rsplit("-", 2)
    artifact = Artifact(made.filename, made.sha256, len(made.data), "demo", f"{made.subdir}/{made.filename}")
    return CondaPackage(name, version, build, made.subdir, artifact, **changes)


def pack(
    made: CondaFile, scratch: Path, *, compiler: Compiler | None = None, prefix: Prefix = PREFIX
) -> CondaFiles:
    """``made`` as entries, with the scratch directory it needs."""
    place = scratch / made.sha256
    place.mkdir()
    archive = place / "archive"
    archive.write_bytes(made.data)
    return conda_entries(locked(made), archive, prefix, compiler, place)


def files(packed: CondaFiles) -> dict[str, bytes]:
    """The contents of files, and the targets of links, by path."""
    return {
        entry.path.decode(): entry.target if entry.kind == "symlink" else b"".join(entry.chunks())
        for entry in packed.entries
        if entry.kind != "dir"
    }


def install_with_rattler(packages: list[CondaFile], platform: str, scratch: Path) -> Path:
    """A prefix as an installer makes it that believes to be at ``/srv/env``."""
    from rattler import RepoDataRecord, Subdir, install

    target = scratch / f"prefix-{platform}"

    async def work() -> None:
        for package in packages:
            (scratch / package.filename).write_bytes(package.data)
        records = [
            await RepoDataRecord.from_package_archive(scratch / package.filename) for package in packages
        ]
        await install(
            records,
            target_prefix=target,
            cache_dir=scratch / "rattler",
            platform=Subdir(platform),
            execute_link_scripts=False,
            show_progress=False,
            alternative_target_prefix="/srv/env",
        )

    asyncio.run(work())
    return target


def tree(prefix: Path) -> dict[str, tuple[bytes, bool]]:
    """Content (or link target) and whether it is executable, by path below ``prefix``."""
    found = {}
    for path in sorted(prefix.rglob("*")):
        name = path.relative_to(prefix).as_posix()
        if path.is_symlink():
            found[name] = str(path.readlink()).encode(), False
        elif path.is_file():
            found[name] = path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR)
    return found


def compare_with_rattler(packages: list[CondaFile], python: str, platform: str, scratch: Path) -> None:
    """Paths, contents and executable bits are the same; but for entry points, ``conda-meta`` and bytecode."""
    expected = tree(install_with_rattler(packages, platform, scratch))
    expected.pop("CACHEDIR.TAG")  # rattler's own, for programs that make backups
    ours: dict[str, tuple[bytes, bool]] = {}
    scripts = set()
    for package in packages:
        for entry in pack(package, scratch, prefix=Prefix("srv/env", python)).entries:
            content = entry.target if entry.kind == "symlink" else b"".join(entry.chunks())
            executable = entry.kind == "file" and entry.mode == 0o755
            place = entry.path.decode().removeprefix("srv/env/")
            ours[place] = content, executable
            if place.startswith("conda-meta/"):
                rows = json.loads(content)["paths_data"]["paths"]
                scripts |= {row["_path"] for row in rows if row["path_type"] == "unix_python_entry_point"}

    assert scripts
    assert scripts <= expected.keys()
    assert {place for place in expected if place.endswith(".json")} == {
        place for place in ours if place.endswith(".json")
    }
    different = {place for place in (*ours, *expected) if place.startswith("conda-meta/")} | scripts
    assert {place: file for place, file in expected.items() if place not in different} == {
        place: file for place, file in ours.items() if place not in different
    }


@pytest.mark.parametrize("platform", ["linux-64", "linux-aarch64"])
def test_the_same_as_an_installer_links(platform: str, tmp_path: Path) -> None:
    """Of each of the test channel's packages the last version, but for Python."""
    newest = {}
    for package in demo_packages():
        name, version, _ = package.filename.rsplit("-", 2)
        if package.subdir in (platform, "noarch") and (name != "python" or version.startswith("3.11")):
            newest[name] = package
    assert len(newest) > 10

    compare_with_rattler(list(newest.values()), "3.11", platform, tmp_path)


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("platform", ["linux-64", "linux-aarch64"])
def test_the_same_as_an_installer_links_of_real_packages(
    platform: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A whole environment with a Python, made of Debian's packages and wheels."""
    channel = real_channel(tmp_path_factory.getbasetemp())
    newest: dict[str, CondaFile] = {}
    for file in (*channel.glob(f"{platform}/*.conda"), *channel.glob("noarch/*.conda")):
        name, version, build = file.name.rsplit("-", 2)
        is_other = version != "3.11" if name == "python_abi" else build.startswith(("py311", "h236"))
        if name == "python":
            is_other = version.startswith("3.11")
        if not is_other:
            newest[name] = CondaFile(file.parent.name, file.name, file.read_bytes())
    assert {"python", "numpy", "openssl", "ipykernel"} <= newest.keys()

    compare_with_rattler(list(newest.values()), "3.13", platform, tmp_path)


@pytest.mark.parametrize(
    ("source", "channel"),
    [
        ("conda-forge", "https://conda.anaconda.org/conda-forge"),
        ("pkgs-main", "https://repo.anaconda.com/pkgs/main"),
        ("lab-a5a733fc", "https://channel.invalid/lab-a5a733fc"),
    ],
)
def test_a_record_names_channels_and_never_a_mirror(source: str, channel: str) -> None:
    package = locked(make_conda("demo"))
    package = replace(package, artifact=replace(package.artifact, source=source))

    name, text = conda_meta.record(package, {}, [])

    assert name == "demo-1.0-0.json"
    assert json.loads(text)["url"] == f"{channel}/linux-64/demo-1.0-0.conda"


def test_a_record_is_what_tools_read(compiler: Compiler, tmp_path: Path) -> None:
    """rattler reads it, and it says what is really there."""
    from rattler import PrefixRecord

    made = make_conda(
        "demo",
        "1.0",
        noarch="python",
        depends=["python"],
        files={
            "site-packages/demo.py": b"value = 1\n",
            "share/demo.txt": File(f"{PLACEHOLDER}/x".encode(), placeholder="text"),
        },
        entry_points=["demo = demo:main"],
    )

    found = files(pack(made, tmp_path, compiler=compiler))

    text = found.pop("srv/env/conda-meta/demo-1.0-0.json")
    (tmp_path / "demo-1.0-0.json").write_bytes(text)
    record = PrefixRecord.from_path(tmp_path / "demo-1.0-0.json")
    assert (record.name.normalized, str(record.version), str(record.build)) == ("demo", "1.0", "0")
    assert sorted(f"srv/env/{path}" for path in record.files) == sorted(found)
    for row in json.loads(text)["paths_data"]["paths"]:
        data = found[f"srv/env/{row['_path']}"]
        assert len(data) == row["size_in_bytes"]
        if row["path_type"] != "pyc_file":
            assert hashlib.sha256(data).hexdigest() == row["sha256_in_prefix"]
    assert str(tmp_path).encode() not in text


def test_a_python_package_without_architecture_follows_the_environments_python(tmp_path: Path) -> None:
    made = make_conda(
        "demo",
        noarch="python",
        files={
            "site-packages/demo.py": b"",
            "python-scripts/tool": File(b"#!/bin/sh\n", executable=True),
            "etc/demo.conf": b"",
        },
        entry_points=["demo = demo.cli:main"],
    )
    prefix = Prefix("srv/env", "3.13", "lib/python3.13t/site-packages")

    found = files(pack(made, tmp_path, prefix=prefix))

    assert sorted(path for path in found if "conda-meta" not in path) == [
        "srv/env/bin/demo",
        "srv/env/bin/tool",
        "srv/env/etc/demo.conf",
        "srv/env/lib/python3.13t/site-packages/demo.py",
    ]
    assert found["srv/env/bin/demo"].startswith(
        b"#!/srv/env/bin/python3\nimport sys\nfrom demo.cli import main"
    )


def test_a_python_package_needs_a_python(tmp_path: Path) -> None:
    made = make_conda("demo", noarch="python", files={"site-packages/demo.py": b""})

    with pytest.raises(RepoError) as caught:
        pack(made, tmp_path, prefix=Prefix("srv/env", ""))

    assert caught.value.code == "no-python"


def _pyc(source: bytes, mtime: int, *, flags: int = 0) -> bytes:
    code = compile(source, "demo.py", "exec")
    if flags:
        return bytes(importlib._bootstrap_external._code_to_hash_pyc(code, b"x" * 8, bool(flags & 2)))
    return bytes(importlib._bootstrap_external._code_to_timestamp_pyc(code, mtime, len(source)))


MTIME = 1_700_000_000  # of every file of make_conda


def test_bytecode_that_fits_its_source_is_kept_and_no_longer_looks_at_times(tmp_path: Path) -> None:
    """Also for a Python that no base has."""
    source = b"value = 42\n"
    pyc = _pyc(source, MTIME)
    place = f"lib/python{MINOR}/site-packages"
    made = make_conda(
        "demo", files={f"{place}/demo.py": source, f"{place}/__pycache__/demo.{CACHE_TAG}.pyc": pyc}
    )

    found = files(pack(made, tmp_path))

    kept = found[f"{SITE}/__pycache__/demo.{CACHE_TAG}.pyc"]
    assert kept[:8] == importlib.util.MAGIC_NUMBER + b"\x01\0\0\0"
    assert kept[16:] == pyc[16:]
    (tmp_path / "demo.pyc").write_bytes(kept)
    run = subprocess.run(
        [sys.executable, "-c", "import demo; print(demo.value)"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "42\n"


@pytest.mark.parametrize("stale", ["time", "size", "prefix"])
def test_stale_bytecode_is_made_anew_or_left_out(stale: str, compiler: Compiler, tmp_path: Path) -> None:
    source = f"value = {PLACEHOLDER!r}\n".encode()
    pyc = _pyc(source + b" " * (stale == "size"), MTIME + (stale == "time"))
    place = f"lib/python{MINOR}"
    made = make_conda(
        "demo",
        files={
            f"{place}/demo.py": File(source, placeholder="text" if stale == "prefix" else None),
            f"{place}/__pycache__/demo.{CACHE_TAG}.pyc": pyc,
            f"{place}/__pycache__/demo.{CACHE_TAG}.opt-1.pyc": pyc,
        },
    )
    (tmp_path / "without").mkdir()

    without = files(pack(made, tmp_path / "without"))
    found = files(pack(made, tmp_path, compiler=compiler))

    assert not [path for path in without if path.endswith(".pyc")]
    assert [path for path in found if path.endswith(".pyc")] == [
        f"srv/env/{place}/__pycache__/demo.{CACHE_TAG}.pyc"
    ]
    made_anew = found[f"srv/env/{place}/__pycache__/demo.{CACHE_TAG}.pyc"]
    assert made_anew[4:8] == b"\x01\0\0\0"
    assert (PLACEHOLDER.encode() in made_anew) == (stale != "prefix")


def test_hash_based_bytecode_is_kept_as_it_is(tmp_path: Path) -> None:
    pyc = _pyc(b"value = 1\n", 0, flags=3)
    made = make_conda(
        "demo",
        files={
            f"lib/python{MINOR}/demo.py": b"value = 1\n",
            f"lib/python{MINOR}/__pycache__/demo.{CACHE_TAG}.pyc": pyc,
            "share/__pycache__/nothing.pyc": b"of no source",
        },
    )

    found = files(pack(made, tmp_path))

    assert found[f"srv/env/lib/python{MINOR}/__pycache__/demo.{CACHE_TAG}.pyc"] == pyc
    assert found["srv/env/share/__pycache__/nothing.pyc"] == b"of no source"


def test_link_scripts_are_named_and_not_run(tmp_path: Path) -> None:
    script = File(b"#!/bin/sh\ntouch /tmp/it-was-run\n", executable=True)
    made = make_conda("demo", files={"bin/.demo-post-link.sh": script, "bin/.other-post-link.sh": script})

    assert pack(made, tmp_path).link_script == "/srv/env/bin/.demo-post-link.sh"
    assert pack(make_conda("demo"), tmp_path).link_script is None


def test_menus_of_desktops_are_left_out(tmp_path: Path) -> None:
    made = make_conda("demo", files={"Menu/demo.json": b"{}", "share/x": b""})

    assert "srv/env/share/x" in files(pack(made, tmp_path))
    assert "srv/env/Menu/demo.json" not in files(
        pack(make_conda("demo", build="1", files={"Menu/demo.json": b"{}"}), tmp_path)
    )


def test_modes_are_executable_or_not_and_hard_links_are_copies(tmp_path: Path) -> None:
    link = tarfile.TarInfo("bin/again")
    link.type, link.linkname = tarfile.LNKTYPE, "bin/tool"
    tool = tarfile.TarInfo("bin/tool")
    tool.mode = 0o6771
    made = by_hand({"bin/tool": b"x", "bin/again": b"x"}, [(tool, b"x"), (link, b"")])

    entries = {entry.path: entry for entry in pack(made, tmp_path).entries}

    for path in (b"srv/env/bin/tool", b"srv/env/bin/again"):
        assert (entries[path].kind, entries[path].mode, b"".join(entries[path].chunks())) == (
            "file",
            0o755,
            b"x",
        )


def by_hand(
    listed: dict[str, bytes],
    members: list[tuple[tarfile.TarInfo, bytes]],
    *,
    info: dict[str, bytes] | None = None,
) -> CondaFile:
    """A ``.tar.bz2`` of exactly these members, whose paths.json lists ``listed``."""
    rows = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_in_bytes": len(data),
        }
        for path, data in listed.items()
    ]
    described = {
        "info/index.json": json.dumps({"name": "demo", "version": "1.0", "build": "0"}).encode(),
        "info/paths.json": json.dumps({"paths": rows, "paths_version": 1}).encode(),
        **(info or {}),
    }
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path, data in described.items():
            if data:
                member = tarfile.TarInfo(path)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return CondaFile("linux-64", "demo-1.0-0.tar.bz2", bz2.compress(stream.getvalue()))


def test_packages_from_before_paths_json(tmp_path: Path) -> None:
    """``files``, ``has_prefix`` (with and without a stated placeholder) and ``no_link``."""
    old = b"/opt/anaconda1anaconda2" + b"anaconda3"
    content = {
        "bin/old": b"#!" + old + b"/bin/python\n",
        "bin/new": b"#!/build/me/bin/python\n",
        "lib/with space": b"\0/build/me/lib\0end",
        "not-linked": b"",
    }
    made = by_hand(
        {},
        [(tarfile.TarInfo(path), data) for path, data in content.items()],
        info={
            "info/paths.json": b"",
            "info/files": "".join(f"{path}\n" for path in content).encode(),
            "info/has_prefix": b'bin/old\n/build/me text bin/new\n"/build/me" "binary" "lib/with space"\n',
            "info/no_link": b"not-linked\n",
        },
    )

    found = files(pack(made, tmp_path))

    assert found.pop("srv/env/conda-meta/demo-1.0-0.json")
    assert found == {
        "srv/env/bin/old": b"#!/srv/env/bin/python\n",
        "srv/env/bin/new": b"#!/srv/env/bin/python\n",
        "srv/env/lib/with space": b"\0/srv/env/lib\0\0end",
    }


def _special(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("dev")
    info.type = kind
    return info


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../../evil"),
        tarfile.TarInfo("/etc/evil"),
        _special(tarfile.CHRTYPE),
        _special(tarfile.FIFOTYPE),
    ],
    ids=["..", "absolute", "device", "pipe"],
)
@pytest.mark.parametrize("tar_bz2", [False, True])
def test_hostile_members_are_refused(member: tarfile.TarInfo, tar_bz2: bool, tmp_path: Path) -> None:
    made = make_conda("demo", hostile_members=[(member, b"")], tar_bz2=tar_bz2)

    with pytest.raises(RepoError) as caught:
        pack(made, tmp_path)

    assert caught.value.code == "bad-conda-package"
    assert made.filename in caught.value.message


@pytest.mark.parametrize(
    "path", ["../evil", "/etc/evil", "a//b", "a/./b", "", ".", "a\0b", "\ud800", "site-packages/../../x"]
)
def test_hostile_paths_are_refused(path: str, tmp_path: Path) -> None:
    made = by_hand({path: b""}, [])

    with pytest.raises(RepoError) as caught:
        pack(made, tmp_path)

    assert caught.value.code == "bad-conda-package"


def test_nothing_is_put_below_a_link(tmp_path: Path) -> None:
    """Not in the layer of one package: :func:`complete` refuses it."""
    link = tarfile.TarInfo("share/outside")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    made = by_hand(
        {"share/outside": b"", "share/outside/passwd": b"x"},
        [(link, b""), (tarfile.TarInfo("share/outside/passwd"), b"x")],
    )

    with pytest.raises(ValueError, match="not a directory"):
        complete(pack(made, tmp_path).entries)


def test_what_is_not_listed_is_not_installed(tmp_path: Path) -> None:
    made = make_conda("demo", files={"a": b""}, hostile_members=[(tarfile.TarInfo("b"), b"")])

    assert set(files(pack(made, tmp_path))) == {"srv/env/a", "srv/env/conda-meta/demo-1.0-0.json"}


def test_a_file_that_is_not_the_promised_one_is_refused(tmp_path: Path) -> None:
    for number, data in enumerate((b"other", b"longer than that")):
        made = by_hand({"a": b"truth"}, [(tarfile.TarInfo("a"), data)])
        (tmp_path / str(number)).mkdir()
        with pytest.raises(RepoError) as caught:
            files(pack(made, tmp_path / str(number)))
        assert caught.value.code == "bad-conda-package"


def test_another_package_than_the_locked_one_is_refused(tmp_path: Path) -> None:
    made = make_conda("demo", "2.0")

    with pytest.raises(RepoError, match="it says that it is demo-2"):
        pack(CondaFile(made.subdir, "demo-1.0-0.conda", made.data), tmp_path)


@pytest.mark.parametrize(
    ("info", "content"),
    [
        *(
            (f"info/{name}.json", content)
            for name in ("index", "paths", "link")
            for content in (b"{", b"[]", b"[" * 99_999, b"\xff", b"1")
        ),
        ("info/paths.json", b'{"paths": 1}'),
        ("info/paths.json", b'{"paths": [1], "paths_version": 1}'),
        ("info/paths.json", b'{"paths": [{"_path": 1, "path_type": "hardlink"}], "paths_version": 1}'),
        ("info/paths.json", b'{"paths": [{"_path": "a", "path_type": "magic"}], "paths_version": 1}'),
        ("info/paths.json", b'{"paths": [], "paths_version": 9}'),
        ("info/link.json", b'{"noarch": {"entry_points": [1]}}'),
        ("info/link.json", b'{"noarch": {"entry_points": ["x = a;import os:b"]}}'),
        ("info/link.json", b'{"noarch": {"entry_points": ["../x = a:b"]}}'),
        ("info/link.json", b'{"noarch": 1}'),
    ],
)
def test_descriptions_that_are_none_are_refused(info: str, content: bytes, tmp_path: Path) -> None:
    made = by_hand({}, [], info={info: content})

    with pytest.raises(RepoError) as caught:
        pack(made, tmp_path)

    assert caught.value.code == "bad-conda-package"


@pytest.mark.parametrize(
    "damage", ["truncated", "not an archive", "flipped", "one part", "bomb", "leads nowhere"]
)
@pytest.mark.parametrize("tar_bz2", [False, True])
def test_damaged_packages_are_named(
    damage: str, tar_bz2: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_conda("demo", files={"a": os.urandom(5000)}, tar_bz2=tar_bz2)
    data = bytearray(made.data)
    if damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "not an archive":
        data = bytearray(b"nothing")
    elif damage == "flipped":
        data[len(data) // 3] ^= 0xFF
    elif damage == "leads nowhere":
        data[-4] ^= 0xFF  # where a zip file's directory begins; the end of a bzip2 stream
    elif damage == "one part":
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("pkg-demo-1.0-0.tar.zst", zstandard.compress(b""))
        data = bytearray(stream.getvalue())
    else:
        monkeypatch.setattr("envbuild.pack.conda_archive._UNPACKED_LIMIT", 1000)

    with pytest.raises(RepoError) as caught:
        files(pack(CondaFile(made.subdir, made.filename, bytes(data)), tmp_path))

    assert caught.value.code == "bad-conda-package"
    assert made.filename in caught.value.message


@settings(max_examples=30)
@given(st.binary(max_size=2000), st.integers(0, 2000), st.booleans())
def test_any_bytes_end_in_entries_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, position: int, tar_bz2: bool
) -> None:
    made = make_conda("demo", tar_bz2=tar_bz2)
    data = made.data[:position] + noise + made.data[position + len(noise) :]
    try:
        files(pack(CondaFile(made.subdir, made.filename, data), tmp_path_factory.mktemp("fuzz")))
    except RepoError as error:
        assert error.code == "bad-conda-package"


def test_sparse_files_and_negative_sizes(tmp_path: Path) -> None:
    """What tarfile would read for ever is refused; what is stored in pieces is put together."""
    negative = tarfile.TarInfo("a")
    negative.size = 0
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        negative.pax_headers = {"size": "-1024"}
        archive.addfile(negative)
    made = CondaFile("linux-64", "demo-1.0-0.tar.bz2", bz2.compress(stream.getvalue()))
    with pytest.raises(RepoError):
        pack(made, tmp_path)

    sparse = tarfile.TarInfo("a")
    sparse.pax_headers = {"GNU.sparse.map": "0,2,5,1", "GNU.sparse.size": "8"}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, data in by_hand_info({"a": b"xy\0\0\0z\0\0"}).items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        sparse.size = 3
        archive.addfile(sparse, io.BytesIO(b"xyz"))
    made = CondaFile("linux-64", "demo-1.0-0.tar.bz2", bz2.compress(stream.getvalue()))
    assert files(pack(made, tmp_path))["srv/env/a"] == b"xy\0\0\0z\0\0"


def by_hand_info(listed: dict[str, bytes]) -> dict[str, bytes]:
    """The description of a package with these files."""
    with tarfile.open(fileobj=io.BytesIO(bz2.decompress(by_hand(listed, []).data))) as archive:
        streams = {member.name: archive.extractfile(member) for member in archive}
        return {name: stream.read() for name, stream in streams.items() if stream is not None}


def tarred(entries: list[Entry]) -> bytes:
    sink = io.BytesIO()
    write_tar(complete(entries), sink)
    return sink.getvalue()


def test_a_package_for_every_architecture_gives_the_same_bytes_everywhere(
    compiler: Compiler, tmp_path: Path
) -> None:
    """Whatever its scratch directory is called, and in both formats but for the name in conda-meta."""
    results = []
    for number in range(2):
        scratch = tmp_path / f"other-{number}"
        scratch.mkdir()
        made = make_conda(
            "demo", noarch="python", files={"site-packages/demo.py": b"x = {'a', 'b', 'c'}\n" * 50}
        )
        results.append(tarred(pack(made, scratch, compiler=compiler).entries))

    assert results[0] == results[1]
