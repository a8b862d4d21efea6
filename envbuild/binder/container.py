"""Starting the image that was built, as repo2docker does when it is not told ``--no-run``."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from envbuild.binder.arguments import Run
from envbuild.engine.docker_container import docker_errors
from envbuild.errors import UsageError
from envbuild.pack import recipe
from envbuild.source.text import quote
from envbuild.up import free_port

__all__ = ["port_bindings", "run_container"]

_LOOPBACK = "127.0.0.1"
_PORT = re.compile(r"(?P<port>\d{1,5})(?:/(?P<protocol>tcp|udp))?")
Bindings = dict[str, str | tuple[str, str]]


def port_bindings(texts: tuple[str, ...]) -> Bindings:
    """What Docker's SDK calls ``ports``, of ``[[HOST:]PORT:]PORT[/PROTOCOL]`` each.

    >>> port_bindings(("8888", "127.0.0.1:8080:80/tcp"))
    {'8888/tcp': '8888', '80/tcp': ('127.0.0.1', '8080')}

    Raises:
        UsageError: one is nothing of the kind.
    """
    found: Bindings = {}
    for text in texts:
        *places, inside = text.split(":")
        match = _PORT.fullmatch(inside)
        outside = places[-1] if places else inside.partition("/")[0]
        if match is None or len(places) > 2 or not _is_port(match["port"]) or not _is_port(outside):
            raise UsageError(
                f"{quote(text)} is not [[HOST:]PORT:]PORT", code="bad-port", remedy="write 8888:8888, say"
            )
        found[f"{match['port']}/{match['protocol'] or 'tcp'}"] = (
            (places[0], outside) if len(places) == 2 else outside
        )
    return found


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536


def run_container(
    client: Any, image: str, run: Run, *, host: str, user_id: int | None, say: Callable[[str], None]
) -> int:
    """Run ``image`` until it ends, and return its exit code; Ctrl-C ends it. Nothing is left of it.

    Without a port and a command it is a Jupyter server on a free port of this machine.

    Parameters:
        client: Docker's SDK.
        host: the daemon's address.
        user_id: whom files in volumes belong to; None: the image's user.
        say: told each line of its output.

    Raises:
        MachineError: Docker refuses.
        UsageError: a port is none.
    """
    bindings = port_bindings(run.ports)
    shown, command = _LOOPBACK, list(run.command)
    parts = urlsplit(host)
    remote = parts.hostname if parts.scheme in ("tcp", "http", "https", "ssh") else None
    if not command:
        if not bindings:
            port = str(free_port())
            bindings = {f"{port}/tcp": port if remote else (_LOOPBACK, port)}
        inside, outside = next(iter(bindings.items()))
        address, port = outside if isinstance(outside, tuple) else (remote or _LOOPBACK, outside)
        shown = f"http://{address}:{port}"
        command = _server(inside.partition("/")[0], shown)
    with docker_errors():
        container = client.containers.run(
            image,
            command=command,
            detach=True,
            environment=list(run.environment),
            ports=bindings,
            publish_all_ports=run.all_ports,
            volumes=_volumes(run),
            **({} if user_id is None or not run.volumes else {"user": f"{user_id}:{recipe.GID}"}),
        )
        try:
            for line in _lines(container):
                say(line)
            return int(container.wait()["StatusCode"])
        except KeyboardInterrupt:
            say("stopping the container")
            return 0
        finally:
            container.remove(force=True, v=True)


def _server(port: str, shown: str) -> list[str]:
    return [
        *("jupyter-lab", "--ip=0.0.0.0", f"--port={port}", "--no-browser"),
        f"--ServerApp.custom_display_url={shown}",
    ]


def _volumes(run: Run) -> Mapping[str, Mapping[str, str]]:
    """Destinations that are relative are in the repository's directory."""
    return {
        source: {"bind": posixpath.normpath(posixpath.join(f"/{recipe.REPO_DIR}", target)), "mode": "rw"}
        for source, target in run.volumes
    }


def _lines(container: Any) -> Any:
    rest = b""
    for piece in container.logs(stream=True, follow=True):
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield os.fsdecode(line.rstrip(b"\r"))
    if rest:
        yield os.fsdecode(rest)
