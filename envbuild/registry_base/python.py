"""Finding the Python of an unpacked image, and which one it is, without running it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from envbuild.registry_base.elf import Elf, parse_elf
from envbuild.registry_base.root import Root

__all__ = ["FoundPython", "Unfit", "check_libraries", "find_python", "libc_version", "python_version"]

_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LARGEST_PROGRAM: Final = 1 << 29
_LARGEST_HEADER: Final = 1 << 20
_NAME: Final = re.compile(r"(?:platform-)?python3(?:\.(\d{1,3}))?")
_OLDEST: Final = (3, 8)  # what pack/_compile_worker.py runs on
_FINAL_RELEASE: Final = 0xF
# What a kernel and a server import. Debian and others cut the standard library into several packages.
_NEEDED_MODULES: Final = (
    "os.py",
    "asyncio/__init__.py",
    "ctypes/__init__.py",
    "sqlite3/__init__.py",
    "ssl.py",
)
_LIBC: Final = re.compile(rb"GNU C Library [^\n\0]{0,200}? version (2\.\d{1,3})\b")
# Of those that PEP 600 has wheels expect of every system, the ones that are not glibc's own and that the
# Jupyter server's wheels link to.
_EXPECTED: Final = ("libgcc_s.so.1", "libstdc++.so.6")
_LARGEST_CACHE: Final = 1 << 24
_LIBRARY_PLACES: Final = ("/usr/local/lib", "/usr/local/lib64", "/usr/lib64", "/lib64", "/usr/lib", "/lib")
_TRIPLETS: Final = {62: "x86_64-linux-gnu", 183: "aarch64-linux-gnu"}


class Unfit(Exception):
    """Why an image cannot be a base: the end of a sentence that begins with it, and what to do about it."""

    def __init__(self, code: str, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class FoundPython:
    """A Python 3: where it really is in the image, and its program's header."""

    path: str
    elf: Elf


def find_python(root: Root, variables: Mapping[str, str]) -> FoundPython:
    """The first Python 3 that is a program, on the image's ``PATH``.

    Parameters:
        variables: the image's.

    Raises:
        Unfit: there is none, or not one that others could use.
    """
    scripts = []
    for directory in (variables.get("PATH") or _SYSTEM_PATH).split(":"):
        for name in ("python3", "python"):
            real = root.resolve(f"{directory}/{name}") if directory.startswith("/") else None
            if real is None or not root.is_file(real):
                continue
            elf = parse_elf(root.read(real, _LARGEST_PROGRAM) or b"")
            if elf is None:
                scripts.append(f"{directory}/{name}")
            elif _check_name(real):
                _check_place(root, real)
                return FoundPython(real, elf)
    if scripts:
        raise Unfit(
            "base-no-python",
            f"has no Python that could be found: {scripts[0]} is no program",
            "use an image with the Python itself on its PATH",
        )
    raise Unfit(
        "base-no-python",
        "has no Python 3 on its PATH",
        "use an image with one, like docker.io/library/python:3.12-slim; a conda environment needs one, too:"
        " the Jupyter server runs on it",
    )


def _check_name(path: str) -> bool:
    """Whether the program at ``path`` is a CPython 3.

    Raises:
        Unfit: it is another Python.
    """
    name = posixpath.basename(path)
    if _NAME.fullmatch(name):
        return True
    if name == "python" or re.fullmatch(r"python2(?:\.\d+)?", name):
        return False
    raise Unfit(
        "base-other-python",
        f"has a Python that is not plain CPython: its python3 is {name}",
        "use an image with CPython, with the global interpreter lock",
    )


def _check_place(root: Root, path: str) -> None:
    if not root.is_open_to_all(path):
        raise Unfit(
            "base-python-private",
            f"has its Python at {path}, where only its owner can go",
            "use an image with Python in /usr or /usr/local: images run as user 1000",
        )


def python_version(root: Root, python: FoundPython, variables: Mapping[str, str]) -> str:
    """The exact version (``3.12.4``).

    It is what the program, or the library that it is in, holds: the number ``Py_Version`` since Python 3.11,
    before that the text that it answers with; else what its own header file says.

    Raises:
        Unfit: it cannot be told, or it is no release that can be used.
    """
    version = None
    for elf, data in _programs(root, python, variables):
        if (number := elf.number("Py_Version")) is not None:
            version = _release(number)
        else:
            version = _answered(data, posixpath.basename(python.path))
        if version is not None:
            break
    version = version or _of_header(root, python.path)
    if version is None:
        raise Unfit(
            "base-python-unknown",
            f"has a Python at {python.path} that does not tell which it is",
            "use another image as the base",
        )
    named = _NAME.fullmatch(posixpath.basename(python.path))
    minor = tuple(int(part) for part in version.split(".")[:2])
    if named is not None and named[1] is not None and int(named[1]) != minor[1]:
        raise Unfit(
            "base-python-unknown",
            f"has a Python at {python.path} that says it is {version}",
            "use another image as the base",
        )
    if minor < _OLDEST:
        raise Unfit(
            "base-python-old",
            f"has Python {version}, which is too old",
            f"use one with Python {'.'.join(map(str, _OLDEST))} or newer",
        )
    _check_library(root, python.path, f"{minor[0]}.{minor[1]}")
    return version


def _programs(root: Root, python: FoundPython, variables: Mapping[str, str]) -> Iterator[tuple[Elf, bytes]]:
    """The program, and the ``libpython`` that it links to."""
    yield python.elf, root.read(python.path, _LARGEST_PROGRAM) or b""
    places = _library_places(python, variables)
    for name in python.elf.needed:
        if not name.startswith("libpython3"):
            continue
        for place in places:
            data = root.read(f"{place}/{name}", _LARGEST_PROGRAM) if place.startswith("/") else None
            elf = parse_elf(data or b"")
            if data is not None and elf is not None:
                yield elf, data
                break


def _library_places(python: FoundPython, variables: Mapping[str, str]) -> list[str]:
    """Where libraries are looked for, as far as that is known without reading ld.so.cache."""
    directory = posixpath.dirname(python.path)
    places = [
        path.replace("$ORIGIN", directory).replace("${ORIGIN}", directory) for path in python.elf.search
    ]
    places += variables.get("LD_LIBRARY_PATH", "").split(":")
    triplet = _TRIPLETS.get(python.elf.machine, "")
    return [*places, f"{directory}/../lib", f"/usr/lib/{triplet}", f"/lib/{triplet}", *_LIBRARY_PLACES]


def check_libraries(root: Root, python: FoundPython, variables: Mapping[str, str]) -> None:
    """Refuse an image without the libraries that compiled wheels take for granted (PEP 600).

    Raises:
        Unfit: one is not there.
    """
    places = [place for place in _library_places(python, variables) if place.startswith("/")]
    cache = root.read("/etc/ld.so.cache", _LARGEST_CACHE) or b""
    for name in _EXPECTED:
        if f"{name}\0".encode() in cache or any(root.is_file(f"{place}/{name}") for place in places):
            continue
        raise Unfit(
            "base-lacks-library",
            f"has no {name}, which wheels with compiled code, Jupyter's too, expect of every system",
            "use an image that has it, or add it: in Debian it is in the packages libgcc-s1 and libstdc++6,"
            " in Fedora in libgcc and libstdc++",
        )


def _release(number: int) -> str:
    """The version that ``PY_VERSION_HEX`` means.

    >>> _release(0x030C01F0)
    '3.12.1'
    """
    major, minor, micro, rest = number >> 24 & 0xFF, number >> 16 & 0xFF, number >> 8 & 0xFF, number & 0xFF
    version = f"{major}.{minor}.{micro}"
    if rest >> 4 != _FINAL_RELEASE:
        raise Unfit(
            "base-python-unreleased",
            f"has Python {version} before its release",
            "use an image with a released Python",
        )
    return version


def _answered(data: bytes, name: str) -> str | None:
    """The version's text among the constants of a program; None when there is not exactly one."""
    named = _NAME.fullmatch(name)
    minor = named[1].encode() if named is not None and named[1] else rb"\d{1,3}"
    # The linker may have made the text the end of another one, so only what is behind it counts.
    found = set(re.findall(rb"(?<![\d.])3\." + minor + rb"\.\d{1,3}(?=\0)", data))
    return found.pop().decode() if len(found) == 1 else None


def _of_header(root: Root, path: str) -> str | None:
    """What ``patchlevel.h`` beside the program says."""
    prefix = posixpath.dirname(posixpath.dirname(path))
    named = _NAME.fullmatch(posixpath.basename(path))
    if named is None or named[1] is None:
        return None
    text = root.read(f"{prefix}/include/python3.{named[1]}/patchlevel.h", _LARGEST_HEADER) or b""
    found = re.search(rb'^#define\s+PY_VERSION\s+"(3\.\d{1,3}\.\d{1,3})"\s*$', text, re.MULTILINE)
    return found[1].decode() if found else None


def _check_library(root: Root, path: str, minor: str) -> None:
    prefix = posixpath.dirname(posixpath.dirname(path))
    for directory in (f"{prefix}/lib/python{minor}", f"{prefix}/lib64/python{minor}"):
        if not root.is_file(f"{directory}/os.py"):
            continue
        missing = [name for name in _NEEDED_MODULES if not root.is_open_to_all(f"{directory}/{name}")]
        if not missing:
            return
        module = missing[0].removesuffix("/__init__.py").removesuffix(".py")
        raise Unfit(
            "base-python-incomplete",
            f"has a Python without the module {module} of the standard library",
            "use an image with the whole of it: of Debian's, `python3`, not `python3-minimal`",
        )
    raise Unfit(
        "base-python-incomplete",
        f"has no standard library at {prefix}/lib/python{minor}",
        "use an image with a Python that was installed in the usual way",
    )


def libc_version(root: Root, python: FoundPython) -> str:
    """The version (``2.36``) of the GNU C library that the Python runs on.

    Raises:
        Unfit: it runs on another one, or none.
    """
    loader = python.elf.interpreter or ""
    if "ld-musl" in loader:
        raise Unfit(
            "base-musl",
            "has musl as its C library, for which most packages with compiled code have no wheels",
            "use an image with glibc: `-slim` instead of `-alpine`, for example",
        )
    real = root.resolve(loader)
    for directory in dict.fromkeys([posixpath.dirname(real or ""), posixpath.dirname(loader)]):
        data = root.read(f"{directory}/libc.so.6", _LARGEST_PROGRAM) if directory else None
        found = _LIBC.search(data or b"")
        if found is not None:
            return found[1].decode()
    raise Unfit(
        "base-no-glibc",
        f"has no GNU C library beside its loader {loader or '(its Python is linked statically)'}",
        "use an image with a Python that runs on glibc",
    )
