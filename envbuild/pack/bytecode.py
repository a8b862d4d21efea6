"""Bytecode made by a base image's own interpreter, one fresh process per package.

See docs/adr/0006-bytecode.md for why it is compiled at build time, by which interpreter and what is left out.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from envbuild.errors import MachineError
from envbuild.pack import recipe

__all__ = ["VARIABLES", "Bytecode", "Compiler", "cache_path", "wants_bytecode"]

VARIABLES: Final = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
"""What every interpreter that compiles has in its environment."""

# The largest source that gets bytecode, in bytes. Generated tables beyond this would make the compiler
# need gigabytes; Python still imports them, from source.
_LARGEST_SOURCE: Final = 10_000_000
# An answer beyond this is none: bytecode is a few times its source at most.
_LARGEST_BYTECODE: Final = 1 << 28
_PIECE: Final = 1 << 20


def wants_bytecode(path: str) -> bool:
    """Whether the source at ``path`` (below site-packages or the standard library) gets bytecode.

    >>> wants_bytecode("pandas/core/frame.py"), wants_bytecode("pandas/tests/test_take.py")
    (True, False)
    """
    parts = path.split("/")
    return path.endswith(".py") and recipe.NO_BYTECODE_DIRECTORIES.isdisjoint(parts[:-1])


def cache_path(path: str, python: str) -> str:
    """Where Python ``python`` (``3.11``) looks for the bytecode of ``path`` (PEP 3147).

    >>> cache_path("a/b.py", "3.11")
    'a/__pycache__/b.cpython-311.pyc'
    """
    head, _, name = path.rpartition("/")
    tag = python.replace(".", "")
    return f"{head}/__pycache__/{name[:-3]}.cpython-{tag}.pyc".removeprefix("/")


@dataclass(frozen=True, slots=True)
class Bytecode:
    """The bytecode of one source file: ``size`` bytes at ``offset`` of the file ``spool``."""

    path: str
    spool: Path
    offset: int
    size: int

    def read(self) -> Iterator[bytes]:
        """The bytes, in one chunk (a ``.pyc`` is at most a few times its bounded source)."""
        with self.spool.open("rb") as stream:
            stream.seek(self.offset)
            yield stream.read(self.size)


class Compiler:
    """A running base interpreter that compiles on request. Not for use by several threads at once.

    It may be a stranger's: what it answers is bounded, and is bytecode only for images that have it as their
    Python.

    Parameters:
        command: how to start the interpreter, up to and including those of its options that it needs.
        environment: the variables it needs (``PYTHONHOME``).
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        script = resources.files("envbuild.pack").joinpath("_compile_worker.py").read_text("utf-8")
        self._process = subprocess.Popen(
            # -S: nothing but the standard library is importable. -I would also ignore the hash seed.
            [*command, "-S", "-s", "-B", "-W", "ignore", "-c", script],
            env={**environment, **VARIABLES},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            # Not the repository's, whose files are not to be imported.
            cwd="/",
            # Ctrl-C is the parent's business: it closes our standard input, and then we end.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin: IO[bytes] = self._process.stdin
        self._stdout: IO[bytes] = self._process.stdout

    def compile_zip(
        self, source: Path, files: Sequence[tuple[str, str]], spool: Path
    ) -> list[Bytecode | None]:
        """Compile members of the zip file ``source``.

        Parameters:
            files: ``(member, final path)`` pairs; the final path, absolute and in the image, is what
                tracebacks show.
            spool: file to write the bytecode to; must live as long as the result is used.

        Returns:
            One :class:`Bytecode` per file, in order, None where the source does not compile.

        Raises:
            MachineError: the interpreter cannot run on this machine or died.
            OSError: the disk that ``spool`` is on is full.
            zipfile.BadZipFile: a member is damaged.
        """
        with zipfile.ZipFile(source) as archive:
            sizes = [archive.getinfo(member).file_size for member, _ in files]
            small = [number for number, size in enumerate(sizes) if size <= _LARGEST_SOURCE]
            sources = [(files[number][0], sizes[number]) for number in small]
            results: list[Bytecode | None] = [None] * len(files)
            if not small:
                return results
            request = json.dumps([[sizes[number], files[number][1]] for number in small]).encode()
            with self._sending(request, archive, sources), spool.open("wb") as output:
                for number in small:
                    results[number] = self._answer(files[number][1], spool, output)
        return results

    @contextmanager
    def _sending(
        self, request: bytes, archive: zipfile.ZipFile, sources: Sequence[tuple[str, int]]
    ) -> Iterator[None]:
        """Send what is asked while the block reads answers: so neither side waits for the other to read."""
        damage: list[Exception] = []

        def send() -> None:
            try:
                _write(self._stdin, len(request).to_bytes(8, "big") + request)
                for member, size in sources:
                    content = bytes(size)  # of one that is damaged, so that both sides go on counting alike
                    try:
                        content = _content(archive, member, size)
                    except zipfile.BadZipFile as error:
                        damage.append(error)
                    _write(self._stdin, content)
            except (BrokenPipeError, ValueError):
                pass  # it has ended, so an answer is missing, too

        thread = threading.Thread(target=send, name="sources", daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            self._process.kill()
            raise
        finally:
            thread.join()
        if damage:
            raise damage[0]

    def _answer(self, path: str, spool: Path, output: IO[bytes]) -> Bytecode | None:
        """The answer to one source; its bytecode goes to the end of ``output``."""
        size = int.from_bytes(self._receive(8), "big", signed=True)
        if size < 0:
            return None
        if size > _LARGEST_BYTECODE:
            raise _failed(f"it answers with {size} bytes")
        start = output.tell()
        while size:
            piece = self._receive(min(size, _PIECE))
            output.write(piece)
            size -= len(piece)
        return Bytecode(path, spool, start, output.tell() - start)

    def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self._stdout.read(size - len(data))
            if not piece:
                raise _failed("it ended")
            data += piece
        return bytes(data)

    def compile_sources(self, files: Sequence[tuple[str, bytes]], scratch: Path) -> dict[str, bytes]:
        """Compile sources that are in memory; ``files`` are ``(final path, source)`` pairs, sorted.

        Returns:
            Final path to bytecode, for those that compile. ``scratch`` is a directory for temporary files.
        """
        archive = scratch / "sources.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as bundle:
            for number, (_, source) in enumerate(files):
                bundle.writestr(str(number), source)
        members = [(str(number), path) for number, (path, _) in enumerate(files)]
        found = self.compile_zip(archive, members, scratch / "bytecode")
        return {code.path: b"".join(code.read()) for code in found if code is not None}

    def __enter__(self) -> Compiler:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(BrokenPipeError):
            self._stdin.close()
        if kind is not None:
            # Interrupted in the middle of a package: its fork ends with its process group.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._stdout.close()
        self._process.wait()


def _content(archive: zipfile.ZipFile, member: str, size: int) -> bytes:
    """The content of a member, of which the archive's directory says that it has ``size`` bytes.

    Raises:
        zipfile.BadZipFile: it cannot be read, or has another size.
    """
    try:
        content = archive.read(member)
    except (zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise zipfile.BadZipFile(f"{member}: {error}") from error
    if len(content) != size:
        raise zipfile.BadZipFile(f"{member} has another size than its entry says")
    return content


def _write(stream: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[stream.write(view) :]


def _failed(reason: str) -> MachineError:
    return MachineError(
        f"the base image's Python does not compile bytecode on this machine: {reason}",
        code="interpreter-failed",
        remedy="run `envbuild doctor`, and `envbuild cache prune --all` if the cache is damaged",
    )
