"""Building with everything decided: a source tree and pinned requirements in, a wheel in the store out.

What was done once is not done again: answers are remembered by a digest of all that went in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.tags import Tag

from envbuild.backend.environment import make_environment
from envbuild.backend.hooks import Answer, Hooks
from envbuild.backend.system import BuildSystem, read_build_system
from envbuild.backend.wheels import check_fits, normalise
from envbuild.errors import MachineError, RepoError
from envbuild.lock.from_source import Metadata, read_metadata
from envbuild.lock.model import Artifact, Wheel
from envbuild.lock.select import target_tags
from envbuild.source import Repo
from envbuild.store import Store

__all__ = ["Source", "Workshop"]

_VERSION = 1  # of what the answers mean
_METADATA_LIMIT = 4 << 20


@dataclass(frozen=True)
class Source:
    """What is built.

    Parameters:
        what: for people (``docopt 0.6.2``).
        key: identifies the files.
        unpack: writes them into a directory that is not there yet; returns where in it the tree is.
        subdirectory: of the project in the tree.
        version: what tools that ask git for one should say.
        place: where the sandbox sees the tree; None when it does not matter.
    """

    what: str
    key: str
    unpack: Callable[[Path], Path]
    subdirectory: str = ""
    version: str | None = None
    place: str | None = None


@dataclass(frozen=True)
class Workshop:
    """Builds for one base and one platform.

    Parameters:
        hooks: called when something has to run.
        base: identifies the image that the hooks run in.
        python: the base's exact version, ``executable`` where it is in the image.
        glibc: the base's newest manylinux policy.
        platform: what is built for; ``host`` is what the hooks run on.
        fetch: gets an artifact into the store.
    """

    store: Store
    hooks: Callable[[], Hooks]
    base: str
    python: str
    executable: str
    glibc: str
    platform: str
    host: str
    fetch: Callable[[Sequence[Artifact]], Sequence[Path]]

    @cached_property
    def _hooks(self) -> Hooks:
        return self.hooks()

    @cached_property
    def _tags(self) -> list[Tag]:
        return target_tags(self.python, self.platform, self.glibc)

    def system(self, source: Source) -> BuildSystem:
        """The build system of ``source``."""
        with self._tree(source) as tree:
            return read_build_system(tree / source.subdirectory, source.what)

    def requires(self, source: Source, pins: Sequence[Wheel], hook: str) -> tuple[str, ...]:
        """What ``hook`` (``get_requires_for_build_wheel``) asks for, with ``pins`` installed."""
        key = self._key(hook, source, pins)
        record = self.store.action(key)
        if record is None:
            with self._called(hook, source, pins) as answer:
                record = {"requires": list(answer.requires(source.what))}
            self.store.put_action(key, record)
        return tuple(map(str, record["requires"]))

    def metadata(self, source: Source, pins: Sequence[Wheel]) -> Metadata:
        """What the project says about itself (``prepare_metadata_for_build_wheel``, or by building)."""
        hook = "prepare_metadata_for_build_wheel"
        key = self._key(hook, source, pins)
        record = self.store.action(key)
        if record is None:
            with self._called(hook, source, pins) as answer:
                directory = answer.path("metadata", source.what)
                if directory is not None:
                    data = Repo(directory.resolve()).read("METADATA", _METADATA_LIMIT)
                    metadata = read_metadata(data, source.what)
                else:
                    metadata = self._kept(answer, source)[1]
            record = {
                "name": metadata.name,
                "version": metadata.version,
                "requires": list(metadata.requires),
                "requires_python": metadata.requires_python,
                "extras": list(metadata.extras),
            }
            self.store.put_action(key, record)
        return Metadata(
            record["name"],
            record["version"],
            tuple(record["requires"]),
            record["requires_python"],
            tuple(record["extras"]),
        )

    def wheel(self, source: Source, pins: Sequence[Wheel], hook: str = "build_wheel") -> Artifact:
        """The normalised wheel of ``source``, in the store.

        Raises:
            RepoError: the build failed, or what it made is no wheel for the target.
        """
        key = self._key(hook, source, pins)
        record = self.store.action(key)
        if record is not None:
            artifact = Artifact(record["filename"], record["sha256"], record["size"], "built")
            if self.store.has_artifact(artifact.sha256):
                check_fits(artifact.filename, self._tags)
                return artifact
        with self._called(hook, source, pins) as answer:
            artifact, _ = self._kept(answer, source)
        self.store.put_action(
            key, {"filename": artifact.filename, "sha256": artifact.sha256, "size": artifact.size}
        )
        return artifact

    def _kept(self, answer: Answer, source: Source) -> tuple[Artifact, Metadata]:
        path = answer.path("wheel", source.what)
        if path is None or not path.is_file():
            raise RepoError(
                f"building {source.what} made no wheel",
                code="bad-build-answer",
                remedy="report it to the project's maintainers",
            )
        with self.store.temporary_file() as copy:
            with copy.open("w+b") as stream:
                wheel = normalise(path, stream, self._tags)
            with copy.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            artifact = Artifact(wheel.filename, sha256, copy.stat().st_size, "built")
            copy.replace(self.store.artifact_path(sha256))
        return artifact, wheel.metadata

    @contextmanager
    def _called(self, hook: str, source: Source, pins: Sequence[Wheel]) -> Iterator[Answer]:
        self._check_platform(source, pins)
        paths = self.fetch([wheel.artifact for wheel in pins])
        with self.store.temporary_directory() as scratch, self._tree(source) as tree:
            environment = scratch / "environment"
            environment.mkdir()
            make_environment(zip(pins, paths, strict=True), self.python, self.executable, environment)
            system = read_build_system(tree / source.subdirectory, source.what)
            with self._hooks.call(
                hook,
                source.what,
                tree,
                system,
                environment,
                subdirectory=source.subdirectory,
                version=source.version,
                **({"place": source.place} if source.place else {}),
            ) as answer:
                yield answer

    def _check_platform(self, source: Source, pins: Sequence[Wheel]) -> None:
        """Refuse to build for another machine with programs of that machine."""
        foreign = [pin.name for pin in pins if not pin.artifact.filename.endswith("-any.whl")]
        if self.platform != self.host and foreign:
            raise MachineError(
                f"building {source.what} for {self.platform} needs {foreign[0]}, which does not run here",
                code="foreign-platform",
                remedy=f"lock on a {self.platform} machine, or leave that platform out",
            )

    @contextmanager
    def _tree(self, source: Source) -> Iterator[Path]:
        """A fresh copy of the sources: what one hook leaves behind, the next does not see."""
        with self.store.temporary_directory() as scratch:
            tree = source.unpack(scratch / "tree")
            project = (tree / source.subdirectory).resolve()
            if not project.is_dir() or not project.is_relative_to(tree.resolve()):
                raise RepoError(
                    f"{source.what} has no directory {source.subdirectory!r}", code="no-such-subdirectory"
                )
            yield tree

    def _key(self, hook: str, source: Source, pins: Sequence[Wheel]) -> str:
        content: list[Any] = [
            "built",
            _VERSION,
            hook,
            [source.key, source.subdirectory, source.version, source.place],
            [self.base, self.python],
            sorted(wheel.artifact.sha256 for wheel in pins),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()
