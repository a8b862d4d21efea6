"""A cluster that is only an API server in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from envbuild.cluster.api import Cluster
from envbuild.cluster.connection import connect
from tests.support.api_server import ApiServer, api_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with api_server(tmp_path) as started:
        yield started


@pytest.fixture
def waited() -> list[float]:
    """The pauses that were made between tries, in seconds."""
    return []


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path, waited: list[float]) -> Iterator[Cluster]:
    connected = connect(environment={"KUBECONFIG": str(tmp_path / "kubeconfig")})
    made = Cluster(connected.client, connected.namespace, wait=waited.append)
    yield made
    connected.client.close()
