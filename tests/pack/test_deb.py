from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from envbuild.errors import RemoteError
from envbuild.pack.deb import Member, merge_usr, open_deb
from tests.support.debian import make_ar, make_deb, make_tar


def write(folder: Path, data: bytes) -> Path:
    path = folder / "package.deb"
    path.write_bytes(data)
    return path


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def names(path: Path) -> list[bytes]:
    with open_deb(path) as package:
        return [one.path for one in package.members()]


@pytest.mark.parametrize(
    ("ending", "compress"),
    [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress), (".zst", zstandard.compress)],
)
def test_every_compression(tmp_path: Path, ending: str, compress: Callable[[bytes], bytes]) -> None:
    made = make_deb("a", files={"usr/bin/a": b"x" * 100_000}, compress=(ending, compress))

    with open_deb(write(tmp_path, made.data)) as package:
        assert "a" == package.control["Package"]
        assert [Member(b"usr/bin/a", "file", 0o640, b"x" * 100_000)] == list(package.members())


def test_members(tmp_path: Path) -> None:
    made = make_deb(
        "a",
        directories=["etc"],
        files={"etc/ü": b"1", "etc/run": b"2"},
        executable=["etc/run"],
        links={"etc/link": "../usr"},
        hardlinks={"etc/same": "./etc/run"},
    )

    with open_deb(write(tmp_path, made.data)) as package:
        assert [
            Member(b"etc", "dir", 0o2775),
            Member("etc/ü".encode(), "file", 0o640, b"1"),
            Member(b"etc/run", "file", 0o4755, b"2"),
            Member(b"etc/link", "symlink", 0o777, target=b"../usr"),
            Member(b"etc/same", "hardlink", 0o644, target=b"etc/run"),
        ] == list(package.members())


def test_control_files_and_scripts(tmp_path: Path) -> None:
    made = make_deb(
        "a",
        fields={"Depends": "b", "Conffiles": "\n /etc/a 00"},
        control_files={"postinst": "#!/bin/sh\n", "postrm": "", "triggers": "interest x\n"},
    )

    with open_deb(write(tmp_path, made.data)) as package:
        assert ("postinst",) == package.scripts
        assert b"interest x\n" == package.control_files["triggers"]
        assert ("b", "\n /etc/a 00") == (package.control["Depends"], package.control["Conffiles"])


def test_names_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    info = tarfile.TarInfo("./etc/" + b"\xff\xfe".decode("utf-8", "surrogateescape"))
    made = make_deb("a", extra=[info])

    assert [b"etc/\xff\xfe"] == names(write(tmp_path, made.data))


@pytest.mark.parametrize(
    "info",
    [
        member("/etc/passwd", tarfile.REGTYPE),
        member("./../evil", tarfile.REGTYPE),
        member("./a/../../evil", tarfile.REGTYPE),
        member("..", tarfile.DIRTYPE),
        member("./a", tarfile.LNKTYPE, "../../etc/passwd"),
        member("./a", tarfile.LNKTYPE, "/etc/passwd"),
    ],
    ids=lambda info: info.linkname or info.name,
)
def test_paths_that_leave_the_root_are_refused(tmp_path: Path, info: tarfile.TarInfo) -> None:
    with pytest.raises(RemoteError, match=r"package\.deb cannot be used: it has the unsafe path"):
        names(write(tmp_path, make_deb("a", extra=[info]).data))


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_devices_and_pipes_are_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(RemoteError, match="neither a file, a directory nor a link"):
        names(write(tmp_path, make_deb("a", extra=[member("./dev/x", kind)]).data))


def test_more_than_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envbuild.pack.deb._DATA_LIMIT", 10)

    with pytest.raises(RemoteError, match="unpacks to too much"):
        names(write(tmp_path, make_deb("a", files={"a": b"12345678901"}).data))


def test_a_control_archive_over_its_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envbuild.pack.deb._CONTROL_LIMIT", 10)

    with pytest.raises(RemoteError, match="control archive is too large"):
        names(write(tmp_path, make_deb("a").data))


EMPTY = lzma.compress(make_tar([]))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ends too early"),
        (b"PK\x03\x04", "ends too early"),
        (make_ar([]), "ends too early"),
        (make_ar([("debian-binary", b"3.0\n")]), "not a Debian package of format 2"),
        (make_ar([("debian-binary", b"2.0\n")]), "ends too early"),
        (make_ar([("debian-binary", b"2.0\n"), ("data.tar.xz", EMPTY)]), "no control archive"),
        (make_ar([("debian-binary", b"2.0\n"), ("control.tar.xz", EMPTY)]), "ends too early"),
        (make_ar([("debian-binary", b"2.0\n"), ("control.tar.xz", EMPTY), ("x", b"")]), "no data archive"),
        (make_ar([("debian-binary", b"2.0\n"), ("control.tar.lz", EMPTY)]), "unknown compression .lz"),
        (make_ar([("debian-binary", b"2.0\n"), ("control.tar.xz", b"no xz")]), "format not supported"),
        (make_ar([("debian-binary", b"2.0\n"), ("control.tar.gz", b"no gz")]), "Not a gzipped file"),
        (make_ar([("debian-binary", b"2.0\n"), ("control.tar.zst", b"no zstd")]), "cannot be used"),
    ],
)
def test_what_is_not_a_package_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(RemoteError) as caught:
        names(write(tmp_path, data))

    assert "bad-deb" == caught.value.code
    assert reason in caught.value.message


def test_members_that_deb5_says_to_ignore_are(tmp_path: Path) -> None:
    parts = [("_new", b"?"), ("control.tar.xz", EMPTY), ("_other", b"odd"), ("data.tar.xz", EMPTY)]

    assert [] == names(write(tmp_path, make_ar([("debian-binary", b"2.0\n"), *parts])))


WHOLE = make_deb("a", files={"usr/bin/a": bytes(range(256)) * 40}, control_files={"postinst": "x" * 600}).data


@given(st.integers(0, len(WHOLE) - 1))
def test_a_package_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    with pytest.raises(RemoteError, match="cannot be used"):
        names(write(tmp_path_factory.mktemp("cut"), WHOLE[:length]))


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_changed_byte_never_gives_another_kind_of_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: int
) -> None:
    data = bytearray(WHOLE)
    data[place] ^= change

    try:
        names(write(tmp_path_factory.mktemp("changed"), bytes(data)))
    except RemoteError as error:
        assert "bad-deb" == error.code


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"bin/sh", b"usr/bin/sh"),
        (b"sbin", b"usr/sbin"),
        (b"lib64/ld.so", b"usr/lib64/ld.so"),
        (b"libexec/x", b"libexec/x"),
        (b"usr/lib/x", b"usr/lib/x"),
        (b"etc/lib", b"etc/lib"),
    ],
)
def test_merge_usr(path: bytes, expected: bytes) -> None:
    assert expected == merge_usr(path)


def test_a_tar_in_pax_format(tmp_path: Path) -> None:
    """Long names and other time stamps than the classic format allows."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("./usr/" + "x" * 200)
        info.mtime = 0.5
        archive.addfile(info)
    parts = [("control.tar.xz", EMPTY), ("data.tar.xz", lzma.compress(buffer.getvalue()))]

    assert [b"usr/" + b"x" * 200] == names(write(tmp_path, make_ar([("debian-binary", b"2.0\n"), *parts])))
