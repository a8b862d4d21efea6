"""From the names of imported modules to the names of distributions on an index.

``imports.toml`` holds the cases where the two differ; everything else is taken to be called the same.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import resources
from typing import Any

import tomli

__all__ = ["brought_by", "distribution_of", "imported_name"]

# Modules that only some supported Python has: the answer must not depend on the one envbuild runs on.
_STDLIB_SOMETIMES = """
    _xxsubinterpreters aifc annotationlib asynchat asyncore audioop cgi cgitb chunk compression crypt
    distutils imghdr imp lib2to3 mailcap msilib nis nntplib ossaudiodev pipes smtpd sndhdr spwd sunau
    telnetlib tomllib uu xdrlib
"""
_STDLIB = sys.stdlib_module_names | frozenset(_STDLIB_SOMETIMES.split()) | {"__main__"}


@cache
def _tables() -> dict[str, Any]:
    return tomli.loads((resources.files("envbuild.spec") / "imports.toml").read_text("utf-8"))


@cache
def _distributions() -> dict[str, str]:
    table: dict[str, str] = _tables()["distributions"]
    return table


@cache
def imported_name(module: str) -> str:
    """What of the dotted ``module`` decides where it comes from; "" for the standard library.

    >>> [imported_name(module) for module in ("numpy.linalg.norm", "google.cloud.storage.Client", "os.path")]
    ['numpy', 'google.cloud.storage', '']
    """
    parts = module.split(".")
    if parts[0] in _STDLIB:
        return ""
    table = _distributions()
    for length in range(len(parts), 1, -1):
        if (name := ".".join(parts[:length])) in table:
            return name
    return parts[0]


def distribution_of(name: str) -> str:
    """The distribution that provides ``name`` (from :func:`imported_name`); "" when it cannot be told.

    >>> distribution_of("sklearn"), distribution_of("numpy"), distribution_of("google")
    ('scikit-learn', 'numpy', '')
    """
    return _distributions().get(name, name)


@cache
def brought_by(name: str) -> frozenset[str]:
    """Canonical names of distributions that as a rule bring what provides ``name`` along.

    >>> "pandas" in brought_by("numpy"), brought_by("seaborn")
    (True, frozenset())
    """
    return frozenset(_tables()["brought_by"].get(name, ()))
