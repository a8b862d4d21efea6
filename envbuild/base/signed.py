"""Whether packages that are to run on this machine are Debian's.

A lock may come from anybody, and a sha256 in it says nothing about who made the file. For what goes into an
image that is the reader's risk; but a base's Python is also run *here*, to compile bytecode, outside of any
container. So its packages must be listed in an index that Debian has signed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from envbuild.base.locking import kept_debs
from envbuild.base.mirrors import Mirrors, snapshot_mirrors
from envbuild.errors import RemoteError, RepoError
from envbuild.lock.model import Base, Deb
from envbuild.progress import Reporter
from envbuild.store import Store

__all__ = ["check_signed"]


def check_signed(
    debs: Iterable[Deb],
    architecture: str,
    *,
    base: Base,
    store: Store,
    mirrors: Mirrors,
    reporter: Reporter,
    offline: bool = False,
) -> None:
    """Refuse packages that Debian has not signed for.

    What was locked on this machine is known to be signed. Otherwise Debian's indexes of today are asked, and
    then those of the day on which ``base`` was locked.

    Parameters:
        architecture: Debian's name of theirs (``amd64``).
        offline: refuse to ask.

    Raises:
        RepoError: Debian has no such package.
        RemoteError: Debian cannot be asked.
    """
    missing = set(debs) - kept_debs(store)
    if not missing:
        return
    if offline:
        raise RemoteError(
            f"offline, nobody can confirm that the lock's {_names(missing)} is Debian's",
            code="offline",
            remedy="run once without --offline",
        )
    failure: RemoteError | None = None
    for place in (mirrors, snapshot_mirrors(datetime.fromisoformat(base.date))):
        try:
            missing -= _listed(
                missing, base.suite, architecture, store=store, mirrors=place, reporter=reporter
            )
        except RemoteError as error:
            failure = error
        if not missing:
            return
    if failure is not None:
        raise RemoteError(
            f"nobody confirms that the lock's {_names(missing)} is Debian's: {failure.message}",
            code="debian-unconfirmed",
            remedy="run `envbuild lock --upgrade-base`, or try again when Debian's snapshot archive answers",
        )
    raise RepoError(
        f"the lock's {_names(missing)} is not Debian's: `{base.suite}` has no such package",
        code="debian-unsigned",
        remedy="do not use this lock; make a new one with `envbuild lock --upgrade-base`",
    )


def _names(debs: Iterable[Deb]) -> str:
    first, *others = sorted(debs)
    return f"`{first.name}` {first.version}" + (f" (and {len(others)} more)" if others else "")


def _listed(
    wanted: set[Deb], suite: str, architecture: str, *, store: Store, mirrors: Mirrors, reporter: Reporter
) -> set[Deb]:
    """Those of ``wanted`` that a signed index of ``suite`` lists, exactly as they are."""
    from envbuild.base.debian import open_archive, paragraphs, suites
    from envbuild.base.resolve import parse_package

    starts = tuple(b"Package: %s\n" % deb.name.encode() for deb in wanted)
    found = set()
    with open_archive(mirrors=mirrors, store=store, reporter=reporter) as archive:
        for source, part in suites(suite):
            index = archive.index(archive.release(source, part), architecture)
            for paragraph in paragraphs(index):
                if paragraph.startswith(starts):
                    found.add(parse_package(paragraph, source).deb)
    return found & wanted
