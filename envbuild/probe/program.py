"""Has a Jupyter server and its kernel work, and tells when each has.

In a pod the text of this file is given to the image's own ``python3 -c`` together with that of
:mod:`envbuild.conformance.program` (:mod:`envbuild.probe.pod`): it needs Python 3.7 or newer, and imports
nothing else of envbuild.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from envbuild.conformance.program import Server, WebSocket, added

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_KERNEL_SECONDS = 300
_POLL_SECONDS = 0.02
_MODULE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
FAILURES = (OSError, http.client.HTTPException, ValueError, KeyError, TypeError)

# Which modules distributions have is asked before the clock of the imports runs; how many is the answer.
_FIND = """\
import importlib.metadata as _m, json as _j, re as _r
_wanted = set(_j.loads({wanted!r}))
_name = lambda text: _r.sub(r"[-_.]+", "-", text).lower()
_modules = sorted(
    module for module, names in _m.packages_distributions().items()
    if not module.startswith("_") and _wanted & set(map(_name, names))
)
print(len(_modules))
"""
_IMPORT = """\
import importlib as _i
for _module in _modules:
    try:
        _i.import_module(_module)
    except Exception:
        print(_module)
"""


def work(
    port: int, token: str, packages: Sequence[str], seconds: float, ended: Callable[[], int | None]
) -> Iterator[dict[str, Any]]:
    """Yield ``{"phase": "server"}`` when the server answers, ``{"phase": "kernel"}`` when its default kernel
    has added, and, if there was something to import, ``imports`` with its ``seconds`` and what is ``broken``.

    Parameters:
        packages: normalized names of distributions, whose modules are imported.
        seconds: how long the server may take.
        ended: the exit code of the server, None while it runs.

    Raises:
        One of :data:`FAILURES`: something does not start.
    """
    server = Server([port], "/", token)
    deadline = time.monotonic() + seconds
    while server.status("api/status") != 200:
        code = ended()
        if code is not None:
            raise ValueError(f"the server ended with exit code {code}")
        if time.monotonic() > deadline:
            raise ValueError(f"the server did not answer within {seconds:.0f} seconds")
        time.sleep(_POLL_SECONDS)
    yield {"phase": "server"}
    listed = json.loads(server.ask("GET", "api/kernelspecs")[1])
    name = listed["default"]
    python = str(listed["kernelspecs"][name]["spec"].get("language", "")).lower() == "python"
    status, text = server.ask("POST", "api/kernels", {"name": name})
    if status != 201:
        raise ValueError(f"the server does not start a kernel ({status})")
    path = "/api/kernels/{}/channels".format(json.loads(text)["id"])
    deadline = time.monotonic() + _KERNEL_SECONDS
    with contextlib.closing(WebSocket(port, path, token, deadline)) as channel:
        said = added(channel, "1+1")
        if python and said != "2":
            raise ValueError(f"the kernel says that 1+1 is {said!r}")
        yield {"phase": "kernel"}
        found = (
            added(channel, _FIND.format(wanted=json.dumps(sorted(packages)))) if python and packages else ""
        )
        if not found.isdecimal() or found == "0":
            return
        clock = time.monotonic()
        broken = added(channel, _IMPORT)
        spent = time.monotonic() - clock
    yield {
        "phase": "imports",
        "seconds": spent,
        "broken": [one for one in broken.split() if _MODULE.fullmatch(one)],
    }


def main(request: dict[str, Any]) -> int:
    """Start the server ``argv`` and print what :func:`work` yields, a line of JSON each, or ``error``.

    ``after`` is how long it took since the program began.
    """
    began = time.monotonic()
    environment = dict(os.environ, JUPYTER_TOKEN=request["token"], JUPYTER_PORT=str(request["port"]))
    with subprocess.Popen(request["argv"], env=environment, stdout=sys.stderr) as process:
        try:
            for event in work(
                request["port"], request["token"], request["packages"], request["seconds"], process.poll
            ):
                print(json.dumps(dict(event, after=time.monotonic() - began)), flush=True)
            return 0
        except FAILURES as error:
            print(json.dumps({"error": (str(error) or type(error).__name__)[:300]}), flush=True)
            return 1
        finally:
            process.kill()


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
