"""The operating system layer: Debian packages merged into one tree, and what their scripts would have added.

Nothing is executed. Each thing a maintainer script of an allowed package does and that matters in a container
is in the tables below; a package whose script nobody has looked at is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from envbuild.base.recipe import BaseRecipe
from envbuild.errors import RemoteError, RepoError
from envbuild.lock.model import Deb
from envbuild.pack import recipe as constants
from envbuild.pack import tar
from envbuild.pack.bytecode import cache_path, wants_bytecode
from envbuild.pack.deb import DebFile, Member, merge_usr, open_deb
from envbuild.pack.dpkg import Installed, dpkg_entries, md5
from envbuild.pack.ldcache import ld_so_cache
from envbuild.pack.tar import Entry

__all__ = [
    "CERTIFICATES",
    "DROPPED",
    "HOSTS",
    "LOGIN_PROFILE",
    "Compile",
    "certificate_bundle",
    "check_package",
    "is_kept",
    "os_entries",
]

Compile = Callable[[list[tuple[str, bytes]]], dict[str, bytes]]
"""Bytecode by path, for ``(path in the image, source)`` pairs; without those that do not compile."""

_MERGED_USR = {
    "amd64": (b"bin", b"lib", b"lib64", b"sbin"),
    "arm64": (b"bin", b"lib", b"sbin"),
}

# Not in the image: documentation for people at a terminal, translations, menus of desktops.
DROPPED = tuple(
    b"usr/share/%s/" % name
    for name in (
        b"applications",
        b"bash-completion",
        b"binfmts",
        b"bug",
        b"doc-base",
        b"gcc",
        b"gdb",
        b"info",
        b"lintian",
        b"locale",
        b"man",
        b"menu",
        b"pixmaps",
    )
)
_DROPPED_FILES = frozenset({b"usr/bin/tini-static"})
_DOC = b"usr/share/doc/"

# Directories that packages ship and that are links in a running system (base-files).
_NOT_DIRECTORIES = frozenset({b"var/run", b"var/lock"})

_DIRECTORIES = (
    "boot",
    "dev",
    "etc/opt",
    "media",
    "mnt",
    "opt",
    "proc",
    "root",
    "run/lock",
    "srv",
    "sys",
    "tmp",
    "usr/local/bin",
    "usr/local/etc",
    "usr/local/games",
    "usr/local/include",
    "usr/local/lib",
    "usr/local/sbin",
    "usr/local/share/ca-certificates",
    "usr/local/src",
    "var/mail",
    "var/opt",
    "var/tmp",
    constants.HOME,
)

_LINKS = {
    "etc/dpkg/origins/default": "debian",
    "etc/localtime": "/usr/share/zoneinfo/Etc/UTC",
    # Alternatives, straight to the only candidate: there is no update-alternatives to choose another.
    "usr/bin/awk": "mawk",
    "usr/bin/nawk": "mawk",
    "usr/bin/pager": "less",
    "usr/bin/which": "which.debianutils",
    "usr/sbin/rmt": "rmt-tar",
    "usr/bin/python": "python3",
    # Where OpenSSL looks by itself, so that no program needs SSL_CERT_FILE.
    "usr/lib/ssl/cert.pem": "/etc/ssl/certs/ca-certificates.crt",
    "usr/lib/ssl/certs": "/etc/ssl/certs",
    "var/lock": "/run/lock",
    "var/run": "/run",
    "var/spool/mail": "../mail",
}

# Files that scripts copy from a package's defaults.
_COPIES = {
    "etc/inputrc": "usr/share/readline/inputrc",
    "etc/motd": "usr/share/base-files/motd",
    "etc/nsswitch.conf": "usr/share/libc-bin/nsswitch.conf",
    "etc/profile": "usr/share/base-files/profile",
    "root/.bashrc": "usr/share/base-files/dot.bashrc",
    "root/.profile": "usr/share/base-files/dot.profile",
}

HOSTS = "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\n"
# /etc/profile resets PATH, and terminals of JupyterLab are login shells.
LOGIN_PROFILE = f"PATH=/{constants.ENV_PREFIX}/bin:/{constants.SERVER_PREFIX}/bin:$PATH\nexport PATH\n"

# The engines mount their own hosts, hostname and resolv.conf over these.
_FILES = {
    "etc/hostname": "localhost\n",
    "etc/hosts": HOSTS,
    "etc/networks": "default\t\t0.0.0.0\nloopback\t127.0.0.0\nlink-local\t169.254.0.0\n",
    "etc/resolv.conf": "",
    "etc/timezone": "Etc/UTC\n",
    "etc/profile.d/00-environment.sh": LOGIN_PROFILE,
}

CERTIFICATES = b"usr/share/ca-certificates/"


def os_entries(
    debs: Sequence[tuple[Deb, Path]], recipe: BaseRecipe, *, arch: str, compile: Compile
) -> list[Entry]:
    """The entries of the operating system layer, for :func:`envbuild.pack.tar.complete`.

    Parameters:
        debs: the locked packages and where they are, for one platform.
        arch: Debian's name of the architecture (``amd64``, ``arm64``).
        compile: makes bytecode of the standard library.

    Raises:
        RemoteError: a package is damaged, unsafe, or in conflict with another.
        RepoError: a package has a maintainer script that the recipe does not know.
    """
    tree = _Tree()
    for link in _MERGED_USR[arch]:
        tree.add(tar.symlink(link, b"usr/" + link))
    installed = []
    for deb, path in sorted(debs):
        with open_deb(path) as package:
            check_package(deb, package)
            _check_scripts(deb, package, recipe)
            installed.append(tree.unpack(deb, package))
    for entry in _fixed_entries(tree, recipe):
        tree.add(entry)
    for entry in dpkg_entries(installed):
        tree.add(entry)
    for entry in _bytecode(tree, recipe, compile):
        tree.add(entry)
    cache = ld_so_cache(tar.complete(tree.entries.values()), arch=arch)
    tree.add(tar.file("etc/ld.so.cache", cache))
    return list(tree.entries.values())


def check_package(deb: Deb, package: DebFile) -> None:
    """Raise :class:`RemoteError` unless ``package`` is what ``deb`` says."""
    if package.control.get("Package") != deb.name or package.control.get("Version") != deb.version:
        raise RemoteError(
            f"{deb.artifact.filename} is not the package {deb.name} {deb.version}", code="bad-deb"
        )


def _check_scripts(deb: Deb, package: DebFile, recipe: BaseRecipe) -> None:
    if package.scripts and deb.name not in recipe.scripts:
        raise RepoError(
            f"the package `{deb.name}` {deb.version} wants to run {' and '.join(package.scripts)} when it is"
            f" installed, which the base {recipe.name} does not provide for",
            code="maintainer-script",
            remedy=f"read the script, then add `{deb.name}` to [packages.scripts] of the base's recipe"
            " with what stands in for it",
        )


class _Tree:
    """The files so far, by path."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}

    def add(self, entry: Entry) -> None:
        """Put ``entry`` into the tree.

        Raises:
            RemoteError: something else is there.
        """
        there = self.entries.setdefault(entry.path, entry)
        if there is not entry and there != entry:
            raise RemoteError(
                f"two packages of the base disagree about /{entry.path.decode('utf-8', 'replace')}",
                code="deb-conflict",
                remedy="run `envbuild lock --upgrade-base`",
            )

    def read(self, path: str) -> bytes:
        """The content of a file that some package brought; empty when none did."""
        entry = self.entries.get(path.encode())
        return b"".join(entry.chunks()) if entry is not None else b""

    def below(self, prefix: bytes) -> list[Entry]:
        """The files below ``prefix``, sorted."""
        found = (entry for path, entry in self.entries.items() if path.startswith(prefix))
        return sorted((entry for entry in found if entry.kind == "file"), key=lambda entry: entry.path)

    def unpack(self, deb: Deb, package: DebFile) -> Installed:
        """Add what is kept of ``package``; returns what dpkg's database has to say of it."""
        paths: list[bytes] = []
        digests: dict[bytes, str] = {}
        for member in package.members():
            if _is_merge_link(member):
                paths.append(member.path)  # it is there, and scripts ask whose it is
            if not is_kept(member):
                continue
            entry = self._entry(member)
            self.add(entry)
            paths.append(member.path)
            if entry.kind == "file":
                digests[member.path] = md5(b"".join(entry.chunks()))
        return Installed(
            name=deb.name,
            arch=deb.arch,
            control=package.control_files["control"],
            files=package.control_files,
            paths=paths,
            digests=digests,
            multi_arch_same=package.control.get("Multi-Arch") == "same",
        )

    def _entry(self, member: Member) -> Entry:
        path = merge_usr(member.path)
        match member.kind:
            case "dir":
                return tar.directory(path)
            case "symlink":
                return tar.symlink(path, member.target)
            case "hardlink":
                # A copy: layers have no hard links (docs/adr/0012-tar.md), and packages hardly any.
                original = self.entries.get(merge_usr(member.target))
                if original is None or original.kind != "file":
                    raise RemoteError(
                        f"a package of the base has a hard link to nothing: {path!r}", code="bad-deb"
                    )
                return Entry(path, "file", original.mode, original.size, original.content)
            case "file":
                # Executable or not is all that is kept of the mode: no set-uid, no group's rights.
                return tar.file(path, member.data, executable=bool(member.mode & 0o111))


def _is_merge_link(member: Member) -> bool:
    """Whether this is a link of merged ``/usr``, which base-files ships in newer releases."""
    path = member.path
    return member.kind == "symlink" and merge_usr(path) == b"usr/" + path and b"/" not in path


def is_kept(member: Member) -> bool:
    """Whether a file of a package is wanted in an image."""
    path = member.path
    if _is_merge_link(member):
        return False
    if path in _NOT_DIRECTORIES or path in _DROPPED_FILES or (path + b"/").startswith(DROPPED):
        return False
    if path.startswith(_DOC):
        # The licence of every package stays; a link stands for the folder of another package.
        in_folder = path.count(b"/") > _DOC.count(b"/")
        return path.endswith(b"/copyright") if in_folder else member.kind in ("dir", "symlink")
    return True


def _fixed_entries(tree: _Tree, recipe: BaseRecipe) -> Iterator[Entry]:
    """What maintainer scripts would have made."""
    minor = recipe.python_minor
    yield from map(tar.directory, _DIRECTORIES)
    yield tar.directory(f"usr/local/lib/python{minor}/dist-packages")
    yield from (tar.symlink(path, target) for path, target in _LINKS.items())
    yield tar.symlink("usr/bin/python3", f"python{minor}")
    yield from (tar.file(path, content.encode()) for path, content in _FILES.items())
    yield from (tar.file(path, content) for path, source in _COPIES.items() if (content := tree.read(source)))
    yield tar.file("etc/shells", _shells(tree))
    yield from _accounts(tree)
    yield from _certificates(tree)


def _shells(tree: _Tree) -> bytes:
    """As update-shells(8): every shell, below ``/`` and below ``/usr``."""
    lines = tree.read("usr/share/debianutils/shells").splitlines()
    for entry in tree.below(b"usr/share/debianutils/shells.d/"):
        lines += b"".join(entry.chunks()).splitlines()
    shells = dict.fromkeys(line for line in lines if line.startswith(b"/"))
    both = (path for shell in shells for path in (shell, b"/usr" + shell))
    return b"# /etc/shells: valid login shells\n" + b"".join(path + b"\n" for path in both)


def _accounts(tree: _Tree) -> Iterator[Entry]:
    """Debian's static users and groups, and the user of the image. Nobody has a password."""
    users = tree.read("usr/share/base-passwd/passwd.master").decode().splitlines()
    groups = tree.read("usr/share/base-passwd/group.master").decode().splitlines()
    users.append(f"{constants.USER_NAME}:*:{constants.UID}:{constants.GID}::/{constants.HOME}:/bin/bash")
    yield tar.file("etc/passwd", _lines(line.replace(":*:", ":x:", 1) for line in users))
    yield tar.file("etc/group", _lines(line.replace(":*:", ":x:", 1) for line in groups))
    yield tar.file("etc/shadow", _lines(f"{_name(line)}:*::0:99999:7:::" for line in users), mode=0o600)
    yield tar.file("etc/gshadow", _lines(f"{_name(line)}:*::" for line in groups), mode=0o600)


def _name(line: str) -> str:
    return line.partition(":")[0]


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _certificates(tree: _Tree) -> Iterator[Entry]:
    """As update-ca-certificates(8): the list of certificates, and all of them in one file."""
    found = {
        entry.path: b"".join(entry.chunks())
        for entry in tree.below(CERTIFICATES)
        if entry.path.endswith(b".crt")
    }
    listed = b"".join(path.removeprefix(CERTIFICATES) + b"\n" for path in found)
    yield tar.file("etc/ca-certificates.conf", listed)
    yield tar.file("etc/ssl/certs/ca-certificates.crt", certificate_bundle(found.values()))


def certificate_bundle(certificates: Iterable[bytes]) -> bytes:
    """All ``certificates`` in one file."""
    return b"".join(content if content.endswith(b"\n") else content + b"\n" for content in certificates)


def _bytecode(tree: _Tree, recipe: BaseRecipe, compile: Compile) -> Iterator[Entry]:
    """Bytecode of the standard library, made like that of every other package."""
    sources = [
        (f"/{path}", b"".join(entry.chunks()))
        for entry in tree.below(f"usr/lib/python{recipe.python_minor}/".encode())
        if wants_bytecode(path := entry.path.decode())
    ]
    for path, code in sorted(compile(sources).items()):
        yield tar.file(cache_path(path, recipe.python_minor).removeprefix("/"), code)
