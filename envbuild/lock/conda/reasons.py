"""Why conda packages cannot be had: the solver's words, shortened and traced to a line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from envbuild.errors import EnvbuildError, MachineError, RemoteError, RepoError
from envbuild.source.text import redact
from envbuild.spec.conda_locked import SUBDIRS
from envbuild.spec.match_spec import name_of
from envbuild.spec.model import CondaRequest, Requirement

__all__ = ["explain_failure"]

_LONGEST = 300  # characters
_NO_CANDIDATES = re.compile(r"No candidates were found for (\S+) ?(\S*?)\.?$", re.MULTILINE)
_VIRTUAL = re.compile(r"(\S+) (\S+) would require\s*[└├]─ (__[a-z]+ ?[^,\n]*), for which no candidates")
_UNAUTHORIZED = re.compile(r"\b(401|403)\b")
_CHANNEL = re.compile(r"in channel '([^']+)'")
_URL = re.compile(r"https?://[^\s)'\"]+")


def explain_failure(failure: Mapping[str, Any], request: CondaRequest) -> EnvbuildError:
    """The error to raise for what :mod:`envbuild.lock.conda._shim` or conda-lock said.

    Parameters:
        failure: ``kind`` (``unsolvable``, ``channel``, anything else), ``message`` and ``subdir``.
    """
    text = redact(str(failure.get("message", ""))).strip()
    platforms = {subdir: platform for platform, subdir in SUBDIRS.items()}
    platform = platforms.get(failure.get("subdir", ""), "")
    if failure.get("kind") == "unsolvable":
        return _unsolvable(text, request, platform)
    if failure.get("kind") == "channel":
        return _channel(text)
    return MachineError(
        f"conda-lock failed: {_shorten(text.splitlines()[-1] if text else 'it did not say why')}",
        code="conda-lock-failed",
        remedy="run with --debug and report this if it looks like a fault of envbuild",
        detail=text or None,
    )


def _channel(text: str) -> RemoteError:
    named, url = _CHANNEL.search(text), _URL.search(text)
    where = named[1].rstrip("/") if named else url[0].rsplit("/", 2)[0] if url else "one of the channels"
    if _UNAUTHORIZED.search(text):
        return RemoteError(
            f"the conda channel {where} refuses the credentials it was given, or wants some",
            code="channel-unauthorized",
            remedy="set them in the address in `conda-channels`, in .netrc or in RATTLER_AUTH_FILE",
        )
    causes = [line.partition(": ")[2] for line in text.splitlines() if line.startswith("Caused by: ")]
    if "could not find subdir" in text or "404" in text:
        message = f"there is no conda channel at {where}"
    elif "offline" in text.lower() or "cache" in text.lower():
        message = f"what the conda channel {where} has is not in the cache, and this is an offline run"
    else:
        message = (
            f"the conda channel {where} cannot be reached: {causes[-1] if causes else text.splitlines()[0]}"
        )
    return RemoteError(
        _shorten(message),
        code="channel-unreachable",
        remedy="check the channel's name, the network, and `conda-channels` (ENVBUILD_CONDA_CHANNELS)",
    )


def _unsolvable(text: str, request: CondaRequest, platform: str) -> RepoError:
    text = text.removeprefix("Cannot solve the request because of:").strip()
    where = f" (for {platform})" if platform else ""
    virtual, absent = _VIRTUAL.search(text), _NO_CANDIDATES.search(text)
    if virtual:
        code, message = (
            "needs-newer-system",
            f"{virtual[1]} {virtual[2]} needs {virtual[3]}, which the image has not",
        )
        remedy = "choose another version; if the machine it runs on has it, say so in CONDA_OVERRIDE_..."
    elif absent and absent[2] in ("", "*"):
        code, message = "unknown-package", f"no channel has a package named {absent[1]}"
        remedy = "correct the name, add the channel that has it, or move it to the `pip:` section"
    elif absent:
        code, message = "no-such-version", f"no channel has {absent[1]} {absent[2]}"
        remedy = "choose a version that exists, or add the channel that has it"
    else:
        code, remedy = "unsolvable", "relax one of the packages named"
        message = "these packages cannot be had together: " + "; ".join(_facts(text))
    blamed = _blamed(text, request)
    return RepoError(
        _shorten(message) + where,
        code=code,
        file=blamed.file if blamed else request.file,
        line=blamed.line if blamed else None,
        remedy=remedy,
        detail=text,
    )


def _facts(text: str) -> list[str]:
    """The first lines of the solver's tree, without its branches and conclusions."""
    facts = []
    for line in text.splitlines():
        fact = re.sub(r"^[\s│├└─]+", "", line)
        fact = re.sub(r",? which cannot be installed because.*| cannot be installed because.*", "", fact)
        fact = re.sub(r",? which conflicts with the versions reported above\.?", "", fact)
        if fact and not fact.startswith("The following packages") and not fact.endswith("would require"):
            facts.append(fact.removesuffix(" *").strip())
    return facts[:6]


def _blamed(text: str, request: CondaRequest) -> Requirement | None:
    """The package to point at: the first of the file that the solver names."""
    words = re.findall(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text)
    order = {word: position for position, word in reversed(list(enumerate(words)))}
    named = [package for package in request.packages if name_of(package.text) in order]
    return min(named, key=lambda package: order[name_of(package.text)], default=None)


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"
