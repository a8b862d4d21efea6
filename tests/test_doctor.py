"""What doctor says about machines in good and bad shape."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from envbuild.base.mirrors import Mirrors
from envbuild.doctor import Check, examine
from envbuild.store import Store


class _Engine:
    """An engine that works, or does not for a reason."""

    def __init__(self, name: str, reason: str | None) -> None:
        self.name = name
        self._reason = reason

    def unavailable(self) -> str | None:
        return self._reason


_WORKS = _Engine("bubblewrap", None)
_NOWHERE = Mirrors(("http://127.0.0.1:9/debian",), ("http://127.0.0.1:9/security",))


def _examine(tmp_path: Path, *engines: _Engine, offline: bool = True, **environment: str) -> dict[str, Check]:
    """The checks by name, on a machine whose index and mirror do not answer."""
    store = Store(tmp_path / "cache")
    store.prepare()
    settings = {"UV_DEFAULT_INDEX": "http://me:secret@127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}
    checks = examine(
        store,
        environment=settings | environment,
        mirrors=_NOWHERE,
        engines=engines or (_WORKS,),
        offline=offline,
    )
    return {check.name: check for check in checks}


def test_a_machine_in_good_shape(tmp_path: Path) -> None:
    checks = _examine(tmp_path)

    assert {"Python", "platform", "cache", "certificates", "proxy", "uv", "bubblewrap"} == set(checks)
    assert "fail" not in {check.status for check in checks.values()}


def test_offline_asks_nobody(tmp_path: Path) -> None:
    assert {"package index", "Debian mirror"}.isdisjoint(_examine(tmp_path))


def test_network_that_does_not_answer(tmp_path: Path) -> None:
    checks = _examine(tmp_path, offline=False)

    assert ("fail", "fail") == (checks["package index"].status, checks["Debian mirror"].status)
    assert checks["Debian mirror"].remedy == "set ENVBUILD_DEBIAN_MIRROR to a mirror that can be reached"
    assert "secret" not in str(checks)


def test_addresses_are_shown_without_passwords(tmp_path: Path) -> None:
    checks = _examine(tmp_path, offline=False, https_proxy="me:secret@127.0.0.1:9", NO_PROXY="127.0.0.1")

    assert "https_proxy http://***@127.0.0.1:9, no_proxy 127.0.0.1" == checks["proxy"].message
    index = checks["package index"].message
    assert index.startswith("http://***@127.0.0.1:9/simple (from uv's variables): ")
    assert checks["Debian mirror"].message.startswith("http://127.0.0.1:9/debian: ")


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:1", "http://", "ftp://me:secret@proxy"])
def test_a_proxy_that_cannot_be_used(tmp_path: Path, value: str) -> None:
    check = _examine(tmp_path, ALL_PROXY=value, all_proxy="")["proxy"]

    assert ("fail", "all_proxy cannot be used") == (check.status, check.message)


def test_one_engine_is_enough(tmp_path: Path) -> None:
    checks = _examine(tmp_path, _WORKS, _Engine("docker", "no daemon answers; start Docker"))

    assert Check("docker", "warn", "no daemon answers", "start Docker") == checks["docker"]


def test_no_engine_is_a_failure_of_each(tmp_path: Path) -> None:
    checks = _examine(tmp_path, _Engine("bubblewrap", "no namespaces"), _Engine("docker", "no daemon"))

    assert ("fail", "fail") == (checks["bubblewrap"].status, checks["docker"].status)


@pytest.mark.parametrize(("free", "status"), [(10**11, "ok"), (10**9, "warn"), (10**7, "fail")])
def test_free_space(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, status: str) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, free))

    assert status == _examine(tmp_path)["cache"].status


@pytest.mark.parametrize("content", [None, "", "not a certificate"])
def test_certificates_that_cannot_be_used(tmp_path: Path, content: str | None) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)

    assert "fail" == _examine(tmp_path, SSL_CERT_FILE=str(bundle))["certificates"].status


def test_machine_of_another_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")

    checks = _examine(tmp_path)

    assert "fail" == checks["platform"].status
    assert checks["platform"].remedy


@pytest.mark.network
def test_the_real_index_and_mirror_answer(tmp_path: Path) -> None:
    import os
    from datetime import UTC, datetime

    from envbuild.base.mirrors import find_mirrors

    store = Store(tmp_path / "cache")
    store.prepare()
    checks = examine(
        store,
        environment=os.environ,
        mirrors=find_mirrors(at=datetime.now(UTC)),
        engines=(_WORKS,),
        offline=False,
    )

    assert {"ok"} == {check.status for check in checks if check.name in ("package index", "Debian mirror")}
