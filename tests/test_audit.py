"""Who built and pushed what: a line each, on the disk before anything leaves this machine."""

from __future__ import annotations

import base64
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from envbuild.audit import Audit, who
from envbuild.errors import MachineError, RemoteError
from envbuild.observation import Observation

_BUILD = "0123456789abcdef0123456789abcdef"


def _audit(path: Path | None, told: list[Any] | None = None, build: str = _BUILD) -> Audit:
    observation = Observation(build, "build", facts={"environment": "env-01", "digest": "sha256:02"})
    observation.source = {"url": "https://me:hunter2@example.org/repo", "revision": "abc"}
    observation.images = {"linux/amd64": "sha256:03"}
    return Audit(path, who({}, "someone"), observation, (told if told is not None else []).append)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_push_has_a_line_before_and_one_after(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    with _audit(path).push(["registry.example.org/team/demo:1"]):
        (begun,) = _lines(path)

    assert ("push", "begun") == (begun["action"], begun["outcome"])
    assert {
        "build": _BUILD,
        "environment": "env-01",
        "lock": None,
        "digest": "sha256:02",
        "images": {"linux/amd64": "sha256:03"},
        "references": ["registry.example.org/team/demo:1"],
    } == {name: begun[name] for name in ("build", "environment", "lock", "digest", "images", "references")}
    assert ["begun", "done"] == [line["outcome"] for line in _lines(path)]


def test_a_failure_has_its_code(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    with pytest.raises(RemoteError), _audit(path).build():
        raise RemoteError("no", code="registry-refused")
    with pytest.raises(KeyboardInterrupt), _audit(path).push(["x"]):
        raise KeyboardInterrupt

    assert [("build", "registry-refused"), ("push", None), ("push", "interrupted")] == [
        (line["action"], line.get("error")) for line in _lines(path)
    ]


def _is_directory(path: Path) -> None:
    path.mkdir()


def _is_full(path: Path) -> None:
    path.symlink_to("/dev/full")


def _has_no_directory(path: Path) -> None:
    path.parent.rmdir()


def _is_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("prepare", [_is_directory, _is_full, _has_no_directory, _is_pipe])
def test_nothing_happens_when_it_cannot_be_written(tmp_path: Path, prepare: Any) -> None:
    path = tmp_path / "logs" / "audit.jsonl"
    path.parent.mkdir()
    prepare(path)
    happened = []

    for action in (_audit(path).push(["x"]), _audit(path).build()):
        with pytest.raises(MachineError) as caught, action:
            happened.append(action)
        assert "audit-not-written" == caught.value.code

    assert [] == happened


def test_a_full_disk_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next line does not continue the half of one that is there."""
    path = tmp_path / "audit.jsonl"
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:10]))
    with pytest.raises(MachineError) as caught, _audit(path).push(["x"]):
        pass
    monkeypatch.undo()

    with _audit(path).build():
        pass

    half, whole = path.read_text().splitlines()
    assert "audit-not-written" == caught.value.code
    assert 10 == len(half)
    assert "build" == json.loads(whole)["action"]


def test_lines_of_many_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    builds = [f"{number:032x}" for number in range(8)]

    def work(build: str) -> None:
        for _ in range(5):
            with _audit(path, build=build).push(["x" * 5000]):
                pass

    threads = [threading.Thread(target=work, args=(build,)) for build in builds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(builds * 10) == sorted(line["build"] for line in _lines(path))


def test_it_is_added_to_and_not_readable_by_all(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text('{"before": true}\n')
    path.chmod(0o600)
    other = tmp_path / "other.jsonl"

    for one in (path, other):
        with _audit(one).build():
            pass

    assert 2 == len(_lines(path))
    assert 0 == other.stat().st_mode & 0o007


def test_no_credential_is_in_it(tmp_path: Path) -> None:
    told: list[Any] = []
    path = tmp_path / "audit.jsonl"

    with _audit(path, told).push(["https://me:hunter2@registry.example.org/demo"]):
        pass

    assert "hunter2" not in path.read_text() + repr(told)
    assert "https://***@example.org/repo" == _lines(path)[0]["source"]["url"]


def test_machines_are_told_also_without_a_file() -> None:
    told: list[dict[str, Any]] = []

    with _audit(None, told).push(["x"]):
        pass

    assert ["begun", "done"] == [line["outcome"] for line in told]


def test_who_is_the_process_and_what_ci_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    claims = base64.urlsafe_b64encode(b'{"sub": "system:serviceaccount:builds:builder"}').rstrip(b"=")
    token = tmp_path / "token"
    token.write_bytes(b"header." + claims + b".signature")
    monkeypatch.setattr("envbuild.audit._TOKEN", token)

    found = who({"GITHUB_ACTOR": "octo", "GITHUB_RUN_ID": "7", "GITHUB_TOKEN": "hunter2"}, None)

    assert os.getuid() == found["uid"]
    assert "system:serviceaccount:builds:builder" == found["service_account"]
    assert {"actor": "octo", "repository": None, "run": "7"} == found["ci"]
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize("token", [b"", b"x", b"a.b.c", b"a.e30.c", b"a.W10.c", b"a." + b"W" * 90000 + b".c"])
def test_a_token_that_is_none_tells_nothing(
    token: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_bytes(token)
    monkeypatch.setattr("envbuild.audit._TOKEN", tmp_path / "token")

    assert who({}, None)["service_account"] is None
