"""What is in an unpacked image, as far as one on top of it depends on it. Nothing is run or guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from envbuild.image.base_config import BaseConfig
from envbuild.pack.additions import DIRECTORIES
from envbuild.registry_base.dpkg import Installed, read_status
from envbuild.registry_base.elf import MACHINES
from envbuild.registry_base.python import (
    Unfit,
    check_libraries,
    find_python,
    libc_version,
    python_version,
)
from envbuild.registry_base.root import Root

__all__ = ["Findings", "inspect"]

_LARGEST_FILE: Final = 1 << 20
_LARGEST_STATUS: Final = 1 << 26
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._+@-]{1,255}){1,40}")
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,40}")
# Where distributions keep the bundle of authorities: Debian and Alpine; Fedora and its kin; SUSE.
_CERTIFICATES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
)


@dataclass(frozen=True, slots=True)
class Findings:
    """What is in an image.

    ``python`` is the exact version of the interpreter ``executable``, ``glibc`` the version of its C library.
    ``packages`` are what dpkg says is installed. The rest is as in
    :class:`envbuild.lock.model.PlatformImage`.
    """

    python: str
    executable: str
    glibc: str
    shell: str
    certificates: str
    distribution: str
    passwd: str
    group: str
    packages: tuple[Installed, ...]


def inspect(root: Root, config: BaseConfig, platform: str) -> Findings:
    """What is in the image whose files are in ``root``.

    Raises:
        Unfit: it cannot be a base.
    """
    _check_places(root)
    python = find_python(root, config.variables)
    if python.elf.machine != MACHINES[platform]:
        raise Unfit(
            "base-wrong-architecture",
            f"says it is for {platform}, and its Python is not",
            "tell who makes the image, and use another one",
        )
    glibc = libc_version(root, python)
    version = python_version(root, python, config.variables)
    check_libraries(root, python, config.variables)
    if not _PATH.fullmatch(python.path):
        raise Unfit(
            "base-python-private",
            f"has its Python at {python.path!r}, a path with unusual characters",
            "use an image with Python in /usr or /usr/local",
        )
    distribution = _distribution(root)
    return Findings(
        python=version,
        executable=python.path,
        glibc=glibc,
        shell=_shell(root),
        certificates=_certificates(root, config.variables),
        distribution=distribution,
        passwd=_lines(root, "/etc/passwd"),
        group=_lines(root, "/etc/group"),
        packages=read_status(root.read("/var/lib/dpkg/status", _LARGEST_STATUS) or b"")
        if distribution
        else (),
    )


def _check_places(root: Root) -> None:
    """Refuse an image in which a directory of the additions leads elsewhere: it would no longer be whole."""
    for path in DIRECTORIES:
        if root.status(f"/{path}") is not None and not root.is_directory(f"/{path}", itself=True):
            raise Unfit(
                "base-unusual-layout",
                f"has something else than a directory at /{path}, where images have files of their own",
                "use an image with the usual directories; those of ostree and bootc are not made for this",
            )


def _shell(root: Root) -> str:
    if not root.is_file("/bin/sh"):
        raise Unfit(
            "base-no-shell",
            "has no /bin/sh, which the entry point and hubs need",
            "use an image with a shell: not a `distroless` one",
        )
    return "/bin/bash" if root.is_file("/bin/bash") else "/bin/sh"


def _certificates(root: Root, variables: Mapping[str, str]) -> str:
    """Where the bundle of authorities is; "" when there is none."""
    for path in (variables.get("SSL_CERT_FILE", ""), *_CERTIFICATES):
        status = root.status(path) if _PATH.fullmatch(path) and ".." not in path else None
        if status is not None and status.st_size and root.is_file(path) and root.is_open_to_all(path):
            return path
    return ""


def _distribution(root: Root) -> str:
    """``debian bookworm`` where dpkg administers what is installed, else ""."""
    if not root.is_file("/usr/bin/dpkg") or not root.is_file("/var/lib/dpkg/status"):
        return ""
    values = dict(_os_release(root))
    name, release = values.get("ID", ""), values.get("VERSION_CODENAME", "") or values.get("VERSION_ID", "")
    return f"{name} {release}" if _WORD.fullmatch(name) and _WORD.fullmatch(release) else ""


def _os_release(root: Root) -> Iterator[tuple[str, str]]:
    """The variables of os-release(5)."""
    text = (
        root.read("/etc/os-release", _LARGEST_FILE) or root.read("/usr/lib/os-release", _LARGEST_FILE) or b""
    )
    for line in text.decode("utf-8", "replace").splitlines():
        name, equals, value = line.partition("=")
        if equals:
            yield name.strip(), value.strip().strip("\"'")


def _lines(root: Root, path: str) -> str:
    """The text of a file like passwd(5), without what is no line of one."""
    text = (root.read(path, _LARGEST_FILE) or b"").decode("utf-8", "replace")
    kept = [line for line in text.splitlines() if line and line.isprintable() and len(line) <= 1000]
    return "".join(f"{line}\n" for line in kept[:5000])
