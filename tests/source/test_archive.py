"""zip and tar files, honest and hostile."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from envbuild.errors import RepoError
from envbuild.source.archive import unpack


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for info, content in members:
            archive.writestr(info, content)
    return path


def zip_link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def target(tmp_path: Path) -> Path:
    directory = tmp_path / "target"
    directory.mkdir()
    return directory


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_files(tmp_path: Path, mode: str) -> None:
    script = member("top/run.sh")
    script.mode = 0o755
    archive = tar(
        tmp_path / "a.tar",
        (script, b"#!/bin/sh\n"),
        (member("top/sub/a.txt"), b"a"),
        (member("top/same.txt", tarfile.LNKTYPE, "top/sub/a.txt"), b""),
        (member("top/link", tarfile.SYMTYPE, "sub/a.txt"), b""),
        mode=mode,
    )

    top = unpack(archive, target(tmp_path), name="a.tar")

    assert "top" == top.name
    assert (b"a", b"a") == ((top / "link").read_bytes(), (top / "same.txt").read_bytes())
    assert os.access(top / "run.sh", os.X_OK)
    assert not os.access(top / "sub" / "a.txt", os.X_OK)


def test_zip_files(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", ("a.txt", b"a"), ("sub/", b""), (zip_link("link"), b"a.txt"))

    top = unpack(archive, target(tmp_path), name="a.zip")

    assert ["a.txt", "link", "sub"] == sorted(path.name for path in top.iterdir())
    assert b"a" == (top / "link").read_bytes()


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "tar-parent": lambda path: tar(path, (member("../x"), b"x")),
    "tar-absolute": lambda path: tar(path, (member("/tmp/x"), b"x")),
    "tar-inner-parent": lambda path: tar(path, (member("a/../../x"), b"x")),
    "tar-link-out": lambda path: tar(path, (member("l", tarfile.SYMTYPE, "../../x"), b"")),
    "tar-link-absolute": lambda path: tar(path, (member("l", tarfile.SYMTYPE, "/etc"), b"")),
    "tar-through-link": lambda path: tar(
        path, (member("d"), b""), (member("l", tarfile.SYMTYPE, "."), b""), (member("l/x"), b"x")
    ),
    "tar-through-file": lambda path: tar(path, (member("f"), b"f"), (member("f/x"), b"x")),
    "tar-twice": lambda path: tar(path, (member("f"), b"f"), (member("./f"), b"x")),
    "tar-hard-link-out": lambda path: tar(path, (member("l", tarfile.LNKTYPE, "/etc/passwd"), b"")),
    "tar-device": lambda path: tar(path, (member("d", tarfile.CHRTYPE), b"")),
    "tar-fifo": lambda path: tar(path, (member("d", tarfile.FIFOTYPE), b"")),
    "tar-long-name": lambda path: tar(path, (member("n" * 300), b"")),
    "zip-parent": lambda path: zipped(path, ("../x", b"x")),
    "zip-absolute": lambda path: zipped(path, ("/tmp/x", b"x")),
    "zip-link-out": lambda path: zipped(path, (zip_link("l"), b"../x")),
    "zip-through-link": lambda path: zipped(path, (zip_link("l"), b"."), ("l/x", b"x")),
    "zip-bomb": lambda path: zipped(path, *((f"{i}", bytes(60_000_000)) for i in range(18))),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case == "zip-bomb" else case for case in HOSTILE]
)
def test_hostile_archives(tmp_path: Path, case: str) -> None:
    archive = HOSTILE[case](tmp_path / "hostile")
    before = sorted(tmp_path.iterdir())
    directory = target(tmp_path)

    with pytest.raises(RepoError) as caught:
        unpack(archive, directory, name="hostile")

    assert "bad-archive" == caught.value.code
    assert [*before, directory] == sorted(tmp_path.iterdir())


def test_headers_that_claim_to_be_huge(tmp_path: Path) -> None:
    """A pax header of gigabytes would be read into memory at once."""
    info = member("x", tarfile.XHDTYPE)
    info.size = 8 << 30
    archive = tmp_path / "a.tar"
    archive.write_bytes(info.tobuf() + bytes(10240))

    with pytest.raises(RepoError):
        unpack(archive, target(tmp_path), name="a.tar")


@given(st.binary(max_size=200), st.integers(0, 400), st.sampled_from(["zip", "gz", "xz", "bz2"]))
@settings(max_examples=60)
@example(b"\x7f\0\0\0\0\0", 111, "zip")  # members before the beginning of the file
@example(bytes(100), 20, "bz2")
def test_damaged_archives(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, cut: int, kind: str
) -> None:
    """Truncated anywhere, with anything after it: unpacked or refused, nothing else."""
    directory = tmp_path_factory.mktemp("damaged")
    archive = directory / "a"
    if kind == "zip":
        zipped(archive, ("a.txt", b"content"))
    else:
        tar(archive, (member("a.txt"), b"content"), mode=f"w:{kind}")
    archive.write_bytes(archive.read_bytes()[:cut] + noise)
    try:
        unpack(archive, target(directory), name="a")
    except RepoError as error:
        assert "bad-archive" == error.code
