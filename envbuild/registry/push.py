"""Pushing images: blobs before the manifests that name them, manifests by digest before any tag.

So whoever pulls finds a whole image or the one before, whenever a push ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from envbuild.errors import MachineError, RemoteError
from envbuild.image.blobs import blob_chunks
from envbuild.image.config import INDEX_TYPE, MANIFEST_TYPE
from envbuild.image.descriptor import Descriptor
from envbuild.image.layout import image_index
from envbuild.image.model import Image
from envbuild.image.reference import Reference
from envbuild.progress import Reporter, Stage
from envbuild.registry.parallel import Going, in_parallel
from envbuild.registry.places import known_places, remember_place
from envbuild.registry.registries import Registries
from envbuild.registry.repository import Repository
from envbuild.registry.uploads import OUTCOMES, Outcome
from envbuild.store import Blob, Store

__all__ = ["Moved", "Pushed", "blob_content", "push_images"]


@dataclass(frozen=True, slots=True)
class Moved:
    """A number of ``blobs``, and their ``size`` in bytes all together."""

    blobs: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Pushed:
    """What was pushed.

    ``top`` is the manifest, or the index over several platforms, that ``references`` now name; ``moved`` says
    what became of layers and configs.
    """

    top: Descriptor
    references: tuple[Reference, ...]
    moved: dict[Outcome, Moved]


def push_images(
    images: Sequence[Image],
    references: Sequence[Reference],
    *,
    store: Store,
    registries: Registries,
    reporter: Reporter,
    attach: Callable[[Repository, Sequence[Descriptor]], None] = lambda repository, manifests: None,
) -> Pushed:
    """Push ``images`` (one per platform) under all of ``references``; several go under an index.

    Bytes that a registry has are not sent; bytes that are only in a registry come from there.

    Parameters:
        attach: called for each repository that has all manifests, the index last, before a tag names them: so
            whoever finds the image by its name finds what belongs to it.

    Raises:
        RemoteError: a registry failed or refused.
        MachineError: a blob in the store is damaged, or nowhere to be found.
    """
    manifests = [_descriptor(image) for image in images]
    if len(images) > 1:
        index = image_index(images, store)
        manifests.append(Descriptor(INDEX_TYPE, index.digest, index.size))
    blobs = {blob.digest: blob for image in images for blob in _blobs(image)}
    largest_first = sorted(blobs.values(), key=lambda blob: (-blob.size, blob.digest))
    repositories = {reference.name: registries.repository(reference) for reference in references}
    with reporter.stage("push") as stage:
        pushes = [_Push(one, store, registries, stage) for one in repositories.values()]
        for push, repository in zip(pushes, repositories.values(), strict=True):
            push.blobs(largest_first)
            push.manifests(manifests, largest_first)
            attach(repository, manifests)
        for reference in references:
            # A digest is no name that could be given: what has it was pushed above.
            if reference.tag is not None:
                _name(repositories[reference.name], reference.tag, manifests[-1], store)
    moved = {outcome: _moved(blobs, pushes, outcome) for outcome in OUTCOMES}
    return Pushed(manifests[-1], tuple(references), moved)


class _Push:
    """What goes into one repository."""

    def __init__(self, repository: Repository, store: Store, registries: Registries, stage: Stage) -> None:
        self._repository = repository
        self._store = store
        self._registries = registries
        self._stage = stage
        self.outcomes: dict[str, Outcome] = {}

    def blobs(self, blobs: Sequence[Blob], *, look: bool = True) -> None:
        """Bring all of ``blobs`` there; ``look`` is False when the registry was wrong about having them."""
        self._stage.add_total(sum(blob.size for blob in blobs))
        in_parallel(
            partial(self._blob, look=look), blobs, jobs=self._registries.jobs, abort=self._registries.close
        )

    def _blob(self, blob: Blob, going: Going, *, look: bool) -> None:
        going.check()
        stage = going.watched(self._stage)
        outcome = self._repository.upload_blob(
            blob.digest,
            blob.size,
            blob_content(blob, self._store, self._registries),
            known_places(self._store, blob.digest) if look else (),
            sent=stage.advance,
            look=look,
        )
        if outcome != "uploaded":
            stage.advance(blob.size, cached=True)
        self.outcomes[blob.digest] = outcome
        remember_place(self._store, blob.digest, self._repository.name)

    def manifests(self, manifests: Sequence[Descriptor], blobs: Sequence[Blob]) -> None:
        """Put ``manifests`` there by digest, in this order; their ``blobs`` have been brought."""
        for manifest in manifests:
            data = _document(self._store, manifest)
            sent: set[str] = set()
            while True:
                try:
                    self._repository.put_manifest(data, manifest.media_type)
                    break
                except RemoteError as error:
                    if error.code != "registry-lacks-blob":
                        raise
                    # It said it had them. Whatever it really has, now it gets those it names, or all, once.
                    named = set((error.detail or "").split()) & {blob.digest for blob in blobs}
                    lacking = [b for b in blobs if b.digest not in sent and (not named or b.digest in named)]
                    if not lacking:
                        raise
                    sent |= {blob.digest for blob in lacking}
                    self.blobs(lacking, look=False)
            remember_place(self._store, manifest.digest, self._repository.name)


def _moved(blobs: Mapping[str, Blob], pushes: Sequence[_Push], outcome: Outcome) -> Moved:
    sizes = [blobs[digest].size for push in pushes for digest, one in push.outcomes.items() if one == outcome]
    return Moved(len(sizes), sum(sizes))


def blob_content(blob: Blob, store: Store, registries: Registries) -> Callable[[], Iterator[bytes]]:
    """What gives a blob's bytes when they are to be sent: the store has them, else a registry.

    Called, it raises :class:`MachineError` when they are nowhere to be found.
    """

    def chunks() -> Iterator[bytes]:
        if store.has_blob(blob.digest, blob.size):
            return blob_chunks(store, blob.digest)
        for place in known_places(store, blob.digest):
            repository = registries.repository(place)
            with suppress(RemoteError):  # another place may do
                if repository.has_blob(blob.digest) == blob.size:
                    return repository.blob_chunks(blob.digest, blob.size)
        raise MachineError(
            f"the blob {blob.digest} is not in the cache any more",
            code="blob-missing",
            remedy="build the image again",
        )

    return chunks


def _name(repository: Repository, tag: str, manifest: Descriptor, store: Store) -> None:
    """Make ``tag`` name ``manifest``, if it does not do so already: some registries let a tag be set once."""
    found = repository.head_manifest(tag)
    if found is None or found.digest != manifest.digest:
        repository.put_manifest(_document(store, manifest), manifest.media_type, tag)


def _document(store: Store, manifest: Descriptor) -> bytes:
    return b"".join(blob_chunks(store, manifest.digest))


def _descriptor(image: Image) -> Descriptor:
    return Descriptor(MANIFEST_TYPE, image.manifest.digest, image.manifest.size, image.platform)


def _blobs(image: Image) -> Iterator[Blob]:
    yield image.config
    for layer in image.layers:
        yield Blob(layer.digest, layer.size)
