"""Podman as an engine: the API of Docker's that it offers, and what is different about it.

Without ``CONTAINER_HOST`` its service is started for us alone (:mod:`envbuild.engine.podman_service`), so
nothing has to be enabled or to run before. Images are pulled through podman's own API: Docker's has
no way to say that loopback needs no TLS.
"""

from __future__ import annotations

import getpass
import json
import shutil
from collections.abc import Generator, Mapping
from functools import cached_property
from typing import Any

from envbuild.engine.docker import TIMEOUT_SECONDS, Docker
from envbuild.engine.docker_container import Daemon
from envbuild.engine.podman_service import PodmanService
from envbuild.errors import MachineError
from envbuild.registry.server import Served
from envbuild.source.text import redact

__all__ = ["Podman"]

_LIBPOD = "/v4.0.0/libpod"
_OLDEST = 4
_FEWEST_IDS = 1001  # our images have files of user 1000


class Podman(Docker):
    """See :class:`envbuild.engine.model.Engine`.

    Parameters:
        environment: variables that tell where podman is (``CONTAINER_HOST``, ``PATH``) and keeps images.
    """

    name = "podman"
    # podman 5 tells, but an older one may answer.
    # Asked by Docker's API to wait, podman 4 looks without pause and keeps a CPU busy for as long.
    daemon = Daemon("Podman", tells_memory=False, adds=("container",), unsets=False, waits_idly=False)

    @cached_property
    def _service(self) -> PodmanService:
        program = shutil.which("podman", path=self._environment.get("PATH"))
        if program is None:
            raise MachineError(
                "podman is not installed",
                code="engine-unavailable",
                remedy=f"install podman {_OLDEST} or newer, or set CONTAINER_HOST",
            )
        return PodmanService(program, self._environment)

    @cached_property
    def host(self) -> str:
        """The service's address: ``CONTAINER_HOST``, else that of a service of our own."""
        return self._environment.get("CONTAINER_HOST") or self._service.address

    @property
    def client_environment(self) -> dict[str, str]:
        """See :attr:`envbuild.engine.docker.Docker.client_environment`."""
        others = {name: value for name, value in self._environment.items() if not name.startswith("DOCKER_")}
        return {**others, "DOCKER_HOST": self.host}

    @cached_property
    def _place(self) -> Mapping[str, Any]:
        """Podman's own account of where it runs and as whom."""
        with self.errors():
            found: Mapping[str, Any] = self._libpod("get", "/info").json()["host"]
        return found

    @property
    def rootless(self) -> bool:
        """See :attr:`envbuild.engine.docker.Docker.rootless`; in Docker's API podman 4 does not say."""
        return bool(self._place["security"]["rootless"])

    def unavailable(self) -> str | None:
        """See :meth:`envbuild.engine.model.Engine.unavailable`."""
        from docker.errors import DockerException
        from requests.exceptions import RequestException

        try:
            version = _version(self.client.api.version())
            if version < _OLDEST:
                return f"podman {version} is too old; install {_OLDEST} or newer"
            return _lacks_users(self._place)
        except MachineError as error:
            return "; ".join(filter(None, (error.message, error.remedy)))
        except (DockerException, RequestException, OSError, ValueError) as error:
            where, said = redact(self.host), redact(str(error).splitlines()[0])
            return f"no podman answers at {where} ({said}); start its service, or unset CONTAINER_HOST"

    def close(self) -> None:
        """Close the connection, and end the service if it is ours."""
        super().close()
        if "_service" in self.__dict__:
            self._service.close()

    def _pull_events(self, served: Served) -> Generator[dict[str, Any]]:
        query = {"reference": served.reference, "tlsVerify": "false"}
        with self._libpod("post", "/images/pull", params=query, stream=True) as answer:
            for line in answer.iter_lines():
                yield json.loads(line)

    def _libpod(self, method: str, path: str, **options: Any) -> Any:
        """Ask podman's own API; the answer is one of requests'."""
        api = self.client.api
        answer = api.request(method, f"{api.base_url}{_LIBPOD}{path}", timeout=TIMEOUT_SECONDS, **options)
        answer.raise_for_status()
        return answer


def _version(answer: Mapping[str, Any]) -> int:
    """The number of podman's release.

    >>> _version({"Components": [{"Name": "Podman Engine", "Version": "4.3.1"}]})
    4
    """
    for component in answer.get("Components") or ():
        if component.get("Name") == "Podman Engine":
            return int(component["Version"].partition(".")[0])
    raise ValueError("what answers there is not podman")


def _lacks_users(host: Mapping[str, Any]) -> str | None:
    """What is missing for files of several users, as images have them."""
    if not host["security"]["rootless"]:
        return None
    mapped = (host.get("idMappings") or {}).get("uidmap") or ()
    if sum(entry["size"] for entry in mapped) >= _FEWEST_IDS:
        return None
    user = getpass.getuser()
    return (
        f"the user {user} has no subordinate user IDs for images; as root, `usermod --add-subuids"
        f" 100000-165535 --add-subgids 100000-165535 {user}`, then `podman system migrate`"
    )
