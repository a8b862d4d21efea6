"""Which line of a script failed.

bash is asked to leave a note when a command fails and when it ends. The traps for that come by ``BASH_ENV``,
which the script's own shell reads and hides from what it starts. They change neither exit codes nor what is
run (``set -E`` would), and traps of the script's own replace them. Other interpreters tell the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import RepoError
from envbuild.source import Repo
from envbuild.store import Store

__all__ = ["WATCH", "failed_line", "is_bash", "watched"]

WATCH = "/run/envbuild-script"
_REST = '"${BASH_SOURCE[0]}" "$BASH_COMMAND"'
_TRAPS = f"""\
unset BASH_ENV
trap 'printf "%s %s %s\\n%s" "$?" "$LINENO" {_REST} > {WATCH}/failed' ERR
trap 'printf "%s %s %s\\n%s" "$?" "${{BASH_LINENO[0]}}" {_REST} > {WATCH}/ended' EXIT
"""
_NOTES = ("failed", "ended")
_LONGEST_NOTE = 4096
_SCRIPT_LIMIT = 10_000_000


@contextmanager
def watched(store: Store) -> Iterator[Path]:
    """A directory to be mounted writable at :data:`WATCH`: a script of any user can leave its notes there.

    ``trap`` in it is for ``BASH_ENV``.
    """
    with store.temporary_directory() as directory:
        directory.chmod(0o755)
        (directory / "trap").write_text(_TRAPS)
        (directory / "trap").chmod(0o644)
        for name in _NOTES:
            (directory / name).touch()
            (directory / name).chmod(0o666)
        yield directory


def is_bash(interpreter: tuple[str, ...]) -> bool:
    """Whether a ``#!`` line means bash.

    >>> is_bash(("/usr/bin/env", "bash")), is_bash(("/bin/bash", "-e")), is_bash(("/bin/sh",))
    (True, True, False)
    """
    program, *arguments = interpreter
    if program.endswith("/env"):
        words = [word for word in " ".join(arguments).split() if not word.startswith("-") and "=" not in word]
        program = words[0] if words else ""
    return program.rpartition("/")[2] == "bash"


@dataclass(frozen=True, slots=True)
class _Note:
    code: int
    line: int
    command: str


def failed_line(repo: Repo, path: str, code: int, said: str, watch: Path) -> int | None:
    """The line on which the script at ``path`` failed; None when it cannot be known.

    Parameters:
        code: its exit code.
        said: the end of its output.
        watch: the directory that :func:`watched` made.
    """
    name = re.escape(f"/{path}")
    if misspelt := re.findall(rf"{name}: line (\d{{1,7}}): (?:syntax error|unexpected EOF)", said):
        return int(misspelt[-1])
    failed, ended = (_read_note(watch / name, path, code) for name in _NOTES)
    if failed is not None and (ended is None or failed.command == ended.command):
        return failed.line
    # In a function, or by `exit`: bash knows the command, and the line that called the function.
    if ended is not None and (line := _line_with(repo, path, ended.command) or ended.line):
        return line
    # bash and dash, Perl and R, Python
    mentioned = re.findall(rf"{name}(?:: line |: | line |\", line )(\d{{1,7}})", said)
    return int(mentioned[-1]) if mentioned else None


def _read_note(note: Path, path: str, code: int) -> _Note | None:
    """What the script's shell left, if it is about this end. It could have left anything."""
    if note.is_symlink() or not note.is_file():
        return None
    with note.open("rb") as stream:
        first, _, command = stream.read(_LONGEST_NOTE).decode("utf-8", "replace").partition("\n")
    match = re.fullmatch(r"(\d{1,3}) (\d{1,7}) (.*)", first)
    if match is None or int(match[1]) != code or not match[3].endswith(f"/{path}"):
        return None
    return _Note(code, int(match[2]), command)


def _line_with(repo: Repo, path: str, command: str) -> int | None:
    """The only line that has ``command`` in it."""
    try:
        lines = repo.read(path, _SCRIPT_LIMIT).decode("utf-8", "replace").splitlines()
    except RepoError:
        return None
    found = [number for number, line in enumerate(lines, start=1) if command and command in line]
    return found[0] if len(found) == 1 else None
