"""Amounts and names as a fleet file writes them, and the grammar of Kubernetes' names."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction

__all__ = [
    "byte_count",
    "core_count",
    "dns_label",
    "is_dns_label",
    "is_dns_subdomain",
    "is_label_key",
    "is_label_value",
    "seconds",
]

_AMOUNT = re.compile(r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,9})?) ?(?P<unit>[A-Za-zµ]*)", re.ASCII)
_DECIMAL = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
# As people write them (4 GB, 4 GiB) and as Kubernetes does (4G, 4Gi).
_BYTES = {
    **{suffix: factor for unit, factor in _DECIMAL.items() for suffix in (unit, f"{unit}B")},
    **{suffix: factor for unit, factor in _BINARY.items() for suffix in (unit, f"{unit}B")},
}
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_MOST_CORES = 10_000

_DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_LABEL_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_LONGEST_SUBDOMAIN = 253


def byte_count(text: str) -> int:
    """The bytes that ``text`` is.

    >>> byte_count("4 GB"), byte_count("4Gi"), byte_count("1.5 GiB")
    (4000000000, 4294967296, 1610612736)

    Raises:
        ValueError: what is wrong, as the end of a sentence about it.
    """
    amount = _amount(text, _BYTES, 'must be a size, like "4 GB" or "4Gi"')
    if amount < 1 or amount.denominator != 1:
        raise ValueError("must be a whole number of bytes, and at least one")
    return int(amount)


def seconds(text: str) -> int:
    """The seconds that ``text`` is.

    >>> seconds("90 s"), seconds("1 h"), seconds("1.5 h")
    (90, 3600, 5400)

    Raises:
        ValueError: what is wrong, as the end of a sentence about it.
    """
    amount = _amount(text, _SECONDS, 'must be a length of time, like "45 min", "1 h" or "2 d"')
    if amount < 1 or amount.denominator != 1:
        raise ValueError("must be a whole number of seconds, and at least one")
    return int(amount)


def core_count(value: object) -> float:
    """The processor cores that ``value`` is: a number, or Kubernetes' thousandths.

    >>> core_count(2), core_count(0.5), core_count("500m")
    (2.0, 0.5, 0.5)

    Raises:
        ValueError: what is wrong, as the end of a sentence about it.
    """
    wrong = 'must be a number of cores, like 2, 0.5 or "500m"'
    if isinstance(value, str):
        amount = float(_amount(value, {"": Fraction(1), "m": Fraction(1, 1000)}, wrong))
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        amount = float(min(value, 2 * _MOST_CORES))
    else:
        raise ValueError(wrong)
    if not 0.001 <= amount <= _MOST_CORES:
        raise ValueError(f"must be between 0.001 and {_MOST_CORES} cores")
    return round(amount, 3)


def _amount(text: str, units: Mapping[str, int | Fraction], wrong: str) -> Fraction:
    match = _AMOUNT.fullmatch(text)
    if match is None or match["unit"] not in units:
        raise ValueError(wrong)
    return Fraction(match["number"]) * units[match["unit"]]


def dns_label(text: str) -> str:
    """``text`` as a DNS label (RFC 1123), as alike as it can be; empty when nothing of it can stay.

    >>> dns_label("Earth Science_2026")
    'earth-science-2026'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower(), flags=re.ASCII).strip("-")[:63].rstrip("-")


def is_dns_label(text: str) -> bool:
    """Whether ``text`` is a DNS label (RFC 1123): lower-case letters, digits, inner hyphens, 63 at most."""
    return _DNS_LABEL.fullmatch(text) is not None


def is_dns_subdomain(text: str) -> bool:
    """Whether ``text`` is DNS labels with dots between them, 253 characters at most."""
    return len(text) <= _LONGEST_SUBDOMAIN and all(map(is_dns_label, text.split(".")))


def is_label_key(text: str) -> bool:
    """Whether ``text`` can be the key of a Kubernetes label: ``[prefix/]name``."""
    prefix, slash, name = text.rpartition("/")
    return _LABEL_NAME.fullmatch(name) is not None and (not slash or is_dns_subdomain(prefix))


def is_label_value(text: str) -> bool:
    """Whether ``text`` can be the value of a Kubernetes label; it may be empty."""
    return text == "" or _LABEL_NAME.fullmatch(text) is not None
