"""containerd as the engine of a node, through its program ``ctr``; tried with 1.6.

There is no library for containerd's API that is kept up. ``ctr`` is told to ask a relay of ours on loopback
(:mod:`envbuild.warm.relay`) as it would ask the registry, with a file as in ``/etc/containerd/certs.d``. So
images have their right names, no credential is on a command line, and several layers travel at once.

Which images are ours, and for which fleets, is in labels on the images: they go when the image goes.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import EnvbuildError, MachineError
from envbuild.image.finding import LayersLost
from envbuild.image.reference import Reference
from envbuild.registry.server import Served
from envbuild.source.text import clean
from envbuild.warm.engines import Inventory, KeptImage, Wanted, pinned_name
from envbuild.warm.relay import relay

__all__ = ["DEFAULT_ADDRESS", "Containerd"]

DEFAULT_ADDRESS = "/run/containerd/containerd.sock"
_LABEL = "dev.envbuild.warm."
_CRI_LABEL = "io.cri-containerd.image=managed"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SOCKET_SECONDS = 10
_LOOK_SECONDS = 0.1
# How containerd's errors read, the error that this is, and what to do.
_FAILURES = (
    (
        "no space left on device",
        "no-space",
        "make room where containerd keeps images, or give the pool a smaller `disk`",
    ),
    ("permission denied", "containerd-denied", "run this as root"),
)


@dataclass(frozen=True, slots=True)
class _Record:
    """One name that containerd has for an image."""

    name: str
    target: str
    labels: frozenset[str]

    @property
    def fleets(self) -> frozenset[str]:
        return frozenset(
            label.removeprefix(_LABEL).partition("=")[0] for label in self.labels if label.startswith(_LABEL)
        )


class Containerd:
    """See :class:`envbuild.warm.engines.NodeEngine`.

    Parameters:
        address: its socket.
        namespace: where its images are; ``k8s.io`` is that of Kubernetes.
        environment: variables for ``ctr`` (``CONTAINERD_SNAPSHOTTER``).
        jobs: how many layers are asked of a registry at once.

    Raises:
        MachineError: there is no ``ctr``, or no containerd that we may talk to.
    """

    name = "containerd"

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        address: str = DEFAULT_ADDRESS,
        namespace: str = "k8s.io",
        jobs: int = 8,
    ) -> None:
        program = shutil.which("ctr", path=environment.get("PATH", os.defpath))
        if program is None:
            raise MachineError(
                "there is no program `ctr` to talk to containerd with",
                code="no-ctr",
                remedy="install containerd's client, or put it on PATH; for Docker use --engine docker",
            )
        _connect(address)
        self._command = (program, "--address", address, "--namespace", namespace)
        self._environment = dict(environment)
        self._snapshotter = environment.get("CONTAINERD_SNAPSHOTTER") or "overlayfs"
        self._jobs = jobs

    def inventory(self) -> Inventory:
        """See :meth:`envbuild.warm.engines.NodeEngine.inventory`."""
        blobs = frozenset(self._run("content", "list", "--quiet").split())
        snapshots = self._run("snapshots", "--snapshotter", self._snapshotter, "list")
        return Inventory(blobs, frozenset(line.split()[0] for line in snapshots.splitlines()[1:] if line))

    def free(self) -> int | None:
        """See :meth:`envbuild.warm.engines.NodeEngine.free`."""
        found = self._run("plugins", "list", "--detailed", f"id=={self._snapshotter}")
        roots = [line.split(maxsplit=1)[1] for line in found.splitlines() if line.split()[:1] == ["root"]]
        try:
            return shutil.disk_usage(roots[0].strip()).free if roots else None
        except OSError:  # it is in another mount namespace
            return None

    def has(self, reference: Reference) -> bool:
        """See :meth:`envbuild.warm.engines.NodeEngine.has`."""
        # Unpacked is what counts: containerd may be configured to drop what it has unpacked.
        checks = self._run(
            "images", "check", "--snapshotter", self._snapshotter, f'name=="{pinned_name(reference)}"'
        )
        return any(line.split()[-1:] == ["true"] for line in checks.splitlines()[1:])

    def pull(self, wanted: Wanted, *, fleet: str, sent: Callable[[int], None]) -> None:
        """See :meth:`envbuild.warm.engines.NodeEngine.pull`."""
        view, reference = wanted.view, wanted.reference
        with (
            relay(wanted.medium, view, sent=sent, jobs=self._jobs) as served,
            _hosts(reference, served) as directory,
        ):
            places = ("--hosts-dir", str(directory), "--snapshotter", self._snapshotter)
            what = (
                "--platform",
                view.platform,
                "--label",
                f"{_LABEL}{fleet}=brought",
                pinned_name(reference),
            )
            self._pull((*self._command, "images", "pull", *places, *what), served)
        if not self.has(reference):
            raise MachineError(
                f"containerd pulled {reference} and did not unpack it",
                code="containerd-failed",
                remedy="`ctr images check` and containerd's log say more",
            )

    def _pull(self, command: tuple[str, ...], served: Served) -> None:
        # A session of its own, and no end but SIGKILL: `ctr` that ends in its own way lets go of the lease
        # that protects the layers it has got. So they stay, for a day, and the next run goes on from there.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        )
        try:
            said = _wait(process, served)
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            raise _failed(said)

    def kept(self) -> tuple[KeptImage, ...]:
        """See :meth:`envbuild.warm.engines.NodeEngine.kept`."""
        records = self._records()
        names = self._names_in_use()
        used = {record.target for record in records if record.name in names}
        used |= {name.rpartition("@")[2] for name in names}
        return tuple(
            KeptImage(record.name, record.fleets, record.target in used)
            for record in sorted(records, key=lambda record: record.name)
            if record.fleets
        )

    def claim(self, image: KeptImage, fleet: str) -> None:
        """See :meth:`envbuild.warm.engines.NodeEngine.claim`."""
        self._run("images", "label", image.name, f"{_LABEL}{fleet}=brought")

    def release(self, image: KeptImage, fleet: str) -> bool:
        """See :meth:`envbuild.warm.engines.NodeEngine.release`."""
        if image.fleets - {fleet}:
            self._run("images", "label", image.name, f"{_LABEL}{fleet}=")
            return False
        target = image.name.rpartition("@")[2]
        others: dict[bool, list[str]] = defaultdict(list)
        for record in self._records():
            if record.target == target and record.name != image.name:
                # The plugin for Kubernetes gives each image a name more, its ID, and does not take it away.
                others[_DIGEST.fullmatch(record.name) is not None and _CRI_LABEL in record.labels].append(
                    record.name
                )
        self._run("images", "remove", "--sync", image.name, *(() if others[False] else others[True]))
        return True

    def _records(self) -> list[_Record]:
        # REF TYPE DIGEST SIZE PLATFORMS LABELS; a size has a space in it.
        rows = [line.split() for line in self._run("images", "list").splitlines()[1:]]
        return [_Record(row[0], row[2], frozenset(row[-1].split(","))) for row in rows if len(row) > 3]

    def _names_in_use(self) -> set[str]:
        rows = [line.split() for line in self._run("containers", "list").splitlines()[1:]]
        return {row[1] for row in rows if len(row) > 1}

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            (*self._command, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=self._environment,
        )
        if done.returncode != 0:
            raise _failed(done.stderr)
        return done.stdout


def _wait(process: subprocess.Popen[bytes], served: Served) -> str:
    """What ``process`` says on stderr until its end.

    Raises: what went wrong while it was served.
    """
    while True:
        try:
            said = process.communicate(timeout=_LOOK_SECONDS)[1]
        except subprocess.TimeoutExpired:
            said = None
        if isinstance(served.error, EnvbuildError):
            raise served.error  # it would go on trying
        assert not isinstance(served.error, LayersLost)  # which a relay never looks for
        if said is not None:
            return said.decode("utf-8", "replace")


@contextmanager
def _hosts(reference: Reference, served: Served) -> Iterator[Path]:
    """A directory that tells containerd to ask ``served`` for what is in the registry of ``reference``."""
    with tempfile.TemporaryDirectory(prefix="envbuild-hosts-") as directory:
        place = Path(directory, reference.registry)
        place.mkdir()
        lines = (
            f'server = "http://{served.registry}"',  # where it turns to when the host below fails: to us
            f'[host."{served.address}"]',
            'capabilities = ["pull", "resolve"]',
            "override_path = true",
        )
        (place / "hosts.toml").write_text("\n".join(lines) + "\n")
        yield Path(directory)


def _connect(address: str) -> None:
    """See that somebody listens: ``ctr`` would try for ten seconds and say little."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SOCKET_SECONDS)
        try:
            connection.connect(address)
        except PermissionError as error:
            raise MachineError(
                f"you may not use containerd at {address}",
                code="containerd-denied",
                remedy="run this as root",
            ) from error
        except OSError as error:
            raise MachineError(
                f"no containerd answers at {address} ({error.strerror or error})",
                code="containerd-unreachable",
                remedy="start containerd, or name its socket with --address; for Docker use --engine docker",
            ) from error


def _failed(said: str) -> MachineError:
    lines = [line for line in said.splitlines() if line.strip()]
    message = clean(lines[-1].removeprefix("ctr: ")) if lines else "it failed and does not say why"
    for text, code, remedy in _FAILURES:
        if text in said:
            return MachineError(f"containerd: {message}", code=code, remedy=remedy)
    return MachineError(f"containerd: {message}", code="containerd-failed")
