"""`envbuild warm` on the command line, with a registry on loopback and a cluster in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from envbuild.cli.main import run
from envbuild.cli.warm_node_documents import node_lines
from envbuild.cluster.apply import Change
from envbuild.pack.tar import file
from envbuild.store import Store
from tests.support.images import hold_image, make_image
from tests.support.registry import fake_registry
from tests.warm.test_status import node


class FakeCluster:
    """Nodes, and what was applied."""

    def __init__(self, nodes: list[dict[str, Any]]) -> None:
        self.nodes = nodes
        self.objects: list[dict[str, Any]] = []

    def list(self, api_version: str, kind: str, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return self.nodes if kind == "Node" else []

    def find(self, api_version: str, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        found = [one for one in self.objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
        return found[0] if found else None


@pytest.fixture
def image(tmp_path: Path) -> Any:
    """The reference of an image in a registry."""
    store = Store(tmp_path / "pushed")
    store.prepare()
    made = make_image(store, [[file("srv/python", b"python" * 100)]])
    with fake_registry() as registry:
        yield hold_image(registry, "lab/analysis", store, made)


@pytest.fixture
def fleet(tmp_path: Path, image: str) -> str:
    path = tmp_path / "fleet.toml"
    path.write_text(
        '[fleet]\nname = "lab"\n[pools.cpu]\nselector = { pool = "cpu" }\ndisk = "1 MB"\n'
        f'[environments.analysis]\nimage = "{image}"\nlaunches = 7\n'
    )
    return str(path)


def test_plan_says_what_is_pulled(fleet: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["warm", "plan", fleet])
    shown = capsys.readouterr().out

    assert "pool cpu (linux/amd64, pool=cpu)" in shown
    assert "1 image: a new node pulls " in shown and " of 1.0 MB" in shown


def test_what_does_not_fit_is_a_warning(fleet: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(fleet)
    path.write_text(path.read_text().replace("1 MB", "1 kB"))

    assert 0 == run(["warm", "manifest", fleet])
    assert 'no room for 1 image (analysis); disk = "1 MB" holds everything' in capsys.readouterr().err


@pytest.mark.parametrize("backend", ["daemonset", "kruise", "z2jh"])
def test_manifests_are_the_same_each_time(
    fleet: str, image: str, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    for _ in range(2):
        assert 0 == run(["warm", "manifest", fleet, "--backend", backend])
        shown.append(capsys.readouterr().out)

    assert shown[0] == shown[1]
    assert image.rpartition(":")[2] in shown[0]
    assert "&id" not in shown[0]


@pytest.fixture
def keeping(tmp_path: Path, fleet: str, image: str) -> Iterator[str]:
    """A fleet of which nodes keep what it was before: one such image is there, and one is gone."""
    name, _, digest = image.partition("@")
    path = Path(fleet)
    path.write_text(
        '[fleet]\nname = "lab"\n[pools.cpu]\nselector = { pool = "cpu" }\nkeep-previous = true\n'
        f'[environments.analysis]\nimage = "{name}:1"\n[environments.geo]\nimage = "{name}:2"\n'
    )
    store = Store(tmp_path / "pushed")
    with fake_registry() as other:
        before = hold_image(other, "lab/before", store, make_image(store, [[file("srv/r", b"r" * 100)]]))
        path.with_suffix(".lock").write_text(
            f'version = 1\n[environments.analysis]\nimage = "{name}:1@{digest}"\nprevious = "{before}"\n'
            f'[environments.geo]\nimage = "{image}"\nprevious = "{name}@sha256:{"0" * 64}"\n'
        )
        yield fleet


def test_images_from_before_are_told_apart(
    keeping: str, image: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == run(["warm", "plan", keeping])
    shown = capsys.readouterr().out
    assert "  analysis, geo " in shown and "  analysis (previous) " in shown
    assert "the previous image of geo is not in its registry any more: " in shown

    assert 0 == run(["warm", "manifest", keeping])
    shown = capsys.readouterr()
    assert "warning: the previous image of geo is not in its registry any more: " in shown.err
    cluster = FakeCluster([node("n1", images=[image])])
    cluster.objects = list(yaml.safe_load_all(shown.out))
    monkeypatch.setattr("envbuild.cluster.connection.connect", lambda *given: cluster)
    assert 0 == run(["warm", "status", keeping])
    expected = """\
pool cpu: warm on 1/1 nodes
  previous images: 1 of 2 kept, on 0/1 nodes
    n1  analysis: no-pod: it has no pod that keeps images
warm on 1/1 nodes
"""
    assert expected == capsys.readouterr().out


def test_a_node_counts_images_from_before_apart() -> None:
    images = [
        {
            "environments": ["analysis"],
            "previous": previous,
            "state": state,
            "size": 9,
            "pull": 0,
            "image": "",
        }
        for previous, state in ((False, "warm"), (True, "warm"), (True, "left-out"))
    ]
    shown = node_lines({"pool": "cpu", "images": images, "let_go": []})

    assert "1 of 1 images of the pool cpu are warm (previous ones: 1 of 2), 0 B pulled" == shown[-1]


def test_apply_and_status(
    fleet: str, image: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = FakeCluster([node("n1", images=[image]), node("n2")])
    monkeypatch.setattr("envbuild.cluster.connection.connect", lambda *given: cluster)

    def applied(cluster: FakeCluster, fleet: Any, objects: list[Any], **given: Any) -> tuple[Change, ...]:
        changes = tuple(
            Change("created", one["apiVersion"], one["kind"], one["metadata"]["name"], "", "+new\n")
            for one in objects
        )
        given["before"](changes)
        if not given["dry_run"]:
            for change in changes:
                given["made"](change)
        cluster.objects = [] if given["dry_run"] else list(objects)
        return changes

    monkeypatch.setattr("envbuild.warm.applying.apply_objects", applied)
    assert 0 == run(["warm", "apply", fleet, "--dry-run"])
    shown = capsys.readouterr().out
    assert "+new" in shown
    assert shown.endswith("created    DaemonSet warm-lab-cpu-1\nnothing was changed (--dry-run)\n")
    assert 1 == run(["warm", "status", fleet])
    assert "n1  analysis: not-applied" in capsys.readouterr().out
    assert 0 == run(["warm", "apply", fleet])
    assert 1 == capsys.readouterr().out.count("created    DaemonSet warm-lab-cpu-1\n")
    assert 1 == run(["warm", "status", fleet, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert (1, 2, False) == (document["warm"], document["nodes"], document["all_warm"])
    assert 1 == run(["warm", "status", fleet])
    shown = capsys.readouterr().out
    assert "pool cpu: warm on 1/2 nodes\n  n2  analysis: no-pod: " in shown
    cluster.nodes.pop()
    assert 0 == run(["warm", "status", fleet])


def test_a_pool_without_nodes_is_a_warning(
    fleet: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("envbuild.cluster.connection.connect", lambda *given: FakeCluster([]))
    monkeypatch.setattr("envbuild.warm.applying.apply_objects", lambda *given, **more: ())

    assert 0 == run(["warm", "apply", fleet])
    assert "the pool cpu has no nodes at present" in capsys.readouterr().err


def test_a_missing_pin_names_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text('[fleet]\nname = "lab"\n[environments.a]\nimage = "registry.example.org/lab/a:1"\n')

    assert 2 == run(["warm", "plan", str(path)])
    assert "envbuild build --fleet" in capsys.readouterr().err
