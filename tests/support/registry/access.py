"""Who may do what in the tests' registry: passwords, and tokens with scopes that expire.

Tokens as in the distribution project's token authentication specification: an answer 401 names the token
server, the service and the scope; the client asks there (GET with a password, or POST with a refresh token as
in OAuth 2) and comes back with the token.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.support.registry.contents import Refused

__all__ = ["Access", "Scheme"]

Scheme = Literal["none", "basic", "bearer"]
_SERVICE = "tests"


@dataclass(slots=True)
class _Token:
    scopes: frozenset[tuple[str, str]]
    """``(repository, action)``."""
    uses: int | None


@dataclass(slots=True)
class Access:
    """The rules, and the tokens that were given out.

    Parameters:
        scheme: how requests are authorized.
        users: names to passwords.
        refresh_tokens: what may be exchanged for tokens instead of a password ("identity tokens").
        anonymous_pull: whether everybody may pull.
        token_uses: how many requests a token is good for; None for any number.
        realm: the token server's address.
    """

    scheme: Scheme = "none"
    users: Mapping[str, str] = field(default_factory=dict)
    refresh_tokens: frozenset[str] = frozenset()
    anonymous_pull: bool = False
    token_uses: int | None = None
    realm: str = ""
    _tokens: dict[str, _Token] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def check(self, authorization: str | None, wanted: frozenset[tuple[str, str]]) -> dict[str, str] | None:
        """None when the request is allowed, else the headers of the answer 401.

        Parameters:
            wanted: ``(repository, action)`` pairs; none for a request that only needs somebody known.
        """
        if self.scheme == "none":
            return None
        if self.scheme == "basic":
            if self._user(authorization) is not None:
                return None
            if self.anonymous_pull and wanted and all(action == "pull" for _, action in wanted):
                return None
            return {"WWW-Authenticate": 'Basic realm="Registry of the tests"'}
        problem = self._problem(authorization, wanted)
        return None if problem is None else {"WWW-Authenticate": self._challenge(wanted, problem)}

    def expire(self) -> None:
        """No token that was given out so far is good any more."""
        with self._guard:
            self._tokens.clear()

    def token(self, query: str, authorization: str | None, form: bytes | None) -> bytes:
        """The token server's answer (JSON).

        Parameters:
            query: of a GET.
            form: the body of a POST.

        Raises:
            Refused: the password is wrong.
        """
        asked = urllib.parse.parse_qs(form.decode() if form is not None else query)
        if asked.get("service") != [_SERVICE]:
            raise Refused(400, "UNSUPPORTED", f"no such service: {asked.get('service')}")
        if form is not None:
            known = self._granted(asked)
        else:
            known = self._user(authorization) is not None
            if authorization is not None and not known:
                raise Refused(401, "UNAUTHORIZED", "incorrect username or password")
        scopes: set[tuple[str, str]] = set()
        for scope in " ".join(asked.get("scope", [])).split():
            kind, _, rest = scope.partition(":")
            repository, _, actions = rest.rpartition(":")
            if kind == "repository":
                scopes |= {(repository, action) for action in actions.split(",")}
        if not known:
            scopes = {one for one in scopes if self.anonymous_pull and one[1] == "pull"}
        token = secrets.token_hex(16)
        with self._guard:
            self._tokens[token] = _Token(frozenset(scopes), self.token_uses)
        # Servers name it one way, the other, or both.
        return json.dumps(
            {"access_token" if form is not None else "token": token, "expires_in": 300}
        ).encode()

    def _granted(self, asked: Mapping[str, list[str]]) -> bool:
        grant = asked.get("grant_type", [""])[0]
        if not asked.get("client_id"):
            raise Refused(400, "UNSUPPORTED", "client_id is missing")
        if grant == "refresh_token" and asked.get("refresh_token", [""])[0] in self.refresh_tokens:
            return True
        name, password = (asked.get(key, [""])[0] for key in ("username", "password"))
        if grant == "password" and name and self.users.get(name) == password:
            return True
        raise Refused(401, "UNAUTHORIZED", "invalid grant")

    def _user(self, authorization: str | None) -> str | None:
        scheme, _, rest = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        name, _, password = base64.b64decode(rest).decode().partition(":")
        return name if name and self.users.get(name) == password else None

    def _problem(self, authorization: str | None, wanted: frozenset[tuple[str, str]]) -> str | None:
        """None when the token is good, else the challenge's ``error`` (empty without a token)."""
        scheme, _, value = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return ""
        with self._guard:
            token = self._tokens.get(value)
            if token is None or token.uses == 0:
                self._tokens.pop(value, None)
                return "invalid_token"
            if not wanted <= token.scopes:
                return "insufficient_scope"
            if token.uses is not None:
                token.uses -= 1
            return None

    def _challenge(self, wanted: frozenset[tuple[str, str]], problem: str) -> str:
        parts = [f'Bearer realm="{self.realm}",service="{_SERVICE}"']
        scopes = []
        for repository in sorted({repository for repository, _ in wanted}):
            actions = sorted(action for name, action in wanted if name == repository)
            scopes.append(f"repository:{repository}:{','.join(actions)}")
        if scopes:
            parts.append(f'scope="{" ".join(scopes)}"')
        if problem:
            parts.append(f'error="{problem}"')
        return ",".join(parts)
