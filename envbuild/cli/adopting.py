"""``envbuild lock --from-session``: what a session installed becomes what the repository declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envbuild.cli.session import Project, Session
    from envbuild.drift.adopting import Adoption
    from envbuild.drift.sessions import SessionChanges
    from envbuild.lock.ensure import LockFile
    from envbuild.lock.model import Lock

__all__ = ["adopt_session"]


def adopt_session(session: Session, source: str) -> None:
    """Write what the last session of ``source`` installed into its files, and lock."""
    from envbuild.cli.documents import lock_document
    from envbuild.cli.lock import summary
    from envbuild.drift.adopting import others_locked, plan_adoption, refuse_nothing, written
    from envbuild.drift.declaring import advise, declaring_place
    from envbuild.drift.messages import remedy
    from envbuild.drift.sessions import keep_left, needed_session
    from envbuild.lock.ensure import read_lock

    project = session.project(source)
    last = needed_session(project.repo, session.store)
    place = declaring_place(project.spec, project.repo)
    adoption = plan_adoption(advise(last.changes, place), project.repo, place)
    refuse_nothing(adoption)
    found = read_lock(project.repo, session.store)
    before = found.lock if found else None
    with written(adoption, project.repo):
        file = _lock(session, session.project(source), source, before, last)
    keep_left(project.repo, last, [one.change for one in adoption.left], session.store)
    for one in adoption.left:
        session.console.warn(f"{one.change.name} is left to you: {remedy(one)}")
    for name, version, locked in others_locked(adoption, [target.versions for target in file.lock.targets]):
        session.console.warn(
            f"{name} {version} was tried, and {locked} is locked; to have the former, pin `{name}=={version}`"
        )
    document = lock_document(file, before, session.console.rounded_seconds) | _document(adoption, last)
    session.console.result(*_lines(adoption, last), *summary(document))
    session.console.document(document)


def _lock(
    session: Session, project: Project, source: str, before: Lock | None, last: SessionChanges
) -> LockFile:
    from envbuild.base.host import host_platform
    from envbuild.cli.locking import new_lock, recompile
    from envbuild.lock.ensure import keep_lock

    known = tuple(target.platform for target in before.targets) if before else ()
    platforms = project.settings.platforms or known or (host_platform(),)
    project = recompile(session, project, source, platforms, before, check=False)
    session.show_problems(project.spec)
    made = new_lock(session, project, platforms, before, preferred=last.versions)
    return keep_lock(project.repo, made, store=session.store, reporter=session.console)


def _lines(adoption: Adoption, last: SessionChanges) -> list[str]:
    lines = [f"adopted from `envbuild {last.verb}` of {last.started}:"]
    for one in adoption.done:
        word = {"add": "+ ", "replace": "= ", "remove": "- "}.get(one.action, "")
        what = f"{word}{one.text}" if word else f"allows {one.change.name} {one.change.after} already"
        lines.append(f"  {one.file}: {what}")
    return lines


def _document(adoption: Adoption, last: SessionChanges) -> dict[str, Any]:
    def advice(of: tuple[Any, ...]) -> list[dict[str, Any]]:
        return [
            {
                "name": one.change.name,
                "action": one.action,
                "file": one.file or None,
                "text": one.text or None,
            }
            for one in of
        ]

    return {
        "session": {
            "verb": last.verb,
            "started": last.started,
            "adopted": advice(adoption.done),
            "left": advice(adoption.left),
        }
    }
