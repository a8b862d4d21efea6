"""``envbuild-kernel``: what the host's kernelspecs start. Runs a kernel in its image and stays with it.

::

    envbuild-kernel [--status DESCRIPTOR] CONNECTION_FILE KERNEL KEY CACHE [SOURCE OPTION...]

It is a program of its own because people wait for it: nothing is read, resolved or looked for that
``envbuild kernel install`` knew already. Only when the lock has changed since, or the cache was cleared, the
rest of envbuild is called with the last arguments (``envbuild kernel prepare``), and that takes longer.

Signals go to the kernel, which works in the directory we are started in. When the process that started us
ends, however it ends, so do we and the kernel. What goes wrong is on standard error, where applications show
it in their log, and at DESCRIPTOR, where the provisioner reads it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild.errors import EnvbuildError, MachineError, RepoError
from envbuild.launch.attend import Attendant

if TYPE_CHECKING:
    from envbuild.engine.model import Command, Running
    from envbuild.launch.kernels import ImageKernel
    from envbuild.launch.prepared import Prepared
    from envbuild.store import Store

__all__ = ["EXCHANGE", "STARTED", "main", "message_of", "run"]

EXCHANGE = "/run/envbuild/kernel"
"""Where the kernel's connection file is in the image."""

STARTED = "started"
"""What is written to the status descriptor when the kernel's process runs."""

# Tells ipykernel that an application started it. In the image, its parent is the init, which never goes away.
_PARENT = {"JPY_PARENT_PID": "1"}


def main() -> None:
    """Run the command line and exit with the kernel's code (the console script)."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a kernel to its end; see the module.

    Returns:
        The kernel's exit code, or that of the error.
    """
    attendant = Attendant()
    status: int | None = None
    if arguments[:1] == ["--status"]:
        status, arguments = int(arguments[1]), arguments[2:]
    try:
        connection_file, kernel, key, cache, *source = arguments
    except ValueError:
        print("envbuild-kernel is started by Jupyter; see `envbuild kernel --help`", file=sys.stderr)
        return 2
    try:
        return _run(attendant, status, Path(connection_file), kernel, key, Path(cache), source)
    except EnvbuildError as error:
        _say(message_of(error))
        _tell(status, message_of(error))
        return error.exit_code


def message_of(error: EnvbuildError) -> str:
    """One sentence, with the remedy."""
    from envbuild.source.text import printable, redact

    parts = [str(error), *([error.remedy] if error.remedy else [])]
    return printable(redact("; ".join(parts)))


def _run(
    attendant: Attendant,
    status: int | None,
    connection_file: Path,
    name: str,
    key: str,
    cache: Path,
    source: Sequence[str],
) -> int:
    from envbuild.store import Store

    store = Store(cache, _say)
    store.prepare()
    with _held(store), store.temporary_directory() as scratch:
        prepared = _prepared(store, key, source)
        kernel = prepared.kernel(name)
        if kernel is None:
            raise RepoError(
                f"the image has no kernel {name!r} any more",
                code="kernel-gone",
                remedy=f"run `envbuild kernel install {source[0]}` again",
            )
        launch, listen_address = _launcher(prepared, store)
        command = _command(prepared, kernel, connection_file, scratch, listen_address)
        ended = attendant.attend(lambda: launch(command), lambda: _tell(status, STARTED))
    if ended.reason is not None:
        _say(f"the kernel died: {ended.reason}")
    return ended.code


@contextmanager
def _held(store: Store) -> Iterator[None]:
    """Have nobody remove what is in use: :func:`envbuild.store.prune.in_use` without the clearing away."""
    from envbuild.store.disk import disk_errors
    from envbuild.store.locks import open_lock, wait_for

    with disk_errors(store.root):
        handle = open_lock(store.locks / "in-use")
    try:
        wait_for(handle, shared=True)
        yield
    finally:
        os.close(handle)


def _prepared(store: Store, key: str, source: Sequence[str]) -> Prepared:
    """What is prepared for the lock as it is now."""
    from envbuild.launch.prepared import read_prepared

    prepared = read_prepared(store, key)
    if prepared is not None and prepared.is_current():
        return prepared
    _say(f"{'preparing' if prepared is None else 'the lock or the cache has changed: preparing'} the image")
    _prepare(["kernel", "prepare", "--key", key, "--cache-dir", str(store.root), *source])
    prepared = read_prepared(store, key)
    if prepared is None:
        raise MachineError("what was prepared cannot be read", code="kernel-not-prepared")
    return prepared


def _prepare(arguments: Sequence[str]) -> None:
    """Run another verb of envbuild, in a process of our group; raises its error."""
    import json
    import subprocess

    command = [sys.executable, "-P", "-m", "envbuild", *arguments, "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    if done.returncode == 0:
        return
    try:
        said = json.loads(done.stdout)
        error = EnvbuildError(said["message"], code=said["error"], file=said["file"], remedy=said["remedy"])
    except (ValueError, KeyError, TypeError):
        error = EnvbuildError("the image cannot be prepared", code="kernel-not-prepared")
    error.exit_code = done.returncode
    raise error


def _launcher(prepared: Prepared, store: Store) -> tuple[Callable[[Command], Running], str]:
    """What starts a command in the image, and the address inside at which ports are reached."""
    if prepared.unpacked is not None:
        return prepared.unpacked.start, "127.0.0.1"
    from functools import partial

    from envbuild.engine import Docker, Podman, choose
    from envbuild.image.model import Image, Layer
    from envbuild.progress import Silent
    from envbuild.store import Blob

    engine = choose(prepared.engine, [Docker(store, os.environ), Podman(store, os.environ)])
    value = prepared.image
    image = Image(
        value["platform"],
        Blob(**value["config"]),
        Blob(**value["manifest"]),
        tuple(
            Layer(**{**layer, "packages": tuple(layer["packages"]), "notes": tuple(layer["notes"])})
            for layer in value["layers"]
        ),
    )
    engine.prepare(image, reporter=Silent())  # removes what killed kernels left, whose ports may be ours
    return partial(engine.start, image), engine.listen_address


def _command(
    prepared: Prepared, kernel: ImageKernel, connection_file: Path, scratch: Path, listen_address: str
) -> Command:
    from envbuild.engine.model import Command, Mount
    from envbuild.engine.network import lent
    from envbuild.launch.connection import read_connection
    from envbuild.launch.place import find_place

    connection = read_connection(connection_file)
    exchange = scratch / "kernel"
    exchange.mkdir()
    # The container's user may be another than ours; nobody else gets here through the parent. What is
    # written here by the image is not read.
    exchange.chmod(0o777)
    (exchange / "connection.json").write_bytes(connection.inside(listen_address))
    (exchange / "connection.json").chmod(0o666)
    try:
        directory: Path | None = Path.cwd()
    except OSError:
        directory = None
    place = find_place(directory, prepared.repository, Path.home())
    if place.note is not None:
        _say(place.note)
    variables, mounts = lent(os.environ)
    return Command(
        tuple(word.replace("{connection_file}", f"{EXCHANGE}/connection.json") for word in kernel.argv),
        env={**variables, **kernel.environment, **_PARENT},
        workdir=place.workdir,
        mounts=(*place.mounts, Mount(exchange, EXCHANGE, writable=True), *mounts),
        owner=prepared.repository.stat().st_uid,
        ports=connection.ports,
        tied=True,
    )


def _say(message: str) -> None:
    print(f"envbuild: {message}", file=sys.stderr, flush=True)


def _tell(status: int | None, message: str) -> None:
    if status is not None:
        with suppress(OSError):  # nobody listens any more
            os.write(status, message.encode())
        os.close(status)
