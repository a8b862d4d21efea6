"""Licences as packages state them, with one spelling for what is the same.

SPDX expressions (PEP 639) are taken as they are. What came before them is translated only where there is one
possible meaning: trove classifiers and the usual titles. Everything else is shown as it was stated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from envbuild.source.text import clean

__all__ = ["DEBIAN", "Licence", "stated_licence"]

_LONGEST_EXPRESSION: Final = 400
_LONGEST_STATEMENT: Final = 80
_CLASSIFIER: Final = "License :: "

_CLASSIFIERS: Final = {
    "Academic Free License (AFL)": "AFL-3.0",
    "Apache Software License": "Apache-2.0",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Universal Permissive License (UPL)": "UPL-1.0",
    "zlib/libpng License": "Zlib",
}
# What is left of a title when case, punctuation and words that say nothing are gone.
_TITLES: Final = {
    "0bsd": "0BSD",
    "2 clause bsd": "BSD-2-Clause",
    "3 clause bsd": "BSD-3-Clause",
    "apache 2": "Apache-2.0",
    "apache 2 0": "Apache-2.0",
    "apache2": "Apache-2.0",
    "apache2 0": "Apache-2.0",
    "apache software": "Apache-2.0",
    "apache software 2 0": "Apache-2.0",
    "bsd 2 clause": "BSD-2-Clause",
    "bsd 2 clause simplified": "BSD-2-Clause",
    "bsd 3": "BSD-3-Clause",
    "bsd 3 clause": "BSD-3-Clause",
    "bsd 3 clause new or revised": "BSD-3-Clause",
    "cc0 1 0": "CC0-1.0",
    "expat": "MIT",
    "gplv2": "GPL-2.0-only",
    "gplv2+": "GPL-2.0-or-later",
    "gplv3": "GPL-3.0-only",
    "gplv3+": "GPL-3.0-or-later",
    "isc": "ISC",
    "lgplv3": "LGPL-3.0-only",
    "lgplv3+": "LGPL-3.0-or-later",
    "mit": "MIT",
    "modified bsd": "BSD-3-Clause",
    "mozilla public 2 0": "MPL-2.0",
    "mozilla public 2 0 mpl 2 0": "MPL-2.0",
    "mpl 2 0": "MPL-2.0",
    "mpl2": "MPL-2.0",
    "new bsd": "BSD-3-Clause",
    "psf": "PSF-2.0",
    "psf 2 0": "PSF-2.0",
    "python software foundation": "PSF-2.0",
    "simplified bsd": "BSD-2-Clause",
    "unlicense": "Unlicense",
}
_SILENT_WORDS: Final = frozenset({"the", "license", "licence", "version", "v"})


@dataclass(frozen=True, slots=True, order=True)
class Licence:
    """A licence; ``spdx`` tells that ``text`` is an SPDX expression, else it is what was stated."""

    text: str
    spdx: bool


DEBIAN: Final = Licence("Debian, see /usr/share/doc", spdx=False)
"""That of a Debian package: a text for people, with the licence of every file, in the image."""


def stated_licence(expression: str, statement: str = "", classifiers: Iterable[str] = ()) -> Licence | None:
    """The licence of a package, None when it states none.

    >>> stated_licence("", "BSD", ["License :: OSI Approved :: MIT License"])
    Licence(text='MIT', spdx=True)
    >>> stated_licence("", "see the web site")
    Licence(text='see the web site', spdx=False)

    Parameters:
        expression: what should be an SPDX expression (``License-Expression``, conda's ``license``).
        statement: free text (``License``), which may be the whole licence.
        classifiers: all trove classifiers.
    """
    if expression:
        return _spdx(expression) or _shown(expression)
    names = [_last(one) for one in classifiers if one.startswith(_CLASSIFIER)]
    known = sorted({_CLASSIFIERS[name] for name in names if name in _CLASSIFIERS})
    title = next((line.strip(" \t|=-*#") for line in statement.splitlines() if re.search(r"\w", line)), "")
    if title.upper() in ("UNKNOWN", "NONE"):
        title = ""
    found = _spdx(title) or _titled(title)
    if found is not None:
        return found
    # Several classifiers do not say whether one may choose among them or has to obey them all.
    if len(known) == 1 and len(names) == 1:
        return Licence(known[0], spdx=True)
    if len(title) <= _LONGEST_STATEMENT and title and not names:
        return _shown(title)
    if names:
        return _shown(" / ".join(sorted({_CLASSIFIERS.get(name, name) for name in names})))
    return _shown(title) if title else None


def _spdx(text: str) -> Licence | None:
    if not text or len(text) > _LONGEST_EXPRESSION or not text.isascii():
        return None
    try:
        return Licence(str(canonicalize_license_expression(text)), spdx=True)
    except InvalidLicenseExpression:
        return None


def _titled(title: str) -> Licence | None:
    if len(title) > _LONGEST_STATEMENT:
        return None
    words = re.findall(r"[a-z0-9]+\+?", title.lower())
    known = _TITLES.get(" ".join(word for word in words if word not in _SILENT_WORDS))
    return None if known is None else Licence(known, spdx=True)


def _last(classifier: str) -> str:
    return classifier.rpartition(" :: ")[2]


def _shown(text: str) -> Licence:
    shown = clean(" ".join(text.split()))
    return Licence(
        shown if len(shown) <= _LONGEST_STATEMENT else shown[:_LONGEST_STATEMENT] + "…", spdx=False
    )
