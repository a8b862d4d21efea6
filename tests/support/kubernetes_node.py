"""A node: a kubelet and a containerd in namespaces of their own, which end with all that runs in them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.servers import ServerError, free_port

__all__ = ["Network", "Node", "allow_plain_http", "start"]

_START_SECONDS = 600
_CGROUPS = Path("/sys/fs/cgroup")

# The first process of the node's namespaces. What it mounts, and what its pods mount, nobody else sees; when
# it is killed, so is everything in there, as when the plug of a machine is pulled. Places that no option
# moves are covered: shims' sockets, network namespaces, CNI's results, pods' logs.
_INIT = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount --make-rshared /
mkdir -p /run/containerd /run/netns /var/lib/cni /var/log/pods /var/log/containers /var/lib/kubelet
for place in /run/containerd /run/netns; do mount -t tmpfs -o mode=755 node $place; done
for place in /var/lib/cni /var/log/pods /var/log/containers /var/lib/kubelet; do
    mkdir -p "$1/covered$place"
    mount --bind "$1/covered$place" $place
done
[ -z "$3" ] || mount -t tmpfs -o "size=$3,mode=711" disk "$1/root"
containerd --config "$1/containerd.toml" >"$1/containerd.log" 2>&1 &
until [ -S "$1/containerd.sock" ]; do sleep 0.1; done
eval "exec $2" >"$1/kubelet.log" 2>&1 &
# As soon as one of the two ends, the node does.
wait -n
"""


@dataclass(frozen=True, slots=True)
class Network:
    """What the nodes of a cluster share: a bridge with an address of this machine."""

    bridge: str
    host: str
    pods: str


@dataclass(slots=True)
class Node:
    """One node; ``socket`` is its containerd's, for ``ctr --address``."""

    name: str
    directory: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def seccomp_profiles(self) -> Path:
        """Where its kubelet has the profiles that pods name with ``localhostProfile``."""
        return self.directory / "covered" / "var" / "lib" / "kubelet" / "seccomp"

    @property
    def socket(self) -> Path:
        """Where its containerd listens."""
        return self.directory / "containerd.sock"

    def images(self) -> set[str]:
        """The names of the images in its store, as containerd's CRI keeps them (tags, digests and IDs)."""
        command = ["ctr", "--address", str(self.socket), "--namespace", "k8s.io", "images", "list", "--quiet"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return set(done.stdout.split())

    def kill(self) -> None:
        """Pull its plug: SIGKILL for everything that runs on it. Its disk stays."""
        if self.process is not None:
            children = []
            with contextlib.suppress(OSError):  # it has ended by itself
                task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}")
                children = (task / "children").read_text().split()
            self.process.kill()  # unshare, which takes the first process of the namespaces with it
            self.process.wait()
            while any(_lives(child) for child in children):
                time.sleep(0.05)
            for container in self._containers():
                _remove_cgroup(container)
            self.process = None
            self.socket.unlink(missing_ok=True)

    def processes(self) -> list[int]:
        """The processes of this machine that run in its pods."""
        marks = [f"/{name}" for name in self._containers()]
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                text = (process / "cgroup").read_text()
                if any(mark in text for mark in marks):
                    found.append(int(process.name))
        return sorted(found)

    def _containers(self) -> list[str]:
        """The IDs of its containers, which are the names of their control groups."""
        tasks = self.directory / "state" / "io.containerd.runtime.v2.task" / "k8s.io"
        return [path.name for path in tasks.iterdir()] if tasks.is_dir() else []

    def log(self) -> str:
        """The ends of its logs."""
        logs = (self.directory / f"{name}.log" for name in ("containerd", "kubelet", "init"))
        return "\n".join(f"{log}:\n{log.read_text(errors='replace')[-1500:]}" for log in logs if log.exists())


def start(
    node: Node,
    network: Network,
    *,
    programs: Path,
    kubeconfig: Path,
    sandbox_image: str,
    labels: Mapping[str, str],
    disk: str = "",
    kubelet: Mapping[str, Any] | None = None,
) -> None:
    """Start (or start again) a node; whether it joins is for the caller to see.

    Parameters:
        programs: the directory of the kubelet.
        disk: how large the disk for images is (``300m``, kept in memory); empty: this machine's.
        kubelet: fields of its KubeletConfiguration.
    """
    directory = node.directory
    for name in ("root", "state", "cni", "certs.d", "kubelet"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    _write_network(directory, network)
    (directory / "containerd.toml").write_text(_containerd(directory, sandbox_image))
    configuration = {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "address": network.host,
        "port": free_port(network.host),
        "healthzPort": 0,
        "readOnlyPort": 0,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "featureGates": {"ProcMountType": True},
        "makeIPTablesUtilChains": False,
        "nodeStatusUpdateFrequency": "2s",
        "nodeStatusReportFrequency": "10s",
        "nodeLeaseDurationSeconds": 10,
        "imageGCHighThresholdPercent": 100,  # never: this machine's disk may be fuller than a kubelet likes
        "evictionHard": {"imagefs.available": "1%", "nodefs.available": "1%", "memory.available": "50Mi"},
        **(kubelet or {}),
    }
    (directory / "kubelet.json").write_text(json.dumps(configuration))
    command = [
        f'"{programs}/kubelet" --kubeconfig="{kubeconfig}"',
        '--config="$1/kubelet.json" --root-dir="$1/kubelet"',
        '--container-runtime=remote --container-runtime-endpoint="unix://$1/containerd.sock"',
        f"--hostname-override={node.name} --node-ip={network.host}",
        f"--node-labels={','.join(f'{key}={value}' for key, value in sorted(labels.items()))}",
    ]
    space = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child=KILL", "--"]
    script, rest = ("bash", "-c", _INIT, "node"), (" ".join(command), disk)
    with (directory / "init.log").open("wb") as log:
        node.process = subprocess.Popen(
            # With us, even by SIGKILL.
            ["setpriv", "--pdeathsig", "KILL", "--", *space, *script, str(directory), *rest],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"},
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    while not _listens(node.socket):
        if node.process.poll() is not None or time.monotonic() > deadline:
            raise ServerError(f"{node.name} did not start:\n{node.log()}")
        time.sleep(0.1)


def allow_plain_http(node: Node, registry: str) -> None:
    """Have containerd pull from ``registry`` (HOST:PORT) without TLS; it looks for itself at every pull."""
    place = node.directory / "certs.d" / registry
    place.mkdir(parents=True, exist_ok=True)
    (place / "hosts.toml").write_text(
        f'server = "http://{registry}"\n[host."http://{registry}"]\ncapabilities = ["pull", "resolve"]\n'
    )


def _remove_cgroup(container: str) -> None:
    """Remove what is left of a container's control groups; they are empty once its processes are gone."""
    for place in (_CGROUPS, *_CGROUPS.glob("*")):
        with contextlib.suppress(OSError):
            (place / "k8s.io" / container).rmdir()


def _lives(process: str) -> bool:
    """Whether a process is there; the first one of a namespace is, until all others of it are gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _listens(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(address))
        except OSError:
            return False
        return True


def _containerd(directory: Path, sandbox_image: str) -> str:
    return f"""
version = 2
root = "{directory}/root"
state = "{directory}/state"
[grpc]
address = "{directory}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{sandbox_image}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{directory}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{directory}/certs.d"
"""


def _write_network(directory: Path, network: Network) -> None:
    addresses = {
        "type": "host-local",
        "dataDir": str(directory.parent / "addresses"),  # all nodes are on one bridge
        "ranges": [[{"subnet": network.pods, "gateway": network.host}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": network.bridge, "isGateway": False, "ipam": addresses}
    plugins = {"cniVersion": "0.4.0", "name": network.bridge, "plugins": [bridge]}
    (directory / "cni" / "10-bridge.conflist").write_text(json.dumps(plugins))
