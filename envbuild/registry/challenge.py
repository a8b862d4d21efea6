"""What a server says about how to authenticate: ``WWW-Authenticate``, as in RFC 9110, section 11."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Challenge", "parse_challenges"]

_LONGEST = 16_384
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf"({_TOKEN})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|({_TOKEN}))")
_SCHEME = re.compile(rf"({_TOKEN})(?:\s+|\s*$|\s*(?=,))")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*\s*(?=,|$)")
_SEPARATORS = re.compile(r"[\s,]*")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate: its ``scheme`` in lower case, and its parameters by name in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges in the values of ``WWW-Authenticate`` headers; what is not one ends its header.

    >>> parse_challenges(['Bearer realm="https://auth.example.org/token",service="reg", Basic realm=r'])[1]
    Challenge(scheme='basic', parameters={'realm': 'r'})
    """
    return tuple(challenge for header in headers for challenge in _parse(header[:_LONGEST]))


def _parse(text: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = 0
    while True:
        position = _skip(text, position)
        parameter = _PARAMETER.match(text, position)
        if parameter is not None and found:
            name, quoted, plain = parameter.groups()
            value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found[-1].parameters.setdefault(name.lower(), value)
            position = parameter.end()
            continue
        scheme = _SCHEME.match(text, position)
        if parameter is not None or scheme is None:
            return found
        found.append(Challenge(scheme[1].lower(), {}))
        position = scheme.end()
        token68 = _TOKEN68.match(text, position)  # credentials in another form, as Negotiate has them
        if token68 is not None and _PARAMETER.match(text, position) is None:
            position = token68.end()


def _skip(text: str, position: int) -> int:
    separators = _SEPARATORS.match(text, position)
    return separators.end() if separators else position
