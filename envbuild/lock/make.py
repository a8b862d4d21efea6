"""Making a lock: ``Spec -> Lock``. The only step that asks the outside world a question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from packaging.requirements import Requirement as Parsed
from packaging.utils import canonicalize_name

from envbuild.base.locking import LockedDebs, lock_debs
from envbuild.base.mirrors import Mirrors
from envbuild.base.recipe import BaseRecipe, check_python, choose, load_recipes
from envbuild.errors import RepoError, UsageError
from envbuild.lock.addresses import remember, split_url
from envbuild.lock.adopt import adopt
from envbuild.lock.freshness import inputs_digest
from envbuild.lock.model import Artifact, Base, Lock, Target, Wheel
from envbuild.lock.select import Pin
from envbuild.lock.sizes import measure
from envbuild.lock.uv import resolve
from envbuild.lock.uv_process import Uv
from envbuild.pack import recipe as packing
from envbuild.plan import assign_layers
from envbuild.progress import Reporter
from envbuild.source.repo import Repo
from envbuild.spec.model import Requirement, Spec
from envbuild.store import Store

__all__ = ["adopted_bytes", "make_lock"]

_MOST_ADOPTED_BYTES = 64_000_000
# What every environment has, asked for or not: a kernel to run notebooks with, and pip for `%pip`.
_ALWAYS = ("ipykernel", "pip")

LockDebs = Callable[..., LockedDebs]
Section = dict[str, tuple[Pin, ...]]  # by platform


@dataclass(frozen=True, slots=True)
class _Upgrade:
    """Which earlier answers are forgotten."""

    all: bool
    packages: frozenset[str]

    def preferences(self, wheels: Iterable[Wheel]) -> dict[str, str]:
        """Versions by name to keep."""
        if self.all:
            return {}
        return {wheel.name: wheel.version for wheel in wheels if wheel.name not in self.packages}


def make_lock(
    spec: Spec,
    *,
    repo: Repo,
    store: Store,
    environment: Mapping[str, str],
    mirrors: Mirrors,
    platforms: Sequence[str],
    now: datetime,
    reporter: Reporter,
    previous: Lock | None = None,
    upgrade: bool = False,
    upgrade_packages: Sequence[str] = (),
    upgrade_base: bool = False,
    exclude_newer: str | None = None,
    resolver: str = "uv",
    offline: bool = False,
    recipes: Sequence[BaseRecipe] | None = None,
    lock_debs: LockDebs = lock_debs,
) -> Lock:
    """Lock what ``spec`` asks for.

    Parameters:
        environment: the user's environment variables; the settings of their index, proxy and certificates
            are taken from it.
        mirrors: where Debian packages are.
        platforms: ``linux/amd64``, ``linux/arm64``; at least one.
        now: the time of locking, with its time zone; recorded unless ``exclude_newer`` is given.
        previous: the lock to stay close to: versions and base are kept where they fit.
        upgrade: forget ``previous``, but for the layers packages are in.
        upgrade_packages: forget the versions of these packages.
        upgrade_base: forget the base and the server.
        exclude_newer: ignore what was published after this time (RFC 3339 or ``YYYY-MM-DD``).
        recipes, lock_debs: the bases on offer and how their packages are found; for tests.

    Raises:
        RepoError: the repository asks for something that cannot be had; names file and line.
        RemoteError: an index or a mirror failed.
    """
    for problem in spec.problems:
        if problem.level == "error":
            raise RepoError(
                problem.message,
                code=problem.code,
                file=problem.file,
                line=problem.line,
                remedy=problem.remedy,
            )
    if resolver != "uv":
        raise UsageError(
            f"the resolver {resolver!r} is not supported yet", code="unknown-resolver", remedy="use uv"
        )
    cutoff = _cutoff(exclude_newer, now)
    recipe = choose(spec.python, load_recipes() if recipes is None else recipes)
    kept = None if upgrade or upgrade_base or previous is None else _fitting(previous.base, recipe)
    job = _Job(
        spec=spec,
        repo=repo,
        uv=Uv(store, environment, offline),
        recipe=recipe,
        python=kept.python if kept else recipe.python,
        platforms=tuple(sorted(set(platforms))),
        previous=previous,
        kept=kept,
        forget=_Upgrade(upgrade, frozenset(canonicalize_name(name) for name in upgrade_packages)),
        forget_server=_Upgrade(upgrade or upgrade_base, frozenset()),
        exclude_newer=cutoff if exclude_newer else None,
    )
    with reporter.stage("lock", unit="packages") as stage, ThreadPoolExecutor(1) as pool:
        # The mirror is asked at the same time; the recipe says which Python it will turn out to be.
        debs = pool.submit(
            lambda: (
                LockedDebs(kept.python, kept.debs)
                if kept
                else lock_debs(recipe, store=store, mirrors=mirrors, reporter=reporter, refresh=upgrade_base)
            )
        )
        user, server = job.answers()
        locked = debs.result()
        if locked.python != job.python:  # Debian has moved on since the recipe was written
            user, server = replace(job, python=locked.python).answers()
        stage.advance(sum(len(pins) for section in (user, server) for pins in section.values()))
    for note in check_python(spec.python, locked.python):
        reporter.note(f"{note.file}: {note.message}" if note.file else note.message)
    remember(store, environment, _common_bases(user, server))
    # A fully pinned file names everything, so it does not tell what was asked for.
    pinned = spec.adopted is not None and spec.adopted.kind == "requirements.txt"
    direct = frozenset() if pinned else _direct(spec)
    lock = Lock(
        name=spec.name,
        display_name=spec.display_name,
        inputs=inputs_digest(spec, adopted_bytes(spec, repo)),
        cutoff=cutoff,
        kernels=tuple(sorted(spec.kernels)),
        recipe=packing.VERSION,
        resolver=resolver,
        base=Base(
            recipe=recipe.name,
            suite=recipe.suite,
            python=locked.python,
            glibc=recipe.glibc,
            debs=dict(sorted(locked.debs.items())),
            date=kept.date if kept else _timestamp(now),
            server={
                **(kept.server if kept else {}),
                **{
                    platform: assign_layers(
                        _wheels(found, frozenset()),
                        buckets=packing.SERVER_BUCKETS,
                        previous=previous.base.server.get(platform, ()) if previous else (),
                    )
                    for platform, found in server.items()
                },
            },
        ),
        targets=tuple(
            Target(
                platform,
                assign_layers(
                    _wheels(found, direct),
                    buckets=packing.ENV_BUCKETS,
                    previous=_previous_wheels(previous, platform),
                ),
            )
            for platform, found in sorted(user.items())
        ),
    )
    if previous is not None and exclude_newer is None and replace(lock, cutoff=previous.cutoff) == previous:
        return previous  # nothing is new but the time; do not make a new image of that
    return lock


def adopted_bytes(spec: Spec, repo: Repo) -> bytes | None:
    """The content of the lock that ``spec`` takes over, None when there is none.

    Raises:
        RepoError: it cannot be read.
    """
    return None if spec.adopted is None else repo.read(spec.adopted.path, _MOST_ADOPTED_BYTES)


@dataclass(frozen=True, slots=True)
class _Job:
    """The questions for the index, and what they have in common."""

    spec: Spec
    repo: Repo
    uv: Uv
    recipe: BaseRecipe
    python: str
    platforms: tuple[str, ...]
    previous: Lock | None
    kept: Base | None
    forget: _Upgrade
    forget_server: _Upgrade
    exclude_newer: str | None

    def answers(self) -> tuple[Section, Section]:
        """The pins of the user's environment and of the server, with sizes."""
        with ThreadPoolExecutor(1) as pool:
            server_future = pool.submit(self.server)
            user = self.user()
            server = server_future.result()
        known = {wheel.artifact.sha256: wheel.artifact.size for wheel in _all_wheels(self.previous)}
        pins = [pin for section in (user, server) for found in section.values() for pin in found]
        sized = {pin.sha256: pin for pin in measure(pins, store=self.uv.store, known=known)}
        return (
            {platform: tuple(sized[pin.sha256] for pin in found) for platform, found in user.items()},
            {platform: tuple(sized[pin.sha256] for pin in found) for platform, found in server.items()},
        )

    def server(self) -> Section:
        """The server's pins for the platforms for which they are not kept."""
        requirements = [Requirement(text, f"base {self.recipe.name}") for text in self.recipe.server]
        earlier = self.previous.base.server if self.previous else {}
        versions = self.forget_server.preferences(wheel for wheels in earlier.values() for wheel in wheels)
        section: Section = {}
        for platform in self.platforms:
            if self.kept and platform in self.kept.server:
                continue
            section[platform] = self._resolve(requirements, (), platform, versions)
            versions = {pin.name: pin.version for pin in section[platform]}
        return section

    def user(self) -> Section:
        """The pins of the user's environment, by platform."""
        section: Section = {}
        for platform in self.platforms:
            versions = self.forget.preferences(_previous_wheels(self.previous, platform))
            # What one platform got is the first choice for the next one.
            versions |= {pin.name: pin.version for found in section.values() for pin in found}
            if self.spec.adopted is None:
                section[platform] = self._solved(platform, versions)
            else:
                section[platform] = self._adopted(platform, versions)
        return section

    def _solved(self, platform: str, versions: Mapping[str, str]) -> tuple[Pin, ...]:
        asked = list(self.spec.requirements)
        named = _direct(self.spec)
        asked += [Requirement(name, "") for name in _ALWAYS if name not in named]
        pins = self._resolve(asked, self.spec.constraints, platform, versions)
        if not _lacks_lab(pins):
            return pins
        versions = {pin.name: pin.version for pin in pins}
        asked.append(Requirement("jupyterlab", ""))
        return self._resolve(asked, self.spec.constraints, platform, versions)

    def _adopted(self, platform: str, versions: Mapping[str, str]) -> tuple[Pin, ...]:
        pins = adopt(
            self.spec,
            repo=self.repo,
            uv=self.uv,
            python=self.python,
            glibc=self.recipe.glibc,
            platform=platform,
        )
        names = {pin.name for pin in pins}
        missing = [name for name in _ALWAYS if name not in names]
        if _lacks_lab(pins):
            missing.append("jupyterlab")
        if not missing:
            return pins
        fixed = [Requirement(f"{pin.name}=={pin.version}", "") for pin in pins]
        try:
            added = self._resolve([Requirement(name, "") for name in missing], fixed, platform, versions)
        except RepoError as error:
            path = self.spec.adopted.path if self.spec.adopted else None
            raise RepoError(
                f"{', '.join(missing)} cannot be added to what this lock pins: {error.message}",
                code="cannot-complete-lock",
                file=path,
                remedy=f"add {' and '.join(missing)} to the project and lock it again",
                detail=error.detail,
            ) from error
        pins += tuple(pin for pin in added if pin.name not in names)
        return tuple(sorted(pins, key=lambda pin: pin.name))

    def _resolve(
        self,
        requirements: Sequence[Requirement],
        constraints: Sequence[Requirement],
        platform: str,
        versions: Mapping[str, str],
    ) -> tuple[Pin, ...]:
        return resolve(
            requirements,
            constraints,
            uv=self.uv,
            python=self.python,
            glibc=self.recipe.glibc,
            platform=platform,
            exclude_newer=self.exclude_newer,
            preferences=versions,
        )


def _all_wheels(lock: Lock | None) -> list[Wheel]:
    if lock is None:
        return []
    groups = [*lock.base.server.values(), *(target.wheels for target in lock.targets)]
    return [wheel for group in groups for wheel in group]


def _previous_wheels(previous: Lock | None, platform: str) -> tuple[Wheel, ...]:
    for target in previous.targets if previous else ():
        if target.platform == platform:
            return target.wheels
    return ()


def _fitting(base: Base, recipe: BaseRecipe) -> Base | None:
    """``base`` when it still is what ``recipe`` asks for, else None."""
    if (base.recipe, base.suite, base.glibc) != (recipe.name, recipe.suite, recipe.glibc):
        return None
    if set(base.debs) != set(recipe.platforms):
        return None
    if any(not set(recipe.packages) <= {deb.name for deb in debs} for debs in base.debs.values()):
        return None
    for wheels in base.server.values():
        versions = {wheel.name: wheel.version for wheel in wheels}
        for text in recipe.server:
            requirement = Parsed(text)
            version = versions.get(canonicalize_name(requirement.name))
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                return None
    return base


def _wheels(pins: Iterable[Pin], direct: frozenset[str]) -> list[Wheel]:
    return [
        Wheel(
            name=pin.name,
            version=pin.version,
            artifact=Artifact(pin.filename, pin.sha256, pin.size or 0, "pypi", split_url(pin.url)[1]),
            direct=pin.name in direct,
        )
        for pin in pins
    ]


def _direct(spec: Spec) -> frozenset[str]:
    return frozenset(canonicalize_name(Parsed(requirement.text).name) for requirement in spec.requirements)


def _lacks_lab(pins: Iterable[Pin]) -> bool:
    """A server in the user's environment is the one that runs, so it needs its user interface there too."""
    names = {pin.name for pin in pins}
    return "jupyter-server" in names and "jupyterlab" not in names


def _common_bases(*sections: Section) -> list[str]:
    """The addresses files were found at, the most frequent one first."""
    counts = Counter(
        split_url(pin.url)[0] for section in sections for found in section.values() for pin in found
    )
    return sorted(counts, key=lambda base: (-counts[base], base))


def _cutoff(exclude_newer: str | None, now: datetime) -> str:
    """The date to record, ``YYYY-MM-DDTHH:MM:SSZ``. A date without a time includes that whole day."""
    moment = now
    if exclude_newer is not None:
        try:
            moment = datetime.fromisoformat(exclude_newer)
        except ValueError as error:
            raise UsageError(
                f"{exclude_newer!r} is not a date",
                code="bad-date",
                remedy="write it as 2026-01-31 or 2026-01-31T12:00:00Z",
            ) from error
        if len(exclude_newer) == len("YYYY-MM-DD"):
            moment += timedelta(days=1)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
    return _timestamp(moment)


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
