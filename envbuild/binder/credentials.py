"""Who the caller is, to git's servers and to registries, as BinderHub tells repo2docker: by variables."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from envbuild.errors import UsageError

__all__ = ["GIT", "MOUNTED", "REGISTRY", "git_login", "hidden_secret", "registry_variables"]

GIT = "GIT_CREDENTIAL_ENV"
REGISTRY = "CONTAINER_ENGINE_REGISTRY_CREDENTIALS"
# Where BinderHub mounts its secret `push_secret`, whoever the container runs as.
MOUNTED = Path("/root/.docker")
_DOCKER_HUB = "https://index.docker.io/v1/"
_DOCKER_HUB_NAMES = frozenset(
    {"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)


def git_login(environment: Mapping[str, str], address: str) -> tuple[str, str] | None:
    r"""User and password for the repository at ``address``, None when there are none for it.

    ``GIT_CREDENTIAL_ENV`` is what a credential helper of git answers (gitcredentials(7)); line ends in it may
    be written ``\n``.

    >>> git_login({GIT: r"username=oauth2\npassword=secret"}, "https://example.org/team/rivers")
    ('oauth2', 'secret')
    """
    lines = environment.get(GIT, "").replace("\\n", "\n").splitlines()
    said = {key: value for key, equals, value in (line.partition("=") for line in lines) if equals}
    if "username" not in said or "password" not in said:
        return None
    try:
        parts = urlsplit(address)
        here = {"protocol": parts.scheme, "host": parts.netloc.rpartition("@")[2]}
    except ValueError:
        return None
    if any(said.get(key, value) != value for key, value in here.items()):
        return None
    return said["username"], said["password"]


def registry_variables(environment: Mapping[str, str], mounted: Path = MOUNTED) -> dict[str, str]:
    """The variables with which envbuild finds the credentials that were meant for repo2docker.

    Those of the variable count more than what ``docker login`` has left, as they do with repo2docker. Where
    there is neither, the directory that BinderHub mounts is looked at.

    Raises:
        UsageError: the variable is not what it should be.
    """
    text = environment.get(REGISTRY, "")
    if not text.strip():
        own = Path(environment.get("HOME") or "/nonexistent") / ".docker" / "config.json"
        # os.path's raises nothing where $HOME is another user's.
        elsewhere = {"DOCKER_CONFIG", "DOCKER_AUTH_CONFIG"} & environment.keys() or os.path.exists(own)  # noqa: PTH110
        usable = not elsewhere and os.access(mounted / "config.json", os.R_OK)
        return {"DOCKER_CONFIG": str(mounted)} if usable else {}
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if said == {}:
        return {}
    values = [
        said.get(key) if isinstance(said, dict) else None for key in ("registry", "username", "password")
    ]
    if not all(isinstance(value, str) and value and _is_bytes(value) for value in values):
        raise UsageError(
            f"{REGISTRY} is not an object with registry, username and password",
            code="bad-registry-credentials",
            remedy='write {"registry": "registry.example.org", "username": "…", "password": "…"}',
        )
    registry, user, password = map(str, values)
    table = _present(environment)
    auths = table.get("auths")
    secret = base64.b64encode(os.fsencode(f"{user}:{password}")).decode()
    table["auths"] = {**(auths if isinstance(auths, dict) else {}), _key(registry): {"auth": secret}}
    return {"DOCKER_AUTH_CONFIG": json.dumps(table)}


def hidden_secret(mounts: Path = Path("/proc/self/mountinfo"), mounted: Path = MOUNTED) -> bool:
    """Whether BinderHub's secret is mounted where the user of this process may not read it (proc(5))."""
    file = mounted / "config.json"
    try:
        places = [line.split()[4] for line in mounts.read_text("utf-8", "replace").splitlines()]
    except (OSError, IndexError):
        return False
    return str(file) in places and not os.access(file, os.R_OK)


def _present(environment: Mapping[str, str]) -> dict[str, Any]:
    try:
        found = json.loads(environment.get("DOCKER_AUTH_CONFIG") or "{}")
    except (ValueError, RecursionError):
        found = {}
    return found if isinstance(found, dict) else {}


def _is_bytes(text: str) -> bool:
    """JSON can write half of a surrogate pair, which is nothing."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _key(registry: str) -> str:
    """The key of ``registry``, which may be an address, in Docker's files."""
    host = registry.rpartition("://")[2].partition("/")[0]
    return _DOCKER_HUB if host in _DOCKER_HUB_NAMES else host
