"""Records of data archives (Zenodo, Figshare, Dataverse, HydroShare, CKAN, Software Heritage).

repo2docker knows how to get them; what it makes is not trusted (:mod:`envbuild.source._record_worker`), but
looked through and copied.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from envbuild.certificates import authorities
from envbuild.errors import EnvbuildError, RemoteError, RepoError, UsageError
from envbuild.source.address import RecordSource
from envbuild.source.repo import Repo
from envbuild.source.text import clean, printable

__all__ = ["Record", "fetch_record"]

_SECONDS = 3600.0
_POLL_SECONDS = 0.5
_MOST_BYTES = 20 * 10**9
_PASSED_ON = frozenset(
    {
        *("HOME", "NETRC", "PATH", "R2D_DATAVERSE_INSTALLATIONS_URL", "SSL_CERT_DIR", "SSL_CERT_FILE"),
        *("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
        *("all_proxy", "https_proxy", "http_proxy", "no_proxy"),
    }
)


@dataclass(frozen=True, slots=True)
class Record:
    """A record's ``url`` and ``revision`` (its version, in the archive's own words)."""

    url: str
    revision: str


def fetch_record(source: RecordSource, scratch: Path, environment: Mapping[str, str]) -> Record:
    """Put the files of ``source`` into ``scratch/files``; ``scratch`` is an empty directory.

    Raises:
        UsageError: it is of no kind that can be fetched.
        RemoteError: an archive cannot be reached or does not have it.
        RepoError: it has files that cannot be used.
    """
    variables = {name: value for name, value in environment.items() if name in _PASSED_ON}
    bundle = authorities(environment)
    if bundle is not None:
        variables["REQUESTS_CA_BUNDLE"] = str(bundle)
    variables |= {"LC_ALL": "C.UTF-8", "TMPDIR": str(scratch)}
    command = [sys.executable, "-I", "-B", "-m", "envbuild.source._record_worker", source.kind, source.text]
    answer = _run([*command, str(scratch)], scratch, variables, source)
    if "problem" in answer:
        raise _error(source, answer)
    _check_files(scratch / "files")
    return Record(clean(answer["url"]), clean(answer["revision"]))


def _run(
    command: list[str], scratch: Path, variables: dict[str, str], source: RecordSource
) -> dict[str, str]:
    process = subprocess.Popen(
        command,
        cwd=scratch,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + _SECONDS
    output = b""
    try:
        while True:
            try:
                output, _ = process.communicate(timeout=_POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline or _size(scratch) > _MOST_BYTES:
                    raise RemoteError(
                        f"{clean(source.text)} takes too long, or is larger than any sane repository",
                        code="repository-too-large",
                        remedy="download what you need of it and give the directory",
                    ) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    try:
        answer = json.loads(output)
        return {str(key): str(value) for key, value in answer.items()}
    except (ValueError, AttributeError):
        return {"problem": "failed", "what": "it ended without an answer"}


def _size(directory: Path) -> int:
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            try:
                total += (Path(place) / name).lstat().st_size
            except OSError:  # gone meanwhile
                continue
    return total


def _error(source: RecordSource, answer: Mapping[str, str]) -> EnvbuildError:
    shown, what = clean(source.text), clean(answer.get("what", ""))
    # Without a request there is a host only in what was asked for.
    host = clean(answer.get("host") or urlsplit(source.text).hostname or "doi.org")
    match answer["problem"]:
        case "unreachable":
            return RemoteError(
                f"{host} cannot be reached",
                code="host-unreachable",
                remedy="check the network and the proxy (HTTPS_PROXY), or download the record yourself and"
                " give the directory",
            )
        case "status":
            return RemoteError(
                f"{host} does not give {shown}: status {what}",
                code="no-such-record",
                remedy="check the address; the record may not be public",
            )
        case "unknown":
            where = f", which is at {what}" if what else ""
            return UsageError(
                f"there is nothing that fetches {shown}{where}",
                code="unknown-record",
                remedy="write the address of a record of Zenodo, Figshare, Dataverse or HydroShare,"
                " or download it and give the directory",
            )
        case "outside":
            return RepoError(
                f"{shown} has a file that would be written outside of its directory",
                code="bad-archive",
                file=printable(what),
                remedy="get the files in another way, and give their directory",
            )
        case _:
            return RemoteError(
                f"{shown} could not be fetched: {what}",
                code="record-failed",
                remedy="try again, or download it and give the directory",
            )


def _check_files(files: Path) -> None:
    """Refuse what cannot be in a repository."""
    repo = Repo(files.resolve())
    for file in repo.files(everything=True):
        if file.kind == "other":
            raise RepoError("this is a pipe, socket or device", code="special-file", file=file.name)
        if file.kind == "symlink":
            try:
                repo.check(os.fsdecode(file.path))
            except RepoError as error:
                if error.code == "outside-repository":
                    raise
