"""A request, and a cluster that is only an API server in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from envbuild.cluster.api import Cluster
from envbuild.cluster.connection import connect
from envbuild.image.reference import parse_reference
from envbuild.jobs.request import Request
from tests.support.api_server import Answer, ApiServer, api_server


@pytest.fixture
def request_() -> Request:
    return Request(
        source="https://example.org/team/rivers#" + "a" * 40,
        title="https://example.org/team/rivers",
        content="a" * 40,
        arguments=("--compression=gzip",),
        variables=(("ENVBUILD_PLAIN_HTTP", "registry.example.org:5000"),),
        tags=(parse_reference("registry.example.org:5000/team/rivers:1"),),
        builder=parse_reference("registry.example.org/builder@sha256:" + "b" * 64),
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with api_server(tmp_path) as started:
        started.always["GET", "/version"] = Answer(200, {"major": "1", "minor": "33+"})
        yield started


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path) -> Iterator[Cluster]:
    connected = connect(environment={"KUBECONFIG": str(tmp_path / "kubeconfig")})
    yield Cluster(connected.client, connected.namespace, wait=lambda seconds: None)
    connected.client.close()
