"""Errors about registries, said so that a stranger knows what to do."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from envbuild.errors import RemoteError
from envbuild.registry.retry import TRANSIENT, Transient, retry_after
from envbuild.source.text import clean

if TYPE_CHECKING:
    import httpx

    from envbuild.registry.auth import Credential

__all__ = ["Answer", "Asked", "lied", "no_registry", "refusal", "slow", "unreachable"]

_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
)
_QUOTA = re.compile(r"quota|storage limit|insufficient storage", re.IGNORECASE)
_MOST_REASONS = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """A registry's whole answer to a request; header names are in lower case."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def codes(self) -> tuple[str, ...]:
        """The error codes of the distribution specification that are in it, like ``BLOB_UNKNOWN``."""
        return tuple(code for code, _ in _errors(self.body))

    @property
    def reason(self) -> str:
        """What the registry says is wrong, on one line; empty when it says nothing."""
        told = [": ".join(filter(None, pair)) for pair in _errors(self.body)[:_MOST_REASONS]]
        return clean("; ".join(told))


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request was for: ``action`` completes "to ...", like ``push``; ``what`` is a repository's name
    or a part of it. ``credential`` is what was shown, ``searched`` where one was looked for.
    """

    registry: str
    action: str
    what: str
    credential: Credential | None = None
    searched: tuple[str, ...] = ()


def refusal(asked: Asked, answer: Answer) -> RemoteError | Transient:
    """The error for an answer that is not the hoped-for one."""
    registry, told = asked.registry, f" ({answer.reason})" if answer.reason else ""
    if answer.status in TRANSIENT:
        return Transient(_passing(asked, answer, told), retry_after(answer.headers.get("retry-after")))
    if answer.status == 401:
        return _unauthorized(asked, told)
    if _QUOTA.search(answer.reason):
        return RemoteError(
            f"{registry} has no room left for {asked.what}{told}",
            code="registry-quota",
            remedy="delete old images there, or ask who runs the registry for more room",
        )
    if answer.status == 403 or "DENIED" in answer.codes:
        return RemoteError(
            f"{registry} does not allow to {asked.action} {asked.what}{told}; {_shown(asked)}",
            code="registry-denied",
            remedy="check the name and that your account may do this; some registries want a repository to be"
            " made beforehand",
        )
    if answer.status == 413:
        return RemoteError(
            f"{registry} does not take {asked.what}: it is too large{told}",
            code="blob-too-large",
            remedy="have the limit raised, of the registry or of the proxy in front of it"
            " (nginx: client_max_body_size)",
        )
    if answer.status == 404 and "NAME_UNKNOWN" in answer.codes:
        return RemoteError(
            f"{registry} has no repository for {asked.what}{told}",
            code="repository-unknown",
            remedy="check the name; some registries want a repository to be made beforehand",
        )
    if _is_page(answer):
        return no_registry(registry, f"it answers with a web page (HTTP {answer.status})")
    return RemoteError(
        f"{registry} refused to {asked.action} {asked.what}: HTTP {answer.status}{told}",
        code="registry-refused",
        remedy="ask who runs the registry; run again with --debug to see where it happened",
    )


def _passing(asked: Asked, answer: Answer, told: str) -> RemoteError:
    if answer.status == 429:
        return RemoteError(
            f"{asked.registry} takes no more requests for now, such as to {asked.action} {asked.what}{told}",
            code="registry-busy",
            remedy="wait a while, or log in: registries allow more to those they know",
        )
    return RemoteError(
        f"{asked.registry} failed when it was asked to {asked.action} {asked.what}:"
        f" HTTP {answer.status}{told}",
        code="registry-failed",
        remedy="try again later; if it goes on, ask who runs the registry",
    )


def _unauthorized(asked: Asked, told: str) -> RemoteError:
    registry = asked.registry
    log_in = f"`docker login {registry}` or `podman login {registry}`"
    if asked.credential is not None:
        return RemoteError(
            f"{registry} does not accept the credentials from {asked.credential.source}"
            f" to {asked.action} {asked.what}{told}",
            code="registry-unauthorized",
            remedy=f"log in again ({log_in}), as somebody who may do this",
        )
    searched = ", ".join(asked.searched) or "no file of docker or podman is there"
    return RemoteError(
        f"{registry} wants to know who you are to {asked.action} {asked.what}{told},"
        f" and there are no credentials for it ({searched})",
        code="registry-unauthorized",
        remedy=f"check the name, and log in: {log_in}",
    )


def _shown(asked: Asked) -> str:
    if asked.credential is None:
        return "no credentials for it were found"
    return f"the credentials are from {asked.credential.source}"


def lied(registry: str, what: str) -> RemoteError:
    """The error for content that is not what its digest or its size says."""
    return RemoteError(
        f"{registry} is not to be trusted: {what}",
        code="registry-lied",
        remedy="try again; if it goes on, something between here and there, or the registry, damages data",
    )


def slow(registry: str, what: str) -> RemoteError:
    """The error for a server that hardly moves."""
    return RemoteError(
        f"{registry} sends hardly anything of {what}",
        code="registry-dropped",
        remedy="try again later; if it goes on, check the network",
    )


def no_registry(registry: str, why: str) -> RemoteError:
    """The error for a server that is something else."""
    return RemoteError(
        f"{registry} is not a container registry: {why}",
        code="not-a-registry",
        remedy="check the name and the port; the name of an image begins with the registry's host, without"
        " the path of its web pages",
    )


def unreachable(registry: str, error: Exception) -> RemoteError:
    """The error for a connection that cannot be made (``registry-certificate``, ``registry-tls``,
    ``registry-unreachable``) or that may well be better the next time (``registry-dropped``).
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return RemoteError(
                f"the certificate of {registry} is not trusted: {cause.verify_message}",
                code="registry-certificate",
                remedy="if it is signed by an authority of your own, name its file in SSL_CERT_FILE",
            )
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
            return RemoteError(
                f"{registry} does not speak TLS",
                code="registry-tls",
                remedy=f"check the port; if it is on purpose, allow it: --plain-http {registry}",
            )
        if isinstance(cause, ConnectionRefusedError) or (
            isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN
        ):
            return RemoteError(
                f"{registry} cannot be reached: {(cause.strerror or str(cause)).lower()}",
                code="registry-unreachable",
                remedy="check its name and port, the network, and the proxy settings (HTTPS_PROXY, NO_PROXY)",
            )
    return RemoteError(
        f"the connection to {registry} failed: {clean(str(error)) or type(error).__name__}",
        code="registry-dropped",
        remedy="try again; if it goes on, check the network and the proxy settings (HTTPS_PROXY, NO_PROXY)",
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_page(answer: Answer) -> bool:
    return "html" in answer.headers.get("content-type", "").lower()


def _errors(body: bytes) -> list[tuple[str, str]]:
    """``(code, message)`` of each error in a body as the distribution specification has them."""
    try:
        errors = json.loads(body)["errors"]
        return [(str(error.get("code", "")), str(error.get("message", ""))) for error in errors]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
