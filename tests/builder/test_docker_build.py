"""What a Docker Engine says while it builds, turned into errors people can act on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envbuild.builder.context import Context
from envbuild.builder.docker_build import build_context
from envbuild.errors import EnvbuildError, MachineError, RemoteError, RepoError
from envbuild.progress import Silent


class _Api:
    """A daemon that reports ``events``."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.events = events
        self.asked: dict[str, Any] = {}

    def build(self, **asked: Any) -> Iterator[dict[str, Any]]:
        self.asked = asked
        yield from self.events


class _Client:
    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.api = _Api(events)


def _build(tmp_path: Path, events: list[dict[str, Any]], client: _Client | None = None) -> str:
    archive = tmp_path / "context.tar"
    archive.write_bytes(b"")
    return build_context(
        client or _Client(events),
        Context(archive, "Dockerfile", {"NB_UID": "1000"}),
        file="Dockerfile",
        tag="x:1",
        labels={"a": "b"},
        platform="linux/amd64",
        environment={"https_proxy": "http://proxy:3128", "SECRET": "x"},
        reporter=Silent(),
    )


def test_a_build_names_its_image_and_passes_proxies_on(tmp_path: Path) -> None:
    client = _Client([{"stream": "Step 1/1 : FROM x\n"}, {"aux": {"ID": "sha256:" + "0" * 64}}])

    assert "sha256:" + "0" * 64 == _build(tmp_path, [], client)
    assert {"NB_UID": "1000", "https_proxy": "http://proxy:3128"} == client.api.asked["buildargs"]
    assert {"a": "b"} == client.api.asked["labels"]


STEP = {"stream": "Step 2/3 : RUN make it\n"}


@pytest.mark.parametrize(
    ("events", "kind", "code", "message"),
    [
        (
            [
                STEP,
                {"stream": "no rule\n"},
                {"error": "The command '/bin/sh -c make it' returned a non-zero code: 2"},
            ],
            RepoError,
            "build-failed",
            "the step `RUN make it` failed",
        ),
        (
            [
                STEP,
                {"stream": "wget: unable to resolve host address ‘cran.example.org’\n"},
                {"error": "code: 4"},
            ],
            RemoteError,
            "build-unreachable",
            "cran.example.org cannot be reached",
        ),
        (
            [STEP, {"stream": "curl: (6) Could not resolve host: conda.example.org\n"}, {"error": "code: 6"}],
            RemoteError,
            "build-unreachable",
            "conda.example.org cannot be reached",
        ),
        (
            [{"error": "dial tcp: lookup registry.example.org on 192.0.2.1:53: server misbehaving"}],
            RemoteError,
            "build-unreachable",
            "registry.example.org cannot be reached",
        ),
        (
            [
                {
                    "error": 'Get "https://registry.example.org/v2/": net/http: request canceled while '
                    "waiting for connection (Client.Timeout exceeded while awaiting headers)"
                }
            ],
            RemoteError,
            "build-unreachable",
            "registry.example.org cannot be reached",
        ),
        (
            [{"error": "dial tcp: lookup registry.example.org: no such host"}],
            RemoteError,
            "build-unreachable",
            "registry.example.org cannot be reached",
        ),
        (
            [STEP, {"error": "the --mount option requires BuildKit. Refer to ..."}],
            RepoError,
            "needs-buildkit",
            "requires BuildKit",
        ),
        ([STEP], MachineError, "docker-failed", "without naming an image"),
    ],
)
def test_failures(
    tmp_path: Path, events: list[dict[str, Any]], kind: type[EnvbuildError], code: str, message: str
) -> None:
    with pytest.raises(kind) as caught:
        _build(tmp_path, events)
    assert code == caught.value.code
    assert message in caught.value.message


def test_the_end_of_the_output_is_shown_without_credentials(tmp_path: Path) -> None:
    lines = "".join(f"line {number}\n" for number in range(100))
    error = {"error": "https://me:secret@example.org failed \x1b[31m"}
    with pytest.raises(RepoError) as caught:
        _build(tmp_path, [STEP, {"stream": lines}, error])
    detail = caught.value.detail or ""
    assert "line 99" in detail
    assert "line 10\n" not in detail
    assert "secret" not in detail + caught.value.message
