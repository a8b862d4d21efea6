"""How long the first server and the first kernel of an image take on a node, and what of it is cold caches.

    python -m bench.start /var/tmp/bench [--rounds 5] > start.md

Needs root and Docker's programs; drops this machine's page cache. The image is that of examples/quickstart
(pandas, matplotlib). Three ways to start it, in turn, each in a fresh container:

* *cold*: the page cache was dropped before;
* *cold, read ahead*: the same with an image of the repository after `envbuild trace`, whose entry point reads
  ahead;
* *warm*: right after another start.

With `--read-iops`, `--read-megabytes` or `--read-milliseconds` all of Docker's images are on a slow disk (see
bench/slow_disk.py): the first two are limits for the container (`docker run --device-read-iops` and
`--device-read-bps`), the third is what each read takes longer, Docker's own ones too.

What is measured ends when the server answers, when a kernel has replied to a first cell, and when another
cell has imported pandas and matplotlib and made a figure. *Waiting for the disk* is what Linux says of all
threads of the server and of the kernel (delay accounting, proc(5)), which a busy CPU does not change.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import mmap
import os
import shutil
import stat
import statistics
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from bench.slow_disk import slow_disk
from bench.workspace import PROGRAMS, output_of
from tests.support.servers import docker_daemon, free_port

_EXAMPLE = Path(__file__).parents[1] / "examples" / "quickstart"
_IMAGE = "bench-start:1"
_TRACED = "bench-start:traced"
_TOKEN = {"Authorization": "token bench"}
_SERVER = ("jupyter-lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "--IdentityProvider.token=bench")
_IMPORTS = """\
import pandas, matplotlib.pyplot
pandas.Series([1, 2]).plot()
matplotlib.pyplot.savefig("/tmp/figure.png")
"""
_ACCOUNTING = Path("/proc/sys/kernel/task_delayacct")
_STEPS = ("server answers", "first cell", "pandas and matplotlib")
_BLKIO_TICKS = 39  # of /proc/PID/stat, counted from the state


@dataclass(slots=True)
class Start:
    """Seconds from `docker run` until each of the steps, and those that threads waited for the disk."""

    seconds: list[float] = field(default_factory=list)
    waited: float = 0.0


def main() -> None:
    """Start the image again and again, print a table."""
    parser = argparse.ArgumentParser(description="How long a first start takes.")
    parser.add_argument("directory", type=Path, help="scratch; kept for the next time")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--read-iops", type=int, help="reads a second that a slow disk answers")
    parser.add_argument("--read-megabytes", type=int, help="megabytes a second that it answers")
    parser.add_argument("--read-milliseconds", type=float, help="what each read of it takes longer")
    chosen = parser.parse_args()
    work: Path = chosen.directory.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        sys.exit("needs root, to drop the page cache")
    accounting = _ACCOUNTING.read_text()
    _ACCOUNTING.write_text("1")
    iops, megabytes, milliseconds = chosen.read_iops, chosen.read_megabytes, chosen.read_milliseconds
    try:
        with contextlib.ExitStack() as stack:
            data, limits = None, list[str]()
            if iops or megabytes or milliseconds:
                data, device = stack.enter_context(slow_disk(work, (milliseconds or 0) / 1000))
                limits += [f"--device-read-iops={device}:{iops}"] if iops else []
                limits += [f"--device-read-bps={device}:{megabytes * 1_000_000}"] if megabytes else []
            environment = {**os.environ, "DOCKER_HOST": stack.enter_context(docker_daemon(data=data))}
            report(work, environment, chosen.rounds, limits)
    finally:
        _ACCOUNTING.write_text(accounting)


def report(work: Path, environment: Mapping[str, str], rounds: int, limits: Sequence[str]) -> None:
    """Measure with the daemon that ``environment`` names, and print Markdown.

    Parameters:
        limits: options of ``docker run``.
    """
    build_image(work, environment, _IMAGE)
    listed = build_image(work, environment, _TRACED)
    load = os.getloadavg()[0]
    read = files_of_a_start(environment)
    found: dict[str, list[Start]] = {"cold": [], "cold, read ahead": [], "warm": []}
    for number in range(rounds):
        for way in list(found)[:: -1 if number % 2 else 1]:
            if way == "warm":
                start(environment, limits)
            else:
                drop_page_cache()
            found[way].append(start(environment, limits, _TRACED if way == "cold, read ahead" else _IMAGE))
    loads = f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after"
    megabytes = sum(read.values()) / 1e6
    print(f"{rounds} rounds in turn; {loads}.", end=" ")
    print(f"A start reads {megabytes:.0f} MB of {len(read):,} files; {listed:,} are listed.\n")
    print(f"| medians (all rounds) | {' | '.join(_STEPS)} | waiting for the disk |\n|---|---|---|---|---|")
    for way, starts in found.items():
        columns = [[one.seconds[step] for one in starts] for step in range(len(_STEPS))]
        cells = [_shown(values) for values in (*columns, [one.waited for one in starts])]
        print(f"| {way} | {' | '.join(cells)} |")


def _shown(values: Sequence[float]) -> str:
    each = " · ".join(f"{value:.2f}" for value in values)
    return f"{statistics.median(values):.2f} s ({each})"


def build_image(work: Path, environment: Mapping[str, str], image: str) -> int:
    """Build the example as ``image`` and give it to the daemon; returns how many files it reads ahead."""
    repository = work / image.replace(":", "-")
    if not repository.exists():
        shutil.copytree(_EXAMPLE, repository)
    cache = environment.get("ENVBUILD_CACHE_DIR", str(work / "cache"))
    settings = {**environment, "ENVBUILD_CACHE_DIR": cache}
    program, trace = str(PROGRAMS / "envbuild"), repository / "envbuild.trace"
    if image == _TRACED:
        output_of([program, "trace", str(repository), "--engine", "docker"], settings)
    command = [program, "build", str(repository), "-t", image, "--load", "--engine", "docker"]
    output_of(command, settings)
    return len(trace.read_text().splitlines()) - 1 if trace.exists() else 0


def drop_page_cache() -> None:
    """Forget all that was read of disks."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def files_of_a_start(environment: Mapping[str, str]) -> dict[str, int]:
    """The files of the image that a start reads, and the bytes that are read."""
    drop_page_cache()
    start(environment, ())
    read = dict[str, int]()
    for path, size in files_in_cache(lower_directories(environment)):
        read[path] = max(read.get(path, 0), size)
    return read


def start(environment: Mapping[str, str], limits: Sequence[str], image: str = _IMAGE) -> Start:
    """Start a server, a kernel in it, and run two cells."""
    port, done = free_port(), Start()
    begun = time.perf_counter()
    publish = ("--publish", f"127.0.0.1:{port}:8888")
    container = output_of(["docker", "run", "--detach", *publish, *limits, image, *_SERVER], environment)
    try:
        while not _answers(port):
            time.sleep(0.01)
        done.seconds.append(time.perf_counter() - begun)
        kernel = json.loads(_asked(port, "kernels", b'{"name": "python3"}'))["id"]
        for code in ("1 + 1", _IMPORTS):
            asyncio.run(_run_cell(port, kernel, code))
            done.seconds.append(time.perf_counter() - begun)
        processes = output_of(["docker", "top", container, "-eo", "pid"], environment).split()[1:]
        most = time.perf_counter() - begun
        done.waited = sum(_waited(Path("/proc", process), most) for process in processes)
    finally:
        output_of(["docker", "rm", "--force", container], environment)
    return done


def _answers(port: int) -> bool:
    try:
        _asked(port, "")
    except (OSError, urllib.error.URLError):
        return False
    return True


def _asked(port: int, path: str, data: bytes | None = None) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/{path}".rstrip("/"), data, _TOKEN)
    with urllib.request.urlopen(request, timeout=60) as answer:
        body: bytes = answer.read()
        return body


async def _run_cell(port: int, kernel: str, code: str) -> None:
    """Execute ``code`` through the server, as JupyterLab does, and wait for the reply."""
    url = f"ws://127.0.0.1:{port}/api/kernels/{kernel}/channels"
    channel = await websocket_connect(HTTPRequest(url, headers=_TOKEN))
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "version": "5.3", "date": ""}
    message: dict[str, Any] = {
        "header": {**header, "session": uuid.uuid4().hex, "username": ""},
        "parent_header": {},
        "metadata": {},
        "channel": "shell",
        "content": {"code": code, "silent": False, "store_history": False, "allow_stdin": False},
    }
    await channel.write_message(json.dumps(message))
    while True:
        said = json.loads(await channel.read_message() or "{}")
        if said["msg_type"] == "execute_reply" and said["parent_header"].get("msg_id") == header["msg_id"]:
            break
    channel.close()
    if said["content"]["status"] != "ok":
        sys.exit(f"a cell failed: {said['content']}")


def _waited(process: Path, most: float) -> float:
    """Seconds that the threads of a process have waited for disks; none if it is no Python."""
    try:
        if "python" not in (process / "exe").readlink().name:
            return 0.0
        stats = [(thread / "stat").read_text() for thread in (process / "task").iterdir()]
    except OSError:  # it has ended
        return 0.0
    ticks = [int(text.rpartition(")")[2].split()[_BLKIO_TICKS]) for text in stats]
    seconds = [one / os.sysconf("SC_CLK_TCK") for one in ticks]
    # Now and then Linux counts from its own start.
    return sum(one for one in seconds if one <= most)


def lower_directories(environment: Mapping[str, str]) -> list[Path]:
    """Where the daemon keeps the layers of the image, unpacked."""
    said = output_of(["docker", "image", "inspect", _IMAGE], environment)
    data = json.loads(said)[0]["GraphDriver"]["Data"]
    return [Path(place) for place in [data["UpperDir"], *data.get("LowerDir", "").split(":")] if place]


def files_in_cache(directories: Sequence[Path]) -> Iterator[tuple[str, int]]:
    """The files below ``directories`` of which something is in the page cache, and how many bytes."""
    for directory in directories:
        for path in directory.rglob("*"):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_size:
                pages = pages_in_cache(path, found.st_size)
                if pages:
                    yield f"/{path.relative_to(directory)}", pages * mmap.PAGESIZE


def pages_in_cache(path: Path, size: int) -> int:
    """How many pages of a file are in the page cache (mincore(2))."""
    pages = -(-size // mmap.PAGESIZE)
    states = (ctypes.c_ubyte * pages)()
    with path.open("rb") as stream:
        # Mapping a file reads nothing of it.
        address = _LIBC.mmap(None, size, 0, mmap.MAP_SHARED, stream.fileno(), 0)
        if address == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "cannot map", str(path))
        failed = _LIBC.mincore(address, size, states)
        _LIBC.munmap(address, size)
    if failed:
        raise OSError(ctypes.get_errno(), "cannot look at the page cache", str(path))
    return sum(state & 1 for state in states)


_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
_LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_LIBC.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)


if __name__ == "__main__":
    main()
