"""A disk that is slower than this machine's: an ext4 on a loop device, whose reads can take a while.

For that the device is on a file behind FUSE (https://docs.kernel.org/filesystems/fuse/fuse.html) that
answers reads late. They wait side by side, as those of a network volume do, not one after another as under a
limited rate. Writes are not slowed down.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["slow_disk"]

_DISK_BYTES = 12 << 30  # sparse
_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_MOUNTS = 0x20000  # CLONE_NEWNS
_READERS = 64  # reads that can wait at the same time

# include/uapi/linux/fuse.h: struct fuse_in_header to `nodeid`, fuse_out_header, and the numbers of questions.
_QUESTION, _QUESTION_BYTES = struct.Struct("<IIQ"), 40
_ANSWER = struct.Struct("<IiQ")
_TRANSFER, _TRANSFER_BYTES = struct.Struct("<8xQI"), 40  # of READ and WRITE: where and how much
_FORGET, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE = 2, 3, 4, 14, 15, 16
_RELEASE, _FSYNC, _FLUSH, _INIT, _INTERRUPT, _BATCH_FORGET = 18, 20, 25, 26, 36, 42
_PROTOCOL = (7, 31)
_ASYNC_READ, _BIG_WRITES, _ASYNC_DIRECT_IO = 1 << 0, 1 << 5, 1 << 15
_TRANSFER_MOST = 128 << 10
_BUFFER = _TRANSFER_MOST + (8 << 10)


@contextlib.contextmanager
def slow_disk(scratch: Path, delay: float) -> Iterator[tuple[Path, str]]:
    """An empty disk, as where it is mounted and its device, like ``/dev/loop0``. Needs root.

    The calling thread gets a mount namespace of its own and stays there, and so do all that it starts.

    Parameters:
        scratch: a directory on a disk with room for what is written to this one.
        delay: seconds that each read takes longer (of up to 128 KiB; larger ones are several, side by side).
    """
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=scratch, prefix="disk-")))
        store, late, mount = directory / "store", directory / "late", directory / "mount"
        mount.mkdir()
        with store.open("wb") as stream:
            stream.truncate(_DISK_BYTES)
        # Nothing is left for the kernel to initialize while somebody measures.
        lazy = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
        _run("mkfs.ext4", "-q", "-E", lazy, str(store))
        if delay:
            late.touch()
            stack.enter_context(_served(store, late, delay))
        else:
            _leave_mounts_of_others()
        # Direct: what is read is in one page cache, that of the files on the disk.
        file = str(late if delay else store)
        device = _run("losetup", "--find", "--show", "--direct-io=on", file).strip()
        try:
            # What Linux reads ahead by itself of most disks; of loop devices and some disks, more.
            _run("blockdev", "--setra", str(_TRANSFER_MOST // 512), device)
            _run("mount", device, str(mount))
        finally:
            _run("losetup", "--detach", device)  # as soon as it is not mounted any more, however that comes
        stack.callback(_run, "umount", "--recursive", str(mount))
        yield mount, device


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _leave_mounts_of_others() -> None:
    """Have a mount namespace.

    Without one, sandboxes that others start meanwhile have the disk mounted too, and keep it busy. With one,
    the disk is unmounted even if this process is killed.
    """
    if _LIBC.unshare(_NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "cannot have a mount namespace")
    _run("mount", "--make-rprivate", "/")


@contextlib.contextmanager
def _served(store: Path, name: Path, delay: float) -> Iterator[None]:
    """Have the content of ``store`` in the file ``name``, where reads are late; in a mount namespace."""
    file, kernel = os.open(store, os.O_RDWR), os.open("/dev/fuse", os.O_RDWR)
    waiting, mounted = os.pipe()
    # A process outside of the namespace: the kernel writes to the disk when the namespace ends, and who has
    # to answer that must not be among those who end with it.
    server = os.fork()
    if not server:
        try:
            os.setsid()  # Ctrl+C is not for it either
            os.close(mounted)
            if os.read(waiting, 1):
                _serve(kernel, _LateFile(file, delay))
        finally:
            os._exit(0)
    try:
        os.close(waiting)
        _leave_mounts_of_others()
        options = f"fd={kernel},rootmode={stat.S_IFREG:o},user_id=0,group_id=0,max_read={_TRANSFER_MOST}"
        if _LIBC.mount(b"late", os.fsencode(name), b"fuse", 0, options.encode()):
            raise OSError(ctypes.get_errno(), "cannot mount FUSE", str(name))
        os.write(mounted, b".")
    finally:
        for descriptor in (file, kernel, mounted):
            os.close(descriptor)
    try:
        yield
    finally:
        _run("umount", "--lazy", str(name))  # udev may be having a look at the device
        os.waitpid(server, 0)


def _serve(kernel: int, file: _LateFile) -> None:
    """Answer questions until the file is unmounted."""
    readers = [threading.Thread(target=_answer, args=(kernel, file)) for _ in range(_READERS)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()


def _answer(kernel: int, file: _LateFile) -> None:
    while True:
        try:
            question = os.read(kernel, _BUFFER)
        except OSError as error:
            if error.errno in (errno.EINTR, errno.ENOENT):  # the question was taken back
                continue
            return
        answer = file.answer(question)
        if answer:
            with contextlib.suppress(OSError):  # taken back meanwhile
                os.writev(kernel, answer)


@dataclass(frozen=True, slots=True)
class _LateFile:
    """What the kernel is answered about the one file there is."""

    file: int
    delay: float

    def answer(self, question: bytes) -> list[bytes]:
        """The parts of an answer; none when the kernel does not wait for one."""
        _, kind, number = _QUESTION.unpack_from(question)
        if kind in (_FORGET, _BATCH_FORGET, _INTERRUPT):
            return []
        answers: dict[int, Callable[[bytes], bytes]] = {
            _INIT: self._begin,
            _GETATTR: self._attributes,
            _SETATTR: self._attributes,
            _OPEN: lambda _: bytes(16),
            _READ: self._read,
            _WRITE: self._write,
            _FSYNC: self._synchronize,
            _FLUSH: lambda _: b"",
            _RELEASE: lambda _: b"",
        }
        try:
            if kind not in answers:
                raise OSError(errno.ENOSYS, "not needed for a disk")
            body = answers[kind](question[_QUESTION_BYTES:])
        except OSError as error:
            return [_ANSWER.pack(_ANSWER.size, -(error.errno or errno.EIO), number)]
        return [_ANSWER.pack(_ANSWER.size + len(body), 0, number), body]

    def _begin(self, _: bytes) -> bytes:
        flags = _ASYNC_READ | _BIG_WRITES | _ASYNC_DIRECT_IO
        sizes = (_TRANSFER_MOST, flags, _READERS, _READERS, _TRANSFER_MOST)
        return struct.pack("<4I2HI", *_PROTOCOL, *sizes) + bytes(36)

    def _attributes(self, _: bytes) -> bytes:
        size = os.fstat(self.file).st_size
        numbers = (1, size, size // 512)  # inode, bytes, blocks
        mode, links, block = stat.S_IFREG | 0o600, 1, 4096
        valid = struct.pack("<Q8x", 3600)
        return valid + struct.pack("<3Q36x2I12xI4x", *numbers, mode, links, block)

    def _read(self, question: bytes) -> bytes:
        place, size = _TRANSFER.unpack_from(question)
        time.sleep(self.delay)
        return os.pread(self.file, size, place)

    def _write(self, question: bytes) -> bytes:
        place, size = _TRANSFER.unpack_from(question)
        return struct.pack(
            "<I4x", os.pwrite(self.file, question[_TRANSFER_BYTES : _TRANSFER_BYTES + size], place)
        )

    def _synchronize(self, _: bytes) -> bytes:
        os.fdatasync(self.file)
        return b""
