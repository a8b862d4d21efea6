"""All registries that one command talks to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from envbuild.image.reference import Reference, parse_reference
from envbuild.registry.auth import Credential, Keychain
from envbuild.registry.repository import Repository
from envbuild.registry.retry import Retries
from envbuild.registry.transport import Registry, may_be_plain
from envbuild.registry.wire import Wire

__all__ = ["Registries"]


class Registries:
    """Registries, with what they share: the user's credentials and the connections. A context manager.

    Nothing is read and nobody is asked before the first request.

    Parameters:
        environment: the user's variables.
        plain_http: registries that may be talked to without TLS; those on this machine always may.
        jobs: how many blobs move, and how many images are asked for, at once.
        offline: refuse instead of asking anybody.
        retries: how often and at which pace a piece of work is tried.
        warn: told what is wrong with the user's credentials.
        wire: what to send with.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        plain_http: Sequence[str] = (),
        jobs: int = 8,
        offline: bool = False,
        retries: Retries | None = None,
        warn: Callable[[str], None] = lambda message: None,
        wire: Wire | None = None,
    ) -> None:
        self.jobs = jobs
        self._plain = frozenset(name.lower() for name in plain_http)
        self._retries = retries or Retries()
        self._keychain = Keychain(environment, warn)
        # A blob may come from one registry while it goes to another.
        self._wire = wire or Wire(connections=2 * jobs + 2, offline=offline)
        self._known: dict[str, Registry] = {}
        self._guard = threading.Lock()

    def __enter__(self) -> Registries:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what is still under way: other threads that wait for a registry wake up."""
        self._wire.close()

    def repository(self, name: str | Reference) -> Repository:
        """The repository ``name`` (``registry/repository``), or that of a reference.

        Raises:
            UsageError: it is no name.
        """
        reference = parse_reference(name) if isinstance(name, str) else name
        with self._guard:
            registry = self._known.get(reference.registry)
            if registry is None:
                plain = may_be_plain(reference.registry, self._plain)
                registry = Registry(
                    reference.registry, self._wire, self._keychain, self._retries, plain=plain
                )
                self._known[reference.registry] = registry
        return Repository(registry, reference.repository)

    def credential(self, reference: Reference) -> Credential | None:
        """What the user has for the registry of ``reference``, for another program that asks it.

        Raises:
            MachineError: the program that is configured for just this registry does not work.
        """
        return self._keychain.find(reference.registry, reference.repository)
