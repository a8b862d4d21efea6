"""Reaching a git server, and why that failed, in one sentence."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from envbuild.errors import EnvbuildError, MachineError, RemoteError
from envbuild.source.git_address import GitAddress
from envbuild.source.git_process import Git, GitFailure
from envbuild.source.text import clean

__all__ = ["connect", "remote_errors"]

_CONNECT_SECONDS = 10.0
_PORTS = {"https": 443, "http": 80}
_PROXY_VARIABLES = ("https_proxy", "http_proxy", "all_proxy")

_CREDENTIALS = (
    "a credential helper of git (`git config --global credential.helper`), ~/.netrc, or an ssh key with"
    " ssh://git@host/path can log you in"
)


def connect(address: GitAddress, environment: Mapping[str, str]) -> Git:
    """git for ``address``, if its server can be reached at all.

    git itself waits for minutes for a server that a network swallows.

    Raises:
        MachineError: there is no git.
        RemoteError: the server cannot be reached.
    """
    git = Git(address, environment, (address.scheme,))
    effective = git.output("ls-remote", "--get-url", "--", address.url).decode("utf-8", "replace").strip()
    scheme = effective.partition("://")[0].lower() if "://" in effective else "ssh"
    if effective.startswith("/"):
        scheme = "file"
    git = replace(git, protocols=tuple(sorted({address.scheme, scheme})))
    if scheme in _PORTS and not _has_proxy(git, effective):
        _check_reachable(effective, scheme)
    return git


def _has_proxy(git: Git, url: str) -> bool:
    variables = {name.lower() for name, value in git.environment.items() if value}
    if variables & set(_PROXY_VARIABLES):
        return True
    try:
        return bool(git.output("config", "--get-urlmatch", "http.proxy", url).strip())
    except GitFailure:  # it is not set
        return False


def _check_reachable(url: str, scheme: str) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        with socket.create_connection((host, parts.port or _PORTS[scheme]), _CONNECT_SECONDS):
            pass
    except socket.gaierror as error:
        raise _unreachable(host, "there is no such host, or no network") from error
    except TimeoutError as error:
        raise _unreachable(host, "it does not answer") from error
    except OSError as error:
        raise _unreachable(host, (error.strerror or "no connection").lower()) from error


def _unreachable(host: str, why: str) -> RemoteError:
    return RemoteError(
        f"{clean(host)} cannot be reached: {why}",
        code="host-unreachable",
        remedy="check the network and the proxy (HTTPS_PROXY), or give a local directory",
    )


@contextlib.contextmanager
def remote_errors(address: GitAddress) -> Iterator[None]:
    """Turn what git says about a server into an error with a remedy."""
    try:
        yield
    except GitFailure as failure:
        raise _translated(address, str(failure)) from failure


def _translated(address: GitAddress, message: str) -> EnvbuildError:
    place = clean(address.url)
    lowered = message.lower()

    def says(*phrases: str) -> bool:
        return any(re.search(phrase, lowered) for phrase in phrases)

    if says("could not resolve", "temporary failure in name resolution", "name or service not known"):
        return _unreachable(address.host, "there is no such host, or no network")
    if says(
        "connection refused",
        "network is unreachable",
        "no route to host",
        "couldn't connect",
        "failed to connect",
    ):
        return _unreachable(address.host, "no connection")
    if says("timed out", "too slow", "operation too slow", "low speed"):
        return _unreachable(address.host, "it does not answer")
    if says("certificate", "ssl", "gnutls", "tls"):
        return RemoteError(
            f"the certificate of {clean(address.host)} is not trusted",
            code="certificate-not-trusted",
            remedy="set GIT_SSL_CAINFO to the file with your network's certificate authority",
        )
    if says("dubious ownership"):
        return MachineError(
            f"{place} belongs to another user, and git does not read it",
            code="other-owner",
            remedy="if you trust it: git config --global --add safe.directory PATH",
        )
    if says(
        "authentication failed",
        "could not read username",
        "could not read password",
        "error: 401",
        "error: 403",
        "http basic: access denied",
    ):
        return RemoteError(
            f"{place} does not exist, or needs credentials that were not given or not accepted",
            code="git-credentials",
            remedy=_CREDENTIALS,
        )
    if says(
        "not found",
        "does not exist",
        "does not appear to be a git repository",
        "error: 404",
        "not a git repository",
    ):
        return RemoteError(
            f"there is no git repository at {place}",
            code="no-such-repository",
            remedy="check the address; private repositories may look as if they did not exist",
        )
    if says("permission denied", "host key verification failed", "could not read from remote repository"):
        return RemoteError(
            f"{clean(address.host) or place} did not let us in, or there is no such repository",
            code="git-credentials",
            remedy="try `ssh` to that host once: the key must work without questions, the host be known",
        )
    return RemoteError(f"git could not fetch from {place}: {_last_sentence(message)}", code="git-failed")


def _last_sentence(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    chosen = (fatal or lines or ["it did not say why"])[-1]
    return clean(re.sub(r"^(?:fatal|error):\s*", "", chosen))
