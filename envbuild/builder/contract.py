"""What an image that somebody else designed lacks for a hub and for the repository's notebooks.

The contract is that of docs/image.md, which our own images keep by construction.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from envbuild.engine import docker_session
from envbuild.engine.docker_container import docker_errors
from envbuild.errors import RepoError
from envbuild.pack import recipe
from envbuild.spec.model import Notebook

__all__ = ["Lack", "lacks", "refuse_lacks"]

_PORT = "8888/tcp"
_SECONDS = 120
_MARK = "envbuild-kernels:"
# Command -> who needs it.
_COMMANDS = {
    "python3": "BinderHub starts servers with it",
    "jupyter": "people and scripts expect it",
    "jupyter-lab": "it is the server that `envbuild up` and BinderHub start",
    "jupyterhub-singleuser": "JupyterHub starts servers with it",
}
# Zero to JupyterHub's puller runs `/bin/sh` as this user in every image.
_PULLER = 65534


@dataclass(frozen=True, slots=True)
class Lack:
    """One promise that an image does not keep; ``what`` is a clause, ``why`` says who needs it."""

    what: str
    why: str
    remedy: str


def lacks(client: Any, identifier: str, notebooks: Sequence[Notebook]) -> tuple[Lack, ...]:
    """Look into the image ``identifier`` of a Docker daemon.

    A container of it is started, with no network and no rights, to look for programs and kernels.

    Raises:
        MachineError: the engine failed.
    """
    with docker_errors():
        config = client.api.inspect_image(identifier)["Config"]
        found, kernels = _look(client, identifier)
        shell = _shell_works(client, identifier)
    return (*_config(config), *_programs(found, shell), *_kernels(kernels, notebooks))


def refuse_lacks(lacks: Sequence[Lack]) -> None:
    """Raise for what an image lacks: the first, the others as its detail.

    Raises:
        RepoError: there is something.
    """
    if not lacks:
        return
    first, *others = [f"the image {lack.what}: {lack.why}" for lack in lacks]
    raise RepoError(
        first,
        code="image-lacks",
        remedy=lacks[0].remedy,
        detail="\n".join(["also:", *others]) if others else None,
    )


def _config(config: dict[str, Any]) -> Iterator[Lack]:
    user = str(config.get("User") or "").partition(":")[0]
    if not user or user == "0" or user == "root":
        yield Lack("runs as root", "hubs refuse or forbid that", f"end the Dockerfile with USER {recipe.UID}")
    elif not user.isdecimal():
        yield Lack(
            f"names its user {user!r} instead of numbering it",
            "clusters that demand `runAsNonRoot` refuse it",
            f"write the number: USER {recipe.UID}",
        )
    if _PORT not in (config.get("ExposedPorts") or {}):
        yield Lack("does not expose port 8888", "hubs connect to it", "add EXPOSE 8888")
    if not config.get("Cmd") and not config.get("Entrypoint"):
        yield Lack("has no command", "`docker run` does nothing with it", "add a CMD that starts JupyterLab")


def _programs(found: frozenset[str], shell: bool) -> Iterator[Lack]:
    if not shell:
        yield Lack(
            f"cannot run /bin/sh as user {_PULLER}",
            "Zero to JupyterHub's image puller does that",
            "install a shell that every user may run",
        )
        return
    for name, why in _COMMANDS.items():
        if name not in found:
            yield Lack(f"has no `{name}` on its PATH", why, "install it (pip install jupyterlab jupyterhub)")


def _kernels(kernels: dict[str, str] | None, notebooks: Sequence[Notebook]) -> Iterator[Lack]:
    if kernels is None:
        return  # there is no jupyter, which has been said
    for notebook in notebooks:
        wanted = notebook.kernel or "python3"
        if wanted.lower() not in kernels:
            offered = ", ".join(sorted(kernels)) or "none"
            yield Lack(
                f"has no kernel {wanted!r}, which {notebook.path} names",
                f"the notebook will not run by itself (kernels: {offered})",
                "install the kernel in the image, or choose another one in the notebook and save it",
            )


def _look(client: Any, identifier: str) -> tuple[frozenset[str], dict[str, str] | None]:
    """The programs that are there, and the kernels (lower-case name -> language) if Jupyter lists any."""
    names = " ".join(map(shlex.quote, _COMMANDS))
    script = (
        f"for name in {names}; do command -v $name >/dev/null && echo $name; done; "
        f"echo {_MARK}; jupyter kernelspec list --json 2>/dev/null"
    )
    output = _run(client, identifier, script)
    if output is None:
        return frozenset(), None
    programs, _, listed = output.partition(_MARK)
    try:
        specs = json.loads(listed)["kernelspecs"]
        kernels = {name.lower(): str(spec["spec"].get("language", "")) for name, spec in specs.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return frozenset(programs.split()), None
    return frozenset(programs.split()), kernels


def _shell_works(client: Any, identifier: str) -> bool:
    return _run(client, identifier, "true", user=str(_PULLER)) is not None


def _run(client: Any, identifier: str, script: str, *, user: str | None = None) -> str | None:
    """What ``/bin/sh -c script`` writes in a container of the image; None when the shell cannot be run."""
    from docker.errors import APIError
    from requests.exceptions import RequestException

    api = client.api
    created = api.create_container(
        identifier,
        ["-c", script],
        entrypoint=["/bin/sh"],
        user=user,
        network_disabled=True,
        labels=docker_session.labels(),
        host_config=api.create_host_config(cap_drop=["ALL"], network_mode="none"),
    )
    try:
        try:
            api.start(created["Id"])
        except APIError:
            return None
        try:
            code = api.wait(created["Id"], timeout=_SECONDS)["StatusCode"]
        except RequestException:  # it hangs
            return None
        if code in (125, 126, 127):
            return None
        logs: bytes = api.logs(created["Id"], stdout=True, stderr=False)
        return logs.decode("utf-8", "replace")
    finally:
        api.remove_container(created["Id"], force=True, v=True)
