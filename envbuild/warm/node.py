"""Keeping one machine warm: its engine gets the images of a pool, in the plan's order, and loses old ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from envbuild.errors import EnvbuildError, MachineError, RepoError, UsageError
from envbuild.fleet.model import Fleet, Pool
from envbuild.image.reference import Reference
from envbuild.inspection.remote import RemoteImage
from envbuild.inspection.view import chosen_manifests, read_image
from envbuild.progress import Reporter
from envbuild.quantities import byte_size
from envbuild.registry.registries import Registries
from envbuild.warm.engines import Inventory, KeptImage, NodeEngine, Wanted, pinned_name
from envbuild.warm.images import pool_references, warm_image
from envbuild.warm.planner import plan_pool

__all__ = ["LetGo", "NodeImage", "NodeWarmth", "warm_node"]

State = Literal["warm", "pulled", "to-pull", "left-out", "failed"]


@dataclass(frozen=True, slots=True)
class NodeImage:
    """An image of the plan and how it stands with it here.

    ``state``: it was ``warm`` already, was ``pulled`` now, would be (``to-pull``), is ``left-out`` because it
    does not fit into the pool's disk, or ``failed`` with ``error``. ``size`` is all its bytes as they travel,
    None if the registry did not tell; ``pull`` those that were missing here.
    """

    reference: Reference
    environments: tuple[str, ...]
    state: State
    size: int | None = None
    pull: int = 0
    error: EnvbuildError | None = None


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
        """What failed, in order."""
        found = [*(image.error for image in self.images), *(old.error for old in self.let_go)]
        return tuple(error for error in found if error is not None)


def warm_node(
    fleet: Fleet,
    pool: Pool,
    references: Mapping[str, Reference],
    engine: NodeEngine,
    *,
    registries: Registries,
    reporter: Reporter,
    keep_old: bool = False,
    dry_run: bool = False,
) -> NodeWarmth:
    """Have this machine, a node of ``pool``, keep what the plan says, and nothing that it said before.

    An image that fails is told in the result, and the others go on. What is there already is left as it is,
    so doing the same again does nothing.

    Parameters:
        references: the image of each environment, with a digest.
        keep_old: let nothing go.
        dry_run: change nothing, only tell.

    Raises:
        MachineError: the engine cannot be used at all.
    """
    work = _Work(fleet, engine, reporter, dry_run)
    users = pool_references(fleet, references, pool)
    launches = {environment.name: environment.launches for environment in fleet.environments}
    wanted: dict[Reference, Wanted] = {}
    unplanned = []
    for reference, names in users.items():
        try:
            wanted[reference] = _read(reference, pool.platform, registries, fleet)
        except EnvbuildError as error:
            there = engine.has(reference)  # then no registry is needed
            unplanned.append(
                NodeImage(reference, tuple(names), "warm")
                if there
                else NodeImage(reference, tuple(names), "failed", error=error)
            )
    plan = plan_pool(
        pool,
        [
            warm_image(
                reference, one.view, users[reference], sum(launches[name] for name in users[reference])
            )
            for reference, one in wanted.items()
        ],
    )
    order = [planned.image.reference for planned in plan.images]
    kept = {*order, *(image.reference for image in unplanned)}
    got = {reference: work.get(wanted[reference]) for reference in order}
    # Not before: what old and new images share would be pulled again. Nor while a new image is missing whose
    # environment the old one still serves, unless it is missing because the old one takes its room.
    found = [*(outcome.error for outcome in got.values()), *(image.error for image in unplanned)]
    errors = [error for error in found if error is not None]
    let_go: Sequence[LetGo] = ()
    if not keep_old and all(error.code == "no-space" for error in errors):
        let_go = work.let_go(kept)
    if any(one.outcome == "went" for one in let_go):
        for reference, outcome in got.items():
            if outcome.error is not None:
                got[reference] = work.get(wanted[reference])

    def told(reference: Reference, outcome: _Outcome) -> NodeImage:
        size = wanted[reference].view.size
        return NodeImage(reference, tuple(users[reference]), outcome.state, size, outcome.pull, outcome.error)

    images = [told(reference, outcome) for reference, outcome in got.items()]
    images += [told(out.image.reference, _Outcome("left-out")) for out in plan.left_out]
    return NodeWarmth((*images, *unplanned), tuple(let_go))


@dataclass(frozen=True, slots=True)
class _Outcome:
    state: State
    pull: int = 0
    error: EnvbuildError | None = None


class _Work:
    def __init__(self, fleet: Fleet, engine: NodeEngine, reporter: Reporter, dry_run: bool) -> None:
        self._fleet = fleet.name
        self._engine = engine
        self._reporter = reporter
        self._dry_run = dry_run
        self._promised: Inventory | None = None  # what a real run would have by now
        self._taken = 0

    def get(self, wanted: Wanted) -> _Outcome:
        """Have one image here."""
        missing = 0
        try:
            if self._engine.has(wanted.reference):
                self._claim(wanted.reference)
                return _Outcome("warm")
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
                self._engine.pull(wanted, fleet=self._fleet, sent=_at_most(missing, stage.advance))
        except EnvbuildError as error:
            return _Outcome("failed", missing, error)
        return _Outcome("pulled", missing)

    def _claim(self, reference: Reference) -> None:
        """What another fleet has brought is ours as well; what nobody of us has brought, is not."""
        for image in () if self._dry_run else self._engine.kept():
            if image.name == pinned_name(reference) and self._fleet not in image.fleets:
                self._engine.claim(image, self._fleet)

    def _require_room(self, reference: Reference, needed: int) -> None:
        free = self._engine.free()
        if free is not None and needed > free - self._taken:
            raise MachineError(
                f"{reference} takes {byte_size(needed)} more, and {self._engine.name} has"
                f" {byte_size(max(free - self._taken, 0))} left",
                code="no-space",
                remedy="make room there, or give the pool a `disk` that its images have to fit into",
            )

    def let_go(self, kept: set[Reference]) -> Sequence[LetGo]:
        """Remove what this fleet brought and does not need."""
        names = {pinned_name(reference) for reference in kept}
        return [
            self._release(image)
            for image in self._engine.kept()
            if image.name not in names and self._fleet in image.fleets
        ]

    def _release(self, image: KeptImage) -> LetGo:
        if image.in_use:
            return LetGo(image.name, "in-use")
        if self._dry_run:
            return LetGo(image.name, "shared" if image.fleets - {self._fleet} else "would-go")
        try:
            return LetGo(image.name, "went" if self._engine.release(image, self._fleet) else "shared")
        except EnvbuildError as error:
            return LetGo(image.name, "failed", error)


def _read(reference: Reference, platform: str, registries: Registries, fleet: Fleet) -> Wanted:
    medium = RemoteImage(reference, registries.repository(reference))
    try:
        (manifest,) = chosen_manifests(medium, medium.entries(), [platform], platform)
    except UsageError as error:
        raise RepoError(
            f"{error.message}, which the fleet {fleet.name} is pinned to",
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
