"""From a SOURCE to its :class:`Repo`: a directory as it is, everything else fetched into the cache."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from envbuild.errors import RemoteError, RepoError, UsageError
from envbuild.progress import Reporter
from envbuild.source.address import ArchiveSource, Directory, GitSource, RecordSource, parse_source
from envbuild.source.locate import open_repo
from envbuild.source.origin import Origin
from envbuild.source.repo import Repo
from envbuild.source.text import clean, printable, quote
from envbuild.store import Store
from envbuild.store.directory import checked_directory, make_directory

__all__ = ["Opener"]


_ARCHIVE_SUFFIX = re.compile(r"\.(?:zip|tar|tar\.gz|tgz|tar\.bz2|tar\.xz)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens sources.

    Parameters:
        store: where what is fetched is kept.
        environment: the process's environment variables.
        offline: take only what is in the cache.
    """

    store: Store
    environment: Mapping[str, str]
    reporter: Reporter
    offline: bool = False

    def open(self, text: str, subdirectory: str | None = None) -> Repo:
        """The repository that ``text`` names; with ``subdirectory``, that part of it.

        Raises:
            UsageError: ``text`` is no source, or there is no such ref.
            RepoError: what was fetched cannot be made into files, or there is no such subdirectory.
            RemoteError: it cannot be fetched.
            MachineError: a program is missing.
        """
        source = parse_source(text)
        if isinstance(source, Directory):
            repo = open_repo(source.path)
        elif isinstance(source, GitSource):
            repo = self._git(source)
        elif isinstance(source, ArchiveSource):
            repo = self._archive(source)
        else:
            repo = self._record(source)
        return repo if subdirectory is None else _part(repo, subdirectory)

    def _git(self, source: GitSource) -> Repo:
        from envbuild.source.git import GitClient

        client = GitClient(self.store, self.environment, self.reporter, offline=self.offline)
        checkout = client.check_out(source.address, source.ref)
        origin = Origin(checkout.url, checkout.commit, source.address.name, ref=checkout.ref, tracked=True)
        return Repo(checkout.path.resolve(), origin)

    def _archive(self, source: ArchiveSource) -> Repo:
        from envbuild.source.archive import unpack
        from envbuild.source.download import download, keep

        shown = clean(source.url or str(source.path))
        with self.reporter.stage("source") as stage:
            stage.detail(shown)
            if source.url is not None:
                sha256 = download(source.url, store=self.store, stage=stage, offline=self.offline)
            else:
                assert source.path is not None
                sha256 = keep(source.path, self.store)
            if source.sha256 not in (None, sha256):
                raise RemoteError(
                    f"{shown} is not the file whose hash was given: its sha256 is {sha256}",
                    code="wrong-archive",
                    remedy="check where it comes from",
                )

            def make(tree: Path) -> dict[str, str]:
                with self.store.temporary_directory() as scratch:
                    try:
                        top = unpack(self.store.artifact_path(sha256), scratch, name=shown)
                    except FileExistsError as error:
                        raise self.store.case_collision(printable(error.filename)) or error from error
                    top.rename(tree)
                return {}

            place, _ = self._kept(f"archive {sha256}", make)
        name = re.sub(_ARCHIVE_SUFFIX, "", shown.partition("?")[0].rstrip("/").rpartition("/")[2])
        return Repo(place, Origin(shown, f"sha256:{sha256}", name or "archive"))

    def _record(self, source: RecordSource) -> Repo:
        from envbuild.source.record import fetch_record

        with self.reporter.stage("source") as stage:
            stage.detail(clean(source.text))

            def make(tree: Path) -> dict[str, str]:
                if self.offline:
                    raise RemoteError(
                        f"{clean(source.text)} is not in the cache, and --offline does not fetch it",
                        code="offline",
                        remedy="run once without --offline",
                    )
                with self.store.temporary_directory() as scratch:
                    record = fetch_record(source, scratch, self.environment)
                    (scratch / "files").rename(tree)
                return {"url": record.url, "revision": record.revision}

            place, known = self._kept(f"record {source.kind} {source.text}", make)
        name = printable(source.text.rstrip("/").rpartition("/")[2])
        return Repo(place, Origin(clean(source.text), known["revision"], name or "record"))

    def _kept(self, what: str, make: Callable[[Path], dict[str, str]]) -> tuple[Path, dict[str, str]]:
        """The directory of ``what`` in the cache, and what ``make`` said of it when it filled it."""
        place = self.store.checkouts / hashlib.sha256(what.encode()).hexdigest()
        with self.store.lock(f"checkout-{place.name}"):
            known = checked_directory(self.store, place)
            if known is None:
                known = make_directory(self.store, place, make)
        return (place / "tree").resolve(), known


def _part(repo: Repo, subdirectory: str) -> Repo:
    """``subdirectory`` of ``repo`` as a repository of its own."""
    try:
        repo.check(subdirectory)
        root = (repo.root / subdirectory).resolve(strict=True)
        if not root.is_dir() or not root.is_relative_to(repo.root.resolve()):
            raise RepoError("this is not a directory", code="file-not-found", file=printable(subdirectory))
    except (OSError, RepoError) as error:
        raise UsageError(
            f"there is no directory {quote(subdirectory)} in the source",
            code="no-such-subdirectory",
            remedy="give it relative to the top of the repository",
        ) from error
    if repo.origin is None:
        return Repo(root)
    place = root.relative_to(repo.root.resolve()).as_posix()
    name = printable(root.name) if place != "." else repo.origin.name
    return Repo(root, replace(repo.origin, name=name, subdirectory="" if place == "." else place))
