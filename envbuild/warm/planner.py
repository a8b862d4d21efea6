"""Which images each pool's nodes keep, in which order, within the bytes that are set aside for them. Pure.

What an image costs a node is what the node does not have yet. Two kinds of things are kept, each once:

* *contents*, the blobs as they travel, by digest: two images with a layer in common share it wherever in
  them it is;
* *snapshots*, the unpacked layers, by chain ID (OCI image specification 1.1, config.md): two images share one
  only if all layers below it are the same, too.

Both count against the budget, because containerd and CRI-O keep both; contents alone are what is pulled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from envbuild.fleet.model import Pool
from envbuild.image.reference import Reference

__all__ = ["Gone", "LeftOut", "Piece", "PlannedImage", "PoolPlan", "WarmImage", "plan_pool"]


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing that is kept once: its ``digest`` and its size in bytes."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class WarmImage:
    """An image for one platform, as far as keeping it goes.

    ``reference`` has a digest. ``environments`` are those that start from it, and ``launches`` how often all
    of them are started in a week. ``contents`` are manifests, config and layers, each digest once;
    ``snapshots`` the unpacked layers by chain ID. ``estimated`` tells that the size of some snapshot is not
    known but derived from its blob's. ``previous``: the environments started from it before, and not now.
    """

    reference: Reference
    environments: tuple[str, ...]
    launches: int
    contents: tuple[Piece, ...]
    snapshots: tuple[Piece, ...]
    estimated: bool = False
    previous: bool = False

    @property
    def size(self) -> int:
        """Bytes to pull on a node that has nothing."""
        return sum(piece.size for piece in self.contents)

    @property
    def rank(self) -> tuple[bool, int]:
        """Images with a lower one come first."""
        return self.previous, -self.launches


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """An image that is kept; after those before it ``pull`` bytes have to be pulled for it, and it takes
    ``disk`` more bytes.
    """

    image: WarmImage
    pull: int
    disk: int

    @property
    def shared(self) -> int:
        """Bytes that need not be pulled, because an image before it has brought them."""
        return self.image.size - self.pull


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image that does not fit: beside those that are kept it takes ``disk`` more bytes.

    A budget of ``fits_within`` bytes holds it, and all images of its rank or a lower one.
    """

    image: WarmImage
    disk: int
    fits_within: int


@dataclass(frozen=True, slots=True)
class Gone:
    """An image that environments had before, and that cannot be kept any more; ``message`` says why."""

    reference: Reference
    environments: tuple[str, ...]
    message: str


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What the nodes of ``pool`` keep, in the order in which it is pulled, and what does not fit.

    ``everything`` is the bytes that all of it together would take.
    """

    pool: Pool
    images: tuple[PlannedImage, ...]
    left_out: tuple[LeftOut, ...] = ()
    everything: int = 0
    gone: tuple[Gone, ...] = ()

    @property
    def pull(self) -> int:
        """Bytes that a node with nothing pulls."""
        return sum(planned.pull for planned in self.images)

    @property
    def disk(self) -> int:
        """Bytes that the images take on a node."""
        return sum(planned.disk for planned in self.images)

    @property
    def unshared(self) -> int:
        """Bytes that would be pulled if no two images had anything in common."""
        return sum(planned.image.size for planned in self.images)

    def to_pull(self, present: Collection[str]) -> int:
        """Bytes that a node pulls which has the contents with the digests ``present``."""
        sizes = {piece.digest: piece.size for planned in self.images for piece in planned.image.contents}
        return sum(size for digest, size in sizes.items() if digest not in present)


def plan_pool(pool: Pool, images: Iterable[WarmImage]) -> PoolPlan:
    """Choose and order ``images`` for the nodes of ``pool``.

    What is started more often comes first; among images that are started equally often, the one that adds
    least to those before it (so that families of images follow each other), then by name. Previous images
    come after all others. Each is kept if it still fits, so a small image may be kept where a larger one
    before it was not.

    The result depends on nothing but the values, not on the order of ``images``.
    """
    chosen = _Chosen(sorted(images, key=lambda image: str(image.reference)))
    planned, out = [], []
    while chosen.left:
        number = chosen.next()
        image, disk = chosen.images[number], chosen.disk[number]
        # What is left out now will never fit: what it shares with a later image, that image pays for instead.
        if pool.disk is not None and chosen.used + disk > pool.disk:
            out.append(image)
            chosen.left.remove(number)
        else:
            planned.append(PlannedImage(image, chosen.pull[number], disk))
            chosen.take(number)
    kept = _pieces_of(one.image for one in planned)
    return PoolPlan(
        pool,
        tuple(planned),
        tuple(
            LeftOut(image, _size(_pieces_of([image]) - kept), within)
            for image, within in _within(out, chosen)
        ),
        _size(_pieces_of(chosen.images)),
    )


def _within(out: Sequence[WarmImage], chosen: _Chosen) -> Iterator[tuple[WarmImage, int]]:
    """The images ``out``, in order, each with the bytes that all of its rank or a lower one take."""
    union: set[tuple[str, Piece]] = set()
    waiting = sorted(chosen.images, key=lambda image: image.rank, reverse=True)
    for image in out:  # which are ordered by rank, so that the union only grows
        while waiting and waiting[-1].rank <= image.rank:
            union |= _pieces_of([waiting.pop()])
        yield image, _size(union)


@dataclass(slots=True)
class _Chosen:
    """What every image would add to those that were taken: kept up to date, so that a choice costs a look at
    each image and not at all their layers.
    """

    images: Sequence[WarmImage]
    left: set[int] = field(default_factory=set)
    used: int = 0
    pull: list[int] = field(default_factory=list)
    disk: list[int] = field(default_factory=list)
    _holders: dict[tuple[str, Piece], list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.left = set(range(len(self.images)))
        for number, image in enumerate(self.images):
            self.pull.append(image.size)
            self.disk.append(image.size + sum(piece.size for piece in image.snapshots))
            for key in _pieces(image):
                self._holders[key].append(number)

    def next(self) -> int:
        return min(self.left, key=lambda number: (self.images[number].rank, self.disk[number], number))

    def take(self, number: int) -> None:
        self.left.remove(number)
        self.used += self.disk[number]
        for key in _pieces(self.images[number]):
            kind, piece = key
            for holder in self._holders.pop(key, ()):
                self.disk[holder] -= piece.size
                if kind == "content":
                    self.pull[holder] -= piece.size


def _pieces(image: WarmImage) -> list[tuple[str, Piece]]:
    return [
        *(("content", piece) for piece in image.contents),
        *(("snapshot", piece) for piece in image.snapshots),
    ]


def _pieces_of(images: Iterable[WarmImage]) -> set[tuple[str, Piece]]:
    return {key for image in images for key in _pieces(image)}


def _size(pieces: Iterable[tuple[str, Piece]]) -> int:
    return sum(piece.size for _, piece in pieces)
