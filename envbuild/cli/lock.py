"""``envbuild lock``: pin everything."""

from __future__ import annotations

from typing import Any

import click

from envbuild.cli.locking import new_lock, project_lock, recompile
from envbuild.cli.options import (
    common_options,
    lock_options,
    metrics_options,
    platform_option,
    source_argument,
    spec_options,
    step_options,
)
from envbuild.cli.session import Session
from envbuild.cli.text import count

__all__ = ["lock", "summary"]

_DIGITS = len("sha256:") + 12  # enough to tell two apart


@click.command(short_help="Pin everything, in envbuild.lock.")
@source_argument
@click.option("--check", is_flag=True, help="Only tell whether the lock is up to date; exit code 1 if not.")
@click.option("--upgrade", is_flag=True, help="Take the newest version of everything.")
@click.option(
    "--upgrade-package",
    "packages",
    multiple=True,
    metavar="NAME",
    help="Take its newest version; repeatable.",
)
@click.option("--upgrade-base", is_flag=True, help="Take the newest base (packages, or image) and server.")
@click.option(
    "--from-session",
    is_flag=True,
    help="Declare what the last session installed (%pip install), and lock it.",
)
@click.option(
    "--from", "image", metavar="IMAGE", help="Read the lock back that is in this image, instead of locking."
)
@click.option("--print", "show", is_flag=True, help="With --from: print the lock instead of writing it.")
@platform_option
@lock_options
@spec_options
@step_options
@metrics_options
@common_options
def lock(
    session: Session,
    source: str,
    check: bool,
    upgrade: bool,
    packages: tuple[str, ...],
    upgrade_base: bool,
    from_session: bool,
    image: str | None,
    show: bool,
) -> None:
    """Write envbuild.lock: everything the image is assembled from, pinned by hash.

    Versions that are locked already are kept as long as they fit. With --from nothing is locked: the lock
    that is in an image is written, unless there is another one. With --from-session, what was installed in
    the last `envbuild up` or `run` is written into the file that declares the dependencies first.
    """
    renewing = upgrade or packages or upgrade_base or session.settings.exclude_newer
    if image is not None and (check or renewing):
        raise click.UsageError("--from goes with no other option about what is locked")
    if image is None and show:
        raise click.UsageError("--print goes with --from only")
    if from_session and (image is not None or check or renewing):
        raise click.UsageError("--from-session goes with no other option about what is locked")
    if from_session:
        from envbuild.cli.adopting import adopt_session

        adopt_session(session, source)
        return
    if image is not None:
        _read_back(session, source, image, show)
        return
    from envbuild.base.host import host_platform
    from envbuild.cli.documents import lock_document
    from envbuild.lock.ensure import keep_lock, read_lock

    project = session.project(source)
    found = read_lock(project.repo, session.store)
    before = found.lock if found else None
    known = tuple(target.platform for target in before.targets) if before else ()
    platforms = project.settings.platforms or known or (host_platform(),)
    renew = upgrade or packages or upgrade_base or project.settings.exclude_newer
    if check and renew:
        raise click.UsageError("--check goes with no option that changes the lock")
    project = recompile(
        session, project, source, platforms, before, check=check, upgrade=upgrade, upgrade_packages=packages
    )
    if renew:
        session.show_problems(project.spec)
        made = new_lock(
            session,
            project,
            platforms,
            before,
            upgrade=upgrade,
            upgrade_packages=packages,
            upgrade_base=upgrade_base,
        )
        file = keep_lock(project.repo, made, store=session.store, reporter=session.console)
    else:
        file = project_lock(session, project, platforms, locked=check)
    document = lock_document(file, before, session.console.rounded_seconds)
    session.console.result(*summary(document))
    session.console.document(document)


def _read_back(session: Session, source: str, image: str, show: bool) -> None:
    """Write or print the lock that is in ``image``."""
    from envbuild.cli.documents import lock_document
    from envbuild.cli.looking import inspector
    from envbuild.lock.ensure import LockFile, put_lock

    look = inspector(session)
    found, data = look.lock_inside(image)
    file = LockFile(found, data, None) if show else put_lock(look.open_source(source), found, data)
    document = lock_document(file, None, session.console.rounded_seconds)
    if show:
        text = data.decode()
        session.console.result(*text.removesuffix("\n").split("\n"))
        document["content"] = text
    else:
        packages = {name for target in found.targets for name in target.versions}
        session.console.result(f"wrote {file.path}: {count(len(packages), 'package')}, from {image}")
    session.console.document(document)


def summary(document: dict[str, Any]) -> list[str]:
    """The lines for people that say what :func:`~envbuild.cli.documents.lock_document` says."""
    if document["up_to_date"]:
        return ["envbuild.lock is up to date"]
    lines = []
    before, after = _base(document, "previous_base"), _base(document, "base")
    if before != after:
        lines.append(f"  base {before} -> {after}")
    for change in document["changes"]:
        old, new = change["before"], change["after"]
        lines.append(f"  {change['name']} " + (f"{old} -> {new}" if old and new else new or f"{old} removed"))
    packages = {name for target in document["platforms"].values() for name in target}
    return [
        f"locked {count(len(packages), 'package')} for Python {document['python']} "
        f"on {', '.join(document['platforms'])}",
        *(lines if document["previous"] else ()),
    ]


def _base(document: dict[str, Any], key: str) -> str:
    digest = document[f"{key}_digest"]
    return f"{document[key]} ({digest[:_DIGITS]})" if digest else str(document[key])
