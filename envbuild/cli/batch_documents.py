"""What is said of a fleet that was built: lines for people, and the document of ``--json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from envbuild.cli.documents import error_document
from envbuild.cli.text import columns, count, duration

if TYPE_CHECKING:
    from envbuild.fleet.model import Fleet
    from envbuild.jobs.batch import Made

__all__ = ["fleet_document", "fleet_lines"]

_ORDER = ("built", "resolved", "unchanged", "outdated", "failed")


def fleet_document(
    fleet: Fleet, lock: str, made: Sequence[Made], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """``build --fleet``: what became of each environment."""
    return {"fleet": fleet.name, "lock": lock, "environments": [_environment(one) for one in made]} | {
        "seconds": dict(seconds)
    }


def _environment(made: Made) -> dict[str, Any]:
    pin = made.pin
    return {
        "name": made.environment,
        "outcome": made.outcome,
        "reason": made.reason,
        "image": str(pin.reference) if pin else None,
        "previous": str(made.previous.reference) if made.previous else None,
        "commit": pin.commit if pin else None,
        "lock_digest": pin.lock_digest if pin else None,
        "seconds": round(made.seconds, 3),
        "error": error_document(made.error) if made.error else None,
    }


def fleet_lines(made: Sequence[Made]) -> list[str]:
    """A table: environment, what became of it, its image or why; and how many of each there are."""
    rows = [("ENVIRONMENT", "OUTCOME", "TIME", "IMAGE")]
    for one in made:
        spent = duration(one.seconds) if one.seconds else ""
        image = str(one.pin.reference) if one.pin else ""
        told = (one.reason or "") if one.outcome == "outdated" else image
        rows.append((one.environment, one.outcome, spent, told))
    numbers = {outcome: sum(one.outcome == outcome for one in made) for outcome in _ORDER}
    counts = ", ".join(f"{number} {outcome}" for outcome, number in numbers.items() if number)
    return [*columns(rows), f"{count(len(made), 'environment')}: {counts}"]
