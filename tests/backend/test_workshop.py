"""Builds with a sandbox that only pretends: what goes in, what is kept, and what is never done twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from envbuild.backend.hooks import Hooks
from envbuild.backend.workshop import Source, Workshop
from envbuild.errors import EnvbuildError, MachineError, RepoError
from envbuild.image.model import Image
from envbuild.lock.model import Artifact, Wheel
from envbuild.progress import Reporter, Silent
from envbuild.sandbox.model import Outcome, Step
from envbuild.store import Store
from tests.support.index import WheelFile, make_wheel

MADE = make_wheel("demo", requires=["six"])


@dataclass
class Sandbox:
    """Runs nothing: ``answer`` writes what a build would have written."""

    answer: Callable[[str, Path], dict[str, Any] | None]
    code: int = 0
    said: str = ""
    exceeded: str | None = None
    steps: list[Step] = field(default_factory=list)
    name: str = "pretended"

    def unavailable(self) -> str | None:
        return None

    @contextmanager
    def execute(self, image: Image, step: Step, reporter: Reporter) -> Iterator[Outcome]:
        self.steps.append(step)
        step.output.write_text(self.said)
        (out,) = (mount.source for mount in step.mounts if mount.target == "/srv/build/out")
        result = self.answer(step.argv[-1], out)
        if result is not None:
            (out / "result.json").write_text(json.dumps(result))
        yield Outcome(self.code, self.exceeded, ())


def builds(hook: str, out: Path) -> dict[str, Any]:
    """What a well-behaved backend gives."""
    if hook.startswith("get_requires"):
        return {"requires": ["wheel"]}
    if hook.startswith("prepare"):
        (out / "demo.dist-info").mkdir()
        (out / "demo.dist-info" / "METADATA").write_text("Name: demo\nVersion: 1\nRequires-Dist: six\n")
        return {"metadata": "demo.dist-info"}
    (out / MADE.filename).write_bytes(MADE.data)
    return {"wheel": MADE.filename}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "cache")
    store.prepare()
    return store


def workshop(store: Store, sandbox: Sandbox, **changes: Any) -> Workshop:
    def fetch(artifacts: Sequence[Artifact]) -> Sequence[Path]:
        return [store.artifact_path(artifact.sha256) for artifact in artifacts]

    made = Workshop(
        store=store,
        hooks=lambda: Hooks(sandbox, cast(Image, None), store, Silent()),
        base="base",
        python="3.11.2",
        executable="/usr/bin/python3.11",
        glibc="2.36",
        platform="linux/amd64",
        host="linux/amd64",
        fetch=fetch,
    )
    return replace(made, **changes)


def pinned(store: Store, wheel: WheelFile) -> Wheel:
    store.artifact_path(wheel.sha256).write_bytes(wheel.data)
    name, version = wheel.filename.split("-")[:2]
    return Wheel(name, version, Artifact(wheel.filename, wheel.sha256, len(wheel.data), "pypi"))


def source(key: str = "key", **changes: Any) -> Source:
    def unpack(directory: Path) -> Path:
        directory.mkdir()
        (directory / "setup.py").touch()
        return directory

    return replace(Source("demo 1.0", key, unpack), **changes)


def test_a_build_is_a_wheel_in_the_store(store: Store) -> None:
    sandbox = Sandbox(builds)
    artifact = workshop(store, sandbox).wheel(source(version="1.0"), [pinned(store, make_wheel("tool"))])
    (step,) = sandbox.steps

    data = store.artifact_path(artifact.sha256).read_bytes()
    assert (MADE.filename, len(data), "built") == (artifact.filename, artifact.size, artifact.source)
    assert artifact.sha256 == hashlib.sha256(data).hexdigest()
    assert ("/srv/env/bin/python3", "build_wheel", False) == (step.argv[0], step.argv[-1], step.network)
    assert {"/srv/build/out", "/srv/build/source"} == {m.target for m in step.mounts if m.writable}
    assert "1.0" == step.env["SETUPTOOLS_SCM_PRETEND_VERSION"]


def test_nothing_is_done_twice(store: Store) -> None:
    sandbox = Sandbox(builds)
    pins = [pinned(store, make_wheel("tool"))]
    results = [
        (
            workshop(store, sandbox).wheel(source(), pins),
            workshop(store, sandbox).requires(source(), pins, "get_requires_for_build_wheel"),
            workshop(store, sandbox).metadata(source(), pins),
        )
        for _ in range(2)
    ]

    assert results[0] == results[1]
    assert (3, ("wheel",), ("six",)) == (len(sandbox.steps), results[0][1], results[0][2].requires)


def test_another_input_is_another_build(store: Store) -> None:
    sandbox = Sandbox(builds)
    tool, newer = (pinned(store, make_wheel("tool", version)) for version in ("1", "2"))
    shop = workshop(store, sandbox)
    for build, pins in (
        (source(), [tool]),
        (source("other"), [tool]),
        (source(), [newer]),
        (source(version="2"), [tool]),
    ):
        shop.wheel(build, pins)
    workshop(store, sandbox, base="another").wheel(source(), [tool])

    assert 5 == len(sandbox.steps)


def test_a_wheel_that_is_gone_is_built_again(store: Store) -> None:
    sandbox = Sandbox(builds)
    first = workshop(store, sandbox).wheel(source(), [])
    store.artifact_path(first.sha256).unlink()

    assert first == workshop(store, sandbox).wheel(source(), [])
    assert 2 == len(sandbox.steps)


def test_a_pure_wheel_of_another_platform_is_taken(store: Store) -> None:
    sandbox = Sandbox(builds)
    first = workshop(store, sandbox).wheel(source(), [])

    assert first == workshop(store, sandbox, platform="linux/arm64").wheel(source(), [])
    assert 1 == len(sandbox.steps)


def test_programs_of_another_machine_are_not_run(store: Store) -> None:
    tool = pinned(store, make_wheel("tool", tag="cp311-cp311-manylinux_2_17_aarch64"))

    with pytest.raises(MachineError, match="linux/arm64"):
        workshop(store, Sandbox(builds), platform="linux/arm64").wheel(source(), [tool])


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (None, "bad-build-answer"),
        ({}, "bad-build-answer"),
        ({"wheel": "../x.whl"}, "bad-build-answer"),
        ({"wheel": "missing-1-py3-none-any.whl"}, "bad-build-answer"),
        ({"wheel": 3}, "bad-build-answer"),
        ({"wheel": "link-1-py3-none-any.whl"}, "bad-build-answer"),
        ({"wheel": "dir-1-py3-none-any.whl"}, "bad-build-answer"),
        ({"wheel": "other.txt"}, "bad-built-wheel"),
    ],
)
def test_answers_are_not_believed(store: Store, result: dict[str, Any] | None, code: str) -> None:
    def answer(hook: str, out: Path) -> dict[str, Any] | None:
        (out / "link-1-py3-none-any.whl").symlink_to("/etc/passwd")
        (out / "dir-1-py3-none-any.whl").mkdir()
        (out / "other.txt").write_bytes(MADE.data)
        return result

    with pytest.raises(RepoError) as caught:
        workshop(store, Sandbox(answer)).wheel(source(), [])
    assert code == caught.value.code


@pytest.mark.parametrize("requires", [None, "x", [3], ["x @ file:///etc"], ["-r x"], ["a b"]])
def test_requirements_of_builds_are_checked(store: Store, requires: object) -> None:
    with pytest.raises(RepoError) as caught:
        workshop(store, Sandbox(lambda hook, out: {"requires": requires})).requires(
            source(), [], "get_requires_for_build_wheel"
        )
    assert "bad-build-answer" == caught.value.code


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("error: [Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'", "compiler"),
        ("x.c:1:10: fatal error: Python.h: No such file or directory", "compiler"),
        ("ModuleNotFoundError: No module named 'numpy'", "[build-system]"),
        ("<urlopen error [Errno -3] Temporary failure in name resolution>", "--network build"),
        ("something else", "another version"),
    ],
)
def test_failures_have_remedies(store: Store, said: str, remedy: str) -> None:
    sandbox = Sandbox(lambda hook, out: None, code=1, said=f"first\n{said}\x1b[31m https://me:secret@x.org\n")

    with pytest.raises(EnvbuildError) as caught:
        workshop(store, sandbox).wheel(source(), [])

    error = caught.value
    assert ("build-failed", True) == (error.code, remedy in str(error.remedy))
    assert "demo 1.0" in error.message
    assert "first" in str(error.detail)
    assert "\x1b" not in error.message + str(error.detail)
    assert "secret" not in error.message + str(error.detail)


def test_a_limit_is_named(store: Store) -> None:
    sandbox = Sandbox(builds, exceeded="more than 8 GiB of memory")

    with pytest.raises(RepoError, match="more than 8 GiB of memory"):
        workshop(store, sandbox).wheel(source(), [])


def test_a_subdirectory_that_is_not_there_or_leads_out(store: Store) -> None:
    def unpack(directory: Path) -> Path:
        directory.mkdir()
        (directory / "out").symlink_to("/etc")
        return directory

    for name in ("missing", "out"):
        with pytest.raises(RepoError) as caught:
            workshop(store, Sandbox(builds)).wheel(source(unpack=unpack, subdirectory=name), [])
        assert "no-such-subdirectory" == caught.value.code
