"""``envbuild warm node`` with a real containerd and a real Docker, and a registry that wants a password."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from envbuild.image.model import Image
from envbuild.pack.tar import file
from envbuild.store import Store
from envbuild.store.images import record_image
from tests.support.images import make_image
from tests.support.programs import Envbuild, output_of
from tests.support.registry import FakeRegistry, fake_registry, faults

pytestmark = [pytest.mark.slow, pytest.mark.docker]

_USER, _PASSWORD = "node", "correct horse"
_CHANGED = 2  # the highest layer
Names = Callable[[], set[str]]


@dataclass(frozen=True, slots=True)
class Node:
    """A node: ``engine`` has its options for ``envbuild warm node``; ``names`` gives its images' names,
    ``use`` runs a container of one, and ``leave`` ends that.
    """

    store: Store
    envbuild: Envbuild
    registry: FakeRegistry
    fleet: Path
    engine: tuple[str, ...]
    compression: str
    names: Names
    use: Callable[[str], None]
    leave: Callable[[], None]

    def push(self, environment: str, version: int) -> tuple[str, Image]:
        """Push a version of an environment's image; returns its reference, pinned, and the image."""
        content = [_content(f"{self.fleet} {environment}", layer, version) for layer in range(3)]
        layers = [[file(f"srv/{number}", data)] for number, data in enumerate(content)]
        image = make_image(self.store, layers, compression=self.compression, entrypoint=("/none",))
        name = f"{environment}:{version}"
        record_image(self.store, name, image.platform, image.manifest)
        self.envbuild.document("push", name, f"{self.registry.address}/lab/{name}")
        return f"{self.registry.address}/lab/{environment}@{image.manifest.digest}", image

    def offer(self, **images: str) -> None:
        """Write the fleet's file: environments and their images."""
        tables = "".join(f'[environments.{name}]\nimage = "{image}"\n' for name, image in images.items())
        self.fleet.write_text(f'[fleet]\nname = "lab"\n[pools.cpu]\n{tables}')

    def release(self, environment: str, version: int) -> str:
        """Push a version and pin it as operators do, on a node that keeps the one before; its reference."""
        reference, _ = self.push(environment, version)
        self.fleet.write_text(
            f'[fleet]\nname = "releases"\n[pools.cpu]\nkeep-previous = true\n[environments.{environment}]\n'
            f'image = "{self.registry.address}/lab/{environment}:{version}"\n'
        )
        self.envbuild.document("build", "--fleet", self.fleet)
        return reference

    def warm(self, *options: str) -> tuple[int, dict[str, Any]]:
        """Run the command; exit code and document."""
        done = self.envbuild.run("warm", "node", self.fleet, *self.engine, *options, "--json")
        assert "" != done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def states(self, *options: str) -> tuple[int, dict[str, str], dict[str, str]]:
        """Run the command; exit code, environment -> state, old image -> what became of it."""
        code, document = self.warm(*options)
        states = {image["environments"][0]: image["state"] for image in document["images"]}
        return code, states, {old["image"]: old["outcome"] for old in document["let_go"]}


def _content(name: str, layer: int, version: int) -> bytes:
    version = version if layer == _CHANGED else 0
    return random.Random(f"{name} {layer} {version}").randbytes(100_000 * (layer + 1))


def _logged_in(directory: Path, address: str) -> dict[str, str]:
    """Variables of a user who is logged in to the registry at ``address``."""
    entry = base64.b64encode(f"{_USER}:{_PASSWORD}".encode()).decode()
    (directory / "config.json").write_text(json.dumps({"auths": {address: {"auth": entry}}}))
    return {"DOCKER_CONFIG": str(directory), "HOME": str(directory)}


@pytest.fixture
def containerd_node(tmp_path: Path, containerd_socket: Path) -> Iterator[Node]:
    """containerd, which knows nothing of the registry's password."""
    ctr = ("ctr", "--address", str(containerd_socket), "--namespace", tmp_path.name)

    def names() -> set[str]:
        return set(output_of(*ctr, "images", "list", "--quiet").split())

    def use(name: str) -> None:
        output_of(*ctr, "containers", "create", name, "using", "/none")

    with fake_registry(scheme="bearer", users={_USER: _PASSWORD}) as registry:
        yield Node(
            *_program(tmp_path, _logged_in(tmp_path, registry.address)),
            registry,
            tmp_path / "fleet.toml",
            ("--address", str(containerd_socket), "--namespace", tmp_path.name),
            "zstd",
            names,
            use,
            lambda: print(output_of(*ctr, "containers", "delete", "using")),
        )


@pytest.fixture
def docker_node(tmp_path: Path, docker_host: str) -> Iterator[Node]:
    """Docker before 23, which reads gzip only."""
    environment = {"DOCKER_HOST": docker_host}

    def names() -> set[str]:
        listed = output_of("docker", "images", "--digests", "--format", "{{json .}}", environment=environment)
        images = [json.loads(line) for line in listed.splitlines()]
        found = {f"{one['Repository']}@{one['Digest']}" for one in images if one["Digest"] != "<none>"}
        return {
            name for name in found if name.startswith(registry.address)
        }  # other tests' images are there, too

    def use(name: str) -> None:
        output_of("docker", "create", "--name", "using", name, environment=environment)

    with fake_registry(scheme="bearer", users={_USER: _PASSWORD}) as registry:
        variables = {**_logged_in(tmp_path, registry.address), **environment}
        yield Node(
            *_program(tmp_path, variables),
            registry,
            tmp_path / "fleet.toml",
            ("--engine", "docker"),
            "gzip",
            names,
            use,
            lambda: print(output_of("docker", "rm", "using", environment=environment)),
        )


def _program(directory: Path, variables: dict[str, str]) -> tuple[Store, Envbuild]:
    store = Store(directory / "cache")
    store.prepare()
    return store, Envbuild(store.root, environment=variables)


@pytest.fixture(params=["containerd", "docker"])
def node(request: pytest.FixtureRequest) -> Node:
    found: Node = request.getfixturevalue(f"{request.param}_node")
    return found


def test_a_node_gets_what_is_missing_and_loses_what_is_old(node: Node) -> None:
    """All blobs once; then nothing; after a bump the changed layer; the old image goes when nobody uses it,
    and what the node had from elsewhere stays.
    """
    first, image = node.push("analysis", 1)
    node.offer(analysis=first)
    node.registry.forget()

    assert (0, {"analysis": "to-pull"}, {}) == node.states("--dry-run")
    assert (set(), 0) == (node.names(), len(_layers_asked(node)))
    assert (0, {"analysis": "pulled"}, {}) == node.states()
    assert {layer.digest for layer in image.layers} == _layers_asked(node)
    assert {first} == node.names()

    node.use(first)
    second, bumped = node.push("analysis", 2)
    node.offer(analysis=second)
    node.registry.forget()
    code, document = node.warm()
    changed = bumped.layers[_CHANGED]
    assert (0, changed.size) == (code, document["images"][0]["pull"])
    assert {changed.digest} == _layers_asked(node)
    assert [{"image": first, "outcome": "in-use", "error": None}] == document["let_go"]

    node.leave()
    node.registry.forget()
    assert (0, {"analysis": "warm"}, {first: "went"}) == node.states()
    assert ({second}, 0) == (node.names(), len(_layers_asked(node)))
    assert (0, {"analysis": "warm"}, {}) == node.states()


def test_the_version_before_stays_until_the_next_one_and_going_back_to_it_pulls_nothing(node: Node) -> None:
    first = node.release("analysis", 1)
    assert (0, [(first, False, "pulled")], []) == _told(node)
    second = node.release("analysis", 2)
    lock = node.fleet.with_suffix(".lock").read_text()

    assert (0, [(second, False, "pulled"), (first, True, "warm")], []) == _told(node)
    assert {first, second} == node.names()

    third = node.release("analysis", 3)
    assert (0, [(third, False, "pulled"), (second, True, "warm")], [(first, "went")]) == _told(node)
    assert {second, third} == node.names()

    node.registry.repository("lab/analysis").manifests.pop(first.rpartition("@")[2])  # retention
    node.fleet.with_suffix(".lock").write_text(lock)
    node.registry.forget()
    assert (0, [(second, False, "warm"), (first, True, "failed")], [(third, "went")]) == _told(node)
    assert ({second}, set()) == (node.names(), _layers_asked(node))


def _told(node: Node) -> tuple[int, list[tuple[str, bool, str]], list[tuple[str, str]]]:
    """Exit code; image, whether it is a previous one, state; old image, what became of it."""
    code, document = node.warm()
    images = [(one["image"], one["previous"], one["state"]) for one in document["images"]]
    return code, images, [(old["image"], old["outcome"]) for old in document["let_go"]]


def _layers_asked(node: Node) -> set[str]:
    """The layers that were asked for since the registry was told to forget, each once."""
    configs = {digest for digest, data in node.registry.blobs.items() if data[:1] == b"{"}
    asked = [request.target.rpartition("/")[2] for request in node.registry.asked("get-blob")]
    layers = [digest for digest in asked if digest not in configs]
    assert sorted(set(layers)) == sorted(layers)
    return set(layers)


def test_an_image_that_fails_keeps_no_other_from_being_pulled_and_no_old_one_goes(node: Node) -> None:
    first, _ = node.push("geo", 1)
    node.offer(geo=first)
    node.states()
    second, _ = node.push("analysis", 1)
    gone = f"{node.registry.address}/lab/geo@sha256:{'0' * 64}"
    node.offer(geo=gone, analysis=second)

    code, document = node.warm()

    found = {image["environments"][0]: image["error"] for image in document["images"]}
    assert (1, None, "warm-image-gone") == (code, found["analysis"], found["geo"]["error"])
    assert ({first, second}, []) == (node.names(), document["let_go"])


def test_two_fleets_share_an_image_and_what_nobody_brought_is_nobodys(node: Node) -> None:
    shared, _ = node.push("shared", 1)
    other, _ = node.push("other", 1)
    node.offer(shared=shared)
    node.states()
    theirs = node.fleet.with_name("theirs.toml")
    theirs.write_text(node.fleet.read_text().replace('"lab"', '"theirs"'))
    arguments = ("warm", "node", theirs, *node.engine)
    assert "warm" == node.envbuild.document(*arguments)["images"][0]["state"]
    node.offer(other=other)

    assert (0, {"other": "pulled"}, {shared: "shared"}) == node.states()
    theirs.write_text(node.fleet.read_text().replace('"lab"', '"theirs"'))
    assert [{"image": shared, "outcome": "went", "error": None}] == node.envbuild.document(*arguments)[
        "let_go"
    ]
    assert {other} == node.names()


def test_layers_that_arrived_before_a_failure_are_not_pulled_again(containerd_node: Node) -> None:
    node = containerd_node
    reference, image = node.push("analysis", 1)
    node.offer(analysis=reference)
    last = image.layers[_CHANGED].digest
    node.registry.fail(faults.status(403, "DENIED"), kind="get-blob", path=last, times=None)
    node.registry.fail(faults.slow(), kind="get-blob", path=last)

    code, document = node.warm()

    assert (4, "failed") == (code, document["images"][0]["state"])
    assert set() == node.names()
    node.registry.heal()
    node.registry.forget()
    assert (0, {"analysis": "pulled"}, {}) == node.states()
    assert last in _layers_asked(node)


def test_old_docker_is_told_before_anything_is_pulled(docker_node: Node, docker_host: str) -> None:
    format_ = ("docker", "version", "--format", "{{.Server.Version}}")
    if int(output_of(*format_, environment={"DOCKER_HOST": docker_host}).partition(".")[0]) >= 23:
        pytest.skip("this Docker reads zstd")
    image = make_image(docker_node.store, [[file("srv/zstd", b"zstd")]], compression="zstd")
    record_image(docker_node.store, "zstd:1", image.platform, image.manifest)
    reference = f"{docker_node.registry.address}/lab/zstd"
    docker_node.envbuild.document("push", "zstd:1", f"{reference}:1")
    docker_node.offer(zstd=f"{reference}@{image.manifest.digest}")
    docker_node.registry.forget()

    code, document = docker_node.warm()

    assert (3, "docker-zstd") == (code, document["images"][0]["error"]["error"])
    assert set() == _layers_asked(docker_node)
