"""Running the ``uv`` program where nothing of a repository can reach it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import tomli
import uv
from packaging.pylock import Pylock, PylockValidationError

from envbuild.certificates import authorities
from envbuild.errors import MachineError, RemoteError
from envbuild.store import Store
from envbuild.store.disk import disk_errors

__all__ = ["Known", "Uv", "UvFailure"]

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
class Known:
    """What a source distribution depends on, so that uv need not look: PEP 508 texts and a specifier.

    Without ``version`` it holds for all versions that are not named.
    """

    name: str
    version: str | None = None
    requires: tuple[str, ...] = ()
    requires_python: str | None = None
    extras: tuple[str, ...] = ()

    @property
    def toml(self) -> str:
        """The statement in uv's configuration. A JSON string is a TOML string, but for DEL."""
        values: dict[str, str | tuple[str, ...] | None] = {
            "name": self.name,
            "version": self.version,
            "requires-dist": self.requires,
            "requires-python": self.requires_python,
            "provides-extra": self.extras,
        }
        lines = (f"{key} = {json.dumps(value)}\n" for key, value in values.items() if value is not None)
        return "\n[[dependency-metadata]]\n" + "".join(lines)


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
        known: Sequence[Known] = (),
        wheels: Mapping[str, Path] = MappingProxyType({}),
    ) -> Pylock:
        """``uv pip compile``: solve ``requirements`` (PEP 508, one per item) with wheels only.

        Parameters:
            known: packages that may be source distributions, and what they depend on. Each must be there
                once without a version, or uv would run their builds.
            wheels: file name -> wheel, for requirements like ``name @ ./FILENAME``.
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
            for filename, path in wheels.items():
                (directory / filename).symlink_to(path)
            output = directory / "pylock.toml"
            if preferences:
                output.write_text(_preferences(preferences), "utf-8")
            self._run(
                directory,
                [
                    *("pip", "compile", "requirements.in", "--constraints", "constraints.txt"),
                    *("--output-file", output.name, "--format", "pylock.toml", "--no-header"),
                    *("--only-binary", ":all:", "--python-platform", uv_platform, "--python-version", python),
                    *(option for one in known if one.version is None for option in ("--no-binary", one.name)),
                    *options,
                ],
                known=known,
            )
            return self._read(output.read_bytes())

    def indexes(self) -> tuple[str, ...]:
        """The addresses of the user's package indexes (uv's default if they have no other) and link pages.

        Nothing is asked of anybody.

        Raises:
            UvFailure: the user's configuration of uv cannot be used.
        """
        with self._private_directory() as directory:
            (directory / "requirements.in").touch()
            options = ["--emit-index-url", "--emit-find-links", "--no-header", "--offline"]
            output = ["--output-file", "requirements.txt"]
            self._run(directory, ["pip", "compile", "requirements.in", *options, *output])
            lines = (directory / "requirements.txt").read_text("utf-8").splitlines()
        words = [line.split() for line in lines]
        return tuple(line[1] for line in words if len(line) == 2 and line[0].startswith("--"))

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

    def _run(self, directory: Path, arguments: Sequence[str], *, known: Sequence[Known] = ()) -> None:
        """Run uv in ``directory``; ``known`` is added to the user's own configuration."""
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
        if known:
            self._configure(directory, environment, "".join(one.toml for one in known))
        # By itself uv trusts only the authorities it was built with.
        if (bundle := authorities(self.environment)) is not None:
            environment["SSL_CERT_FILE"] = str(bundle)
        if known:
            shown = [*(word for word in command if word != "--quiet"), "--show-settings"]
            _check_known(self._output(shown, directory, environment).stdout, known)
        result = self._output(command, directory, environment)
        if result.returncode != 0:
            raise UvFailure(result.stderr.decode("utf-8", "replace"))

    def _output(
        self, command: Sequence[str], directory: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
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

    def _configure(self, directory: Path, environment: dict[str, str], configuration: str) -> None:
        """Have uv read ``configuration``, even when the user tells it to read one file only, or none."""
        own = directory.parent / "uv.toml"  # the workspace's, see _private_directory
        user = environment.get("UV_CONFIG_FILE")
        if environment.pop("UV_NO_CONFIG", "").lower() in ("1", "true", "yes", "on"):
            user, environment["UV_CONFIG_FILE"] = None, str(own)
        try:
            text = Path(user).read_text("utf-8") if user else ""
        except (OSError, UnicodeDecodeError) as error:
            raise MachineError(
                f"uv's configuration file {user} cannot be read: {error}",
                code="bad-uv-configuration",
                remedy="correct UV_CONFIG_FILE",
            ) from error
        own.write_text(f"{text}\n{configuration}", "utf-8")
        if user:
            environment["UV_CONFIG_FILE"] = str(own)

    def _read(self, data: bytes) -> Pylock:
        try:
            return Pylock.from_dict(tomli.loads(data.decode()))
        except (ValueError, PylockValidationError) as error:
            raise MachineError(
                f"uv's answer cannot be read: {error}",
                code="bad-uv-answer",
                remedy="report this, with the output of `uv --version`",
            ) from error


def _check_known(settings: bytes, known: Sequence[Known]) -> None:
    """Refuse to go on unless uv has understood that it need not look into what is ``known``.

    It would run the builds of these packages otherwise, on this machine and outside of any sandbox.

    Parameters:
        settings: what ``uv --show-settings`` prints.
    """
    text = settings.decode("utf-8", "replace")
    table = re.search(r"dependency_metadata: DependencyMetadata\(\n(.*?)\n {8}\),\n", text, re.DOTALL)
    understood = set(
        re.findall(r'name: PackageName\(\s*"([^"]+)",\s*\),\s*version: None', table[1] if table else "")
    )
    if not {one.name for one in known} <= understood:
        raise MachineError(
            "this uv does not say that it will leave source distributions alone",
            code="uv-unknown",
            remedy="install the version of uv that envbuild's pyproject.toml names",
        )


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
