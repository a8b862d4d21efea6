"""Pins: which image each environment of a fleet is at present, in ``fleet.lock`` beside the fleet file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from envbuild.errors import UsageError
from envbuild.fleet.model import Environment, Fleet, ImageSource, Pin
from envbuild.fleet.tables import Table, read_table
from envbuild.image.reference import Reference, is_digest, parse_reference
from envbuild.quantities import count
from envbuild.source.text import printable
from envbuild.store.disk import write_atomic

__all__ = ["pins_path", "read_pins", "require_pins", "write_pins"]

_VERSION = 1
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", re.ASCII)  # git's SHA-1, or its SHA-256
_HEAD = """\
# Which image each environment is. `envbuild build --fleet {name}` writes this; keep both together.
# What hubs offer and nodes keep warm is decided here: an older version of it is a rollback.
version = {version}
"""


def pins_path(fleet: Fleet) -> Path:
    """Where the pins of ``fleet`` are: its file with the ending ``.lock``."""
    return fleet.path.with_suffix(".lock")


def read_pins(fleet: Fleet) -> Mapping[str, Pin]:
    """The pins there are, by environment, in the fleet's order.

    An environment that is an image with a digest needs none in the file. Pins of environments that are no
    longer in the fleet are left out.

    Raises:
        UsageError: the file is damaged, with file, line and remedy.
    """
    path = pins_path(fleet)
    remedy = f"take an older version of it, or delete it and run {_command(fleet)}"
    found: dict[str, Pin] = {}
    if path.exists():
        root = read_table(path)
        root.only("version", "environments")
        if root.data.get("version") != _VERSION:
            raise root.error(
                "it is of another version of envbuild", "version", code="bad-pins", remedy=remedy
            )
        found = {name: _pin(name, table, remedy) for name, table in root.tables("environments")}
    pins = (
        (environment.name, _own(environment) or found.get(environment.name))
        for environment in fleet.environments
    )
    return {name: pin for name, pin in pins if pin is not None}


def require_pins(fleet: Fleet) -> Mapping[str, Pin]:
    """The pins of all environments, in the fleet's order.

    Raises:
        UsageError: there is none of an environment, or the file is damaged.
    """
    pins = read_pins(fleet)
    missing = [environment.name for environment in fleet.environments if environment.name not in pins]
    if missing:
        shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise UsageError(
            f"{count(len(missing), 'environment')} without an image yet: {shown}",
            code="missing-pins",
            file=printable(str(pins_path(fleet))),
            remedy=f"run {_command(fleet)}",
        )
    return pins


def write_pins(fleet: Fleet, pins: Mapping[str, Pin]) -> None:
    """Write ``pins`` for ``fleet``: in order of name, one line for each fact, whole or not at all.

    Environments that are images with a digest are left out, as are those that are not in the fleet.

    Raises:
        OSError: as the file system reports it.
    """
    kept = {one.name for one in fleet.environments if _own(one) is None}
    blocks = [_HEAD.format(name=printable(fleet.path.name), version=_VERSION)]
    for name in sorted(kept & set(pins)):
        pin = pins[name]
        lines = [f"[environments.{name}]", f'image = "{pin.reference}"']
        if pin.commit is not None:
            lines.append(f'commit = "{pin.commit}"')
        if pin.lock_digest is not None:
            lines.append(f'lock = "{pin.lock_digest}"')
        if pin.previous is not None:
            lines.append(f'previous = "{pin.previous}"')
        blocks.append("".join(f"{line}\n" for line in lines))
    write_atomic(pins_path(fleet), "\n".join(blocks).encode())


def _own(environment: Environment) -> Pin | None:
    source = environment.source
    if isinstance(source, ImageSource) and source.reference.digest is not None:
        return Pin(environment.name, source.reference)
    return None


def _pin(name: str, table: Table, remedy: str) -> Pin:
    table.only("image", "commit", "lock", "previous")
    reference = table.text("image", _pinned)
    if reference is None:
        raise table.error(f"{table.title} has no image", code="bad-pins", remedy=remedy)
    return Pin(
        name,
        reference,
        table.text("commit", _commit),
        table.text("lock", _lock_digest),
        table.text("previous", _pinned),
    )


def _pinned(text: str) -> Reference:
    reference = parse_reference(text)
    if reference.digest is None:
        raise ValueError("has no digest")
    return reference


def _commit(text: str) -> str:
    if not _COMMIT.fullmatch(text):
        raise ValueError("must be a commit in full")
    return text


def _lock_digest(text: str) -> str:
    if not is_digest(text):
        raise ValueError("must be sha256: and 64 hexadecimal digits")
    return text


def _command(fleet: Fleet) -> str:
    return f"envbuild build --fleet {printable(str(fleet.path))}"
