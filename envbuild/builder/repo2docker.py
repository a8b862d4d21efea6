"""repo2docker's buildpacks as a source of build contexts.

repo2docker is used as a library, in a process of its own and in a copy of the repository, for what it knows:
how R, Julia and Nix are installed. The engine is ours (``docker_build.py``).
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from envbuild.builder.context import Context, write_context, write_files
from envbuild.certificates import authorities
from envbuild.errors import MachineError, RemoteError, RepoError
from envbuild.pack import recipe
from envbuild.pack.tar import Entry, complete, file
from envbuild.source.text import clean
from envbuild.store import Store

__all__ = ["repo2docker_context", "version"]

_SECONDS = 300
_NETWORK = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
# What repo2docker takes when nothing is said, and days after which its mirror of CRAN surely has a snapshot.
_R_SERIES = "4.4"
_SNAPSHOT_DELAY = timedelta(days=2)
_MOST_RENV_BYTES = 16 << 20
_R_VERSION = re.compile(r"\d{1,2}\.\d{1,2}\.\d{1,2}")
# repo2docker runs install.R before the repository's files are there and, when that fails, again after.
_RENV = b"""\
install.packages("renv")
renv::restore(lockfile = "%s", library = Sys.getenv("R_LIBS_USER"), prompt = FALSE)
"""


def version() -> str:
    """The installed repo2docker's version: other buildpacks make other images."""
    return importlib.metadata.version("jupyter-repo2docker")


def repo2docker_context(
    files: Sequence[Entry],
    *,
    directory: str,
    platform: str,
    labels: Mapping[str, str],
    store: Store,
    environment: Mapping[str, str],
    scratch: Path,
    base_image: str | None = None,
) -> Context:
    """Let repo2docker write the context for a repository.

    Parameters:
        files: the repository's, with paths relative to its root.
        directory: where its dependency files are: "", "binder" or ".binder".
        environment: the user's variables; proxies and certificates are taken from it.
        scratch: an empty directory for the copy and the archive.
        base_image: the image to build on instead of repo2docker's own.

    Raises:
        RepoError: a buildpack does not accept the repository.
        RemoteError: a server that a buildpack asks cannot be reached.
    """
    copy, raw, archive = scratch / "copy", scratch / "raw.tar", scratch / "context.tar"
    copy.mkdir()
    write_files(with_r_files(files, directory, datetime.now(UTC)), copy)
    arguments = {
        "NB_USER": recipe.USER_NAME,
        "NB_UID": str(recipe.UID),
        "REPO_DIR": f"/{recipe.REPO_DIR}",
    }
    answer = _ask(
        {
            "directory": str(copy),
            "archive": str(raw),
            "platform": platform,
            "labels": dict(labels),
            "arguments": arguments,
            "base_image": base_image,
        },
        store,
        environment,
    )
    if "error" in answer:
        said = clean(answer["error"])
        if answer["remote"]:
            raise RemoteError(
                f"repo2docker cannot reach a server it needs: {said}",
                code="repo2docker-unreachable",
                remedy="check the network and the proxy settings, then try again",
            )
        raise RepoError(
            f"repo2docker does not accept this repository: {answer['kind']}: {said}",
            code="repo2docker-refused",
            remedy="correct what it names; its documentation lists what each file may say",
        )
    _for_plain_builder(raw, archive)
    return Context(archive, "Dockerfile", answer["arguments"])


def with_r_files(files: Sequence[Entry], directory: str, now: datetime) -> list[Entry]:
    """``files`` with what makes repo2docker see an R project where it looks at less than it could.

    ``install.R`` counts there only beside a ``runtime.txt`` that names a snapshot of CRAN, and ``renv.lock``
    not at all: so an ``install.R`` restores it.
    """
    known = {entry.path: entry for entry in files}
    prefix = f"{directory}/".encode() if directory else b""
    install, renv, runtime = (prefix + name for name in (b"install.R", b"renv.lock", b"runtime.txt"))
    if install not in known and renv not in known:
        return list(files)
    added = {}
    if runtime not in known:
        series = _locked_r(known[renv], (prefix + b"renv.lock").decode()) if renv in known else _R_SERIES
        day = (now - _SNAPSHOT_DELAY).date().isoformat()
        added[runtime] = file(runtime, f"r-{series}-{day}\n".encode())
    if renv in known:
        own = b"".join(known[install].chunks()) if install in known else b""
        added[install] = file(install, _RENV % renv + own)
    return complete([*(entry for path, entry in known.items() if path not in added), *added.values()])


def _locked_r(entry: Entry, path: str) -> str:
    """The version of R that a ``renv.lock`` names."""
    if entry.kind != "file" or entry.size > _MOST_RENV_BYTES:
        raise RepoError("this is not a lock of renv", code="bad-renv-lock", file=path)
    try:
        found = json.loads(b"".join(entry.chunks()))["R"]["Version"]
        if not isinstance(found, str) or not _R_VERSION.fullmatch(found):
            raise ValueError("R.Version is not a version")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RepoError(
            f"this is not a lock of renv: {clean(str(error))}",
            code="bad-renv-lock",
            file=path,
            line=getattr(error, "lineno", None),
            remedy="write it again with `renv::snapshot()`",
        ) from error
    return found


def _ask(job: dict[str, Any], store: Store, environment: Mapping[str, str]) -> dict[str, Any]:
    kept = {
        name: value
        for name, value in environment.items()
        if name.upper() in _NETWORK or name in ("PATH", "HOME", "LANG", "TMPDIR")
    }
    if (bundle := authorities(environment)) is not None:
        kept["REQUESTS_CA_BUNDLE"] = str(bundle)
    with store.temporary_directory() as elsewhere:
        try:
            result = subprocess.run(
                # -P: the current directory is no place to import from.
                [sys.executable, "-P", "-m", "envbuild.builder._repo2docker_worker"],
                input=json.dumps(job).encode(),
                cwd=elsewhere,
                env=kept,
                capture_output=True,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise RemoteError(
                f"repo2docker did not finish preparing the build in {_SECONDS} seconds",
                code="repo2docker-unreachable",
                remedy="check the network, then try again",
            ) from error
    try:
        answer: dict[str, Any] = json.loads(result.stdout)
    except ValueError as error:
        raise MachineError(
            f"repo2docker cannot be used: {clean(result.stderr.decode('utf-8', 'replace').strip()[-300:])}",
            code="no-repo2docker",
            remedy="reinstall envbuild: jupyter-repo2docker is one of its dependencies",
        ) from error
    return answer


def _for_plain_builder(raw: Path, archive: Path) -> None:
    """Take out of the context what only BuildKit knows, which Docker's SDK does not speak: ``COPY --chmod``.

    The mode is given to the files themselves instead; and times and owners of this machine's files go.
    """
    with tarfile.open(raw) as source:
        members = source.getmembers()
        script = source.extractfile("Dockerfile")
        assert script is not None
        text = script.read()
        programs = set(re.findall(rb"^COPY --chmod=0755 /?(\S+)", text, re.MULTILINE))
        text = re.sub(rb"^COPY --chmod=0755 ", b"COPY ", text, flags=re.MULTILINE)
        entries = [file(b"Dockerfile", text)]
        for member in members:
            path = member.name.encode("utf-8", "surrogateescape")
            if path == b"Dockerfile":
                continue
            if member.isdir():
                entries.append(Entry(path, "dir", member.mode & 0o777))
            elif member.issym():
                target = member.linkname.encode("utf-8", "surrogateescape")
                entries.append(Entry(path, "symlink", 0o777, target=target))
            elif member.isfile():
                content = source.extractfile(member)
                assert content is not None
                mode = recipe.EXEC_MODE if path in programs else member.mode & 0o777
                entries.append(Entry(path, "file", mode, member.size, content.read()))
    write_context(complete(entries), archive)
