"""What is put into ``Authorization`` for a registry: nothing, a password, or a token that is asked for.

Follows the distribution project's token authentication: the form with GET, and for identity tokens that of
OAuth2.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from envbuild.errors import RemoteError
from envbuild.registry.auth import Credential, Keychain
from envbuild.registry.challenge import Challenge
from envbuild.registry.refusals import Answer, Asked, refusal
from envbuild.registry.retry import Transient

__all__ = ["Authorizer", "TokenRequest"]

_CLIENT = "envbuild"
_DEFAULT_SECONDS = 60.0  # what the specification says a token without a date is good for
_MARGIN_SECONDS = 15.0
_LONGEST_TOKEN = 65_536


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One request to a token server; ``form`` is the body of a POST, None for a GET."""

    url: str
    authorization: str | None
    form: bytes | None


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    scopes: frozenset[str]
    good_until: float


class Authorizer:
    """Proves to one registry who the user is. Methods may be called from several threads.

    Parameters:
        registry: its name, as in references.
        keychain: the user's credentials.
        ask: sends a request to a token server and returns its answer.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        registry: str,
        keychain: Keychain,
        ask: Callable[[TokenRequest], Answer],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._keychain = keychain
        self._ask = ask
        self._clock = clock
        self._challenge: Challenge | None = None
        self._tokens: dict[Credential | None, list[_Token]] = {}
        self._guard = threading.Lock()
        self._secrets: set[str] = set()

    def learn(self, challenges: Sequence[Challenge]) -> bool:
        """Take up the first challenge that can be answered; False when there is none."""
        for scheme in ("bearer", "basic"):
            for challenge in challenges:
                if challenge.scheme == scheme:
                    self._challenge = challenge
                    return True
        return False

    def credential(self, repository: str) -> Credential | None:
        """The user's credential for ``repository``.

        Raises:
            MachineError: the program that should know it does not work.
        """
        found = self._keychain.find(self._registry, repository)
        if found is not None:
            self._secrets |= {found.secret, found.basic.removeprefix("Basic ")}
        return found

    def header(self, repository: str, scopes: Sequence[str]) -> str | None:
        """The value for a request that needs ``scopes`` (of which the first is about ``repository``).

        Raises:
            RemoteError, Transient: the token server gives no token.
            MachineError: a credential helper does not work.
        """
        challenge = self._challenge
        if challenge is None:
            return None
        credential = self.credential(repository)
        if credential is not None and credential.kind == "bearer":
            return f"Bearer {credential.secret}"
        if challenge.scheme == "basic":
            return credential.basic if credential is not None and credential.kind == "password" else None
        with self._guard:  # one thread asks, the others find what it was given
            token = self._known(credential, scopes)
            if token is None:
                token = self._request(challenge, credential, repository, scopes)
                self._tokens.setdefault(credential, []).append(token)
        return f"Bearer {token.value}"

    def renewed(
        self, challenges: Sequence[Challenge], repository: str, scopes: Sequence[str], refused: str | None
    ) -> str | None:
        """What to try instead of the value that was ``refused`` with ``challenges``; None for nothing new.

        Raises: as :meth:`header`.
        """
        if not self.learn(challenges) or self._challenge is None:
            return None
        asked = self._challenge.parameters.get("scope", "").split()
        with self._guard:
            for tokens in self._tokens.values():
                # Those beside it are for other scopes, and as old: who forgot one of them forgot all.
                if any(f"Bearer {token.value}" == refused for token in tokens):
                    tokens.clear()
        wanted = [*scopes, *(scope for scope in asked if scope not in scopes)]
        value = self.header(repository, wanted)
        return value if value != refused else None

    def hide(self, text: str) -> str:
        """``text`` without anything that was told to a server in confidence, should it repeat it."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***") if secret else text
        return text

    def asked(self, action: str, what: str, repository: str) -> Asked:
        """For an error about a request."""
        credential = self.credential(repository)
        return Asked(self._registry, action, what, credential, self._keychain.sources())

    def _known(self, credential: Credential | None, scopes: Iterable[str]) -> _Token | None:
        needed, now = _granted(scopes), self._clock()
        for token in self._tokens.get(credential, []):
            if needed <= token.scopes and now < token.good_until:
                return token
        return None

    def _request(
        self, challenge: Challenge, credential: Credential | None, repository: str, scopes: Sequence[str]
    ) -> _Token:
        realm = challenge.parameters.get("realm", "").partition("#")[0]
        if not realm.lower().startswith(("https://", "http://")):
            raise self._failed("names no address of a token server")
        started = self._clock()
        answer = self._ask(_token_request(realm, challenge, credential, scopes))
        if answer.status != 200:
            error = refusal(self.asked("give a token for", self._registry, repository), answer)
            if isinstance(error, Transient) or error.code == "registry-unauthorized":
                raise error
            raise self._failed(f"gives no token: HTTP {answer.status} {self.hide(answer.reason)}".rstrip())
        try:
            value: Any = json.loads(answer.body)
        except (ValueError, RecursionError):
            value = None
        table: Mapping[str, Any] = value if isinstance(value, dict) else {}
        token = table.get("token") or table.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise self._failed("gives no token in its answer")
        if len(token) > _LONGEST_TOKEN:
            raise self._failed("gives a token that is too long")
        self._secrets.add(token)
        given = table.get("expires_in")
        seconds = float(given) if isinstance(given, int) and 0 < given < 1 << 31 else _DEFAULT_SECONDS
        # Renewed early, because what is sent with it takes a while; but not so early that it is of no use.
        good_until = started + max(seconds - _MARGIN_SECONDS, seconds / 2)
        return _Token(token, _granted(scopes), good_until)

    def _failed(self, why: str) -> RemoteError:
        return RemoteError(
            f"the token server of {self._registry} {why}",
            code="registry-token",
            remedy="try again later; if it goes on, ask who runs the registry",
        )


def _token_request(
    realm: str, challenge: Challenge, credential: Credential | None, scopes: Sequence[str]
) -> TokenRequest:
    service = challenge.parameters.get("service")
    if credential is not None and credential.kind == "identity":
        form = {
            "grant_type": "refresh_token",
            "service": service or "",
            "client_id": _CLIENT,
            "scope": " ".join(scopes),
            "refresh_token": credential.secret,
        }
        return TokenRequest(realm, None, urlencode(form).encode())
    query = [("service", service)] if service else []
    query += [("scope", scope) for scope in scopes]
    if credential is not None:
        query.append(("account", credential.user))
    query.append(("client_id", _CLIENT))
    separator = "&" if "?" in realm else "?"
    return TokenRequest(
        f"{realm}{separator}{urlencode(query)}", credential.basic if credential is not None else None, None
    )


def _granted(scopes: Iterable[str]) -> frozenset[str]:
    """``repository:x:pull,push`` as what it allows one by one.

    >>> sorted(_granted(["repository:x:pull,push"]))
    ['repository:x:pull', 'repository:x:push']
    """
    found = set()
    for scope in scopes:
        resource, _, actions = scope.rpartition(":")
        found |= {f"{resource}:{action}" for action in actions.split(",")}
    return frozenset(found)
