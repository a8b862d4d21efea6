"""Writing what a session installed into the file that declares the repository's dependencies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from envbuild.drift.declaring import Advice, Place
from envbuild.drift.editing import edited
from envbuild.drift.messages import remedy, said
from envbuild.errors import RepoError, UsageError
from envbuild.source import Repo
from envbuild.spec.pep508 import parse_requirement
from envbuild.store.disk import write_atomic

__all__ = ["Adoption", "others_locked", "plan_adoption", "refuse_nothing", "written"]

_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Adoption:
    """What can be written, and what somebody has to do by hand.

    ``files`` are paths in the repository and their new text; ``before`` the old one, None for a new file.
    """

    done: tuple[Advice, ...]
    left: tuple[Advice, ...]
    files: tuple[tuple[str, str | None, str], ...]


def plan_adoption(advice: Sequence[Advice], repo: Repo, place: Place) -> Adoption:
    """Follow ``advice`` in the texts of the files it is about; nothing is written.

    Raises:
        RepoError: a file cannot be read.
        UsageError: the repository is a fetched one, which is not ours to change.
    """
    if repo.origin is not None:
        raise UsageError(
            f"{repo.origin.url} is not ours to change",
            code="source-not-ours",
            remedy="adopt the session in a clone of your own",
        )
    before: dict[str, str | None] = {}
    after: dict[str, str] = {}
    done, left = [], []
    named = {one.change.name for one in advice}
    # What was inferred is declared with it: a file that declares one package declares all.
    others = [one.text for one in place.requirements if _name(one.text) not in named]
    for one in advice:
        if one.action == "lock":
            done.append(one)
            continue
        text = None
        if one.action in ("add", "replace", "remove") and place.lock is None:
            if one.file not in before and (read := _read(repo, one.file, place, others)) is not None:
                before[one.file], after[one.file] = read
            if one.file in before:
                text = edited(after[one.file], one, place)
        if text is None:
            left.append(one)
        else:
            after[one.file] = text
            done.append(one)
    files = tuple((path, before[path], text) for path, text in sorted(after.items()) if text != before[path])
    return Adoption(tuple(done), tuple(left), files)


def refuse_nothing(adoption: Adoption) -> None:
    """Raise :class:`RepoError` when nothing can be adopted; it says what to do instead."""
    if adoption.done:
        return
    lines = [f"{said(one.change)}; {remedy(one)}" for one in adoption.left]
    raise RepoError(
        "nothing that was installed can be written into a file here",
        code="session-not-adoptable",
        remedy=remedy(adoption.left[0]) if adoption.left else "nothing was asked for by name in the session",
        detail="\n".join(lines) or None,
    )


def others_locked(adoption: Adoption, targets: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, str, str]]:
    """What was adopted from an index and got another version: its name, that of the session, the locked ones.

    Parameters:
        targets: version by name, for each platform that was locked.
    """
    for change in (one.change for one in adoption.done):
        if change.manager == "pip" and change.after is not None and change.origin is None:
            locked = {versions.get(change.name, "nothing") for versions in targets}
            if others := sorted(locked - {change.after, Version(change.after).public}):
                yield change.name, change.after, ", ".join(others)


def _name(text: str) -> str:
    parsed = parse_requirement(text)
    return parsed.name if parsed else ""


def _read(repo: Repo, path: str, place: Place, new: Sequence[str]) -> tuple[str | None, str] | None:
    """The text there is, and that to begin with (``new`` lines); None when it is not to be written."""
    if place.new and path == place.path and not repo.exists(path):
        return None, "".join(f"{line}\n" for line in new)
    full = repo.root / path
    if full.is_symlink() or full.resolve() != full:
        return None
    try:
        text = repo.read(path, _LIMIT).decode()
    except UnicodeDecodeError:
        return None
    return text, text


@contextmanager
def written(adoption: Adoption, repo: Repo) -> Iterator[None]:
    """Write the files; if the block fails, they are again as they were.

    Raises:
        RepoError: one cannot be written.
    """
    done: list[tuple[str, str | None]] = []
    try:
        for path, before, after in adoption.files:
            _write(repo.root / path, path, after)
            done.append((path, before))
        yield
    except BaseException:
        _restore(repo.root, done)
        raise


def _write(path: Path, shown: str, text: str) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    try:
        write_atomic(path, text.encode(), mode=mode)
    except OSError as error:
        raise RepoError(
            f"this cannot be written: {error.strerror}",
            code="not-writable",
            file=shown,
            remedy="make it writable, or write the lines by hand",
        ) from error


def _restore(root: Path, done: Sequence[tuple[str, str | None]]) -> None:
    for path, before in done:
        if before is None:
            (root / path).unlink(missing_ok=True)
        else:
            _write(root / path, path, before)
