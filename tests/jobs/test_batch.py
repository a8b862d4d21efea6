"""Fleets: what has to be built, and many builds at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from envbuild.fleet.model import Environment, ImageSource, Pin
from envbuild.image.config import INDEX_TYPE, canonical
from envbuild.image.reference import Reference, parse_reference
from envbuild.jobs.batch import Made, Wanted, build_all, files_digest, look, resolve
from envbuild.progress import Silent
from envbuild.registry.registries import Registries
from envbuild.source import open_repo
from tests.support.registry import FakeRegistry, fake_registry

COMMIT, LOCK = "a" * 40, "sha256:" + "b" * 64
EMPTY = canonical({"manifests": [], "mediaType": INDEX_TYPE, "schemaVersion": 2})

BUILD = """
import json, sys, time
line = {"time": "t", "level": "error", "event": "error", "phase": "build"}
if sys.argv[1] == "bad":
    print(json.dumps({**line, "error": "no-such-package", "message": "no", "exit_code": 1}), file=sys.stderr)
    sys.exit(1)
if sys.argv[1] == "slow":
    try:
        open(sys.argv[2], "a").write("began\\n")
        time.sleep(600)
    except KeyboardInterrupt:
        open(sys.argv[2], "a").write("interrupted\\n")
        raise SystemExit(130)
print(json.dumps({"digest": sys.argv[2]}))
"""


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as started:
        yield started


@pytest.fixture
def registries() -> Iterator[Registries]:
    with Registries({}) as made:
        yield made


def _pushed(registry: FakeRegistry, registries: Registries, tag: str) -> Reference:
    """An image that is nothing but an empty index, by tag and digest."""
    name = parse_reference(f"{registry.address}/team/envs:{tag}")
    digest = registries.repository(name).put_manifest(EMPTY, INDEX_TYPE, tag)
    return Reference(name.registry, name.repository, tag, digest)


def _wanted(reference: Reference, **changes: object) -> Wanted:
    target = Reference(reference.registry, reference.repository, reference.tag, None)
    wanted = Wanted("rivers", target, "https://example.org/rivers#" + COMMIT, (), COMMIT, LOCK)
    return replace(wanted, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "pin", "reason"),
    [
        ({}, {}, None),
        ({}, None, "it was not built yet"),
        (
            {"commit": "c" * 40, "tag": "rivers-2"},
            {},
            "the commit moved from aaaaaaaaaaaa to cccccccccccc",
        ),
        ({"lock_digest": "sha256:" + "c" * 64, "tag": "rivers-2"}, {}, "its lock changed"),
        ({"tag": "rivers-2"}, {}, "its files, the settings or envbuild changed"),
        ({}, {"digest": "sha256:" + "d" * 64}, "the registry does not have its image any more"),
    ],
)
def test_what_has_to_be_built(
    registry: FakeRegistry,
    registries: Registries,
    change: dict[str, str],
    pin: dict[str, str] | None,
    reason: str | None,
) -> None:
    there = _pushed(registry, registries, "rivers-1")
    wanted = _wanted(there)
    if "tag" in change:
        wanted = replace(wanted, target=wanted.target.with_tag(change.pop("tag")))
    known = None if pin is None else Pin("rivers", replace(there, **pin), COMMIT, LOCK)

    assert reason == look(replace(wanted, **change), known, registries)  # type: ignore[arg-type]


def test_tags_become_digests(registry: FakeRegistry, registries: Registries) -> None:
    there = _pushed(registry, registries, "1")
    environment = Environment("box", ImageSource(parse_reference(f"{registry.address}/team/envs:1")))

    first = resolve(environment, None, registries)
    checked = resolve(environment, None, registries, check=True)

    assert ("resolved", Pin("box", there)) == (first.outcome, first.pin)
    assert ("outdated", None) == (checked.outcome, checked.pin)
    assert "unchanged" == resolve(environment, first.pin, registries).outcome

    moved = resolve(environment, Pin("box", before := there.with_digest("sha256:" + "e" * 64)), registries)
    assert ("resolved", Pin("box", there, previous=before)) == (moved.outcome, moved.pin)
    assert ("unchanged", moved.pin) == (
        (again := resolve(environment, moved.pin, registries)).outcome,
        again.pin,
    )


@pytest.mark.parametrize("version", [":gone", "@sha256:" + "e" * 64])
def test_images_that_vanished(registry: FakeRegistry, registries: Registries, version: str) -> None:
    source = ImageSource(parse_reference(f"{registry.address}/team/envs{version}"))

    made = resolve(Environment("box", source), None, registries)

    assert made.error is not None
    assert ("failed", "image-missing") == (made.outcome, made.error.code)


def _command(wanted: Wanted) -> list[str]:
    return [sys.executable, "-c", BUILD, *wanted.arguments]


def test_one_failure_stops_no_other(registry: FakeRegistry, registries: Registries) -> None:
    there = _pushed(registry, registries, "x")
    before, older = Pin("bad", there), there.with_digest("sha256:" + "e" * 64)
    made: dict[str, Made] = {}

    build_all(
        [
            _wanted(there, environment="bad", arguments=("bad",)),
            _wanted(there, environment="good", arguments=("good", there.digest)),
        ],
        {"bad": before, "good": Pin("good", older)},
        command=_command,
        jobs=1,
        registries=registries,
        reporter=Silent(),
        done=lambda one: made.__setitem__(one.environment, one),
    )

    assert ("failed", before) == (made["bad"].outcome, made["bad"].pin)
    assert made["bad"].error is not None
    assert "no-such-package" == made["bad"].error.code
    assert ("built", Pin("good", there, COMMIT, LOCK, older)) == (made["good"].outcome, made["good"].pin)


def test_interrupted_once_and_nothing_else_begins(
    registry: FakeRegistry, registries: Registries, tmp_path: Path
) -> None:
    there, log = _pushed(registry, registries, "x"), tmp_path / "log"

    def interrupt() -> None:
        while not log.exists() or not log.read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            build_all(
                [_wanted(there, environment=name, arguments=("slow", str(log))) for name in ("a", "b")],
                {},
                command=_command,
                jobs=1,
                registries=registries,
                reporter=Silent(),
                done=lambda one: None,
            )
    finally:
        signal.signal(signal.SIGINT, before)

    assert "began\ninterrupted\n" == log.read_text()


def test_files_digest_is_of_what_goes_into_the_image(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    (tmp_path / "__pycache__").mkdir()
    first = files_digest(open_repo(str(tmp_path)))

    (tmp_path / "__pycache__" / "x.pyc").write_text("2")
    assert first == files_digest(open_repo(str(tmp_path)))

    (tmp_path / "a.py").chmod(0o755)
    assert first != files_digest(open_repo(str(tmp_path)))
