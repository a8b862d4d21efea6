"""From a name on the command line to what is there: a lock, or images with the locks in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild.base.host import host_platform
from envbuild.errors import RepoError, UsageError
from envbuild.image.descriptor import Descriptor
from envbuild.image.reference import full_name, parse_reference
from envbuild.inspection.inside import Inside, read_inside
from envbuild.inspection.layout import CachedImage, LayoutImage
from envbuild.inspection.medium import Medium
from envbuild.inspection.place import Place, PlaceKind, parse_place
from envbuild.inspection.view import ImageView, chosen_manifests, read_image
from envbuild.lock.ensure import read_lock
from envbuild.lock.lockfile import FILENAME, load_lock
from envbuild.lock.model import Lock
from envbuild.progress import Reporter
from envbuild.source import Repo
from envbuild.source.text import quote
from envbuild.store import Store
from envbuild.store.images import StoredImage, stored_images

if TYPE_CHECKING:
    from envbuild.registry.registries import Registries

__all__ = ["Inspector", "Seen", "SeenImage"]

_LARGEST_LOCK = 64_000_000


@dataclass(frozen=True, slots=True)
class SeenImage:
    """An image for one platform, and what is in it."""

    view: ImageView
    inside: Inside


@dataclass(frozen=True, slots=True)
class Seen:
    """What a name leads to.

    ``platforms`` are all those there is an image or a lock for; ``images`` those that were looked at, none
    for a lock; ``top`` is the index or the manifest that has the name, ``attached`` what refers to it or is
    beside the images in it. ``lock`` and ``lock_bytes`` are the lock's, or that in the first image, None
    without one.
    """

    name: str
    kind: PlaceKind
    platforms: tuple[str, ...]
    lock: Lock | None = None
    lock_bytes: bytes | None = None
    images: tuple[SeenImage, ...] = ()
    top: Descriptor | None = None
    attached: tuple[Descriptor, ...] = ()


@dataclass(frozen=True, slots=True)
class Inspector:
    """Looks at things.

    Parameters:
        registries: connections to registries; called when one is needed.
        open_source: opens a repository.
    """

    store: Store
    registries: Callable[[], Registries]
    open_source: Callable[[str], Repo]
    reporter: Reporter

    def place(self, text: str) -> Place:
        """What ``text`` names; see :func:`~envbuild.inspection.place.parse_place`."""
        return parse_place(text, lambda name: bool(self._cached(name)))

    def look(self, text: str, platforms: Sequence[str] = ()) -> Seen:
        """What is at ``text``.

        Parameters:
            platforms: of which images to look at; without any, this machine's or else the first one.

        Raises:
            UsageError: there is nothing, or nothing for a platform.
            RepoError: a lock cannot be used, or a repository has none.
            RemoteError: it cannot be fetched.
        """
        place = self.place(text)
        if place.kind == "lock":
            return self._lock_file(place)
        if place.kind == "source":
            return self._repository(place)
        return self.look_into(self.medium(place), place.kind, platforms)

    def look_into(self, medium: Medium, kind: PlaceKind, platforms: Sequence[str] = ()) -> Seen:
        """What is on ``medium``; parameters and errors as for :meth:`look`."""
        entries = medium.entries()
        views = [
            read_image(medium, manifest)
            for manifest in chosen_manifests(medium, entries, platforms, host_platform())
        ]
        images = tuple(SeenImage(view, read_inside(medium, view)) for view in views)
        known = [image.platform for image in entries.images if image.platform is not None]
        digests = dict.fromkeys(
            [*([entries.top.digest] if entries.top else []), *(view.manifest.digest for view in views)]
        )
        attached = [*entries.others, *(one for digest in digests for one in medium.referrers(digest))]
        first = images[0].inside
        return Seen(
            name=medium.name,
            kind=kind,
            platforms=tuple(dict.fromkeys(known)) or tuple(view.platform for view in views),
            lock=first.lock,
            lock_bytes=first.lock_bytes,
            images=images,
            top=entries.top,
            attached=tuple(dict.fromkeys(attached)),
        )

    def lock_inside(self, text: str) -> tuple[Lock, bytes]:
        """The lock in the image ``text``, and its text, which has the digest that the image's label names.

        Raises:
            UsageError: there is no image of ours.
            RepoError: its lock is not there, cannot be used, or is another one.
            RemoteError: it cannot be fetched.
        """
        seen = self.look(text)
        if not seen.images:
            raise _not_an_image(text)
        inside = seen.images[0].inside
        if inside.lock is None or inside.lock_bytes is None or inside.trouble is not None:
            raise RepoError(
                f"{quote(text)} has no lock that can be read back: {inside.trouble}",
                code="bad-lock-inside",
                remedy="name an image that `envbuild build` has made",
            )
        return inside.lock, inside.lock_bytes

    def medium(self, place: Place) -> Medium:
        """The medium of an image.

        Raises:
            UsageError: ``place`` is none of an image, or the cache has no such image.
        """
        if place.kind == "layout":
            return LayoutImage(Path(place.text), place.name)
        if place.kind == "archive":
            from envbuild.inspection.archive import ArchiveImage

            return ArchiveImage(Path(place.text), place.name)
        if place.kind == "cache":
            images = self._cached(place.text)
            if not images:
                raise UsageError(
                    f"there is no image {quote(place.text)} in the cache",
                    code="no-image-there",
                    remedy="`envbuild cache list` shows what there is",
                )
            return CachedImage(self.store, images, self.registries)
        if place.kind == "registry":
            from envbuild.inspection.remote import RemoteImage

            reference = parse_reference(place.text)
            if not place.text.lower().startswith(reference.registry):
                self.reporter.note(f"{place.text} is not in the cache: asking {reference.registry}")
            return RemoteImage(reference, self.registries().repository(reference))
        raise _not_an_image(place.text)

    def _cached(self, name: str) -> tuple[StoredImage, ...]:
        try:
            wanted = full_name(name)
        except UsageError:
            return ()
        return tuple(image for image in stored_images(self.store) if image.name == wanted)

    def _lock_file(self, place: Place) -> Seen:
        try:
            with Path(place.text).open("rb") as stream:
                data = stream.read(_LARGEST_LOCK + 1)
        except OSError as error:
            raise UsageError(
                f"{quote(place.text)} cannot be read: {error.strerror or error}",
                code="no-lock-there",
                remedy="name an envbuild.lock",
            ) from error
        return _locked(place.text, "lock", load_lock(data, place.text), data)

    def _repository(self, place: Place) -> Seen:
        repo = self.open_source(place.text)
        found = read_lock(repo, self.store)
        if found is None:
            raise RepoError(
                f"{quote(place.text)} has no lock",
                code="lock-missing",
                file=FILENAME,
                remedy="run `envbuild lock` there",
            )
        return _locked(place.text, "source", found.lock, found.data)


def _not_an_image(name: str) -> UsageError:
    return UsageError(
        f"{quote(name)} is not an image",
        code="not-an-image",
        remedy="name an image: a reference, oci:DIRECTORY, archive:FILE or cache:NAME",
    )


def _locked(name: str, kind: PlaceKind, lock: Lock, data: bytes) -> Seen:
    return Seen(name, kind, tuple(target.platform for target in lock.targets), lock, data)
