"""What a verb works with: the console, the settings, the cache, and the repository it was given."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.console import Console
from envbuild.config import OPTIONS, Settings, load_settings, read_user_config, user_config_path

if TYPE_CHECKING:
    from envbuild.store import Store

__all__ = ["SETTINGS", "Session"]

# Command line options that are settings; every other option belongs to its verb.
SETTINGS = frozenset(option.attribute for option in OPTIONS)


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

    @cached_property
    def settings(self) -> Settings:
        """The settings, before any repository had its say."""
        return self.settings_with(None)

    def settings_with(self, repository: Mapping[str, Any] | None) -> Settings:
        """The settings with those of a repository's file (``config.parse_repository_config``)."""
        user = read_user_config(user_config_path())
        return load_settings(
            flags=self._flags, environment=self.environment, user=user, repository=repository
        )

    @cached_property
    def store(self) -> Store:
        """The cache, ready for use, and safe from ``cache prune`` until this process ends."""
        from envbuild.store import Store
        from envbuild.store.prune import in_use

        store = Store(self.settings.cache_dir)
        store.prepare()
        click.get_current_context().with_resource(in_use(store))
        return store
