"""Conda channels as repositories name them: ``conda-forge``, ``pkgs/main``, or a URL without credentials."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote, urlsplit, urlunsplit

__all__ = ["DEFAULTS", "channel_of_url", "hide_token", "read_channel", "source_name"]

DEFAULTS = ("pkgs/main", "pkgs/r")
"""What ``defaults`` stands for."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,4}")
_URL_PATH = re.compile(r"[A-Za-z0-9._~%+@:/-]*")
_HOST = re.compile(r"[A-Za-z0-9.-]+(?::\d{1,5})?|\[[0-9A-Fa-f:]+\](?::\d{1,5})?")
_TOKEN = re.compile(r"^/t/[^/]+(?=/)")
# Where channels that have a name are by default. What is below them has a name, too.
_NAMED_HOSTS = ("conda.anaconda.org", "repo.anaconda.com")


def read_channel(text: str) -> str | None:
    """The channel ``text`` names, in its one form; None when it is no channel's name or URL.

    >>> read_channel("conda-forge"), read_channel("https://conda.anaconda.org/conda-forge/")
    ('conda-forge', 'conda-forge')
    >>> read_channel("https://repo.example.org/lab/"), read_channel("https://me:secret@example.org/lab")
    ('https://repo.example.org/lab', None)
    """
    if "://" not in text:
        return text if _NAME.fullmatch(text) and ".." not in text else None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    path = parts.path.rstrip("/")
    plain = parts.scheme in ("http", "https") and _HOST.fullmatch(parts.netloc) and _URL_PATH.fullmatch(path)
    if not plain or parts.query or parts.fragment or _TOKEN.match(path) or ".." in unquote(path).split("/"):
        return None
    if parts.netloc in _NAMED_HOSTS and _NAME.fullmatch(path[1:]):
        return path[1:]
    return urlunsplit((parts.scheme, parts.netloc.lower(), path, "", ""))


def channel_of_url(url: str) -> tuple[str, str, str] | None:
    """``(channel, subdir, file name)`` of a package's URL, without credentials; None when it is no such URL.

    >>> channel_of_url("https://conda.anaconda.org/t/secret/conda-forge/noarch/pip-24.0-pyh_0.conda")
    ('conda-forge', 'noarch', 'pip-24.0-pyh_0.conda')
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    host = parts.netloc.rpartition("@")[2]
    path, _, filename = _TOKEN.sub("", parts.path).rpartition("/")
    path, _, subdir = path.rpartition("/")
    channel = read_channel(urlunsplit((parts.scheme, host, path, "", "")))
    return (channel, subdir, unquote(filename)) if channel and subdir and filename else None


def hide_token(text: str) -> str:
    """``text``, which may be a channel's address, without the token of ``/t/<token>/``."""
    return re.sub(r"/t/[^/]+", "/t/***", text)


def source_name(channel: str) -> str:
    """The name that locks call the channel by: always the same, and no address.

    >>> source_name("conda-forge"), source_name("pkgs/main"), source_name("https://repo.example.org/lab")
    ('conda-forge', 'pkgs-main', 'lab-a5a733fc')
    """
    if "://" not in channel:
        return channel.replace("/", "-")
    last = re.sub(r"[^A-Za-z0-9]+", "-", unquote(urlsplit(channel).path).rpartition("/")[2]).strip("-")
    return f"{last or 'channel'}-{hashlib.sha256(channel.encode()).hexdigest()[:8]}"
