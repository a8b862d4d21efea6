"""``postBuild``: a script of the repository that runs when everything else is in the image."""

from __future__ import annotations

import re
from typing import Final

from envbuild.errors import RepoError
from envbuild.source import Repo, printable
from envbuild.spec.detection import Listing
from envbuild.spec.findings import Findings
from envbuild.spec.model import Execution

__all__ = ["STEP", "post_build_execution", "read_post_build", "script_interpreter"]

STEP: Final = "postBuild"
_LIMIT = 10_000_000
_LONGEST_FIRST_LINE = 255  # the kernel's BINPRM_BUF_SIZE
_BASH: Final = ("/usr/bin/env", "bash")


def read_post_build(repo: Repo, listing: Listing, findings: Findings) -> str | None:
    """The path of the script that counts, or None; what is wrong with it is in ``findings``."""
    path = listing.path(STEP)
    if path is None:
        return None
    try:
        script_interpreter(repo, path)
    except RepoError as error:
        findings.failed(error)
        return None
    findings.used(path, STEP, "runs in the sandbox when everything else is in the image")
    return path


def post_build_execution(path: str, *, network: bool) -> Execution:
    """What ``plan`` says about it."""
    why = "the repository has this script for the end of a build"
    return Execution(STEP, why, "build", printable(path), network=network)


def script_interpreter(repo: Repo, path: str) -> tuple[str, ...]:
    """The program that runs the script at ``path``, and the argument its ``#!`` line gives, if any.

    As the kernel reads that line (``execve(2)``): everything behind the program is one argument. A script
    without such a line is bash's.

    Raises:
        RepoError: it is no script, or was written in a way in which it cannot run.
    """
    content = repo.read(path, _LIMIT)
    first, _, _ = content.partition(b"\n")
    if b"\0" in content[:4096]:
        raise _unusable("this is no script, but something binary", path, "make it a script")
    if content.startswith(b"\xef\xbb\xbf"):
        raise _unusable("the script begins with a byte order mark", path, "save it as UTF-8 without one")
    if first.endswith(b"\r"):
        remedy = "convert it (`sed -i 's/\\r$//'`), and keep git from changing it (`* text=auto eol=lf`)"
        raise _unusable("the script has Windows line ends, which no interpreter takes", path, remedy)
    if not first.startswith(b"#!"):
        return _BASH
    line = first[2:].strip(b" \t")
    match = re.fullmatch(rb"(/[^\s]*)(?:[ \t]+(.+))?", line)
    if match is None or len(first) > _LONGEST_FIRST_LINE:
        raise _unusable(
            "the first line names no program with its full path", path, "write #!/usr/bin/env bash"
        )
    try:
        return tuple(part.decode() for part in match.groups() if part)
    except UnicodeDecodeError as error:
        raise _unusable("the first line is not UTF-8", path, "write #!/usr/bin/env bash") from error


def _unusable(message: str, path: str, remedy: str) -> RepoError:
    return RepoError(message, code="bad-script", file=printable(path), line=1, remedy=remedy)
