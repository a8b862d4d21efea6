"""The Debian packages of a base, or of a tool, pinned."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from envbuild.base.mirrors import Mirrors
from envbuild.base.recipe import BaseRecipe
from envbuild.base.version import Version
from envbuild.errors import RemoteError
from envbuild.lock.model import Artifact, Deb
from envbuild.progress import Reporter
from envbuild.store import Store

__all__ = [
    "MAX_AGE_SECONDS",
    "LockedDebs",
    "kept_debs",
    "lock_debs",
    "read_answer",
    "resolve_tool",
    "write_answer",
]

MAX_AGE_SECONDS = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class LockedDebs:
    """A base's exact Python (``3.11.2``) and its packages by platform (``linux/amd64``), sorted by name."""

    python: str
    debs: dict[str, tuple[Deb, ...]]


def lock_debs(
    recipe: BaseRecipe,
    *,
    store: Store,
    mirrors: Mirrors,
    reporter: Reporter,
    refresh: bool = False,
    offline: bool = False,
) -> LockedDebs:
    """The packages of ``recipe`` for all its platforms, in their newest versions.

    An answer less than a day old is given again without asking the mirror, unless ``refresh``; ``offline``,
    any earlier answer.

    Raises:
        RemoteError: the mirror cannot be reached or believed, or the packages cannot be had together.
    """
    architectures = {platform: _architecture(platform) for platform in recipe.platforms}
    request = _Request(
        recipe.suite, tuple(recipe.packages), dict(recipe.excluded), f"the base {recipe.name}", recipe.digest
    )
    resolved = _resolve(
        request,
        tuple(architectures.values()),
        store=store,
        mirrors=mirrors,
        reporter=reporter,
        refresh=refresh,
        offline=offline,
    )
    debs = {platform: resolved[architecture] for platform, architecture in architectures.items()}
    if recipe.image is not None:
        return LockedDebs(recipe.python, debs)
    name = f"python{recipe.python_minor}"
    pythons = {Version(deb.version).upstream for of in debs.values() for deb in of if deb.name == name}
    if len(pythons) != 1:
        raise RemoteError(
            f"Debian `{recipe.suite}` has different versions of {name} for different architectures just now",
            code="debian-unsatisfied",
            remedy="try again in some hours",
        )
    return LockedDebs(pythons.pop(), debs)


def resolve_tool(
    suite: str,
    architecture: str,
    names: tuple[str, ...],
    *,
    excluded: Mapping[str, str],
    store: Store,
    mirrors: Mirrors,
    reporter: Reporter,
    refresh: bool = False,
    offline: bool = False,
) -> tuple[Deb, ...]:
    """The packages a tool for this machine consists of (``bubblewrap`` and the libraries it links to).

    Parameters:
        architecture: Debian's name for it (``amd64``, ``arm64``).
        excluded: dependencies it does without, with the reasons.

    Raises:
        RemoteError: as :func:`lock_debs`.
    """
    request = _Request(suite, names, dict(excluded), f"the tool {names[0]}", "")
    resolved = _resolve(
        request,
        (architecture,),
        store=store,
        mirrors=mirrors,
        reporter=reporter,
        refresh=refresh,
        offline=offline,
    )
    return resolved[architecture]


def kept_debs(store: Store) -> set[Deb]:
    """Every package in an answer that is still kept, however old: signed indexes have listed it."""
    answers = (read_answer(store, path) for path in store.debian.glob("*.json"))
    return {deb for answer in answers if answer for debs in answer.values() for deb in debs}


@dataclass(frozen=True, slots=True)
class _Request:
    """What is to be resolved; its key names the cached answer."""

    suite: str
    roots: tuple[str, ...]
    excluded: dict[str, str]
    what: str
    recipe_digest: str

    def key(self, architectures: Iterable[str], *more: str) -> str:
        text = json.dumps([asdict(self), sorted(architectures), more], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _architecture(platform: str) -> str:
    """Debian's name of a platform's architecture, which for those we offer is Docker's too.

    >>> _architecture("linux/arm64")
    'arm64'
    """
    return platform.partition("/")[2]


def _resolve(
    request: _Request,
    architectures: tuple[str, ...],
    *,
    store: Store,
    mirrors: Mirrors,
    reporter: Reporter,
    refresh: bool,
    offline: bool,
) -> dict[str, tuple[Deb, ...]]:
    """Packages by architecture: the day's answer, or a new one."""
    if mirrors.at is None:
        sources = [*mirrors.debian, *mirrors.security]
    else:
        sources = [f"snapshot of {mirrors.at:%Y-%m-%d}"]
    today = store.debian / f"{request.key(architectures, *sources)}.json"
    if not refresh and (kept := read_answer(store, today, None if offline else MAX_AGE_SECONDS)) is not None:
        return kept
    if offline:
        raise RemoteError(
            f"the packages of {request.what} were never looked up and this is an offline run",
            code="offline",
            remedy="run once without --offline",
        )
    with store.lock(f"debian-{request.suite}"):
        if not refresh and (kept := read_answer(store, today, MAX_AGE_SECONDS)) is not None:
            return kept
        resolved = _resolve_now(request, architectures, store=store, mirrors=mirrors, reporter=reporter)
        write_answer(store, today, resolved)
        return resolved


def _resolve_now(
    request: _Request, architectures: tuple[str, ...], *, store: Store, mirrors: Mirrors, reporter: Reporter
) -> dict[str, tuple[Deb, ...]]:
    """Packages by architecture: what was found for the same indexes before, or found now."""
    # Slow to import, and most runs do not come here.
    from envbuild.base.debian import Index, open_archive, suites
    from envbuild.base.resolve import Catalog, closure

    with open_archive(mirrors=mirrors, store=store, reporter=reporter) as archive:
        releases = [archive.release(source, suite) for source, suite in suites(request.suite)]
        indexes = {name: [archive.index(one, name) for one in releases] for name in architectures}

    def resolve_one(architecture: str, indexes: list[Index]) -> tuple[Deb, ...]:
        same = store.debian / f"{request.key([architecture], *(one.sha256 for one in indexes))}.json"
        if (kept := read_answer(store, same)) is not None:
            return kept[architecture]
        debs = closure(Catalog(indexes), request.roots, excluded=request.excluded, what=request.what)
        write_answer(store, same, {architecture: debs})
        return debs

    # Unpacking the indexes, which is most of the time, happens outside of Python's global lock.
    with ThreadPoolExecutor(max_workers=2) as pool:
        return dict(zip(indexes, pool.map(resolve_one, indexes.keys(), indexes.values()), strict=True))


def read_answer(store: Store, path: Path, max_age: float | None = None) -> dict[str, tuple[Deb, ...]] | None:
    """A kept answer, or None when there is none, it is older than ``max_age`` seconds, or of no use."""
    try:
        age = time.time() - path.stat().st_mtime
        if max_age is not None and not 0 <= age < max_age:
            return None
        answer = store.record(path)
        return answer and {name: tuple(map(_deb, debs)) for name, debs in answer.items()}
    except (OSError, KeyError, TypeError, AttributeError):  # the last ones: of another version
        return None


def _deb(table: dict[str, Any]) -> Deb:
    return Deb(**{**table, "artifact": Artifact(**table["artifact"])})


def write_answer(store: Store, path: Path, resolved: Mapping[str, tuple[Deb, ...]]) -> None:
    """Keep packages by architecture, as signed indexes list them, for :func:`read_answer`."""
    tables = {name: [asdict(deb) for deb in debs] for name, debs in resolved.items()}
    store.put_record(path, tables)
