"""Running the ``uv`` program where nothing of a repository can reach it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import tomli
import uv
from packaging.pylock import Pylock, PylockValidationError

from envbuild.certificates import authorities
from envbuild.errors import MachineError, RemoteError
from envbuild.store import Store
from envbuild.store.store import disk_errors

__all__ = ["Uv", "UvFailure"]

_SECONDS = 900
# What of the user's environment uv gets: who they are, how to reach the network, and which indexes they use.
# Everything that would change *what* is locked (UV_CONSTRAINT, UV_PYTHON, UV_EXCLUDE_NEWER, ...) stays out.
_KEPT = frozenset(
    {
        *("HOME", "USER", "LOGNAME", "PATH", "TMPDIR", "LANG", "NETRC", "SSLKEYLOGFILE"),
        *("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT", "DBUS_SESSION_BUS_ADDRESS"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"),
        *("UV_INDEX_STRATEGY", "UV_KEYRING_PROVIDER", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_INSECURE_HOST"),
        *("UV_CONFIG_FILE", "UV_NO_CONFIG", "UV_CREDENTIALS_DIR", "UV_PRERELEASE", "UV_OFFLINE"),
    }
)
_KEPT_PREFIXES = ("UV_INDEX_", "UV_HTTP_", "UV_REQUEST_", "UV_CONCURRENT_", "LC_")


class UvFailure(Exception):
    """uv ended with an error; ``reason`` is what it said."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Uv:
    """The uv program with the user's own settings and a private cache.

    ``environment`` is the user's (normally ``os.environ``); it may hold credentials and is not shown.
    """

    store: Store
    environment: Mapping[str, str] = field(repr=False)
    offline: bool = False
    # Found once, before any thread asks: sysconfig's first use is not safe in several.
    program: str = field(default_factory=lambda: _program())

    def compile(
        self,
        requirements: Sequence[str],
        *,
        constraints: Sequence[str] = (),
        preferences: Mapping[str, str],
        python: str,
        uv_platform: str,
        options: Sequence[str] = (),
    ) -> Pylock:
        """``uv pip compile``: solve ``requirements`` (PEP 508, one per item) with wheels only.

        Parameters:
            preferences: versions by name that are kept unless they do not fit.
            python: exact version of the target.
            uv_platform: uv's name of the target (``x86_64-manylinux_2_36``).

        Raises:
            UvFailure: no solution, or uv could not work.
            MachineError, RemoteError: uv cannot be started, or does not end.
        """
        with self._private_directory() as directory:
            (directory / "requirements.in").write_text(_lines(requirements), "utf-8")
            (directory / "constraints.txt").write_text(_lines(constraints), "utf-8")
            output = directory / "pylock.toml"
            if preferences:
                output.write_text(_preferences(preferences), "utf-8")
            self._run(
                directory,
                [
                    *("pip", "compile", "requirements.in", "--constraints", "constraints.txt"),
                    *("--output-file", output.name, "--format", "pylock.toml", "--no-header"),
                    *("--only-binary", ":all:", "--python-platform", uv_platform, "--python-version", python),
                    *options,
                ],
            )
            return self._read(output.read_bytes())

    def export(self, files: Mapping[str, bytes], *, options: Sequence[str]) -> Pylock:
        """``uv export --frozen``: what a ``uv.lock`` says, with nothing solved again.

        Parameters:
            files: relative path -> content of ``uv.lock`` and the ``pyproject.toml`` files it belongs to.
            options: which extras and groups.

        Raises:
            UvFailure: uv does not accept the files.
        """
        with self._private_directory() as directory:
            for name, content in files.items():
                path = directory / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            self._run(
                directory,
                [
                    *("export", "--frozen", "--no-config", "--no-header", "--format", "pylock.toml"),
                    *("--output-file", "pylock.toml", *options),
                ],
            )
            return self._read((directory / "pylock.toml").read_bytes())

    @contextmanager
    def _private_directory(self) -> Iterator[Path]:
        """A directory to run uv in, from which it finds no configuration but the user's own.

        uv looks for ``uv.toml`` and for the workspace's ``pyproject.toml`` in the directories above the
        current one; the first it finds ends the search. The cache may be inside a repository.
        """
        with self.store.temporary_directory() as barrier, disk_errors(self.store.root):
            (barrier / "uv.toml").touch()
            (barrier / "pyproject.toml").write_text("[tool.uv.workspace]\nmembers = []\n")
            directory = barrier / "project"
            directory.mkdir()
            yield directory

    def _run(self, directory: Path, arguments: Sequence[str]) -> None:
        command = [
            *(self.program, *arguments),
            *("--python", sys.executable, "--no-python-downloads"),
            *("--cache-dir", str(self.store.uv), "--quiet", "--color", "never", "--no-progress"),
            *(("--offline",) if self.offline else ()),
        ]
        environment = {
            key: value
            for key, value in self.environment.items()
            if key in _KEPT or key.startswith(_KEPT_PREFIXES)
        }
        environment.setdefault("UV_HTTP_RETRIES", "2")  # a network that is not there is given up in seconds
        # By itself uv trusts only the authorities it was built with.
        if (bundle := authorities(self.environment)) is not None:
            environment["SSL_CERT_FILE"] = str(bundle)
        try:
            result = subprocess.run(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_SECONDS,
            )
        except OSError as error:
            raise _no_uv(error.strerror or "unknown reason") from error
        except subprocess.TimeoutExpired as error:
            raise RemoteError(
                f"uv did not finish in {_SECONDS} seconds",
                code="index-timeout",
                remedy="check the network and the package index, then try again",
            ) from error
        if result.returncode != 0:
            raise UvFailure(result.stderr.decode("utf-8", "replace"))

    def _read(self, data: bytes) -> Pylock:
        try:
            return Pylock.from_dict(tomli.loads(data.decode()))
        except (ValueError, PylockValidationError) as error:
            raise MachineError(
                f"uv's answer cannot be read: {error}",
                code="bad-uv-answer",
                remedy="report this, with the output of `uv --version`",
            ) from error


def _program() -> str:
    try:
        return uv.find_uv_bin()
    except FileNotFoundError as error:
        raise _no_uv("it is not installed") from error


def _no_uv(why: str) -> MachineError:
    return MachineError(
        f"uv cannot be started: {why}",
        code="no-uv",
        remedy="reinstall envbuild: uv is one of its dependencies",
    )


def _lines(requirements: Sequence[str]) -> str:
    return "".join(f"{requirement}\n" for requirement in requirements)


def _preferences(versions: Mapping[str, str]) -> str:
    """A pylock file with nothing but names and versions, which uv takes as an earlier answer."""
    tables = "".join(
        f'\n[[packages]]\nname = "{name}"\nversion = "{version}"\n'
        for name, version in sorted(versions.items())
    )
    return 'lock-version = "1.0"\ncreated-by = "envbuild"\n' + tables
