"""Compiles Python sources to unchecked-hash ``.pyc`` (PEP 552). Run by a base image's own interpreter.

Reads one JSON request per line from standard input::

    {"source": PATH, "files": [[MEMBER, FINAL_PATH], ...], "output": PATH}

``source`` is a zip file. The bytecode of all members is written to ``output``, one after the other; the
answer is ``{"sizes": [N, ...]}`` with -1 for a source that is not valid Python, or
``{"error": TEXT, "errno": N or null}``.

Each request is served by a fork of this process, which itself never compiles anything: what a ``.pyc``
looks like depends on what was compiled before in the same process (python/cpython#129724).
Only the standard library is used, and as little of it as possible.
"""

import _imp
import importlib.util
import io
import json
import marshal
import os
import sys
import zipfile

# The largest source that gets bytecode, in bytes. Generated tables beyond this would make the compiler
# need gigabytes; Python still imports them, from source.
LARGEST_SOURCE = 10_000_000


def bytecode(source: bytes, path: str) -> bytes:
    """The ``.pyc`` of ``source``, or b"" when it is not valid Python for this interpreter."""
    try:
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, UnicodeError, RecursionError, MemoryError, OverflowError):
        return b""
    source_hash = _imp.source_hash(int.from_bytes(importlib.util.MAGIC_NUMBER, "little"), source)
    # Flags 0b01: hash-based, not checked against the source at import.
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + source_hash + marshal.dumps(code)


def serve(request: dict) -> dict:  # type: ignore[type-arg]  # typing is not imported: less in the parent
    """Compile one request's files in order and return their sizes."""
    sizes = []
    with zipfile.ZipFile(request["source"]) as archive, io.FileIO(request["output"], "w") as output:
        for member, path in request["files"]:
            data = b""
            if archive.getinfo(member).file_size <= LARGEST_SOURCE:
                data = bytecode(archive.read(member), path)
            output.write(data)
            sizes.append(len(data) or -1)
    return {"sizes": sizes}


def main() -> None:
    """Answer requests until standard input ends."""
    for line in sys.stdin.buffer:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                answer = serve(json.loads(line))
            except BaseException as error:
                answer = {"error": f"{type(error).__name__}: {error}", "errno": getattr(error, "errno", None)}
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(json.dumps(answer).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            reply = pipe.read()
        _, status = os.waitpid(child, 0)
        if not reply:
            reply = json.dumps({"error": f"the compiler died (wait status {status})"}).encode()
        sys.stdout.buffer.write(reply + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
