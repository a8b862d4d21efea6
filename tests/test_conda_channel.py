"""The channel that tests build is a real one, and the same every time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.support.conda import PLACEHOLDER, make_channel
from tests.support.conda_channel import ChannelServer, demo_packages, install_packages


def test_packages_and_index_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    one, two = (make_channel(tmp_path / name, demo_packages()) for name in ("one", "two"))

    def content(channel: Path) -> dict[str, bytes]:
        files = sorted(channel.glob("*/*"))
        return {f"{file.parent.name}/{file.name}": file.read_bytes() for file in files}

    assert "noarch/repodata.json.zst" in content(one)
    assert content(one) == content(two)


@pytest.mark.parametrize("subdir", ["linux-64", "linux-aarch64"])
def test_rattler_solves_and_installs_from_the_server(tmp_path: Path, subdir: str) -> None:
    directory = make_channel(tmp_path / "demo", demo_packages())
    with ChannelServer(directory) as server:
        asyncio.run(install_packages(server.url, ["program", "pure", "old-format"], subdir, tmp_path))

    prefix = tmp_path / "prefix"
    assert f"root={prefix}\n" == (prefix / "share/program/settings.ini").read_text()
    text = f"{prefix}/share/program".encode().ljust(len(PLACEHOLDER + "/share/program"), b"\0")
    assert b"\x7fELF\0" + text + b"\0rest\0" == (prefix / "bin/program").read_bytes()
    assert (prefix / "bin/pure").read_text().startswith(f"#!{prefix}/bin/python3.13\n")
    assert "old-format 1.0\n" == (prefix / "share/old-format/about.txt").read_text()


@pytest.mark.parametrize(
    ("options", "path", "user"),
    [
        ({"credentials": ("me", "secret")}, "/demo/noarch/repodata.json", ("me", "secret")),
        ({"token": "abc"}, "/t/abc/demo/noarch/repodata.json", None),
    ],
)
def test_a_guarded_channel_answers_only_with_credentials(
    tmp_path: Path, options: dict[str, object], path: str, user: tuple[str, str] | None
) -> None:
    with ChannelServer(make_channel(tmp_path / "demo", []), **options) as server:  # type: ignore[arg-type]
        refused = httpx.get(f"{server.url}/noarch/repodata.json", trust_env=False)
        allowed = httpx.get(server.base + path, auth=user, trust_env=False)

    assert (401, 200) == (refused.status_code, allowed.status_code)
    assert ["/demo/noarch/repodata.json"] == server.requests
