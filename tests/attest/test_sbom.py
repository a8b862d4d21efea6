"""Bills of materials: valid, complete, and the same everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from envbuild.attest.sbom import sbom
from envbuild.image.model import Layer
from envbuild.lock.lockfile import dump_lock, load_lock
from envbuild.lock.model import Lock
from envbuild.pack import recipe
from tests.attest.examples import COMMIT, digest_of, every_kind, image_of, wheel_from
from tests.support.base_images import REFERENCE, lock_on_image, platform_image
from tests.support.locks import PLATFORM, small_lock, small_wheel

GOLDEN = Path(__file__).parent / "golden-sbom.json"

_VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


def _document(lock: Lock, *more: Layer, platform: str = PLATFORM) -> dict[str, Any]:
    data = sbom(lock, dump_lock(lock), platform, image_of(lock, *more, platform=platform))
    document: dict[str, Any] = json.loads(data)
    return document


def _components(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {component["bom-ref"]: component for component in document["components"]}


def _properties(component: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in component["properties"]}


@pytest.mark.parametrize("with_image", [True, False])
@pytest.mark.parametrize("lock", [small_lock(), small_lock(small_wheel("six", "1.16")), every_kind()])
def test_the_official_validator_accepts_it(lock: Lock, with_image: bool) -> None:
    image = image_of(lock) if with_image else None

    data = sbom(lock, dump_lock(lock), PLATFORM, image)

    assert _VALIDATOR.validate_str(data.decode()) is None


def test_the_validator_would_notice() -> None:
    data = sbom(small_lock(), b"", PLATFORM)

    assert _VALIDATOR.validate_str(data.decode().replace('"platform"', '"plattform"')) is not None


def test_a_small_one_is_byte_for_byte_what_it_was() -> None:
    """When this fails on purpose: ``sbom`` of the lock below into ``golden-sbom.json``, and look at the diff.

    The recipe's version is in it, which is not what this test is about.
    """
    lock = small_lock(replace(small_wheel("six", "1.16"), direct=True))

    data = sbom(lock, b"a lock", PLATFORM)

    expected = json.loads(GOLDEN.read_text())
    written = json.loads(data)
    assert expected.keys() == written.keys()
    for document in (expected, written):
        del document["serialNumber"], document["metadata"]["tools"]
        del document["metadata"]["component"]["version"], document["metadata"]["component"]["properties"]
    assert expected == written
    assert (
        data == (json.dumps(json.loads(data), sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()
    )


def test_every_package_is_in_it_with_its_hash_section_and_layer() -> None:
    lock = every_kind()
    target, base = lock.target(PLATFORM), lock.base

    components = _components(_document(lock))

    listed = Counter(
        (_properties(one)["envbuild:section"], one["name"], one["version"], one["hashes"][0]["content"])
        for one in components.values()
        if one["type"] == "library"
    )
    locked = Counter(
        (section, package.name, package.version, package.artifact.sha256)
        for section, packages in {
            "apt": target.apt,
            "base": base.debs[PLATFORM],
            "conda": target.conda,
            "environment": target.wheels,
            "server": base.server[PLATFORM],
        }.items()
        for package in packages
    )
    assert locked == listed
    layers = {layer.diff_id: layer for layer in image_of(lock).layers}
    for component in components.values():
        if component["type"] == "library":
            properties = _properties(component)
            layer = layers[properties["envbuild:layer:diff-id"]]
            assert layer.digest == properties["envbuild:layer:digest"]
            assert f"{component['name']}=={component['version']}" in layer.packages


def test_package_urls_are_those_of_the_specification() -> None:
    components = _components(_document(every_kind()))

    urls = {component["name"]: component["purl"] for component in components.values() if "purl" in component}

    assert {
        "base-files": "pkg:deb/debian/base-files@12.4%2Bdeb12u11?arch=amd64&distro=bookworm",
        "from-git": f"pkg:generic/from-git@1.0?vcs_url=git%2Bhttps://example.org/team/from-git.git%40{COMMIT}",
        "from-sdist": "pkg:pypi/from-sdist@2.0",
        "from-url": "pkg:generic/from-url@3.0?download_url=https://example.org/from-url-3.0.zip%3Ftoken%3D%2A%2A%2A",
        "git": "pkg:deb/debian/git@1:2.39.5-0%2Bdeb12u2?arch=amd64&distro=bookworm",
        "jupyterlab": "pkg:pypi/jupyterlab@4.0",
        "libc6": "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=bookworm",
        "libzlib": "pkg:conda/libzlib@1.3.1?build=h4_1&channel=conda-forge&subdir=linux-64&type=tar.bz2",
        "numpy": "pkg:pypi/numpy@2.0.0%2Bcpu",
        "python": "pkg:conda/python@3.12.4?build=h99_cpython&channel=conda-forge&subdir=linux-64&type=conda",
    } == urls
    assert [] == [url for url in urls.values() if PackageURL.from_string(url).to_string() != url]


def test_the_image_is_its_subject() -> None:
    document = _document(every_kind())

    subject = document["metadata"]["component"]

    digest = image_of(every_kind()).manifest.digest
    assert "container" == subject["type"]
    assert digest == subject["version"]
    assert [{"alg": "SHA-256", "content": digest[7:]}] == subject["hashes"]
    assert f"pkg:oci/demo@{digest}?arch=amd64" == subject["purl"]
    assert PackageURL.from_string(subject["purl"]).to_string() == subject["purl"]
    properties = _properties(subject)
    assert image_of(every_kind()).image_id == properties["envbuild:image-id"]
    assert PLATFORM == properties["envbuild:platform"]
    assert str(recipe.VERSION) == properties["envbuild:recipe"]


def test_it_has_the_system_and_the_pythons() -> None:
    components = _components(_document(every_kind()))

    assert ("operating-system", "debian", "12") == tuple(
        components["operating-system"][key] for key in ("type", "name", "version")
    )
    assert ["3.11.2", "3.12.4"] == [
        components[f"python/{section}"]["version"] for section in ("base", "environment")
    ]


def test_dependencies_are_those_that_are_known() -> None:
    document = _document(every_kind())

    graph = {entry["ref"]: entry["dependsOn"] for entry in document["dependencies"]}

    refs = {one["name"]: one["bom-ref"] for one in document["components"] if one["type"] == "library"}
    assert [refs["libzlib"]] == graph[refs["python"]]
    assert [] == graph[refs["libzlib"]]
    assert {refs["numpy"], refs["git"], refs["python"]} < set(graph["image"])
    assert refs["numpy"] not in graph, "what numpy needs is not in a lock"
    known = {"image", *(component["bom-ref"] for component in document["components"])}
    assert set() == {reference for needed in graph.values() for reference in needed} - known


def test_a_wheel_of_the_server_and_of_the_environment_is_there_twice() -> None:
    lock = small_lock(small_wheel("jupyterlab", "4.0"))

    components = _components(_document(lock))

    assert {"environment/pkg:pypi/jupyterlab@4.0", "server/pkg:pypi/jupyterlab@4.0"} <= components.keys()


def test_projects_and_scripts_are_not_in_the_lock_but_in_the_image() -> None:
    project = Layer("demo", digest_of("1"), digest_of("2"), 1, 1, "zstd", ("demo==0.1",), key="ab")
    files = Layer("repository", digest_of("3"), digest_of("4"), 1, 1, "zstd")
    script = Layer("postBuild", digest_of("5"), digest_of("6"), 1, 1, "zstd", captured=True)

    document = _document(every_kind(), project, files, script)

    found = _components(document)["project/pkg:generic/demo@0.1"]
    assert project.diff_id == _properties(found)["envbuild:layer:diff-id"]
    assert [{"aggregate": "incomplete", "assemblies": ["image"]}] == document["compositions"]
    assert "compositions" not in _document(every_kind(), project, files)
    assert _VALIDATOR.validate_str(json.dumps(document)) is None


def test_a_base_from_a_registry_is_named_and_what_is_in_it_is_not_known() -> None:
    lock = lock_on_image()
    apt = replace(lock.targets[0], apt=(replace(lock.base.debs[PLATFORM][0], name="tree", direct=True),))
    lock = replace(lock, targets=(apt,))

    document = _document(lock)

    components = _components(document)
    digest = platform_image().digest
    url = f"pkg:oci/python@{digest}?arch=amd64&repository_url=registry.example.org/team/python&tag=3.12"
    assert ("container", digest, url) == tuple(
        components["base-image"][key] for key in ("type", "version", "purl")
    )
    assert PackageURL.from_string(url).to_string() == url
    assert ("debian", {"envbuild:base": REFERENCE, "envbuild:suite": "bookworm"}) == (
        components["operating-system"]["name"],
        _properties(components["operating-system"]),
    )
    assert "additions/pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=trixie" in components
    assert "apt/pkg:deb/debian/tree@2.36-9?arch=amd64&distro=bookworm" in components
    assert [{"aggregate": "incomplete", "assemblies": ["image"]}] == document["compositions"]
    assert _VALIDATOR.validate_str(json.dumps(document)) is None


def test_a_base_that_tells_no_distribution_gets_none() -> None:
    document = _document(lock_on_image(platform_image(distribution="")))

    assert "operating-system" not in _components(document)
    known = {"image", *_components(document)}
    assert set() == {name for entry in document["dependencies"] for name in entry["dependsOn"]} - known
    assert _VALIDATOR.validate_str(json.dumps(document)) is None


def test_an_image_by_another_recipe_has_its_packages_once_and_no_layers() -> None:
    """Its layers have other keys: where something is cannot be told then, and is not guessed."""
    lock = small_lock(small_wheel("six", "1.16"))
    image = image_of(lock)
    other = replace(image, layers=tuple(replace(layer, key="0" * 64) for layer in image.layers))

    document = json.loads(sbom(lock, dump_lock(lock), PLATFORM, other))

    names = [component["name"] for component in document["components"] if component["type"] == "library"]
    assert ["libc6", "six", "jupyterlab"] == names
    assert not any("layer" in name for one in document["components"] for name in _properties(one))


def test_serial_numbers_tell_contents_apart() -> None:
    one, other = small_lock(small_wheel("six", "1.16")), small_lock(small_wheel("six", "1.17"))

    numbers = [
        json.loads(sbom(lock, dump_lock(lock), PLATFORM))["serialNumber"] for lock in (one, one, other)
    ]

    assert numbers[0] == numbers[1] != numbers[2]


def test_an_image_has_another_document_than_its_lock_and_per_compression() -> None:
    lock = every_kind()

    documents = {
        sbom(lock, dump_lock(lock), PLATFORM, image)
        for image in (None, image_of(lock), image_of(lock, compression="gzip"), image_of(lock))
    }

    assert 3 == len(documents)


def test_bytes_do_not_depend_on_the_machine() -> None:
    """Another hash seed, time zone, locale and home; the order in which the lock's packages are given."""
    program = (
        "import sys\n"
        "from dataclasses import replace\n"
        "from envbuild.attest.sbom import sbom\n"
        "from envbuild.lock.lockfile import dump_lock\n"
        "from tests.attest.examples import every_kind, image_of\n"
        "lock = every_kind()\n"
        "sys.stdout.buffer.write(sbom(lock, dump_lock(lock), 'linux/amd64', image_of(lock)))\n"
    )
    outputs = set()
    for seed, zone in (("1", "Asia/Tokyo"), ("2", "America/Lima")):
        environment = {
            "HOME": f"/nowhere/{seed}",
            "LC_ALL": "C",
            "PATH": os.environ["PATH"],
            "PYTHONHASHSEED": seed,
            "TZ": zone,
            "USER": f"user{seed}",
        }
        outputs.add(
            subprocess.run(
                [sys.executable, "-c", program],
                capture_output=True,
                check=True,
                env=environment,
                cwd=Path(__file__).parents[2],
            ).stdout
        )

    lock = every_kind()
    target = lock.targets[0]
    turned = replace(lock, targets=(replace(target, wheels=target.wheels[::-1], conda=target.conda[::-1]),))
    read = load_lock(dump_lock(turned))
    outputs.add(sbom(read, dump_lock(read), PLATFORM, image_of(read)))

    assert {sbom(lock, dump_lock(lock), PLATFORM, image_of(lock))} == outputs


def test_no_address_of_an_index_is_in_it() -> None:
    lock = small_lock(wheel_from("pypi", "six", "1.16"))

    data = sbom(lock, dump_lock(lock), PLATFORM, image_of(lock))

    addresses = {word for word in data.decode().split('"') if word.startswith("http")}
    assert {"http://cyclonedx.org/schema/bom-1.6.schema.json"} == addresses
