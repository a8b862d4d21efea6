"""Where the package index keeps its files, as learned from the resolver; locks hold only paths below it.

The address of the package index is in the user's settings or in uv's defaults, never in this code. uv's
answers name files by absolute URL: the part that depends on who serves them (the base) is remembered in the
cache, one record per set of index settings; the rest (the path) goes into the lock.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit, urlunsplit

from envbuild.network.indexes import user_indexes
from envbuild.source.text import redact
from envbuild.store import Store

__all__ = ["recall", "remember", "same_index", "split_url", "with_credentials"]

# The usual layout of an index's file host, also below a mirror's prefix: the path is the same everywhere.
_HASHED_PATH = re.compile(r"(?:.*/)?(packages/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/[^/]+)$")
_MOST_BASES = 8


def split_url(url: str) -> tuple[str, str]:
    """Cut a file's URL into base and path (both percent-encoded; no credentials, query or fragment).

    >>> split_url("https://user:secret@example.org/mirror/files/six.whl#sha256=00")
    ('https://example.org/', 'mirror/files/six.whl')

    The path is empty when the URL needs its query to work: such a file must be looked up again. So must
    files in a directory of this machine (``file:``), which have no base either.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return "", ""
    host = parts.netloc.rpartition("@")[2]
    path = parts.path.lstrip("/")
    hashed = _HASHED_PATH.match(path)
    if hashed:
        prefix = "/" + path[: hashed.start(1)]
        path = hashed[1]
    else:
        prefix = "/"
    if parts.query or ".." in path.split("/"):
        path = ""
    return urlunsplit((parts.scheme, host, prefix, "", "")), path


def remember(store: Store, environment: Mapping[str, str], bases: Iterable[str]) -> None:
    """Keep the addresses that the user's index settings lead to, newest first."""
    new = [base for base in dict.fromkeys(bases) if base]
    if not new:
        return
    known = _read(store, environment)
    merged = [*new, *(base for base in known if base not in new)][:_MOST_BASES]
    if merged != known:
        store.put_record(store.sources / _key(environment), {"bases": merged})


def recall(store: Store, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The addresses learned for these index settings (with the settings' credentials), maybe none."""
    return tuple(with_credentials(base, environment) for base in _read(store, environment))


def same_index(one: str, other: str) -> bool:
    """Whether two addresses are of the same index: credentials and a slash at the end do not count.

    >>> same_index("https://me:secret@example.org/simple/", "https://example.org/simple")
    True
    """

    def parts(url: str) -> tuple[str, str, str, str]:
        split = urlsplit(url)
        return split.scheme, split.netloc.rpartition("@")[2].lower(), split.path.rstrip("/"), split.query

    try:
        return parts(one) == parts(other)
    except ValueError:
        return False


def with_credentials(url: str, environment: Mapping[str, str]) -> str:
    """``url`` with the user name and password that the index settings have for its host, if any."""
    parts = urlsplit(url)
    for index in map(urlsplit, user_indexes(environment).addresses):
        user, at, host = index.netloc.rpartition("@")
        if at and (index.scheme, host) == (parts.scheme, parts.netloc):
            return urlunsplit(parts._replace(netloc=f"{user}@{host}"))
    return url


def _key(environment: Mapping[str, str]) -> str:
    settings = [redact(address) for address in user_indexes(environment).addresses]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()


def _read(store: Store, environment: Mapping[str, str]) -> list[str]:
    known = store.record(store.sources / _key(environment))
    return [str(base) for base in known["bases"]] if known else []
