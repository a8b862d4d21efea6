"""Who the user is to a registry: what ``docker login`` and ``podman login`` have left on this machine.

In this order, the first that knows the registry counts::

    $DOCKER_AUTH_CONFIG (JSON) > $DOCKER_CONFIG/config.json > $REGISTRY_AUTH_FILE > ~/.docker/config.json
        > $XDG_RUNTIME_DIR/containers/auth.json > ~/.config/containers/auth.json

In each of them a program for the registry (``credHelpers``) comes before the program for all
(``credsStore``), and that before what the file says itself (``auths``), as with Docker; keys may be as long
as ``registry/team/image``, as with podman.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from envbuild.errors import MachineError
from envbuild.image.reference import DEFAULT_REGISTRY
from envbuild.source.text import clean

__all__ = ["Credential", "Keychain"]

_MOST_BYTES = 1 << 20
_HELPER_SECONDS = 60
_HELPER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
_HUB_ADDRESS = "https://index.docker.io/v1/"
_IDENTITY_USER = "<token>"


@dataclass(frozen=True, slots=True)
class Credential:
    """What proves who the user is.

    ``kind`` is ``password`` (with ``user``), ``identity`` (a refresh token for the token server) or
    ``bearer`` (a token for the registry itself); ``source`` says for people where it was found.
    """

    kind: Literal["password", "identity", "bearer"]
    user: str
    secret: str
    source: str

    def __repr__(self) -> str:
        return f"Credential({self.kind} from {self.source})"

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()


class Keychain:
    """The user's credentials. Methods may be called from several threads.

    Parameters:
        environment: the user's variables.
        warn: told what is wrong with a file or a program that was looked at.
    """

    def __init__(self, environment: Mapping[str, str], warn: Callable[[str], None]) -> None:
        self._environment = environment
        self._warn = warn
        self._guard = threading.Lock()
        self._files: dict[str, dict[str, Any]] | None = None
        self._asked: dict[tuple[str, str], Credential | None] = {}

    def __repr__(self) -> str:
        return "Keychain()"

    def find(self, registry: str, repository: str) -> Credential | None:
        """What there is for ``repository`` in ``registry``, None when there is nothing.

        Raises:
            MachineError: the program that is configured for just this registry does not work.
        """
        with self._guard:
            if self._files is None:
                self._files = dict(self._read())
            for source, table in self._files.items():
                found = self._in_table(table, source, registry, repository)
                if found is not None:
                    return found
        return None

    def sources(self) -> tuple[str, ...]:
        """The files that were found, for messages."""
        with self._guard:
            return tuple(self._files or ())

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        text = self._environment.get("DOCKER_AUTH_CONFIG", "")
        if text:
            yield from self._parsed("$DOCKER_AUTH_CONFIG", text.encode())
        for path in self._paths():
            try:
                with path.open("rb") as stream:
                    data = stream.read(_MOST_BYTES + 1)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                self._warn(f"{path}: cannot be read: {error.strerror}")
                continue
            yield from self._parsed(str(path), data)

    def _paths(self) -> Iterator[Path]:
        variables, home = self._environment, self._environment.get("HOME", "")
        if variables.get("DOCKER_CONFIG"):
            yield Path(variables["DOCKER_CONFIG"]) / "config.json"
        if variables.get("REGISTRY_AUTH_FILE"):
            yield Path(variables["REGISTRY_AUTH_FILE"])
        if home and not variables.get("DOCKER_CONFIG"):
            yield Path(home) / ".docker" / "config.json"
        if variables.get("XDG_RUNTIME_DIR"):
            yield Path(variables["XDG_RUNTIME_DIR"]) / "containers" / "auth.json"
        configuration = variables.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
        if configuration:
            yield Path(configuration) / "containers" / "auth.json"

    def _parsed(self, source: str, data: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            table = json.loads(data) if len(data) <= _MOST_BYTES else None
        except (ValueError, RecursionError):
            table = None
        if isinstance(table, dict):
            yield source, table
        else:
            self._warn(f"{source}: not a file of credentials, which is a JSON object; it is left out")

    def _in_table(
        self, table: Mapping[str, Any], source: str, registry: str, repository: str
    ) -> Credential | None:
        helpers = _table(table.get("credHelpers"))
        for key in _keys(registry, repository):
            if isinstance(helpers.get(key), str) and helpers[key]:
                # Whoever names a program for one registry means it: nothing goes on without it.
                found = self._from_helper(helpers[key], registry, source)
                if found is not None:
                    return found
        store = table.get("credsStore")
        if isinstance(store, str) and store:
            try:
                found = self._from_helper(store, registry, source)
            except MachineError as error:
                self._asked[store, registry] = found = None
                self._warn(f"{error.message}; going on without it")
            if found is not None:
                return found
        entries = {_plain(key): entry for key, entry in _table(table.get("auths")).items()}
        for key in _keys(registry, repository):
            found = _credential(_table(entries.get(key)), source)
            if found is not None:
                return found
        return None

    def _from_helper(self, name: str, registry: str, source: str) -> Credential | None:
        key = (name, registry)
        if key not in self._asked:
            self._asked[key] = self._ask(name, registry, source)
        return self._asked[key]

    def _ask(self, name: str, registry: str, source: str) -> Credential | None:
        """Follow the protocol of Docker's credential helpers: the address on stdin, JSON on stdout."""

        def failed(why: str) -> MachineError:
            return MachineError(
                f"docker-credential-{clean(name)} cannot be asked for {registry}: {why}",
                code="credential-helper-failed",
                file=source,
                remedy=f"mend or remove it in {source}, and log in again",
            )

        if not _HELPER_NAME.fullmatch(name):
            raise failed("that is not the name of a program")
        program = shutil.which(f"docker-credential-{name}", path=self._environment.get("PATH", ""))
        if program is None:
            raise failed("it is not installed")
        address = _HUB_ADDRESS if registry == DEFAULT_REGISTRY else registry
        try:
            done = subprocess.run(
                [program, "get"],
                env=dict(self._environment),
                input=address.encode(),
                capture_output=True,
                timeout=_HELPER_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise failed(f"no answer within {_HELPER_SECONDS} s") from error
        except OSError as error:
            raise failed(error.strerror or "it cannot be started") from error
        if done.returncode:
            said = (done.stdout or done.stderr).decode("utf-8", "replace")
            if "credentials not found" in said.lower():
                return None
            raise failed(f"it ended with {done.returncode} ({clean(said) or 'no message'})")
        try:
            answer = json.loads(done.stdout)
            user, secret = answer["Username"], answer["Secret"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise failed("its answer is not of the expected form") from error
        if not isinstance(user, str) or not isinstance(secret, str) or not secret:
            return None
        kind: Literal["password", "identity"] = "identity" if user == _IDENTITY_USER else "password"
        return Credential(kind, user, secret, f"docker-credential-{name}")


def _keys(registry: str, repository: str) -> Iterator[str]:
    """The keys that an entry for ``repository`` may have, the longest first.

    >>> list(_keys("quay.io", "team/demo"))
    ['quay.io/team/demo', 'quay.io/team', 'quay.io']
    """
    names = [registry]
    if registry == DEFAULT_REGISTRY:
        names += ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", _HUB_ADDRESS]
    folders = repository.split("/") if repository else []
    for count in range(len(folders), 0, -1):
        yield "/".join([registry, *folders[:count]])
    yield from names


def _plain(key: str) -> str:
    """A key of ``auths`` without what is left of the time when it was an address.

    >>> _plain("https://registry.example.org/v2/"), _plain("https://index.docker.io/v1/")
    ('registry.example.org', 'index.docker.io')
    """
    _, scheme, rest = key.rpartition("://")
    return re.sub(r"/v[12]$", "", rest.rstrip("/")) if scheme else rest.rstrip("/")


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _credential(entry: Mapping[str, Any], source: str) -> Credential | None:
    def text(key: str) -> str:
        value = entry.get(key)
        return value if isinstance(value, str) else ""

    if token := text("registrytoken"):
        return Credential("bearer", "", token, source)
    user, password = text("username"), text("password")
    if encoded := text("auth"):
        try:
            user, _, password = base64.b64decode(encoded).decode().partition(":")
        except ValueError:
            return None
        password = password.rstrip("\0")  # old versions of Docker padded it
    if token := text("identitytoken"):
        return Credential("identity", user, token, source)
    return Credential("password", user, password, source) if user and password else None
