"""Finding credentials in a text: by the formats of known tokens, and by what a value is called.

The detectors are detect-secrets' (the maintained distribution bc-detect-secrets), and formats of services
that notebooks use and it does not know. It is imported only for a text that has something of a
credential in it: a search for a few substrings leaves little to look at closely.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

__all__ = ["Credential", "conceal", "find_credentials"]


@dataclass(frozen=True, slots=True)
class Credential:
    """One that was found: what it is, for people, and its value, which is for nobody."""

    kind: str
    value: str = field(repr=False)
    line: int


# What a text must hold for a detector of detect-secrets to be asked: its module and class, and what it finds.
_DETECTORS: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (("AKIA", "ASIA", "ABIA", "ACCA", "A3T", "aws_", "AWS_"), "aws", "AWSKeyDetector", "a key of AWS"),
    (("AccountKey",), "azure_storage_key", "AzureStorageKeyDetector", "a key of Azure's storage"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), "github_token", "GitHubTokenDetector", "a token of GitHub"),
    (("eyJ",), "jwt", "JwtTokenDetector", "a JSON web token"),
    (tuple(f"-us{digit}" for digit in range(1, 10)), "mailchimp", "MailchimpDetector", "a key of Mailchimp"),
    (("_authToken",), "npm", "NpmDetector", "a token of npm"),
    (("PRIVATE KEY",), "private_key", "PrivateKeyDetector", "a private key"),
    (("SG.",), "sendgrid", "SendGridDetector", "a key of SendGrid"),
    (("xox", "hooks.slack.com"), "slack", "SlackDetector", "a token of Slack"),
    (("sq0csp",), "square_oauth", "SquareOAuthDetector", "a secret of Square"),
    (("k_live_",), "stripe", "StripeDetector", "a key of Stripe"),
    (("@",), "basic_auth", "BasicAuthDetector", "a password in an address"),
)
_FORMATS: tuple[tuple[str, str, str], ...] = (
    ("sk-", r"\bsk-(?:proj-|svcacct-|admin-)?[\w-]{0,120}T3BlbkFJ[\w-]{20,120}", "a key of OpenAI"),
    ("sk-ant-", r"\bsk-ant-[a-z]{2,10}\d\d-[\w-]{80,120}", "a key of Anthropic"),
    ("hf_", r"\bhf_[A-Za-z0-9]{34}\b", "a token of Hugging Face"),
    ("AIza", r"\bAIza[\w-]{35}(?![\w-])", "a key of Google's APIs"),
    ("GOCSPX-", r"\bGOCSPX-[\w-]{28}(?![\w-])", "a client's secret of Google"),
    ("ya29.", r"\bya29\.[\w-]{60,}", "a token of Google"),
    ("glpat-", r"\bglpat-[\w-]{20}(?![\w-])", "a token of GitLab"),
    ("github_pat_", r"\bgithub_pat_\w{22}_\w{59}\b", "a token of GitHub"),
    ("pypi-AgEI", r"\bpypi-AgEI[\w-]{70,}", "a token of PyPI"),
    ("dapi", r"\bdapi[0-9a-f]{32}\b", "a token of Databricks"),
    ("username", r'"username"\s*:\s*"[^"]{1,60}"\s*,\s*"key"\s*:\s*"([0-9a-f]{32})"', "a key of Kaggle"),
    (":AA", r"\b\d{8,10}:AA[\w-]{33}(?![\w-])", "a token of Telegram"),
    ("sk.eyJ", r"\bsk\.eyJ[\w-]{40,}\.[\w-]{20,}", "a secret token of Mapbox"),
)
_ANCHORS = tuple(
    sorted({anchor for anchors, *_ in _DETECTORS for anchor in anchors} | {anchor for anchor, *_ in _FORMATS})
)
_NAMES = (
    "password",
    "passwd",
    "pwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "auth_key",
)
_ASSIGNED = re.compile(r"""["'\]]{0,2}[ \t]*(?::|==?)[ \t]*["'][^"'\n]{6,200}["']""")

# Values that stand for a secret: what tutorials write, templates, names of variables.
_PLACEHOLDER = re.compile(
    r"your|xxx|\*\*\*|\.\.\.|example|sample|dummy|placeholder|changeme|change_me|fake|insert|paste|here|todo|<|>|\$|{|}"
    r"|test|foo|demo|redacted|hidden|123456|abcdef|password|secret|token",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[A-Za-z]+(?:[-_.:][A-Za-z]+|[-_.:]?\d{1,4})*")  # bert-base-uncased-2021
_LEAST_ENTROPY = 3.0  # bits per character; hexadecimal digests have 3.5 to 4, words less than 3
_LEAST_LENGTH = 16
_LONGEST_LINE = 100_000


def find_credentials(text: str, *, by_name: bool) -> Iterator[Credential]:
    """The credentials in ``text``, those of one value once.

    Parameters:
        by_name: also what is assigned to something called like a secret; for code, not for outputs.
    """
    seen: set[str] = set()
    present = {anchor for anchor in _ANCHORS if anchor in text}
    if present:
        for found in (*_detected(text, present), *_formatted(text, present)):
            if found.value not in seen:
                seen.add(found.value)
                yield found
    if by_name:
        yield from _named(text, seen)


def _detected(text: str, present: set[str]) -> Iterator[Credential]:
    """What detect-secrets' detectors find, each in the lines that have one of its anchors."""
    for anchors, module, name, kind in _DETECTORS:
        if present.isdisjoint(anchors):
            continue
        if module == "private_key":  # of several lines
            places = [(text.count("\n", 0, text.index(anchors[0])) + 1, text)]
        else:
            places = list(_lines_with(text, anchors))
        for number, part in places:
            for value in _detector(module, name).analyze_string(part):
                if _is_real(module, value, part):
                    yield Credential(kind, value, number)


def _formatted(text: str, present: set[str]) -> Iterator[Credential]:
    """What has a format of our own list."""
    for anchor, pattern, kind in _FORMATS:
        for match in re.finditer(pattern, text) if anchor in present else ():
            value = match[match.lastindex or 0]
            if _entropy(value) >= _LEAST_ENTROPY:
                yield Credential(kind, value, text.count("\n", 0, match.start()) + 1)


def conceal(text: str) -> str:
    """``text`` without the credentials in it that have a known format: for messages that quote code."""
    for found in list(find_credentials(text, by_name=False)):
        text = text.replace(found.value, "***")
    return text


def _named(text: str, seen: set[str]) -> Iterator[Credential]:
    lowered = text.lower()
    if not any(name in lowered for name in _NAMES):
        return
    for number, line in enumerate(text.split("\n"), 1):
        low = line.lower()
        found = [(low.index(name), name) for name in _NAMES if name in low]
        if not found or not _ASSIGNED.search(line, min(found)[0]):
            continue
        for value in _detector("keyword", "KeywordDetector").analyze_string(line):
            if value not in seen and _is_plausible(value):
                seen.add(value)
                yield Credential("a secret, by its name and its entropy,", value, number)


def _lines_with(text: str, anchors: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) <= _LONGEST_LINE and any(anchor in line for anchor in anchors):
            yield number, line


@cache
def _detector(module: str, name: str) -> Any:
    import importlib

    return getattr(importlib.import_module(f"detect_secrets.plugins.{module}"), name)()


def _is_real(module: str, value: str, line: str) -> bool:
    if module == "basic_auth":
        # In an address: user:password@host. Shown ones are in every manual.
        return (
            len(value) >= 6 and not _PLACEHOLDER.search(line) and _entropy(value) >= 2.5 and "/" not in value
        )
    if module == "private_key":
        return True
    return not re.search(r"example|xxxx|\*\*\*", value, re.IGNORECASE)


def _is_plausible(value: str) -> bool:
    """Whether a value that is called a secret is one: long, mixed, no name, no sentence, no address."""
    if len(value) < _LEAST_LENGTH or any(character in value for character in " /\\,;()[]\t"):
        return False
    if _PLACEHOLDER.search(value) or _WORDS.fullmatch(value):
        return False
    kinds = sum(bool(re.search(pattern, value)) for pattern in ("[a-z]", "[A-Z]", "[0-9]"))
    return kinds >= 2 and bool(re.search("[0-9]", value)) and _entropy(value) >= _LEAST_ENTROPY


def _entropy(text: str) -> float:
    """Shannon's, in bits per character."""
    counts = [text.count(character) for character in set(text)]
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)
