"""``envbuild up``: a Jupyter server on the environment image, with the repository mounted for editing."""

from __future__ import annotations

import errno
import http.client
import os
import secrets
import socket
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from envbuild.engine.model import Command, Engine, Mount, Running
from envbuild.errors import MachineError, RepoError
from envbuild.image.model import Image
from envbuild.pack import recipe
from envbuild.progress import Reporter
from envbuild.source.log import last_lines
from envbuild.store import Store

__all__ = ["free_port", "jupyterlab", "up"]

_HOST = "127.0.0.1"
_USUAL_PORTS = range(8888, 8898)  # the first is what Jupyter users expect
_START_SECONDS = 180.0
_POLL_SECONDS = 0.05


def up(
    image: Image,
    repository: Path,
    *,
    engine: Engine,
    store: Store,
    reporter: Reporter,
    ready: Callable[[str], None],
    port: int | None = None,
    browser: bool = True,
    arguments: Sequence[str] = (),
    show_log: bool = False,
) -> None:
    """Run a Jupyter server until it ends or the caller is interrupted.

    Parameters:
        image: the environment image, without the repository's files.
        repository: the directory to be edited; what the server writes belongs to its owner.
        ready: called with the URL (token included) when the server answers.
        port: on 127.0.0.1; None: 8888 or another that is free.
        browser: open the URL in the user's browser, too.
        arguments: options for JupyterLab, or, when the first is none, another command. That has to listen
            on ``$HOST`` and ``$PORT``; Jupyter servers take their token from ``$JUPYTER_TOKEN``.
        show_log: let the server write to our standard error instead of to a file of ours.

    After :class:`KeyboardInterrupt` (Ctrl-C) the server is shut down; when it had been ready, this is the
    normal end and nothing is raised.

    Raises:
        MachineError: the port cannot be used, or the engine fails.
        RepoError: the server ends by itself with an error; the last lines of its log are in ``detail``.
    """
    with _usable_port(port) as chosen:
        token = secrets.token_hex(24)
        engine.prepare(image, reporter=reporter)
        _warn_about_owner(repository, engine, reporter)
        replaced = bool(arguments) and not arguments[0].startswith("-")
        with store.temporary_directory() as scratch:
            log = None if show_log else scratch / "server.log"
            command = Command(
                tuple(arguments) if replaced else jupyterlab(engine.listen_address, chosen, arguments),
                env={
                    "HOST": engine.listen_address,
                    "PORT": str(chosen),
                    "JUPYTER_PORT": str(chosen),
                    "JUPYTER_TOKEN": token,
                },
                mounts=(Mount(repository, f"/{recipe.REPO_DIR}", writable=True),),
                owner=repository.stat().st_uid,
                ports=(chosen,),
                output=log,
            )
            with engine.start(image, command) as running:
                with reporter.stage("start", unit="server"):
                    _wait_until_answering(chosen, token, running, log, any_answer=replaced)
                url = f"http://{_HOST}:{chosen}/{'' if replaced else 'lab'}?token={token}"
                try:
                    ready(url)
                    if browser:
                        _open_browser(url)
                    code = running.wait()
                except KeyboardInterrupt:
                    return
                if code != 0:
                    raise _failed(code, log)


@contextmanager
def _usable_port(wanted: int | None) -> Iterator[int]:
    """``wanted`` when it can be listened on; without one, the first of the usual ports or any other.

    While the block runs, no other envbuild on this machine takes it: the server is not there at once.
    """
    for candidate in _USUAL_PORTS if wanted is None else (wanted,):
        try:
            claim = _claim(candidate)
        except OSError as error:
            if wanted is not None:
                raise _unusable(wanted, error) from error
            continue
        with claim:
            yield candidate
        return
    yield free_port()


def _claim(port: int) -> socket.socket:
    """What keeps ``port`` for us as long as it is open; raises when it is somebody's."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        if sys.platform == "linux":
            # An abstract name is known wherever the port is, and goes with its process.
            claim.bind(f"\0envbuild-port-{port}")
        socket.create_server((_HOST, port)).close()
    except OSError:
        claim.close()
        raise
    return claim


def _unusable(port: int, refusal: OSError) -> MachineError:
    reason = (
        "is already in use" if refusal.errno == errno.EADDRINUSE else f"cannot be used: {refusal.strerror}"
    )
    return MachineError(
        f"port {port} of {_HOST} {reason}",
        code="port-unusable",
        remedy="choose another port, or leave out --port to get a free one",
    )


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, chosen by the kernel."""
    with socket.create_server((_HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _warn_about_owner(repository: Path, engine: Engine, reporter: Reporter) -> None:
    if engine.runs_as_caller and repository.stat().st_uid not in (os.geteuid(), 65534):
        reporter.warn(f"{repository} belongs to another user: what you edit there may not be saved")


def jupyterlab(address: str, port: int, options: Sequence[str]) -> tuple[str, ...]:
    """The command line of a server that listens at ``address``, with more of its ``options``."""
    return (
        "jupyter-lab",
        "--no-browser",
        f"--ip={address}",
        f"--port={port}",
        "--ServerApp.port_retries=0",  # the URL names this port and no other
        "--ServerApp.allow_root=True",  # root inside is whoever owns the repository
        f"--ServerApp.root_dir=/{recipe.REPO_DIR}",
        *options,
    )


def _wait_until_answering(
    port: int, token: str, running: Running, log: Path | None, *, any_answer: bool
) -> None:
    """Return when the server answers as a Jupyter server should, or (``any_answer``) at all in HTTP."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        code = running.poll()
        if code is not None:
            raise _failed(code, log)
        status = _ask(port, token)
        if status == http.HTTPStatus.OK or (any_answer and status is not None):
            return
        time.sleep(_POLL_SECONDS)
    raise RepoError(
        f"the server did not answer within {_START_SECONDS:.0f} seconds",
        code="server-silent",
        detail=last_lines(log) if log else None,
    )


def _ask(port: int, token: str) -> int | None:
    """The HTTP status of Jupyter's ``/api/status``; None when nobody answers."""
    connection = http.client.HTTPConnection(_HOST, port, timeout=5)
    try:
        connection.request("GET", "/api/status", headers={"Authorization": f"token {token}"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _open_browser(url: str) -> None:
    """Open ``url`` in a browser with windows, if there is one: those for terminals would take over ours."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    if not type(browser).__name__.startswith(("GenericBrowser", "Elinks")):
        browser.open(url)


def _failed(code: int, log: Path | None) -> RepoError:
    return RepoError(
        f"the server ended with exit code {code}",
        code="server-failed",
        remedy="--verbose shows everything it says",
        detail=last_lines(log) if log else None,
    )
