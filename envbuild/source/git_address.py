"""Addresses of git repositories: which are taken, and what of them may be shown.

An address becomes an argument of ``git``, which gives many of them a meaning of its own: ``ext::`` runs a
program, ``-oProxyCommand=`` is an option of ssh. Only what is recognised here gets that far.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass, field, replace
from urllib.parse import quote as percent_encode
from urllib.parse import unquote, urlsplit

from envbuild.errors import UsageError
from envbuild.source.text import printable, quote

__all__ = ["GitAddress", "check_ref", "git_address", "is_scp_like", "relative_address"]

_SCHEMES = ("https", "http", "ssh", "file")
_MOST_CHARACTERS = 2000
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_SCP_LIKE = re.compile(r"(?P<user>[^@/:\s]+)@(?P<host>[^/:\s]+):(?P<path>[^:\s][^\s]*)")
_NOT_IN_REFS = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)")
_MOST_REF_CHARACTERS = 250


@dataclass(frozen=True, slots=True)
class GitAddress:
    """A git repository that may be talked to.

    ``url`` is what git gets and what may be shown and kept: without credentials, ref and fragment. ``user``
    and ``password`` are those that were in an http(s) address; ssh's user is part of ``url``.
    """

    url: str
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def scheme(self) -> str:
        """``https``, ``http``, ``ssh`` or ``file``."""
        return self.url.partition("://")[0] if "://" in self.url else "ssh"

    @property
    def host(self) -> str:
        """Whom it is fetched from; empty for ``file``."""
        if "://" in self.url:
            return urlsplit(self.url).hostname or ""
        return self.url.partition("@")[2].partition(":")[0]

    @property
    def name(self) -> str:
        """The repository's name, for people.

        >>> GitAddress("https://example.org/team/rivers.git").name
        'rivers'
        """
        last = re.split(r"[/:]", self.url.rstrip("/"))[-1]
        return printable(unquote(last).removesuffix(".git")) or "repository"


def git_address(text: str) -> GitAddress:
    """The address that ``text`` is: a URL (``https``, ``http``, ``ssh``, ``file``, each also with ``git+``
    before it), or ssh's short form ``user@host:path``. Without ref and fragment.

    >>> git_address("git+https://example.org/team/rivers.git").url
    'https://example.org/team/rivers.git'

    Raises:
        UsageError: it is nothing of these, or not safe to be given to git.
    """
    if not text.isascii():
        # Paths may have any letters; in a URL they are percent-encoded.
        text = percent_encode(os.fsencode(text), safe="%/:@?#[]!$&'()*+,;=~")
    if len(text) > _MOST_CHARACTERS or not re.fullmatch(r"[\x21-\x7e]+", text) or text.startswith("-"):
        raise _bad(text, "is not an address of a git repository")
    if is_scp_like(text):
        match = _SCP_LIKE.fullmatch(text)
        assert match is not None
        _check_login(text, match["user"], match["host"])
        if match["path"].startswith("-"):
            raise _bad(text, "has a path that looks like an option")
        return GitAddress(text)
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower().removeprefix("git+")
    if scheme == "git" and separator:
        raise _bad(text, "uses git://, where nobody can tell who answers", "use https:// or ssh://")
    if not separator or scheme not in _SCHEMES:
        raise _bad(text, "is not an address of a git repository")
    return _from_url(text, f"{scheme}://{rest}", scheme)


def _from_url(text: str, url: str, scheme: str) -> GitAddress:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _bad(text, "is not a valid URL") from error
    if parts.query or parts.fragment:
        raise _bad(text, "has a query or a fragment, which addresses of git repositories have not")
    path = parts.path
    if path.strip("/") == "" or "\0" in unquote(path) or "\n" in unquote(path):
        raise _bad(text, "names no repository")
    if scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise _bad(text, "is on another machine", "write file:///path")
        return GitAddress("file://" + path)
    user, password = parts.username, parts.password
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    _check_login(text, user if scheme == "ssh" else None, shown)
    place = shown + (f":{port}" if port is not None else "")
    if scheme == "ssh":
        if password:
            raise _bad(text, "has a password, which ssh does not take from an address", "use a key")
        if path.startswith(("/-", "/~-")):
            raise _bad(text, "has a path that looks like an option")
        return GitAddress(f"ssh://{user}@{place}{path}" if user else f"ssh://{place}{path}")
    return GitAddress(
        f"{scheme}://{place}{path}",
        user=unquote(user) if user else None,
        password=unquote(password) if password else None,
    )


def is_scp_like(text: str) -> bool:
    """Whether ``text`` is of the form ``user@host:path``."""
    return "://" not in text and "::" not in text and _SCP_LIKE.fullmatch(text) is not None


def relative_address(base: GitAddress, text: str) -> GitAddress:
    """The address that a submodule of ``base`` states: absolute, or relative to ``base`` (``../other.git``).

    A repository does not choose protocols: what was fetched over the network has submodules over https or
    ssh, and over http only when it came that way itself; paths and ``file:`` only when it was local.

    >>> relative_address(GitAddress("https://example.org/team/rivers.git"), "../maps.git").url
    'https://example.org/team/maps.git'

    Raises:
        UsageError: it is not one that may be used here.
    """
    if text.startswith(("./", "../")):
        head, separator, path = base.url.partition("://")
        if separator:
            place, slash, path = path.partition("/")
            start = f"{head}://{place}{slash}"
        else:
            start, path = base.url.partition(":")[0] + ":", base.url.partition(":")[2]
        joined = posixpath.normpath(posixpath.join(path.rstrip("/") or ".", text))
        if joined.startswith("..") or joined == ".":
            raise _bad(text, "leads out of the server it is on")
        return replace(base, url=git_address(start + joined).url)
    if text.startswith("/") and base.scheme == "file":
        text = "file://" + percent_encode(text)
    address = git_address(text)
    allowed = {"https", "ssh", base.scheme}
    if base.scheme != "file":
        allowed.discard("file")
    if address.scheme not in allowed:
        raise _bad(text, f"uses {address.scheme}, which a repository may not choose")
    return GitAddress(address.url)


def check_ref(ref: str) -> str:
    """``ref`` if it can be the name of a branch or a tag, or a commit (git-check-ref-format).

    Raises:
        UsageError: it cannot.
    """
    wrong = (
        not ref
        or ref.startswith(("-", "/", "."))
        or ref.endswith(("/", "."))
        or ref == "@"
        or len(ref) > _MOST_REF_CHARACTERS
        or not ref.isprintable()
        or _NOT_IN_REFS.search(ref)
    )
    if wrong:
        raise UsageError(
            f"{quote(ref)} cannot be the name of a branch or tag, or a commit",
            code="bad-ref",
            remedy="write a branch, a tag, or a commit's hash after the #",
        )
    return ref


def _check_login(text: str, user: str | None, host: str) -> None:
    if user is not None and not _USER.fullmatch(user):
        raise _bad(text, "has a user name that is not one")
    if not _HOST.fullmatch(host):
        raise _bad(text, "names no host")


def _bad(text: str, why: str, remedy: str | None = None) -> UsageError:
    return UsageError(
        f"{quote(text)} {why}",
        code="bad-git-address",
        remedy=remedy or "write https://host/path, ssh://user@host/path, user@host:path or file:///path",
    )
