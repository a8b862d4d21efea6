"""What is added to an image of a registry to make it a base: what every image of envbuild's promises.

The image's own layers stay as they are; of its files only those in ``/etc`` that name users, and those that
engines mount their own over, are replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from envbuild.errors import RemoteError
from envbuild.layers import AdditionsLayer
from envbuild.pack import recipe, tar
from envbuild.pack.deb import open_deb
from envbuild.pack.rootfs import CERTIFICATES, HOSTS, LOGIN_PROFILE, certificate_bundle, check_package
from envbuild.pack.tar import Entry

__all__ = ["DIRECTORIES", "additions_entries", "with_group", "with_user"]

# Places that engines mount over, and parents of what layers have. As entries of a layer they take the place
# of whatever an image has there: a link would lead those who mount elsewhere.
DIRECTORIES: Final = (
    "dev",
    "etc",
    "etc/profile.d",
    "home",
    "proc",
    "run",
    "srv",
    "sys",
    "tmp",
    "usr",
    "usr/local",
    "usr/local/bin",
    "usr/share",
    "usr/share/envbuild",
    "var",
    "var/tmp",
)
_LICENCE: Final = "usr/share/envbuild/tini.copyright"


def additions_entries(layer: AdditionsLayer, files: Mapping[str, Path]) -> list[Entry]:
    """The entries of the layer, for :func:`envbuild.pack.tar.complete`.

    Parameters:
        files: where the packages of ``layer`` are, by sha256.

    Raises:
        RemoteError: a package is damaged, or lacks what is needed of it.
    """
    image = layer.image
    entries = [
        *map(tar.directory, DIRECTORIES),
        tar.file("etc/group", with_group(image.group).encode()),
        tar.file("etc/hosts", HOSTS.encode()),
        tar.file("etc/passwd", with_user(image.passwd, image.shell).encode()),
        tar.file("etc/profile.d/00-environment.sh", LOGIN_PROFILE.encode()),
        tar.file("etc/resolv.conf", b""),
    ]
    for deb in layer.debs:
        with open_deb(files[deb.artifact.sha256]) as package:
            check_package(deb, package)
            found = {member.path: member.data for member in package.members() if member.kind == "file"}
        entries += _authorities(found) if deb.name == "ca-certificates" else _init(found)
    return entries


def _init(files: Mapping[bytes, bytes]) -> Iterator[Entry]:
    """The first process: linked statically, so that it runs on any image."""
    program = files.get(b"usr/bin/tini-static")
    if program is None:
        raise RemoteError("the package tini has no static program", code="bad-deb")
    yield tar.file(recipe.BASE_INIT, program, executable=True)
    yield tar.file(_LICENCE, files.get(b"usr/share/doc/tini/copyright", b""))


def _authorities(files: Mapping[bytes, bytes]) -> Iterator[Entry]:
    certificates = [
        content
        for path, content in sorted(files.items())
        if path.startswith(CERTIFICATES) and path.endswith(b".crt")
    ]
    yield tar.file(recipe.BASE_CERTIFICATES, certificate_bundle(certificates))


def with_user(passwd: str, shell: str) -> str:
    """The text of passwd(5) with the image's user, who is found first under his number.

    >>> with_user("root:x:0:0::/:/bin/sh\\nubuntu:x:1000:1000::/:/bin/sh\\n", "/bin/sh").splitlines()
    ['root:x:0:0::/:/bin/sh', 'jovyan:*:1000:100::/home/jovyan:/bin/sh', 'ubuntu:x:1000:1000::/:/bin/sh']
    """
    own = f"{recipe.USER_NAME}:*:{recipe.UID}:{recipe.GID}::/{recipe.HOME}:{shell}"
    lines = [line for line in passwd.splitlines() if _field(line, 0) != recipe.USER_NAME]
    same = [number for number, line in enumerate(lines) if _field(line, 2) == str(recipe.UID)]
    lines.insert(same[0] if same else len(lines), own)
    return "".join(f"{line}\n" for line in lines)


def with_group(group: str) -> str:
    """The text of group(5) with a name for the group of the image's user.

    >>> with_group("root:x:0:\\n")
    'root:x:0:\\nusers:x:100:\\n'
    """
    lines = group.splitlines()
    if all(_field(line, 2) != str(recipe.GID) for line in lines):
        taken = any(_field(line, 0) == "users" for line in lines)
        lines.append(f"{recipe.USER_NAME if taken else 'users'}:x:{recipe.GID}:")
    return "".join(f"{line}\n" for line in lines)


def _field(line: str, number: int) -> str:
    return (line.split(":") + [""] * 3)[number]
