"""Git repositories: a branch, tag or commit of one becomes a directory in the cache.

What is fetched is the one commit, without its history, into a repository made for the purpose; files are
checked out, and ``.git`` is removed. The result is kept by address and commit and never changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from envbuild.errors import EnvbuildError, RemoteError, RepoError, UsageError
from envbuild.progress import Reporter
from envbuild.source.git_address import GitAddress, check_ref, relative_address
from envbuild.source.git_commit import Entry, check_out_files, fetch_commit, list_files, start_repository
from envbuild.source.git_process import Git
from envbuild.source.git_refs import Revision, find_revision, is_commit
from envbuild.source.git_remote import connect, remote_errors
from envbuild.source.lfs import MOST_POINTER_BYTES, fetch_objects, find_pointers, has_lfs
from envbuild.source.submodules import read_addresses
from envbuild.source.text import clean, printable, quote
from envbuild.store import Store
from envbuild.store.directory import checked_directory, make_directory
from envbuild.store.disk import remove_whole

__all__ = ["Checkout", "GitClient"]

_MOST_SUBMODULES = 200
_DEEPEST_SUBMODULE = 8
_NAMED = 5
_GITMODULES = ".gitmodules"


@dataclass(frozen=True, slots=True)
class Checkout:
    """The files of a commit: the directory ``path``, which belongs to the cache and must not be changed.

    ``url`` is without credentials, ``ref`` what was asked for, ``commit`` the full hash.
    """

    path: Path
    url: str
    ref: str | None
    commit: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be made into a directory; ``depth`` is how many repositories it is a submodule below."""

    address: GitAddress
    revision: Revision
    history: bool = False
    depth: int = 0

    @property
    def key(self) -> str:
        """The directory's name in the cache."""
        flavour = "with history" if self.history else "files"
        text = f"{flavour} of {self.revision.commit} of {self.address.url}"
        return hashlib.sha256(text.encode()).hexdigest()


class GitClient:
    """Fetches repositories into ``store``.

    Parameters:
        environment: the process's environment variables: proxies, credentials, where git is.
        offline: take only what is in the cache.
    """

    def __init__(
        self, store: Store, environment: Mapping[str, str], reporter: Reporter, *, offline: bool = False
    ) -> None:
        self._store = store
        self._environment = environment
        self._reporter = reporter
        self._offline = offline
        self._connected: dict[GitAddress, Git] = {}
        self._submodules = 0

    def check_out(self, address: GitAddress, ref: str | None = None, *, history: bool = False) -> Checkout:
        """The files of ``ref`` (branch, tag or commit; None: the default branch), with their submodules.

        Parameters:
            history: also ``.git`` with all branches and tags, for tools that compute a version from them.

        Raises:
            UsageError: there is no such ref.
            RepoError: the commit cannot be made into files.
            RemoteError: the server cannot be reached, lets nobody in, or has moved a tag.
            MachineError: there is no git.
        """
        if ref is not None:
            check_ref(ref)
        with self._reporter.stage("source") as stage:
            stage.detail(clean(address.url))
            revision = self._revision(address, ref)
            self._submodules = 0
            path, pointers = self._directory(_Wanted(address, revision, history))
        if pointers:
            shown = ", ".join(pointers[:_NAMED])
            more = f" and {len(pointers) - _NAMED} more" if len(pointers) > _NAMED else ""
            self._reporter.warn(
                f"git-lfs is not installed, so these files only say where their content is: {shown}{more}"
            )
        return Checkout(path, address.url, ref, revision.commit)

    # Which commit

    def commit(self, address: GitAddress, ref: str | None = None) -> str:
        """The full hash of the commit that ``ref`` is at present; nothing is fetched.

        Raises: as :meth:`check_out`.
        """
        if ref is not None:
            check_ref(ref)
        return self._revision(address, ref).commit

    def _git(self, address: GitAddress) -> Git:
        if self._offline:
            raise RemoteError(
                f"{clean(address.url)} is not in the cache, and --offline does not fetch it",
                code="offline",
                remedy="run once without --offline",
            )
        if address not in self._connected:
            self._connected[address] = connect(address, self._environment)
        return self._connected[address]

    def _revision(self, address: GitAddress, ref: str | None) -> Revision:
        if ref is not None and is_commit(ref):
            return Revision(ref.lower(), "commit")
        key = hashlib.sha256(f"ref {ref or ''} of {address.url}".encode()).hexdigest()
        known = self._store.action(key)
        before = known.get("commit") if known else None
        if self._offline and isinstance(before, str):
            return Revision(before, "commit")
        with remote_errors(address):
            revision = find_revision(self._git(address), ref)
        if isinstance(before, str) and before != revision.commit:
            self._moved(address, revision, before)
        self._store.put_action(key, {"commit": revision.commit})
        return revision

    def _moved(self, address: GitAddress, revision: Revision, before: str) -> None:
        if revision.kind == "tag":
            raise RemoteError(
                f"the tag {revision.name.removeprefix('refs/tags/')} of {clean(address.url)} was on"
                f" {before[:12]} when it was used here before, and has been moved to {revision.commit[:12]}",
                code="moved-tag",
                remedy=f"if that is right, ask for the commit itself: #{revision.commit}",
            )
        name = revision.name.removeprefix("refs/heads/")
        self._reporter.note(
            f"{clean(address.url)}: {name} has moved from {before[:12]} to {revision.commit[:12]}"
        )

    # Its files

    def _directory(self, wanted: _Wanted) -> tuple[Path, tuple[str, ...]]:
        """``(directory, pointers in it)``: from the cache, or made."""
        place = self._store.checkouts / wanted.key
        with self._store.lock(f"checkout-{wanted.key}"):
            known = checked_directory(self._store, place)
            could_be_more = not self._offline and has_lfs(self._environment)
            if known is not None and known["pointers"] and could_be_more:
                remove_whole(place, self._store.tmp)
                known = None
            if known is None:
                with remote_errors(wanted.address):
                    known = make_directory(self._store, place, partial(self._make, wanted))
        return place / "tree", tuple(known["pointers"])

    def _make(self, wanted: _Wanted, tree: Path) -> dict[str, Any]:
        git, revision = self._git(wanted.address), wanted.revision
        start_repository(git, tree, revision.commit)
        fetch_commit(git, tree, revision, history=wanted.history)
        entries = list_files(git, tree, revision.commit)
        folded = Counter(entry.path.lower() for entry in entries)
        alike = next((entry.path for entry in entries if folded[entry.path.lower()] > 1), None)
        if alike is not None and (collision := self._store.case_collision(printable(alike))):
            raise collision  # git would write one over the other
        check_out_files(git, tree, revision.commit)
        small = [
            entry.path for entry in entries if entry.mode != b"120000" and 0 < entry.size < MOST_POINTER_BYTES
        ]
        pointers = find_pointers(tree, small)
        if pointers and has_lfs(self._environment):
            fetch_objects(git, tree, revision.commit)
            pointers = find_pointers(tree, pointers)
        gitlinks = [entry for entry in entries if entry.mode == b"160000"]
        names = [printable(path) for path in pointers]
        if gitlinks:
            names += self._add_submodules(wanted, tree, gitlinks)
        if not wanted.history:
            shutil.rmtree(tree / ".git")
        return {"url": wanted.address.url, "commit": revision.commit, "pointers": sorted(names)}

    def _add_submodules(self, wanted: _Wanted, tree: Path, gitlinks: Sequence[Entry]) -> list[str]:
        """Fill the directories of the submodules; returns the pointers in them."""
        addresses = read_addresses(self._git(wanted.address), tree, wanted.revision.commit)
        pointers = []
        for link in gitlinks:
            path, shown = os.fsdecode(link.path), printable(link.path)
            if path not in addresses:
                self._reporter.warn(f"{shown}: .gitmodules does not say what belongs here; it stays empty")
                continue
            self._submodules += 1
            if self._submodules > _MOST_SUBMODULES or wanted.depth >= _DEEPEST_SUBMODULE:
                raise RepoError(
                    f"there are more than {_MOST_SUBMODULES} submodules, or they are nested too deeply",
                    code="repository-too-large",
                    file=_GITMODULES,
                )
            try:
                address = relative_address(wanted.address, addresses[path])
                inner = _Wanted(address, Revision(link.object, "commit"), depth=wanted.depth + 1)
                source, inner_pointers = self._directory(inner)
            except EnvbuildError as error:
                raise _in_submodule(shown, error) from error
            target = tree / path
            if not target.is_dir() or target.resolve() != tree.resolve() / path:
                raise RepoError("the place of a submodule is taken", code="bad-gitmodules", file=shown)
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
            pointers += [f"{shown}/{name}" for name in inner_pointers]
        return pointers


def _in_submodule(path: str, error: EnvbuildError) -> EnvbuildError:
    # A bad address is the repository's fault, not that of whoever typed the command.
    kind = RepoError if isinstance(error, UsageError) else type(error)
    message = f"submodule {quote(path)}: {error.message}"
    return kind(message, code=error.code, file=_GITMODULES, remedy=error.remedy)
