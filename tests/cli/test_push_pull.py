"""``envbuild push`` and ``envbuild pull``, with a registry on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envbuild.cli.main import run
from envbuild.image.model import Image
from envbuild.pack.tar import file
from envbuild.store import Store
from envbuild.store.images import record_image, stored_images
from tests.support.images import make_image
from tests.support.registry import fake_registry, faults


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The cache, for somebody without a home."""
    monkeypatch.setenv("ENVBUILD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


@pytest.fixture
def image(store: Store) -> Image:
    made = make_image(store, [[file("a", b"a" * 5000)], [file("b", b"b")]])
    record_image(store, "demo:1", made.platform, made.manifest)
    return made


def document(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert code == run([*arguments, "--json"])
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def test_there_and_back(
    store: Store, image: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_registry() as registry:
        name = f"{registry.address}/team/demo:1.0"

        pushed = document(capsys, "push", "demo:1", name)
        assert (image.manifest.digest, [name]) == (pushed["pushed"]["digest"], pushed["pushed"]["references"])

        layout = tmp_path / "layout"
        pulled = document(capsys, "pull", name, "--cache-dir", str(tmp_path / "other"), "-o", f"oci:{layout}")
        assert (image.manifest.digest, name) == (pulled["digest"], pulled["name"])
        assert image.image_id == pulled["platforms"]["linux/amd64"]["image_id"]
        (entry,) = json.loads((layout / "index.json").read_bytes())["manifests"]
        assert image.manifest.digest == entry["digest"]

        again = document(capsys, "push", f"oci:{layout}", f"{registry.address}/other:1")
        assert {"blobs": 0, "bytes": 0} == again["pushed"]["uploaded"]
        assert 3 == again["pushed"]["mounted"]["blobs"]


def test_what_was_pulled_goes_where_its_name_says(
    store: Store, image: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_registry() as registry:
        name = f"{registry.address}/team/demo:1.0"
        record_image(store, name, image.platform, image.manifest)

        assert 0 == run(["push", name])
        assert f"pushed  {name}@{image.manifest.digest}\n" in capsys.readouterr().out
        assert 0 == run(["pull", f"{registry.address}/team/demo@{image.manifest.digest}"])
        output = capsys.readouterr().out
        assert f"pulled    {registry.address}/team/demo@{image.manifest.digest}\n" in output
        assert "content   2 layers (2 cached)" in output

    names = {stored.name for stored in stored_images(store)}
    assert f"{registry.address}/team/demo:{image.manifest.digest.replace(':', '-')}" in names


def test_bytes_that_only_a_registry_has_stay_there(
    store: Store, image: Image, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_registry() as registry:
        document(capsys, "push", "demo:1", f"{registry.address}/one:1")
        for layer in image.layers:
            store.blob_path(layer.digest).unlink()
        registry.forget()

        pushed = document(capsys, "push", "demo:1", f"{registry.address}/two:1")
        assert (3, 0) == (pushed["pushed"]["mounted"]["blobs"], registry.count("get-blob"))
        assert [] == registry.contents.damages()


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("push", "nothing"), 2, "no-image-there"),
        (("push", "demo:1", "Not A Name"), 2, "bad-image-name"),
        (("push", "oci:{tmp}/nowhere", "localhost:1/demo"), 2, "no-image-there"),
        (("push", "oci:{tmp}"), 2, "push-without-name"),
        (("push", "demo:1", "localhost:1/demo", "--platform", "linux/arm64"), 2, "no-such-platform"),
        (("push", "demo:1", "127.0.0.1:1/demo"), 4, "registry-unreachable"),
        (("push", "demo:1", "127.0.0.1:1/demo", "--offline"), 4, "offline"),
        (("pull", "127.0.0.1:1/demo", "--offline"), 4, "offline"),
        (("pull", "Not A Name"), 2, "bad-image-name"),
        (("pull", "127.0.0.1:1/demo", "-o", "zip:x"), 2, "bad-output"),
    ],
)
def test_mistakes(
    store: Store,
    image: Image,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    error: str,
) -> None:
    filled = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]

    assert error == document(capsys, *filled, code=code)["error"]


def test_a_refusal_says_what_to_do(store: Store, image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_registry(scheme="bearer", users={"me": "secret"}) as registry:
        assert 4 == run(["push", "demo:1", f"{registry.address}/demo"])

        said = capsys.readouterr().err
        assert f"error: {registry.address} wants to know who you are to push" in said
        assert f"`docker login {registry.address}` or `podman login {registry.address}`" in said


def test_a_helper_that_is_broken_for_all_is_a_warning(
    store: Store,
    image: Image,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", '{"credsStore": "does-not-exist"}')
    with fake_registry(scheme="bearer", anonymous_pull=True) as registry:
        registry.fail(faults.absent(), kind="get-manifest")
        assert 2 == run(["pull", f"{registry.address}/demo"])

        said = capsys.readouterr().err
        assert "warning: docker-credential-does-not-exist cannot be asked for" in said
        assert 1 == said.count("warning")
