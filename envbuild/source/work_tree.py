"""Which commit a directory is checked out from, and whether its files are still as in that commit.

The repository's own git configuration, attributes and hooks may name programs, so git never sees them: the
commit is read from the files of ``.git``, and ``git status`` runs on a git directory of ours that has the
index, the objects (by reference) and nothing else of the repository's.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import EnvbuildError, RepoError
from envbuild.source.git_address import GitAddress
from envbuild.source.git_process import Git, GitFailure
from envbuild.source.repo import Repo

__all__ = ["SourceState", "source_state"]

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REFERENCE = re.compile(r"ref: (refs/[^\x00-\x20\x7f]+)")
_FILE_MODE = re.compile(r"(?im)^\s*filemode\s*=\s*false\s*$")
_MOST_TEXT = 64 << 10
_MOST_REFERENCES = 64 << 20
_MOST_INDEX = 256 << 20


@dataclass(frozen=True, slots=True)
class SourceState:
    """The ``commit`` files are from, None when there is none or it is not known, and whether files that git
    tracks are ``dirty``: different from it. None when that is not known."""

    commit: str | None = None
    dirty: bool | None = None


def source_state(repo: Repo, environment: Mapping[str, str]) -> SourceState:
    """The state of ``repo``: of the work tree that its directory is, or is in.

    What was fetched is from the commit it was fetched as. Without git on this machine ``dirty`` is None.

    Parameters:
        environment: the process's environment variables.
    """
    if repo.origin is not None:
        revision = repo.origin.revision
        return SourceState(revision if _COMMIT.fullmatch(revision) else None)
    try:
        places = _git_places(repo.root)
        commit = _commit(places) if places is not None else None
        if places is None or commit is None:
            return SourceState()
        return _compared(places, commit, repo.root, environment)
    except (OSError, RepoError):
        return SourceState()


@dataclass(frozen=True, slots=True)
class _Places:
    """The ``top`` of a work tree, its own git directory, and the one it shares with others (mostly that)."""

    top: Path
    own: Repo
    common: Repo


def _git_places(directory: Path) -> _Places | None:
    owner = directory.stat().st_uid
    for top in (directory, *directory.parents):
        entry = top / ".git"
        try:
            status = entry.lstat()
        except FileNotFoundError:
            continue
        if status.st_uid != owner:
            return None  # somebody else's: what it says about these files is nobody's word
        if stat.S_ISDIR(status.st_mode):
            return _Places(top, Repo(entry), Repo(entry))
        return _linked(top) if stat.S_ISREG(status.st_mode) else None
    return None


def _linked(top: Path) -> _Places | None:
    """Those of a linked work tree (git-worktree(1)), which its git directory must know of."""
    pointer = Repo(top).read(".git", _MOST_TEXT).decode("utf-8", "replace").strip()
    own = Path(os.path.realpath(top / pointer.removeprefix("gitdir: ")))
    if not pointer.startswith("gitdir: ") or not own.is_dir():
        return None
    repo = Repo(own)
    back = Path(repo.read("gitdir", _MOST_TEXT).decode("utf-8", "replace").strip())
    if Path(os.path.realpath(back)) != top / ".git":
        return None
    shared = repo.read("commondir", _MOST_TEXT).decode("utf-8", "replace").strip()
    return _Places(top, repo, Repo(Path(os.path.realpath(own / shared))))


def _commit(places: _Places) -> str | None:
    """What HEAD is, following at most one reference (gitrepository-layout(5))."""
    head = places.own.read("HEAD", _MOST_TEXT).decode("utf-8", "replace").strip()
    if _COMMIT.fullmatch(head):
        return head
    match = _REFERENCE.fullmatch(head)
    if match is None:
        return None
    if places.common.exists(match[1]):
        found = places.common.read(match[1], _MOST_TEXT).decode("utf-8", "replace").strip()
        return found if _COMMIT.fullmatch(found) else None
    if not places.common.exists("packed-refs"):
        return None
    for line in places.common.read("packed-refs", _MOST_REFERENCES).decode("utf-8", "replace").splitlines():
        commit, _, name = line.partition(" ")
        if name == match[1] and _COMMIT.fullmatch(commit):
            return commit
    return None


def _compared(places: _Places, commit: str, directory: Path, environment: Mapping[str, str]) -> SourceState:
    """Compare what git tracks in ``directory`` with the commit, as far as git can be asked."""
    unknown = SourceState(commit)
    try:
        index = places.own.read("index", _MOST_INDEX)
        changed = (places.own.root / "index").stat()
    except (OSError, RepoError):
        return unknown
    objects = str(places.common.root / "objects")
    if not objects.isprintable():
        return unknown  # it is to be a line in a file
    with tempfile.TemporaryDirectory(prefix="envbuild-") as name:
        copy = Path(name)
        for part in ("objects/info", "refs", "info"):
            (copy / part).mkdir(parents=True)
        (copy / "HEAD").write_text(commit + "\n")
        (copy / "config").write_text(_configuration(places.common, commit))
        (copy / "objects/info/alternates").write_text(objects + "\n")
        # Filters are programs; of all places for attributes this is the strongest.
        (copy / "info/attributes").write_text("* -filter\n")
        (copy / "index").write_bytes(index)
        # Files younger than the index are read again, so it has to keep its age.
        os.utime(copy / "index", ns=(changed.st_atime_ns, changed.st_mtime_ns))
        git = Git(GitAddress("file://" + name), environment, ())

        def ask(*arguments: str) -> bytes:
            options = ("--literal-pathspecs", f"--git-dir={copy}", f"--work-tree={places.top}")
            return git.output(*options, *arguments, "--", str(directory), directory=places.top)

        try:
            if directory != places.top and not ask("ls-files", "-z"):
                return SourceState()  # a directory that only happens to be in a work tree
            # Submodules have configurations of their own, which git would follow.
            said = ask("status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=all")
        except (GitFailure, EnvbuildError):
            return unknown
    return SourceState(commit, bool(said))


def _configuration(common: Repo, commit: str) -> str:
    """What git has to know, and the one setting of the repository's that says how its files are."""
    text = common.read("config", _MOST_TEXT).decode("utf-8", "replace") if common.exists("config") else ""
    mode = "false" if _FILE_MODE.search(text) else "true"
    sha256 = "[extensions]\n\tobjectFormat = sha256\n" if len(commit) == 64 else ""
    version = 1 if sha256 else 0
    return f"[core]\n\trepositoryFormatVersion = {version}\n\tbare = false\n\tfileMode = {mode}\n{sha256}"
