"""Layers with packages in them as installers leave them, and a report about them, as values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from envbuild.contents.licences import DEBIAN, Licence
from envbuild.image.blobs import layer_chunks
from envbuild.inspection.inside import KernelSpec
from envbuild.pack.blob import pack_entries
from envbuild.pack.tar import Entry, complete, file
from envbuild.report.model import (
    Command,
    Fact,
    NotebookEntry,
    Package,
    PlatformReport,
    Report,
    ReportLayer,
    Run,
)
from envbuild.store import Store

SITE = "srv/env/lib/python3.11/site-packages"
_STATUS = b"var/lib/dpkg/status"
SHA = "sha256:" + "a" * 64


def wheel_files(name: str, version: str, *files: str, site: str = SITE, licence: str = "MIT") -> list[Entry]:
    """An installed wheel; each of ``files`` (below site-packages) has 100 bytes."""
    info = f"{name}-{version}.dist-info"
    metadata = (
        f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nSummary: About {name}\n"
        f"License-Expression: {licence}\nHome-page: https://example.org/{name}\n"
    ).encode()
    listed = [*files, f"{info}/METADATA", f"{info}/RECORD"]
    return [
        *(file(f"{site}/{path}", b"x" * 100) for path in files),
        file(f"{site}/{info}/METADATA", metadata),
        file(f"{site}/{info}/RECORD", "".join(f"{path},,\n" for path in listed).encode()),
    ]


def conda_files(name: str, version: str, *files: str, prefix: str = "srv/env") -> list[Entry]:
    """An installed conda package; each of ``files`` (below the prefix) has 100 bytes."""
    record = json.dumps({"name": name, "version": version, "license": "Zlib", "files": list(files)})
    return [
        *(file(f"{prefix}/{path}", b"x" * 100) for path in files),
        file(f"{prefix}/conda-meta/{name}-{version}-0.json", record.encode()),
    ]


def debian_files(name: str, version: str, *files: str) -> list[Entry]:
    """An installed Debian package, alone in dpkg's database; each of ``files`` has 100 bytes."""
    status = (
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n"
        f"Description: {name} for tests\n"
    )
    copyright_file = f"usr/share/doc/{name}/copyright"
    return [
        *(file(path, b"x" * 100) for path in (*files, copyright_file)),
        file("var/lib/dpkg/status", status.encode()),
        file(f"var/lib/dpkg/info/{name}.list", "".join(f"/{p}\n" for p in (*files, copyright_file)).encode()),
    ]


def debian_layer(*packages: list[Entry]) -> list[Entry]:
    """Several of :func:`debian_files` with one database."""
    entries = [entry for package in packages for entry in package]
    status = b"\n".join(b"".join(entry.chunks()) for entry in entries if entry.path == _STATUS)
    return [*(entry for entry in entries if entry.path != _STATUS), file("var/lib/dpkg/status", status)]


def content(directory: Path, entries: Iterable[Entry]) -> Callable[[], Iterable[bytes]]:
    """The uncompressed tar of a layer of ``entries``."""
    store = Store(directory)
    store.prepare()
    packed = pack_entries(store, complete(entries), "none")
    return lambda: layer_chunks(store, packed)


def package(name: str, size: int | None = 1000, **more: object) -> Package:
    """A wheel of the environment."""
    return Package(name, "1.0", "wheel", size=size, **{"part": "environment", **more})  # type: ignore[arg-type]


def layer(title: str, *packages: Package, size: int | None = None) -> ReportLayer:
    """A layer of ``packages`` and of what ``size`` has beyond them."""
    part = packages[0].part if packages else "other"
    total = size if size is not None else sum(one.size or 0 for one in packages)
    return ReportLayer(title, part, SHA, SHA, total // 3, total, packages)


def platform(name: str, *layers: ReportLayer) -> PlatformReport:
    """An image with two kernels."""
    kernels = (KernelSpec("demo", "Python (Demo)", "python"), KernelSpec("ir", "R", "R"))
    return PlatformReport(name, SHA, "sha256:" + "b" * 64, "3.11.2", layers, kernels)


RUN = Run(
    path="a.executed.ipynb",
    started=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    seconds=61.5,
    platform="linux/amd64",
    image_id=SHA,
    environment="env-0123456789abcdef",
    lock=True,
    commit="c" * 40,
    dirty=True,
    parameters={"year": 2020},
    inputs={"data.csv": SHA},
    failed=None,
)
OS = layer(
    "operating system and Python",
    Package("libc6", "2.36-9", "deb", "system", size=12_000_000, licence=DEBIAN, summary="GNU C Library"),
    size=20_000_000,
)
SERVER = layer("jupyterlab", package("jupyterlab", 40_000_000, part="server"))
ENVIRONMENT = layer(
    "packages bucket-00",
    package(
        "numpy",
        56_000_000,
        direct=True,
        licence=Licence("BSD-3-Clause", spdx=True),
        home_page="https://example.org/numpy",
        summary="Arrays",
    ),
    package("six", 30_000, licence=Licence("see the web site", spdx=False)),
    package("mystery", None),
)
REPORT = Report(
    name="demo",
    title="Demo",
    facts=(Fact("Python", "3.11.2"), Fact("Lock", SHA, code=True), Fact("Source", "https://example.org/r")),
    platforms=(platform("linux/amd64", OS, SERVER, ENVIRONMENT),),
    notebooks=(
        NotebookEntry("a.ipynb", "demo", "python", RUN),
        NotebookEntry("b.ipynb", None, None, None),
    ),
    commands=(Command("envbuild up --locked", "opens JupyterLab on this environment"),),
    needs="On a machine with envbuild:",
)
EMPTY = Report("nothing", "nothing", (), (platform("linux/amd64"),), None, ())
