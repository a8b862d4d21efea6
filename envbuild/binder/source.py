"""The repository as repo2docker's callers name it, as a source of envbuild's."""

from __future__ import annotations

import os
import re
from urllib.parse import quote as percent_encode
from urllib.parse import urlsplit

from envbuild.source.address import Directory, GitSource, parse_source

__all__ = ["read_source"]

_CKAN_VERSION = re.compile(r"(?P<dataset>.+)\.v\d+")


def read_source(
    repository: str, ref: str | None, login: tuple[str, str] | None
) -> tuple[str, tuple[str, ...]]:
    """``(source, notes)`` of a ``repository`` and ``ref`` as they are given to repo2docker.

    A ref is git's; records have their version in their name, and BinderHub passes it a second time.

    Parameters:
        login: user and password of its server, unless the address has its own.

    >>> read_source("https://example.org/team/rivers", "v1", None)
    ('https://example.org/team/rivers#v1', ())
    >>> read_source("10.5281/zenodo.1234", "1234", None)
    ('10.5281/zenodo.1234', ())
    >>> read_source("https://data.example.org/dataset/rivers", "rivers.v1712000000", None)
    ('ckan+https://data.example.org/dataset/rivers', ())

    Raises:
        UsageError: it is no source, or the ref is none.
    """
    if _is_ckan(repository, ref):
        return f"ckan+{repository}", ()
    source = parse_source(repository)
    wanted = ref if ref != "HEAD" else None
    if isinstance(source, GitSource):
        text = f"{repository.partition('#')[0]}#{wanted}" if wanted else repository
        parse_source(text)
        return _with_login(text, source, login), ()
    if isinstance(source, Directory) and wanted:
        return repository, ("--ref changes nothing: a directory is taken as it is",)
    return repository, ()


def _is_ckan(repository: str, ref: str | None) -> bool:
    """Whether it is what BinderHub makes of a dataset in CKAN: ``…/dataset/NAME`` and ``NAME.vNUMBER``.

    repo2docker asks the server. Here a text alone decides, and this one is unmistakable.
    """
    version = _CKAN_VERSION.fullmatch(ref or "")
    try:
        parts = urlsplit(repository)
    except ValueError:
        return False
    if version is None or parts.scheme not in ("http", "https"):
        return False
    return f"/dataset/{version['dataset']}/" in f"{parts.path}/"


def _with_login(text: str, source: GitSource, login: tuple[str, str] | None) -> str:
    address = source.address
    if login is None or address.user is not None or address.scheme not in ("https", "http"):
        return text
    # As bytes: what variables hold need not be UTF-8.
    user, password = (percent_encode(os.fsencode(part), safe="") for part in login)
    scheme, _, rest = text.partition("://")
    return f"{scheme}://{user}:{password}@{rest}"
