"""Keeping one machine warm: its engine gets the images of a pool, in the plan's order, and loses old ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from envbuild.errors import EnvbuildError, MachineError, RepoError, UsageError
from envbuild.fleet.model import Fleet, Pin, Pool
from envbuild.image.reference import Reference
from envbuild.inspection.remote import RemoteImage
from envbuild.inspection.view import chosen_manifests, read_image
from envbuild.progress import Reporter
from envbuild.quantities import byte_size
from envbuild.registry.registries import Registries
from envbuild.warm.engines import Inventory, KeptImage, NodeEngine, Wanted, pinned_name
from envbuild.warm.images import PoolImage, pool_images, warm_image
from envbuild.warm.planner import plan_pool

__all__ = ["LetGo", "NodeImage", "NodeWarmth", "warm_node"]

State = Literal["warm", "pulled", "to-pull", "left-out", "failed"]


@dataclass(frozen=True, slots=True)
class NodeImage:
    """An image of the plan and how it stands with it here.

    ``state``: it was ``warm`` already, was ``pulled`` now, would be (``to-pull``), is ``left-out`` because it
    does not fit, or ``failed`` with ``error``. ``size`` is all its bytes as they travel, None if the registry
    did not tell; ``pull`` those that were missing here. ``previous``: its environments were it before.
    """

    reference: Reference
    environments: tuple[str, ...]
    state: State
    size: int | None = None
    pull: int = 0
    error: EnvbuildError | None = None
    previous: bool = False


@dataclass(frozen=True, slots=True)
class LetGo:
    """An image that this fleet brought here once and does not need any more.

    ``outcome``: it ``went`` (or ``would-go``), stays because it is ``in-use``, because another fleet
    (``shared``) needs it, or because its removal ``failed`` with ``error``.
    """

    name: str
    outcome: Literal["went", "would-go", "in-use", "shared", "failed"]
    error: EnvbuildError | None = None


@dataclass(frozen=True, slots=True)
class NodeWarmth:
    """What was done: ``images`` in the order of the plan, then those that could not be planned."""

    images: tuple[NodeImage, ...]
    let_go: tuple[LetGo, ...] = ()

    @property
    def errors(self) -> tuple[EnvbuildError, ...]:
        """What failed, in order, but for previous images."""
        now = [image.error for image in self.images if not image.previous]
        return tuple(error for error in (*now, *(old.error for old in self.let_go)) if error is not None)

    @property
    def lacking(self) -> tuple[EnvbuildError, ...]:
        """Why previous images are not here, in order."""
        found = [image.error for image in self.images if image.previous]
        return tuple(error for error in found if error is not None)


def warm_node(
    fleet: Fleet,
    pool: Pool,
    pins: Mapping[str, Pin],
    engine: NodeEngine,
    *,
    registries: Registries,
    reporter: Reporter,
    keep_old: bool = False,
    dry_run: bool = False,
) -> NodeWarmth:
    """Have this machine, a node of ``pool``, keep what the plan says, and nothing that it said before.

    An image that fails is told in the result, and the others go on. What is there already is left as it is,
    so doing the same again does nothing. Previous images (``keep_previous`` of the pool) come after all
    others, and go when these need their room.

    Parameters:
        pins: what each environment is.
        keep_old: let nothing go.
        dry_run: change nothing, only tell.

    Raises:
        MachineError: the engine cannot be used at all.
    """
    work = _Work(fleet, pool_images(fleet, pins, pool), engine, reporter, dry_run)
    work.look(pool, registries)
    plan = plan_pool(pool, [warm_image(work.images[one], found.view) for one, found in work.wanted.items()])
    unplanned = tuple(work.got)
    work.got |= {out.image.reference: _Outcome("left-out") for out in plan.left_out}
    order = [planned.image.reference for planned in plan.images]
    previous = [reference for reference in order if work.images[reference].previous]
    work.get(reference for reference in order if reference not in previous)
    if not work.errors:
        work.get(previous)
    # Not before: what old and new images share would be pulled again. Nor while a new image is missing whose
    # environment the old one still serves, unless it is missing because the old one takes its room.
    let_go: list[LetGo] = []
    if not keep_old and work.only_lacks_room:
        kept = {pinned_name(reference) for reference in (*order, *unplanned)}
        let_go += work.let_go(lambda name: name not in kept)
        if work.errors:  # then previous images give way, too
            before = {pinned_name(one.reference) for one in work.images.values() if one.previous} & kept
            let_go += work.let_go(lambda name: name in before)
    work.get(reference for reference in previous if reference not in work.got)
    out = [one.image.reference for one in plan.left_out]
    return NodeWarmth(tuple(work.told(one) for one in (*order, *out, *unplanned)), tuple(let_go))


@dataclass(frozen=True, slots=True)
class _Outcome:
    state: State
    pull: int = 0
    error: EnvbuildError | None = None


class _Work:
    """``images`` are what is to be here, ``wanted`` what registries told of them, ``got`` what became of
    them.
    """

    def __init__(
        self, fleet: Fleet, images: Iterable[PoolImage], engine: NodeEngine, reporter: Reporter, dry_run: bool
    ) -> None:
        self.images = {image.reference: image for image in images}
        self.wanted: dict[Reference, Wanted] = {}
        self.got: dict[Reference, _Outcome] = {}
        self._fleet = fleet
        self._engine = engine
        self._reporter = reporter
        self._dry_run = dry_run
        self._promised: Inventory | None = None  # what a real run would have by now
        self._taken = 0

    @property
    def errors(self) -> list[EnvbuildError]:
        """Those of images that environments are now."""
        current = [outcome for one, outcome in self.got.items() if not self.images[one].previous]
        return [outcome.error for outcome in current if outcome.error is not None]

    @property
    def only_lacks_room(self) -> bool:
        """Whether there is no error but that something does not fit."""
        return all(error.code == "no-space" for error in self.errors)

    def look(self, pool: Pool, registries: Registries) -> None:
        """Ask what the images are; an image that is here needs no registry."""

        def read(image: PoolImage) -> Wanted | EnvbuildError:
            try:
                return _read(image, pool.platform, registries, self._fleet)
            except EnvbuildError as error:
                return error

        with ThreadPoolExecutor(registries.jobs) as threads:
            told = list(threads.map(read, self.images.values()))
        for reference, found in zip(self.images, told, strict=True):
            if isinstance(found, Wanted):
                self.wanted[reference] = found
            else:
                there = self._engine.has(reference)
                self.got[reference] = _Outcome("warm") if there else _Outcome("failed", error=found)

    def told(self, reference: Reference) -> NodeImage:
        """What is told of an image."""
        image, outcome, found = self.images[reference], self.got[reference], self.wanted.get(reference)
        if image.previous and outcome.error is not None and outcome.error.code == "no-space":
            outcome = _Outcome("left-out")
        return NodeImage(
            reference,
            image.environments,
            outcome.state,
            None if found is None else found.view.size,
            outcome.pull,
            outcome.error,
            image.previous,
        )

    def get(self, references: Iterable[Reference]) -> None:
        """Have these images here, in this order; a previous one only if it does not take others' room."""
        for reference in references:
            self.got[reference] = self._get(self.wanted[reference])

    def _get(self, wanted: Wanted) -> _Outcome:
        missing = 0
        try:
            if self._engine.has(wanted.reference):
                self._claim(wanted.reference)
                return _Outcome("warm")
            if self.images[wanted.reference].previous and any(one.code == "no-space" for one in self.errors):
                return _Outcome("left-out")
            inventory = self._promised or self._engine.inventory()
            missing, needed = inventory.pull_size(wanted.view), inventory.disk_size(wanted.view)
            self._require_room(wanted.reference, needed)
            if self._dry_run:
                self._promised = inventory.joined(wanted.view)
                self._taken += needed
                return _Outcome("to-pull", missing)
            with self._reporter.stage("pull") as stage:
                stage.detail(str(wanted.reference))
                stage.add_total(missing)
                self._engine.pull(wanted, fleet=self._fleet.name, sent=_at_most(missing, stage.advance))
        except EnvbuildError as error:
            return _Outcome("failed", missing, error)
        return _Outcome("pulled", missing)

    def _claim(self, reference: Reference) -> None:
        """What another fleet has brought is ours as well; what nobody of us has brought, is not."""
        for image in () if self._dry_run else self._engine.kept():
            if image.name == pinned_name(reference) and self._fleet.name not in image.fleets:
                self._engine.claim(image, self._fleet.name)

    def _require_room(self, reference: Reference, needed: int) -> None:
        free = self._engine.free()
        if free is not None and needed > free - self._taken:
            raise MachineError(
                f"{reference} takes {byte_size(needed)} more, and {self._engine.name} has"
                f" {byte_size(max(free - self._taken, 0))} left",
                code="no-space",
                remedy="make room there, or give the pool a `disk` that its images have to fit into",
            )

    def let_go(self, names: Callable[[str], bool]) -> list[LetGo]:
        """Remove what this fleet brought under these names; then try again what did not fit."""
        let_go = [
            self._release(image)
            for image in self._engine.kept()
            if names(image.name) and self._fleet.name in image.fleets
        ]
        went = {one.name for one in let_go if one.outcome in ("went", "would-go")}
        self.got |= {one: _Outcome("left-out") for one in self.images if pinned_name(one) in went}
        if any(one.outcome == "went" for one in let_go):
            self.get([one for one, outcome in self.got.items() if outcome.error and one in self.wanted])
        return let_go

    def _release(self, image: KeptImage) -> LetGo:
        if image.in_use:
            return LetGo(image.name, "in-use")
        if self._dry_run:
            return LetGo(image.name, "shared" if image.fleets - {self._fleet.name} else "would-go")
        try:
            return LetGo(image.name, "went" if self._engine.release(image, self._fleet.name) else "shared")
        except EnvbuildError as error:
            return LetGo(image.name, "failed", error)


def _read(image: PoolImage, platform: str, registries: Registries, fleet: Fleet) -> Wanted:
    reference = image.reference
    medium = RemoteImage(reference, registries.repository(reference))
    try:
        (manifest,) = chosen_manifests(medium, medium.entries(), [platform], platform)
    except UsageError as error:
        names = ", ".join(image.environments)
        what = (
            f"the previous image of {names}"
            if image.previous
            else f"which the fleet {fleet.name} is pinned to"
        )
        raise RepoError(
            f"{error.message}, {what}",
            code="warm-image-gone" if error.code == "no-image-there" else "warm-image-platform",
            file=str(fleet.path),
            remedy=f"build and pin it anew: `envbuild build --fleet {fleet.path}`, or push it again",
        ) from error
    return Wanted(reference, medium, read_image(medium, manifest))


def _at_most(total: int, advance: Callable[[int], None]) -> Callable[[int], None]:
    """``advance`` for the first ``total`` bytes: manifests are not in the total, and asked for again."""
    left = total

    def counted(size: int) -> None:
        nonlocal left
        size = min(size, left)
        left -= size
        advance(size)

    return counted
