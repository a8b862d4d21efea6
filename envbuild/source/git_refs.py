"""Which commit a branch, a tag or an abbreviated hash of a remote repository is."""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from envbuild.errors import UsageError
from envbuild.source.git_process import FETCH_SECONDS, Git
from envbuild.source.text import clean, printable, quote

__all__ = ["Revision", "find_revision", "is_commit"]

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ABBREVIATED = re.compile(r"[0-9a-f]{4,63}")
_LINE = re.compile(r"(?P<commit>[0-9a-f]{40}|[0-9a-f]{64})\t(?P<name>HEAD|refs/\S+)")
_MOST_SUGGESTED = 3


@dataclass(frozen=True, slots=True)
class Revision:
    """What a ref is: the ``commit``, how it was found, and the full name of the ref, if it is one."""

    commit: str
    kind: Literal["default", "branch", "tag", "ref", "commit"]
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Refs:
    """What a server says it has: full name -> commit; of an annotated tag the commit it is on."""

    commits: Mapping[str, str] = field(default_factory=dict)

    def close_to(self, ref: str) -> list[str]:
        """Branches and tags that may have been meant."""
        names = sorted({re.sub(r"^refs/(?:heads|tags)/", "", name) for name in self.commits} - {"HEAD"})
        by_case = {name.lower(): name for name in reversed(names)}
        close = difflib.get_close_matches(ref.lower(), by_case, _MOST_SUGGESTED, 0.5)
        return [by_case[name] for name in close] or [
            name for name in ("main", "master") if f"refs/heads/{name}" in self.commits
        ]


def is_commit(ref: str | None) -> bool:
    """Whether ``ref`` is the full hash of a commit, which needs no looking up."""
    return ref is not None and _COMMIT.fullmatch(ref.lower()) is not None


def find_revision(git: Git, ref: str | None) -> Revision:
    """Ask the server which commit ``ref`` is; None is its default branch.

    Raises:
        GitFailure: the server could not be asked.
        UsageError: it has no such ref, or more than one thing of that name.
    """
    if ref is not None and is_commit(ref):
        return Revision(ref.lower(), "commit")
    wanted = ["HEAD", "refs/heads/*", "refs/tags/*"]
    if ref is not None and ref.startswith("refs/"):
        wanted.append(ref)
    refs = _read(git.output("ls-remote", "--quiet", "--", git.address.url, *wanted))
    if ref is None:
        if "HEAD" not in refs.commits:
            raise UsageError(
                f"{clean(git.address.url)} has no default branch",
                code="no-such-ref",
                remedy=_suggestion(refs, "main"),
            )
        return Revision(refs.commits["HEAD"], "default", "HEAD")
    if ref in refs.commits and ref != "HEAD":
        return Revision(refs.commits[ref], "ref", ref)
    branch, tag = f"refs/heads/{ref}", f"refs/tags/{ref}"
    if branch in refs.commits and tag in refs.commits and refs.commits[branch] != refs.commits[tag]:
        raise UsageError(
            f"{quote(ref)} is a branch and also a tag, on different commits",
            code="ambiguous-ref",
            remedy=f"write {branch} or {tag}",
        )
    if tag in refs.commits:
        return Revision(refs.commits[tag], "tag", tag)
    if branch in refs.commits:
        return Revision(refs.commits[branch], "branch", branch)
    if _ABBREVIATED.fullmatch(ref):
        return _find_abbreviated(git, ref, refs)
    raise _no_such_ref(git, ref, refs)


def _read(listing: bytes) -> _Refs:
    commits: dict[str, str] = {}
    for line in listing.decode("utf-8", "surrogateescape").splitlines():
        match = _LINE.fullmatch(line)
        if match is not None:
            # "refs/tags/x^{}" comes after "refs/tags/x" and is what the tag object points to.
            commits[match["name"].removesuffix("^{}")] = match["commit"]
    return _Refs(commits)


def _find_abbreviated(git: Git, ref: str, refs: _Refs) -> Revision:
    """A server does not complete a hash: its commits are fetched, without files where it can do that."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        git.output("init", "--quiet", "--template=", directory=place)
        everything = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        options = ("--quiet", "--filter=tree:0", "--no-recurse-submodules", "--update-head-ok")
        git.output(
            "fetch", *options, "--", git.address.url, *everything, directory=place, seconds=FETCH_SECONDS
        )
        found = git.output("rev-list", "--all", directory=place).decode().split()
        fitting = [commit for commit in found if commit.startswith(ref)]
    if not fitting:
        raise _no_such_ref(git, ref, refs)
    if len(fitting) > 1:
        raise UsageError(
            f"{quote(ref)} is the beginning of {len(fitting)} commits",
            code="ambiguous-ref",
            remedy=f"write more of it, like {fitting[0][: len(ref) + 8]}",
        )
    return Revision(fitting[0], "commit")


def _no_such_ref(git: Git, ref: str, refs: _Refs) -> UsageError:
    return UsageError(
        f"{clean(git.address.url)} has no branch, tag or commit {quote(ref)}",
        code="no-such-ref",
        remedy=_suggestion(refs, ref),
    )


def _suggestion(refs: _Refs, ref: str) -> str:
    close = [printable(name) for name in refs.close_to(ref)]
    if close:
        return f"did you mean {' or '.join(close)}?"
    return "look at the names of its branches and tags, or give the full hash of a commit"
