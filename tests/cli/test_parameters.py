"""What commands take from the command line, and what goes into the session's settings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click
import pytest

from envbuild.cli.main import VERBS, cli
from envbuild.cli.session import SETTINGS


def _commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for inner, one in command.commands.items():
            yield from _commands(f"{name} {inner}", one)
    else:
        yield name, command


def _all_commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    verbs = ((verb, cli.get_command(context, verb)) for verb in VERBS)
    return dict(found for verb, command in verbs if command for found in _commands(verb, command))


@pytest.mark.parametrize("name", _all_commands())
def test_no_command_waits_for_a_parameter_that_is_a_setting(name: str) -> None:
    """Its value goes into ``session.settings``, whichever option it came by."""
    callback = _all_commands()[name].callback
    assert callback is not None

    taken = set(inspect.signature(callback).parameters) & SETTINGS

    assert not taken
