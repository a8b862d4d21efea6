"""What people are told about a session that changed its environment, and what they can do."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from envbuild.drift.changes import Change
from envbuild.drift.declaring import Advice, Place, advise
from envbuild.errors import RepoError
from envbuild.pack import recipe
from envbuild.source import Repo
from envbuild.source.text import clean

__all__ = ["adopt_command", "drift_error", "remedy", "said", "warnings_about"]

_MOST_SHOWN = 20


def adopt_command(repo: Repo, here: Path) -> str | None:
    """The command that adopts a session of ``repo``, typed ``here``; None for a fetched repository.

    >>> adopt_command(Repo(Path("/work/my maps")), Path("/work"))
    "envbuild lock '/work/my maps' --from-session"
    """
    if repo.origin is not None:
        return None
    return shlex.join(
        ["envbuild", "lock", *([] if repo.root == here else [str(repo.root)]), "--from-session"]
    )


def warnings_about(changes: Sequence[Change], place: Place, *, over: bool) -> list[str]:
    """One sentence for each change that somebody asked for, and one for what came with them.

    Parameters:
        place: where the repository declares what it depends on.
        over: the session has ended.
    """
    advice = advise(changes, place)
    lines = [
        f"{said(one.change)}, {_lasting(one.change, over=over)}; {remedy(one)}"
        for one in advice[:_MOST_SHOWN]
    ]
    if len(advice) > _MOST_SHOWN:
        lines.append(f"{len(advice) - _MOST_SHOWN} more packages were changed")
    others = [change for change in changes if not change.requested]
    if others:
        names = ", ".join(f"{change.name} {change.after or 'removed'}" for change in others[:_MOST_SHOWN])
        more = f" and {len(others) - _MOST_SHOWN} more" if len(others) > _MOST_SHOWN else ""
        lines.append(f"changed because of other packages: {names}{more}")
    return lines


def said(change: Change) -> str:
    """What happened to a package, without the end of the sentence."""
    by = " by conda" if change.manager == "conda" else ""
    if change.origin is not None:
        by = f" from {clean(change.origin.location)}"
    if change.place not in ("environment", "user"):
        by += f" into {clean(change.place)}"
    elif change.place == "user":
        by += " into the user's own packages"
    if change.kind == "added":
        return f"{change.name} {change.after} was installed{by}"
    if change.kind == "removed":
        return f"{change.name} {change.before} was uninstalled{by}"
    return f"{change.name} {change.before} was replaced by {change.after}{by}"


def _lasting(change: Change, *, over: bool) -> str:
    """What becomes of a change, a clause."""
    if change.place.startswith(f"/{recipe.REPO_DIR}/"):
        return "which only this directory knows"
    return "which the end of the session has undone" if over else "which lasts until the session ends"


def remedy(one: Advice) -> str:
    """What to do about a change, a clause."""
    place = one.file if one.line is None else f"{one.file}:{one.line}"
    place += f", in {one.section}" if one.section else ""
    after = f", and {one.reason}" if one.reason else ""
    match one.action:
        case "add":
            return f"to keep it, add `{one.text}` to {place}{after}"
        case "replace":
            return f"to keep it, write `{one.text}` in {place}{after}"
        case "remove":
            return f"to keep it so, remove `{one.text}` from {place}{after}"
        case "run":
            return f"to keep it, run `{one.text}`"
        case "lock":
            return f"{place} allows that, but another version is locked"
        case _:
            return one.reason


def drift_error(changes: Sequence[Change], place: Place, command: str | None) -> RepoError:
    """The error that a changed environment is with ``--strict``; ``command`` is that which adopts it."""
    advice = advise(changes, place)
    names = ", ".join(said(one.change) for one in advice[:3]) or "packages changed"
    if len(advice) > len(advice[:3]):
        names += f", and {len(advice) - 3} more"
    return RepoError(
        f"the environment was changed while it was used: {names}",
        code="environment-changed",
        remedy="declare what is needed, and remove the install commands"
        + (f"; `{command}` declares and locks it" if command else ""),
        detail="\n".join(warnings_about(changes, place, over=True)),
    )
