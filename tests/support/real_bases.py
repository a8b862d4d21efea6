"""Images of the kinds that registries have, made here and able to run, with a Python that is not Debian's.

No registry of such images can be reached where the tests run. What is here has the same in it: a Debian that
Debian's own dpkg installed; a root file system without a package manager; a Python in ``/usr/local``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.programs import output_of

__all__ = [
    "BaseLayer",
    "BasePython",
    "debian_layers",
    "find_python",
    "pack_directory",
    "plain_layers",
    "push_base",
]

_ASK = """\
import json, platform, sys, sysconfig
get = sysconfig.get_config_var
shared = f"{get('LIBDIR')}/{get('INSTSONAME')}" if get("Py_ENABLE_SHARED") else ""
print(json.dumps([platform.python_version(), sys.executable, sysconfig.get_path("stdlib"), shared]))
"""
# What images leave out, too, or has no place in a base.
_LEFT_OUT = (
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "__pycache__",
    "idlelib",
    "tkinter",
    "turtledemo",
)
_VARIABLES = {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
_EXPECTED = (
    *("libdl.so.2", "libm.so.6", "libpthread.so.0", "libresolv.so.2", "librt.so.1", "libutil.so.1"),
    *("libgcc_s.so.1", "libstdc++.so.6"),
)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class BasePython:
    """A Python of this machine: its exact version, its program, its standard library, and the library that it
    is in (None when it is in the program).
    """

    version: str
    program: Path
    library: Path
    shared: Path | None

    @property
    def minor(self) -> str:
        """``3.12``."""
        return self.version.rpartition(".")[0]

    def install(self, root: Path) -> None:
        """Put it in ``/usr/local`` of the file system at ``root``, without ``pip``."""
        prefix = root / "usr" / "local"
        (prefix / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy(self.program, prefix / "bin" / f"python{self.minor}")
        for name, target in (("python3", f"python{self.minor}"), ("python", "python3")):
            (prefix / "bin" / name).symlink_to(target)
        ignored = shutil.ignore_patterns(*_LEFT_OUT, f"config-{self.minor}*", "*.a")
        library = prefix / "lib" / f"python{self.minor}"
        shutil.copytree(self.library, library, symlinks=True, ignore=ignored)
        (library / "site-packages").mkdir()
        if self.shared is not None:
            shutil.copy(self.shared, prefix / "lib")

    def programs(self) -> list[Path]:
        """All its ELF files but those of parts that are left out."""
        modules = (self.library / "lib-dynload").glob("*.so")
        return [self.program, *(path for path in sorted(modules) if "tkinter" not in path.name)]


def find_python(interpreter: str) -> BasePython:
    """What ``interpreter`` is."""
    version, program, library, shared = json.loads(output_of(interpreter, "-c", _ASK))
    return BasePython(version, Path(program).resolve(), Path(library), Path(shared) if shared else None)


@dataclass(frozen=True, slots=True)
class BaseLayer:
    """A layer as a registry keeps it: a tar compressed with gzip, in a file."""

    file: Path
    digest: str
    diff_id: str

    @property
    def size(self) -> int:
        """Of the file, in bytes."""
        return self.file.stat().st_size


def pack_directory(directory: Path, file: Path) -> BaseLayer:
    """The files of ``directory`` as a layer, in ``file``; paths begin with ``./``, as ``tar`` writes them.

    What is in ``dev``, ``proc`` and ``sys`` is left out.
    """
    command = ["tar", "--sort=name", "--mtime=@1700000000", "--numeric-owner"]
    command += [f"--exclude=./{name}/*" for name in ("dev", "proc", "sys")]
    command += ["-C", str(directory), "-cf-", "."]
    raw, packed = hashlib.sha256(), hashlib.sha256()
    gzip = zlib.compressobj(1, wbits=31)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process, file.open("wb") as stream:
        assert process.stdout is not None
        while True:
            chunk = process.stdout.read(_CHUNK)
            raw.update(chunk)
            data = gzip.compress(chunk) if chunk else gzip.flush()
            packed.update(data)
            stream.write(data)
            if not chunk:
                break
    assert process.returncode == 0
    return BaseLayer(file, f"sha256:{packed.hexdigest()}", f"sha256:{raw.hexdigest()}")


def debian_layers(python: BasePython, directory: Path) -> tuple[BaseLayer, BaseLayer]:
    """A Debian of this machine's release with apt and dpkg, and ``python``: two layers, the lower one first.

    Needs root, mmdebstrap, and the machine's apt sources.
    """
    root = directory / "debian"
    output_of(
        # What it mounts (the machine's /dev/shm, too) is gone with it, however it ends.
        *("unshare", "--mount", "--propagation", "private"),
        *("mmdebstrap", "--quiet", "--variant=apt", "--format=directory"),
        # The libraries that Python's modules link to, whatever they are called in this release.
        "--include=libpython3-stdlib,ca-certificates",
        # As in Debian's own images: nobody reads a manual there.
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")),
        *(_release(), root, *_apt_sources()),
    )
    lower = pack_directory(root, directory / "debian.tar.gz")
    return lower, _with_python(python, root, directory / "debian-python.tar.gz")


def plain_layers(python: BasePython, directory: Path) -> tuple[BaseLayer, BaseLayer]:
    """A shell and libraries where Fedora has them, and nothing else; then ``python``."""
    root = directory / "plain"
    for name in ("bin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    shell = Path(shutil.which("sh") or "/bin/sh").resolve()
    shutil.copy(shell, root / "usr" / "bin" / "sh")
    for library in [*_linked([shell, *python.programs()]), *_expected_libraries()]:
        shutil.copy(library, root / "usr" / "lib64" / library.name)
    (root / "etc").mkdir()
    (root / "etc" / "ld.so.conf").write_text("/usr/lib64\n/usr/local/lib\n")
    (root / "etc" / "os-release").write_text("ID=plain\nVERSION_ID=1\n")
    lower = pack_directory(root, directory / "plain.tar.gz")
    return lower, _with_python(python, root, directory / "plain-python.tar.gz")


def _with_python(python: BasePython, root: Path, file: Path) -> BaseLayer:
    """The layer that an image's maker gets who installs ``python`` on top of ``root`` and runs ldconfig."""
    upper = file.with_suffix(".root")
    python.install(upper)
    python.install(root)
    output_of("ldconfig", "-r", root)
    (upper / "etc").mkdir()
    shutil.copy(root / "etc" / "ld.so.cache", upper / "etc")
    return pack_directory(upper, file)


def _linked(programs: Iterable[Path]) -> list[Path]:
    """The shared libraries that any of ``programs`` needs, by the names it asks for, and the loader."""
    listed = "".join(
        subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout for path in programs
    )
    found = {Path(path) for path in re.findall(r"(/\S+) \(0x", listed)}
    return sorted(path for path in found if not path.name.startswith("libpython"))


def _expected_libraries() -> list[Path]:
    """What wheels expect of every system: all of the C library, and the compilers' (PEP 600)."""
    listed = dict(re.findall(r"^\s+(\S+) .*=> (\S+)$", output_of("ldconfig", "-p"), re.MULTILINE))
    return [Path(listed[name]) for name in _EXPECTED]


def _release() -> str:
    fields = dict(line.partition("=")[::2] for line in Path("/etc/os-release").read_text().splitlines())
    return fields["VERSION_CODENAME"].strip('"')


def _apt_sources() -> list[Path]:
    places = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources"))
    return [place for place in places if place.is_file() and place.stat().st_size]


def push_base(
    reference: str,
    layers: Sequence[BaseLayer],
    directory: Path,
    *,
    docker: bool = True,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Push an image for this machine with skopeo, and return its digest.

    Parameters:
        reference: where to, with a tag, in a registry that is asked without TLS.
        directory: for files on the way.
        docker: in Docker's format (schema 2), as most of what registries have; else in OCI's.
        variables: further ones of its environment.
    """
    layout = directory / hashlib.sha256(reference.encode()).hexdigest()[:12]
    shutil.rmtree(layout, ignore_errors=True)
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(media_type: str, content: Mapping[str, Any]) -> dict[str, Any]:
        data = json.dumps(content).encode()
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    for layer in layers:
        os.link(layer.file, blobs / layer.digest.removeprefix("sha256:"))
    values = {**_VARIABLES, **(variables or {})}
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": {"Env": [f"{name}={value}" for name, value in values.items()], "Cmd": ["python3"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [
            *({"created_by": f"layer {number}"} for number, _ in enumerate(layers)),
            {"created_by": 'CMD ["python3"]', "empty_layer": True},
        ],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": put(_CONFIG, config),
        "layers": [{"mediaType": _GZIP, "digest": layer.digest, "size": layer.size} for layer in layers],
    }
    described = put(_MANIFEST, manifest)
    (layout / "index.json").write_text(
        json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [described]})
    )
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    output_of(
        *("skopeo", "copy", "--quiet", "--dest-tls-verify=false", "--format", "v2s2" if docker else "oci"),
        *(f"oci:{layout}", f"docker://{reference}"),
    )
    shutil.rmtree(layout)
    seen = json.loads(output_of("skopeo", "inspect", "--tls-verify=false", f"docker://{reference}"))
    return str(seen["Digest"])
