"""Provenance: of the published shape, complete, and without anything of the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from envbuild.attest.invocation import Invocation
from envbuild.attest.provenance import BUILD_TYPE, provenance
from envbuild.lock.lockfile import dump_lock
from envbuild.lock.model import Lock
from envbuild.source import Origin
from tests.attest.examples import COMMIT, digest_of, every_kind, image_of
from tests.support.base_images import lock_on_image, platform_image
from tests.support.locks import PLATFORM, small_lock, small_wheel

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "attestations.md"
ORIGIN = Origin("https://example.org/team/demo.git", COMMIT, "demo", ref="main", subdirectory="book")


def _made(lock: Lock, **options: Any) -> bytes:
    images = options.pop("images", None) or [image_of(lock)]
    return provenance(lock, dump_lock(lock), images, **{"compression": "zstd", **options})


def _definition(data: bytes) -> dict[str, Any]:
    definition: dict[str, Any] = json.loads(data)["predicate"]["buildDefinition"]
    return definition


def _valid(data: bytes) -> Provenance:
    """The provenance as in-toto's own definitions read it, which refuse unknown keys and wrong types."""
    read = StatementMessage()
    json_format.Parse(data, read)
    statement = Statement.copy_from_pb(read)
    statement.validate()
    message = Provenance()
    json_format.Parse(json.dumps(json.loads(data)["predicate"]), message)
    return message


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"origin": ORIGIN},
        {"index": digest_of("index")},
        {"invocation": Invocation("gitlab-ci", "https://gitlab.example.org/1", (("ref", "main"),))},
    ],
)
@pytest.mark.parametrize("lock", [small_lock(small_wheel("six", "1.16")), every_kind()])
def test_in_totos_library_accepts_it(lock: Lock, options: dict[str, Any]) -> None:
    message = _valid(_made(lock, **options))

    assert BUILD_TYPE == message.build_definition.build_type


def test_in_totos_library_would_notice() -> None:
    data = _made(small_lock()).replace(b'"buildType"', b'"buildKind"')

    with pytest.raises(json_format.ParseError):
        _valid(data)


def test_its_subjects_are_the_manifests_and_the_index() -> None:
    lock = small_lock()
    amd64 = image_of(lock)
    arm64 = replace(amd64, platform="linux/arm64", manifest=replace(amd64.manifest, digest=digest_of("arm")))
    index = digest_of("index")

    # One of them is enough of a lock for the test: what differs per platform is not what it is about.
    two = replace(
        lock,
        base=replace(
            lock.base,
            debs={**lock.base.debs, "linux/arm64": lock.base.debs[PLATFORM]},
            server={**lock.base.server, "linux/arm64": lock.base.server[PLATFORM]},
        ),
        targets=(*lock.targets, replace(lock.targets[0], platform="linux/arm64")),
    )
    document = json.loads(_made(two, images=[arm64, amd64], index=index))

    assert {
        f"pkg:oci/demo@{amd64.manifest.digest}?arch=amd64": {"sha256": amd64.manifest.digest[7:]},
        f"pkg:oci/demo@{arm64.manifest.digest}?arch=arm64": {"sha256": arm64.manifest.digest[7:]},
        f"pkg:oci/demo@{index}": {"sha256": index[7:]},
    } == {subject["name"]: subject["digest"] for subject in document["subject"]}
    parameters = document["predicate"]["buildDefinition"]["externalParameters"]
    assert ["linux/amd64", "linux/arm64"] == parameters["platforms"]


def test_everything_that_was_fetched_is_a_dependency() -> None:
    lock = every_kind()
    target, base = lock.target(PLATFORM), lock.base

    found = _definition(_made(lock))["resolvedDependencies"]

    archives = [built.archive for built in target.built if built.archive is not None]
    tools = [wheel.artifact for built in target.built for wheel in built.requires]
    locked = [
        package.artifact
        for package in (
            *target.wheels,
            *target.conda,
            *target.apt,
            *base.debs[PLATFORM],
            *base.server[PLATFORM],
        )
        if package.artifact.source != "built"
    ]
    assert {(artifact.filename, artifact.sha256) for artifact in (*archives, *tools, *locked)} == {
        (one["name"], one["digest"]["sha256"]) for one in found if "name" in one
    }
    assert [
        {
            "uri": f"git+https://example.org/team/from-git.git@{COMMIT}",
            "digest": {"gitCommit": COMMIT},
        }
    ] == [one for one in found if "name" not in one]


def test_the_image_in_a_registry_that_the_base_is_is_a_dependency() -> None:
    lock = lock_on_image()
    assert lock.base.image is not None
    data = _made(lock)

    images = {
        one["uri"]: one["digest"]["sha256"]
        for one in _definition(data)["resolvedDependencies"]
        if one["uri"].startswith("pkg:oci/")
    }

    where = "repository_url=registry.example.org/team/python&tag=3.12"
    index, manifest = lock.base.image.digest, platform_image().digest
    assert {
        f"pkg:oci/python@{index}?{where}": index[7:],
        f"pkg:oci/python@{manifest}?arch=amd64&{where}": manifest[7:],
    } == images
    _valid(data)


def test_no_credentials_and_no_addresses_of_indexes_are_in_it() -> None:
    data = _made(every_kind(), origin=replace(ORIGIN, url="https://me:secret@example.org/team/demo.git"))

    assert b"secret" not in data
    addresses = {one["uri"] for one in _definition(data)["resolvedDependencies"] if "://" in one["uri"]}
    assert {
        f"git+https://example.org/team/from-git.git@{COMMIT}",
        "git+https://***@example.org/team/demo.git",
        "https://example.org/from-url-3.0.zip?token=***",
    } == {uri for uri in addresses if not uri.startswith("pkg:")}


@pytest.mark.parametrize(
    ("revision", "expected"),
    [
        (COMMIT, {"uri": "git+https://example.org/x", "digest": {"gitCommit": COMMIT}}),
        (digest_of("zip"), {"uri": "https://example.org/x", "digest": {"sha256": digest_of("zip")[7:]}}),
        ("3", {"uri": "https://example.org/x", "annotations": {"version": "3"}}),
    ],
)
def test_the_source_is_named_with_its_state(revision: str, expected: dict[str, Any]) -> None:
    definition = _definition(_made(small_lock(), origin=Origin("https://example.org/x", revision, "x")))

    assert expected == definition["externalParameters"]["source"]
    assert expected in definition["resolvedDependencies"]


def test_a_directory_has_no_source_and_a_build_at_home_no_run() -> None:
    document = json.loads(_made(small_lock()))

    assert "source" not in document["predicate"]["buildDefinition"]["externalParameters"]
    assert {"builder"} == document["predicate"]["runDetails"].keys()


def test_what_ci_says_is_kept_apart_from_what_is_known() -> None:
    run = Invocation("gitlab-ci", "https://gitlab.example.org/1", (("revision", "abc"),))

    predicate = json.loads(_made(small_lock(), invocation=run))["predicate"]

    assert {"invocationId": run.url} == predicate["runDetails"]["metadata"]
    assert {"system": "gitlab-ci", "revision": "abc"} == predicate["buildDefinition"]["internalParameters"][
        "ci"
    ]
    assert "source" not in predicate["buildDefinition"]["externalParameters"]


def test_bytes_do_not_depend_on_the_machine() -> None:
    program = (
        "import sys\n"
        "from envbuild.attest.provenance import provenance\n"
        "from envbuild.lock.lockfile import dump_lock\n"
        "from tests.attest.examples import every_kind, image_of\n"
        "lock = every_kind()\n"
        "made = provenance(lock, dump_lock(lock), [image_of(lock)], compression='zstd')\n"
        "sys.stdout.buffer.write(made)\n"
    )
    environment = {
        "HOME": "/nowhere",
        "HOSTNAME": "elsewhere",
        "PATH": os.environ["PATH"],
        "PYTHONHASHSEED": "7",
        "TZ": "Asia/Tokyo",
        "USER": "somebody",
    }

    elsewhere = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    )

    assert _made(every_kind()) == elsewhere.stdout


def test_the_build_type_is_a_heading_of_the_documentation() -> None:
    page, _, anchor = BUILD_TYPE.rpartition("/")[2].partition("#")

    assert DOCUMENTATION.name == page
    headings = [line.lstrip("# ") for line in DOCUMENTATION.read_text().splitlines() if line.startswith("#")]
    assert anchor in [heading.lower().replace(" ", "-") for heading in headings]
