"""The content-addressed store."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest

from envbuild.errors import DamagedError, MachineError
from envbuild.store import Blob, Store
from envbuild.store.disk import disk_errors, write_atomic
from envbuild.store.store import HashingWriter


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def test_a_blob_is_named_by_its_content(store: Store) -> None:
    blob = store.put_blob(b"content")

    assert Blob(_digest(b"content"), 7) == blob
    assert b"content" == store.blob_path(blob.digest).read_bytes()
    assert store.has_blob(blob.digest, 7)


def test_a_blob_of_another_size_is_not_there(store: Store) -> None:
    """A file that was cut short by a crash of the machine."""
    blob = store.put_blob(b"content")
    store.blob_path(blob.digest).write_bytes(b"con")

    assert not store.has_blob(blob.digest, 7)
    store.put_blob(b"content")
    assert store.has_blob(blob.digest, 7)


def test_a_streamed_blob(store: Store) -> None:
    with store.blob_writer() as stream:
        stream.write(b"con")
        stream.write(b"tent")

    assert (_digest(b"content"), 7) == (stream.digest, stream.size)
    assert b"content" == store.blob_path(stream.digest).read_bytes()


def test_a_stream_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.blob_writer() as stream:
        stream.write(b"half")
        raise ZeroDivisionError

    assert ([], []) == (list(store.blobs.iterdir()), list(store.tmp.iterdir()))


def test_the_store_is_an_oci_layout(store: Store) -> None:
    assert b'{"imageLayoutVersion":"1.0.0"}' == (store.layout / "oci-layout").read_bytes()
    assert (store.layout / "index.json").is_file()


def test_preparing_again_keeps_everything(store: Store) -> None:
    blob = store.put_blob(b"content")

    Store(store.root).prepare()

    assert store.has_blob(blob.digest, 7)


def test_actions_are_remembered(store: Store) -> None:
    store.put_action("ab", {"digest": "x", "size": 3})

    assert {"digest": "x", "size": 3} == store.action("ab")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_a_damaged_record_is_no_record(store: Store, content: bytes) -> None:
    (store.actions / "ab").write_bytes(content)

    assert store.action("ab") is None


def test_temporary_things_go_away(store: Store) -> None:
    with store.temporary_file() as file, store.temporary_directory() as directory:
        file.write_bytes(b"x")
        (directory / "y").write_bytes(b"y")

    assert [] == list(store.tmp.iterdir())


def test_only_one_at_a_time_holds_a_lock(store: Store) -> None:
    order: list[str] = []

    def other() -> None:
        with store.lock("work"):
            order.append("other")

    thread = threading.Thread(target=other)
    with store.lock("work"):
        thread.start()
        thread.join(0.05)
        order.append("first")
    thread.join()

    assert ["first", "other"] == order


def test_a_file_in_the_way_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")

    with pytest.raises(MachineError) as caught:
        Store(tmp_path / "cache").prepare()

    assert ("cache-not-writable", True) == (caught.value.code, bool(caught.value.remedy))


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "disk-full"),
        (errno.EDQUOT, "disk-full"),
        (errno.EFBIG, "file-too-large"),
        (errno.EXDEV, "cache-split"),
        (errno.EROFS, "cache-not-writable"),
        (errno.EIO, "disk-failed"),
        (errno.ESTALE, "disk-failed"),
    ],
)
def test_refusals_of_the_disk_are_explained(tmp_path: Path, number: int, code: str) -> None:
    with pytest.raises(MachineError) as caught, disk_errors(tmp_path):
        raise OSError(number, "no")

    assert code == caught.value.code


def test_other_trouble_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="odd"), disk_errors(tmp_path):
        raise OSError(errno.ELOOP, "odd")


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("os.replace", fail)
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(MachineError, match="no space"):
        write_atomic(path, b"new")

    assert (b"old", [path]) == (path.read_bytes(), list(tmp_path.iterdir()))


def test_writing_replaces_a_link_instead_of_following_it(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"keep me")
    link = tmp_path / "link"
    link.symlink_to(precious)

    write_atomic(link, b"new")

    assert (b"keep me", b"new", False) == (precious.read_bytes(), link.read_bytes(), link.is_symlink())


def test_hashing_writer_counts_what_passes(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as stream:
        writer = HashingWriter(stream)
        writer.write(b"abc")

    assert (_digest(b"abc"), 3) == (writer.digest, writer.size)


@pytest.mark.parametrize(
    "digest",
    ["", "sha256:", "sha256:../../etc/passwd", "sha256:" + "A" * 64, "0" * 64, "sha512:" + "0" * 64],
)
def test_what_is_no_digest_is_no_path(store: Store, digest: str) -> None:
    assert not store.has_blob(digest, 0)
    with pytest.raises(ValueError, match="is not a digest"):
        store.blob_path(digest)


def test_a_damaged_config_is_written_anew_by_the_next_build(store: Store) -> None:
    """Its size is right, so only reading it tells."""
    blob = store.put_blob(b"content")
    store.blob_path(blob.digest).write_bytes(b"cOntent")

    store.put_blob(b"content")

    assert b"content" == store.read_blob(blob.digest)


def test_a_damaged_blob_that_is_read_is_named_and_removed(store: Store) -> None:
    blob = store.put_blob(b"content")
    store.blob_path(blob.digest).write_bytes(b"cOntent")

    with pytest.raises(DamagedError, match=blob.digest) as caught:
        store.read_blob(blob.digest)

    assert ("damaged-cache", False) == (caught.value.code, store.blob_path(blob.digest).exists())


def test_a_missing_blob_is_an_error_with_a_remedy(store: Store) -> None:
    with pytest.raises(DamagedError, match="missing") as caught:
        store.read_blob(_digest(b"never"))

    assert ("missing-blob", True) == (caught.value.code, bool(caught.value.remedy))


@pytest.mark.parametrize("content", [b"whEel", b"whe", b"", b"wheels"])
def test_a_damaged_download_is_not_there(store: Store, content: bytes, warnings: list[str]) -> None:
    sha256 = hashlib.sha256(b"wheel").hexdigest()
    store.artifact_path(sha256).write_bytes(content)

    assert (False, False) == (store.has_artifact(sha256), store.artifact_path(sha256).exists())
    assert [f"the downloaded file {sha256} in the cache was damaged and has been removed"] == warnings


def test_damage_that_is_not_ours_to_remove_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = hashlib.sha256(b"wheel").hexdigest()
    store.artifact_path(sha256).write_bytes(b"whEel")

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(MachineError, match="cannot be removed") as caught:
        store.has_artifact(sha256)

    assert "cache-not-writable" == caught.value.code


def test_a_cut_marker_is_written_anew(store: Store) -> None:
    (store.layout / "oci-layout").write_bytes(b"")
    (store.layout / "index.json").write_bytes(b"")

    Store(store.root).prepare()

    assert b'{"imageLayoutVersion":"1.0.0"}' == (store.layout / "oci-layout").read_bytes()
    assert (store.layout / "index.json").stat().st_size


@pytest.mark.parametrize("mode", [0o2775, 0o775, 0o1777])
def test_who_may_write_to_the_cache_may_write_to_its_parts(tmp_path: Path, mode: int) -> None:
    """A directory for a group: whatever the umask of who comes first."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    store = Store(tmp_path / "cache")
    store.prepare()

    directories = (store.layout, store.blobs.parent, *store.directories)
    assert {mode & 0o2022} == {directory.stat().st_mode & 0o3022 for directory in directories}


def test_parts_on_different_disks_are_an_error_with_a_remedy(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(MachineError) as caught:
        store.put_blob(b"content")

    assert ("cache-split", []) == (caught.value.code, list(store.tmp.iterdir()))
