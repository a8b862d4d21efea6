"""Compiles Python sources to unchecked-hash ``.pyc`` (PEP 552). Run by a base image's own interpreter.

It reads and writes nothing but its standard input and output, so that it may run where there are no files
of the host. Numbers are eight bytes, the highest first. A request is the length of a JSON text, the text, and
the sources one after the other::

    [[SIZE, FINAL_PATH], ...]

The answer is, for each source, the length of the bytecode and the bytecode; the length is -1 for a source
that is not valid Python.

Each request is served by a fork of this process, which itself never compiles anything: what a ``.pyc``
looks like depends on what was compiled before in the same process (python/cpython#129724).
Only the standard library is used, and as little of it as possible. Runs on Python 3.8 and later.
"""

import sys

# What is in the current directory is not to be imported; Python before 3.11 knows no other way to say so.
sys.path[:] = [path for path in sys.path if path]

import _imp  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import marshal  # noqa: E402
import os  # noqa: E402


def bytecode(source: bytes, path: str) -> bytes:
    """The ``.pyc`` of ``source``, or b"" when it is not valid Python for this interpreter."""
    try:
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, UnicodeError, RecursionError, MemoryError, OverflowError):
        return b""
    source_hash = _imp.source_hash(int.from_bytes(importlib.util.MAGIC_NUMBER, "little"), source)
    # Flags 0b01: hash-based, not checked against the source at import.
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + source_hash + marshal.dumps(code)


def receive(size: int) -> bytes:
    """Exactly ``size`` bytes of standard input; fewer when it ends. Nothing is read ahead: forks share it."""
    data = bytearray()
    while len(data) < size:
        piece = os.read(0, min(size - len(data), 1 << 20))
        if not piece:
            break
        data += piece
    return bytes(data)


def send(data: bytes) -> None:
    """Write all of ``data`` to standard output."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def serve(files: list) -> None:  # type: ignore[type-arg]  # the oldest Python that runs this has no list[...]
    """Compile one request's sources in order."""
    for size, path in files:
        code = bytecode(receive(size), path)
        send((len(code) or -1).to_bytes(8, "big", signed=True) + code)


def main() -> None:
    """Answer requests until standard input ends."""
    while True:
        size = receive(8)
        if len(size) < 8:
            return
        request = receive(int.from_bytes(size, "big"))
        child = os.fork()
        if child == 0:
            status = 1
            try:
                serve(json.loads(request))
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(1)


if __name__ == "__main__":
    main()
