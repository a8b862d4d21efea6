"""A conda channel on 127.0.0.1, open or guarded, for tests that must not need a network.

::

    with ChannelServer(make_channel(tmp_path / "demo", demo_packages())) as server:
        server.url  # http://127.0.0.1:PORT/demo
"""

from __future__ import annotations

import base64
import functools
import http.server
import json
import threading
from pathlib import Path
from types import TracebackType

from tests.support.conda import PLACEHOLDER, CondaFile, File, make_conda

__all__ = ["ChannelServer", "demo_packages", "install_packages"]

_LINUX = ("linux-64", "linux-aarch64")


def demo_packages() -> list[CondaFile]:
    """Tiny packages that have everything packages can have, for both platforms.

    ``python`` (3.11.9, 3.12.4 and 3.13.5) is a shell script; ``needs-new-glibc`` 1.0 and 2.0 want a C library
    from 2.17 and 2.99 on, ``needs-cuda`` a driver; ``impossible`` wants what contradicts ``library``.
    """
    everywhere = [
        make_conda("pip", "24.0", noarch="python", depends=["python >=3.8"], entry_points=["pip = pip:main"]),
        make_conda("ipykernel", "6.29.5", noarch="python", depends=["python >=3.8", "tornado >=6"]),
        make_conda(
            "pure",
            "1.0",
            build="pyh0_0",
            noarch="python",
            depends=["python >=3.8"],
            files={
                "site-packages/pure/__init__.py": b"def main():\n    print('pure')\n",
                "site-packages/pure-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: pure\n",
                "python-scripts/pure-script": File(b"#!/usr/bin/env python\nimport pure\n", executable=True),
            },
            entry_points=["pure = pure:main"],
        ),
        make_conda("fonts", "2024.1", noarch="generic", files={"share/fonts/a.ttf": b"\0\1\0\0"}),
        make_conda("renamed", "3.0", noarch="python", depends=["python"], purls=["pkg:pypi/other-name"]),
    ]
    return everywhere + [package for subdir in _LINUX for package in _packages_of(subdir)]


def _packages_of(subdir: str) -> list[CondaFile]:
    make = functools.partial(make_conda, subdir=subdir)
    pythons = [_python(version, subdir) for version in ("3.11.9", "3.12.4", "3.13.5")]
    libraries = [
        make(
            "library",
            version,
            files={
                f"lib/libdemo.so.{version}": b"\x7fELF" + version.encode(),
                "lib/libdemo.so": File(target=f"libdemo.so.{version}"),
            },
        )
        for version in ("1.0", "1.1", "2.0")
    ]
    binary = b"\x7fELF\0" + PLACEHOLDER.encode() + b"/share/program\0rest\0"
    text = f"#!{PLACEHOLDER}/bin/python\n# below {PLACEHOLDER}/share\n".encode()
    command = [f"{PLACEHOLDER}/bin/demo-kernel", "-f", "{connection_file}"]
    kernel = json.dumps({"argv": command, "display_name": "Demo", "language": "demo"})
    return [
        *pythons,
        *libraries,
        make("_demo_mutex", "0.1", build="main"),
        make("tornado", "6.4", build="py311_0", depends=["python"]),
        make("old-format", "1.0", tar_bz2=True, depends=["_demo_mutex"]),
        make("dependent", "1.0", depends=["library >=1,<2"]),
        make("impossible", "1.0", depends=["dependent", "library >=2"]),
        make("needs-new-glibc", "1.0", depends=["__glibc >=2.17"]),
        make("needs-new-glibc", "2.0", depends=["__glibc >=2.99"]),
        make("needs-cuda", "1.0", depends=["__cuda >=12"]),
        make("recent", "1.0", timestamp=1_700_000_000),
        make("recent", "2.0", timestamp=1_790_000_000),
        make(
            "program",
            "1.0",
            depends=["library"],
            files={
                "bin/program": File(binary, executable=True, placeholder="binary"),
                "bin/wrapper": File(text, executable=True, placeholder="text"),
                "share/program/settings.ini": File(f"root={PLACEHOLDER}\n".encode(), placeholder="text"),
            },
        ),
        make(
            "scripted",
            "1.0",
            files={
                "bin/.scripted-post-link.sh": File(b"touch $PREFIX/was-linked\n", executable=True),
                "etc/conda/activate.d/scripted.sh": b"export SCRIPTED=1\n",
                "etc/conda/deactivate.d/scripted.sh": b"unset SCRIPTED\n",
            },
        ),
        make(
            "demo-kernel",
            "1.0",
            files={
                "bin/demo-kernel": File(b"#!/bin/sh\nexit 0\n", executable=True),
                "share/jupyter/kernels/demo/kernel.json": File(kernel.encode(), placeholder="text"),
            },
        ),
    ]


def _python(version: str, subdir: str) -> CondaFile:
    minor = version.rpartition(".")[0]
    return make_conda(
        "python",
        version,
        build="0_cpython",
        subdir=subdir,
        depends=["__glibc >=2.17"],
        files={
            f"bin/python{minor}": File(b"#!/bin/sh\necho not really\n", executable=True),
            "bin/python3": File(target=f"python{minor}"),
            "bin/python": File(target=f"python{minor}"),
            f"lib/python{minor}/os.py": b"",
        },
    )


async def install_packages(url: str, specs: list[str], subdir: str, scratch: Path) -> None:
    """Install ``specs`` from the channel at ``url`` into ``scratch/prefix``, with rattler; runs nothing."""
    from rattler import (
        BuildString,
        Channel,
        Gateway,
        GenericVirtualPackage,
        PackageName,
        Subdir,
        Version,
        install,
        solve,
    )

    glibc = GenericVirtualPackage(PackageName("__glibc"), Version("2.36"), BuildString("0"))
    records = await solve(
        [Channel(url)],
        specs,
        gateway=Gateway(cache_dir=scratch / "gateway"),
        platforms=[Subdir(subdir), Subdir("noarch")],
        virtual_packages=[glibc],
    )
    await install(
        records,
        scratch / "prefix",
        cache_dir=scratch / "packages",
        platform=Subdir(subdir),
        execute_link_scripts=False,
    )


class ChannelServer:
    """A channel's directory over http, as a context manager.

    Parameters:
        credentials: user and password that every request must bring.
        token: a token that every request must have in front of its path (``/t/<token>/...``).

    Attributes:
        requests: the path of every request that was answered with a file, in order.
    """

    def __init__(
        self, directory: Path, *, credentials: tuple[str, str] | None = None, token: str | None = None
    ) -> None:
        self.directory = directory
        self.requests: list[str] = []
        self._expected = None
        if credentials is not None:
            self._expected = "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
        self._prefix = f"/t/{token}" if token else ""
        channel = self

        class Handler(_Handler):
            server_of = channel

        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, directory=str(directory.parent))
        )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def base(self) -> str:
        """``http://127.0.0.1:PORT``, which the channel's name follows."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """The channel's address, without credentials."""
        return f"{self.base}/{self.directory.name}"

    def local_path(self, path: str, authorization: str | None) -> str | None:
        """The part of a request's path below the channel's parent, None when it must not be answered."""
        if self._expected is not None and authorization != self._expected:
            return None
        return path.removeprefix(self._prefix) if path.startswith(self._prefix + "/") else None

    def __enter__(self) -> ChannelServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    server_of: ChannelServer
    protocol_version = "HTTP/1.1"

    def send_head(self):  # type: ignore[no-untyped-def]  # an open file or None
        path = self.server_of.local_path(self.path, self.headers.get("Authorization"))
        if path is None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        self.path = path
        self.server_of.requests.append(path)
        return super().send_head()

    def log_message(self, format: str, *arguments: object) -> None:
        pass
