"""``envbuild doctor``: what this machine can do."""

from __future__ import annotations

from dataclasses import asdict

import click

from envbuild.cli.options import common_options
from envbuild.cli.session import Session
from envbuild.cli.text import columns
from envbuild.errors import MachineError

__all__ = ["doctor"]


@click.command(short_help="Check what this machine can do.")
@common_options
def doctor(session: Session) -> None:
    """Check what `envbuild up` needs on this machine. Exit code 3: it could not work."""
    from envbuild.doctor import examine
    from envbuild.image.reference import parse_reference

    settings = session.settings

    def find_base(name: str) -> bool:
        reference = parse_reference(name)
        return session.registries.repository(reference).head_manifest(reference.version) is not None

    checks = examine(
        session.store,
        environment=settings.tool_environment(session.environment),
        mirrors=session.mirrors(settings),
        engines=session.engines(settings),
        offline=settings.offline,
        base=settings.base,
        find_base=find_base,
    )
    rows: list[tuple[str, str, str]] = []
    for check in checks:
        rows.append((check.status, check.name, check.message))
        if check.remedy:
            rows.append(("", "", f"help: {check.remedy}"))
    session.console.result(*columns(rows))
    works = all(check.status != "fail" for check in checks)
    session.console.document({"works": works, "checks": [asdict(check) for check in checks]})
    if not works:
        raise click.exceptions.Exit(MachineError.exit_code)
