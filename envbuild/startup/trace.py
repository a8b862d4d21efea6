"""Starts a server and a kernel once and keeps which files of the image they read.

The list, ``envbuild.trace``, is a file of the repository like the lock: the image stays a function of what is
in the repository. What the image leaves is not trusted: it is read bounded, and only names that the entry
point may read ahead are kept.
"""

from __future__ import annotations

import json
import posixpath
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from envbuild.conformance.program import Server, WebSocket, added
from envbuild.engine.model import Command, Engine, Mount, Running
from envbuild.errors import RepoError
from envbuild.image.model import Image
from envbuild.pack import recipe
from envbuild.probe.program import FAILURES, work
from envbuild.progress import Reporter
from envbuild.source.log import last_lines
from envbuild.source.text import clean
from envbuild.startup import recorder
from envbuild.store import Store
from envbuild.store.disk import write_atomic
from envbuild.up import free_port, jupyterlab

__all__ = ["checked", "trace_start", "write_trace"]

_HEAD: Final = "# Files that a first start reads, by `envbuild trace`; the entry point reads them ahead.\n"
_RECORDER: Final = "/run/envbuild/trace/sitecustomize.py"
_RECORD: Final = "/run/envbuild/trace.record"
_START_SECONDS: Final = 300.0
_IMPORT_SECONDS: Final = 600.0
_MOST_MODULES: Final = 500
_LARGEST: Final = 16 << 20  # bytes of what the image tells
_LONGEST_PATH: Final = 1000
_LINE: Final = re.compile(r"([0-9]{1,10}) (/.*)")

# In front of what the image, or the repository's `start`, has on the path.
_WITH_RECORDER: Final = (
    f'PYTHONPATH="{posixpath.dirname(_RECORDER)}${{PYTHONPATH:+:$PYTHONPATH}}" && export PYTHONPATH'
    ' && exec "$@"'
)
# The repository's own modules are left out: importing can be what runs them.
_IMPORT: Final = """\
import importlib as _i, importlib.util as _u, json as _j, os as _o
for _module in _j.loads({modules!r}):
    try:
        _spec = _u.find_spec(_module.partition(".")[0])
        _place = _spec.origin or next(iter(_spec.submodule_search_locations))
        if not _o.path.realpath(_place).startswith({repository!r}):
            _i.import_module(_module)
    except BaseException:
        pass
import sitecustomize as _s
_s.note_mapped(_s.note)
"""


def trace_start(
    image: Image,
    repository: Path,
    modules: Sequence[str],
    *,
    engine: Engine,
    store: Store,
    reporter: Reporter,
) -> tuple[str, ...]:
    """Start a server and its default kernel, import ``modules`` there, and return what was read.

    Parameters:
        repository: mounted as for ``envbuild up``.
        modules: dotted names; what cannot be imported is passed over.

    Returns:
        Absolute paths of files of the image: the server's in the order of first use, then the kernel's.

    Raises:
        MachineError: the engine fails.
        RepoError: server or kernel do not start (``detail`` has the end of the log), or nothing was noted.
    """
    port, token = free_port(), secrets.token_hex(24)
    engine.prepare(image, reporter=reporter)
    with store.temporary_directory() as scratch:
        path, log = scratch / "trace.record", scratch / "server.log"
        with path.open("xb+") as record:
            path.chmod(0o666)  # the container's user may be another than ours
            command = Command(
                ("sh", "-c", _WITH_RECORDER, "sh", *jupyterlab(engine.listen_address, port, ())),
                env={"JUPYTER_TOKEN": token, "JUPYTER_PORT": str(port), "ENVBUILD_TRACE": _RECORD},
                mounts=(
                    Mount(repository, f"/{recipe.REPO_DIR}", writable=True),
                    Mount(Path(recorder.__file__), _RECORDER),
                    Mount(path, _RECORD, writable=True),
                ),
                owner=repository.stat().st_uid,
                ports=(port,),
                output=log,
            )
            try:
                with reporter.stage("trace", unit="start"), engine.start(image, command) as running:
                    _work(port, token, modules, running)
            except FAILURES as error:
                raise RepoError(
                    f"it does not start: {clean(str(error) or type(error).__name__)}",
                    code="trace-failed",
                    remedy="`envbuild verify-image` tells what is wrong with it",
                    detail=last_lines(log) if log.exists() else None,
                ) from error
            files = checked(record.read(_LARGEST))
    if not files:
        raise RepoError(
            "the start did not tell which files it reads",
            code="nothing-traced",
            remedy="a Python of 3.8 or newer has to run the server, with $PYTHONPATH as it is given",
        )
    return files


def _work(port: int, token: str, modules: Sequence[str], running: Running) -> None:
    """Wait for the server, have it start a kernel, and have that import ``modules``."""
    for _ in work(port, token, (), _START_SECONDS, running.poll):
        pass
    server = Server([port], "/", token)
    (kernel,) = json.loads(server.ask("GET", "api/kernels")[1])
    specs = json.loads(server.ask("GET", "api/kernelspecs")[1])["kernelspecs"]
    if str(specs[kernel["name"]]["spec"].get("language", "")).lower() != "python":
        return
    wanted = json.dumps(list(dict.fromkeys(modules))[:_MOST_MODULES])
    code = _IMPORT.format(modules=wanted, repository=f"/{recipe.REPO_DIR}/")
    deadline = time.monotonic() + _IMPORT_SECONDS
    path = f"/api/kernels/{kernel['id']}/channels"
    with closing(WebSocket(port, path, token, deadline)) as channel:
        added(channel, code)


def checked(record: bytes) -> tuple[str, ...]:
    """The files that lines ``PROCESS PATH`` name and the entry point may read, process by process.

    Lines that are anything else are dropped; so is what there is too much of.
    """
    processes: dict[str, list[str]] = {}
    for line in record.decode("utf-8", "replace").split("\n")[:-1]:
        found = _LINE.fullmatch(line)
        if found is not None and _is_readable(found[2]):
            processes.setdefault(found[1], []).append(found[2])
    files = dict.fromkeys(path for paths in processes.values() for path in paths)
    return tuple(files)[: recipe.TRACE_LINES - 1]


def _is_readable(path: str) -> bool:
    return (
        path.startswith(tuple(f"/{place}/" for place in recipe.TRACE_PLACES))
        and posixpath.normpath(path) == path
        and path.isprintable()
        and "\ufffd" not in path
        and len(path) <= _LONGEST_PATH
    )


def write_trace(directory: Path, files: Sequence[str]) -> Path:
    """Write ``files`` to ``envbuild.trace`` in ``directory``, whole or not at all; returns its path.

    Raises:
        MachineError: the disk is full.
        RepoError: it cannot be written there.
    """
    path = directory / recipe.TRACE_FILE
    try:
        # A rename: a symbolic link of that name is replaced, not followed.
        write_atomic(path, (_HEAD + "".join(f"{file}\n" for file in files)).encode())
    except OSError as error:
        raise RepoError(
            f"this cannot be written: {error.strerror}",
            code="trace-not-writable",
            file=recipe.TRACE_FILE,
            remedy="trace a copy of the repository that you may write to",
        ) from error
    return path
