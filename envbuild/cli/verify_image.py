"""``envbuild verify-image``: does an image do what hubs need?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.files import require_writable, write_named
from envbuild.cli.looking import inspector
from envbuild.cli.options import SIZE, chain, common_options, engine_option, plain_http_option
from envbuild.cli.session import Session
from envbuild.cli.text import columns, count, escape, escape_block
from envbuild.errors import UsageError
from envbuild.source.text import redact

if TYPE_CHECKING:
    from envbuild.engine import Docker

__all__ = ["verify_image"]

_LEAST_MEMORY = 256_000_000
_LONGEST_LINE = 500

_choice_options = chain(
    click.option("--only", multiple=True, metavar="ID", help="Only this test; repeatable. Default: all."),
    click.option("--skip", multiple=True, metavar="ID", help="Not this test; repeatable."),
)
_limit_options = chain(
    click.option(
        "--writable",
        multiple=True,
        metavar="DIR",
        help="A directory the image may write to besides those it declares; repeatable.",
    ),
    click.option(
        "--timeout",
        type=click.IntRange(1, 3600),
        default=120,
        metavar="SECONDS",
        help="How long a server may take to answer. Default: 120.",
    ),
    click.option(
        "--memory", type=SIZE, default="4G", metavar="SIZE", help="What each container may use. Default: 4G."
    ),
)


@click.command("verify-image", short_help="Hold an image to what hubs rely on.")
@click.argument("image", metavar="IMAGE")
@_choice_options
@_limit_options
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    metavar="FILE",
    help="Write the results as JUnit's XML, for CI.",
)
@engine_option
@plain_http_option
@common_options
def verify_image(
    session: Session,
    image: str,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    writable: tuple[str, ...],
    timeout: int,
    memory: int,
    junit: Path | None,
) -> None:
    """Start IMAGE as hubs do, and test what they rely on.

    IMAGE is one that the engine or the cache has, a reference in a registry, oci:DIRECTORY or archive:FILE;
    whoever made it. It runs in containers of Docker or podman without a network. Exit code 0: all tests
    passed. 1: one has not.
    """
    from envbuild.cli.verify_image_documents import verify_image_document
    from envbuild.conformance.containers import Containers
    from envbuild.conformance.contract import chosen
    from envbuild.conformance.finding import find_image
    from envbuild.conformance.model import Limits
    from envbuild.conformance.runner import hold

    tests = chosen(only, skip)
    _check_limits(writable, memory)
    if junit is not None:
        require_writable(junit, "--junit")
    engine = _engine(session)
    began = time.monotonic()
    reference = find_image(image, engine, inspector(session))
    limits = Limits(seconds=timeout, memory=memory)
    platform = Containers(engine, reference, redact(image), limits, writable)
    results = hold(platform, tests, limits, session.console)
    if junit is not None:
        from envbuild.conformance.junit import junit_report

        report = junit_report(platform.subject, engine.name, results, seconds=time.monotonic() - began)
        write_named(junit, report, "--junit")
    document = verify_image_document(platform.subject, engine.name, results, session.console.rounded_seconds)
    session.console.result(*_text(document))
    session.console.document(document)
    if not document["passed"]:
        raise click.exceptions.Exit(1)


def _check_limits(writable: tuple[str, ...], memory: int) -> None:
    if memory < _LEAST_MEMORY:
        raise click.UsageError("--memory must be at least 256M: a server and a kernel need that")
    for path in writable:
        if not path.startswith("/") or path.strip("/") == "":
            raise click.UsageError(f"--writable {path!r} is not an absolute path below /")


def _engine(session: Session) -> Docker:
    from envbuild.engine import choose

    if session.settings.engine == "bubblewrap":
        raise UsageError(
            "bubblewrap cannot start an image as another user, which is what hubs do",
            code="unfit-engine",
            remedy="use --engine docker or --engine podman",
        )
    engines = session.engines(session.settings)
    return choose(session.settings.engine, (engines.docker, engines.podman))


def _text(document: dict[str, Any]) -> list[str]:
    tests = document["tests"]
    lines = columns(
        [
            ("image", escape(document["image"])),
            ("image ID", document["image_id"]),
            ("engine", document["engine"]),
        ]
    )
    words = {"passed": "passed", "failed": "FAILED", "not-checked": "not checked"}
    lines += ["", *columns([(words[test["state"]], test["id"], escape(test["seen"])) for test in tests])]
    for test in tests:
        if test["state"] == "failed":
            lines += ["", *_failure(test)]
    failed, unknown = (sum(test["state"] == state for test in tests) for state in ("failed", "not-checked"))
    verdict = f"{count(len(tests) - failed - unknown, 'test')} passed"
    verdict += f", {failed} failed" if failed else ""
    verdict += f", {unknown} not checked" if unknown else ""
    return [*lines, "", verdict]


def _failure(test: dict[str, Any]) -> list[str]:
    lines = [
        f"{test['id']}: {test['title']}",
        f"  seen    {escape(test['seen'])}",
        f"  breaks  {test['relied_on_by']}",
        f"  mend    {test['remedy']}",
    ]
    if test["log"]:
        lines += [
            "  its output ended with",
            *(f"    {_cut(line)}" for line in escape_block(test["log"])[-10:]),
        ]
    return lines


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else line[:_LONGEST_LINE] + "…"
