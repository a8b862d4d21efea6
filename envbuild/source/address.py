"""What kind of source a SOURCE on the command line is. Nothing is asked of anybody to find out.

Which protocols and hosts are talked to follows from the text alone, so that a plain git address never leads
to a request elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.parse import quote as percent_encode

from envbuild.errors import UsageError
from envbuild.source.git_address import GitAddress, check_ref, git_address, is_scp_like
from envbuild.source.text import printable, quote

__all__ = [
    "ArchiveSource",
    "Directory",
    "GitSource",
    "RecordSource",
    "Source",
    "parse_source",
    "record_kind",
]

_ARCHIVE = re.compile(r".+\.(?:zip|tar|tar\.gz|tgz|tar\.bz2|tar\.xz)", re.IGNORECASE)
_DOI = re.compile(r"(?:doi:\s*)?(10\.\d{4,9}/[!-~]+)", re.IGNORECASE)
_SOFTWARE_HERITAGE = re.compile(r"swh:1:(?:dir|rev):[0-9a-f]{40}(?:;[!-~]*)?")
_SHA256 = re.compile(r"sha256=([0-9a-f]{64})")
# https://github.com/owner/name/tree/main/notebooks and its like: pages of a browser, not repositories.
_BROWSER_PAGE = re.compile(
    r"(?P<repository>https?://[^/]+/[^#?]+?)(?:/-)?/(?P<what>tree|blob|commit|commits|raw)/(?P<rest>[^#?]+)"
)
_WITHOUT_SCHEME = re.compile(r"(?:www\.)?(?:github|gitlab|bitbucket|codeberg)\.(?:com|org)/[^/\s]+/[^/\s]+.*")


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory of the user's."""

    path: str


@dataclass(frozen=True, slots=True)
class GitSource:
    """A git repository; ``ref`` is None for its default branch."""

    address: GitAddress
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """A zip or tar file at ``url`` (which may hold credentials) or at ``path``; its ``sha256`` if given."""

    url: str | None = None
    path: Path | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class RecordSource:
    """A record of a data archive: ``text`` is a DOI, a URL or a SWHID of that ``kind``."""

    kind: str
    text: str


Source = Directory | GitSource | ArchiveSource | RecordSource


def parse_source(text: str) -> Source:
    """What ``text`` names.

    >>> parse_source("https://example.org/team/rivers@v1").ref
    'v1'
    >>> parse_source("10.5281/zenodo.1234")
    RecordSource(kind='doi', text='10.5281/zenodo.1234')

    Raises:
        UsageError: it is nothing that can be a source.
    """
    if not text or "\0" in text:
        raise UsageError("the source is not a path", code="bad-source", remedy="give the path of a directory")
    if text.startswith("-"):
        raise UsageError(
            f"{quote(text)} looks like an option, not like a source",
            code="bad-source",
            remedy=f"write ./{printable(text)} if there is such a directory",
        )
    if _exists(text):
        return _local(text)
    plain, hash_sign, fragment = text.partition("#")
    if hash_sign and _exists(plain):
        return _local_ref(plain, fragment)
    if (kind := record_kind(plain)) is not None:
        return RecordSource(kind, plain[plain.index("10.") :] if kind == "doi" else plain)
    if "://" in plain or "::" in plain or is_scp_like(plain):
        return _remote(plain, fragment if hash_sign else None)
    if _WITHOUT_SCHEME.fullmatch(text):
        raise UsageError(
            f"there is no directory {quote(text)}",
            code="source-not-found",
            remedy=f"did you mean https://{printable(text)}?",
        )
    return Directory(text)  # the error about it comes with opening it


def _exists(text: str) -> bool:
    """Whether there is such a file or directory; unlike :meth:`Path.exists`, never an exception."""
    try:
        return Path(text).exists()
    except OSError:  # a name that is too long
        return False


def _local(text: str) -> Source:
    path = Path(text)
    if path.is_file() and _ARCHIVE.fullmatch(path.name):
        return ArchiveSource(path=path.absolute())
    return _repository(path) if _is_bare(path) else Directory(text)


def _local_ref(plain: str, fragment: str) -> Source:
    """``path#ref`` and ``archive.zip#sha256=...``."""
    path = Path(plain)
    if path.is_file():
        return ArchiveSource(path=path.absolute(), sha256=_sha256_in(fragment))
    if not _is_bare(path) and not (path / ".git").exists():
        raise UsageError(
            f"{quote(plain)} is not a git repository, so there is no ref in it",
            code="bad-source",
            remedy="leave out the # and what follows it",
        )
    return _repository(path, check_ref(fragment))


def _repository(path: Path, ref: str | None = None) -> GitSource:
    return GitSource(git_address("file://" + percent_encode(str(path.absolute()))), ref)


def _is_bare(path: Path) -> bool:
    names = ("HEAD", "objects", "refs")
    return path.is_dir() and not (path / ".git").exists() and all((path / name).exists() for name in names)


def _remote(plain: str, fragment: str | None) -> Source:
    scheme = plain.partition("://")[0]
    if scheme.lower() in ("http", "https") and _ARCHIVE.fullmatch(_path_of(plain)):
        return ArchiveSource(url=plain, sha256=_sha256_in(fragment) if fragment else None)
    page = _BROWSER_PAGE.fullmatch(plain)
    if page is not None:
        raise _not_a_page(page)
    if fragment is not None and "=" in fragment:
        raise UsageError(
            f"{quote('#' + fragment)} is not a branch, tag or commit",
            code="bad-ref",
            remedy="write #REF, and --subdir DIRECTORY for a part of the repository",
        )
    if fragment is not None:
        return GitSource(git_address(plain), check_ref(fragment))
    address, at, ref = _split_at(plain)
    return GitSource(git_address(address), check_ref(ref) if at else None)


def _path_of(url: str) -> str:
    """The path of ``url``, "" when it is not valid: whoever opens it says so."""
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _split_at(text: str) -> tuple[str, str, str]:
    """``(address, "@" or "", ref)``: an ``@`` counts behind the host, and not at the beginning of a name.

    >>> _split_at("git@example.org:team/rivers.git@feature/x")
    ('git@example.org:team/rivers.git', '@', 'feature/x')
    >>> _split_at("ssh://git@example.org/rivers")
    ('ssh://git@example.org/rivers', '', '')
    """
    start = text.find("/", text.index("://") + 3) if "://" in text else text.find(":")
    place = text.find(".git@", start) + 4 if ".git@" in text[start:] else text.rfind("@")
    if start < 0 or place <= start + 1 or text[place - 1] == "/":
        return text, "", ""
    return text[:place], "@", text[place + 1 :]


def _sha256_in(fragment: str) -> str:
    match = _SHA256.fullmatch(fragment)
    if match is None:
        raise UsageError(
            f"{quote('#' + fragment)} is not the hash of an archive",
            code="bad-ref",
            remedy="write #sha256=... with 64 hexadecimal digits, or nothing",
        )
    return match[1]


def _not_a_page(page: re.Match[str]) -> UsageError:
    repository, rest = page["repository"], page["rest"].strip("/")
    ref, _, directory = rest.partition("/")
    if page["what"] in ("tree", "commit", "commits"):
        remedy = f"write {repository}#{ref}" + (f" --subdir {directory}" if directory else "")
    else:
        remedy = f"write {repository}#{ref}"
    return UsageError(
        f"{quote(page[0])} is a page about a repository, not its address",
        code="not-a-repository-address",
        remedy=printable(remedy),
    )


def record_kind(text: str) -> str | None:
    """The kind of record that ``text`` is, None when it is none.

    ``doi``, ``swhid``, or one of ``zenodo``, ``figshare``, ``hydroshare``, ``dataverse``, ``ckan``.

    >>> record_kind("https://zenodo.org/records/1234")
    'zenodo'
    >>> record_kind("https://example.org/team/rivers") is None
    True
    """
    if _DOI.fullmatch(text):
        return "doi"
    if _SOFTWARE_HERITAGE.fullmatch(text):
        return "swhid"
    if not re.match(r"(?:ckan\+)?https?://", text, re.IGNORECASE) or not text.isprintable():
        return None
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").lower()
    except ValueError:
        return None
    path = unquote(parts.path)
    if parts.scheme.lower().startswith("ckan+"):
        return "ckan"
    if host in ("doi.org", "dx.doi.org", "www.doi.org") and _DOI.fullmatch(path.lstrip("/")):
        return "doi"
    if host in ("zenodo.org", "sandbox.zenodo.org", "data.caltech.edu") and re.match(r"/records?/", path):
        return "zenodo"
    if (host == "figshare.com" or host.endswith(".figshare.com")) and "/articles/" in path:
        return "figshare"
    if host in ("hydroshare.org", "www.hydroshare.org") and path.startswith("/resource/"):
        return "hydroshare"
    pages = ("/dataset.xhtml", "/file.xhtml", "/citation")
    is_page = path in pages and "persistentId" in parse_qs(parts.query)
    if is_page or re.fullmatch(r"/api/access/datafile/\d+", path):
        return "dataverse"
    return None
