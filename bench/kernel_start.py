"""How long a kernel takes to start: one of this machine, and the same one in its image.

    python -m bench.kernel_start /var/tmp/bench [--engine docker] > kernel_start.md

The local kernel is in a virtual environment with the image's version of ipykernel (``--python`` chooses its
Python; the image's is 3.13). The other is that of examples/quickstart, installed by ``envbuild kernel``.
Both are started by jupyter_client, in turn; what is measured is the time from ``start_kernel`` to the reply
to a first cell. The store is warm: the image is unpacked, and its files are in the page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from bench.workspace import PROGRAMS

_EXAMPLE = Path(__file__).parents[1] / "examples" / "quickstart"
_PATIENCE_SECONDS = 120


def main() -> None:
    """Install both kernels, start them in turn, print a table."""
    parser = argparse.ArgumentParser(description="How long kernels take to start.")
    parser.add_argument("directory", type=Path, help="scratch; kept for the next time")
    parser.add_argument("--engine", default="bubblewrap", help="what runs the image")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--python", default="python3", help="for the local kernel")
    chosen = parser.parse_args()
    work: Path = chosen.directory.resolve()
    work.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    version = install_image_kernel(work, chosen.engine)
    local = install_local_kernel(work, chosen.python, version)
    specs = KernelSpecManager(kernel_dirs=[str(work / "jupyter" / "kernels")], ensure_native_kernel=False)
    names = {f"local, {local}": "local", f"in the image, {chosen.engine}": "quickstart"}
    for name in names.values():
        start_seconds(specs, name, work)  # the page cache
    seconds: dict[str, list[float]] = {title: [] for title in names}
    for number in range(chosen.rounds):
        for title in list(names)[:: -1 if number % 2 else 1]:
            seconds[title].append(start_seconds(specs, names[title], work))
    print(f"ipykernel {version}; {chosen.rounds} rounds in turn; load before: {load:.1f}\n")
    print("| kernel | median | fastest | slowest |\n|---|---|---|---|")
    for title, values in seconds.items():
        print(f"| {title} | {statistics.median(values):.2f} s | {min(values):.2f} s | {max(values):.2f} s |")
    medians = [statistics.median(values) for values in seconds.values()]
    print(f"| difference | {medians[1] - medians[0]:.2f} s | | |")


def install_image_kernel(work: Path, engine: str) -> str:
    """Install the example's kernel; returns its version of ipykernel."""
    repository = work / "quickstart"
    if not repository.exists():
        shutil.copytree(_EXAMPLE, repository)
    environment = {**os.environ, "JUPYTER_DATA_DIR": str(work / "jupyter")}
    environment.setdefault("ENVBUILD_CACHE_DIR", str(work / "cache"))
    envbuild = [str(PROGRAMS / "envbuild")]
    subprocess.run(
        [*envbuild, "kernel", "install", repository, "--engine", engine], env=environment, check=True
    )
    code = "from importlib.metadata import version; print(version('ipykernel'))"
    command = [*envbuild, "run", repository, "--engine", engine, "--", "/srv/env/bin/python3", "-c", code]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def install_local_kernel(work: Path, python: str, version: str) -> str:
    """Make a virtual environment with a kernel; returns what it is called in the table."""
    place = work / "local"
    uv = [str(PROGRAMS / "uv")]
    if not place.exists():
        subprocess.run(
            [*uv, "venv", "--quiet", "--no-python-downloads", "--python", python, place], check=True
        )
    packages = ["--quiet", "--compile-bytecode", "--python", str(place / "bin" / "python")]
    subprocess.run([*uv, "pip", "install", *packages, f"ipykernel=={version}"], check=True)
    spec = {
        "argv": [str(place / "bin" / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "local",
        "language": "python",
    }
    directory = work / "jupyter" / "kernels" / "local"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "kernel.json").write_text(json.dumps(spec))
    said = subprocess.run(
        [place / "bin" / "python", "--version"], check=True, stdout=subprocess.PIPE, text=True
    )
    return said.stdout.strip()


def start_seconds(specs: KernelSpecManager, name: str, work: Path) -> float:
    """Start a kernel, run a cell, end it; the seconds until the cell's reply."""
    manager = KernelManager(kernel_name=name, kernel_spec_manager=specs)
    begun = time.perf_counter()
    manager.start_kernel(cwd=str(work / "quickstart"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=_PATIENCE_SECONDS)
        reply = client.execute_interactive("1 + 1", timeout=_PATIENCE_SECONDS, output_hook=lambda _: None)
        taken = time.perf_counter() - begun
        if reply["content"]["status"] != "ok":
            sys.exit(f"the kernel {name} failed")
        return taken
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


if __name__ == "__main__":
    main()
