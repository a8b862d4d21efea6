"""The program that looks around in containers, against a small Jupyter server on loopback."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from envbuild.conformance import program
from envbuild.conformance.scenarios import SINGLEUSER
from tests.support.servers import free_port
from tests.support.small_jupyter import Settings, serve

pytestmark = pytest.mark.slow  # servers that keep one waiting


@contextlib.contextmanager
def jupyter(program_name: str = "jupyter-lab", **variables: str) -> Iterator[int]:
    with serve(Settings(program_name, ["--port=0"], {"JUPYTER_TOKEN": "t", **variables})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def ask(ports: list[int], **questions: Any) -> dict[str, Any]:
    request = {
        "seconds": 600,
        "kernel_seconds": 600,
        "ports": ports,
        "prefix": "/",
        "token": "t",
        "kernels": "none",
        "orphan": False,
        "hub": None,
        **questions,
    }
    source = Path(program.__file__).read_text("utf-8")
    command = [sys.executable, "-I", "-B", "-c", source, json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def said(answer: Mapping[str, Any]) -> dict[str, str | None]:
    return {kernel["name"]: kernel["error"] for kernel in answer["kernels"]}


def test_a_server_and_its_kernels() -> None:
    with jupyter(SMALL_KERNELS="python3,three,broken,long,ghost") as port:
        answer = ask([port], kernels="all")

    assert 200 == answer["server"]["status"]
    assert 403 == answer["anonymous"]
    assert ["loopback", port] in answer["listening"]
    assert {
        "broken": 'the server does not start it (500): {"message": "No such file: /opt/ghost"}',
        "ghost": "its program /opt/ghost is not there",
        "long": "it says that 1+1 is " + repr("x" * 300),
        "python3": None,
        "three": "it says that 1+1 is '3'",
    } == said(answer)


def test_only_the_default_kernel() -> None:
    with jupyter(SMALL_KERNELS="python3,three") as port:
        assert {"python3": None} == said(ask([port], kernels="default"))


def test_a_kernel_that_says_nothing() -> None:
    with jupyter(SMALL_KERNELS="silent") as port:
        answer = ask([port], kernels="default", kernel_seconds=0.2)

    assert {"silent": "the kernel does not answer in time"} == said(answer)


@pytest.mark.parametrize(
    ("token", "expected"), [("other", "GET /api/status gives 403"), (None, "nothing listens on port 1")]
)
def test_no_answer(token: str | None, expected: str) -> None:
    with jupyter() as port:
        answer = ask([1] if token is None else [port], token=token, seconds=0)

    assert (None, expected) == (answer["server"]["status"], answer["server"]["said"])


def test_any_answer_on_any_port_will_do_without_a_token() -> None:
    with jupyter() as port:
        assert 302 == ask([1, port], token=None)["server"]["status"]


def test_a_server_of_a_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks the stand-in whose the token is; who has none stays outside."""
    hub_port, port = free_port(), free_port()
    variables = {
        name: value.replace(":8081/", f":{hub_port}/").replace(":8888/", f":{port}/")
        for name, value in SINGLEUSER.env.items()
    }
    monkeypatch.setenv("JUPYTERHUB_USER", variables["JUPYTERHUB_USER"])
    assert SINGLEUSER.questions is not None
    hub = {**SINGLEUSER.questions["hub"], "port": hub_port}
    with serve(Settings("jupyterhub-singleuser", ["--ip=127.0.0.1"], variables)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        questions: dict[str, Any] = {**SINGLEUSER.questions, "hub": hub}
        answer = ask([port], **questions)
        server.shutdown()

    assert (200, 403) == (answer["server"]["status"], answer["anonymous"])
    assert "GET /hub/api/user" in answer["hub"]
    assert {"python3": None} == said(answer)
