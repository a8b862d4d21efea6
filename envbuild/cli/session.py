"""What a verb works with: the console, the settings, the cache, and the repository it was given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.console import Console
from envbuild.config import (
    OPTIONS,
    Settings,
    load_settings,
    parse_repository_config,
    read_user_config,
    user_config_path,
)
from envbuild.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from envbuild.backend.locking import SourceBuilder
    from envbuild.backend.workshop import Workshop
    from envbuild.base.mirrors import Mirrors
    from envbuild.build import Builder
    from envbuild.builder.make import EngineBuilt
    from envbuild.engine.machine import Engines
    from envbuild.image.model import Image
    from envbuild.lock.ensure import LockFile
    from envbuild.lock.model import Artifact, Lock, Wheel
    from envbuild.post_build import PostBuild
    from envbuild.registry.cache import SharedLayers
    from envbuild.registry.registries import Registries
    from envbuild.sandbox.model import Limits, Sandbox
    from envbuild.source import Repo
    from envbuild.source.git import GitClient
    from envbuild.source.patterns import Pattern
    from envbuild.spec import Spec
    from envbuild.store import Store

__all__ = ["SETTINGS", "Project", "Session"]

# Command line options that are settings; every other option belongs to its verb.
SETTINGS = frozenset(option.attribute for option in OPTIONS)
_MOST_CONFIG_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Project:
    """A repository, what it asks for, and the settings that hold for it."""

    repo: Repo
    spec: Spec
    settings: Settings

    @property
    def post_build(self) -> PostBuild | None:
        """The script for the end of the build, when there is one."""
        from envbuild.post_build import PostBuild
        from envbuild.spec.post_build import STEP

        path = self.spec.post_build
        return PostBuild(path, STEP in self.settings.network) if path is not None else None


def _patterns(texts: Sequence[str]) -> tuple[Pattern, ...]:
    from envbuild.source.patterns import setting_pattern

    found = []
    for text in texts:
        try:
            found.append(setting_pattern(text))
        except ValueError as error:
            raise UsageError(
                f"{text!r} {error}", code="bad-pattern", remedy="write it as in .gitignore, without !"
            ) from error
    return tuple(found)


class Session:
    """One run of one verb.

    Parameters:
        console: where everything is printed; also the library's reporter.
        flags: settings from the command line, by attribute name of :class:`envbuild.config.Settings`.
        environment: the process's environment variables.
    """

    def __init__(self, console: Console, flags: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self.console = console
        self.environment = environment
        self._flags = flags
        self._layers: SharedLayers | None = None
        self._engines: dict[Settings, Engines] = {}

    @cached_property
    def settings(self) -> Settings:
        """The settings, before any repository had its say."""
        return self._settings(None)

    def given(self, *names: str) -> tuple[str, ...]:
        """Those settings among ``names`` (attributes) that are on the command line."""
        return tuple(name for name in names if self._flags.get(name) is not None)

    def _settings(self, repository: Mapping[str, Any] | None) -> Settings:
        user = read_user_config(user_config_path())
        return load_settings(
            flags=self._flags, environment=self.environment, user=user, repository=repository
        )

    @cached_property
    def store(self) -> Store:
        """The cache, ready for use, and safe from ``cache prune`` until this process ends."""
        from envbuild.store import Store
        from envbuild.store.prune import in_use

        store = Store(self.settings.cache_dir, self.console.warn)
        store.prepare()
        click.get_current_context().with_resource(in_use(store))
        return store

    def apart(self, cache: Path) -> Session:
        """A session with a cache of its own at ``cache``, that takes nothing from registries' caches."""
        flags = {**self._flags, "cache_dir": cache, "registry": None, "registry_cache": False}
        return Session(self.console, flags, self.environment)

    @cached_property
    def registries(self) -> Registries:
        """The registries this command talks to; their connections end with it."""
        from envbuild.registry.registries import Registries

        settings = self.settings
        return click.get_current_context().with_resource(
            Registries(
                self.environment,
                plain_http=settings.plain_http,
                offline=settings.offline,
                warn=self.console.warn,
            )
        )

    def layers(self, settings: Settings) -> SharedLayers:
        """What finds layers for this command."""
        if self._layers is None:
            from envbuild.cli.sharing import shared_layers

            self._layers = shared_layers(self, settings)
        return self._layers

    def project(self, source: str) -> Project:
        """Open and read the repository ``source``."""
        from envbuild.cli.bases import base_request
        from envbuild.source.remote import Opener
        from envbuild.spec import SpecOptions, read_spec

        settings = self.settings
        opener = Opener(self.store, self.environment, self.console, offline=settings.offline)
        repo = opener.open(source, settings.subdir)

        def text(name: str) -> str | None:
            return (
                repo.read(name, _MOST_CONFIG_BYTES).decode("utf-8", "replace") if repo.exists(name) else None
            )

        files = {"pyproject": text("pyproject.toml"), "own": text("envbuild.toml")}
        settings = self._settings(parse_repository_config(**files))
        repo = replace(repo, include=_patterns(settings.include), exclude=_patterns(settings.exclude))
        options = SpecOptions(
            extras=settings.extras,
            groups=settings.groups,
            python=settings.python,
            requirements=settings.requirements or None,
            name=settings.name,
            network=settings.network,
            base=base_request(settings, self._flags, **files),
            is_own_index=partial(self._is_own_index, settings),
        )
        return Project(repo, read_spec(repo, options), settings)

    def working_directory(self, project: Project) -> Path:
        """Where the project's files may be changed; that of a fetched one is made, and named."""
        from envbuild.source.copies import working_directory

        directory, is_copy = working_directory(project.repo)
        if is_copy:
            self.console.note(f"working on a copy, which is kept: {directory}")
        return directory

    def ensure_lock(self, project: Project, platforms: Sequence[str], *, locked: bool) -> LockFile:
        """The repository's lock for ``platforms``; made anew when need be, unless ``locked``."""
        from envbuild.lock.compiled import check_compiled
        from envbuild.lock.ensure import ensure_lock

        def make(previous: Lock | None) -> Lock:
            known = [target.platform for target in previous.targets] if previous else []
            return self.make_lock(project, sorted({*known, *platforms}), previous)

        self.show_problems(project.spec)
        check_compiled(
            project.repo, project.spec, previous=None, platform=min(platforms), reporter=self.console
        )
        return ensure_lock(
            project.repo,
            project.spec,
            store=self.store,
            platforms=platforms,
            locked=locked,
            make=make,
            reporter=self.console,
        )

    def make_lock(
        self, project: Project, platforms: Sequence[str], previous: Lock | None, **upgrades: Any
    ) -> Lock:
        """Lock ``project``; ``upgrades`` as for :func:`envbuild.lock.make.make_lock`."""
        from datetime import UTC, datetime

        from envbuild.cli.bases import lock_bases
        from envbuild.lock.make import make_lock

        settings = project.settings
        return make_lock(
            project.spec,
            repo=project.repo,
            store=self.store,
            environment=settings.tool_environment(self.environment),
            mirrors=self.mirrors(settings),
            platforms=platforms,
            now=datetime.now(UTC),
            reporter=self.console,
            previous=previous,
            exclude_newer=settings.exclude_newer,
            resolver=self.resolver(project),
            channel_mirrors=settings.channel_mirrors,
            offline=settings.offline,
            **lock_bases(self, project, platforms, previous, upgrades),
            builders=partial(self._source_builder, project),
            **upgrades,
        )

    def _source_builder(self, project: Project, system: Callable[[], Lock], **options: Any) -> SourceBuilder:
        """What builds wheels while locking; see :class:`envbuild.lock.from_source.BuilderFactory`."""
        from envbuild.backend.locking import SourceBuilder

        return SourceBuilder(
            store=self.store,
            repo=project.repo,
            git=self._git(project.settings),
            system=system,
            workshop=partial(self._workshop, project.settings),
            offline=project.settings.offline,
            **options,
        )

    def _workshop(
        self,
        settings: Settings,
        lock: Lock,
        platform: str,
        fetch: Callable[[Sequence[Artifact]], Sequence[Path]],
    ) -> Workshop:
        from envbuild.backend.hooks import Hooks
        from envbuild.backend.workshop import Workshop
        from envbuild.base.host import host_platform
        from envbuild.image.finding import without_lost
        from envbuild.plan import system_layers

        host = host_platform()

        def system() -> Image:
            image = self.builder(lock, settings).system_image(lock, host)
            self.layers(settings).bring(image.layers, self.console)
            return image

        def hooks() -> Hooks:
            image = without_lost(system)
            return Hooks(
                self.sandbox(settings),
                image,
                self.store,
                self.console,
                network="build" in settings.network,
                limits=self.limits(settings),
            )

        base = lock.base
        key = system_layers(lock, host)[-1].key
        executable = base.executable(host)
        return Workshop(self.store, hooks, key, base.python, executable, base.glibc, platform, host, fetch)

    def _git(self, settings: Settings) -> GitClient:
        from envbuild.source.git import GitClient

        return GitClient(self.store, self.environment, self.console, offline=settings.offline)

    def resolver(self, project: Project) -> str:
        """What resolves versions: what is configured, else pip-tools where its files are, else uv."""
        from envbuild.lock.compiled import find_compiled

        if project.settings.resolver is not None:
            return project.settings.resolver
        return "uv" if find_compiled(project.repo, project.spec) is None else "pip-tools"

    def recompile(
        self,
        project: Project,
        source: str,
        platforms: Sequence[str],
        previous: Lock | None,
        *,
        check: bool,
        **upgrades: Any,
    ) -> Project:
        """``project`` with its pip-compiled file brought up to date, if it has one and pip-tools is used.

        ``check`` and ``upgrades`` as for :func:`envbuild.lock.compiled.update_compiled`.
        """
        from envbuild.cli.bases import offered_bases
        from envbuild.lock.compiled import update_compiled
        from envbuild.lock.pip_tools import PipTools

        if self.resolver(project) != PipTools.name:
            return project
        settings = project.settings
        changed = update_compiled(
            project.repo,
            project.spec,
            PipTools(self.store, settings.tool_environment(self.environment), settings.offline),
            previous=previous,
            platform=sorted(platforms)[0],
            exclude_newer=settings.exclude_newer,
            reporter=self.console,
            recipes=offered_bases(self, project, platforms, previous.base if previous else None),
            check=check,
            **upgrades,
        )
        return self.project(source) if changed else project

    def builder(
        self, lock: Lock, settings: Settings, repo: Repo | None = None, *, check: bool = False
    ) -> Builder:
        """What builds ``lock``; its downloads end with this command.

        Parameters:
            repo: the repository, when there may be something of it to install.
            check: run every step of the build twice and compare.
        """
        from envbuild.build import Builder
        from envbuild.cli.bases import base_config, interpreter_of
        from envbuild.lock.sources import lock_fetcher
        from envbuild.sandbox.steps import StepLayers

        fetcher = lock_fetcher(
            lock,
            store=self.store,
            environment=settings.tool_environment(self.environment),
            configured=settings.source_addresses,
            channel_mirrors=settings.channel_mirrors,
            offline=settings.offline,
        )
        click.get_current_context().with_resource(fetcher)

        def fetch(artifacts: Sequence[Artifact]) -> Sequence[Path]:
            futures = [fetcher.submit(artifact) for artifact in artifacts]
            return [future.result() for future in futures]

        def workshop(platform: str) -> Workshop:
            return self._workshop(settings, lock, platform, fetch)

        def restore(artifacts: Sequence[Artifact]) -> None:
            from envbuild.backend.restoring import Restorer

            if artifacts and repo is not None:
                git = self._git(settings)
                Restorer(lock, self.store, repo, git, workshop, fetch, settings.offline)(artifacts)

        def projects(platform: str) -> Sequence[Wheel]:
            from envbuild.backend.projects import ProjectBuilder

            return ProjectBuilder(lock, repo, workshop, self.console)(platform) if repo is not None else ()

        layers = self.layers(settings)
        return Builder(
            store=self.store,
            fetcher=fetcher,
            reporter=self.console,
            layers=layers,
            interpreter=partial(interpreter_of, self, settings, fetcher),
            base_config=partial(base_config, self),
            steps=StepLayers(
                store=self.store,
                layers=layers,
                sandbox=partial(self.sandbox, settings),
                reporter=self.console,
                limits=self.limits(settings),
                compression=settings.compression,
                check=check,
            ),
            restore=restore,
            projects=projects,
            compression=settings.compression,
            jobs=settings.jobs,
        )

    def sandbox(self, settings: Settings) -> Sandbox:
        """What runs the steps of a build."""
        from envbuild.engine import choose
        from envbuild.sandbox.bubblewrap import BubblewrapSandbox
        from envbuild.sandbox.docker import DockerSandbox

        engines = self.engines(settings)
        sandboxes: Sequence[Sandbox] = (
            BubblewrapSandbox(engines.bubblewrap, self.store, self.environment),
            DockerSandbox(engines.docker, self.store, self.environment),
            DockerSandbox(engines.podman, self.store, self.environment),
        )
        return choose(settings.engine, sandboxes)

    def limits(self, settings: Settings) -> Limits:
        """What each step of a build may use."""
        from envbuild.sandbox.model import Limits

        return Limits(seconds=60 * settings.step_timeout, memory=settings.step_memory << 30)

    def _is_own_index(self, settings: Settings, url: str) -> bool:
        """Whether ``url`` is that of one of the user's package indexes."""
        from envbuild.lock.addresses import same_index
        from envbuild.lock.uv_process import Uv, UvFailure

        try:
            own = Uv(self.store, settings.tool_environment(self.environment)).indexes()
        except UvFailure:  # locking will say why
            return False
        return any(same_index(url, index) for index in own)

    def addresses(self, lock: Lock, settings: Settings) -> Callable[[Artifact], str]:
        """What tells where the artifacts of ``lock`` are."""
        from envbuild.lock.sources import lock_addresses

        return lock_addresses(
            lock,
            store=self.store,
            environment=settings.tool_environment(self.environment),
            configured=settings.source_addresses,
            offline=settings.offline,
        )

    def mirrors(self, settings: Settings) -> Mirrors:
        """Where this machine gets Debian packages from."""
        from datetime import UTC, datetime

        from envbuild.base.mirrors import find_mirrors

        return find_mirrors(settings.source_addresses, at=datetime.now(UTC))

    def engines(self, settings: Settings) -> Engines:
        """The engines of this machine, the preferred one first; what they started ends with this command."""
        from envbuild.engine.machine import machine_engines

        if settings not in self._engines:
            engines = machine_engines(
                self.store,
                mirrors=self.mirrors(settings),
                environment=self.environment,
                offline=settings.offline,
                reporter=self.console,
                bring=self.layers(settings).bring,
            )
            click.get_current_context().call_on_close(engines.podman.close)
            self._engines[settings] = engines
        return self._engines[settings]

    def engine_built(self, project: Project, platform: str) -> EngineBuilt:
        """The image of a repository that only a container engine can build."""
        from envbuild.builder.make import EngineBuilder

        self.show_problems(project.spec)
        builder = EngineBuilder(
            store=self.store,
            docker=self.engines(project.settings).docker,
            reporter=self.console,
            environment=self.environment,
            compression=project.settings.compression,
            base_image=project.settings.repo2docker_base_image,
        )
        return builder.build(project.repo, project.spec, platform)

    def show_problems(self, spec: Spec) -> None:
        """Say what reading found that is no error but should be acted on."""
        for problem in spec.problems:
            place = "".join(f"{part}:" for part in (problem.file, problem.line) if part)
            place += " " if place else ""
            remedy = f" ({problem.remedy})" if problem.remedy else ""
            if problem.level == "warning":
                self.console.warn(f"{place}{problem.message}{remedy}")
            elif problem.level == "note":
                self.console.note(f"{place}{problem.message}{remedy}")
