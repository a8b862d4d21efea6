"""One commit of a remote repository: fetched, looked through, and checked out, below a scratch directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import RemoteError, RepoError
from envbuild.source.git_process import FETCH_SECONDS, Git, GitFailure
from envbuild.source.git_refs import Revision
from envbuild.source.text import clean, printable

__all__ = ["Entry", "check_out_files", "fetch_commit", "list_files", "start_repository"]

_MOST_FILES = 1_000_000
_MOST_BYTES = 50 * 10**9
_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of ``git ls-tree -l``; ``size`` in bytes, of files."""

    mode: bytes
    object: str
    size: int
    path: bytes


def start_repository(git: Git, tree: Path, commit: str) -> None:
    """Make the empty directory ``tree`` a repository that can take ``commit``."""
    kind = "sha256" if len(commit) == 64 else "sha1"
    git.output("init", "--quiet", "--template=", f"--object-format={kind}", directory=tree)
    git.output("config", "--local", "remote.origin.url", git.address.url, directory=tree)
    # Of all places for attributes the strongest: filters are programs of the user's configuration, and a
    # repository shall not have them started.
    information = tree / ".git" / "info"
    information.mkdir(exist_ok=True)
    (information / "attributes").write_text("* -filter\n")


def fetch_commit(git: Git, tree: Path, revision: Revision, *, history: bool) -> None:
    """Get the commit: alone if the server gives it so, else (or for its ``history``) with all around it.

    Raises:
        GitFailure: the server cannot be talked to.
        RemoteError: it does not have the commit.
    """
    url = git.address.url
    options = ("fetch", "--quiet", "--no-recurse-submodules", "--no-write-fetch-head", "--force")
    alone = [
        (*options, "--no-tags", "--depth=1", "--", url, revision.commit),
        (*options, "--no-tags", "--depth=1", "--", url, revision.name or "HEAD"),
    ]
    whole = [
        (*options, "--tags", "--", url, "+refs/heads/*:refs/remotes/origin/*"),
        (*options, "--no-tags", "--", url, revision.name or revision.commit),
    ]
    failure: GitFailure | None = None
    for attempt in whole if history else alone + whole:
        try:
            git.output(*attempt, directory=tree, seconds=FETCH_SECONDS)
        except GitFailure as error:
            failure = error
            continue
        if _has_commit(git, tree, revision.commit):
            return
    if failure is not None and not _is_about_the_commit(failure):
        raise failure
    raise RemoteError(
        f"{clean(url)} does not have commit {revision.commit}",
        code="no-such-commit",
        remedy="it may have been on a branch that is gone; choose another one",
    )


def _has_commit(git: Git, tree: Path, commit: str) -> bool:
    try:
        git.output("cat-file", "-e", f"{commit}^{{commit}}", directory=tree)
    except GitFailure:
        return False
    return True


def _is_about_the_commit(failure: GitFailure) -> bool:
    text = str(failure)
    return any(words in text for words in ("not our ref", "couldn't find remote ref", "no such remote ref"))


def check_out_files(git: Git, tree: Path, commit: str) -> None:
    """Write the files of ``commit`` into ``tree``; git refuses names that are not safe (``.git``, ``..``)."""
    options = ("checkout", "--quiet", "--force", "--detach")
    git.output(*options, commit, directory=tree, seconds=FETCH_SECONDS)


def list_files(git: Git, tree: Path, commit: str) -> list[Entry]:
    """Everything in ``commit``, before any of it is written as a file.

    Raises:
        RepoError: it is too much, or has names that no file system takes.
    """
    entries: list[Entry] = []
    total = 0
    for line in git.output("ls-tree", "-r", "-z", "-l", "--full-tree", commit, directory=tree).split(b"\0"):
        facts, tab, path = line.partition(b"\t")
        if not tab:
            continue
        mode, _, name, size = facts.split()
        total += int(size) if size.isdigit() else 0
        if len(entries) >= _MOST_FILES or total > _MOST_BYTES:
            raise RepoError(
                f"{clean(git.address.url)} has too many or too large files",
                code="repository-too-large",
                remedy="move data out of the repository",
            )
        if max(map(len, path.split(b"/"))) > _LONGEST_NAME:
            raise RepoError(
                "a file's name is too long for a file system",
                code="name-too-long",
                file=clean(printable(path)),
                remedy="rename it in the repository",
            )
        entries.append(Entry(mode, name.decode(), int(size) if size.isdigit() else 0, path))
    return entries
