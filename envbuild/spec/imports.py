"""From the names of imported modules to the names of distributions on an index.

``imports.toml`` holds the cases where the two differ; everything else is taken to be called the same.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import resources
from typing import Any

import tomli

__all__ = ["brought_by", "common_modules", "distribution_of", "imported_name", "used_without_import"]

# Modules that only some supported Python has: the answer must not depend on the one envbuild runs on.
_STDLIB_SOMETIMES = """
    _xxsubinterpreters aifc annotationlib asynchat asyncore audioop cgi cgitb chunk compression crypt
    distutils imghdr imp lib2to3 mailcap msilib nis nntplib ossaudiodev pipes smtpd sndhdr spwd sunau
    telnetlib tomllib uu xdrlib
"""
# Python 2 had these, and notebooks from then import them: no index has what was meant.
_STDLIB_OF_PYTHON_2 = """
    BaseHTTPServer ConfigParser Cookie HTMLParser Queue SimpleHTTPServer SocketServer StringIO Tkinter
    UserDict __builtin__ cPickle cProfile cStringIO commands cookielib dummy_thread htmlentitydefs httplib md5
    robotparser rfc822 sets sha thread tkFileDialog tkMessageBox ttk urllib2 urlparse xmlrpclib
"""
_STDLIB = sys.stdlib_module_names | frozenset(_STDLIB_SOMETIMES.split()) | {"__main__"}
_STDLIB |= frozenset(_STDLIB_OF_PYTHON_2.split())


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
    """Canonical names of distributions that as a rule bring what provides ``name`` along; ``*`` for all.

    >>> "pandas" in brought_by("numpy"), brought_by("seaborn"), brought_by("traitlets")
    (True, frozenset(), frozenset({'*'}))
    """
    return frozenset(_tables()["brought_by"].get(name, ()))


@cache
def common_modules() -> frozenset[str]:
    """The names that so many distributions bring along that one need not be declared to be there."""
    return frozenset(_tables()["common"]["modules"])


@cache
def used_without_import() -> frozenset[str]:
    """Canonical names of distributions that others use, so that nothing imports them."""
    return frozenset(_tables()["used_without_import"]["distributions"])
