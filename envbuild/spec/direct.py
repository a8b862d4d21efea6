"""Requirements on something that no index names: URLs, git repositories and paths, as pip writes them.

Forms: PEP 508 (``name @ URL``), PEP 440 direct references, and pip's own
(https://pip.pypa.io/en/stable/topics/vcs-support/, https://pip.pypa.io/en/stable/cli/pip_install/).
Nothing is fetched here; what is not safe to be given to a program or a server is refused.
"""

from __future__ import annotations

import posixpath
import re
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as _Pep508

from envbuild.errors import RepoError
from envbuild.source import Repo, printable
from envbuild.source.text import quote
from envbuild.spec.model import SourceRequirement, is_archive
from envbuild.spec.pep508 import canonical_name

__all__ = ["is_direct", "is_revision", "read_direct"]

_LONGEST = 2000
_DIRECT = re.compile(
    r"://|^[a-z]+\+|^(?:file|git):|@\s*(?:\S+:|[./])|^[./~]|\.(?:whl|zip|tar\.gz|tgz)(?:$|[\s;#\[])|[/\\]",
    re.I,
)
_NAMED = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*@\s*(.+)", re.DOTALL)
_MARKER = re.compile(r"(?:\s+;|;\s+)(.*)$", re.DOTALL)
_EXTRAS = re.compile(r"(.*?)\[([A-Za-z0-9._,\s-]*)\]$", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VCS = re.compile(r"(git|hg|svn|bzr)\+(.*)", re.I | re.DOTALL)
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_URL_PATH = re.compile(r"/[A-Za-z0-9._~%!$&'()*+,;=:@/-]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]*")
_SECRET = re.compile(r"token|key|secret|sig|passw|auth|credential", re.I)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_direct(text: str) -> bool:
    """Whether ``text`` means a URL or a path rather than a package of an index."""
    return bool(_DIRECT.search(text[:_LONGEST]))


def read_direct(
    text: str,
    repo: Repo,
    file: str,
    line: int | None,
    *,
    editable: bool = False,
    hashes: tuple[str, ...] = (),
) -> SourceRequirement:
    """The requirement that ``text`` makes; see :func:`is_direct`.

    Parameters:
        repo: what paths are relative to, as for pip when it is started in the repository.
        hashes: those of pip's ``--hash``.

    Raises:
        RepoError: it cannot be read, is not supported, or is not safe.
    """
    try:
        return _read(text, repo, file, line, editable, hashes)
    except _Refused as refused:
        raise RepoError(
            f"{quote(text)}: {refused.message}",
            code=refused.code,
            file=file,
            line=line,
            remedy=refused.remedy,
        ) from refused


class _Refused(Exception):
    def __init__(self, code: str, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.remedy = code, message, remedy


_HOW = "write `name @ git+https://host/path@tag`, `name @ https://host/file.tar.gz` or `./directory`"


def _read(
    text: str, repo: Repo, file: str, line: int | None, editable: bool, hashes: tuple[str, ...]
) -> SourceRequirement:
    if len(text) > _LONGEST or not text.isprintable():
        raise _Refused("bad-requirement", "this is not a requirement", _HOW)
    text, marker = _without_marker(text.strip())
    name: str | None = None
    extras: tuple[str, ...] = ()
    if named := _NAMED.fullmatch(text):
        # packaging knows what a name and extras are; the URL is looked at below.
        try:
            parsed = _Pep508(f"{named[1]}{named[2] or ''}")
        except (InvalidRequirement, ValueError) as error:
            raise _Refused("bad-requirement", "the name or the extras are not valid", _HOW) from error
        name, extras = canonical_name(parsed.name), _canonical(parsed.extras)
        text = named[3].strip()
    elif "://" not in text and (bracketed := _EXTRAS.fullmatch(text)):
        text, extras = bracketed[1].strip(), _canonical(bracketed[2].split(","))
    if " " in text:
        raise _Refused("bad-requirement", "there is a space in this URL or path", _HOW)
    if match := re.fullmatch(r"git\+[^/:@]+@[^/:]+:.*", text):
        raise _Refused(
            "bad-requirement", "this is no URL", "write it as git+ssh://git@host/path, with a slash"
        )
    url, _, fragment = text.partition("#")
    values = _fragment(fragment)
    if egg := values.pop("egg", ""):
        bracketed = _EXTRAS.fullmatch(egg)
        egg, named_extras = (bracketed[1], bracketed[2].split(",")) if bracketed else (egg, [])
        if not _NAME.fullmatch(egg):
            raise _Refused("bad-requirement", "egg= is not a name")
        name, extras = name or canonical_name(egg), extras or _canonical(named_extras)
    subdirectory = _subdirectory(values.pop("subdirectory", ""))
    if sha256 := values.pop("sha256", ""):
        if not _SHA256.fullmatch(sha256.lower()):
            raise _Refused("bad-hash", "sha256= is not a sha256")
        hashes = (*hashes, f"sha256:{sha256.lower()}")
    if values:
        raise _Refused("bad-requirement", f"{quote(min(values))} is not known after the #")
    common = {
        "file": file,
        "line": line,
        "name": name,
        "extras": extras,
        "marker": marker,
        "subdirectory": subdirectory,
        "hashes": tuple(sorted(set(hashes))),
    }
    if match := _VCS.fullmatch(url):
        location, revision = _repository(match[1].lower(), match[2])
        return SourceRequirement("vcs", location, revision=revision, **common)  # type: ignore[arg-type]
    if "://" in url and not url.lower().startswith("file:"):
        return SourceRequirement("url", _archive(url, bool(hashes)), **common)  # type: ignore[arg-type]
    if subdirectory and not is_archive(url):
        url, common["subdirectory"] = posixpath.join(url, subdirectory), ""
    location = _path(url, repo)
    return SourceRequirement("path", location, editable=editable, **common)  # type: ignore[arg-type]


def _without_marker(text: str) -> tuple[str, str | None]:
    """``text`` cut at the ``;`` of a marker (PEP 508 wants white space beside it after a URL)."""
    match = _MARKER.search(text)
    if match is None:
        return text, None
    try:
        marker = str(Marker(match[1]))
    except (InvalidMarker, RecursionError) as error:
        raise _Refused("bad-requirement", "what follows the ; is not a marker (PEP 508)") from error
    return text[: match.start()].rstrip(), marker


def _canonical(extras: object) -> tuple[str, ...]:
    assert isinstance(extras, set | list)
    stripped = [extra.strip() for extra in extras if extra.strip()]
    if not all(_NAME.fullmatch(extra) for extra in stripped):
        raise _Refused("bad-requirement", "the extras are not valid")
    return tuple(sorted(set(map(canonical_name, stripped))))


def _fragment(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=10)
    except ValueError as error:
        raise _Refused("bad-requirement", "what follows the # cannot be read") from error
    return dict(pairs)


def _subdirectory(text: str) -> str:
    if not text:
        return ""
    normal = posixpath.normpath(text)
    if normal.startswith(("/", "..", "-")) or "\\" in normal:
        raise _Refused("outside-repository", "subdirectory= leads out of what it is below")
    return "" if normal == "." else normal


def _split(url: str) -> tuple[str, str, str, str, str]:
    """``(scheme, user info, host, path, query)`` of a URL whose host and path are safe to hand on."""
    try:
        parts = urlsplit(url)
        user, _, host = parts.netloc.rpartition("@")
    except ValueError as error:
        raise _Refused("bad-requirement", "this is no URL", _HOW) from error
    scheme = parts.scheme.lower()
    if scheme != "file" and not _HOST.fullmatch(host):
        raise _Refused("bad-requirement", "the host of this URL is not valid", _HOW)
    if not _URL_PATH.fullmatch(parts.path) or ".." in unquote(parts.path).split("/"):
        raise _Refused("bad-requirement", "the path of this URL is not valid", _HOW)
    return scheme, user, host, parts.path, parts.query


_NO_CREDENTIALS = "remove them, and let git's credential helper or your .netrc know them instead"


def _repository(system: str, url: str) -> tuple[str, str | None]:
    """``(URL, revision)`` of a repository."""
    if system != "git":
        raise _Refused(
            "vcs-not-supported", f"{system} is not supported: only git is", "depend on a released version"
        )
    scheme, user, host, path, query = _split(url)
    if scheme not in ("https", "ssh"):
        raise _Refused("vcs-not-supported", "only git+https and git+ssh are supported", "use git+https://")
    if query:
        raise _Refused("bad-requirement", "a git URL has no query")
    if (scheme == "ssh" and user and not _USER.fullmatch(user)) or (scheme != "ssh" and user):
        raise _Refused("credentials-in-url", "there are credentials in this URL", _NO_CREDENTIALS)
    path, at, revision = path.partition("@") if "@" in path else (path, "", "")
    if at and not is_revision(revision):
        raise _Refused("bad-revision", f"{quote(revision)} is not a branch, a tag or a commit")
    if path.strip("/") == "" or path.startswith("/-"):
        raise _Refused("bad-requirement", "this URL names no repository", _HOW)
    netloc = f"{user}@{host}" if user else host
    return urlunsplit((scheme, netloc, path, "", "")), revision or None


def is_revision(text: str) -> bool:
    """Whether ``text`` can be a git ref or commit (a part of git-check-ref-format's rules)."""
    return bool(
        _REVISION.fullmatch(text)
        and ".." not in text
        and "//" not in text
        and not text.endswith(("/", ".", ".lock"))
    )


def _archive(url: str, hashed: bool) -> str:
    """The URL of a wheel or an archive."""
    scheme, user, host, path, query = _split(url)
    if scheme not in ("https", "http"):
        raise _Refused("bad-requirement", f"{quote(scheme)} URLs are not supported", _HOW)
    if user or any(_SECRET.search(key) for key, _ in parse_qsl(query, keep_blank_values=True)):
        raise _Refused("credentials-in-url", "there are credentials in this URL", _NO_CREDENTIALS)
    if scheme == "http" and not hashed:
        raise _Refused(
            "unprotected-url", "anybody on the way could change this file", "use https, or add #sha256=…"
        )
    if not is_archive(path):
        raise _Refused(
            "bad-requirement",
            "this URL names neither a wheel nor an archive",
            "name a .whl, .tar.gz or .zip file, or write git+https:// in front of a repository's URL",
        )
    return urlunsplit((scheme, host, path, query, ""))


def _path(text: str, repo: Repo) -> str:
    """The path, relative to the repository's root, of something that is there."""
    if text.lower().startswith("file:"):
        text = unquote(re.sub(r"^file:(?://(?:localhost)?)?", "", text, flags=re.I))
    if text.startswith(("~", "/")):
        raise _Refused(
            "outside-repository",
            "this path is of another machine",
            "write a path that is relative to the repository's root",
        )
    path = posixpath.normpath(text)
    try:
        repo.check(text or ".")
    except RepoError as error:
        raise _Refused(error.code, error.message, error.remedy or "paths are relative to the root") from error
    if not is_archive(path) and not any(
        repo.exists(posixpath.join(path, name)) for name in ("pyproject.toml", "setup.py", "setup.cfg")
    ):
        raise _Refused(
            "not-a-project",
            f"{printable(path)} has neither a pyproject.toml nor a setup.py",
            "name the directory of a Python project",
        )
    return path
