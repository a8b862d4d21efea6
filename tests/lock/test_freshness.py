from __future__ import annotations

from dataclasses import replace

import pytest

from envbuild.lock.freshness import check, inputs_digest
from envbuild.lock.model import Lock, Target
from envbuild.spec.model import Adopted, CondaRequest, PythonRequest, Requirement, Spec
from tests.lock.test_lockfile import lock as make_lock
from tests.lock.test_lockfile import wheel

SPEC = Spec(
    "demo",
    "Demo",
    python=(PythonRequest(">=3.11", "pyproject.toml", 4), PythonRequest("==3.11.*", "a.ipynb", hint=True)),
    requirements=(
        Requirement("six>=1.16", "requirements.txt", 1),
        Requirement("zipp", "requirements.txt", 2),
    ),
    constraints=(Requirement("six<2", "constraints.txt", 1),),
    kernels=("conda-env",),
)


def locked(spec: Spec = SPEC, adopted: bytes | None = None) -> Lock:
    """A lock that answers ``spec``."""
    wheels = (replace(wheel(), direct=True), replace(wheel("zipp", "3.0"), direct=True), wheel("pip", "26.0"))
    return make_lock(inputs=inputs_digest(spec, adopted), targets=(Target("linux/amd64", wheels),))


def test_what_was_locked_is_fresh() -> None:
    assert [] == check(locked(), SPEC, platforms=["linux/amd64"])


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, requirements=tuple(reversed(SPEC.requirements))),
        replace(
            SPEC, requirements=tuple(replace(one, file="other.txt", line=9) for one in SPEC.requirements)
        ),
        replace(SPEC, python=SPEC.python[:1]),
        replace(SPEC, python=(*SPEC.python, PythonRequest("==3.9.*", "b.ipynb", hint=True))),
        replace(SPEC, inferred=True),
    ],
)
def test_where_things_are_written_does_not_count(spec: Spec) -> None:
    assert [] == check(locked(), spec)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (
            replace(SPEC, requirements=(*SPEC.requirements, Requirement("numpy>=2", "requirements.txt", 3))),
            "numpy>=2 (requirements.txt:3) was added",
        ),
        (
            replace(SPEC, requirements=(*SPEC.requirements, Requirement("pip", "requirements.txt", 3))),
            "pip (requirements.txt:3) was added",
        ),
        (replace(SPEC, requirements=SPEC.requirements[:1]), "zipp is locked but no longer asked for"),
        (
            replace(
                SPEC, requirements=(Requirement("six<1.10", "requirements.txt", 1), SPEC.requirements[1])
            ),
            "six<1.10 (requirements.txt:1) does not allow the locked 1.17.0",
        ),
        (
            replace(
                SPEC,
                requirements=(Requirement("six", "r.txt", 1, ("sha256:" + "0" * 64,)), SPEC.requirements[1]),
            ),
            "the hashes of six (r.txt:1) are not that of the locked file",
        ),
        (replace(SPEC, kernels=("conda-env", "work")), "a notebook uses the kernel 'work'"),
        (replace(SPEC, kernels=()), "no notebook uses 'conda-env'"),
        (replace(SPEC, name="other"), "the project's name was 'demo' and is 'other'"),
        (
            replace(SPEC, conda=CondaRequest("environment.yml", (), (), (("A", "b"),))),
            "the variables in environment.yml have changed",
        ),
        (replace(SPEC, constraints=()), "what the repository asks for has changed since the lock was made"),
        (
            replace(SPEC, python=(PythonRequest(">=3.13", "pyproject.toml", 4),)),
            "what the repository asks for has changed since the lock was made",
        ),
    ],
)
def test_why_a_lock_is_stale(spec: Spec, reason: str) -> None:
    assert [reason] == check(locked(), spec)


def test_a_requirement_for_another_platform_is_not_missed() -> None:
    """The lock is stale, because the inputs differ, but not because of a package it cannot have."""
    windows = Requirement("pywin32; sys_platform == 'win32'", "requirements.txt", 3)
    (reason,) = check(locked(), replace(SPEC, requirements=(*SPEC.requirements, windows)))
    assert "pywin32" not in reason


def test_a_platform_that_is_not_locked() -> None:
    assert ["linux/arm64 is not locked"] == check(locked(), SPEC, platforms=["linux/amd64", "linux/arm64"])


def test_an_adopted_lock_counts_by_its_content() -> None:
    spec = replace(SPEC, adopted=Adopted("uv.lock", "uv.lock"))
    assert [] == check(locked(spec, b"one"), spec, adopted=b"one")
    assert ["uv.lock has changed since the lock was made"] == check(
        locked(spec, b"one"), spec, adopted=b"two"
    )


def test_which_line_of_an_adopted_file_changed() -> None:
    """All of its packages are pinned alike, so none is marked as asked for."""
    pins = (wheel(), wheel("zipp", "3.0"))
    old = make_lock(targets=(Target("linux/amd64", pins),), kernels=SPEC.kernels)
    spec = replace(
        SPEC,
        requirements=(Requirement("six==1.17.0", "r.txt", 1), Requirement("zipp==3.1", "r.txt", 2)),
        adopted=Adopted("requirements.txt", "r.txt"),
    )
    assert ["zipp==3.1 (r.txt:2) does not allow the locked 3.0"] == check(old, spec, adopted=b"new")


def test_saving_a_notebook_does_not_make_a_lock_stale() -> None:
    """Jupyter then writes the Python it ran on into the notebook."""
    saved = PythonRequest("==3.13.*", "a.ipynb", hint=True)
    assert inputs_digest(replace(SPEC, python=())) == inputs_digest(replace(SPEC, python=(saved,)))
