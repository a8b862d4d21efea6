"""A JupyterHub whose users' servers are containers, and a notebook run in one of them as a browser would."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

from nbformat.v4 import output_from_msg
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from tests.support.programs import output_of
from tests.support.servers import free_port, scratch_directory, server_process

__all__ = [
    "DOCKER",
    "Hub",
    "HubPrograms",
    "UserServer",
    "containers_removed",
    "docker_gateway",
    "jupyterhub",
    "running_hub",
]

_UV = str(Path(sys.executable).with_name("uv"))
_PACKAGES = ("jupyterhub>=5", "dockerspawner>=14", "jupyterhub-kubespawner>=7")
# The last one that Debian 12's Node starts.
_PROXY = "configurable-http-proxy@4.6.3"
_SPAWN_SECONDS = 600
_CELL_SECONDS = 600
_ANSWER_SECONDS = 300

# Of every hub here. What starts its servers comes after it.
_CONFIGURATION = """\
import json
settings = json.loads({settings!r})
c.JupyterHub.bind_url = settings["public"]
c.JupyterHub.hub_bind_url = settings["hub"]
c.JupyterHub.db_url = "sqlite:///" + settings["directory"] + "/hub.sqlite"
c.JupyterHub.cookie_secret_file = settings["directory"] + "/cookie-secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.ConfigurableHTTPProxy.command = settings["proxy"]
c.ConfigurableHTTPProxy.api_url = settings["proxy_api"]
c.ConfigurableHTTPProxy.pid_file = settings["directory"] + "/proxy.pid"
c.JupyterHub.services = [dict(name="tests", api_token=settings["token"])]
c.JupyterHub.load_roles = [
    dict(
        name="tests",
        services=["tests"],
        scopes=["admin:users", "admin:servers", "access:servers", "tokens", "admin:groups"],
    )
]
c.JupyterHub.cleanup_servers = False
c.Spawner.http_timeout = c.Spawner.start_timeout = {seconds}

"""

DOCKER = """\
c.DockerSpawner.network_name = "bridge"
c.DockerSpawner.use_internal_ip = True
c.DockerSpawner.remove = True
"""

_ONE_IMAGE = """\
c.JupyterHub.spawner_class = "dockerspawner.DockerSpawner"
c.DockerSpawner.image = {image!r}
c.DockerSpawner.cmd = ["jupyterhub-singleuser"]
c.DockerSpawner.volumes = {volumes!r}
c.DockerSpawner.extra_create_kwargs = dict(user={user!r})


async def pull(spawner):
    # DockerSpawner itself splits the name at its last colon, and so cannot pull by digest.
    await spawner.docker("pull", spawner.image)


c.DockerSpawner.pre_spawn_hook = pull
"""


@dataclass(frozen=True, slots=True)
class HubPrograms:
    """JupyterHub with its spawners, and its proxy, installed below ``directory`` on first use."""

    directory: Path

    @property
    def hub(self) -> Path:
        """The hub's program."""
        folder = self.directory / "jupyterhub"
        complete = folder / "complete"
        if not complete.exists() or complete.read_text() != " ".join(_PACKAGES):
            output_of(_UV, "venv", "--quiet", "--clear", "--python", sys.executable, folder)
            output_of(_UV, "pip", "install", "--quiet", "--python", folder / "bin/python", *_PACKAGES)
            complete.write_text(" ".join(_PACKAGES))
        return folder / "bin/jupyterhub"

    @property
    def proxy(self) -> Path:
        """The proxy's program."""
        folder = self.directory / "configurable-http-proxy"
        if not (folder / "complete").exists():
            folder.mkdir(exist_ok=True)
            output_of("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, _PROXY)
            (folder / "complete").touch()
        return folder / "node_modules/.bin/configurable-http-proxy"


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub that runs: ``url`` is the public one; ``token`` may do everything."""

    url: str
    token: str

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What the hub, or a user's server behind it, answers to a request, as JSON."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{method} {path}: {error.code} {error.read()[:2000]!r}") from None
        return json.loads(text) if text else None

    def page(self, user: str, path: str) -> str:
        """The page at ``path`` for the browser of a user who logs in (with any password)."""
        cookies = CookieJar()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
        login = f"{self.url}/hub/login"
        with browser.open(login, timeout=_ANSWER_SECONDS):
            (token,) = (cookie.value for cookie in cookies if cookie.name == "_xsrf")
        form = urllib.parse.urlencode({"username": user, "password": "any", "_xsrf": token})
        with (
            browser.open(login, form.encode(), timeout=_ANSWER_SECONDS),
            browser.open(self.url + path, timeout=_ANSWER_SECONDS) as page,
        ):
            text: str = page.read().decode()
        return text

    @contextlib.contextmanager
    def server(self, user: str) -> Iterator[UserServer]:
        """The server of a new user, which is stopped at the end."""
        self.ask("POST", f"/hub/api/users/{user}")
        self.start(user)
        try:
            yield UserServer(self, f"/user/{user}")
        finally:
            self.stop(user)

    def as_user(self, user: str) -> Hub:
        """The same hub, asked with a token of ``user``'s own."""
        token = self.ask("POST", f"/hub/api/users/{user}/tokens")["token"]
        return Hub(self.url, token)

    def start(self, user: str, options: Mapping[str, Any] | None = None) -> UserServer:
        """Start a user's server with options that a form would send, and wait until it answers."""
        self.ask("POST", f"/hub/api/users/{user}/server", options)
        self._wait(user, running=True)
        return UserServer(self, f"/user/{user}")

    def stop(self, user: str) -> None:
        """End a user's server, and wait until it has."""
        self.ask("DELETE", f"/hub/api/users/{user}/server")
        self._wait(user, running=False)

    def _wait(self, user: str, *, running: bool) -> None:
        deadline = time.monotonic() + _SPAWN_SECONDS
        while True:
            model = self.ask("GET", f"/hub/api/users/{user}")
            if not model["pending"] and bool(model["server"]) == running:
                return
            assert model["pending"], f"the server of {user} failed to {'start' if running else 'stop'}"
            assert time.monotonic() < deadline, f"waited too long for the server of {user}"
            time.sleep(0.2)


@dataclass(frozen=True, slots=True)
class UserServer:
    """A user's Jupyter server, through the hub's proxy."""

    hub: Hub
    path: str

    def execute(self, notebook: str) -> list[list[dict[str, Any]]]:
        """Run a notebook as JupyterLab does: opened by the server, cell by cell over a websocket.

        Returns:
            The outputs of each code cell.
        """
        content = self.hub.ask("GET", f"{self.path}/api/contents/{notebook}")["content"]
        kernel = content["metadata"]["kernelspec"]["name"]
        session = self.hub.ask(
            "POST",
            f"{self.path}/api/sessions",
            {"path": notebook, "name": notebook, "type": "notebook", "kernel": {"name": kernel}},
        )
        try:
            sources = ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]
            return asyncio.run(self._execute(session["kernel"]["id"], sources))
        finally:
            self.hub.ask("DELETE", f"{self.path}/api/sessions/{session['id']}")

    async def _execute(self, kernel: str, sources: Sequence[str]) -> list[list[dict[str, Any]]]:
        address = f"ws{self.hub.url.removeprefix('http')}{self.path}/api/kernels/{kernel}/channels"
        headers = {"Authorization": f"token {self.hub.token}"}
        # The server says nothing before its kernel has started.
        request = HTTPRequest(
            address, headers=headers, connect_timeout=_ANSWER_SECONDS, request_timeout=_ANSWER_SECONDS
        )
        connection = await websocket_connect(request, max_message_size=1 << 28)
        try:
            return [await asyncio.wait_for(_cell(connection, source), _CELL_SECONDS) for source in sources]
        finally:
            connection.close()
            while await connection.read_message() is not None:  # until the other side closes, too
                pass


async def _cell(connection: Any, source: str) -> list[dict[str, Any]]:
    """The outputs of one cell (messaging protocol 5: it is over when it was replied to and all is idle)."""
    number = uuid.uuid4().hex
    header = {
        "msg_id": number,
        "msg_type": "execute_request",
        "username": "",
        "session": number,
        "version": "5.3",
    }
    content = {"code": source, "silent": False, "store_history": True, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    await connection.write_message(json.dumps({**message, "buffers": []}))
    outputs: list[dict[str, Any]] = []
    replied = idle = False
    while not (replied and idle):
        text = await connection.read_message()
        assert text is not None, "the server closed the connection"
        said = json.loads(text)
        if said["parent_header"].get("msg_id") != number:
            continue
        kind = said["header"]["msg_type"]
        replied |= kind == "execute_reply"
        idle |= kind == "status" and said["content"]["execution_state"] == "idle"
        if kind in ("stream", "display_data", "execute_result", "error"):
            outputs.append(output_from_msg(said))
    return outputs


@contextlib.contextmanager
def jupyterhub(
    programs: HubPrograms, docker_host: str, *, image: str, user: str, volumes: Mapping[str, str]
) -> Iterator[Hub]:
    """A hub that starts ``image`` for its users with Docker.

    Parameters:
        image: where a registry has it, by digest.
        user: ``uid:gid`` of the containers.
        volumes: directory of this machine -> where containers see it.
    """
    more = DOCKER + _ONE_IMAGE.format(image=image, user=user, volumes=dict(volumes))
    with (
        scratch_directory() as directory,
        containers_removed(docker_host),
        running_hub(
            programs,
            directory,
            address=docker_gateway(docker_host),
            more=more,
            environment=_host(docker_host),
        ) as hub,
    ):
        yield hub


@contextlib.contextmanager
def running_hub(
    programs: HubPrograms, directory: Path, *, address: str, more: str, environment: Mapping[str, str]
) -> Iterator[Hub]:
    """A hub of its own; servers stay when it ends, and the next one in ``directory`` finds them.

    Parameters:
        directory: for its database and everything else of it.
        address: of this machine, as users' servers see it.
        more: configuration: what starts servers.
        environment: variables for the hub.
    """
    kept = directory / "settings.json"
    if not kept.exists():
        settings = {
            "directory": str(directory),
            "public": f"http://127.0.0.1:{free_port()}",
            "hub": f"http://{address}:{free_port(address)}",
            "proxy": [str(programs.proxy)],
            "proxy_api": f"http://127.0.0.1:{free_port()}",
            "proxy_token": secrets.token_hex(16),
            "token": secrets.token_hex(16),
        }
        kept.write_text(json.dumps(settings))
    settings = json.loads(kept.read_text())
    configuration = directory / "config.py"
    configuration.write_text(
        _CONFIGURATION.format(settings=json.dumps(settings), seconds=_SPAWN_SECONDS) + more, "utf-8"
    )
    hub = Hub(settings["public"], settings["token"])

    def ready() -> bool:
        try:
            return bool(hub.ask("GET", "/hub/api/"))
        except (AssertionError, OSError, http.client.HTTPException, ValueError):
            return False

    command = [str(programs.hub), "--config", str(configuration)]
    variables = {**environment, "CONFIGPROXY_AUTH_TOKEN": settings["proxy_token"], "PWD": str(directory)}
    log = directory / "log"
    with server_process(command, directory, ready, environment=variables):
        try:
            yield hub
        except BaseException:
            print(log.read_text(errors="replace")[-8000:])  # pytest shows it with the failure
            raise


def docker_gateway(docker_host: str) -> str:
    """The address of this machine as Docker's containers see it."""
    bridge = ("docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    return output_of(*bridge, environment=_host(docker_host)).strip()


def _host(docker_host: str) -> dict[str, str]:
    return {"DOCKER_HOST": docker_host}


@contextlib.contextmanager
def containers_removed(docker_host: str) -> Iterator[None]:
    """At the end no user's container is left."""
    try:
        yield
    finally:
        _remove_containers(_host(docker_host))


def _remove_containers(docker: Mapping[str, str]) -> None:
    """What a test left running."""
    listed = output_of("docker", "ps", "--all", "--quiet", "--filter", "name=jupyter-", environment=docker)
    if listed.split():
        subprocess.run(
            ["docker", "rm", "--force", *listed.split()], env={**os.environ, **docker}, check=False
        )
