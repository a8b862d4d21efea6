"""Images that could be bases, and some that could not, made of headers and pushed to a registry in memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.elf import make_elf, python_number
from tests.support.registry import FakeRegistry

__all__ = ["Files", "added", "lay_out", "push_image", "push_index", "slim"]

Files = Mapping[str, "bytes | str | None"]
"""Path -> content of a file, target of a symbolic link, or None for a directory."""

_OCI = {
    "manifest": "application/vnd.oci.image.manifest.v1+json",
    "index": "application/vnd.oci.image.index.v1+json",
    "config": "application/vnd.oci.image.config.v1+json",
    "layer": "application/vnd.oci.image.layer.v1.tar+gzip",
}
_DOCKER = {
    "manifest": "application/vnd.docker.distribution.manifest.v2+json",
    "index": "application/vnd.docker.distribution.manifest.list.v2+json",
    "config": "application/vnd.docker.container.image.v1+json",
    "layer": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
_LOADERS = {"linux/amd64": "/lib64/ld-linux-x86-64.so.2", "linux/arm64": "/lib/ld-linux-aarch64.so.1"}
_MODULES = ("os.py", "ssl.py", "asyncio/__init__.py", "ctypes/__init__.py", "sqlite3/__init__.py")
_STATUS = """\
Package: libc6
Status: install ok installed
Version: 2.36-9+deb12u7
Architecture: amd64
Depends: libgcc-s1
Multi-Arch: same

Package: removed
Status: deinstall ok config-files
Version: 1
Architecture: all
"""


def slim(python: str = "3.12.4", glibc: str = "2.36", platform: str = "linux/amd64") -> dict[str, Any]:
    """The files of an image like ``python:3.12-slim``: Debian, and a Python in ``/usr/local``."""
    minor = ".".join(python.split(".")[:2])
    loader = _LOADERS[platform]
    library = f"libpython{minor}.so.1.0"
    banner = f"GNU C Library (Debian GLIBC {glibc}-9) stable release version {glibc}.\n".encode()
    files: dict[str, Any] = {
        "bin/sh": b"",
        "bin/bash": b"",
        loader.strip("/"): make_elf(platform),
        f"{loader.rpartition('/')[0].strip('/')}/libc.so.6": make_elf(platform, text=banner),
        "usr/lib64/libgcc_s.so.1": b"",
        "usr/lib64/libstdc++.so.6": b"",
        f"usr/local/bin/python{minor}": make_elf(platform, interpreter=loader, needed=(library, "libc.so.6")),
        "usr/local/bin/python3": f"python{minor}",
        "usr/local/bin/python": "python3",
        f"usr/local/lib/{library}": make_elf(platform, numbers={"Py_Version": python_number(python)}),
        "etc/passwd": b"root:x:0:0:root:/root:/bin/bash\n",
        "etc/group": b"root:x:0:\n",
        "etc/os-release": b'ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian"\n',
        "etc/ssl/certs/ca-certificates.crt": b"authority\n",
        "usr/bin/dpkg": b"",
        "var/lib/dpkg/status": _STATUS.encode(),
        "tmp": None,
    }
    files |= {f"usr/local/lib/python{minor}/{name}": b"" for name in _MODULES}
    return files


def added(files: Files, **changes: bytes | str | None) -> dict[str, Any]:
    """``files`` with some more; a name's ``__`` stand for ``/``."""
    return {**files, **{name.replace("__", "/"): what for name, what in changes.items()}}


def lay_out(files: Files, root: Path) -> Path:
    """Write ``files`` below ``root``, executable and readable by all."""
    for path, what in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if what is None:
            place.mkdir(exist_ok=True)
        elif isinstance(what, str):
            place.symlink_to(what)
        else:
            place.write_bytes(what)
            place.chmod(0o755)
    return root


def push_image(
    registry: FakeRegistry,
    name: str,
    contents: Sequence[Files],
    *,
    tag: str = "",
    platform: str = "linux/amd64",
    docker: bool = False,
    variables: Sequence[str] = ("PATH=/usr/local/bin:/usr/bin:/bin", "PYTHON_VERSION=3.12.4"),
    **changes: Any,
) -> dict[str, Any]:
    """Put an image there, under ``tag`` if there is one; returns its descriptor.

    Parameters:
        docker: whether in Docker's format (schema 2).
        changes: of the manifest.
    """
    types = _DOCKER if docker else _OCI
    described, diff_ids = [], []
    for files in contents:
        data = _tar(files)
        diff_ids.append("sha256:" + hashlib.sha256(data).hexdigest())
        described.append(_blob(registry, name, gzip.compress(data, mtime=0), types["layer"]))
    system, architecture = platform.split("/")
    config = {
        "architecture": architecture,
        "os": system,
        "config": {"Env": list(variables)},
        "history": [{"created_by": f"layer {number}"} for number in range(len(contents))],
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": types["manifest"],
        "config": _blob(registry, name, json.dumps(config).encode(), types["config"]),
        "layers": described,
        **changes,
    }
    return _manifest(registry, name, manifest, tag) | {
        "platform": {"os": system, "architecture": architecture}
    }


def push_index(
    registry: FakeRegistry, name: str, images: Sequence[Mapping[str, Any]], tag: str, *, docker: bool = False
) -> dict[str, Any]:
    """Put an index over ``images`` there."""
    media_type = (_DOCKER if docker else _OCI)["index"]
    index = {"schemaVersion": 2, "mediaType": media_type, "manifests": list(images)}
    return _manifest(registry, name, index, tag)


def _manifest(registry: FakeRegistry, name: str, content: Mapping[str, Any], tag: str) -> dict[str, Any]:
    data = json.dumps(content).encode()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    registry.contents.put_manifest(name, tag or digest, content["mediaType"], data)
    return {"mediaType": content["mediaType"], "digest": digest, "size": len(data)}


def _blob(registry: FakeRegistry, name: str, data: bytes, media_type: str) -> dict[str, Any]:
    digest = registry.contents.put_blob(name, data)
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def _tar(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, what in files.items():
            info = tarfile.TarInfo(path)
            info.mode = 0o755
            if what is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(what, str):
                info.type, info.linkname = tarfile.SYMTYPE, what
            else:
                info.size = len(what)
            archive.addfile(info, io.BytesIO(what if isinstance(what, bytes) else b""))
    return buffer.getvalue()
