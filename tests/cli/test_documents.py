"""What ``--json`` prints is what docs/schemas.md describes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from envbuild.attest.attaching import Attached
from envbuild.base.recipe import load_recipes
from envbuild.builder.contract import Lack
from envbuild.cli.cache_documents import cache_document, verify_document
from envbuild.cli.documents import (
    bases_document,
    build_document,
    lock_document,
    plan_document,
    pull_document,
    push_document,
)
from envbuild.cli.drift import Observation, drift_document
from envbuild.cli.lock import summary
from envbuild.cli.run_documents import run_document
from envbuild.errors import RepoError
from envbuild.image.descriptor import Descriptor
from envbuild.image.model import Image, Layer
from envbuild.image.reference import parse_reference
from envbuild.lock.difference import Change
from envbuild.lock.ensure import LockFile
from envbuild.lock.model import CondaPackage, Deb
from envbuild.notebook.execute import Executed
from envbuild.plan import make_plan
from envbuild.pull import Pulled
from envbuild.registry.publish import Published
from envbuild.registry.push import Moved, Pushed
from envbuild.source import Origin, RepoFile
from envbuild.source.selection import LeftOut, Selection
from envbuild.spec.model import Execution, FileUse, Notebook, Problem, PythonRequest, Requirement, Spec
from envbuild.store import Blob, Store
from envbuild.store.images import record_image, stored_images
from envbuild.store.prune import prune
from envbuild.store.sharing import remove_images
from envbuild.store.verify import Damage, Verified
from tests.support.base_images import REFERENCE, lock_on_image
from tests.support.engines import FakeEngine
from tests.support.locks import small_lock, small_wheel

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas.md"


def _documents(tmp_path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    lock = small_lock(small_wheel("numpy", "2.0"))
    spec = Spec(
        name="demo",
        display_name="Demo",
        python=(PythonRequest(">=3.11", "pyproject.toml", 3),),
        requirements=(Requirement("numpy>=2", "requirements.txt", 1),),
        notebooks=(Notebook("a.ipynb", "geo", "python", "3.11.2", ("numpy",)),),
        kernels=("geo",),
        files=(FileUse("requirements.txt", "requirements.txt", True, "declares the environment"),),
        executions=(Execution("postBuild", "it is there", "build", "postBuild"),),
        problems=(Problem("note", "x", "y"),),
    )
    layer = Layer("numpy", "sha256:d", "sha256:e", 10, 20, "zstd", ("numpy==2.0",))
    image = Image("linux/amd64", Blob("sha256:c", 1), Blob("sha256:m", 2), (layer,))
    store = Store(tmp_path / "cache")
    store.prepare()
    record_image(
        store, "demo:latest", "linux/amd64", store.put_blob(b"{}"), now=datetime(2026, 1, 1, tzinfo=UTC)
    )
    origin = Origin("https://example.org/a", "a" * 40, "a", ref="main")
    kept = RepoFile(b"a.ipynb", "file", 5)
    selection = Selection((kept,), (LeftOut(".env", "credential", "x"),), {"a.ipynb": 5})
    error = RepoError("cell 2 failed", code="cell-failed", file="a.ipynb")
    yield "Errors", error.to_json()
    plan = make_plan(lock, "linux/amd64", b"")
    yield (
        "plan",
        plan_document(spec, lock, [], plan, python="3.11.2", origin=origin, selection=selection),
    )
    yield "lock", lock_document(LockFile(lock, b"", None), None, {"lock": 1.0})
    yield (
        "build, base build",
        build_document(
            [image],
            index=None,
            env="env-0",
            tags=["demo:latest"],
            outputs=[],
            pushed=Pushed(
                Descriptor("x", "sha256:m", 2),
                (parse_reference("ghcr.io/me/demo:1"),),
                {"uploaded": Moved(1, 10), "mounted": Moved(), "exists": Moved()},
            ),
            previous="ghcr.io/me/demo:1",
            changes=[Change("wheel", "numpy", "2.0", "2.1", ("linux/amd64",))],
            attached=[Attached("sha256:m", "sbom", "sha256:a")],
            published=Published(parse_reference("ghcr.io/me/envs:env-0"), "sha256:n", 3),
            lock=None,
            origin=origin,
            loaded="docker",
            lacks=[Lack("has no command", "nothing starts", "add a CMD")],
            seconds={"pack": 1.0},
        ),
    )
    reference = parse_reference("ghcr.io/me/demo:1")
    moved = {"uploaded": Moved(1, 10), "mounted": Moved(), "exists": Moved()}
    pushed = Pushed(Descriptor("x", "sha256:m", 2), (reference,), moved)
    yield "push", push_document("demo", [image], pushed, {"push": 1.0})
    yield "pull", pull_document(reference, Pulled("sha256:m", (image,)), "demo:1", [], None, {"pull": 1.0})
    ran = run_document([Executed("a.ipynb", None, error)], "bubblewrap", {"run": 1.0})
    yield "run", ran | drift_document(Observation(FakeEngine(lambda command: "")), None)
    yield "cache list", cache_document(store)
    yield "cache prune", {**asdict(prune(store)), "dry_run": False}
    yield "cache remove", {**asdict(remove_images(store, stored_images(store))), "dry_run": False}
    damage = Damage("artifacts-v1", "0" * 64, "its name is no digest", 3, (), removed=True)
    yield "cache verify", verify_document(Verified(1, 3, (damage,)), {"verify": 1.0})
    yield "base list", bases_document(load_recipes(), None)


def _keys(value: Any) -> set[str]:
    """The keys of ``value`` and of the tables in its lists. Keys that are data (packages, stages) are not."""
    if not isinstance(value, dict):
        return set()
    found = set(value)
    for key, inner in value.items():
        if isinstance(inner, list):
            for item in inner:
                found |= _keys(item)
        elif key in ("python", "lock", "pushed", "uploaded", "shared"):
            found |= _keys(inner)
    return found


def _section(title: str) -> str:
    match = re.search(
        rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", SCHEMAS.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert match, f"docs/schemas.md has no section {title!r}"
    return match[1]


def test_every_key_is_described(tmp_path: Path) -> None:
    for title, document in _documents(tmp_path):
        described = set(re.findall(r"`([a-z_]+)(?:\[\])?`", _section(title)))
        if title == "run":
            described |= set(re.findall(r"`([a-z_]+)`", _section("Errors")))

        assert set() == _keys(document) - described, title


def test_every_described_key_is_there(tmp_path: Path) -> None:
    for title, document in _documents(tmp_path):
        rows = re.findall(r"^\| ((?:`[a-z_]+(?:\[\])?`(?:, )?)+) \|", _section(title), re.MULTILINE)
        described = {name for row in rows for name in re.findall(r"`([a-z_]+)", row)}

        assert described == set(document), title


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([("numpy", "1.0")], [("numpy", "2.0")], [{"name": "numpy", "before": "1.0", "after": "2.0"}]),
        ([], [("numpy", "2.0")], [{"name": "numpy", "before": None, "after": "2.0"}]),
        ([("numpy", "1.0")], [], [{"name": "numpy", "before": "1.0", "after": None}]),
        ([("numpy", "1.0")], [("numpy", "1.0")], []),
    ],
)
def test_changes_of_a_lock(
    before: list[tuple[str, str]], after: list[tuple[str, str]], expected: list[dict[str, str | None]]
) -> None:
    previous = small_lock(*(small_wheel(*item) for item in before))
    lock = small_lock(*(small_wheel(*item) for item in after))

    document = lock_document(LockFile(lock, b"", None), previous, {})

    assert (expected, before == after) == (document["changes"], document["up_to_date"])


def test_conda_and_debian_packages_are_listed_with_the_wheels() -> None:
    lock = small_lock(small_wheel("numpy", "2.0"))
    artifact = lock.targets[0].wheels[0].artifact
    conda = tuple(
        CondaPackage(name, version, "0", "linux-64", artifact)
        for name, version in (("numpy", "1.0"), ("python", "3.12.4"), ("zlib", "1.0"))
    )
    target = replace(lock.targets[0], conda=conda, apt=(Deb("r-base", "4.2", "amd64", artifact),))

    document = lock_document(LockFile(replace(lock, targets=(target,)), b"", None), lock, {})

    assert {"linux/amd64": {"numpy": "2.0", "python": "3.12.4", "r-base": "4.2", "zlib": "1.0"}} == document[
        "platforms"
    ]
    assert ["python", "r-base", "zlib"] == [change["name"] for change in document["changes"]]
    assert "3.12.4" == document["python"]
    assert "locked 4 packages for Python 3.12.4 on linux/amd64" == summary(document)[0]


def test_another_base_is_said_with_its_digest() -> None:
    """The name of a registry's image stays when its tag has moved."""
    before = lock_on_image()
    image = before.base.image
    assert image is not None
    moved = replace(image, digest="sha256:" + "5" * 64)
    after = replace(before, base=replace(before.base, image=moved))

    lines = summary(lock_document(LockFile(after, b"", None), before, {}))

    short = image.digest[: len("sha256:") + 12]
    assert [f"  base {REFERENCE} ({short}) -> {REFERENCE} (sha256:555555555555)"] == lines[1:]


def test_shared_bytes_are_those_of_other_images(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    store.prepare()
    base, one, two = (store.put_blob(data) for data in (bytes(1000), bytes(10), bytes(20)))
    for name, own in (("one", one), ("two", two)):
        config = store.put_blob(json.dumps({"name": name, "rootfs": {"diff_ids": []}}).encode())
        layers = [{"digest": blob.digest, "size": blob.size} for blob in (base, own)]
        manifest = {"config": {"digest": config.digest, "size": config.size}, "layers": layers}
        record_image(store, name, "linux/amd64", store.put_blob(json.dumps(manifest).encode()))

    images = cache_document(store)["images"]

    expected = [("one", 1000, images[0]["size"] - 1000), ("two", 1000, images[1]["size"] - 1000)]
    assert expected == [(image["name"], image["shared"], image["unique"]) for image in images]
    assert ["two", "one"] == [image["name"] for image in cache_document(store, "unique")["images"]]
