"""One registry as this run talks to it: its address, who we are to it, where it sends us."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from envbuild.errors import RemoteError
from envbuild.image.reference import DEFAULT_REGISTRY
from envbuild.registry.auth import Keychain
from envbuild.registry.challenge import parse_challenges
from envbuild.registry.refusals import Answer, Asked, no_registry, refusal, slow, unreachable
from envbuild.registry.retry import Pace, Patience, Retries, Transient
from envbuild.registry.token import Authorizer, TokenRequest
from envbuild.registry.wire import Wire, is_loopback

if TYPE_CHECKING:
    import httpx

__all__ = ["MOST_BODY", "Call", "Registry", "Response"]

_HUB_HOST = "registry-1.docker.io"
_LARGEST_PORT = 65_535
_MOST_REDIRECTS = 5
_MOST_RENEWALS = 4  # of a token within one request: another thread may have used it up
MOST_BODY = 4 << 20  # bytes of a manifest, as in the distribution specification
_MOST_ERROR = 64 << 10
# How a server that wants TLS reacts to a request without: it hangs up, or says so on a page.
_PERHAPS_TLS = frozenset({"registry-dropped", "not-a-registry"})
_ANY_METHOD = frozenset({307, 308})
_FOR_READING = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a registry.

    ``url`` is a path (``/v2/...``) or an address that the registry gave; ``repository`` and ``scopes`` are
    what it is about (``repository:team/demo:pull``); ``action`` and ``what`` say it for people; ``content``
    is asked for the body each time it has to be sent, and has ``size`` bytes.
    """

    method: str
    url: str
    repository: str
    scopes: tuple[str, ...]
    action: str
    what: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: Callable[[], bytes | Iterable[bytes]] | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """An answer whose body is still to come; ``url`` is where it came from in the end."""

    status: int
    headers: httpx.Headers
    url: httpx.URL
    raw: httpx.Response


class Registry:
    """Sends calls to one registry. Methods may be called from several threads.

    Nothing here is tried twice, except for a request that the registry wants to be authenticated: pieces of
    work decide about that (:meth:`patience`).

    Parameters:
        name: as in references.
        plain: also without TLS.
    """

    def __init__(self, name: str, wire: Wire, keychain: Keychain, retries: Retries, *, plain: bool) -> None:
        self.name = name
        self.takes_chunks = True  # until it turns out that it does not
        self._wire = wire
        self._plain = plain
        self._retries = retries
        self._base: httpx.URL | None = None
        self._guard = threading.Lock()
        self.authorizer = Authorizer(name, keychain, self._ask_for_token)

    def patience(self) -> Patience:
        """For one piece of work, which may consist of several calls."""
        return Patience(self._retries, self._wire.stop)

    def send(self, call: Call, most: int = MOST_BODY) -> Answer:
        """The whole answer to ``call``, whatever its status.

        Parameters:
            most: bytes that the body may have.

        Raises:
            Transient: the connection broke.
            RemoteError: it cannot be made, or the answer is longer than ``most``.
        """
        with self.open(call) as response:
            return self.answer(response, most)

    def answer(self, response: Response, most: int = MOST_BODY) -> Answer:
        """``response`` with its body. Raises as :meth:`send`."""
        return Answer(response.status, response.headers, self._read(response.raw, most))

    @contextmanager
    def open(self, call: Call) -> Iterator[Response]:
        """Send ``call``; the value is the answer, its body still to be read.

        Raises: as :meth:`send`.
        """
        base = self._ready()
        url = self._resolved(base, base.join("/v2/"), call.url)
        authorization: str | None = None
        authorized = False
        followed = renewed = 0
        while True:
            own = _origin(url) == _origin(base)
            if own and not authorized:
                authorization, authorized = self.authorizer.header(call.repository, call.scopes), True
            headers = dict(call.headers)
            if call.content is not None:
                headers["Content-Length"] = str(call.size)
            if own and authorization is not None:
                headers["Authorization"] = authorization
            with self._stream(call.method, url, headers, call.content and call.content(), own) as raw:
                if raw.status_code == 401 and own and renewed < _MOST_RENEWALS:
                    renewed += 1
                    challenges = parse_challenges(raw.headers.get_list("WWW-Authenticate"))
                    again = self.authorizer.renewed(challenges, call.repository, call.scopes, authorization)
                    if again is not None:
                        with suppress(
                            RemoteError
                        ):  # read to its end, so that the connection can be used again
                            self._read(raw, _MOST_ERROR)
                        authorization = again
                        continue
                if raw.status_code in _redirects(call.method) and "Location" in raw.headers:
                    followed += 1
                    if followed > _MOST_REDIRECTS:
                        raise self._unsafe("sends us from one address to the next without end")
                    url = self._resolved(base, url, raw.headers["Location"])
                    continue
                yield Response(raw.status_code, raw.headers, url, raw)
                return

    def refusal(self, call: Call, answer: Answer) -> RemoteError | Transient:
        """The error for an answer that is not the hoped-for one."""
        asked = self.authorizer.asked(call.action, call.what, call.repository)
        return refusal(asked, replace(answer, body=self.authorizer.hide(_text(answer.body)).encode()))

    def location(self, response: Answer, asked_at: str) -> str:
        """The address in the answer's ``Location``, to be called next.

        Raises:
            RemoteError: there is none, or it must not be followed.
        """
        base = self._ready()
        value = response.headers.get("location", "")
        if not value:
            raise no_registry(self.name, "it does not say where to send a blob")
        return str(self._resolved(base, base.join(asked_at), value))

    def joined(self, page: str, link: str) -> str:
        """The address ``link`` on ``page``, which must be at the registry itself.

        Raises:
            RemoteError: it is not.
        """
        base = self._ready()
        url = self._resolved(base, base.join(page), link)
        if _origin(url) != _origin(base):
            raise self._unsafe(f"has a list that goes on at {url.host}")
        return str(url)

    # The address

    def _ready(self) -> httpx.URL:
        """The registry's address, after it was seen that a registry is there."""
        with self._guard:
            if self._base is None:
                self._base = self.patience().through(self._find)
            return self._base

    def _find(self) -> httpx.URL:
        import httpx

        host = _HUB_HOST if self.name == DEFAULT_REGISTRY else self.name
        try:
            addresses = [httpx.URL(f"{scheme}://{host}") for scheme in ("http", "https")]
        except httpx.InvalidURL as error:
            raise unreachable(self.name, error) from error
        if not self._plain:
            return self._greet(addresses[1])
        try:
            return self._greet(addresses[0])
        except (RemoteError, Transient) as error:
            told = error.error if isinstance(error, Transient) else error
            if told.code not in _PERHAPS_TLS:
                raise
            try:
                return self._greet(addresses[1])
            except (RemoteError, Transient) as other:
                if isinstance(other, RemoteError) and other.code == "registry-certificate":
                    raise
            raise

    def _greet(self, base: httpx.URL) -> httpx.URL:
        """``base``, if there is a registry; learns how it wants us to authenticate."""
        url = base.join("/v2/")
        with self._wire.stream(self.name, "GET", url, {}) as raw:
            answer = Answer(raw.status_code, raw.headers, self._read(raw, _MOST_ERROR))
        if answer.status == 401:
            if not self.authorizer.learn(parse_challenges(raw.headers.get_list("WWW-Authenticate"))):
                raise no_registry(self.name, "it wants us to log in, in a way that no registry has")
        elif answer.status != 200:
            error = refusal(Asked(self.name, "answer", "us"), answer)
            if isinstance(error, Transient) or answer.status == 403:
                raise error
            raise no_registry(self.name, f"{url} gives HTTP {answer.status}")
        elif "html" in answer.headers.get("content-type", ""):
            raise no_registry(self.name, f"{url} is a web page")
        return base

    def _resolved(self, base: httpx.URL, current: httpx.URL, location: str) -> httpx.URL:
        """Where ``location`` leads from ``current``, if it may be followed."""
        import httpx

        try:
            url = current.join(location)
        except (httpx.InvalidURL, ValueError) as error:
            raise self._unsafe("sends us to what is no address") from error
        if not _is_servers(url):
            raise self._unsafe("sends us to what is no address of a server")
        if url.scheme == "http" and base.scheme == "https":
            raise RemoteError(
                f"{self.name} sends us to {url.host} without TLS",
                code="unsafe-redirect",
                remedy="ask who runs the registry: the proxy in front of it has to pass on X-Forwarded-Proto"
                if url.host == base.host
                else "do not use this registry",
            )
        return url

    # Sending

    @contextmanager
    def _stream(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        content: bytes | Iterable[bytes] | None,
        own: bool,
    ) -> Iterator[httpx.Response]:
        only_public = not own and self._base is not None and self._wire.is_public(self._base.host)
        with self._wire.stream(self.name, method, url, headers, content, only_public=only_public) as raw:
            yield raw

    def _read(self, raw: httpx.Response, most: int) -> bytes:
        pieces, size, pace = [], 0, Pace()
        for piece in raw.iter_raw():
            if not pace.keeps(len(piece)):
                raise Transient(slow(self.name, "its answer"))
            size += len(piece)
            if size > most:
                raise RemoteError(
                    f"{self.name} gives an answer that is longer than {most} bytes",
                    code="answer-too-long",
                    remedy="check the name: a manifest is never that long",
                )
            pieces.append(piece)
        return b"".join(pieces)

    def _ask_for_token(self, request: TokenRequest) -> Answer:
        import httpx

        base = self._base
        try:
            url = httpx.URL(request.url)
        except httpx.InvalidURL as error:
            raise self._unsafe("names what is no address of a token server") from error
        if not _is_servers(url):
            raise self._unsafe("names what is no address of a token server")
        if url.scheme != "https" and not self._plain:
            raise self._unsafe(f"wants a token from {url.host} without TLS")
        headers = {"Authorization": request.authorization} if request.authorization else {}
        if request.form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        own = base is not None and _origin(url) == _origin(base)
        with self._stream("GET" if request.form is None else "POST", url, headers, request.form, own) as raw:
            return Answer(raw.status_code, raw.headers, self._read(raw, _MOST_ERROR << 2))

    def _unsafe(self, what: str) -> RemoteError:
        return RemoteError(
            f"{self.name} {what}",
            code="unsafe-redirect",
            remedy="ask who runs the registry",
        )


def may_be_plain(registry: str, allowed: Iterable[str]) -> bool:
    """Whether ``registry`` may be talked to without TLS: it is on this machine, or the user allows it.

    >>> may_be_plain("127.0.0.1:5000", ()), may_be_plain("10.0.0.1:5000", ())
    (True, False)
    """
    if registry in allowed:
        return True
    host = registry.rpartition(":")[0] if not registry.endswith("]") and ":" in registry else registry
    return is_loopback(host.strip("[]"))


def _is_servers(url: httpx.URL) -> bool:
    """Whether ``url`` is an address of some web server, without a password in it."""
    return (
        url.scheme in ("http", "https")
        and bool(url.host)
        and not url.userinfo
        and (url.port or 0) <= _LARGEST_PORT
    )


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _redirects(method: str) -> frozenset[int]:
    return _FOR_READING if method in ("GET", "HEAD") else _ANY_METHOD


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")
