"""``requirements.txt``, ``requirements.in`` and what they include.

Format: https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import codecs
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from envbuild.errors import RepoError
from envbuild.source import Repo, printable
from envbuild.source.text import quote
from envbuild.spec.direct import is_direct, read_direct
from envbuild.spec.findings import Findings
from envbuild.spec.model import Requirement, SourceRequirement
from envbuild.spec.pep508 import canonical_name, parse_requirement

__all__ = ["Requirements", "read_requirements"]

_FILE_LIMIT = 16 << 20
_MAX_DEPTH = 20
_MAX_FILES = 200

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODING = re.compile(rb"#.*?coding[:=][ \t]*([-\w.]+)")
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$")
_OPTION = re.compile(r"(--[a-z][a-z0-9-]*|-[a-zA-Z])(?:[ \t]*=[ \t]*|[ \t]*)(.*)", re.DOTALL)
_FIRST_OPTION = re.compile(r"\s--?[a-zA-Z]")
_HASH = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")

_SHORT = {
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
    "-i": "--index-url",
    "-f": "--find-links",
}
_INDEX_OPTIONS = frozenset(
    {"--index-url", "--extra-index-url", "--find-links", "--no-index", "--trusted-host"}
)
# They change nothing here: wheels are preferred, and hashes are always checked.
_NEEDLESS_OPTIONS = frozenset(
    {
        "--require-hashes",
        "--prefer-binary",
        "--only-binary",
        "--use-feature",
        "--config-settings",
        "--global-option",
    }
)


@dataclass(slots=True)
class Requirements:
    """What a requirements file and its includes ask for. ``included`` has their paths (not its own)."""

    requirements: list[Requirement] = field(default_factory=list)
    constraints: list[Requirement] = field(default_factory=list)
    sources: list[SourceRequirement] = field(default_factory=list)
    included: list[str] = field(default_factory=list)

    @property
    def is_lock(self) -> bool:
        """Whether every requirement is pinned by ``==`` and hashed: a lock, to be taken as it is."""
        return bool(self.requirements) and all(
            any(hash_.startswith("sha256:") for hash_ in requirement.hashes) and _is_pinned(requirement)
            for requirement in self.requirements
        )


def read_requirements(repo: Repo, path: str, findings: Findings) -> Requirements:
    """Read the requirements file ``path`` and all it includes with ``-r`` and ``-c``.

    Every mistake becomes a problem in ``findings`` with its file and line, and reading goes on.
    """
    reader = _Reader(repo, findings)
    try:
        reader.read(path, constraint=False, including=())
    except RepoError as error:
        findings.failed(error)
    result = reader.result
    if not result.is_lock and any(requirement.hashes for requirement in result.requirements):
        for requirement in result.requirements:
            if not requirement.hashes or not _is_pinned(requirement):
                findings.error(
                    "partly-hashed",
                    f"{quote(requirement.text)} is not pinned with `==` and a sha256 hash, though others are",
                    requirement.file,
                    requirement.line,
                    "hash every line (`uv pip compile --generate-hashes`) or none",
                )
    return result


def _is_pinned(requirement: Requirement) -> bool:
    parsed = parse_requirement(requirement.text)
    return parsed is not None and parsed.pin is not None


class _Reader:
    """The walk through a requirements file and its includes."""

    def __init__(self, repo: Repo, findings: Findings) -> None:
        self.result = Requirements()
        self._repo = repo
        self._findings = findings
        self._done: set[tuple[str, bool]] = set()

    def read(self, path: str, *, constraint: bool, including: tuple[str, ...]) -> None:
        """Read one file; ``including`` are the files that led here. Raises :class:`RepoError`."""
        data = self._repo.read(path, _FILE_LIMIT)
        shown = printable(path)
        self._done.add((path, constraint))
        for number, line in _logical_lines(_decode(data, shown)):
            if line.startswith("-"):
                self._option(line, path, number, constraint=constraint, including=(*including, path))
            else:
                self._requirement(line, shown, number, constraint=constraint)

    def _option(
        self, line: str, path: str, number: int, *, constraint: bool, including: tuple[str, ...]
    ) -> None:
        shown = printable(path)
        match = _OPTION.fullmatch(line)
        name = _SHORT.get(match[1], match[1]) if match else line
        value = match[2].strip().strip("\"'") if match else ""
        if name in ("--requirement", "--constraint") and value:
            self._include(value, shown, number, constraint or name == "--constraint", including)
        elif name == "--editable":
            self._direct(value, shown, number, constraint=constraint, editable=True)
        elif name in _INDEX_OPTIONS:
            self._findings.error(
                "index-in-repository",
                f"{name} is not followed: the indexes are up to the user, never the repository",
                shown,
                number,
                "remove the line, and configure the index for your own machine",
            )
        elif name == "--pre":
            self._findings.warning(
                "option-ignored",
                "--pre is not followed",
                shown,
                number,
                "name the pre-releases that are wanted, for example `package>=2.0rc1`",
            )
        elif name == "--no-binary":
            self._no_binary(value, shown, number)
        elif name not in _NEEDLESS_OPTIONS:
            self._findings.error(
                "bad-requirement", f"{quote(line)} is not an option of requirements files", shown, number
            )

    def _include(
        self, target: str, shown: str, number: int, constraint: bool, including: tuple[str, ...]
    ) -> None:
        def wrong(code: str, message: str, remedy: str | None = None) -> None:
            self._findings.error(code, f"{quote(target)}: {message}", shown, number, remedy)

        if "://" in target:
            wrong(
                "not-supported-yet", "including a URL is not supported yet", "download it into the repository"
            )
            return
        # Not normalised for reading: `..` after a symbolic link means what the file system says.
        path = posixpath.join(posixpath.dirname(including[-1]), target)
        known = posixpath.normpath(path)
        if known in map(posixpath.normpath, including):
            wrong("requirements-cycle", "this file includes itself", "remove one of the -r lines")
        elif len(including) >= _MAX_DEPTH or len(self._done) >= _MAX_FILES:
            wrong("requirements-cycle", "too many requirements files include each other")
        elif (path, constraint) not in self._done:
            try:
                self.read(path, constraint=constraint, including=including)
                self.result.included.append(known)
            except RepoError as error:
                if error.line is not None:  # something inside of that file
                    self._findings.failed(error)
                else:
                    wrong(error.code, error.message, error.remedy)

    def _requirement(self, line: str, shown: str, number: int, *, constraint: bool) -> None:
        cut = _FIRST_OPTION.search(line)
        text, options = (line[: cut.start()], line[cut.start() :]) if cut else (line, "")
        hashes = tuple(sorted(self._hashes(options, shown, number)))
        parsed = parse_requirement(text)
        if parsed is not None:
            requirement = Requirement(parsed.text, shown, number, hashes)
            (self.result.constraints if constraint else self.result.requirements).append(requirement)
        elif is_direct(text):
            self._direct(text, shown, number, constraint=constraint, hashes=hashes)
        else:
            self._findings.error(
                "bad-requirement",
                f"{quote(text)} is not a requirement",
                shown,
                number,
                "write `name`, or `name>=version`, as PEP 508 says",
            )

    def _direct(
        self,
        text: str,
        shown: str,
        number: int,
        *,
        constraint: bool,
        editable: bool = False,
        hashes: tuple[str, ...] = (),
    ) -> None:
        """A URL or a path."""
        try:
            source = read_direct(text, self._repo, shown, number, editable=editable, hashes=hashes)
        except RepoError as error:
            self._findings.failed(error)
            return
        if constraint:
            self._findings.error(
                "bad-requirement",
                f"{quote(text)} is a URL or a path, which cannot be a constraint here",
                shown,
                number,
                "write it into the requirements, or constrain the version",
            )
        elif source not in self.result.sources:
            self.result.sources.append(source)

    def _no_binary(self, value: str, shown: str, number: int) -> None:
        """pip's ``--no-binary NAME,NAME``."""
        for name in filter(None, map(str.strip, value.split(","))):
            if name == ":none:":
                self.result.sources = [one for one in self.result.sources if one.kind != "sdist"]
            elif parsed := parse_requirement(name):
                source = SourceRequirement("sdist", "", shown, number, canonical_name(parsed.name))
                self.result.sources.append(source)
            else:
                self._findings.error(
                    "no-binary-all" if name == ":all:" else "bad-requirement",
                    f"--no-binary {quote(name)} is not followed",
                    shown,
                    number,
                    "name the packages that have to be built from source",
                )

    def _hashes(self, options: str, shown: str, number: int) -> Iterator[str]:
        """The values of the ``--hash`` options after a requirement."""
        words = iter(options.split())
        for word in words:
            name, equals, value = word.partition("=")
            value = (value if equals else next(words, "")).strip("\"'")
            if name == "--hash" and _HASH.fullmatch(value):
                yield value
            elif name == "--hash":
                self._findings.error(
                    "bad-hash", f"{quote(value)} is not a sha256 (384, 512) hash", shown, number
                )
            elif name not in _NEEDLESS_OPTIONS:
                self._findings.error("bad-requirement", f"{quote(name)} is not an option here", shown, number)


def _decode(data: bytes, shown: str) -> str:
    """Text by byte order mark, else by a PEP 263 comment, else UTF-8."""
    encoding = "utf-8"
    for line in data.split(b"\n", 2)[:2]:
        if match := _CODING.match(line):
            encoding = match[1].decode("ascii")
    for bom, meant in _BOMS:
        if data.startswith(bom):
            data, encoding = data[len(bom) :], meant
            break
    try:
        text = data.decode(encoding)
    except (UnicodeError, LookupError) as error:
        number = data.count(b"\n", 0, error.start) + 1 if isinstance(error, UnicodeDecodeError) else 1
        raise RepoError(
            "this is not UTF-8 text", code="bad-encoding", file=shown, line=number, remedy="save it as UTF-8"
        ) from error
    if "\0" in text:
        raise RepoError("this is not a text file", code="bad-encoding", file=shown)
    return text


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """``(number of the first line, line)`` without comments, continuations joined as pip does."""
    parts: list[str] = []
    start = 0
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        if not parts:
            start = number
        comment = line.lstrip().startswith("#")
        if line.endswith("\\") and not comment:
            parts.append(line[:-1])
            continue
        # A comment ends a continuation, and keeps its leading space so that it is seen as one.
        parts.append(" " + line if comment else line)
        if joined := _COMMENT.sub("", "".join(parts)).strip():
            yield start, joined
        parts = []
    if joined := _COMMENT.sub("", "".join(parts)).strip():
        yield start, joined
