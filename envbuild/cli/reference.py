"""``docs/cli.md`` from the commands themselves: ``python -m envbuild.cli.reference > docs/cli.md``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator

import click

from envbuild.cli.main import cli

__all__ = ["reference"]

_INTRODUCTION = """\
# Command line

<!-- Generated: python -m envbuild.cli.reference > docs/cli.md -->

Results go to stdout; progress, notes and errors go to stderr. `--json` prints one JSON document
([schemas](schemas.md)). Most options can be set once and for all ([configuration](configuration.md)).

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | the repository's fault; the message names file and line |
| 2 | wrong command line or configuration |
| 3 | this machine lacks something; the message says what to do |
| 4 | an index, a mirror or a registry failed |
| 70 | a bug in envbuild; `--debug` shows where |
| 130 | interrupted |

`envbuild run -- COMMAND` and `envbuild up` end with the exit code of what they ran.
"""


def reference() -> str:
    """The whole page, Markdown."""
    context = cli.make_context("envbuild", [], resilient_parsing=True)
    return _INTRODUCTION + "".join(_sections(cli, context))


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _sections(child, click.Context(child, info_name=name, parent=context))
        return
    yield f"\n## {context.command_path}\n\n"
    yield f"```\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```\n\n"
    yield inspect.cleandoc(command.help or "") + "\n\n"
    yield "| option | |\n|---|---|\n"
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None:
            options, text = (cell.replace("|", "\\|") for cell in record)
            yield f"| `{options}` | {text} |\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
