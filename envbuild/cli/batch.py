"""Building a fleet, for one command: what has changed, the builds, ``fleet.lock``, and what is said of it."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

import envbuild
from envbuild.config import OPTIONS
from envbuild.errors import EnvbuildError, UsageError

if TYPE_CHECKING:
    from envbuild.cli.session import Session
    from envbuild.fleet.model import Environment, Fleet, LockSource, Pin
    from envbuild.fleet.model import GitSource as FleetGit
    from envbuild.jobs.batch import Made, Wanted

__all__ = ["build_fleet"]

_JOBS_HERE = 2  # each build uses several CPUs by itself
_JOBS_ON_CLUSTER = 8
_HERE = frozenset({"jobs", "platforms", "subdir"})


def build_fleet(session: Session, path: Path, *, on: str, check: bool, switches: Mapping[str, bool]) -> None:
    """Bring every environment of the fleet file ``path`` up to date, and exit with 1 or worse if one is not.

    Parameters:
        on: where to build, as for ``--on``.
        check: only say what would be built.
        switches: options of the verb that are no settings, by name.
    """
    from envbuild.cli.batch_documents import fleet_document, fleet_lines
    from envbuild.fleet.model import ImageSource
    from envbuild.fleet.pins import pins_path, read_pins, write_pins
    from envbuild.fleet.read import read_fleet
    from envbuild.jobs.batch import build_all, resolve

    fleet = read_fleet(path)
    pins = dict(read_pins(fleet))
    arguments = _arguments(session, fleet, on, switches)
    made: dict[str, Made] = {}
    wanted: list[Wanted] = []
    for environment in fleet.environments:
        pin = pins.get(environment.name)
        if isinstance(environment.source, ImageSource):
            made[environment.name] = resolve(environment, pin, session.registries, check=check)
            continue
        found = _look(session, fleet, environment, pin, check=check)
        if isinstance(found, tuple):
            made[environment.name] = found[0]
        else:
            wanted.append(found)

    def done(one: Made) -> None:
        made[one.environment] = one

    try:
        if wanted:
            build_all(
                wanted,
                pins,
                command=partial(_command, arguments),
                jobs=_jobs(session, on),
                registries=session.registries,
                reporter=session.console,
                raw=session.raw_lines(),
                done=done,
            )
    finally:
        now = {name: one.pin for name, one in made.items() if one.pin is not None}
        if not check and {**pins, **now} != pins:
            write_pins(fleet, {**pins, **now})
    ordered = [made[environment.name] for environment in fleet.environments]
    session.console.result(*fleet_lines(ordered))
    session.console.document(
        fleet_document(fleet, str(pins_path(fleet)), ordered, session.console.rounded_seconds)
    )
    _end(session, ordered)


def _look(
    session: Session,
    fleet: Fleet,
    environment: Environment,
    pin: Pin | None,
    *,
    check: bool,
) -> tuple[Made] | Wanted:
    """What has to be built for ``environment``; or what became of it, if nothing has to be or can be."""
    from envbuild.jobs.batch import Made, look

    try:
        wanted = _wanted(session, fleet, environment)
        reason = look(wanted, pin, session.registries)
    except EnvbuildError as error:
        return (Made(environment.name, "failed", pin, pin, error=error),)
    if reason is None:
        return (Made(environment.name, "unchanged", pin, pin),)
    if check:
        return (Made(environment.name, "outdated", pin, pin, reason),)
    session.console.note(f"{environment.name}: {reason}")
    return wanted.because(reason)


def _wanted(session: Session, fleet: Fleet, environment: Environment) -> Wanted:
    from envbuild.fleet.model import LockSource
    from envbuild.image.reference import parse_reference
    from envbuild.jobs.batch import Wanted, platforms_of
    from envbuild.observation import request_build_id
    from envbuild.pack import recipe

    source = environment.source
    platforms = [f"--platform={platform}" for platform in platforms_of(environment, fleet)]
    if isinstance(source, LockSource):
        place, content, lock, own = _of_lock(session, source)
        commit = None
    else:
        place, commit, own = _of_git(session, source)  # type: ignore[arg-type]
        content, lock = f"{place} {commit}", None
    settings = [f"{one.key}={getattr(session.settings, one.attribute)}" for one in OPTIONS if one.repository]
    parts = [envbuild.__version__, str(recipe.VERSION), content, *platforms, *own, *settings]
    key = request_build_id(*parts)[:16]
    target = parse_reference(str(fleet.registry)).with_tag(f"{environment.name}-{key}")
    return Wanted(environment.name, target, place, (*platforms, *own), commit, lock)


def _of_lock(session: Session, source: LockSource) -> tuple[str, str, str, list[str]]:
    """``(directory, what decides about its image, the lock's digest, arguments)``."""
    from envbuild.jobs.batch import files_digest
    from envbuild.lock.lockfile import FILENAME

    if source.path.name != FILENAME:
        raise UsageError(
            f"a lock that is built has the name {FILENAME}",
            code="bad-lock-name",
            file=str(source.path),
            remedy=f"rename it to {FILENAME}: the repository is the directory it is in",
        )
    try:
        data = source.path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"this cannot be read: {error.strerror}",
            code="lock-missing",
            file=str(source.path),
            remedy=f"run `envbuild lock {source.path.parent}`",
        ) from error
    directory = str(source.path.parent)
    lock = "sha256:" + hashlib.sha256(data).hexdigest()
    content = f"{lock} {files_digest(session.project(directory).repo)}"
    return directory, content, lock, ["--locked"]


def _of_git(session: Session, source: FleetGit) -> tuple[str, str, list[str]]:
    """``(address at the commit, commit, arguments)``."""
    from envbuild.source.git_address import git_address

    address = git_address(source.url)
    ref = None if source.ref == "HEAD" else source.ref
    commit = session.git(session.settings).commit(address, ref)
    return f"{address.url}#{commit}", commit, [f"--subdir={source.subdir}"] if source.subdir else []


def _arguments(session: Session, fleet: Fleet, on: str, switches: Mapping[str, bool]) -> list[str]:
    """What all builds are told."""
    from envbuild.cli.session import SETTINGS
    from envbuild.cli.submitting import flag_arguments

    given = flag_arguments(*(SETTINGS - _HERE))
    if on == "kubernetes" and session.settings.namespace is None:
        given.append(f"--namespace={fleet.namespace}")
    return [*given, *(option for option, on in switches.items() if on), f"--on={on}"]


def _command(arguments: Sequence[str], wanted: Wanted) -> list[str]:
    told = ["--push", "--json", "--log-format=json"]
    program = [sys.executable, "-m", "envbuild", "build", wanted.source]
    return [*program, "-t", str(wanted.target), *arguments, *wanted.arguments, *told]


def _jobs(session: Session, on: str) -> int:
    if session.given("jobs"):
        return session.settings.jobs
    return _JOBS_ON_CLUSTER if on == "kubernetes" else _JOBS_HERE


def _end(session: Session, made: Sequence[Made]) -> None:
    """Say what failed, and exit as the first of these in the fleet's order; with 1 for what is outdated."""
    failed = [one.error for one in made if one.error is not None]
    for one in made:
        if one.error is not None:
            session.console.warn(f"{one.environment}: not built, and what it was stays")
            session.console.message(one.error)
    if failed:
        click.get_current_context().exit(failed[0].exit_code)
    if any(one.outcome == "outdated" for one in made):
        click.get_current_context().exit(1)
