"""What a CI job is told of a build: variables for its later steps, a summary for people.

Variables are lines ``name=value``, which GitHub (``GITHUB_OUTPUT``) and GitLab (dotenv reports) read alike;
the summary is Markdown (``GITHUB_STEP_SUMMARY``). Both are appended: a file may have lines of other steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from envbuild.cli.options import chain
from envbuild.cli.text import byte_size, count, duration, escape, escape_block
from envbuild.errors import EnvbuildError, MachineError
from envbuild.source.text import printable, redact

__all__ = ["Job", "ci_options", "error_variables", "summary", "variables"]

_FILE = click.Path(path_type=Path, dir_okay=False)
# A summary is read by people; GitHub takes no more than a mebibyte.
_MOST_CHANGES = 200
_LONGEST_VALUE = 1000

ci_options = chain(
    click.option(
        "--variables",
        "variables_file",
        type=_FILE,
        metavar="FILE",
        help="Append name=value lines about the result, for CI ($GITHUB_OUTPUT, a dotenv report).",
    ),
    click.option(
        "--summary",
        "summary_file",
        type=_FILE,
        metavar="FILE",
        help="Append a summary in Markdown, for CI ($GITHUB_STEP_SUMMARY).",
    ),
)


@dataclass(frozen=True, slots=True)
class Job:
    """The files of the CI job that a build runs in; None where nobody asked."""

    variables_file: Path | None
    summary_file: Path | None

    def tell(self, name: str, document: Mapping[str, Any]) -> None:
        """Write what the build of ``name`` gave.

        Parameters:
            document: what ``envbuild build --json`` prints.

        Raises:
            MachineError: a file cannot be written.
        """
        lines = [f"{key}={value}" for key, value in variables(document).items()]
        _append(self.variables_file, lines)
        _append(self.summary_file, summary(name, document))

    @contextmanager
    def told_of_failure(self) -> Iterator[None]:
        """Write why the block fails, if it does."""
        try:
            yield
        except EnvbuildError as error:
            _append(self.variables_file, [f"{key}={value}" for key, value in error_variables(error).items()])
            _append(self.summary_file, _failure(error))
            raise


def variables(document: Mapping[str, Any]) -> dict[str, str]:
    """What later steps need of a build, by name.

    ``image`` is the first pushed name with the digest: what to deploy. Values have no line breaks.
    """
    layers = document["layers"]
    built = sum(not layer["cached"] for layer in layers)
    pushed = document["pushed"]
    references = pushed["references"] if pushed else []
    changes = document["changes"]
    return {
        "digest": document["digest"],
        "image": f"{_without_tag(references[0])}@{pushed['digest']}" if references else "",
        "image_id": document["image_id"],
        "env": document["env"] or "",
        "layers_built": str(built),
        "layers_reused": str(len(layers) - built),
        "bytes_sent": str(pushed["uploaded"]["bytes"]) if pushed else "",
        "packages_changed": "" if changes is None else str(len(_packages(changes))),
    }


def error_variables(error: EnvbuildError) -> dict[str, str]:
    """What later steps need of an ``error``, by name. Values have no line breaks and are not long."""
    told = {
        "error": error.code,
        "error_exit_code": str(error.exit_code),
        "error_place": error.place,
        "error_message": error.message,
        "error_remedy": error.remedy or "",
    }
    return {key: printable(redact(value))[:_LONGEST_VALUE] for key, value in told.items()}


def summary(name: str, document: Mapping[str, Any]) -> list[str]:
    """The lines of a summary in Markdown."""
    told = variables(document)
    pushed = document["pushed"]
    size = byte_size(sum(layer["size"] for layer in document["layers"]))
    layers = f"{told['layers_built']} built, {told['layers_reused']} reused; {size}"
    spent = (f"{stage} {duration(seconds)}" for stage, seconds in document["seconds"].items())
    rows = [
        *(("pushed", f"`{reference}`") for reference in (pushed["references"] if pushed else ())),
        ("digest", f"`{told['digest']}`"),
        ("image ID", f"`{told['image_id']}`"),
        *([("environment", f"`{told['env']}`")] if told["env"] else []),
        ("platforms", ", ".join(document["platforms"])),
        ("layers", layers),
        *([("sent", byte_size(pushed["uploaded"]["bytes"]))] if pushed else []),
        ("time", ", ".join(spent)),
    ]
    return [
        f"### {_plain(name)}",
        "",
        "| | |",
        "|---|---|",
        *(f"| {label} | {text} |" for label, text in rows if text),
        "",
        *_changes(document),
    ]


def _changes(document: Mapping[str, Any]) -> list[str]:
    changes, previous = document["changes"], document["previous"]
    if changes is None:
        return []
    found = _packages(changes)
    if not found:
        return [f"The packages are those of `{previous}`.", ""]
    rows = [
        f"| {_plain(change['name'])} | {_plain(change['before'] or '')} | {_plain(change['after'] or '')} |"
        for change in found[:_MOST_CHANGES]
    ]
    if len(found) > _MOST_CHANGES:
        rows.append(f"| and {len(found) - _MOST_CHANGES} more | | |")
    return [
        f"{count(len(found), 'package')} not as in `{previous}`:",
        "",
        "| package | before | now |",
        "|---|---|---|",
        *rows,
        "",
    ]


def _packages(changes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The changes that are about packages; a lock has others, too (its date)."""
    from envbuild.lock.difference import PACKAGES

    return [change for change in changes if change["kind"] in PACKAGES]


def _failure(error: EnvbuildError) -> list[str]:
    texts = [f"error: {error}", *(error.detail or "").splitlines()]
    if error.remedy:
        texts.append(f"help: {error.remedy}")
    # Indented: nothing in it is Markdown or HTML, whatever a repository makes a message say.
    return [
        "### The image could not be built",
        "",
        *(f"    {line}" for text in texts for line in escape_block(text)),
    ]


def _plain(text: str) -> str:
    """``text`` of a lock without a meaning in a cell of a Markdown table."""
    return "".join(f"\\{char}" if char in r"\`*_{}[]<>()#+!|~" else char for char in escape(text))


def _without_tag(reference: str) -> str:
    """``registry/name`` of a reference with a tag, a digest, or both."""
    name = reference.partition("@")[0]
    return name[: name.rindex(":")] if ":" in name[name.rfind("/") :] else name


def _append(path: Path | None, lines: Sequence[str]) -> None:
    if path is None:
        return
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write("".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise MachineError(
            f"{path} cannot be written: {error.strerror or error}",
            code="output-not-writable",
            remedy="name another file with --variables or --summary",
        ) from error
