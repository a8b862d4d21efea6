"""Making a lock: ``Spec -> Lock``. The only step that asks the outside world a question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial

from packaging.requirements import Requirement as Parsed
from packaging.utils import canonicalize_name

from envbuild.base.locking import LockedDebs, lock_debs
from envbuild.base.mirrors import Mirrors
from envbuild.base.recipe import BaseRecipe, check_python, choose, load_recipes
from envbuild.errors import RepoError, UsageError
from envbuild.lock.addresses import remember, split_url
from envbuild.lock.adopt import adopt
from envbuild.lock.apt import AptLocker, previous_apt
from envbuild.lock.conda.beside import check_sources
from envbuild.lock.conda.channels import Channels, remember_channels
from envbuild.lock.conda.making import make_conda
from envbuild.lock.conda.part import CondaPart
from envbuild.lock.conda.process import CondaLock
from envbuild.lock.conda.wheels import BesideConda
from envbuild.lock.freshness import adopted_bytes, inputs_digest
from envbuild.lock.from_source import BuilderFactory
from envbuild.lock.image_apt import ImageAptLocker, InstalledOf
from envbuild.lock.model import Artifact, Base, Built, Lock, Target, Wheel
from envbuild.lock.pip_tools import PipTools
from envbuild.lock.projects import Projects
from envbuild.lock.resolver import Resolver, parse_requirement
from envbuild.lock.select import Pin
from envbuild.lock.solve import Section, Solver, Upgrade, previous_wheels
from envbuild.lock.source_resolver import SourceResolver
from envbuild.lock.uv import UvResolver
from envbuild.lock.uv_process import Uv
from envbuild.pack import recipe as packing
from envbuild.plan import assign_layers, solo_layers
from envbuild.progress import Reporter
from envbuild.source.repo import Repo
from envbuild.spec.findings import refuse_errors
from envbuild.spec.match_spec import name_of
from envbuild.spec.model import Spec
from envbuild.store import Store

__all__ = ["make_lock"]


LockDebs = Callable[..., LockedDebs]


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
    preferred: Mapping[str, str] | None = None,
    exclude_newer: str | None = None,
    resolver: str = "uv",
    channel_mirrors: Mapping[str, str] | None = None,
    offline: bool = False,
    recipes: Sequence[BaseRecipe] | None = None,
    installed: InstalledOf | None = None,
    lock_debs: LockDebs = lock_debs,
    builders: BuilderFactory | None = None,
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
        preferred: versions by canonical name to take rather than those of ``previous``, where they fit.
        exclude_newer: ignore what was published after this time (RFC 3339 or ``YYYY-MM-DD``).
        resolver: ``uv`` or ``pip-tools``.
        builders: makes what builds wheels from source; without it every package has to be a wheel.
        channel_mirrors: where conda channels are that are not at their usual address, by name (``*`` for
            all others).
        recipes: the bases on offer; with ``spec.base`` the one that it is.
        installed: what dpkg administers in a registry's image.
        lock_debs: how a base's packages are found; for tests.

    Raises:
        RepoError: the repository asks for something that cannot be had; names file and line.
        RemoteError: an index or a mirror failed.
    """
    refuse_errors(spec)
    if spec.engine_build is not None:
        raise RepoError(
            f"there is nothing to lock: a container engine builds the image, from {spec.engine_build.path}",
            code="nothing-to-lock",
            file=spec.engine_build.path,
            remedy="run `envbuild build`; it says what the image lacks",
        )
    uv = Uv(store, environment, offline)
    cutoff = _cutoff(exclude_newer, now)
    recipes = load_recipes() if recipes is None else recipes
    wanted = tuple(sorted(set(platforms)))
    named = frozenset(canonicalize_name(name) for name in upgrade_packages)
    forget = Upgrade(upgrade, named, preferred or {})
    conda = None
    if spec.conda is None:
        recipe = choose(spec.python, recipes)
    else:
        channels = Channels(channel_mirrors or {}, environment)
        recipe, conda = make_conda(
            spec,
            repo=repo,
            conda_lock=CondaLock(store, channels, environment, offline),
            recipes=recipes,
            platforms=wanted,
            previous=previous,
            forgotten=forget.covers,
            exclude_newer=cutoff if exclude_newer else None,
        )
        conda = conda.measured(channels=channels, store=store, known=_known_sizes(previous))
        remember_channels(store, conda.channels)
    kept = None if upgrade or upgrade_base or previous is None else _fitting(previous.base, recipe)
    python = kept.python if kept else recipe.python
    projects = [source for source in spec.sources if source.is_project]
    wheels = [source for source in spec.sources if not source.is_project]
    if wheels and resolver != UvResolver.name:
        raise UsageError(
            f"{resolver} takes packages of an index only, and {wheels[0].file} names others",
            code="resolver-unfit",
            remedy="use `--resolver uv`",
        )
    if conda is not None:
        check_sources(spec.sources, conda, recipe)
    plain = _resolver(resolver, uv)
    beside = None if conda is None else BesideConda(uv, conda)
    with reporter.stage("lock", unit="packages") as stage, ThreadPoolExecutor(1) as pool:
        # The mirror is asked at the same time; the recipe says which Python it will turn out to be.
        debs = pool.submit(
            lambda: (
                LockedDebs(kept.python, kept.debs)
                if kept
                else lock_debs(
                    recipe,
                    store=store,
                    mirrors=mirrors,
                    reporter=reporter,
                    # Yesterday's base and today's packages may not fit each other.
                    refresh=upgrade_base or bool(spec.apt),
                    offline=offline,
                )
            )
        )

        @cache
        def system() -> Lock:
            """The base, and what apt.txt adds to it: packages are built there."""
            base = _base(recipe, debs.result(), previous, now)
            apt = AptLocker(recipe.suite, base.date, store, mirrors, reporter, offline)
            locker = apt if base.image is None else ImageAptLocker(apt, base, installed)
            before = previous if kept else None
            found = {
                platform: locker.lock(spec.apt, base.debs[platform], platform, previous_apt(before, platform))
                for platform in platforms
            }
            return Lock.of_base(base, found)

        builder = (
            None
            if builders is None
            else builders(
                system,
                resolver=plain,
                exclude_newer=cutoff if exclude_newer else None,
                previous=previous.targets if previous else (),
                forget=lambda name: forget.all or name in forget.packages,
            )
        )
        solver = Solver(
            spec=spec,
            store=store,
            resolver=beside
            or (SourceResolver(uv, builder, wheels) if builder and resolver == UvResolver.name else plain),
            server_resolver=plain,
            projects=Projects(projects, builder, python),
            adopt=partial(adopt, spec, repo=repo, uv=uv),
            recipe=recipe,
            python=python,
            platforms=wanted,
            previous=previous,
            kept=kept,
            forget=forget,
            forget_server=Upgrade(upgrade or upgrade_base, frozenset()),
            exclude_newer=cutoff if exclude_newer else None,
            conda=conda,
        )
        user, server = solver.answers()
        locked = debs.result()
        if locked.python != solver.python:  # Debian has moved on since the recipe was written
            solver = replace(
                solver, python=locked.python, projects=replace(solver.projects, python=locked.python)
            )
            user, server = solver.answers()
        stage.advance(sum(len(pins) for section in (user, server) for pins in section.values()))
    for note in check_python(spec.python, locked.python, recipe) if conda is None else ():
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
        other_kernels=tuple((kernel.name, kernel.language) for kernel in spec.other_kernels),
        variables=spec.conda.variables if spec.conda else (),
        recipe=packing.VERSION,
        resolver=resolver,
        base=replace(
            system().base,
            server=(kept.server if kept else {}) | _server_wheels(server, previous),
        ),
        targets=tuple(
            _target(
                platform,
                _wheels(found, direct),
                tuple(sorted((*(pin.built for pin in found if pin.built), *solver.projects.built(platform)))),
                spec,
                conda,
                previous,
                system(),
            )
            for platform, found in sorted(user.items())
        ),
    )
    if previous is not None and exclude_newer is None and replace(lock, cutoff=previous.cutoff) == previous:
        return previous  # nothing is new but the time; do not make a new image of that
    return lock


def _target(
    platform: str,
    wheels: list[Wheel],
    built: tuple[Built, ...],
    spec: Spec,
    conda: CondaPart | None,
    previous: Lock | None,
    system: Lock,
) -> Target:
    before = previous_wheels(previous, platform)
    apt = system.target(platform).apt
    if conda is None or spec.conda is None:
        layered = assign_layers(
            wheels,
            buckets=packing.ENV_BUCKETS,
            solo=solo_layers(packing.MAX_SOLO_LAYERS, system.base),
            previous=before,
        )
        return Target(platform, layered, apt=apt, built=built)
    return Target(
        platform,
        assign_layers(
            wheels,
            buckets=packing.CONDA_WHEEL_BUCKETS,
            solo=packing.CONDA_WHEEL_SOLO_LAYERS,
            previous=before,
        ),
        conda.locked(
            platform,
            direct=frozenset(name_of(package.text) for package in spec.conda.packages),
            previous=previous,
            solo=solo_layers(packing.CONDA_SOLO_LAYERS, system.base),
        ),
        apt=apt,
        built=built,
    )


def _known_sizes(previous: Lock | None) -> dict[str, int]:
    artifacts = [
        package.artifact for target in (previous.targets if previous else ()) for package in target.conda
    ]
    return {artifact.sha256: artifact.size for artifact in artifacts}


def _resolver(name: str, uv: Uv) -> Resolver:
    resolvers = (UvResolver(uv), PipTools(uv.store, uv.environment, uv.offline))
    for resolver in resolvers:
        if resolver.name == name:
            return resolver
    raise UsageError(
        f"there is no resolver {name!r}",
        code="unknown-resolver",
        remedy=f"use {' or '.join(resolver.name for resolver in resolvers)}",
    )


def _base(recipe: BaseRecipe, locked: LockedDebs, previous: Lock | None, now: datetime) -> Base:
    """The base without its server."""
    unchanged = previous is not None and locked.debs == previous.base.debs
    return Base(
        recipe="" if recipe.image else recipe.name,
        suite=recipe.suite,
        python=locked.python,
        glibc=recipe.glibc,
        debs=dict(sorted(locked.debs.items())),
        server={},
        date=previous.base.date if previous is not None and unchanged else _timestamp(now),
        image=recipe.image,
    )


def _fitting(base: Base, recipe: BaseRecipe) -> Base | None:
    """``base`` when it still is what ``recipe`` asks for, else None."""
    if (base.name, base.suite, base.glibc) != (recipe.name, recipe.suite, recipe.glibc):
        return None
    if base.image != recipe.image or (recipe.image is not None and base.python != recipe.python):
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


def _server_wheels(section: Section, previous: Lock | None) -> dict[str, tuple[Wheel, ...]]:
    before = previous.base.server if previous else {}
    return {
        platform: assign_layers(
            _wheels(found, frozenset()), buckets=packing.SERVER_BUCKETS, previous=before.get(platform, ())
        )
        for platform, found in section.items()
    }


def _wheels(pins: Iterable[Pin], direct: frozenset[str]) -> list[Wheel]:
    return [
        Wheel(
            name=pin.name,
            version=pin.version,
            artifact=Artifact(
                pin.filename,
                pin.sha256,
                pin.size or 0,
                "built" if pin.built else "pypi",
                split_url(pin.url)[1],
            ),
            direct=pin.name in direct,
        )
        for pin in pins
    ]


def _direct(spec: Spec) -> frozenset[str]:
    names = {canonicalize_name(parse_requirement(requirement).name) for requirement in spec.requirements}
    return frozenset(names | {source.name for source in spec.sources if source.name})


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
