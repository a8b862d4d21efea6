"""Conda packages made in memory, byte for byte the same every time.

::

    package = make_conda("hello", "1.0", files={"bin/hello": File(b"#!/bin/sh\\n", executable=True)})
    channel = make_channel(tmp_path / "demo", [package])

They are what conda-build and rattler-build write: ``.conda`` (a zip of two zstd tars) or ``.tar.bz2``, with
``info/index.json``, ``info/paths.json`` and, where needed, ``info/link.json``.
"""

from __future__ import annotations

import asyncio
import bz2
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import zstandard

__all__ = ["PLACEHOLDER", "CondaFile", "File", "make_channel", "make_conda"]

PLACEHOLDER = ("/opt/builder/_h_env" + "_placehold" * 24)[:255]
"""The prefix that packages are built for, long enough for any real one to fit in its place (255 characters,
as conda-build has it)."""

_MACHINES = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}
_MTIME = 1_700_000_000
_ZIP_TIME = (2023, 11, 14, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class File:
    """One file of a package: its bytes, or its ``target`` when it is a symbolic link.

    ``placeholder`` says that the bytes hold :data:`PLACEHOLDER` and how it is to be replaced: in a binary
    file the length must stay the same.
    """

    data: bytes = b""
    executable: bool = False
    target: str | None = None
    placeholder: Literal["text", "binary"] | None = None


@dataclass(frozen=True, slots=True)
class CondaFile:
    """A package in memory: where it is in a channel, and its bytes."""

    subdir: str
    filename: str
    data: bytes

    @property
    def sha256(self) -> str:
        """Lower-case hex of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


def make_conda(
    name: str,
    version: str = "1.0",
    *,
    build: str = "0",
    number: int = 0,
    subdir: str = "linux-64",
    noarch: Literal["python", "generic"] | None = None,
    depends: Iterable[str] = (),
    constrains: Iterable[str] = (),
    files: Mapping[str, File | bytes] | None = None,
    entry_points: Sequence[str] = (),
    purls: Sequence[str] = (),
    timestamp: int = _MTIME,
    tar_bz2: bool = False,
    hostile_members: Sequence[tuple[tarfile.TarInfo, bytes]] = (),
) -> CondaFile:
    """Build a package.

    Parameters:
        subdir: ``linux-64`` or ``linux-aarch64``; always ``noarch`` when ``noarch`` is given.
        noarch: what kind of architecture-independent package it is; the files of a Python one are below
            ``site-packages/`` and ``python-scripts/``.
        files: path in the prefix -> content; by default one file named after the package.
        entry_points: ``name = module:function``, of a noarch Python package.
        purls: package URLs (``pkg:pypi/torch``) that say what it is elsewhere.
        timestamp: when it was built, in seconds.
        tar_bz2: write the older of the two formats.
        hostile_members: extra members of the tar, as they are, that ``paths.json`` does not list.
    """
    subdir = "noarch" if noarch else subdir
    content = {f"share/{name}/about.txt": f"{name} {version}\n".encode()} if files is None else files
    members = {path: file if isinstance(file, File) else File(file) for path, file in sorted(content.items())}
    index = {
        "arch": _MACHINES.get(subdir),
        "build": build,
        "build_number": number,
        "constrains": sorted(constrains),
        "depends": list(depends),
        "license": "BSD-3-Clause",
        "name": name,
        "platform": None if noarch else "linux",
        "subdir": subdir,
        "timestamp": timestamp * 1000,
        "version": version,
        **({"noarch": noarch} if noarch else {}),
        **({"purls": list(purls)} if purls else {}),
    }
    paths = [_path_entry(path, file, members) for path, file in members.items()]
    info: dict[str, bytes] = {
        "info/about.json": _json({"summary": f"{name}, for tests"}),
        "info/files": "".join(f"{path}\n" for path in members).encode(),
        "info/index.json": _json(index),
        "info/paths.json": _json({"paths": paths, "paths_version": 1}),
    }
    if noarch == "python":
        noarch_link = {"type": "python", "entry_points": list(entry_points)}
        info["info/link.json"] = _json({"noarch": noarch_link, "package_metadata_version": 1})
    prefixed = {path: file for path, file in members.items() if file.placeholder}
    if prefixed:
        rows = (f"{PLACEHOLDER} {file.placeholder} {path}\n" for path, file in prefixed.items())
        info["info/has_prefix"] = "".join(rows).encode()
    information = [_member(path, File(data)) for path, data in info.items()]
    payload = [*(_member(path, file) for path, file in members.items()), *hostile_members]
    stem = f"{name}-{version}-{build}"
    if tar_bz2:
        return CondaFile(subdir, f"{stem}.tar.bz2", bz2.compress(_tar([*information, *payload])))
    return CondaFile(subdir, f"{stem}.conda", _zip(stem, _tar(information), _tar(payload)))


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode()


def _path_entry(path: str, file: File, members: Mapping[str, File]) -> dict[str, Any]:
    data = file.data
    if file.target is not None:  # described by what it leads to, when that is in the package
        parts = path.split("/")[:-1]
        for part in file.target.split("/"):
            parts = parts[:-1] if part == ".." else [*parts, part]
        reached = members.get("/".join(parts))
        data = reached.data if reached else b""
    entry: dict[str, Any] = {
        "_path": path,
        "path_type": "hardlink" if file.target is None else "softlink",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_in_bytes": len(data),
    }
    if file.placeholder:
        entry |= {"file_mode": file.placeholder, "prefix_placeholder": PLACEHOLDER}
    return entry


def _member(path: str, file: File) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(path)
    info.mode = 0o775 if file.executable else 0o664
    if file.target is not None:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, file.target, 0o777
    return info, file.data


def _tar(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            info.mtime = _MTIME
            if info.isreg():
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return stream.getvalue()


def _zip(stem: str, info: bytes, payload: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor(level=3)
    parts = {
        "metadata.json": b'{"conda_pkg_format_version": 2}',
        f"pkg-{stem}.tar.zst": compressor.compress(payload),
        f"info-{stem}.tar.zst": compressor.compress(info),
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), data)
    return stream.getvalue()


def make_channel(directory: Path, packages: Iterable[CondaFile]) -> Path:
    """Write ``packages`` into ``directory`` and index it; returns the directory.

    Everything in the index is as old as the package (and not as the index), so it is the same every time.
    """
    from rattler.index import index_fs

    for subdir in ("linux-64", "linux-aarch64", "noarch"):
        (directory / subdir).mkdir(parents=True, exist_ok=True)
    for package in packages:
        (directory / package.subdir / package.filename).write_bytes(package.data)
    asyncio.run(index_fs(directory, write_zst=False, write_shards=False, force=True))
    for file in sorted(directory.glob("*/repodata.json")):
        document = json.loads(file.read_bytes())
        for record in (*document["packages"].values(), *document["packages.conda"].values()):
            record["indexed_timestamp"] = record["timestamp"]
        data = _json(document)
        file.write_bytes(data)
        file.with_suffix(".json.zst").write_bytes(zstandard.ZstdCompressor(level=3).compress(data))
    return directory
