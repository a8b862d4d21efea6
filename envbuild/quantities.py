"""Amounts as people read them: sizes, lengths of time, numbers of things."""

from __future__ import annotations

__all__ = ["byte_size", "count", "duration", "quantity"]


def byte_size(amount: int) -> str:
    """A size in decimal units.

    >>> byte_size(999), byte_size(71_600_000)
    ('999 B', '71.6 MB')
    """
    if amount < 1000:
        return f"{amount} B"
    value, units = amount / 1000, ["kB", "MB", "GB", "TB"]
    while value >= 999.95 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.1f} {units[0]}"


def duration(seconds: float) -> str:
    """A length of time.

    >>> duration(0.04), duration(3.21), duration(65)
    ('0.04 s', '3.2 s', '1 min 05 s')
    """
    if seconds < 0.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def count(amount: int, singular: str) -> str:
    """A number and its noun.

    >>> count(1, "layer"), count(1200, "layer")
    ('1 layer', '1,200 layers')
    """
    return f"{amount:,} {singular}{'' if amount == 1 else 's'}"


def quantity(amount: int, unit: str) -> str:
    """An amount in the unit of a stage (:meth:`envbuild.progress.Reporter.stage`): "B", or a plural noun.

    >>> quantity(71_600_000, "B"), quantity(1, "layers"), quantity(1200, "layers")
    ('71.6 MB', '1 layer', '1,200 layers')
    """
    if unit == "B":
        return byte_size(amount)
    return count(amount, unit[:-1]) if unit.endswith("s") else f"{amount:,} {unit}"
