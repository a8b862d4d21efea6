"""Which package indexes the user has configured, for envbuild, uv or pip; never what a repository says.

The first of these that says anything about indexes counts, as a whole::

    pypi-index (envbuild) > UV_* variables > uv.toml of the user, of the system
                          > PIP_* variables > pip.conf of the user, of the system > the tools' own default

uv reads its own settings by itself. pip's are translated for it, uv's and pip's for pip-tools. Directories
(``find-links``, ``file:``) that only pip is told of are left out: nobody else would find what they hold.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import tomli

from envbuild.certificates import authorities
from envbuild.source.text import redact

__all__ = ["Indexes", "user_indexes"]

_NAMED = re.compile(r"([A-Za-z0-9._-]+)=(.*)")
# What of the user's environment a resolver gets besides its indexes.
_KEPT = frozenset(
    {
        *("HOME", "USER", "LOGNAME", "PATH", "TMPDIR", "LANG", "NETRC", "SSL_CLIENT_CERT"),
        *("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"),
        *("DBUS_SESSION_BUS_ADDRESS", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    }
)


@dataclass(frozen=True, repr=False, slots=True)
class Indexes:
    """The package indexes to use; addresses may hold credentials.

    ``default`` is None for the tools' own. ``find_links`` are pages or directories with files. ``keyring``:
    passwords are asked of the ``keyring`` program. ``trusted`` are hosts whose certificate is not checked.
    ``origin`` says for people who configured this, "" when nobody did.
    """

    default: str | None = None
    extra: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    keyring: bool = False
    origin: str = ""

    def __repr__(self) -> str:
        return f"Indexes({', '.join(map(redact, self.addresses))})"

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses, the default index first."""
        return (*((self.default,) if self.default else ()), *self.extra, *self.find_links)

    @property
    def remote(self) -> bool:
        """Whether anything of it is on another machine."""
        pages = (*((self.default,) if self.default else ("",)), *self.extra)
        return any(not page.startswith("file:") for page in pages)

    def uv_variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        """``environment`` for uv, with what pip was told if uv was told nothing."""
        if not self.origin.startswith("pip"):
            return dict(environment)
        told = {
            "UV_DEFAULT_INDEX": self.default or "",
            "UV_INDEX": " ".join(self.extra),
            "UV_FIND_LINKS": ",".join(self.find_links),
            "UV_INSECURE_HOST": " ".join(self.trusted),
            "UV_KEYRING_PROVIDER": "subprocess" if self.keyring else "",
            # pip takes the best version of all indexes, uv by itself that of the first that has any.
            "UV_INDEX_STRATEGY": "unsafe-best-match" if self.extra else "",
        }
        return {**{key: value for key, value in told.items() if value}, **environment}

    def pip_variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of a process that runs pip: these indexes, and no configuration file."""
        told = {
            "PIP_INDEX_URL": self.default or "",
            "PIP_EXTRA_INDEX_URL": " ".join(self.extra),
            "PIP_FIND_LINKS": " ".join(self.find_links),
            "PIP_TRUSTED_HOST": " ".join(self.trusted),
            "PIP_CLIENT_CERT": environment.get("SSL_CLIENT_CERT", ""),
            "PIP_CERT": str(authorities(environment) or ""),
        }
        return {
            **{key: value for key, value in environment.items() if key in _KEPT or key.startswith("LC_")},
            **{key: value for key, value in told.items() if value},
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "PIP_KEYRING_PROVIDER": "subprocess" if self.keyring else "disabled",
        }


def user_indexes(environment: Mapping[str, str]) -> Indexes:
    """The package indexes that ``environment``, and the configuration files it leads to, name."""
    for indexes in (
        _uv_variables(environment),
        *map(_uv_file, _uv_files(environment)),
        _pip_variables(environment),
        *map(_pip_file, _pip_files(environment)),
    ):
        if indexes is not None and indexes.addresses:
            # Who keeps passwords in a keyring says so once, not for each tool.
            return replace(indexes, keyring=indexes.keyring or _keyring(environment))
    return Indexes(keyring=_keyring(environment))


def _keyring(environment: Mapping[str, str]) -> bool:
    if environment.get("UV_KEYRING_PROVIDER") == "subprocess":
        return True
    return environment.get("PIP_KEYRING_PROVIDER") in ("subprocess", "import")


def _uv_variables(environment: Mapping[str, str]) -> Indexes:
    def words(name: str) -> tuple[str, ...]:
        return tuple(environment.get(name, "").split())

    default = words("UV_DEFAULT_INDEX") or words("UV_INDEX_URL")
    return Indexes(
        default=_uv_index(default[0], environment) if default else None,
        extra=tuple(
            _uv_index(word, environment) for word in (*words("UV_INDEX"), *words("UV_EXTRA_INDEX_URL"))
        ),
        find_links=tuple(link for link in re.split(r"[,\s]+", environment.get("UV_FIND_LINKS", "")) if link),
        trusted=words("UV_INSECURE_HOST"),
        origin="uv's variables",
    )


def _uv_index(word: str, environment: Mapping[str, str]) -> str:
    """The address of ``[NAME=]URL``, with the credentials that uv has variables for."""
    named = _NAMED.fullmatch(word)
    return _named_index(named[1], named[2], environment) if named else word


def _named_index(name: str, url: str, environment: Mapping[str, str]) -> str:
    key = "UV_INDEX_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
    user, password = environment.get(f"{key}_USERNAME", ""), environment.get(f"{key}_PASSWORD", "")
    parts = urlsplit(url)
    if not (user or password) or "@" in parts.netloc:
        return url
    told = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{told}@{parts.netloc}"))


def _uv_files(environment: Mapping[str, str]) -> Iterator[tuple[Path, Mapping[str, str]]]:
    if environment.get("UV_NO_CONFIG"):
        return
    if chosen := environment.get("UV_CONFIG_FILE"):
        yield Path(chosen), environment
        return
    if (home := _config_home(environment)) is not None:
        yield home / "uv" / "uv.toml", environment
    for directory in environment.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":"):
        yield Path(directory) / "uv" / "uv.toml", environment
    yield Path("/etc/uv/uv.toml"), environment


def _uv_file(place: tuple[Path, Mapping[str, str]]) -> Indexes | None:
    path, environment = place
    try:
        table = tomli.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None  # uv says what is wrong with it
    default, extra = _text(table.get("index-url")), _texts(table.get("extra-index-url"))
    entries = table.get("index")
    for entry in entries if isinstance(entries, list) else ():
        url = _text(entry.get("url")) if isinstance(entry, dict) else None
        if url is None:
            continue
        url = _named_index(str(entry.get("name", "")), url, environment)
        if entry.get("default") is True:
            default = url
        else:
            extra = (*extra, url)
    return Indexes(
        default,
        extra,
        _texts(table.get("find-links")),
        _texts(table.get("allow-insecure-host")),
        table.get("keyring-provider") == "subprocess",
        str(path),
    )


def _pip_variables(environment: Mapping[str, str]) -> Indexes:
    values = {
        key.removeprefix("PIP_").lower().replace("_", "-"): value
        for key, value in environment.items()
        if key.startswith("PIP_")
    }
    return _pip_indexes(values, "pip's variables")


def _pip_files(environment: Mapping[str, str]) -> Iterator[Path]:
    if chosen := environment.get("PIP_CONFIG_FILE"):
        yield Path(chosen)  # /dev/null means: none at all
        if chosen == os.devnull:
            return
    if (home := _config_home(environment)) is not None:
        yield home / "pip" / "pip.conf"
    if home_directory := environment.get("HOME"):
        yield Path(home_directory) / ".pip" / "pip.conf"
    yield Path("/etc/pip.conf")
    for directory in environment.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":"):
        yield Path(directory) / "pip" / "pip.conf"


def _pip_file(path: Path) -> Indexes | None:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text("utf-8"))
    except (OSError, ValueError, configparser.Error):
        return None  # pip says what is wrong with it
    values: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            values |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    return _pip_indexes(values, f"pip's {path}")


def _pip_indexes(values: Mapping[str, str], origin: str) -> Indexes:
    default = _remote(values.get("index-url", "").split()[:1])
    return Indexes(
        default[0] if default else None,
        _remote(values.get("extra-index-url", "").split()),
        _remote(values.get("find-links", "").split()),
        tuple(values.get("trusted-host", "").split()),
        values.get("keyring-provider", "") in ("subprocess", "import"),
        origin,
    )


def _remote(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(address for address in addresses if address.startswith(("https://", "http://")))


def _config_home(environment: Mapping[str, str]) -> Path | None:
    if chosen := environment.get("XDG_CONFIG_HOME"):
        return Path(chosen)
    home = environment.get("HOME")
    return Path(home) / ".config" if home else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
