"""A registry on 127.0.0.1, in memory, strict, and faulty when a test wants it.

::

    with fake_registry(scheme="bearer", users={"me": "secret"}) as registry:
        registry.fail(faults.status(503), kind="put-manifest")
        ...push to f"{registry.address}/team/demo:1"...
        assert ["1"] == list(registry.repository("team/demo").tags)
        assert 0 == registry.sent("get-blob")

It speaks the OCI distribution specification 1.1 and refuses what the specification lets a registry refuse
(:mod:`tests.support.registry.contents`); what a client did wrong without being refused fails the test at the
end of the block. What can go wrong on purpose is in :mod:`tests.support.registry.faults`.
"""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tests.support.registry.access import Access, Scheme
from tests.support.registry.contents import Contents, HeldManifest, Holdings, digest_of
from tests.support.registry.routes import answer, classify
from tests.support.registry.wire import Exchange, Listener, Reply, Request

__all__ = [
    "FakeRegistry",
    "Fault",
    "HeldManifest",
    "Holdings",
    "Request",
    "Rule",
    "digest_of",
    "fake_registry",
]

Fault = Callable[["FakeRegistry", Exchange], Reply]
Locations = Literal["relative", "absolute", "storage"]


@dataclass(slots=True)
class Rule:
    """When a fault happens; ``seen`` counts the requests that fit, ``hits`` those that it happened to."""

    fault: Fault
    kind: str | None
    method: str | None
    path: str | None
    number: int | None
    nth: int
    times: int | None
    seen: int = 0
    hits: int = 0

    def strikes(self, request: Request) -> bool:
        """Count the request; whether the fault happens to it."""
        fits = (
            self.kind in (None, request.kind)
            and self.method in (None, request.method)
            and self.number in (None, request.number)
            and (self.path is None or re.search(self.path, request.target) is not None)
        )
        if not fits:
            return False
        self.seen += 1
        if self.seen < self.nth or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


@dataclass
class FakeRegistry:
    """The registry while it runs.

    Parameters (of :func:`fake_registry`):
        scheme: how requests are authorized ("none", "basic", "bearer"); ``users``, ``refresh_tokens``,
            ``anonymous_pull`` and ``token_uses`` as in :class:`tests.support.registry.access.Access`.
        referrers: whether there is a referrers API.
        mounts: whether blobs are mounted from other repositories.
        storage: whether blobs are fetched from another server, which must not see any password.
        locations: how the address of an upload session is told.
        chunk_minimum: bytes, sent as ``OCI-Chunk-Min-Length`` and insisted on.
        page: how many tags or referrers one answer has at most.
        tls: files with the certificate and the key of ``localhost`` and 127.0.0.1.

    Attributes:
        address: ``127.0.0.1:PORT``, the registry's name in references.
        storage_address: of the other server.
        contents: all repositories.
        requests: every request so far, in the order they came.
        complaints: what clients did wrong without being refused.
    """

    scheme: Scheme = "none"
    users: Mapping[str, str] = field(default_factory=dict)
    refresh_tokens: frozenset[str] = frozenset()
    anonymous_pull: bool = False
    token_uses: int | None = None
    referrers: bool = True
    mounts: bool = True
    storage: bool = False
    locations: Locations = "relative"
    chunk_minimum: int = 0
    page: int = 1000
    tls: tuple[Path, Path] | None = None

    def __post_init__(self) -> None:
        self.contents = Contents()
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        self._rules: list[Rule] = []
        self._guard = threading.Lock()
        context = None
        if self.tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
        self._front = Listener(self._exchange, context)
        self._storage = Listener(self._exchange, context, "localhost")  # another port and another name
        self.address, self.url = self._front.address, self._front.url
        self.storage_address, self.storage_url = self._storage.address, self._storage.url
        self.access = Access(
            self.scheme,
            self.users,
            self.refresh_tokens,
            self.anonymous_pull,
            self.token_uses,
            f"{self.url}/token",
        )

    # What it holds

    def repository(self, name: str) -> Holdings:
        """What the repository ``name`` (``team/demo``) holds; nothing when there is none."""
        return self.contents.repositories.get(name, Holdings())

    @property
    def blobs(self) -> dict[str, bytes]:
        """The blobs of all repositories by digest."""
        held = list(self.contents.repositories.values())
        return {digest: data for one in held for digest, data in list(one.blobs.items())}

    @property
    def manifests(self) -> dict[str, HeldManifest]:
        """The manifests and indexes of all repositories by digest."""
        held = list(self.contents.repositories.values())
        return {digest: manifest for one in held for digest, manifest in list(one.manifests.items())}

    def put_blob(self, repository: str, data: bytes) -> str:
        """Hold a blob; returns its digest."""
        return self.contents.put_blob(repository, data)

    def put_manifest(
        self, repository: str, document: Mapping[str, Any] | bytes, tag: str | None = None
    ) -> str:
        """Hold a manifest or an index whose parts are there; returns its digest."""
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        kind = json.loads(data)["mediaType"]
        return self.contents.put_manifest(repository, tag or digest_of(data), kind, data).digest

    # What it is asked

    def asked(self, kind: str) -> list[Request]:
        """The requests of one kind (:data:`tests.support.registry.routes.KINDS`) so far."""
        return [request for request in self.requests if request.kind == kind]

    def count(self, kind: str) -> int:
        """How many requests of one kind there were so far."""
        return len(self.asked(kind))

    def sent(self, kind: str) -> int:
        """Bytes of bodies that were sent in answers to one kind of request."""
        return sum(request.sent for request in self.asked(kind))

    def received(self, kind: str) -> int:
        """Bytes of bodies that came with one kind of request."""
        return sum(request.received for request in self.asked(kind))

    def forget(self) -> None:
        """Count from zero again."""
        with self._guard:
            self.requests.clear()

    def complain(self, request: Request, what: str) -> None:
        """Remember what a client did wrong."""
        with self._guard:
            self.complaints.append(f"{request}: {what}")

    # What goes wrong

    def fail(
        self,
        fault: Fault,
        *,
        kind: str | None = None,
        method: str | None = None,
        path: str | None = None,
        number: int | None = None,
        nth: int = 1,
        times: int | None = 1,
    ) -> Rule:
        """Let ``fault`` happen to requests that fit all of this; the first rule that strikes wins.

        Parameters:
            kind: one of :data:`tests.support.registry.routes.KINDS`.
            path: a regular expression searched for in path and query.
            number: of the request, counted from 0 over all of them.
            nth: it begins with this one of those that fit, counted from 1.
            times: how often it happens; None for ever.
        """
        rule = Rule(fault, kind, method, path, number, nth, times)
        with self._guard:
            self._rules.append(rule)
        return rule

    def heal(self) -> None:
        """No more faults."""
        with self._guard:
            self._rules.clear()

    def _exchange(self, exchange: Exchange) -> Reply:
        request = exchange.request
        classify(request)
        exchange.handle = partial(answer, self, exchange)
        with self._guard:
            request.number = len(self.requests)
            self.requests.append(request)
            rule = next((rule for rule in self._rules if rule.strikes(request)), None)
        return exchange.handle() if rule is None else rule.fault(self, exchange)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Answer while the block runs."""
        with self._front.running(), self._storage.running():
            yield


@contextlib.contextmanager
def fake_registry(**options: Any) -> Iterator[FakeRegistry]:
    """Run a :class:`FakeRegistry` with these options while the block runs.

    Raises:
        AssertionError: at the end, with what clients did wrong, unless the block failed anyway.
    """
    registry = FakeRegistry(**options)
    with registry.running():
        yield registry
    if registry.complaints:
        raise AssertionError("\n".join(registry.complaints))
