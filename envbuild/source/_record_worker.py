"""Run as a program: repo2docker's content providers, in a directory they cannot write out of.

They take names of files from whoever answers and join them to a path unchecked, unpack archives without a
filter, and write into the current directory. So they run in a process of their own, with a hook that refuses
everything that would change a file elsewhere or start a program.

Arguments: the kind of record (``zenodo``, ...), its DOI, URL or SWHID, and the private directory. Prints one
JSON object: ``revision`` and ``url``, or ``problem`` with ``what`` and ``host``.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_CONNECT_SECONDS = 15.0
_READ_SECONDS = 60.0
# Event of the interpreter -> the positions of its arguments that are paths which it changes.
_WRITES = {
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.link": (0, 1),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.utime": (0,),
}
_PROGRAMS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class _Outside(Exception):
    """Something would have been written outside of the directory."""


class _Unknown(Exception):
    """The record is of no kind that there is a provider for."""


def confine(directory: str) -> None:
    """From now on nothing outside of ``directory`` can be changed by this process, and no program started."""
    inside = os.path.realpath(directory)

    def check(path: Any) -> None:
        if isinstance(path, int):  # an open file, which has been checked
            return
        real = os.path.realpath(os.fsdecode(path))
        if real != inside and not real.startswith(inside + "/") and real != os.devnull:
            raise _Outside(os.fsdecode(path))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _mode, flags = arguments
            if path is not None and flags & _WRITING:
                check(path)
        elif event in _WRITES:
            for position in _WRITES[event]:
                path = arguments[position]
                # What is made or removed is the name, whatever a link of that name points to.
                check(path if isinstance(path, int) else Path(os.fsdecode(path)).parent)
        elif event.startswith(_PROGRAMS):
            raise _Outside(event)

    sys.addaudithook(hook)


def _watch_requests(unreachable: list[str]) -> None:
    """Give requests the time limits that the providers do not; keep the host of the last one that failed."""
    import requests
    from requests.adapters import HTTPAdapter

    send = HTTPAdapter.send

    def watched(self: Any, request: Any, *arguments: Any, **options: Any) -> Any:
        options["timeout"] = options.get("timeout") or (_CONNECT_SECONDS, _READ_SECONDS)
        unreachable.clear()
        try:
            return send(self, request, *arguments, **options)
        except (requests.ConnectionError, requests.Timeout):
            unreachable.append(urlsplit(request.url).hostname or "")
            raise

    HTTPAdapter.send = watched  # type: ignore[method-assign]


def provide(kind: str, text: str, directory: str) -> dict[str, str]:
    """Fetch the record into ``directory``; its address and version."""
    from repo2docker import contentproviders
    from repo2docker.contentproviders.doi import DoiProvider

    from envbuild.source.address import record_kind

    url = text
    if kind == "doi":
        url = DoiProvider().doi2url(text)
        found = record_kind(url) if url != text else None
        if found is None or found in ("doi", "swhid"):
            raise _Unknown(url if url != text else "")
        kind = found
    providers = {
        "zenodo": contentproviders.Zenodo,
        "figshare": contentproviders.Figshare,
        "hydroshare": contentproviders.Hydroshare,
        "dataverse": contentproviders.Dataverse,
        "ckan": contentproviders.CKAN,
        "swhid": contentproviders.Swhid,
    }
    provider = providers[kind]()
    # repo2docker knows no page of the sandbox by https.
    spec = provider.detect(url.removeprefix("ckan+").replace("https://sandbox.", "http://sandbox."))
    if spec is None:
        raise _Unknown(url)
    for _line in provider.fetch(spec, directory, yield_output=True):
        pass
    return {"revision": str(provider.content_id), "url": url}


def _problem(error: BaseException, unreachable: list[str]) -> dict[str, str]:
    response = getattr(error, "response", None)
    if isinstance(error, _Outside):
        return {"problem": "outside", "what": str(error)}
    if isinstance(error, _Unknown):
        return {"problem": "unknown", "what": str(error)}
    if unreachable:  # whatever a provider made of it
        return {"problem": "unreachable", "host": unreachable[0]}
    if response is not None:
        return {
            "problem": "status",
            "what": str(response.status_code),
            "host": urlsplit(response.url).hostname or "",
        }
    return {"problem": "failed", "what": f"{type(error).__name__}: {error}"}


def main() -> None:
    """See the module."""
    kind, text, directory = sys.argv[1:]
    os.chdir(directory)
    files = Path(directory) / "files"
    files.mkdir()
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    unreachable: list[str] = []
    # The providers print; only the answer may be on stdout.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            _watch_requests(unreachable)
            confine(directory)
            answer = provide(kind, text, str(files))
        except Exception as error:
            answer = _problem(error, unreachable)
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
