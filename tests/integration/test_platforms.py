"""An image for an architecture that this machine does not have."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.support.programs import Envbuild, output_of, require

pytestmark = [pytest.mark.network, pytest.mark.slow]

_WHEEL = re.compile(r'name = "([^"]+)", version = "([^"]+)".*?(-none-any)?\.whl"')
_ELF_MACHINE = slice(18, 20)
_AARCH64 = (183).to_bytes(2, "little")


@pytest.fixture(scope="module")
def layout(scratch: Path) -> Path:
    """Where the image for both architectures is written."""
    return scratch / "both"


@pytest.fixture(scope="module")
def document(envbuild: Envbuild, quickstart: Path, layout: Path) -> dict[str, Any]:
    """What building for both says."""
    both = ("--platform", "linux/amd64", "--platform", "linux/arm64")
    return envbuild.document("build", quickstart, "--locked", *both, "-o", f"oci:{layout}")


def test_index_has_both_architectures(document: dict[str, Any], layout: Path) -> None:
    """skopeo finds each image through the index, with the digest we said."""
    require("skopeo")
    assert ["linux/amd64", "linux/arm64"] == sorted(document["platforms"])
    for architecture in ("amd64", "arm64"):
        choose = ("--override-os", "linux", "--override-arch", architecture)
        seen = json.loads(output_of("skopeo", *choose, "inspect", f"oci:{layout}"))
        layers = document["platforms"][f"linux/{architecture}"]["layers"]
        assert architecture == seen["Architecture"]
        assert [layer["digest"] for layer in layers] == seen["Layers"]


def test_pure_layers_are_shared(document: dict[str, Any], quickstart: Path) -> None:
    """A layer of py3-none-any wheels, bytecode included, has one diff ID for all architectures."""
    text = (quickstart / "envbuild.lock").read_text("utf-8")
    wheels = [(f"{name}=={version}", bool(pure)) for name, version, pure in _WHEEL.findall(text)]
    # Some packages have a compiled wheel for one architecture and a pure one for the other.
    pure = {wheel for wheel, is_pure in wheels if is_pure} - {
        wheel for wheel, is_pure in wheels if not is_pure
    }
    amd64, arm64 = (
        {layer["diff_id"]: layer for layer in document["platforms"][platform]["layers"]}
        for platform in ("linux/amd64", "linux/arm64")
    )
    expected = {
        diff_id
        for diff_id, layer in amd64.items()
        if layer["packages"] and pure.issuperset(layer["packages"])
    }
    assert len(expected) >= 5
    assert expected <= arm64.keys()


def _machines(layout: Path, layer: dict[str, Any], pattern: str) -> dict[str, bytes]:
    """Path -> for which machine it is, of the programs and libraries in a layer that fit."""
    with (layout / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")).open("rb") as blob:
        stream = zstandard.ZstdDecompressor().stream_reader(blob)
        with stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            return {
                member.name: content.read(20)[_ELF_MACHINE]
                for member in archive
                if re.fullmatch(pattern, member.name) and (content := archive.extractfile(member)) is not None
            }


def test_binaries_are_for_the_target(document: dict[str, Any], layout: Path) -> None:
    """The Python in the arm64 image is an arm64 program."""
    system = document["platforms"]["linux/arm64"]["layers"][0]
    assert [_AARCH64] == list(_machines(layout, system, r"usr/bin/python3\.\d+").values())


def test_an_index_is_pushed_without_a_machine_of_that_kind(
    envbuild: Envbuild, document: dict[str, Any], quickstart: Path, registry: str, tmp_path: Path
) -> None:
    """``build --push`` for both; what skopeo then gets for arm64 has compiled modules for arm64."""
    require("skopeo")
    name = f"{registry}/both:1"
    both = ("--platform", "linux/amd64", "--platform", "linux/arm64")
    pushed = envbuild.document("build", quickstart, "--locked", *both, "--push", "-t", name)
    assert document["digest"] == pushed["digest"] == pushed["pushed"]["digest"]
    raw = json.loads(output_of("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}"))
    assert {platform: image["digest"] for platform, image in document["platforms"].items()} == {
        f"{entry['platform']['os']}/{entry['platform']['architecture']}": entry["digest"]
        for entry in raw["manifests"]
    }
    copied = tmp_path / "arm64"
    choose = ("skopeo", "--override-arch", "arm64", "copy", "--quiet", "--src-tls-verify=false")
    output_of(*choose, f"docker://{name}", f"oci:{copied}:1")
    layers = document["platforms"]["linux/arm64"]["layers"]
    (numpy,) = (
        layer for layer in layers if any(package.startswith("numpy==") for package in layer["packages"])
    )
    machines = _machines(copied, numpy, r".*/numpy/_core/.*\.so")
    assert machines
    assert {_AARCH64} == set(machines.values())
