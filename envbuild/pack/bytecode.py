"""Bytecode made by a base image's own interpreter, one fresh process per package.

See docs/adr/0006-bytecode.md for why it is compiled at build time, by which interpreter and what is left out.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import TracebackType

from envbuild.errors import MachineError
from envbuild.pack import recipe

__all__ = ["Bytecode", "Compiler", "cache_path", "wants_bytecode"]


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

    Parameters:
        command: how to start the interpreter (its loader, library path and binary).
        environment: the variables it needs (``PYTHONHOME``).
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        script = resources.files("envbuild.pack") / "_compile_worker.py"
        self._process = subprocess.Popen(
            # -P and -S: nothing but the standard library is importable. -I would also ignore the hash seed.
            [*command, "-P", "-S", "-s", "-B", "-W", "ignore", str(script)],
            env={**environment, "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ctrl-C is the parent's business: it closes our standard input, and then we end.
            start_new_session=True,
        )

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
        """
        if not files:
            return []
        request = {"source": str(source), "files": files, "output": str(spool)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise MachineError(
                "the base image's Python cannot run on this machine to compile bytecode",
                code="interpreter-failed",
                remedy="run `envbuild doctor`, and `envbuild cache prune --all` if the cache is damaged",
            )
        answer = json.loads(line)
        if answer.get("errno") == errno.ENOSPC:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(spool))
        if "error" in answer:
            raise MachineError(
                f"compiling {source.name} to bytecode failed: {answer['error']}", code="bytecode-failed"
            )
        results: list[Bytecode | None] = []
        offset = 0
        for (_, path), size in zip(files, answer["sizes"], strict=True):
            results.append(None if size < 0 else Bytecode(path, spool, offset, size))
            offset += max(size, 0)
        return results

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
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        if kind is not None:
            # Interrupted in the middle of a package: its fork ends with its process group.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.stdout.close()
        self._process.wait()
