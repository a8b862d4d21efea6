"""What has to be installed for some Debian packages, on top of a base: answered by apt itself.

apt gets a root of its own, in which nothing is installed, nothing of the host is configured and nothing can
be fetched: the lists are Debian's verified indexes, and one more that holds the base's packages. It only
simulates; what it names is looked up in the verified indexes again.
"""

from __future__ import annotations

import difflib
import lzma
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from envbuild.base.debian import Index
from envbuild.base.resolve import Catalog
from envbuild.errors import MachineError, RepoError
from envbuild.lock.model import Deb
from envbuild.source.text import printable
from envbuild.spec.model import AptPackage

__all__ = ["AptRequest", "base_paragraphs", "solve"]

# Maintainer scripts may call these without saying so: packages marked Essential (which the catalog knows),
# dpkg's own tools for them, and the promise that /usr is merged, which a base keeps.
_ALWAYS = ("debconf", "dpkg", "usr-is-merged")

_TIMEOUT_SECONDS = 300
# With the version in brackets that an upgrade replaces.
_INSTALLED = re.compile(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", re.MULTILINE)
_UNMET = re.compile(r"^(?:The following packages have unmet dependencies:\n)((?: .*\n)+)", re.MULTILINE)
_LONGEST_REASON = 4000
_CLOSE_NAMES = 3
_BLOCK = 1 << 20

# apt asks the program that would fetch what it can do, even when it fetches nothing.
_METHOD = """#!/bin/sh
printf '100 Capabilities\\nVersion: 1.2\\nSingle-Instance: true\\n\\n'
cat >/dev/null
"""

_CONFIGURATION = """\
Dir "{root}";
Dir::State "{root}/state";
Dir::State::lists "{root}/lists";
Dir::State::status "{root}/status";
Dir::State::extended_states "{root}/state/extended_states";
Dir::Cache "{root}/cache";
Dir::Cache::archives "{root}/cache/archives";
Dir::Etc "{root}/etc";
Dir::Etc::sourcelist "{root}/etc/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "{root}/etc/preferences";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "/dev/null";
Dir::Log "{root}/log";
Dir::Bin::dpkg "/bin/false";
Dir::Bin::methods "{root}/methods/";
Dir::Bin::planners "{root}/none";
Dir::Bin::solvers "{root}/none";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Get::Assume-Yes "true";
APT::Get::Remove "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Debug::NoLocking "true";
"""


@dataclass(frozen=True, slots=True)
class AptRequest:
    """What is asked of apt.

    ``base`` are the packages that are there and stay as they are. ``preferred`` are versions by name to stay
    with where Debian still has them. ``status`` is the text of dpkg's status file where dpkg administers what
    is there; then packages that are there may be upgraded.
    """

    suite: str
    architecture: str
    base: tuple[Deb, ...]
    asked: tuple[AptPackage, ...]
    preferred: Mapping[str, str]
    status: str = ""


def base_paragraphs(catalog: Catalog, base: Sequence[Deb]) -> list[bytes] | None:
    """The base's packages as ``catalog`` lists them, None when it no longer has one of them."""
    found = []
    for deb in base:
        same = [
            paragraph
            for package, paragraph in catalog.listed(deb.name)
            if package.deb.artifact.sha256 == deb.artifact.sha256 and package.deb.version == deb.version
        ]
        if not same:
            return None
        found.append(same[0])
    return found


def solve(
    request: AptRequest, catalog: Catalog, indexes: Sequence[Index], *, apt: Sequence[str], scratch: Path
) -> tuple[Deb, ...]:
    """The packages to install for ``request``, without the base's, sorted by name.

    Parameters:
        catalog: what ``indexes`` hold; it has all of the base's packages.
        apt: how to start apt-get.
        scratch: an empty directory.

    Raises:
        RepoError: a package does not exist, or they cannot be had together; with file, line and apt's reason.
        MachineError: apt does not run here.
    """
    for package in request.asked:
        _check_exists(package, catalog, request.suite)
    paragraphs = base_paragraphs(catalog, request.base)
    assert paragraphs is not None, "the caller chose indexes that have the base"
    configuration = _lay_out(scratch, request, paragraphs, indexes)
    names = [f"{deb.name}={deb.version}" for deb in request.base]
    if not request.status:
        names += sorted(catalog.essential.union(_ALWAYS).intersection(catalog.names()))
    names += [f"{one.name}={one.version}" if one.version else one.name for one in request.asked]
    output = _run([*apt, "install", "--simulate", "--quiet", *names], configuration, request)
    there = {deb.name for deb in request.base}
    chosen = [_find(name, version, catalog) for name, version in _INSTALLED.findall(output)]
    return tuple(sorted(_marked([deb for deb in chosen if deb.name not in there], request, catalog)))


def _check_exists(package: AptPackage, catalog: Catalog, suite: str) -> None:
    """Refuse what apt would take for a pattern, or answer with more than one line."""
    listed = catalog.listed(package.name)
    providers = catalog.providers(package.name)
    if not listed and len(providers) == 1 and package.version is None:
        return  # as with apt, the only one that provides it is meant
    if not listed and providers:
        shown = ", ".join(providers[:8]) + (" and others" if len(providers) > 8 else "")
        raise RepoError(
            f"`{package.name}` is a virtual package in Debian `{suite}`: {shown} provide it",
            code="apt-virtual",
            file=package.file,
            line=package.line,
            remedy="name the one to install",
        )
    if not listed:
        close = difflib.get_close_matches(package.name, catalog.names(), _CLOSE_NAMES)
        raise RepoError(
            f"Debian `{suite}` has no package `{package.name}`"
            + (f"; there is {', '.join(close)}" if close else ""),
            code="apt-unknown",
            file=package.file,
            line=package.line,
            remedy=f"look it up in Debian `{suite}`: names differ between releases",
        )
    versions = sorted({found.deb.version for found, _ in listed})
    if package.version is not None and package.version not in versions:
        raise RepoError(
            f"Debian `{suite}` has `{package.name}` {' and '.join(versions)}, not {package.version}",
            code="apt-unknown-version",
            file=package.file,
            line=package.line,
            remedy="leave the version out: the lock pins the one that there is",
        )


def _lay_out(root: Path, request: AptRequest, base: Sequence[bytes], indexes: Sequence[Index]) -> Path:
    """Make the root that apt works in; returns its configuration file."""
    for name in ("etc", "lists/partial", "state", "cache/archives/partial", "log", "methods"):
        (root / name).mkdir(parents=True)
    (root / "status").write_text(request.status)
    architecture = request.architecture
    (root / f"lists/base_dists_base_main_binary-{architecture}_Packages").write_bytes(
        b"".join(paragraph + b"\n\n" for paragraph in base)
    )
    places = [("base", "base")]
    for index in indexes:
        name = f"{index.source}_dists_{index.suite}_main_binary-{architecture}_Packages"
        # Unpacked: apt jumps about in it, and would unpack it anew each time.
        with lzma.open(index.path) as packed, (root / "lists" / name).open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked, _BLOCK)
        places.append((index.source, index.suite))
    # The hosts are names and nothing more: nothing is fetched.
    lines = [f"deb [trusted=yes arch={architecture}] http://{host}/ {suite} main\n" for host, suite in places]
    (root / "etc/sources.list").write_text("".join(lines))
    pins = ["Package: *\nPin: origin base\nPin-Priority: 1002\n"]
    pins += [
        f"Package: {name}\nPin: version {version}\nPin-Priority: 1001\n"
        for name, version in sorted(request.preferred.items())
    ]
    (root / "etc/preferences").write_text("\n".join(pins))
    method = root / "methods/http"
    method.write_text(_METHOD)
    method.chmod(0o755)
    configuration = root / "apt.conf"
    configuration.write_text(_CONFIGURATION.format(root=root, architecture=architecture))
    return configuration


def _run(argv: Sequence[str], configuration: Path, request: AptRequest) -> str:
    try:
        result = subprocess.run(
            argv,
            env={"APT_CONFIG": str(configuration), "LC_ALL": "C", "PATH": "/usr/bin:/bin"},
            cwd=configuration.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineError(
            f"apt, which resolves apt.txt, does not run on this machine: {error}", code="apt-failed"
        ) from error
    if result.returncode == 0:
        return result.stdout
    unmet = _UNMET.search(result.stdout)
    if unmet is None:
        raise MachineError(
            "apt, which resolves apt.txt, failed on this machine",
            code="apt-failed",
            remedy="run `envbuild doctor`; a cache directory on a `noexec` file system is the usual reason",
            detail=_printable_lines(result.stderr or result.stdout),
        )
    reason = _printable_lines(unmet[1])
    blamed = next((one for one in request.asked if re.search(rf"\b{re.escape(one.name)} ", reason)), None)
    place = blamed or request.asked[0]
    raise RepoError(
        f"these packages cannot be installed on the base, Debian `{request.suite}` ({request.architecture})",
        code="apt-unsatisfied",
        file=place.file,
        line=place.line,
        remedy="leave one of the packages out; if one needs newer packages of the base,"
        " run `envbuild lock --upgrade-base`",
        detail=reason,
    )


def _printable_lines(text: str) -> str:
    return "\n".join(map(printable, text[-_LONGEST_REASON:].strip("\n").splitlines()))


def _find(name: str, version: str, catalog: Catalog) -> Deb:
    """The package that apt named, as the verified index has it."""
    for package, _ in catalog.listed(name.partition(":")[0]):
        if package.deb.version == version:
            return package.deb
    raise MachineError(f"apt chose {name} {version}, which Debian's index does not have", code="apt-failed")


def _marked(debs: Sequence[Deb], request: AptRequest, catalog: Catalog) -> list[Deb]:
    """``debs`` with those marked that were asked for, by name or by what they provide."""
    asked = {package.name for package in request.asked}
    for name in sorted(asked - {deb.name for deb in debs}):
        asked.update(catalog.providers(name))
    return [replace(deb, direct=deb.name in asked) for deb in debs]
