"""The content-addressed store."""

from __future__ import annotations

import errno
import hashlib
import threading
from pathlib import Path

import pytest

from envbuild.errors import MachineError
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
