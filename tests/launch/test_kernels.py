"""What an image says about its kernels, and what is made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from envbuild.errors import RepoError
from envbuild.launch.kernels import ImageKernel, find_kernels, read_listing
from envbuild.store import Store
from tests.support.engines import EMPTY_IMAGE, FakeEngine

PYTHON = ["/srv/env/bin/python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"]


def spec(*argv: str, **more: Any) -> dict[str, Any]:
    return {"resource_dir": "/srv/env/k", "spec": {"argv": list(argv), "display_name": "Shown", **more}}


def listing(**specs: dict[str, Any]) -> bytes:
    return json.dumps({"kernelspecs": specs}).encode()


def test_names_that_start_the_same_are_one_kernel_and_the_projects_is_the_best() -> None:
    said = listing(
        python3=spec(*PYTHON), old=spec(*PYTHON), Project=spec(*PYTHON), ir=spec("R", language="R")
    )

    python, r = read_listing(said, "project")

    assert ("Project", "old", "python3") == python.names
    assert (("ir",), "R") == (r.names, r.language)


def test_a_kernel_is_read_as_it_is_to_be_started() -> None:
    said = listing(
        x=spec(
            "{resource_dir}/x",
            "{connection_file}",
            env={"A": "1"},
            language="x",
            interrupt_mode="message",
            metadata={"debugger": True},
        )
    )

    assert (
        ImageKernel(("x",), "Shown", "x", ("/srv/env/k/x", "{connection_file}"), {"A": "1"}, "message", True),
    ) == read_listing(said, "project")


def test_what_an_image_says_is_not_trusted() -> None:
    said = listing(
        **{
            "../../etc": spec("a"),
            "words": spec(display_name="no argv"),
            "options": spec("a", env={"A": "x\0--bind\0/\0/mnt"}),
            "equals": spec("a", env={"A=B": "x"}),
            "zero": spec("a\0b"),
            "shown": spec("a", display_name="bell\a" + "x" * 5000),
        }
    )

    (kernel,) = read_listing(said, "project")

    assert ("shown",) == kernel.names
    assert "\a" not in kernel.display_name
    assert len(kernel.display_name) <= 200


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"sh: jupyter: not found\n",
        b"[]",
        b'{"kernelspecs": []}',
        b'{"kernelspecs": {"a": 1}}',
        b"[" * 99999,
    ],
)
def test_anything_else_is_no_kernel(said: bytes) -> None:
    assert () == read_listing(said, "project")


def test_the_image_is_asked(store: Store) -> None:
    said = listing(python3=spec(*PYTHON))
    engine = FakeEngine(lambda command: f"print({said.decode()!r})")

    found = find_kernels(EMPTY_IMAGE, "project", engine=engine, store=store)

    assert [("python3",)] == [kernel.names for kernel in found]
    assert [] == list(store.tmp.iterdir())


def test_an_image_without_jupyter_is_an_error(store: Store) -> None:
    engine = FakeEngine(lambda command: "raise SystemExit(127)")

    with pytest.raises(RepoError) as error:
        find_kernels(EMPTY_IMAGE, "project", engine=engine, store=store)

    assert "no-kernels" == error.value.code
