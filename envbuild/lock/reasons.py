"""uv's error messages, shortened and traced to the requirement they are about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Parsed
from packaging.utils import canonicalize_name

from envbuild.errors import EnvbuildError, MachineError, RemoteError, RepoError
from envbuild.source import redact
from envbuild.spec.model import Requirement

__all__ = ["explain"]

_LONGEST = 300  # characters
_MOST_FACTS = 3
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_NETWORK = re.compile(
    r"Request failed after|Failed to fetch|error sending request|dns error|tcp connect error|timed out"
    r"|connection (?:reset|closed)|HTTP status (?:server|client) error|Failed to download"
    r"|network connectivity is disabled|certificate",
    re.IGNORECASE,
)
_URL = re.compile(r"https?://[^\s)`,]+")
_CREDENTIALS = re.compile(r"valid authentication credentials|401 Unauthorized|403 Forbidden")
# Told apart by what uv says; the first that is found counts.
_KINDS = (
    ("was not found in", "unknown-package", "correct the name, or remove the requirement"),
    ("exclude-newer", "too-new", "choose an older version, or a later date for --exclude-newer"),
    (
        "no usable wheels",
        "no-wheel",
        "choose a version that is published as a wheel or as a source distribution",
    ),
    (
        "no wheels with",
        "no-wheel",
        "choose a version with a wheel for this platform and Python, or with a source distribution",
    ),
    ("was yanked", "yanked", "choose another version, or pin this one with == to use it all the same"),
    (
        "Python version",
        "python-conflict",
        "choose another version of the package or of Python (`envbuild base list` names what is offered)",
    ),
    ("there is no version of", "no-such-version", "choose a version that exists"),
    ("there are no versions of", "no-such-version", "choose a version that exists"),
)
_CONFLICT = ("unsolvable", "relax one of the requirements named")


def explain(
    reason: str, requirements: Sequence[Requirement], constraints: Sequence[Requirement], platform: str
) -> EnvbuildError:
    """The error to raise for what uv said on its standard error.

    Parameters:
        reason: uv's words.
        requirements, constraints: what was asked, in the order it was given to uv.
        platform: for people, what was locked for.
    """
    text = _plain(redact(reason))
    if "No solution found" in text and not _CREDENTIALS.search(text):
        return _no_solution(text, requirements, constraints, platform)
    if _CREDENTIALS.search(text):
        url = _URL.search(text)
        return RemoteError(
            "the package index refuses the credentials it was given, or wants some"
            + (f": {url[0]}" if url else ""),
            code="index-unauthorized",
            remedy="set them in the index's address (UV_INDEX, ...), in ~/.netrc or in a keyring",
        )
    position = re.search(r"requirement in `(requirements\.in|constraints\.txt)` at position (\d+)", text)
    if position:
        asked = requirements if position[1] == "requirements.in" else constraints
        return _unreadable(text, asked, int(position[2]))
    if _NETWORK.search(text):
        remedy = "check the network, the proxy and the index settings (UV_DEFAULT_INDEX), then try again"
        if "UnknownIssuer" in text:
            remedy = "if it, or the proxy, has an authority of your own, name its file in SSL_CERT_FILE"
        return RemoteError(
            f"the package index cannot be reached: {_network_cause(text)}",
            code="index-unreachable",
            remedy=remedy,
        )
    if re.search(r"No space left|os error 28", text):
        return MachineError(
            "no space left on the disk that holds the cache",
            code="disk-full",
            remedy="free some space, or set ENVBUILD_CACHE_DIR to another disk",
        )
    return MachineError(
        f"uv failed: {_shorten(_first_line(text))}",
        code="resolver-failed",
        remedy="run with --debug and report this if it looks like a fault of envbuild",
        detail=text,
    )


def _plain(text: str) -> str:
    """Without the frames and arrows that some versions of uv draw around their messages."""
    lines = (re.sub(r"^\s*[×╰├─▶│┬·]+\s*", "", line).rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def _first_line(text: str) -> str:
    return text.splitlines()[0].removeprefix("error: ") if text else "it did not say why"


def _network_cause(text: str) -> str:
    """What could not be fetched, and the deepest cause."""
    url = _URL.search(text)
    causes = re.findall(r"cause: (.*)", text)
    parts = [url[0]] if url else []
    deepest = causes[-1] if causes else _first_line(text)
    if not url or url[0] not in deepest:
        parts.append(deepest)
    else:
        parts = [deepest]
    return _shorten(": ".join(parts))


def _unreadable(text: str, requirements: Sequence[Requirement], position: int) -> EnvbuildError:
    offset = 0
    for requirement in requirements:
        offset += len(requirement.text.encode()) + 1
        if position < offset:
            cause = re.search(r"cause: (.*)", text)
            why = cause[1] if cause else "uv cannot read it"
            return RepoError(
                f"{requirement.text!r} is not a valid requirement: {why}",
                code="bad-requirement",
                file=requirement.file or None,
                line=requirement.line,
                remedy="correct the line",
            )
    return MachineError(f"uv failed: {_first_line(text)}", code="resolver-failed", detail=text)


def _no_solution(
    text: str, requirements: Sequence[Requirement], constraints: Sequence[Requirement], platform: str
) -> EnvbuildError:
    body = " ".join(text.partition("No solution found")[2].split())
    body = re.sub(r"^when resolving dependencies[^:]*?:?\s*(?:cause:\s*)?", "", body)
    body, _, hints = body.partition("hint: ")
    code, remedy = next(
        (
            (code, remedy)
            for words, code, remedy in _KINDS
            if words in body or (words == "exclude-newer" and words in hints)
        ),
        _CONFLICT,
    )
    blamed, others = _blamed(body, [*requirements, *constraints])
    # A conflict is often reported through steps of which only the last is a version that does not exist.
    if code == "no-such-version" and len({place.text for place in (blamed, *others) if place}) > 1:
        code, remedy = _CONFLICT
    facts = _facts(body)
    message = _essence(facts)
    if code == "too-new":
        date = re.search(r"uploaded before (\S+?)\.?(?:\s|$)", hints)
        message = f"{message} (what was published after {date[1] if date else 'the cutoff'} is ignored)"
    if code in ("no-wheel", "unsolvable", "python-conflict"):
        message = f"{message} (for {platform})"
    elsewhere = sorted({f"{other.file}:{other.line}" for other in others if other.file and other.line})
    if blamed is not None:
        elsewhere = [place for place in elsewhere if place != f"{blamed.file}:{blamed.line}"]
    if elsewhere:
        message = f"{message}; see also {', '.join(elsewhere[:3])}"
    return RepoError(
        message,
        code=code,
        file=(blamed.file or None) if blamed else None,
        line=blamed.line if blamed else None,
        remedy=remedy,
        detail="; ".join(facts) if len(facts) > _MOST_FACTS else None,
    )


def _facts(body: str) -> list[str]:
    """The facts of uv's argument without its conclusions.

    >>> _facts("Because a==1 depends on b>2 and you require a, we can conclude that you require b>2. "
    ...        "And because you require b<2, we can conclude that your requirements are unsatisfiable.")
    ['a==1 depends on b>2 and you require a', 'you require b<2']
    """
    facts = []
    body = re.sub(r"\{[^{}]*\}", "", body)  # markers, as in numpy{python_full_version < '3.12'}>=1.23
    for sentence in re.split(r"(?<=[^.\s])\.\s+(?=And because|Because)|\.\s*$", body.strip()):
        fact = re.sub(r",?\s*we can conclude that .*$", "", sentence)
        fact = re.sub(r"^(?:And because|Because)\s+", "", fact.strip())
        if fact:
            facts.append(fact)
    return facts


def _essence(facts: Sequence[str]) -> str:
    """One line of the most telling facts."""
    if len(facts) > _MOST_FACTS:
        facts = [facts[0], "…", facts[-1]]
    essence = "; ".join(facts)
    unknown = re.match(rf"({_NAME}) was not found in the ", essence)
    if unknown:
        return f"there is no package named {unknown[1]!r} in the package index"
    # "there is no version of x==9 and you require x==9": the error points at that line anyway.
    if essence.count("you require") == 1:
        essence = re.sub(r"(?: and|;) you require [^;]*$", "", essence)
    return _shorten(essence)


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"


def _blamed(body: str, asked: Iterable[Requirement]) -> tuple[Requirement | None, list[Requirement]]:
    """The requirement to point at, and the others that uv names as "you require ..."."""
    by_name: dict[str, list[tuple[Requirement, Parsed]]] = {}
    for requirement in asked:
        try:
            parsed = Parsed(requirement.text)
        except InvalidRequirement:
            continue
        by_name.setdefault(canonicalize_name(parsed.name), []).append((requirement, parsed))
    named: list[Requirement] = []
    for said in re.findall(rf"you require ({_NAME}[^,]*?)(?=,|;|\.\s|\.$|$)", body):
        words = re.findall(rf"(?:^|\band )({_NAME})((?:\[[^\]]*\])?[<>=!~][^\s]*)?", said)
        for name, specifier in words:
            candidates = by_name.get(canonicalize_name(name), [])
            exact = [
                requirement
                for requirement, parsed in candidates
                if _bare(str(parsed.specifier)) == _bare(specifier.partition("]")[2] or specifier)
            ]
            named.extend(exact or [requirement for requirement, _ in candidates])
    if not named:
        tokens = re.findall(_NAME, body)
        named = [
            requirement for token in tokens for requirement, _ in by_name.get(canonicalize_name(token), [])
        ]
    # A line of the repository is more useful to point at than something envbuild itself asks for.
    named = list(dict.fromkeys(named))
    named.sort(key=lambda requirement: not requirement.file)
    return (named[0], named[1:]) if named else (None, [])


def _bare(specifier: str) -> str:
    return ",".join(sorted(specifier.replace(" ", "").split(",")))
