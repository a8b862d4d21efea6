"""What changed in the last session of a repository: a small file in the cache that outlives the session."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from envbuild.drift.changes import Change, read_changes, to_json
from envbuild.errors import RepoError
from envbuild.source import Repo
from envbuild.source.text import printable
from envbuild.store import Store

__all__ = ["SessionChanges", "keep_left", "keep_session", "last_session", "needed_session", "session_path"]

_LARGEST = 8 << 20
_VERBS = ("up", "run")


@dataclass(frozen=True, slots=True)
class SessionChanges:
    """The ``changes`` of a session: that of the ``verb`` (``up``, ``run``) at ``started`` (RFC 3339, UTC)."""

    verb: str
    started: str
    changes: tuple[Change, ...]

    @property
    def versions(self) -> dict[str, str]:
        """The versions of packages from an index that there were in the end, by canonical name."""
        pip = (change for change in self.changes if change.manager == "pip" and change.origin is None)
        return {change.name: change.after for change in pip if change.after is not None}


def session_path(repo: Repo, store: Store) -> Path:
    """Where the changes of the last session of ``repo`` that had any are kept."""
    origin = repo.origin
    place = bytes(repo.root)
    if origin is not None:
        place = f"{origin.revision} {origin.subdirectory} of {origin.url}".encode()
    return store.sessions / f"{hashlib.sha256(b'session of ' + place).hexdigest()}.json"


def keep_session(repo: Repo, session: SessionChanges, store: Store) -> None:
    """Keep ``session`` in the place of an earlier one.

    Raises:
        MachineError: the cache cannot be written.
    """
    document = {
        "verb": session.verb,
        "started": session.started,
        "changes": to_json(session.changes),
    }
    store.write(session_path(repo, store), (json.dumps(document, indent=1) + "\n").encode())


def last_session(repo: Repo, store: Store) -> SessionChanges | None:
    """The last session that changed something, and was not adopted; None when there is none."""
    try:
        with session_path(repo, store).open("rb") as stream:
            value: Any = json.loads(stream.read(_LARGEST))
        verb, started, changes = value["verb"], value["started"], read_changes(value["changes"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if verb not in _VERBS or not isinstance(started, str) or not changes:
        return None
    return SessionChanges(verb, printable(started), changes)


def needed_session(repo: Repo, store: Store) -> SessionChanges:
    """:func:`last_session`.

    Raises:
        RepoError: there is none.
    """
    session = last_session(repo, store)
    if session is None:
        raise RepoError(
            "no session of this repository has changed its environment since the last was adopted",
            code="no-session-changes",
            remedy="install what is missing in `envbuild up`, with %pip install, and try it there",
        )
    return session


def keep_left(repo: Repo, session: SessionChanges, left: Sequence[Change], store: Store) -> None:
    """Keep of ``session`` what is ``left`` to be adopted; nothing, when nothing is.

    Raises:
        MachineError: the cache cannot be written.
    """
    if left:
        keep_session(repo, replace(session, changes=tuple(left)), store)
    else:
        session_path(repo, store).unlink(missing_ok=True)
