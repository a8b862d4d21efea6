"""``envbuild.lock``: the TOML form of a :class:`~envbuild.lock.model.Lock`, one line per artifact.

A lock comes from a repository, so :func:`load_lock` believes nothing: every name, path, hash and size in it
is checked before it can become a file name, a URL or an argument.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn
from urllib.parse import unquote

import tomli
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from envbuild.errors import RepoError
from envbuild.lock.model import Artifact, Base, CondaPackage, Deb, Lock, Target, Wheel
from envbuild.lock.select import MACHINES

__all__ = ["FILENAME", "VERSION", "dump_lock", "load_lock"]

FILENAME = "envbuild.lock"
VERSION = 1

_HEADER = """\
# Made by `envbuild lock`: everything this repository's image is assembled from. Commit it, do not edit it.
"""
_MOST_BYTES = 64_000_000
_LARGEST_ARTIFACT = 1 << 40
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PYTHON = re.compile(r"3\.\d{1,3}\.\d{1,3}")
_GLIBC = re.compile(r"2\.\d{1,3}")
_DEB_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_DEB_VERSION = re.compile(r"[0-9][A-Za-z0-9.+~:-]*")
_CONDA_NAME = re.compile(r"[a-z0-9_][a-z0-9._-]*")
_CONDA_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!]*")
_CONDA_BUILD = re.compile(r"[A-Za-z0-9_.+]+")
_SITE_PACKAGES = re.compile(r"lib/[a-z0-9.]+/site-packages")
_MD5 = re.compile(r"[0-9a-f]{32}")
_NOARCH = re.compile(r"python|generic")
_MATCH_SPEC = re.compile(r"[ -~]{1,500}")
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._~%!$&'()*+,;=:@/-]*")


# Writing


def dump_lock(lock: Lock) -> bytes:
    """The lock as TOML: sorted, and the same bytes for the same lock."""
    lines = [
        _HEADER,
        f"version = {VERSION}",
        f"name = {_quote(lock.name)}",
        f"display-name = {_quote(lock.display_name)}",
        f"inputs = {_quote(lock.inputs)}",
        f"cutoff = {_quote(lock.cutoff)}",
        f"kernels = [{', '.join(_quote(kernel) for kernel in sorted(lock.kernels))}]",
        f"recipe = {lock.recipe}",
        f"resolver = {_quote(lock.resolver)}",
        "",
        "[base]",
        f"recipe = {_quote(lock.base.recipe)}",
        f"suite = {_quote(lock.base.suite)}",
        f"python = {_quote(lock.base.python)}",
        f"glibc = {_quote(lock.base.glibc)}",
        f"date = {_quote(lock.base.date)}",
        "",
        "[base.debs]",
    ]
    for platform, debs in sorted(lock.base.debs.items()):
        lines += _array(_quote(platform), (_deb_row(deb) for deb in sorted(debs)))
    lines += ["", "[base.server]"]
    for platform, wheels in sorted(lock.base.server.items()):
        lines += _array(_quote(platform), (_wheel_row(wheel) for wheel in sorted(wheels)))
    for target in sorted(lock.targets, key=lambda target: target.platform):
        lines += ["", "[[target]]", f"platform = {_quote(target.platform)}"]
        lines += _array("wheels", (_wheel_row(wheel) for wheel in sorted(target.wheels)))
        if target.conda:
            lines += _array("conda", (_conda_row(package) for package in sorted(target.conda)))
        if target.apt:
            lines += _array("apt", (_deb_row(deb) for deb in sorted(target.apt)))
    return ("\n".join(lines) + "\n").encode()


def _quote(text: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


_Row = dict[str, "str | int | bool | tuple[str, ...]"]


def _array(key: str, rows: Iterable[_Row]) -> list[str]:
    lines = []
    for row in rows:
        cells = (f"{name} = {_value(value)}" for name, value in row.items())
        lines.append(f"    {{ {', '.join(cells)} }},")
    return [f"{key} = [", *lines, "]"] if lines else [f"{key} = []"]


def _value(value: str | int | bool | tuple[str, ...]) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_quote, value))}]"
    return str(value) if isinstance(value, int) else _quote(value)


def _deb_row(deb: Deb) -> _Row:
    return {"name": deb.name, "version": deb.version, "arch": deb.arch, **_artifact_row(deb.artifact)}


def _wheel_row(wheel: Wheel) -> _Row:
    row: _Row = {"name": wheel.name, "version": wheel.version, "layer": wheel.layer}
    if wheel.direct:
        row["direct"] = True
    return {**row, **_artifact_row(wheel.artifact)}


def _conda_row(package: CondaPackage) -> _Row:
    row: _Row = {
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "subdir": package.subdir,
        "layer": package.layer,
    }
    if package.direct:
        row["direct"] = True
    row |= _artifact_row(package.artifact)
    if package.md5:
        row["md5"] = package.md5
    if package.noarch:
        row["noarch"] = package.noarch
    if package.depends:
        row["depends"] = package.depends
    if package.site_packages:
        row["site-packages"] = package.site_packages
    return row


def _artifact_row(artifact: Artifact) -> _Row:
    row: _Row = {"source": artifact.source}
    if artifact.path:
        row["path"] = artifact.path
    if _last_part(artifact.path) != artifact.filename:
        row["filename"] = artifact.filename
    return {**row, "size": artifact.size, "sha256": artifact.sha256}


def _last_part(path: str) -> str:
    return unquote(path.rpartition("/")[2])


# Reading


def load_lock(data: bytes, file: str = FILENAME) -> Lock:
    """Read and check a lock.

    Parameters:
        data: the file's content.
        file: its name, for messages.

    Raises:
        RepoError: not a lock, made by a newer envbuild, or something in it is not as it must be; names the
            line where that can be told.
    """
    reader = _Reader(file)
    if len(data) > _MOST_BYTES:
        reader.fail(f"larger than {_MOST_BYTES} bytes")
    try:
        reader.text = data.decode()
        document = tomli.loads(reader.text)
    except UnicodeDecodeError as error:
        reader.fail("not UTF-8", line=data[: error.start].count(b"\n") + 1)
    except tomli.TOMLDecodeError as error:
        reader.fail(f"not valid TOML: {error.msg}", line=error.lineno)
    except RecursionError:
        reader.fail("not valid TOML: nested too deeply")
    version = document.get("version")
    if isinstance(version, int) and version > VERSION:
        raise RepoError(
            f"this lock has format {version}; this envbuild reads up to {VERSION}",
            code="lock-too-new",
            file=file,
            line=reader.line_of("version"),
            remedy="upgrade envbuild",
        )
    return reader.lock(document)


class _Reader:
    """Turns tables into records, or says what is wrong and where."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.text = ""

    def fail(self, trouble: str, *, line: int | None = None) -> NoReturn:
        raise RepoError(
            f"this lock cannot be used: {trouble}",
            code="bad-lock",
            file=self.file,
            line=line,
            remedy="restore it from version control, or delete it and run `envbuild lock`",
        )

    def line_of(self, needle: str) -> int | None:
        """The first line with ``needle`` in it: a parser gives values, not positions."""
        position = self.text.find(needle) if needle else -1
        return None if position < 0 else self.text.count("\n", 0, position) + 1

    def lock(self, document: dict[str, Any]) -> Lock:
        table = _Table(self, document, "")
        if table.number("version", most=VERSION) != VERSION:
            self.fail("version must be 1", line=self.line_of("version"))
        lock = Lock(
            name=table.text("name", _WORD),
            display_name=table.text("display-name", None),
            inputs=table.text("inputs", _DIGEST),
            cutoff=table.text("cutoff", _TIME),
            kernels=tuple(table.texts("kernels", _WORD)),
            recipe=table.number("recipe", most=1_000_000),
            resolver=table.text("resolver", _WORD),
            base=self._base(table.table("base")),
            targets=tuple(self._target(row) for row in table.tables("target")),
        )
        table.finish()
        platforms = [target.platform for target in lock.targets]
        if not platforms or len(set(platforms)) != len(platforms):
            self.fail("it must have one [[target]] per platform")
        for platform in platforms:
            if platform not in lock.base.debs or platform not in lock.base.server:
                self.fail(f"base has nothing for {platform}")
        return lock

    def _base(self, table: _Table) -> Base:
        base = Base(
            recipe=table.text("recipe", _WORD),
            suite=table.text("suite", _WORD),
            python=table.text("python", _PYTHON),
            glibc=table.text("glibc", _GLIBC),
            date=table.text("date", _TIME),
            debs=self._platforms(table.table("debs"), _deb),
            server=self._platforms(table.table("server"), _wheel),
        )
        table.finish()
        return base

    def _platforms(self, table: _Table, read: Any) -> dict[str, Any]:
        result = {}
        for platform in sorted(table.keys()):
            self._check_platform(platform)
            result[platform] = self._rows(table, platform, read)
        table.finish()
        return result

    def _target(self, table: _Table) -> Target:
        platform = table.text("platform", None)
        self._check_platform(platform)
        target = Target(
            platform,
            self._rows(table, "wheels", _wheel),
            self._rows(table, "conda", _conda) if table.has("conda") else (),
            self._rows(table, "apt", _deb) if table.has("apt") else (),
        )
        table.finish()
        return target

    def _check_platform(self, platform: str) -> None:
        if platform not in MACHINES:
            self.fail(f"unknown platform {platform!r}", line=self.line_of(json.dumps(platform)))

    def _rows(self, table: _Table, key: str, read: Any) -> tuple[Any, ...]:
        rows = []
        for row in table.tables(key):
            rows.append(read(row))
            row.finish()
        counts = Counter(row.name for row in rows)
        for name in sorted(name for name, count in counts.items() if count > 1):
            self.fail(f"{name} is there more than once in {table.where}{key}", line=self.line_of(f'"{name}"'))
        return tuple(sorted(rows))


class _Table:
    """One TOML table being read; every key must be known and of its kind."""

    def __init__(self, reader: _Reader, values: Mapping[str, Any], where: str, needle: str = "") -> None:
        self._reader = reader
        self._values = values
        self._needle = needle
        self._left = set(values)
        self.where = where

    def fail(self, trouble: str) -> NoReturn:
        """Refuse the lock because of something in this table."""
        self._reader.fail(f"{self.where}{trouble}", line=self._reader.line_of(self._needle))

    def keys(self) -> list[str]:
        """All keys of the table."""
        return list(self._values)

    def finish(self) -> None:
        """Refuse keys that nobody asked for."""
        if self._left:
            self.fail(f"unknown key {min(self._left)!r}")

    def _take(self, key: str, kind: type, name: str) -> Any:
        value = self._values.get(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.fail(f"{key} must be {name}" if key in self._values else f"{key} is missing")
        self._left.discard(key)
        return value

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._values

    def text(self, key: str, pattern: re.Pattern[str] | None) -> str:
        """A text, all of which matches ``pattern``."""
        value: str = self._take(key, str, "a text")
        if pattern is not None and not pattern.fullmatch(value):
            self.fail(f"{key} has an impossible value {value[:100]!r}")
        return value

    def number(self, key: str, *, most: int) -> int:
        """A whole number from 1 to ``most``."""
        value: int = self._take(key, int, "a number")
        if not 1 <= value <= most:
            self.fail(f"{key} has an impossible value {value}")
        return value

    def truth(self, key: str) -> bool:
        """True or false."""
        value: bool = self._take(key, bool, "true or false")
        return value

    def texts(self, key: str, pattern: re.Pattern[str]) -> list[str]:
        """A list of texts, sorted."""
        values = self._take(key, list, "a list")
        for value in values:
            if not isinstance(value, str) or not pattern.fullmatch(value):
                self.fail(f"{key} has an impossible value {str(value)[:100]!r}")
        return sorted(values)

    def table(self, key: str) -> _Table:
        """A table in this one."""
        return _Table(
            self._reader, self._take(key, dict, "a table"), f"{self.where}{key}.", f"[{self.where}{key}"
        )

    def tables(self, key: str) -> list[_Table]:
        """A list of tables in this one."""
        values = self._take(key, list, "a list of tables")
        result = []
        for number, value in enumerate(values):
            if not isinstance(value, dict):
                self.fail(f"{key} must be a list of tables")
            needle = value.get("sha256") or value.get("name")
            result.append(
                _Table(
                    self._reader,
                    value,
                    f"{self.where}{key}[{number}].",
                    needle if isinstance(needle, str) else "",
                )
            )
        return result


def _artifact(table: _Table) -> Artifact:
    path = table.text("path", _PATH) if table.has("path") else ""
    for part in path.split("/") if path else ():
        if unquote(part) in ("", ".", "..") or "/" in unquote(part) or "\0" in unquote(part):
            table.fail(f"path has an impossible value {path[:100]!r}")
    return Artifact(
        filename=table.text("filename", _WORD_OR_MORE) if table.has("filename") else _last_part(path),
        sha256=table.text("sha256", _SHA256),
        size=table.number("size", most=_LARGEST_ARTIFACT),
        source=table.text("source", _WORD),
        path=path,
    )


_WORD_OR_MORE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!~-]*")


def _wheel(table: _Table) -> Wheel:
    name = table.text("name", _WORD)
    version = table.text("version", None)
    artifact = _artifact(table)
    if canonicalize_name(name) != name:
        table.fail(f"name {name!r} is not normalised (PEP 503)")
    try:
        stated, number, _, _ = parse_wheel_filename(artifact.filename)
        if not _WORD_OR_MORE.fullmatch(artifact.filename) or (stated, number) != (name, Version(version)):
            table.fail(f"{artifact.filename[:100]!r} is not a wheel of {name} {version[:100]}")
    except (InvalidWheelFilename, InvalidVersion):
        table.fail(f"{artifact.filename[:100]!r} is not a wheel of {name} {version[:100]}")
    return Wheel(
        name=name,
        version=version,
        artifact=artifact,
        layer=table.text("layer", _WORD),
        direct=table.truth("direct") if table.has("direct") else False,
    )


def _conda(table: _Table) -> CondaPackage:
    package = CondaPackage(
        name=table.text("name", _CONDA_NAME),
        version=table.text("version", _CONDA_VERSION),
        build=table.text("build", _CONDA_BUILD),
        subdir=table.text("subdir", _WORD),
        artifact=_artifact(table),
        md5=table.text("md5", _MD5) if table.has("md5") else "",
        noarch=table.text("noarch", _NOARCH) if table.has("noarch") else "",
        depends=tuple(table.texts("depends", _MATCH_SPEC)) if table.has("depends") else (),
        layer=table.text("layer", _CONDA_NAME),
        direct=table.truth("direct") if table.has("direct") else False,
        site_packages=table.text("site-packages", _SITE_PACKAGES) if table.has("site-packages") else "",
    )
    stem = f"{package.name}-{package.version}-{package.build}"
    if package.artifact.filename not in (f"{stem}.conda", f"{stem}.tar.bz2"):
        table.fail(f"{package.artifact.filename[:100]!r} is not the package {stem}")
    return package


def _deb(table: _Table) -> Deb:
    deb = Deb(
        name=table.text("name", _DEB_NAME),
        version=table.text("version", _DEB_VERSION),
        arch=table.text("arch", _WORD),
        artifact=_artifact(table),
    )
    # The epoch is no part of the file name (Debian policy 5.6.12).
    if deb.artifact.filename != f"{deb.name}_{deb.version.partition(':')[2] or deb.version}_{deb.arch}.deb":
        table.fail(f"{deb.artifact.filename[:100]!r} is not a package of {deb.name} {deb.version} {deb.arch}")
    return deb
