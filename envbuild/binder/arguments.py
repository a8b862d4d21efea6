"""repo2docker's command line, read as its own parser reads it."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from envbuild.binder.table import ARGUMENTS, CONFIG_FILE, Argument
from envbuild.errors import UsageError
from envbuild.source.text import quote

__all__ = ["Request", "Run", "argument_parser", "read_arguments"]

_ACTIONS = {"on": "store_true", "off": "store_false", "text": "store", "number": "store"} | dict.fromkeys(
    ("texts", "variables"), "append"
)
_TRAIT = re.compile(r"--(?P<name>[A-Za-z0-9_]+\.[A-Za-z0-9_.]+)=(?P<value>.*)", re.DOTALL)
_MEMORY = re.compile(r"(?P<number>\d{1,15}(?:\.\d{1,6})?)(?P<unit>[KMGT]?)")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_ENGINES = ("docker", "podman")


@dataclass(frozen=True, slots=True)
class Run:
    """How the image is started: ``ports``, ``volumes`` and ``environment`` as they were written."""

    command: tuple[str, ...]
    ports: tuple[str, ...]
    all_ports: bool
    volumes: tuple[tuple[str, str], ...]
    environment: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted.

    ``settings`` are options of ``envbuild build``, ``variables`` those of its environment; ``notes`` are for
    the user. ``image`` is None when no name was given, ``run`` when the image is not to be started.
    """

    repository: str
    ref: str | None
    subdirectory: str | None
    image: str | None
    push: bool
    build: bool
    run: Run | None
    engine: str
    user_id: int | None
    json_logs: bool
    debug: bool
    settings: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, code="usage", remedy=f"`{self.prog} --help` shows what is possible")


def argument_parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """A parser that makes of a command line what repo2docker's own does.

    Parameters:
        environment: where ``--env NAME`` takes its value from.
    """

    class Variable(argparse.Action):
        def __call__(
            self,
            parser: argparse.ArgumentParser,
            namespace: argparse.Namespace,
            values: Any,
            option_string: str | None = None,
        ) -> None:
            found = getattr(namespace, self.dest)
            if "=" in values:
                setattr(namespace, self.dest, [*found, values])
            elif values in environment:  # as with `docker run`: another is left out
                setattr(namespace, self.dest, [*found, f"{values}={environment[values]}"])

    parser = _Parser(
        prog="jupyter-repo2docker",
        description="Build an image of a repository with envbuild. Takes the arguments of repo2docker.",
        epilog="BinderHub and repo2docker's action start this; for people there is `envbuild build`.",
    )
    for argument in ARGUMENTS:
        more: dict[str, Any] = {"type": int} if argument.takes == "number" else {}
        parser.add_argument(
            *argument.names,
            dest=argument.stored,
            action=Variable if argument.takes == "variables" else _ACTIONS[argument.takes],
            default=argument.default,
            help=argument.here.replace("%", "%%"),
            **more,
        )
    parser.add_argument("repo", help="a directory, the address of a git repository, a DOI")
    parser.add_argument("cmd", nargs=argparse.REMAINDER, help="what to start instead of JupyterLab")
    return parser


def read_arguments(arguments: Sequence[str], environment: Mapping[str, str]) -> Request:
    """What the command line ``arguments`` asks for.

    Raises:
        UsageError: it is not one of repo2docker's, or asks for what cannot be had here.
    """
    given, others = argument_parser(environment).parse_known_args(list(arguments))
    settings, variables, notes = _of_traits(others)
    for argument in ARGUMENTS:
        value = getattr(given, argument.stored)
        told = value not in (None, argument.default, *argument.usual)
        if told and argument.fate == "refused":
            raise _refused(argument)
        if told and argument.fate == "noted":
            notes.append(f"{argument.names[0]} {argument.here}")
    if Path(CONFIG_FILE).exists():
        notes.append(f"{CONFIG_FILE} is not read: it is a program")
    if given.user_id == 0:
        raise UsageError(
            "root cannot be the user of the image", code="root-user", remedy="give another --user-id"
        )
    if given.engine not in _ENGINES:
        raise UsageError(
            f"{quote(given.engine)} is no engine that is known here",
            code="unknown-engine",
            remedy=f"choose from {', '.join(_ENGINES)}",
        )
    if given.build_memory_limit:
        settings += ["--step-memory", str(_gibibytes(given.build_memory_limit))]
    if given.debug:
        settings += ["--verbose", "--debug"]
    build = given.build is not False
    run = build and given.run is not False
    if not run:
        _refuse_container(given)
    return Request(
        repository=given.repo,
        ref=given.ref or None,
        subdirectory=given.subdir or None,
        image=given.image_name or None,
        push=build and bool(given.push),
        build=build,
        run=_run(given) if run else None,
        engine=given.engine,
        user_id=given.user_id,
        json_logs=bool(given.json_logs),
        debug=given.debug,
        settings=tuple(settings),
        variables=tuple(variables),
        notes=tuple(notes),
    )


def _refused(argument: Argument) -> UsageError:
    what, _, remedy = argument.here.partition("; ")
    return UsageError(f"{argument.names[0]} {what}", code="argument-refused", remedy=remedy)


def _platform(value: str) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    return ["--platform", value], [], []


def _base_image(value: str) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    note = "Repo2Docker.base_image counts for what repo2docker's buildpacks build; --base is for all others"
    return [], [("ENVBUILD_REPO2DOCKER_BASE_IMAGE", value)], [note]


_TRAITS: dict[str, Callable[[str], tuple[list[str], list[tuple[str, str]], list[str]]]] = {
    "Repo2Docker.base_image": _base_image,
    "Repo2Docker.platform": _platform,
}


def _of_traits(others: Sequence[str]) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """Options, variables and notes for ``--Class.trait=value``, which configures repo2docker's classes."""
    settings: list[str] = []
    variables: list[tuple[str, str]] = []
    notes: list[str] = []
    for text in others:
        trait = _TRAIT.fullmatch(text)
        if trait is None:
            raise UsageError(
                f"repo2docker has no argument {quote(text.partition('=')[0])}",
                code="usage",
                remedy="`jupyter-repo2docker --help` shows what is possible",
            )
        if trait["name"] not in _TRAITS:
            raise UsageError(
                f"--{trait['name']} configures a part of repo2docker that has no part in this build",
                code="argument-refused",
                remedy=f"leave it out; known are {' and '.join(f'--{name}' for name in sorted(_TRAITS))}",
            )
        more = _TRAITS[trait["name"]](trait["value"])
        settings += more[0]
        variables += more[1]
        notes += more[2]
    return settings, variables, notes


def _gibibytes(text: str) -> int:
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{quote(text)} is not an amount of memory",
            code="bad-memory",
            remedy="write bytes, or a number with K, M, G or T",
        )
    return max(1, math.ceil(float(match["number"]) * _UNITS[match["unit"]] / (1 << 30)))


def _refuse_container(given: argparse.Namespace) -> None:
    """Refuse what is about a container when none is started, as repo2docker does."""
    for name in ("volumes", "environment", "ports", "all_ports", "editable"):
        if getattr(given, name):
            argument = next(one for one in ARGUMENTS if one.stored == name)
            raise UsageError(
                f"{argument.names[0]} is about a container, and none is started",
                code="usage",
                remedy="leave it out, or leave out --no-run",
            )


def _run(given: argparse.Namespace) -> Run:
    volumes = []
    for text in given.volumes:
        source, colon, target = text.partition(":")
        if not (source and colon and target) or ":" in target:
            raise UsageError(
                f"{quote(text)} is not SOURCE:DESTINATION", code="bad-volume", remedy="write both, once"
            )
        volumes.append((os.path.abspath(source), target))  # noqa: PTH100 - links are the engine's to follow
    if given.editable:
        if not os.path.isdir(given.repo):  # noqa: PTH112 - a name that is too long raises nothing here
            raise UsageError(
                f"{quote(given.repo)} is not a directory, so it cannot be mounted",
                code="bad-volume",
                remedy="leave out --editable",
            )
        volumes.append((os.path.abspath(given.repo), "."))  # noqa: PTH100
    if len(given.ports or ()) > 1 and not given.cmd:
        raise UsageError(
            "with several ports, nobody knows which is the server's",
            code="usage",
            remedy="give the command to start as well",
        )
    return Run(
        tuple(given.cmd),
        tuple(given.ports or ()),
        bool(given.all_ports),
        tuple(volumes),
        tuple(given.environment),
    )
