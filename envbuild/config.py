"""Settings: where each one may come from, and which source wins.

In order of precedence::

    command line flag > the repository's file > ENVBUILD_* variable > the user's file > default

The repository's file is ``[tool.envbuild]`` in its ``pyproject.toml``, or ``envbuild.toml``; the user's is
``envbuild/config.toml`` in the platform's configuration directory. A repository is not trusted: it may
say what its image is (:attr:`Option.repository`), never where this machine keeps, fetches or runs things.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import platformdirs
import tomli

from envbuild.errors import EnvbuildError, RepoError, UsageError
from envbuild.image.reference import is_reference, is_repository_name
from envbuild.network.indexes import user_indexes
from envbuild.outputs.settings import OutputSettings, read_output_settings

__all__ = [
    "OPTIONS",
    "Option",
    "Settings",
    "load_settings",
    "parse_repository_config",
    "read_user_config",
    "repository_table",
    "setting_place",
    "user_config_path",
]

PLATFORMS = ("linux/amd64", "linux/arm64")
COMPRESSIONS = ("zstd", "gzip")
RESOLVERS = ("uv", "pip-tools")
NETWORK_STEPS = ("postBuild", "build")
DRIFTS = ("warn", "error")
ENGINES = ("auto", "bubblewrap", "docker", "podman")
REPOSITORY_EXAMPLE = "registry.example.org/team/envs"
IMAGE_EXAMPLE = "registry.example.org/team/python:3.12"

_TRUSTED = "layers found in a registry are used as they are, so who names it decides what runs"

_ATTESTED = "what is said about an image is said by whoever builds it"

# Tables of a repository's file that belong to one verb, which reads them itself.
_TABLES = frozenset({"check"})

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


@dataclass(frozen=True, slots=True)
class Option:
    """One setting.

    ``key`` is its name in configuration files; the variable is ``ENVBUILD_`` and the key in capitals.
    ``choices`` are the values allowed (for a list: of each element). ``repository`` tells that a
    repository's own file may set it; ``reason`` why it may not.
    """

    key: str
    kind: Literal["text", "list", "number", "switch", "image", "image repository", "outputs"]
    repository: bool = False
    choices: tuple[str, ...] = ()
    reason: str = "it concerns the machine, not the image"

    @property
    def variable(self) -> str:
        """The environment variable.

        >>> Option("cache-dir", "text").variable
        'ENVBUILD_CACHE_DIR'
        """
        return "ENVBUILD_" + self.key.upper().replace("-", "_")

    @property
    def attribute(self) -> str:
        """The attribute of :class:`Settings`.

        >>> Option("cache-dir", "text").attribute
        'cache_dir'
        """
        return self.key.replace("-", "_")


OPTIONS: tuple[Option, ...] = (
    Option("name", "text", repository=True),
    Option("python", "text", repository=True),
    Option("base", "image", repository=True),
    Option("extras", "list", repository=True),
    Option("groups", "list", repository=True),
    Option("requirements", "list", repository=True),
    Option("platforms", "list", repository=True, choices=PLATFORMS),
    Option("compression", "text", repository=True, choices=COMPRESSIONS),
    Option("resolver", "text", repository=True, choices=RESOLVERS),
    Option("exclude-newer", "text", repository=True),
    Option("network", "list", repository=True, choices=NETWORK_STEPS),
    Option("include", "list", repository=True),
    Option("exclude", "list", repository=True),
    Option("inputs", "list", repository=True),
    Option("verify", "outputs", repository=True),
    Option("drift", "text", repository=True, choices=DRIFTS),
    Option("subdir", "text"),
    Option("engine", "text", choices=ENGINES),
    Option("jobs", "number"),
    Option("step-memory", "number"),
    Option("step-timeout", "number"),
    Option("offline", "switch"),
    Option("cache-dir", "text"),
    Option("pypi-index", "text"),
    Option("conda-channels", "list"),
    Option("debian-mirror", "text"),
    Option("debian-security-mirror", "text"),
    Option("repo2docker-base-image", "text"),
    Option("registry", "image repository", reason=_TRUSTED),
    Option("registry-cache", "switch", reason=_TRUSTED),
    Option("plain-http", "list"),
    Option("sbom", "switch", reason=_ATTESTED),
    Option("provenance", "switch", reason=_ATTESTED),
    Option("sign-key", "text", reason=_ATTESTED),
    Option("audit-log", "text"),
    Option("actor", "text"),
    Option("metrics-file", "text"),
    Option("metrics-push", "text"),
    Option("kube-context", "text"),
    Option("namespace", "text"),
    Option("builder-image", "image"),
    Option("registry-secret", "text"),
    Option("config-map", "text"),
    Option("ca-config-map", "text"),
    Option("pod-template", "text"),
    Option("job-timeout", "number"),
)
_BY_KEY = {option.key: option for option in OPTIONS}


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting's value, wherever it came from.

    ``base`` is an image of a registry to build on, None when a base that fits is made; ``jobs`` is the number
    of parallel workers; ``platforms`` is empty when the host's is meant; ``resolver`` is None when the
    repository's files decide; ``drift`` is what it is to ``run`` when notebooks change their environment
    (``warn`` or ``error``); ``network`` are the steps that may reach it, ``step_memory`` (GiB) and
    ``step_timeout`` (minutes) what each may use; the mirrors and the index are base URLs, None when they are
    found out at run time. ``verify`` is how outputs are compared.
    ``registry`` is the repository in a registry that is the shared cache;
    ``registry_cache`` tells whether layers that are found in registries are used, ``plain_http`` which of
    them may be talked to without TLS. ``audit_log`` is the file that builds and pushes are recorded in, as
    done by ``actor``; ``metrics_file`` and ``metrics_push`` (a Pushgateway's address) are where metrics go.
    ``kube_context`` to ``job_timeout`` (minutes) are about builds in a cluster (docs/jobs.md).
    """

    cache_dir: Path
    name: str | None = None
    python: str | None = None
    base: str | None = None
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    compression: str = "zstd"
    resolver: str | None = None
    exclude_newer: str | None = None
    network: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    verify: OutputSettings = field(default_factory=OutputSettings)
    drift: str = "warn"
    subdir: str | None = None
    engine: str = "auto"
    jobs: int = 1
    step_memory: int = 8
    step_timeout: int = 60
    offline: bool = False
    pypi_index: str | None = None
    conda_channels: tuple[str, ...] = ()
    debian_mirror: str | None = None
    debian_security_mirror: str | None = None
    repo2docker_base_image: str | None = None
    registry: str | None = None
    registry_cache: bool = True
    plain_http: tuple[str, ...] = ()
    sbom: bool = False
    provenance: bool = False
    sign_key: str | None = None
    audit_log: str | None = None
    actor: str | None = None
    metrics_file: str | None = None
    metrics_push: str | None = None
    kube_context: str | None = None
    namespace: str | None = None
    builder_image: str | None = None
    registry_secret: str | None = None
    config_map: str | None = None
    ca_config_map: str | None = None
    pod_template: str | None = None
    job_timeout: int = 60

    @property
    def source_addresses(self) -> dict[str, str]:
        """The named sources (lock/model.py) whose address the user chose -> that address."""
        chosen = {
            "pypi": self.pypi_index,
            "debian": self.debian_mirror,
            "debian-security": self.debian_security_mirror,
        }
        return {name: address for name, address in chosen.items() if address}

    @property
    def channel_mirrors(self) -> dict[str, str]:
        """Where the user says conda channels are: address by name (``*`` for all others that have one)."""
        pairs = (text.partition("=") for text in self.conda_channels)
        return {channel: address for channel, _, address in pairs}

    def tool_environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """``environment`` for uv: with the index that was chosen here, or in pip's configuration."""
        chosen = {**environment, "UV_DEFAULT_INDEX": self.pypi_index} if self.pypi_index else environment
        return user_indexes(chosen).uv_variables(chosen)


def load_settings(
    *,
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    user: Mapping[str, Any] | None = None,
    repository: Mapping[str, Any] | None = None,
) -> Settings:
    """Merge what each place says, strongest last.

    Parameters:
        flags: attribute name -> value; None and empty sequences mean "not given".
        environment: environment variables (only ``ENVBUILD_*`` are looked at).
        user: what :func:`read_user_config` returned.
        repository: what :func:`parse_repository_config` returned.

    Raises:
        UsageError: an environment variable has a value that cannot be read.
    """
    values: dict[str, Any] = {
        "cache_dir": platformdirs.user_cache_dir("envbuild", appauthor=False),
        "jobs": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    }
    values |= user or {}
    values |= _from_environment(environment)
    values |= repository or {}
    values |= {name: value for name, value in flags.items() if value is not None and value != ()}
    values["cache_dir"] = Path(values["cache_dir"]).expanduser().absolute()
    known = {one.name for one in fields(Settings)}
    return Settings(**{name: value for name, value in values.items() if name in known})


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for option in OPTIONS:
        text = environment.get(option.variable, "")
        if not text or option.kind == "outputs":  # a table does not go into a variable
            continue
        value: Any = text
        if option.kind == "list":
            value = text.split()
        elif option.kind == "number":
            value = int(text) if text.isdecimal() else text
        elif option.kind == "switch":
            lowered = text.lower()
            value = True if lowered in _TRUE else False if lowered in _FALSE else text
        trouble = _trouble(option, value)
        if trouble:
            raise UsageError(
                f"{option.variable} {trouble}", code="bad-setting", remedy="correct the variable or unset it"
            )
        values[option.attribute] = tuple(value) if option.kind == "list" else value
    return values


def user_config_path() -> Path:
    """Where the user's own configuration file is, or would be."""
    return Path(platformdirs.user_config_dir("envbuild", appauthor=False)) / "config.toml"


def read_user_config(path: Path) -> dict[str, Any]:
    """The settings of the user's own file; empty when there is none.

    Raises:
        UsageError: the file is not TOML, or a key or value in it is not known.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot be read: {error}", code="bad-config", file=str(path)) from error
    table = _toml(text, str(path), UsageError)
    return _checked(table, text, "", str(path), from_repository=False)


def parse_repository_config(*, pyproject: str | None, own: str | None) -> dict[str, Any]:
    """The settings of a repository's files.

    Parameters:
        pyproject: the text of its ``pyproject.toml``, None when it has none.
        own: the text of its ``envbuild.toml``, None when it has none.

    Raises:
        RepoError: a file is not TOML, both configure envbuild, or a key or value is not allowed.
    """
    section: Any = None
    if pyproject is not None:
        tool = _toml(pyproject, "pyproject.toml", RepoError).get("tool")
        section = tool.get("envbuild") if isinstance(tool, dict) else None
    if own is not None:
        if section is not None:
            raise RepoError(
                "envbuild is configured here and in envbuild.toml",
                code="two-configs",
                file="pyproject.toml",
                line=_line_of(pyproject or "", "tool.envbuild", None),
                remedy="keep one: delete envbuild.toml or [tool.envbuild]",
            )
        return _checked(
            _toml(own, "envbuild.toml", RepoError), own, "", "envbuild.toml", from_repository=True
        )
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise RepoError("tool.envbuild must be a table", code="bad-config", file="pyproject.toml")
    return _checked(section, pyproject or "", "tool.envbuild", "pyproject.toml", from_repository=True)


def setting_place(key: str, *, pyproject: str | None, own: str | None) -> tuple[str, int | None] | None:
    """The file and line in which a repository sets ``key``; None when it does not.

    Parameters: as for :func:`parse_repository_config`, which found nothing wrong with them.
    """
    if own is not None:
        found = _toml(own, "envbuild.toml", RepoError)
        return ("envbuild.toml", _line_of(own, "", key)) if key in found else None
    section = _toml(pyproject or "", "pyproject.toml", RepoError).get("tool", {}).get("envbuild", {})
    return ("pyproject.toml", _line_of(pyproject or "", "tool.envbuild", key)) if key in section else None


def repository_table(name: str, *, pyproject: str | None, own: str | None) -> tuple[Any, str | None]:
    """The table ``name`` in a repository's configuration of envbuild, unchecked, and the file it is in.

    Parameters: as for :func:`parse_repository_config`, which found nothing wrong with them.
    """
    if own is not None:
        return _toml(own, "envbuild.toml", RepoError).get(name), "envbuild.toml"
    tool = _toml(pyproject or "", "pyproject.toml", RepoError).get("tool", {})
    return tool.get("envbuild", {}).get(name), "pyproject.toml"


def _toml(text: str, file: str, error_type: type[EnvbuildError]) -> dict[str, Any]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise error_type(
            f"not valid TOML: {error.msg}", code="bad-toml", file=file, line=error.lineno
        ) from error
    except RecursionError as error:
        raise error_type("not valid TOML: nested too deeply", code="bad-toml", file=file) from error


def _checked(
    table: dict[str, Any], text: str, section: str, file: str, *, from_repository: bool
) -> dict[str, Any]:
    """``table`` with keys turned into attribute names, every key known and every value of its kind."""
    error_type = RepoError if from_repository else UsageError
    values: dict[str, Any] = {}
    for key, value in table.items():
        if from_repository and key in _TABLES:
            continue
        line = _line_of(text, section, key)
        option = _BY_KEY.get(key)
        if option is None:
            near = difflib.get_close_matches(key, _BY_KEY, n=1)
            raise error_type(
                f"unknown setting {key!r}",
                code="unknown-setting",
                file=file,
                line=line,
                remedy=f"did you mean {near[0]!r}?"
                if near
                else f"known settings: {', '.join(sorted(_BY_KEY))}",
            )
        if from_repository and not option.repository:
            raise RepoError(
                f"a repository may not set {key!r}: {option.reason}",
                code="setting-not-allowed",
                file=file,
                line=line,
                remedy=f"remove it here; set {option.variable}, or {key!r} in your own {user_config_path()}",
            )
        trouble = _trouble(option, value)
        if trouble:
            raise error_type(f"{key} {trouble}", code="bad-setting", file=file, line=line)
        values[option.attribute] = _read(option, value)
    return values


def _read(option: Option, value: Any) -> Any:
    """The setting that a checked ``value`` of a file means."""
    if option.kind == "outputs":
        return read_output_settings(value)
    return tuple(value) if option.kind == "list" else value


def _trouble(option: Option, value: Any) -> str | None:
    """What is wrong with ``value``, as the end of a sentence; None when nothing is."""
    match option.kind:
        case "switch":
            return None if isinstance(value, bool) else "must be true or false"
        case "number":
            is_number = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1024
            return None if is_number else "must be a number between 1 and 1024"
        case "list":
            if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
                return "must be a list of texts"
            wrong = [item for item in value if option.choices and item not in option.choices]
        case "image repository":
            fits = isinstance(value, str) and is_repository_name(value)
            return None if fits else f"must be a repository in a registry, like {REPOSITORY_EXAMPLE}"
        case "image":
            fits = isinstance(value, str) and is_reference(value)
            return None if fits else f"must be an image in a registry, like {IMAGE_EXAMPLE}"
        case "outputs":
            try:
                read_output_settings(value)
            except ValueError as error:
                return str(error)
            return None
        case "text":
            if not isinstance(value, str) or not value:
                return "must be a text"
            wrong = [value] if option.choices and value not in option.choices else []
    if wrong:
        return f"cannot be {wrong[0]!r}: choose from {', '.join(option.choices)}"
    return None


def _line_of(text: str, section: str, key: str | None) -> int | None:
    """The 1-based line where ``key`` is set in ``[section]`` (or where ``[section]`` is), if it can be seen.

    A TOML parser gives values, not positions. Looking for the header and the key finds them however
    people really write them; a form it does not find costs only the line number.
    """
    here = ""
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line)
        if header:
            here = re.sub(r"[\"'\s]", "", header[1])
            if key is None and here == section:
                return number
            if key is not None and here == f"{section}.{key}".removeprefix("."):
                return number
        elif (
            key is not None and here == section and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line)
        ):
            return number
    return None
