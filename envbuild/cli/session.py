"""What a verb works with: the console, the settings, the cache, and the repository it was given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
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
    from envbuild.audit import Audit
    from envbuild.base.mirrors import Mirrors
    from envbuild.builder.make import EngineBuilt
    from envbuild.cluster.api import Cluster
    from envbuild.engine.machine import Engines
    from envbuild.lock.model import Artifact, Lock
    from envbuild.post_build import PostBuild
    from envbuild.registry.cache import SharedLayers
    from envbuild.registry.registries import Registries
    from envbuild.sandbox.model import Limits, Sandbox
    from envbuild.source import Repo
    from envbuild.source.git import GitClient
    from envbuild.source.patterns import Pattern
    from envbuild.spec import Spec
    from envbuild.store import Store

__all__ = ["MOST_CONFIG_BYTES", "SETTINGS", "Project", "Session"]

# Command line options that are settings; every other option belongs to its verb.
SETTINGS = frozenset(option.attribute for option in OPTIONS)
MOST_CONFIG_BYTES = 1_000_000


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
    def cluster(self) -> Cluster:
        """A connection to the Kubernetes cluster that is configured; no request is sent yet."""
        from envbuild.cluster.connection import connect

        return connect(self.settings.kube_context, self.environment)

    @cached_property
    def store(self) -> Store:
        """The cache, ready for use, and safe from ``cache prune`` until this process ends."""
        from envbuild.store import Store
        from envbuild.store.prune import in_use

        store = Store(self.settings.cache_dir, self.console.warn)
        store.prepare()
        click.get_current_context().with_resource(in_use(store))
        return store

    @cached_property
    def audit(self) -> Audit:
        """What records builds and pushes."""
        from envbuild.audit import Audit, who

        path = self.settings.audit_log
        return Audit(
            Path(path).expanduser() if path else None,
            who(self.environment, self.settings.actor),
            self.console.observation,
            self.console.audited,
        )

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
        if source.startswith("context://"):
            repo = self._uploaded(source)
        else:
            opener = Opener(self.store, self.environment, self.console, offline=settings.offline)
            repo = opener.open(source, settings.subdir)
        self.console.observation.source = (
            repo.origin.identity if repo.origin else {"directory": str(repo.root)}
        )

        def text(name: str) -> str | None:
            return (
                repo.read(name, MOST_CONFIG_BYTES).decode("utf-8", "replace") if repo.exists(name) else None
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

    def _uploaded(self, source: str) -> Repo:
        """The directory that somebody has uploaded to have it built here."""
        from envbuild.jobs.context import fetch_context

        return fetch_context(source, store=self.store, registries=self.registries, reporter=self.console)

    def working_directory(self, project: Project) -> Path:
        """Where the project's files may be changed; that of a fetched one is made, and named."""
        from envbuild.source.copies import working_directory

        directory, is_copy = working_directory(project.repo)
        if is_copy:
            self.console.note(f"working on a copy, which is kept: {directory}")
        return directory

    def git(self, settings: Settings) -> GitClient:
        """What fetches from git repositories."""
        from envbuild.source.git import GitClient

        return GitClient(self.store, self.environment, self.console, offline=settings.offline)

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

    def raw_lines(self) -> Callable[[str], None] | None:
        """What writes lines of another envbuild's log beside ours; None where ours is for people."""
        return self.console.journal.pass_on if self.console.journal is not None else None

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
