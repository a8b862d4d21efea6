"""``envbuild.lock``: the TOML form of a :class:`~envbuild.lock.model.Lock`, one line per artifact.

A lock comes from a repository, so :func:`load_lock` believes nothing: every name, path, hash and size in it
is checked before it can become a file name, a URL or an argument.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NoReturn
from urllib.parse import unquote

import tomli
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from envbuild.errors import RepoError
from envbuild.lock.image_table import platform_values, read_image
from envbuild.lock.model import Artifact, Base, Built, CondaPackage, Deb, Lock, Target, Wheel
from envbuild.lock.select import MACHINES
from envbuild.lock.table import Table
from envbuild.spec.variables import variable_trouble

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
_LANGUAGE = re.compile(r"[a-z0-9+#._-]+")
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
_BUILT_KIND = re.compile(r"sdist|vcs|url|path")
_LOCATION = re.compile(r"(?:(?:https?|ssh|file)://)?[A-Za-z0-9._/][A-Za-z0-9._~%!$&'()*+,;=:@/?[\] -]*")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_FOLDER = re.compile(r"(?!\.\.(?:/|$))[^/\\\x00-\x1f-][^\\\x00-\x1f]*")
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
        *_pairs("other-kernels", lock.other_kernels),
        *_pairs("variables", lock.variables),
        f"recipe = {lock.recipe}",
        f"resolver = {_quote(lock.resolver)}",
        "",
        "[base]",
        *_base_name(lock.base),
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
    for platform, image in sorted(lock.base.image.platforms.items() if lock.base.image else ()):
        lines += ["", f"[base.platforms.{_quote(platform)}]"]
        for key, value in platform_values(image).items():
            if isinstance(value, dict):
                lines += _pairs(key, tuple(value.items()))
            else:
                lines += _array(key, value) if isinstance(value, list) else [f"{key} = {_value(value)}"]
    for target in sorted(lock.targets, key=lambda target: target.platform):
        lines += ["", "[[target]]", f"platform = {_quote(target.platform)}"]
        lines += _array("wheels", (_wheel_row(wheel) for wheel in sorted(target.wheels)))
        if target.conda:
            lines += _array("conda", (_conda_row(package) for package in sorted(target.conda)))
        if target.apt:
            lines += _array("apt", (_deb_row(deb) for deb in sorted(target.apt)))
        for built in sorted(target.built):
            lines += ["", "[[target.built]]", *_built_lines(built)]
    return ("\n".join(lines) + "\n").encode()


def _base_name(base: Base) -> list[str]:
    if base.image is None:
        return [f"recipe = {_quote(base.recipe)}"]
    return [f"image = {_quote(base.image.reference)}", f"digest = {_quote(base.image.digest)}"]


def _pairs(key: str, values: tuple[tuple[str, str], ...]) -> list[str]:
    pairs = (f"{_quote(name)} = {_quote(value)}" for name, value in sorted(values))
    return [f"{key} = {{ {', '.join(pairs)} }}"] if values else []


def _quote(text: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


_Row = dict[str, "str | int | bool | tuple[str, ...]"]


def _array(key: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
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
    row: dict[str, str | int | bool] = {"name": deb.name, "version": deb.version, "arch": deb.arch}
    if deb.direct:
        row["direct"] = True
    return {**row, **_artifact_row(deb.artifact)}


def _wheel_row(wheel: Wheel) -> _Row:
    row: _Row = {"name": wheel.name, "version": wheel.version}
    if wheel.layer:  # what builds need is in none
        row["layer"] = wheel.layer
    if wheel.direct:
        row["direct"] = True
    return {**row, **_artifact_row(wheel.artifact)}


def _built_lines(built: Built) -> list[str]:
    values: dict[str, str] = {
        "name": built.name,
        "kind": built.kind,
        "location": built.location,
        "revision": built.revision,
        "commit": built.commit,
        "subdirectory": built.subdirectory,
    }
    lines = [f"{key} = {_quote(value)}" for key, value in values.items() if value]
    if built.editable:
        lines.append("editable = true")
    if built.archive is not None:
        lines += _array("archive", [_artifact_row(built.archive)])
    return lines + _array("requires", (_wheel_row(wheel) for wheel in sorted(built.requires)))


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
        table = Table(self, document, "")
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
            other_kernels=self._other_kernels(table) if table.has("other-kernels") else (),
            variables=self._variables(table) if table.has("variables") else (),
        )
        table.finish()
        platforms = [target.platform for target in lock.targets]
        if not platforms or len(set(platforms)) != len(platforms):
            self.fail("it must have one [[target]] per platform")
        for platform in platforms:
            parts: list[Mapping[str, object]] = [lock.base.debs, lock.base.server]
            if lock.base.image is not None:
                parts.append(lock.base.image.platforms)
            if any(platform not in part for part in parts):
                self.fail(f"base has nothing for {platform}")
        return lock

    def _other_kernels(self, table: Table) -> tuple[tuple[str, str], ...]:
        kernels = table.table("other-kernels")
        pairs = tuple((name, kernels.text(name, _LANGUAGE)) for name in sorted(kernels.keys()))
        kernels.finish()
        for name, _ in pairs:
            if not _WORD.fullmatch(name):
                self.fail(f"other-kernels has an impossible name {name[:100]!r}")
        return pairs

    def _variables(self, table: Table) -> tuple[tuple[str, str], ...]:
        variables = table.table("variables")
        pairs = tuple((name, variables.text(name, None)) for name in sorted(variables.keys()))
        variables.finish()
        for name, value in pairs:
            if trouble := variable_trouble(name, value):
                self.fail(f"the variable {name[:100]!r} {trouble}", line=self.line_of("variables = "))
        return pairs

    def _base(self, table: Table) -> Base:
        image = read_image(table, self._check_platform)
        base = Base(
            recipe=table.text("recipe", _WORD) if image is None else "",
            suite=table.text("suite", _WORD),
            python=table.text("python", _PYTHON),
            glibc=table.text("glibc", _GLIBC),
            date=table.text("date", _TIME),
            debs=self._platforms(table.table("debs"), _deb),
            server=self._platforms(table.table("server"), _wheel),
            image=image,
        )
        table.finish()
        return base

    def _platforms(self, table: Table, read: Any) -> dict[str, Any]:
        result = {}
        for platform in sorted(table.keys()):
            self._check_platform(platform)
            result[platform] = self._rows(table, platform, read)
        table.finish()
        return result

    def _target(self, table: Table) -> Target:
        platform = table.text("platform", None)
        self._check_platform(platform)
        target = Target(
            platform,
            self._rows(table, "wheels", _wheel),
            self._rows(table, "conda", _conda) if table.has("conda") else (),
            self._rows(table, "apt", _deb) if table.has("apt") else (),
            self._rows(table, "built", self._built) if table.has("built") else (),
        )
        table.finish()
        sources = {built.name: built for built in target.built}
        for wheel in target.wheels:
            found = sources.get(wheel.name)
            if (wheel.artifact.source == "built") != (found is not None and not found.is_project):
                self.fail(
                    f"what {wheel.name} is built from is not as it must be", line=self.line_of(wheel.name)
                )
        return target

    def _built(self, table: Table) -> Built:
        kind = table.text("kind", _BUILT_KIND)
        rows = table.tables("archive") if table.has("archive") else []
        archives = [_artifact(row) for row in rows]
        built = Built(
            name=table.text("name", _WORD),
            kind=kind,  # type: ignore[arg-type]
            location=table.text("location", _LOCATION) if table.has("location") else "",
            revision=table.text("revision", _REVISION) if table.has("revision") else "",
            commit=table.text("commit", _COMMIT) if table.has("commit") else "",
            subdirectory=table.text("subdirectory", _FOLDER) if table.has("subdirectory") else "",
            editable=table.truth("editable") if table.has("editable") else False,
            archive=archives[0] if archives else None,
            requires=self._rows(table, "requires", partial(_wheel, layered=False)),
        )
        for row in rows:
            row.finish()
        expected = {"sdist": (1, False, False), "vcs": (0, True, True), "url": (1, True, False)}
        shape = (len(archives), bool(built.location), bool(built.commit))
        folder = built.location.split("/")
        if shape != expected.get(kind, (len(archives) and 1, True, False)) or (
            kind == "path" and (".." in folder or folder[0] == "")
        ):
            table.fail(f"what {built.name} is built from is not as it must be")
        return built

    def _check_platform(self, platform: str) -> None:
        if platform not in MACHINES:
            self.fail(f"unknown platform {platform!r}", line=self.line_of(json.dumps(platform)))

    def _rows(self, table: Table, key: str, read: Any) -> tuple[Any, ...]:
        rows = []
        for row in table.tables(key):
            rows.append(read(row))
            row.finish()
        counts = Counter(row.name for row in rows)
        for name in sorted(name for name, count in counts.items() if count > 1):
            self.fail(f"{name} is there more than once in {table.where}{key}", line=self.line_of(f'"{name}"'))
        return tuple(sorted(rows))


def _artifact(table: Table) -> Artifact:
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


def _wheel(table: Table, *, layered: bool = True) -> Wheel:
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
        layer=table.text("layer", _WORD) if layered else "",
        direct=table.truth("direct") if table.has("direct") else False,
    )


def _conda(table: Table) -> CondaPackage:
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


def _deb(table: Table) -> Deb:
    deb = Deb(
        name=table.text("name", _DEB_NAME),
        version=table.text("version", _DEB_VERSION),
        arch=table.text("arch", _WORD),
        artifact=_artifact(table),
        direct=table.truth("direct") if table.has("direct") else False,
    )
    # The epoch is no part of the file name (Debian policy 5.6.12).
    if deb.artifact.filename != f"{deb.name}_{deb.version.partition(':')[2] or deb.version}_{deb.arch}.deb":
        table.fail(f"{deb.artifact.filename[:100]!r} is not a package of {deb.name} {deb.version} {deb.arch}")
    return deb
