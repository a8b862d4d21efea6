"""Options that several verbs share, and the values they take."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import click

import envbuild
from envbuild.config import (
    COMPRESSIONS,
    ENGINES,
    NETWORK_STEPS,
    PLATFORMS,
    REPOSITORY_EXAMPLE,
    RESOLVERS,
)

__all__ = [
    "AGE",
    "DURATION",
    "LOG_FORMAT",
    "LOG_FORMATS",
    "SIZE",
    "CommandWithRest",
    "audit_options",
    "chain",
    "common_options",
    "compression_option",
    "contents_options",
    "context_option",
    "engine_option",
    "environment_options",
    "jobs_option",
    "lock_options",
    "locked_option",
    "metrics_options",
    "plain_http_option",
    "platform_option",
    "registry_options",
    "rest_of_command_line",
    "source_argument",
    "spec_options",
    "step_options",
    "subdir_option",
    "warm_namespace_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])
_REST = "envbuild.rest"
LOG_FORMAT = "ENVBUILD_LOG_FORMAT"
LOG_FORMATS = ("text", "json")


class _Measure(click.ParamType):  # type: ignore[type-arg]  # generic only in newer click
    """A number with a unit, as one of the smallest unit."""

    def __init__(self, name: str, units: Mapping[str, float], example: str, *, whole: bool = True) -> None:
        self.name = name
        self._units = units
        self._example = example
        self._whole = whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """``"30d"`` or ``"10G"`` as seconds or bytes."""
        if isinstance(value, (int, float)):
            return value
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([A-Za-z]*)", value.strip())
        unit = self._units.get(match[2].lower()) if match else None
        if match is None or unit is None:
            self.fail(f"{value!r} is not {self._example}", param, ctx)
        amount = float(match[1]) * unit
        return int(amount) if self._whole else amount


AGE = _Measure("AGE", {"d": 86400, "h": 3600, "m": 60, "w": 604800}, "an age like 30d, 12h or 2w")
DURATION = _Measure(
    "TIME", {"": 1, "s": 1, "ms": 0.001, "m": 60, "h": 3600}, "a time like 5s, 500ms or 2m", whole=False
)
SIZE = _Measure(
    "SIZE",
    {"": 1, "b": 1}
    | {prefix + suffix: 1000**power for power, prefix in enumerate("kmgt", 1) for suffix in ("", "b")}
    | {f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgt", 1)},
    "a size like 500M, 10G or 10GiB",
)


class CommandWithRest(click.Command):
    """A command that keeps what follows ``--`` apart, instead of mixing it with the arguments before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See :meth:`click.Command.parse_args`."""
        if "--" in args:
            cut = args.index("--")
            args, ctx.meta[_REST] = args[:cut], tuple(args[cut + 1 :])
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """See :meth:`click.Command.collect_usage_pieces`."""
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENTS...]"]


def rest_of_command_line() -> tuple[str, ...] | None:
    """What followed ``--`` for a :class:`CommandWithRest`; None when there was no ``--``."""
    rest: tuple[str, ...] | None = click.get_current_context().meta.get(_REST)
    return rest


def chain(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """One decorator that adds several options, in the order they are shown."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


subdir_option = click.option(
    "--subdir", metavar="DIR", help="The directory in SOURCE that is meant. Default: the top."
)
source_argument = chain(click.argument("source", default=".", metavar="[SOURCE]"), subdir_option)

platform_option = click.option(
    "--platform",
    "platforms",
    multiple=True,
    type=click.Choice(PLATFORMS),
    help="What the image is for; repeatable. Default: this machine's architecture.",
)
compression_option = click.option(
    "--compression",
    type=click.Choice(COMPRESSIONS),
    help="How layers are compressed; gzip is for Docker before 23.",
)
jobs_option = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="How much is done at once. Default: the CPUs.",
)
engine_option = click.option(
    "--engine", type=click.Choice(ENGINES), help="What runs images, and steps of a build. Default: auto."
)
locked_option = click.option(
    "--locked", is_flag=True, help="Fail instead of locking when envbuild.lock is missing or out of date."
)
output_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write it. Default: standard output.",
)
warm_namespace_option = click.option(
    "--namespace",
    "where",
    metavar="NAME",
    help="Where the pods that keep images are. Default: the fleet's namespace.",
)
context_option = click.option(
    "--context",
    "kube_context",
    metavar="NAME",
    help="The context of the kubeconfig. Default: its current one.",
)
plain_http_option = click.option(
    "--plain-http",
    multiple=True,
    metavar="REGISTRY",
    help="Talk to this registry (HOST:PORT) also without TLS; repeatable.",
)


audit_options = chain(
    click.option(
        "--audit-log",
        metavar="FILE",
        help="Append who built and pushed what, a JSON object a line; without it nothing is pushed.",
    ),
    click.option("--actor", metavar="NAME", help="Who this is done for, as it is to be in the audit file."),
)


metrics_options = chain(
    click.option(
        "--metrics-file",
        metavar="FILE",
        help="Write metrics of all runs with this cache, for node_exporter's textfile collector.",
    ),
    click.option(
        "--metrics-push", metavar="URL", help="Push metrics of this run to this Prometheus Pushgateway."
    ),
)


class _RepositoryName(click.ParamType):  # type: ignore[type-arg]  # generic only in newer click
    """A repository in a registry, in full and without a tag."""

    name = "repository"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, as it is."""
        from envbuild.image.reference import is_repository_name

        if not is_repository_name(str(value)):
            self.fail(f"{value!r} is not a repository in a registry, like {REPOSITORY_EXAMPLE}", param, ctx)
        return str(value)


registry_options = chain(
    click.option(
        "--registry",
        type=_RepositoryName(),
        metavar="REPOSITORY",
        help="The shared cache: layers are looked for there, and with --push put there.",
    ),
    click.option(
        "--registry-cache/--no-registry-cache",
        default=None,
        help="Whether layers that are found in registries are used. Default: yes.",
    ),
)


spec_options = chain(
    click.option("--python", metavar="VERSION", help="The Python version to use, like 3.13."),
    click.option(
        "--base",
        metavar="IMAGE",
        help="An image in a registry to build on. Default: a base of envbuild's own.",
    ),
    click.option(
        "--extra", "extras", multiple=True, metavar="NAME", help="Also install this extra; repeatable."
    ),
    click.option(
        "--group", "groups", multiple=True, metavar="NAME", help="Also install this group; repeatable."
    ),
    click.option(
        "--requirement",
        "requirements",
        multiple=True,
        metavar="PACKAGE",
        help="Install this instead of what the repository declares; repeatable.",
    ),
)
lock_options = chain(
    click.option(
        "--exclude-newer",
        metavar="DATE",
        help="Ignore what was published after this day or time.",
    ),
    click.option("--resolver", type=click.Choice(RESOLVERS), help="What resolves versions."),
)
step_options = chain(
    click.option(
        "--network",
        multiple=True,
        type=click.Choice(NETWORK_STEPS),
        help="What may reach the network while it runs in the sandbox; repeatable. Default: nothing.",
    ),
    click.option(
        "--step-memory",
        type=click.IntRange(1, 1024),
        metavar="GIB",
        help="What a step in the sandbox may use. Default: 8.",
    ),
    click.option(
        "--step-timeout",
        type=click.IntRange(1, 1024),
        metavar="MINUTES",
        help="How long a step in the sandbox may take. Default: 60.",
    ),
)
# Verbs that make an image to be kept: each run is recorded, also one that fails.
_BUILDS = frozenset({"build", "base build"})
# What decides how a repository's environment is locked, found and built.
environment_options = chain(registry_options, plain_http_option, lock_options, spec_options, step_options)
contents_options = chain(
    click.option(
        "--include",
        multiple=True,
        metavar="PATTERN",
        help="Put these files into the image whatever else says not to; repeatable.",
    ),
    click.option(
        "--exclude", multiple=True, metavar="PATTERN", help="Leave these files out of the image; repeatable."
    ),
)
_common = chain(
    click.option("--json", "machine", is_flag=True, help="Print one JSON document on stdout."),
    click.option("--offline", is_flag=True, default=None, help="Use only what is in the cache."),
    click.option(
        "--cache-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Where layers and downloads are kept.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="No progress and no notes."),
    click.option("-v", "--verbose", is_flag=True, help="Also say what is usually of no interest."),
    click.option("--debug", is_flag=True, help="Show tracebacks with errors."),
    click.option(
        "--log-format",
        type=click.Choice(LOG_FORMATS),
        default=LOG_FORMATS[0],
        envvar=LOG_FORMAT,
        help="How progress, notes and errors are written: for people, or a JSON object a line.",
    ),
)


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options every verb has and call ``command`` with a :class:`envbuild.cli.session.Session` first.

    The values of all settings options (``--platform``, ``--python``, ...) go into the session's settings;
    the command gets only what is its own.
    """

    @_common
    @functools.wraps(command)
    def with_session(
        machine: bool, quiet: bool, verbose: bool, debug: bool, log_format: str, **parameters: Any
    ) -> Any:
        from envbuild.cli.console import Console
        from envbuild.cli.metering import metered
        from envbuild.cli.session import SETTINGS, Session
        from envbuild.errors import DamagedError
        from envbuild.network.offline import no_network

        context = click.get_current_context()
        console = Console(
            machine=machine,
            quiet=quiet,
            verbose=verbose,
            debug=debug,
            log_format=log_format,
            observation=context.obj,
            environment=os.environ,
        )
        console.observation.verb = context.command_path.partition(" ")[2]
        console.event("began", event="begin", verb=console.observation.verb, version=envbuild.__version__)
        flags = {name: parameters.pop(name) for name in SETTINGS & parameters.keys()}
        session = Session(console, flags, os.environ)
        audited = console.observation.verb in _BUILDS
        try:
            with (
                no_network() if session.settings.offline else nullcontext(),
                metered(session),
                session.audit.build() if audited else nullcontext(),
            ):
                try:
                    return command(session, **parameters)
                except DamagedError as error:
                    console.warn(f"{error.message}: making it anew")
                    return command(session, **parameters)
        finally:
            console.close()

    return with_session
