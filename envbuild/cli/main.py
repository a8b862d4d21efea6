"""The ``envbuild`` command: finds the verb, runs it, turns every way to end into an exit code."""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from itertools import pairwise
from types import FrameType

import click

import envbuild
from envbuild.cli.console import Console
from envbuild.cli.options import LOG_FORMAT, LOG_FORMATS
from envbuild.errors import EnvbuildError, UsageError
from envbuild.observation import Observation, find_build_id, new_build_id

__all__ = ["VERBS", "cli", "run"]

# In the order of `envbuild --help`: a verb's module in this package has a command of the same name, both with
# underscores for hyphens.
VERBS = (
    "plan",
    "lock",
    "export",
    "build",
    "push",
    "pull",
    "up",
    "run",
    "check",
    "kernel",
    "inspect",
    "diff",
    "verify",
    "verify-image",
    "fingerprint",
    "sbom",
    "report",
    "attest",
    "hub",
    "warm",
    "probe",
    "trace",
    "serve-metrics",
    "cache",
    "base",
    "doctor",
)

_INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h: a bug in envbuild, never the user's doing
_INTERRUPTED = 130
_BROKEN_PIPE = 141  # what a shell reports for a program that SIGPIPE ended


class _Verbs(click.Group):
    """Imports a verb's module when that verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"envbuild.cli.{name}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            near = difflib.get_close_matches(name, VERBS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"no such command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="SOURCE is the directory that holds the notebooks; the current one when it is left out.",
)
@click.version_option(envbuild.__version__, message="envbuild %(version)s")
def cli() -> None:
    """Reproducible environments for Jupyter repositories.

    Reads a repository's notebooks and dependency files, locks everything, and assembles an image from the
    locked artifacts: byte for byte the same wherever it is done.
    """


def run(arguments: Sequence[str]) -> int:
    """Run the command line ``arguments`` (without the program's name) and return the exit code.

    0 done · 1 the repository's fault · 2 wrong usage · 3 this machine lacks something · 4 a remote
    failed · 70 a bug in envbuild · 130 interrupted.
    """
    options = list(arguments[: arguments.index("--")]) if "--" in arguments else list(arguments)
    observation = Observation(new_build_id())
    # Before click has understood anything, an error must already be printed as the user wants it.
    console = Console(
        machine="--json" in options,
        quiet=not {"-q", "--quiet"}.isdisjoint(options),
        debug="--debug" in options,
        log_format=_log_format(options),
        observation=observation,
        environment=os.environ,
    )
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, _interrupt)
    code = _run(arguments, console)
    console.event(
        "ended", event="end", verb=observation.verb, exit_code=code, seconds=round(observation.seconds, 3)
    )
    return code


def _run(arguments: Sequence[str], console: Console) -> int:
    try:
        console.observation.build = find_build_id(os.environ) or console.observation.build
        # Not cli.main(): it has its own opinion on interrupts and closed pipes.
        with cli.make_context("envbuild", list(arguments) or ["--help"], obj=console.observation) as context:
            cli.invoke(context)
        return 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, click.Abort):
        interrupted = _Interrupted()
        console.document(interrupted.to_json())
        console.interrupted(f"error: {interrupted}")
        return _INTERRUPTED
    except click.ClickException as error:
        console.error(_usage_error(error))
        return UsageError.exit_code
    except EnvbuildError as error:
        console.error(error)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except Exception as error:
        unexpected = _InternalError(error)
        unexpected.__cause__ = error
        console.error(unexpected)
        return _INTERNAL_ERROR


def _log_format(options: Sequence[str]) -> str:
    """What ``--log-format`` is going to say, for what goes wrong before it is read."""
    said = os.environ.get(LOG_FORMAT, "")
    for option, value in pairwise([*options, ""]):
        if option == "--log-format":
            said = value
        elif option.startswith("--log-format="):
            said = option.partition("=")[2]
    return said if said in LOG_FORMATS else LOG_FORMATS[0]


class _Interrupted(EnvbuildError):
    exit_code = _INTERRUPTED

    def __init__(self) -> None:
        super().__init__("interrupted", code="interrupted")


class _InternalError(EnvbuildError):
    exit_code = _INTERNAL_ERROR

    def __init__(self, error: Exception) -> None:
        lines = str(error).splitlines()
        super().__init__(
            f"internal error: {type(error).__name__}: {lines[0] if lines else ''}".rstrip(": "),
            code="internal",
            remedy="this is a bug in envbuild: run again with --debug and report what it prints",
        )


def _usage_error(error: click.ClickException) -> EnvbuildError:
    context = error.ctx if isinstance(error, click.UsageError) else None
    message = " ".join(error.format_message().split()).rstrip(".")  # click lists choices line by line
    message = message[:1].lower() + message[1:]
    command = context.command_path if context else "envbuild"
    return UsageError(message, code="usage", remedy=f"`{command} --help` shows what is possible")


def _interrupt(number: int, frame: FrameType | None) -> None:
    # A polite kill and a closed terminal clean up like Ctrl-C does.
    raise KeyboardInterrupt
