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


def test_binaries_are_for_the_target(document: dict[str, Any], layout: Path) -> None:
    """The Python in the arm64 image is an arm64 program."""
    digest = document["platforms"]["linux/arm64"]["layers"][0]["digest"].removeprefix("sha256:")
    with (layout / "blobs" / "sha256" / digest).open("rb") as blob:
        stream = zstandard.ZstdDecompressor().stream_reader(blob)
        with stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            headers = {
                member.name: content.read(20)
                for member in archive
                if re.fullmatch(r"usr/bin/python3\.\d+", member.name)
                and (content := archive.extractfile(member)) is not None
            }
    assert [_AARCH64] == [header[_ELF_MACHINE] for header in headers.values()]
