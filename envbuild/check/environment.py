"""EB1: is it said, completely and up to date, what the environment is?"""

from __future__ import annotations

from collections.abc import Iterator

from envbuild.check.context import Context
from envbuild.check.rule import Hit, repository_rule
from envbuild.lock.lockfile import FILENAME

__all__ = ["RULES"]

# Problems of reading the repository that other rules are about.
_ELSEWHERE = frozenset(
    {
        "bad-kernel-name",
        "bad-nbformat",
        "bad-notebook",
        "inferred",
        "install-not-declared",
        "install-not-supported",
        "kernel-conflict",
        "kernel-not-supported",
        "no-dependencies",
        "python-2",
        "unknown-import",
    }
)


@repository_rule("EB101", "lock-missing", "warning")
def lock_missing(context: Context) -> Iterator[Hit]:
    """There is no lock: what is installed depends on the day.

    Without `envbuild.lock`, whoever builds the environment next month gets other versions. A lock of another
    tool that envbuild takes over (`uv.lock`, `conda-lock.yml`, ...) makes this a note: the packages are
    pinned, the operating system and the Jupyter server are not.
    """
    if context.lock is None and context.lock_error is None and context.is_locked and context.spec.notebooks:
        adopted = context.spec.adopted
        yield Hit(
            f"there is no {FILENAME}"
            + (f"; only the packages in {adopted.path} are pinned" if adopted else ""),
            remedy="run `envbuild lock` and commit the result",
            severity="note" if adopted else None,
        )


@repository_rule("EB102", "lock-stale", "error")
def lock_stale(context: Context) -> Iterator[Hit]:
    """The lock is not what the repository asks for.

    A requirement, a kernel or a Python version was changed after `envbuild lock` ran; `envbuild build
    --locked` refuses this.
    """
    for reason in context.stale if context.lock is not None else ():
        yield Hit(f"out of date: {reason}", file=FILENAME, remedy="run `envbuild lock` and commit the result")


@repository_rule("EB103", "lock-unreadable", "error")
def lock_unreadable(context: Context) -> Iterator[Hit]:
    """The lock cannot be read.

    It was damaged, perhaps by a merge, or a newer envbuild wrote it.
    """
    error = context.lock_error
    if error is not None:
        yield Hit(error.message, file=error.file or FILENAME, line=error.line, remedy=error.remedy)


@repository_rule("EB104", "dependencies-undeclared", "warning")
def dependencies_undeclared(context: Context) -> Iterator[Hit]:
    """No file says what the notebooks need.

    envbuild then guesses packages from the imports, and other tools install nothing.
    """
    if context.spec.inferred and any(notebook.imports for notebook in context.spec.notebooks):
        yield Hit(
            "no file declares what the notebooks need",
            remedy="write the packages into requirements.txt, environment.yml or pyproject.toml",
        )


@repository_rule("EB105", "repository-problem", "error")
def repository_problem(context: Context) -> Iterator[Hit]:
    """Something else keeps the environment from being locked or built.

    What `envbuild plan` calls an error or a warning: a file that cannot be read or is not supported, a
    requirement that is not one, a link that leads out of the repository.
    """
    for problem in context.spec.problems:
        if problem.code not in _ELSEWHERE and problem.level != "note":
            yield Hit(
                problem.message,
                file=problem.file,
                line=problem.line,
                remedy=problem.remedy,
                severity=problem.level,
            )


RULES = (lock_missing, lock_stale, lock_unreadable, dependencies_undeclared, repository_problem)
