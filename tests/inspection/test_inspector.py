"""From names to what is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from envbuild.errors import EnvbuildError
from envbuild.inspection.inspector import Inspector
from envbuild.lock.lockfile import dump_lock
from envbuild.registry.registries import Registries
from envbuild.source.locate import open_repo
from envbuild.store.images import record_image
from tests.inspection.conftest import LOCK, Studio
from tests.support.remote import pushed
from tests.support.reporters import Messages


@contextmanager
def inspector(studio: Studio) -> Iterator[Inspector]:
    with Registries({}) as registries:
        yield Inspector(studio.store, lambda: registries, open_repo, Messages())


def test_a_lock_and_a_repository_with_one(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "envbuild.lock").write_bytes(dump_lock(LOCK))
    with inspector(studio) as look:
        for name, kind in ((str(tmp_path / "envbuild.lock"), "lock"), (str(tmp_path), "source")):
            seen = look.look(name)

            assert (kind, LOCK, dump_lock(LOCK), ("linux/amd64",), ()) == (
                seen.kind,
                seen.lock,
                seen.lock_bytes,
                seen.platforms,
                seen.images,
            )


def test_an_image_in_the_cache(studio: Studio) -> None:
    image = studio.image()
    record_image(studio.store, "demo:latest", image.platform, image.manifest, now=datetime.now(UTC))
    with inspector(studio) as look:
        for name in ("demo", "demo:latest", "cache:demo"):
            seen = look.look(name)

            assert ("cache", "cache:demo:latest", LOCK) == (seen.kind, seen.name, seen.lock)
            assert [image.image_id] == [one.view.image_id for one in seen.images]


def test_an_image_in_a_registry_and_what_is_attached_to_it(studio: Studio) -> None:
    images = [studio.image(), studio.image(platform="linux/arm64")]
    with pushed(studio.store, images) as (registry, remote), inspector(studio) as look:
        document = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.cyclonedx+json",
            "config": _empty(registry.put_blob("team/demo", b"{}")),
            "layers": [],
            "subject": {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": images[0].manifest.digest,
                "size": images[0].manifest.size,
            },
        }
        attached = registry.put_manifest("team/demo", document)
        seen = look.look(remote.name, ["linux/amd64"])

    assert ("registry", ("linux/amd64", "linux/arm64")) == (seen.kind, seen.platforms)
    assert [images[0].image_id] == [one.view.image_id for one in seen.images]
    assert [(attached, "application/vnd.cyclonedx+json")] == [
        (one.digest, one.artifact_type) for one in seen.attached
    ]


def _empty(digest: str) -> dict[str, object]:
    return {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest, "size": 2}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("cache:nothing", "no-image-there"),
        ("nothing.lock", "no-lock-there"),
        ("oci:nothing", "no-image-there"),
        ("archive:nothing", "no-image-there"),
        ("{here}", "lock-missing"),
        ("{here}/broken.lock", "bad-lock"),
        ("{here}/directory.lock", "lock-missing"),
        ("{here}/notes.txt", "bad-image"),
    ],
)
def test_what_is_not_there(studio: Studio, tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / "broken.lock").write_text("nonsense")
    (tmp_path / "directory.lock").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    with inspector(studio) as look, pytest.raises(EnvbuildError) as caught:
        look.look(name.format(here=tmp_path))
    assert code == caught.value.code


def test_a_short_name_that_the_cache_does_not_have_is_looked_for_elsewhere(studio: Studio) -> None:
    """Which is said: it may be a name that was mistyped."""
    with inspector(studio) as look:
        for name in ("demo:1", "docker.io/library/demo:1", "registry.example.org/demo:1"):
            look.medium(look.place(name))
        assert isinstance(look.reporter, Messages)
        assert ["demo:1 is not in the cache: asking docker.io"] == look.reporter.notes


def test_only_images_have_a_medium(studio: Studio, tmp_path: Path) -> None:
    with inspector(studio) as look, pytest.raises(EnvbuildError) as caught:
        look.medium(look.place(str(tmp_path)))
    assert "not-an-image" == caught.value.code
