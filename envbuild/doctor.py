"""What this machine can do: the checks behind ``envbuild doctor``."""

from __future__ import annotations

import platform
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from envbuild.base.host import host_platform
from envbuild.base.mirrors import Mirrors
from envbuild.base.recipe import load_recipes
from envbuild.certificates import authorities
from envbuild.engine import Engine
from envbuild.errors import EnvbuildError
from envbuild.fetch import http_client
from envbuild.lock.uv_process import Uv, UvFailure
from envbuild.network.indexes import user_indexes
from envbuild.source import redact
from envbuild.store import Store

__all__ = ["Check", "examine"]

_PLENTY_BYTES = 5_000_000_000  # an environment with scientific packages, packed and unpacked
_LITTLE_BYTES = 500_000_000
_NETWORK_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ``fail`` means that ``envbuild up`` cannot work."""

    name: str
    status: Literal["ok", "warn", "fail"]
    message: str
    remedy: str | None = None


def examine(
    store: Store,
    *,
    environment: Mapping[str, str],
    mirrors: Mirrors,
    engines: Sequence[Engine],
    offline: bool,
    base: str | None = None,
    find_base: Callable[[str], bool] = lambda name: False,
) -> tuple[Check, ...]:
    """Look at everything ``up`` needs.

    Parameters:
        store: the cache, prepared.
        environment: the user's variables (index, proxy, certificates).
        mirrors: where Debian packages are fetched from.
        engines: in the order of preference.
        offline: leave out what needs the network.
        base: the image in a registry that the user's configuration names; ``find_base`` tells whether it is
            there.
    """
    checks = [
        _python(),
        _platform(),
        _disk(store),
        _certificates(environment),
        _proxy(environment),
        *_uv(store, environment, offline),
    ]
    if not offline:
        checks.append(_debian(mirrors))
        checks += [_base(base, find_base)] if base is not None else []
    return (*checks, *_engines(engines))


def _python() -> Check:
    return Check("Python", "ok", f"{platform.python_version()} at {sys.executable}")


def _platform() -> Check:
    try:
        return Check("platform", "ok", host_platform())
    except EnvbuildError as error:
        return Check("platform", "fail", error.message, error.remedy)


def _disk(store: Store) -> Check:
    free = shutil.disk_usage(store.root).free
    message = f"{store.root}, {free / 1e9:.1f} GB free"
    if free >= _PLENTY_BYTES:
        return Check("cache", "ok", message)
    remedy = "free some space, run `envbuild cache prune`, or set ENVBUILD_CACHE_DIR"
    return Check("cache", "warn" if free >= _LITTLE_BYTES else "fail", message, remedy)


def _certificates(environment: Mapping[str, str]) -> Check:
    bundle = authorities(environment)
    remedy = "install the system's CA certificates, or set SSL_CERT_FILE to a bundle"
    if bundle is None:
        where = environment.get("SSL_CERT_FILE") or "the usual places"
        return Check("certificates", "fail", f"there are no CA certificates at {where}", remedy)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(bundle)
    except (OSError, ssl.SSLError) as error:
        return Check("certificates", "fail", f"{bundle}: {error}", remedy)
    return Check("certificates", "ok", f"{bundle}, {context.cert_store_stats()['x509_ca']} authorities")


def _proxy(environment: Mapping[str, str]) -> Check:
    """Which proxies are set. Lower case wins, as with curl and everything here."""
    said = {}
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        if value := environment.get(name) or environment.get(name.upper()):
            said[name] = value if "://" in value or name == "no_proxy" else f"http://{value}"
    shown = [f"{name} {redact(value)}" for name, value in said.items()]
    unusable = [name for name, value in said.items() if name != "no_proxy" and not _is_http_proxy(value)]
    if unusable:
        remedy = "name an http or https proxy, as in http://proxy.example.org:3128"
        return Check("proxy", "fail", f"{', '.join(unusable)} cannot be used", remedy)
    return Check("proxy", "ok", ", ".join(shown) or "none")


def _is_http_proxy(value: str) -> bool:
    parts = urlsplit(value)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _uv(store: Store, environment: Mapping[str, str], offline: bool) -> tuple[Check, ...]:
    remedy = "install envbuild again: uv is one of its dependencies"
    try:
        import uv

        said = subprocess.run(
            [uv.find_uv_bin(), "--version"], capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()
    except (ImportError, OSError, subprocess.SubprocessError) as error:
        return (Check("uv", "fail", f"it does not run: {error}", remedy),)
    found = Check("uv", "ok", said)
    return (found,) if offline else (found, _index(store, environment))


def _index(store: Store, environment: Mapping[str, str]) -> Check:
    """Ask the index the way locking does, about the one package every environment has."""
    python = load_recipes()[-1]
    indexes = user_indexes(environment)
    where = ", ".join(map(redact, indexes.addresses)) or "the tools' own default"
    origin = f" (from {indexes.origin})" if indexes.origin else ""
    try:
        Uv(store, environment).compile(
            ["pip"],
            preferences={},
            python=python.python,
            uv_platform=f"x86_64-manylinux_{python.glibc.replace('.', '_')}",
            options=["--no-deps", "--refresh"],
        )
    except (UvFailure, EnvbuildError) as error:
        said = str(error).strip().splitlines() or ["no answer"]
        remedy = "check the network, proxies and UV_DEFAULT_INDEX; locks and downloads need it"
        return Check("package index", "fail", f"{where}{origin}: {redact(said[-1].strip())}", remedy)
    return Check("package index", "ok", f"{where}{origin} answers")


def _debian(mirrors: Mirrors) -> Check:
    suite = load_recipes()[-1].suite
    shown = redact(mirrors.debian[0])
    try:
        with http_client() as client:
            answer = client.get(f"{mirrors.debian[0]}/dists/{suite}/InRelease", timeout=_NETWORK_SECONDS)
            answer.raise_for_status()
    except Exception as error:  # whatever goes wrong is the answer to the question
        reason = redact(str(error).splitlines()[0] if str(error) else type(error).__name__)
        remedy = "set ENVBUILD_DEBIAN_MIRROR to a mirror that can be reached"
        return Check("Debian mirror", "fail", f"{shown}: {reason}", remedy)
    where = "the snapshot archive, no mirror is known; " if mirrors.at else ""
    return Check("Debian mirror", "ok", f"{where}{shown} answers")


def _base(name: str, find: Callable[[str], bool]) -> Check:
    """Not a failure: a repository may name another one, and what is locked stays as it is."""
    remedy = "correct ENVBUILD_BASE or `base` in your configuration, or log in to the registry"
    try:
        found = find(name)
    except EnvbuildError as error:
        return Check("base", "warn", f"{name}: {redact(error.message)}", error.remedy or remedy)
    return (
        Check("base", "ok", f"{name} is there")
        if found
        else Check("base", "warn", f"there is no {name}", remedy)
    )


def _engines(engines: Sequence[Engine]) -> list[Check]:
    """An engine that does not work is a failure only when no other does."""
    reasons = [(engine.name, engine.unavailable()) for engine in engines]
    any_works = any(reason is None for _, reason in reasons)
    checks = []
    for name, reason in reasons:
        if reason is None:
            checks.append(Check(name, "ok", "works"))
        else:
            message, _, remedy = reason.partition("; ")
            checks.append(Check(name, "warn" if any_works else "fail", message, remedy or None))
    return checks
