"""A Kubernetes for tests on this machine: one control plane, and nodes that can be added, killed and removed.

::

    with start_cluster(nodes=3) as cluster:
        connect(environment=cluster.environment)      # or KUBECONFIG=cluster.kubeconfig
        cluster.add_node("node4", pool="pool2")
        cluster.nodes["node1"].images()

Every cluster has a bridge, ports and directories of its own, so several can run at once. ``cluster.registry``
is reached by this name from here, from the nodes and from pods, over plain HTTP; its ``pause:1`` sleeps and
its ``busybox:1`` has a shell. RBAC is on. Pods reach this machine, the API server
and, where this machine does, other networks; there is no DNS in them, and no other services.

Version 1.20 has PodSecurityPolicy and not Pod Security Admission: :mod:`tests.support.pod_security` has the
rules. Needs root, and the programs of ``scripts/kubernetes``.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import os
import secrets
import shutil
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import kubernetes_node
from tests.support.kubernetes_node import Network, Node
from tests.support.programs import require, skip_for
from tests.support.servers import (
    ServerError,
    docker_registry,
    free_port,
    scratch_directory,
    server_process,
)
from tests.support.small_images import push_small_image

__all__ = ["KubernetesCluster", "kubernetes_cluster", "start_cluster"]

_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
_BESIDE = (
    "etcd",
    "containerd",
    "ctr",
    "runc",
    "iptables",
    "ip",
    "unshare",
    "skopeo",
    "docker-registry",
    "busybox",
)
_JOIN_SECONDS = 600


def _directory() -> Path:
    """Where ``scripts/kubernetes`` puts its programs."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "envbuild-kubernetes" / "bin"


def _require() -> None:
    """Skip the test when no cluster can be started here.

    In CI that is a failure, except for what cannot be helped: releases of Debian other than 12 cannot compile
    it.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if [name for name in _PROGRAMS if not (_directory() / name).is_file()]:
        release = Path("/etc/os-release").read_text() if Path("/etc/os-release").is_file() else ""
        if "VERSION_CODENAME=bookworm" not in release.splitlines():
            pytest.skip("Kubernetes can be compiled on Debian 12 only (scripts/kubernetes)")
        skip_for("Kubernetes is not built: run scripts/kubernetes")
    require(*_BESIDE, root=True)


@contextlib.contextmanager
def kubernetes_cluster() -> Iterator[KubernetesCluster]:
    """A cluster to test with: one of our own, or that of ``KUBECONFIG`` if ``ENVBUILD_TEST_CLUSTER`` is set.

    That variable is a registry (``HOST:PORT``) to push to without a password, which its nodes and pods reach.
    """
    registry = os.environ.get("ENVBUILD_TEST_CLUSTER")
    if not registry:
        _require()
        with start_cluster() as cluster:
            yield cluster
        return
    kubeconfig = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
    with scratch_directory() as directory:
        push_small_image(f"{registry}/pause:1", ["sleep", "2147483647"], user="65535:65535")
        push_small_image(f"{registry}/busybox:1", ["sh"])
        yield KubernetesCluster(directory, kubeconfig, registry)


@dataclass(slots=True)
class KubernetesCluster:
    """A running cluster.

    Attributes:
        kubeconfig: a file for an administrator.
        registry: ``HOST:PORT``.
        nodes: those started here, by name; none in a cluster that was there before.
    """

    directory: Path
    kubeconfig: Path
    registry: str
    network: Network | None = None
    nodes: dict[str, Node] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead to it."""
        return {"KUBECONFIG": str(self.kubeconfig)}

    def kubectl(self, *arguments: str, kubeconfig: Path | None = None, text: str | None = None) -> str:
        """What ``kubectl`` prints; a failing one raises with its messages."""
        program = shutil.which("kubectl") if self.network is None else str(_directory() / "kubectl")
        done = subprocess.run(
            [program or "kubectl", "--kubeconfig", str(kubeconfig or self.kubeconfig), *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerError(f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def document(self, *arguments: str) -> dict[str, Any]:
        """What ``kubectl ... -o json`` prints."""
        found: dict[str, Any] = json.loads(self.kubectl(*arguments, "-o", "json"))
        return found

    def add_node(self, name: str, **options: Any) -> Node:
        """:meth:`start_node`, and wait until it is ready."""
        node = self.start_node(name, **options)
        self.wait_for(node)
        return node

    def start_node(
        self,
        name: str,
        *,
        pool: str = "pool1",
        labels: Mapping[str, str] | None = None,
        disk: str = "",
        kubelet: Mapping[str, Any] | None = None,
    ) -> Node:
        """Start a node, or one that was killed once more, on its old disk.

        Parameters:
            pool: its label ``pool``.
            disk: how large its disk for images is (``300m``, kept in memory); empty: this machine's.
            kubelet: fields of its KubeletConfiguration (``evictionHard``, ``imageGCHighThresholdPercent``).
        """
        assert self.network is not None, "nodes of a cluster that was there before are left alone"
        node = self.nodes.setdefault(name, Node(name, self.directory / name))
        kubernetes_node.start(
            node,
            self.network,
            programs=_directory(),
            kubeconfig=self.kubeconfig,
            sandbox_image=f"{self.registry}/pause:1",
            labels={"pool": pool, **(labels or {})},
            disk=disk,
            kubelet=kubelet,
        )
        kubernetes_node.allow_plain_http(node, self.registry)
        return node

    def wait_for(self, node: Node) -> None:
        """Wait until a node is ready."""
        self._wait_for(node, True)

    def kill_node(self, name: str) -> None:
        """Pull the plug of a node (SIGKILL for all that runs on it). It stays in the cluster, not ready."""
        self.nodes[name].kill()

    def remove_node(self, name: str) -> None:
        """Kill a node and take it out of the cluster, as an autoscaler does."""
        self.kill_node(name)
        self.kubectl("delete", "node", name, "--wait=false")
        del self.nodes[name]

    def allow_plain_http(self, registry: str) -> None:
        """Have all present nodes pull from another registry (``HOST:PORT``) without TLS."""
        for node in self.nodes.values():
            kubernetes_node.allow_plain_http(node, registry)

    def account(self, namespace: str, name: str) -> Path:
        """A kubeconfig for a service account, which is created if it is not there."""
        with contextlib.suppress(ServerError):
            self.kubectl("create", "serviceaccount", name, "--namespace", namespace)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = json.loads(self.kubectl("create", "--raw", path, "-f", "-", text=json.dumps(request)))
        return self.kubeconfig_for(answer["status"]["token"], namespace, f"{namespace}-{name}")

    def kubeconfig_for(self, token: str, namespace: str = "default", name: str = "token") -> Path:
        """A kubeconfig with this bearer token, whatever it is worth."""
        view = json.loads(self.kubectl("config", "view", "--minify", "--raw", "-o", "json"))
        view["users"][0]["user"] = {"token": token}
        view["contexts"][0]["context"]["namespace"] = namespace
        file = self.directory / f"kubeconfig-{name}"
        file.write_text(json.dumps(view))
        return file

    @contextlib.contextmanager
    def namespace(self, prefix: str = "test") -> Iterator[str]:
        """A namespace that is deleted with everything in it; nobody waits for that."""
        name = f"{prefix}-{secrets.token_hex(4)}"
        self.kubectl("create", "namespace", name)
        # Pods are refused until it has its service account.
        self._until(lambda: self._has("serviceaccount", "default", "--namespace", name), "no service account")
        try:
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false")

    def wait_until_not_ready(self, name: str) -> None:
        """Wait until the control plane has noticed that a node is gone."""
        self._wait_for(self.nodes[name], False)

    def stop(self) -> None:
        """End all nodes."""
        for name in list(self.nodes):
            self.kill_node(name)

    def _has(self, *what: str) -> bool:
        try:
            return bool(self.kubectl("get", *what))
        except ServerError:
            return False

    def _wait_for(self, node: Node, ready: bool) -> None:
        def reached() -> bool:
            if ready and node.process is not None and node.process.poll() is not None:
                raise ServerError(f"{node.name} ended:\n{node.log()}")
            if not self._has("node", node.name):
                return False
            conditions = self.document("get", "node", node.name)["status"].get("conditions", ())
            states = [each["status"] for each in conditions if each["type"] == "Ready"]
            return (states == ["True"]) is ready

        self._until(reached, f"{node.name} did not become {'' if ready else 'un'}ready", node)

    def _until(self, reached: Any, otherwise: str, node: Node | None = None) -> None:
        deadline = time.monotonic() + _JOIN_SECONDS
        while not reached():
            if time.monotonic() > deadline:
                raise ServerError(otherwise + (f":\n{node.log()}" if node else ""))
            time.sleep(0.3)


@contextlib.contextmanager
def start_cluster(nodes: int = 3) -> Iterator[KubernetesCluster]:
    """Start one with nodes ``node1``, ``node2``, ...; their label ``pool`` is ``pool1``, ``pool2`` in turn.

    Everything ends with the block, and with this process, even when that is killed; then only the bridge and
    two rules of the packet filter stay, until the next cluster is started.
    """
    with scratch_directory() as directory, _network() as (network, services), contextlib.ExitStack() as stack:
        registry = stack.enter_context(docker_registry(host=network.host))
        push_small_image(f"{registry}/pause:1", ["sleep", "2147483647"], user="65535:65535")
        push_small_image(f"{registry}/busybox:1", ["sh"])
        kubeconfig = _control_plane(stack, directory, network, services)
        cluster = KubernetesCluster(directory, kubeconfig, registry, network)
        stack.callback(cluster.stop)
        started = [
            cluster.start_node(f"node{number}", pool=f"pool{(number - 1) % 2 + 1}")
            for number in range(1, nodes + 1)
        ]
        for node in started:
            cluster.wait_for(node)
        yield cluster


def _control_plane(stack: contextlib.ExitStack, directory: Path, network: Network, services: str) -> Path:
    """Start etcd, the API server, the controller manager and the scheduler; returns a kubeconfig."""
    key, public = directory / "accounts.key", directory / "accounts.pub"
    for command in (
        ["openssl", "genrsa", "-out", str(key), "2048"],
        ["openssl", "rsa", "-in", str(key), "-pubout", "-out", str(public)],
    ):
        subprocess.run(command, check=True, capture_output=True)
    token = secrets.token_hex(16)
    (directory / "tokens.csv").write_text(f'{token},admin,1,"system:masters"\n')
    (directory / "tokens.csv").chmod(0o600)
    store, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    port = free_port("0.0.0.0")
    certificate = directory / "certificates" / "apiserver.crt"
    kubeconfig = directory / "kubeconfig"
    server = {"server": f"https://localhost:{port}", "certificate-authority": str(certificate)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": server}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
        "current-context": "tests",
    }
    kubeconfig.write_text(json.dumps(document))
    kubeconfig.chmod(0o600)

    def run(name: str, *arguments: str, ready: Any = lambda: True) -> None:
        program = _directory() / name
        command = [str(program) if program.is_file() else name, *arguments]
        log = directory / f"{name}.log"
        stack.enter_context(server_process(command, directory, ready, log=log))

    run(
        "etcd",
        *("--data-dir", str(directory / "etcd"), "--name", "tests", "--initial-cluster", f"tests={peers}"),
        *("--listen-client-urls", store, "--advertise-client-urls", store),
        *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
        ready=lambda: _says_ok(f"{store}/health"),
    )
    run(
        "kube-apiserver",
        f"--etcd-servers={store}",
        f"--cert-dir={certificate.parent}",
        f"--service-account-key-file={public}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--token-auth-file={directory / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        f"--service-cluster-ip-range={services}",
        "--bind-address=0.0.0.0",
        f"--advertise-address={network.host}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--secure-port={port}",
        "--allow-privileged=true",
        # Pods may ask for a /proc of their own, as they may from 1.33 on without saying so here.
        "--feature-gates=ProcMountType=true",
        ready=lambda: _says_ok(f"https://localhost:{port}/readyz"),
    )
    _forward(stack, services, network, port)
    run(
        "kube-controller-manager",
        f"--kubeconfig={kubeconfig}",
        f"--service-account-private-key-file={key}",
        f"--root-ca-file={certificate}",
        "--port=0",
        "--secure-port=0",
        "--node-monitor-period=2s",
        "--node-monitor-grace-period=30s",  # a machine with much to do can hold up a kubelet for seconds
        "--leader-elect=false",
    )
    run("kube-scheduler", f"--kubeconfig={kubeconfig}", "--port=0", "--secure-port=0", "--leader-elect=false")
    return kubeconfig


def _says_ok(url: str) -> bool:
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=anybody)
    )
    try:
        with direct.open(url, timeout=5):
            return True
    except (OSError, http.client.HTTPException):
        return False


@contextlib.contextmanager
def _network() -> Iterator[tuple[Network, str]]:
    """A bridge with a network that nothing else here uses, and another one for services."""
    _sweep()
    taken = [ipaddress.ip_network(text, strict=False) for text in _routes()]
    while True:
        number = secrets.randbelow(64 * 128)
        both = ipaddress.ip_network(f"10.{128 + number // 128}.{number % 128 * 2}.0/23")
        if not any(both.overlaps(other) for other in taken):
            break
    pods, services = both.subnets()
    bridge = f"ebk{os.getpid():x}-{secrets.token_hex(2)}"  # an interface's name has at most 15 characters
    host = str(pods[1])
    _ip("link", "add", "name", bridge, "type", "bridge")
    outside = ("POSTROUTING", "-s", str(pods), "!", "-d", str(pods), *_comment(bridge), "-j", "MASQUERADE")
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    if forwarding.read_text().strip() != "1":
        forwarding.write_text("1")
    try:
        _ip("address", "add", f"{host}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        _nat("-A", *outside)
        yield Network(bridge, host, str(pods)), str(services)
    finally:
        _nat("-D", *outside)
        _ip("link", "delete", bridge)


def _forward(stack: contextlib.ExitStack, services: str, network: Network, port: int) -> None:
    """Pods find the API server at the first service address; there is no kube-proxy."""
    service = str(ipaddress.ip_network(services)[1])
    rule = ("PREROUTING", "-d", service, "-p", "tcp", "--dport", "443", *_comment(network.bridge))
    rule += ("-j", "DNAT", "--to-destination", f"{network.host}:{port}")
    _nat("-A", *rule)
    stack.callback(_nat, "-D", *rule)


def _sweep() -> None:
    """Remove bridges and rules of clusters whose process was killed; a bridge's name has its number.

    Others may be sweeping, too: what cannot be removed has gone already.
    """
    shown = subprocess.run([_tool("ip"), "-json", "link"], check=True, capture_output=True, text=True)
    for link in json.loads(shown.stdout):
        name = link["ifname"]
        owner = name.removeprefix("ebk").partition("-")[0]
        if not name.startswith("ebk") or "-" not in name or Path(f"/proc/{int(owner, 16)}").exists():
            continue
        rules = subprocess.run(
            [_tool("iptables"), "-w", "-t", "nat", "-S"], check=True, capture_output=True, text=True
        )
        for line in rules.stdout.splitlines():
            if line.startswith("-A ") and f"--comment {name} " in line:
                with contextlib.suppress(subprocess.CalledProcessError):
                    _nat("-D", *line.split()[1:])
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "delete", name)


def _routes() -> list[str]:
    shown = subprocess.run([_tool("ip"), "-json", "-4", "route"], check=True, capture_output=True, text=True)
    return [route["dst"] for route in json.loads(shown.stdout) if route["dst"] != "default"]


def _comment(text: str) -> tuple[str, ...]:
    return ("-m", "comment", "--comment", text)


def _ip(*arguments: str) -> None:
    subprocess.run([_tool("ip"), *arguments], check=True)


def _nat(*arguments: str) -> None:
    subprocess.run([_tool("iptables"), "-w", "-t", "nat", *arguments], check=True)


def _tool(name: str) -> str:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") or name
