"""The ways in which hubs and clusters start an image, one container each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from envbuild.conformance.model import Scenario

__all__ = [
    "ANY_USER",
    "BINDERHUB",
    "GROUP_0",
    "GROUP_100",
    "HOME",
    "LAB",
    "OWN",
    "PORT",
    "PYTHON",
    "READ_ONLY",
    "SHELL",
    "SINGLEUSER",
]

PORT = 8888
ANY_USER = 54321  # nobody's in any image; small enough for engines without root, which have 65536 numbers
_PULLER = 65534  # z2jh: singleuser's image pullers, `runAsUser`
_TOKEN = "envbuild-contract-token"
_USER = "contract"
_PREFIX = f"/user/{_USER}/"
_HUB_PORT = 8081
_OWN_TOKEN = "envbuild-contract-server"

_LAB = ("jupyter-lab", "--ip=0.0.0.0", f"--port={PORT}", "--no-browser")
_LAB_ENV = {"JUPYTER_TOKEN": _TOKEN}


def _questions(
    *,
    kernels: str = "none",
    prefix: str = "/",
    token: str | None = _TOKEN,
    orphan: bool = False,
    hub: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    return {"kernels": kernels, "prefix": prefix, "token": token, "orphan": orphan, "hub": hub}


# Zero to JupyterHub's image pullers: `command: ["/bin/sh", "-c"]`, `args: [echo "Pulling complete"]`.
SHELL = Scenario(
    "shell",
    ("/bin/sh", "-c", 'echo "Pulling complete"'),
    shell=True,
    user=f"{_PULLER}:{_PULLER}",
)
PYTHON = Scenario("python", ("python3", "-c", "import platform; print(platform.python_version())"))
OWN = Scenario("own", None, questions=_questions(token=None))
LAB = Scenario("lab", _LAB, env=_LAB_ENV, questions=_questions(kernels="all", orphan=True), stops=True)
GROUP_0 = Scenario(
    "group-0", _LAB, env=_LAB_ENV, user=f"{ANY_USER}:0", questions=_questions(kernels="default")
)
GROUP_100 = Scenario(
    "group-100", _LAB, env=_LAB_ENV, user=f"{ANY_USER}:100", questions=_questions(kernels="default")
)
HOME = Scenario("home", _LAB, env=_LAB_ENV, empty_home=True, questions=_questions(kernels="default"))
READ_ONLY = Scenario("read-only", _LAB, env=_LAB_ENV, read_only=True, questions=_questions(kernels="default"))

_ACCESS = json.dumps([f"access:servers!server={_USER}/", f"access:servers!user={_USER}"])
# What JupyterHub's Spawner sets (jupyterhub.spawner.Spawner.get_env), in versions 1 to 6.
_HUB_ENV = {
    "JPY_API_TOKEN": _OWN_TOKEN,
    "JUPYTERHUB_ACTIVITY_URL": f"http://127.0.0.1:{_HUB_PORT}/hub/api/users/{_USER}/activity",
    "JUPYTERHUB_API_TOKEN": _OWN_TOKEN,
    "JUPYTERHUB_API_URL": f"http://127.0.0.1:{_HUB_PORT}/hub/api",
    "JUPYTERHUB_BASE_URL": "/",
    "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{_USER}",
    "JUPYTERHUB_DEBUG": "0",
    "JUPYTERHUB_HOST": "",
    "JUPYTERHUB_OAUTH_ACCESS_SCOPES": _ACCESS,
    "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{_PREFIX}oauth_callback",
    "JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES": "[]",
    "JUPYTERHUB_OAUTH_SCOPES": _ACCESS,
    "JUPYTERHUB_SERVER_NAME": "",
    "JUPYTERHUB_SERVICE_PREFIX": _PREFIX,
    "JUPYTERHUB_SERVICE_URL": f"http://0.0.0.0:{PORT}{_PREFIX}",
    "JUPYTERHUB_USER": _USER,
}
SINGLEUSER = Scenario(
    "singleuser",
    ("jupyterhub-singleuser",),
    env=_HUB_ENV,
    questions=_questions(
        prefix=_PREFIX,
        kernels="default",
        hub={"port": _HUB_PORT, "token": _OWN_TOKEN, "user": _USER},
    ),
)

# What BinderHub's default command does, in words of our own: JupyterLab 3 or newer where python3 can import
# it, else the notebook server, with the arguments of the hub's spawner.
_BINDER = """\
import os, sys
try:
    import jupyterlab, jupyterlab.labapp
    modern = int(jupyterlab.__version__.partition(".")[0]) >= 3
except Exception:
    modern = False
os.execvp("jupyter-lab" if modern else "jupyter-notebook", sys.argv)
"""
_BINDER_OPTIONS = (
    f"base_url={_PREFIX}",
    f"token={_TOKEN}",
    "trust_xheaders=True",
    "allow_origin=https://binder.example.org",
)
BINDERHUB = Scenario(
    "binderhub",
    (
        *("python3", "-c", _BINDER, "--ip=0.0.0.0", f"--port={PORT}"),
        *(f"--{kind}.{option}" for kind in ("NotebookApp", "ServerApp") for option in _BINDER_OPTIONS),
    ),
    env={
        **_HUB_ENV,
        "BINDER_LAUNCH_HOST": "https://binder.example.org/",
        "BINDER_REQUEST": "v2/git/example/HEAD",
        "BINDER_REPO_URL": "https://example.org/repository",
    },
    questions=_questions(prefix=_PREFIX, kernels="default"),
)
