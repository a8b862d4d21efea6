"""Warm nodes on a real cluster: images of data only, without any program, on nodes in two pools."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from envbuild.cli.main import run
from envbuild.pack.tar import file
from envbuild.store import Store
from tests.support.images import hold_image, make_image
from tests.support.kubernetes import KubernetesCluster
from tests.support.kubernetes_node import allow_plain_http
from tests.support.registry import FakeRegistry, fake_registry, faults
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kubernetes

_SECONDS = 600


@dataclass
class Lab:
    """A fleet with the pools ``cpu`` (node1, node3 at first) and ``gpu`` (node2), and its registry."""

    cluster: KubernetesCluster
    namespace: str
    registry: FakeRegistry
    store: Store
    path: Path
    capsys: pytest.CaptureFixture[str]

    def image(self, *layers: str, size: int = 100_000) -> str:
        """An image with one layer for each name, always the same for the same names; its reference."""
        entries = [[file(f"srv/{name}", random.Random(name).randbytes(size))] for name in layers]
        return hold_image(self.registry, "lab/env", self.store, make_image(self.store, entries))

    def offer(self, **environments: str) -> None:
        """Write the fleet file; ``gpu_…`` is for the pool ``gpu`` alone, others are for both."""
        lines = [f'[fleet]\nname = "lab"\nnamespace = "{self.namespace}"']
        lines += [f'[pools.{name}]\nselector = {{ pool = "{name}" }}' for name in ("cpu", "gpu")]
        for name, image in environments.items():
            lines.append(f'[environments.{name.replace("_", "-")}]\nimage = "{image}"\nlaunches = 1')
            lines += ['pools = ["gpu"]'] if name.startswith("gpu_") else []
        self.path.write_text("\n".join(lines) + "\n")

    def release(self, image: str, before: str) -> None:
        """Write a fleet whose nodes keep the image from before, too, and its pins."""
        self.offer(analysis=f"{self.registry.address}/lab/env:latest")
        text = self.path.read_text()
        self.path.write_text(text.replace("selector", "keep-previous = true\nselector"))
        pins = f'version = 1\n[environments.analysis]\nimage = "{image}"\nprevious = "{before}"\n'
        self.path.with_suffix(".lock").write_text(pins)

    def run(self, verb: str, *options: str) -> tuple[int, str]:
        """Exit code and standard output of ``envbuild warm VERB``."""
        self.capsys.readouterr()
        code = run(["warm", verb, str(self.path), *options])
        return code, self.capsys.readouterr().out

    def reasons(self) -> dict[str, str | None]:
        """Why each node is not warm, None for those that are."""
        document: dict[str, Any] = json.loads(self.run("status", "--json")[1])
        return {node["node"]: node["reason"] for pool in document["pools"] for node in pool["nodes"]}

    def until(self, wanted: Callable[[dict[str, str | None]], bool]) -> dict[str, str | None]:
        """The reasons, as soon as they are as wanted."""
        deadline = time.monotonic() + _SECONDS
        while not wanted(found := self.reasons()):
            assert time.monotonic() < deadline, found
            time.sleep(0.5)
        return found

    def until_told(self, text: str) -> None:
        """Wait until the state that is shown has ``text`` in it."""
        deadline = time.monotonic() + _SECONDS
        while text not in (shown := self.run("status")[1]):
            assert time.monotonic() < deadline, shown
            time.sleep(0.5)

    def message(self, node: str) -> str:
        document: dict[str, Any] = json.loads(self.run("status", "--json")[1])
        (found,) = (one for pool in document["pools"] for one in pool["nodes"] if one["node"] == node)
        return str(found["message"])

    def has(self, node: str, image: str) -> bool:
        return image in self.cluster.nodes[node].images()

    def until_reported(self, wanted: set[tuple[str, str]]) -> None:
        """Wait until kubelets have told the cluster of each (node, image): they do so now and then."""
        deadline = time.monotonic() + _SECONDS
        while missing := wanted - {
            (node["metadata"]["name"], name)
            for node in self.cluster.document("get", "nodes")["items"]
            for image in node["status"].get("images", ())
            for name in image["names"]
        }:
            assert time.monotonic() < deadline, missing
            time.sleep(0.5)


@pytest.fixture
def lab(
    kubernetes: KubernetesCluster,
    kubernetes_namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Lab]:
    if not kubernetes.nodes:
        pytest.skip("breaks nodes: needs a cluster of its own")
    monkeypatch.setenv("KUBECONFIG", str(kubernetes.kubeconfig))
    monkeypatch.setenv("ENVBUILD_CACHE_DIR", str(tmp_path / "cache"))
    store = Store(tmp_path / "images")
    store.prepare()
    with fake_registry() as registry:
        kubernetes.allow_plain_http(registry.address)
        for name, pool in (("node1", "cpu"), ("node2", "gpu"), ("node3", "cpu")):
            kubernetes.kubectl("label", "node", name, f"pool={pool}", "--overwrite")
        yield Lab(kubernetes, kubernetes_namespace, registry, store, tmp_path / "fleet.toml", capsys)
        for number, name in enumerate(("node1", "node2", "node3")):
            kubernetes.kubectl("label", "node", name, f"pool=pool{number % 2 + 1}", "--overwrite")


def test_nodes_get_warm_stay_so_and_pull_only_what_changed(lab: Lab) -> None:
    analysis, torch = lab.image("python", "numpy"), lab.image("python", "torch")
    lab.offer(analysis=analysis, gpu_torch=torch)

    code, shown = lab.run("apply", "--wait", "--timeout", "10")
    assert (0, True) == (code, "created    DaemonSet" in shown)
    assert [(True, False), (True, True), (True, False)] == [
        (lab.has(node, analysis), lab.has(node, torch)) for node in ("node1", "node2", "node3")
    ]
    assert (0, "nothing to change\n") == lab.run("apply")

    # A node that comes later gets warm by itself.
    node = lab.cluster.start_node("warm4", pool="cpu")
    try:
        _allow(lab, "warm4")
        lab.cluster.wait_for(node)
        lab.until(lambda found: found.get("warm4", "") is None)
        assert lab.has("warm4", analysis)
    finally:
        lab.cluster.remove_node("warm4")

    # One package is bumped: what the plan says is what the registry sends.
    bumped = lab.image("python", "numpy-2")
    lab.offer(analysis=bumped, gpu_torch=torch)
    lab.until(lambda found: set(found.values()) == {"not-applied"} and len(found) == 3)
    lab.until_reported({("node1", analysis), ("node2", analysis), ("node2", torch), ("node3", analysis)})
    plan = json.loads(lab.run("plan", "--nodes", "--json")[1])
    to_pull = sum(node["pull"] for pool in plan["pools"] for node in pool["nodes"])
    lab.registry.forget()
    assert 0 == lab.run("apply", "--wait", "--timeout", "10")[0]
    python, numpy = _layers(lab, bumped)
    asked = lab.registry.asked("get-blob")
    sent = sum(request.sent for request in asked if numpy in request.target)
    assert 3 * len(lab.registry.blobs[numpy]) == sent
    assert 0 < to_pull - sent < 3 * 5000  # manifests and configs
    assert not any(python in request.target for request in asked)

    # What the fleet no longer has is let go.
    lab.offer(analysis=bumped)
    assert 0 == lab.run("apply", "--wait", "--timeout", "10")[0]
    images = lab.cluster.kubectl(
        *("get", "pods", "-n", lab.namespace, "-o", "jsonpath={.items[*].spec.containers[*].image}")
    )
    assert {bumped} == set(images.split())


def test_the_image_from_before_stays_and_one_that_nodes_cannot_pull_hinders_nothing(lab: Lab) -> None:
    lost, first, second = (lab.image("python", name) for name in ("numpy-0", "numpy-1", "numpy-2"))
    del lab.registry.contents.repositories["lab/env"].blobs[_layers(lab, lost)[1]]

    lab.release(first, before=lost)
    assert 0 == lab.run("apply", "--wait", "--timeout", "10")[0]
    lab.release(second, before=first)
    assert 0 == lab.run("apply", "--wait", "--timeout", "10")[0]
    assert {True} == {
        lab.has(name, image) for name in ("node1", "node2", "node3") for image in (first, second)
    }
    lab.until_told("previous images: 1 of 1 kept, on 2/2 nodes")

    lab.registry.forget()
    lab.release(first, before=lost)
    assert 0 == lab.run("status")[0]
    assert 0 == lab.run("apply", "--wait", "--timeout", "10")[0]
    assert not any(
        layer in one.target for one in lab.registry.asked("get-blob") for layer in _layers(lab, first)
    )
    lab.until_told("node2  analysis: pull-failed: ")  # alone in its pool, so it is its turn
    assert 0 == lab.run("status")[0]


def test_why_nodes_are_not_warm(lab: Lab) -> None:
    """A blob that vanished, a full disk, a plug that is pulled during a pull: told, and got over."""
    broken, large = lab.image("python", "lost"), lab.image("large", size=30_000_000)
    lost = _layers(lab, broken)[1]
    holdings = lab.registry.contents.repositories["lab/env"].blobs
    data = holdings.pop(lost)
    lab.offer(analysis=lab.image("python"), gpu_lost=broken)

    assert 0 == lab.run("apply")[0]
    assert {"node1": None, "node2": "pull-failed", "node3": None} == lab.until(
        lambda found: found["node2"] == "pull-failed" and not (found["node1"] or found["node3"])
    )
    wait_until(lambda: lost in lab.message("node2"))  # the event that says so comes after the state
    holdings[lost] = data
    lab.offer(analysis=lab.image("python"))
    assert 0 == lab.run("apply", "--wait", "--timeout", "10")[0]

    for name, disk in (("warm-full", "40m"), ("warm-gone", "")):
        node = lab.cluster.start_node(name, pool="gpu", disk=disk)
        _allow(lab, name)
        lab.cluster.wait_for(node)
    try:
        lab.until(lambda found: found.get("warm-full", "") is None and found.get("warm-gone", "") is None)
        lab.offer(analysis=lab.image("python"), gpu_large=large)
        killed = threading.Event()
        lab.registry.fail(faults.paused(killed), kind="get-blob", path=_layers(lab, large)[0], times=None)
        assert 0 == lab.run("apply", "--at-once", "100%")[0]
        lab.until(lambda found: found["warm-gone"] == "pulling")
        lab.cluster.kill_node("warm-gone")
        killed.set()
        found = lab.until(
            lambda found: (
                found["warm-full"] in ("disk-full", "disk-pressure", "evicted")
                and found["warm-gone"] == "node-not-ready"
                and found["node2"] is None
            )
        )
        assert (None, None) == (found["node1"], found["node3"])
        node = lab.cluster.start_node("warm-gone", pool="gpu")
        lab.cluster.wait_for(node)
        lab.until(lambda found: found["warm-gone"] is None)
    finally:
        for name in ("warm-full", "warm-gone"):
            lab.cluster.remove_node(name)


def _allow(lab: Lab, node: str) -> None:
    allow_plain_http(lab.cluster.nodes[node], lab.registry.address)


def _layers(lab: Lab, image: str) -> list[str]:
    """The digests of the layers of an image, bottom to top."""
    manifest = json.loads(lab.registry.manifests[image.partition("@")[2]].data)
    return [layer["digest"] for layer in manifest["layers"]]
