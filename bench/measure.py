"""How seconds, bytes and memory are measured."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Memory", "drop_page_cache", "memory_of", "seconds", "stored_bytes"]

_SAMPLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Memory:
    """Peaks in bytes: ``largest`` resident size of any one process, ``tree`` of all of them at one moment.

    In ``tree`` a page that several processes share counts once (proportional set sizes).
    """

    largest: int
    tree: int


def seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Wall-clock seconds of a command.

    Raises:
        SystemExit: it failed; the message has its output.
    """
    started = time.perf_counter()
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    elapsed = time.perf_counter() - started
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-4000:]}")
    return elapsed


def memory_of(command: Sequence[str], environment: Mapping[str, str], daemons: Sequence[int]) -> Memory:
    """Peak memory of a command with all its descendants, and of the daemons that work for it with theirs."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    largest = tree = 0
    while process.poll() is None:
        family = set(_descendants({process.pid, *daemons}))
        largest = max([largest, *(_field(pid, "status", "VmHWM") for pid in family)])
        tree = max(tree, sum(_field(pid, "smaps_rollup", "Pss") for pid in family))
        time.sleep(_SAMPLE_SECONDS)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return Memory(largest, tree)


def stored_bytes(directory: Path) -> int:
    """Size of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def drop_page_cache() -> None:
    """Make the kernel forget file contents, as on a machine that has just pulled an image. Needs root."""
    subprocess.run(["sync"], check=True)
    Path("/proc/sys/vm/drop_caches").write_text("3")


def _descendants(roots: set[int]) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                status = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parent = int(status.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    waiting = [*roots]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


def _field(pid: int, file: str, name: str) -> int:
    """A size in kB from one of a process's files, in bytes; 0 when the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)
