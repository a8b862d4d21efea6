"""Real servers for the tests and the benchmarks: Docker, a registry, containerd.

Each is a context manager that starts a private copy on a scratch directory and its own sockets, and that
stops it and removes the directory again, whatever happened in between::

    with docker_daemon() as host, docker_registry() as registry:
        subprocess.run(["docker", "load"], env={**os.environ, "DOCKER_HOST": host}, ...)

The daemons need root. Whether they can be started here at all is :func:`missing`.
"""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "ServerError",
    "containerd",
    "docker_daemon",
    "docker_registry",
    "free_port",
    "missing",
    "scratch_directory",
    "server_process",
]

_START_SECONDS = 600
_STOP_SECONDS = 120
_SYSTEM_DIRECTORIES = ("/usr/sbin", "/sbin")  # not on every user's PATH
_LONGEST_PLACE = 30


class ServerError(Exception):
    """A server did not start; the message has the end of its log."""


def missing(*programs: str, root: bool = False) -> str | None:
    """Why servers made of these programs cannot be started here, None when they can.

    Parameters:
        programs: names looked up on PATH and in the system directories.
        root: also require to be root.
    """
    absent = [name for name in programs if shutil.which(name, path=_search_path()) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    if root and os.geteuid() != 0:
        return "needs root"
    return None


@contextlib.contextmanager
def docker_daemon(*, programs: Sequence[Path] = (), data: Path | None = None) -> Iterator[str]:
    """A Docker Engine; the value is its ``DOCKER_HOST``.

    Published ports work on 127.0.0.1; containers reach other networks only with ``--network host``, because
    the host's packet filter is left alone.

    Parameters:
        programs: directories searched for ``dockerd``, ``containerd`` and ``runc`` before PATH.
        data: where it keeps images and containers; by default a scratch directory.
    """
    with scratch_directory() as directory, _bridge() as bridge:
        host = f"unix://{directory}/docker.sock"
        command = ["dockerd", "--host", host, "--data-root", str(data or directory / "data")]
        command += ["--exec-root", str(directory / "run"), "--pidfile", str(directory / "docker.pid")]
        command += ["--bridge", bridge, "--iptables=false", "--ip6tables=false", "--ip-masq=false"]
        command += ["--ip-forward=false", "--log-level", "warn"]

        def ready() -> bool:
            # It listens long before it answers.
            return _says_ok_on(directory / "docker.sock", "/_ping")

        with server_process(command, directory, ready, programs):
            yield host


@contextlib.contextmanager
def docker_registry(
    storage: Path | None = None,
    *,
    tls: tuple[Path, Path] | None = None,
    passwords: str = "",
    access_log: Path | None = None,
    host: str = "127.0.0.1",
) -> Iterator[str]:
    """A registry (CNCF distribution); the value is ``HOST:PORT``.

    Parameters:
        storage: where it keeps its blobs, for somebody who wants to look; by default a scratch directory.
        tls: files with its certificate and its key; without them it speaks plain HTTP.
        passwords: lines of an ``htpasswd`` file (bcrypt); without them everybody may do everything.
        access_log: where it writes a line for every answer.
        host: the address of this machine that it is on.
    """
    with scratch_directory() as directory:
        port = free_port(host)
        configuration: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info" if access_log else "warn"},
            "storage": {
                "filesystem": {"rootdirectory": str(storage or directory / "data")},
                "delete": {"enabled": True},
            },
            "http": {"addr": f"{host}:{port}", "secret": secrets.token_hex(16)},
        }
        if tls is not None:
            configuration["http"]["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
        if passwords:
            (directory / "htpasswd").write_text(passwords)
            access = {"realm": "Registry of the tests", "path": str(directory / "htpasswd")}
            configuration["auth"] = {"htpasswd": access}
        file = directory / "config.yml"
        file.write_text(json.dumps(configuration))  # JSON is YAML
        url = f"{'https' if tls else 'http'}://{host}:{port}/v2/"
        anybody = ssl.create_default_context()
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        direct = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=anybody)
        )

        def ready() -> bool:
            try:
                with direct.open(url, timeout=5):
                    return True
            except urllib.error.HTTPError as error:
                error.close()
                return True  # it wants a password
            except (OSError, http.client.HTTPException):
                return False

        with server_process(["docker-registry", "serve", str(file)], directory, ready, log=access_log):
            yield f"{host}:{port}"


@contextlib.contextmanager
def containerd() -> Iterator[Path]:
    """A containerd; the value is its socket, for ``ctr --address``."""
    with scratch_directory() as directory:
        address = directory / "containerd.sock"
        configuration = directory / "config.toml"
        configuration.write_text(
            'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'root = "{directory}/root"\nstate = "{directory}/state"\n'
            f'[grpc]\naddress = "{address}"\n[debug]\nlevel = "warn"\n'
        )
        command = ["containerd", "--config", str(configuration)]
        with server_process(command, directory, lambda: _answers_on(address)):
            yield address


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """An empty directory with a short path (a socket's is limited to 108 bytes), unmounted and removed."""
    usual = tempfile.gettempdir()
    place = usual if len(usual) <= _LONGEST_PLACE else "/tmp"
    directory = Path(tempfile.mkdtemp(prefix="envbuild-", dir=place))
    try:
        yield directory
    finally:
        _unmount_below(directory)
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def server_process(
    command: list[str],
    directory: Path,
    ready: Callable[[], bool],
    programs: Sequence[Path] = (),
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Run ``command`` until the block ends; its output goes to ``log``, by default ``directory/log``."""
    path = _search_path(programs)
    log = log or directory / "log"
    with log.open("wb") as output:
        # The kernel stops the server when this process dies, even by SIGKILL.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PATH": path, **(environment or {})},
            start_new_session=True,  # Ctrl-C reaches the tests, which then stop the server
        )
    try:
        _wait_until(ready, process, log)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            state = "did not answer" if process.returncode is None else f"exited with {process.returncode}"
            tail = log.read_text(errors="replace")[-2000:]
            raise ServerError(f"{' '.join(map(str, process.args))} {state}:\n{tail}")  # type: ignore[arg-type]
        time.sleep(0.1)


@contextlib.contextmanager
def _bridge() -> Iterator[str]:
    """A network bridge of our own: two daemons on one host would fight for ``docker0``."""
    chosen = secrets.token_bytes(4)
    name, network = f"eb{chosen.hex()}", f"10.{200 + chosen[0] % 50}.{chosen[1]}.1/24"
    subprocess.run(["ip", "link", "add", "name", name, "type", "bridge"], check=True)
    try:
        subprocess.run(["ip", "address", "add", network, "dev", name], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", name], check=True)


def _answers_on(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(address))
        except OSError:
            return False
        return True


def _says_ok_on(address: Path, path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(address))
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            return connection.recv(1000).split()[1:2] == [b"200"]
        except OSError:
            return False


def free_port(host: str = "127.0.0.1") -> int:
    """A port of ``host`` that nobody listens on, chosen by the kernel.

    The kernel gives it to nobody else as long as this process lives: a socket is bound to it, which does not
    listen. That does not keep a server from it that sets ``SO_REUSEADDR``, as they all do.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((host, 0))
    atexit.register(holder.close)
    port: int = holder.getsockname()[1]
    return port


def _unmount_below(directory: Path) -> None:
    """Detach what a killed daemon left mounted, innermost first."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed(mounts):
        if mount.startswith(f"{directory}/"):
            subprocess.run(["umount", "--lazy", mount], check=False)


def _search_path(first: Sequence[Path] = ()) -> str:
    inherited = os.environ.get("PATH", os.defpath)
    return os.pathsep.join([*map(str, first), inherited, *_SYSTEM_DIRECTORIES])
