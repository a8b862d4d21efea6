"""The step that installs Debian packages, and what to say when it fails."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from envbuild.apt.order import Needs, essential, groups
from envbuild.apt.tidy import tidied
from envbuild.engine.model import Mount
from envbuild.errors import RemoteError, RepoError
from envbuild.image.model import Image
from envbuild.layers import AptLayer
from envbuild.lock.model import Deb
from envbuild.pack import tar
from envbuild.pack.deb import Member, merge_usr, open_deb
from envbuild.pack.rootfs import DROPPED, is_kept
from envbuild.pack.tar import Entry
from envbuild.sandbox.model import Outcome, Step
from envbuild.sandbox.steps import StepLayers, Stepped
from envbuild.source.log import last_lines

__all__ = ["install"]

_FILE: Final = "apt.txt"
_PLACE: Final = "/run/envbuild-debs"
_POLICY: Final = "/usr/sbin/policy-rc.d"

_ENVIRONMENT: Final = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "DEBCONF_NOWARNINGS": "yes",
    # Not the environment's programs, which come above this layer.
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "FORCE_SOURCE_DATE": "1",  # TeX's formats follow SOURCE_DATE_EPOCH only with this
}
_OPTIONS: Final = (
    # The layer is thrown away when anything goes wrong, so nothing has to be on the disk in between.
    "--force-unsafe-io",
    # Nobody is there to be asked about configuration files: the package's own.
    "--force-confdef",
    "--force-confnew",
    "--no-pager",
    # As in the base (pack/rootfs.py).
    *(f"--path-exclude=/{path.decode()}*" for path in DROPPED),
    "--path-exclude=/usr/share/doc/*",
    "--path-include=/usr/share/doc/*/copyright",
)
# Services are not started (/usr/share/doc/init-system-helpers/README.policy-rc.d).
_REFUSE: Final = "#!/bin/sh\nexit 101\n"
_ERROR = re.compile(
    r"^dpkg: error processing (?:package|archive) (\S+?)(?:\.deb)?(?::\w+)? \(--\w+\):\n (.*)$",
    re.MULTILINE,
)


def install(layer: AptLayer, files: Mapping[str, Path], image: Image, steps: StepLayers) -> Stepped:
    """The layer of what installing ``layer``'s packages changes in ``image``, the base's.

    Parameters:
        files: where the packages are, by sha256.

    Raises:
        RepoError: a package cannot be installed; its name and the end of what was said are in the error.
        RemoteError: a package is damaged.
        MachineError: see :meth:`StepLayers.layer`.
    """
    log = steps.store.logs / f"apt-{layer.key[:16]}.log"
    log.unlink(missing_ok=True)
    with steps.store.temporary_directory() as scratch:
        _lay_out(scratch, layer.debs, files, has_dpkg=layer.has_dpkg)
        step = Step(
            title=_FILE,
            argv=("/bin/sh", f"{_PLACE}/install.sh", *_OPTIONS),
            output=log,
            env=_ENVIRONMENT,
            workdir="/",
            user="root",
            mounts=(Mount(scratch / "debs", _PLACE), Mount(scratch / "policy-rc.d", _POLICY)),
            limits=steps.limits,
        )
        return steps.layer(image, step, layer.key, lambda outcome: _failure(outcome, log), _FILE, tidied)


def _lay_out(scratch: Path, debs: Sequence[Deb], files: Mapping[str, Path], *, has_dpkg: bool) -> None:
    """Make what the step gets to see: the packages, the script, and its plan."""
    directory = scratch / "debs"
    directory.mkdir(mode=0o755)
    policy = scratch / "policy-rc.d"
    policy.write_text(_REFUSE)
    policy.chmod(0o755)
    shutil.copyfile(Path(__file__).with_name("install.sh"), directory / "install.sh")
    needs = {}
    names = {}
    for deb in debs:
        place = names[deb.name] = directory / f"{deb.name}.deb"
        _link(files[deb.artifact.sha256], place)
        with open_deb(place) as package:
            if (package.control.get("Package"), package.control.get("Version")) != (deb.name, deb.version):
                raise RemoteError(
                    f"{deb.artifact.filename} is not the package {deb.name} {deb.version}", code="bad-deb"
                )
            needs[deb.name] = Needs.of(package.control)
    lines = []
    for group in groups(needs):
        lines.append(f"unpack {' '.join(names[name].name for name in group)}\n")
        lines.append(f"configure {' '.join(group)}\n")
    (directory / "plan").write_text("".join(lines))
    first = _entries(names[name] for name in (() if has_dpkg else essential(needs)))
    with (directory / "first.tar").open("wb") as stream:
        tar.write_tar(tar.complete(first), stream)


def _link(source: Path, place: Path) -> None:
    try:
        os.link(source, place)
    except OSError:  # another file system, or one that knows no links
        shutil.copyfile(source, place)


def _entries(packages: Iterator[Path]) -> Iterator[Entry]:
    """The files of some packages, as they are on a system with merged ``/usr``."""
    known: dict[bytes, Entry] = {}
    for path in packages:
        with open_deb(path) as package:
            for member in package.members():
                if member.kind != "dir" and is_kept(member):
                    entry = _entry(member, known)
                    known[entry.path] = entry
    yield from known.values()


def _entry(member: Member, known: Mapping[bytes, Entry]) -> Entry:
    path = merge_usr(member.path)
    if member.kind == "symlink":
        return tar.symlink(path, member.target)
    if member.kind == "hardlink":
        original = known.get(merge_usr(member.target))
        if original is None:
            raise RemoteError(f"a package has a hard link to nothing: {path!r}", code="bad-deb")
        return tar.file(path, original.content, size=original.size, mode=original.mode)
    return tar.file(path, member.data, executable=bool(member.mode & 0o111))


def _failure(outcome: Outcome, log: Path) -> RepoError:
    said = last_lines(log)
    remedy = f"leave the package out; all that was said is in {log}"
    found = _ERROR.search(log.read_text("utf-8", "replace")[-1_000_000:])
    if outcome.exceeded:
        message = f"installing the Debian packages used {outcome.exceeded}"
        remedy = f"give it more with --step-timeout or --step-memory; all that was said is in {log}"
    elif found is not None:
        message = f"the Debian package `{found[1]}` cannot be installed in a container: {found[2]}"
    else:
        message = f"installing the Debian packages failed with exit code {outcome.code}"
    return RepoError(message, code="apt-failed", file=_FILE, remedy=remedy, detail=said or None)
