"""``envbuild build --on kubernetes`` and ``--fleet``: what is refused, and what is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envbuild.cli.main import run
from envbuild.image.config import INDEX_TYPE, canonical
from envbuild.registry.registries import Registries
from tests.support.registry import fake_registry

TAG = ("-t", "registry.example.org/team/demo:1")
BUILDER = ("--builder-image", "registry.example.org/builder@sha256:" + "b" * 64)


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that nobody answers for."""
    path = tmp_path / "kubeconfig"
    path.write_text(
        "current-context: a\nclusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "users: [{name: a, user: {token: secret}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
    )
    monkeypatch.setenv("KUBECONFIG", str(path))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (BUILDER, "push-without-name"),
        (TAG, "no-builder-image"),
        ((*TAG, *BUILDER, "-o", "oci:x"), "not-in-a-job"),
        ((*TAG, *BUILDER, "--load"), "not-in-a-job"),
        ((*TAG, *BUILDER, "--offline"), "not-in-a-job"),
        ((*TAG, *BUILDER, "--context", "another"), "kubeconfig-context"),
        ((*TAG, *BUILDER, "--pod-template", "/nonexistent.yaml"), "bad-pod-template"),
    ],
)
@pytest.mark.usefixtures("kubeconfig")
def test_refused(
    arguments: tuple[str, ...], code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exit_code = run(["build", str(tmp_path), "--on", "kubernetes", "--json", *arguments])

    assert (2, code) == (exit_code, json.loads(capsys.readouterr().out)["error"])


@pytest.mark.parametrize(
    "source", ["https://me:secret@example.org/rivers.git", "https://token@example.org/rivers.git#main"]
)
@pytest.mark.usefixtures("kubeconfig")
def test_passwords_in_addresses_are_refused(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    exit_code = run(["build", source, "--on", "kubernetes", "--json", *TAG, *BUILDER])

    printed = capsys.readouterr()
    assert (2, "password-in-job") == (exit_code, json.loads(printed.out)["error"])
    assert "secret" not in printed.out + printed.err


@pytest.mark.parametrize("variable", ["ENVBUILD_PYPI_INDEX", "ENVBUILD_METRICS_PUSH"])
@pytest.mark.usefixtures("kubeconfig")
def test_passwords_in_settings_are_refused(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, "https://me:secret@127.0.0.1:1/simple")

    exit_code = run(
        ["build", "https://example.org/rivers.git", "--on", "kubernetes", "--json", *TAG, *BUILDER]
    )

    printed = capsys.readouterr()
    assert (2, "password-in-job") == (exit_code, json.loads(printed.out)["error"])
    assert "secret" not in printed.out + printed.err


@pytest.mark.usefixtures("kubeconfig")
def test_what_an_engine_builds_is_refused_before_there_is_a_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "Dockerfile").write_text("FROM scratch\n")

    exit_code = run(["build", str(tmp_path / "demo"), "--on", "kubernetes", "--json", *TAG, *BUILDER])

    said = json.loads(capsys.readouterr().out)
    assert (1, "engine-in-job", "Dockerfile") == (exit_code, said["error"], said["file"])


def test_detach_without_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == run(["build", "--detach", "--json"])
    assert "--detach goes with --on kubernetes" == json.loads(capsys.readouterr().out)["message"]


@pytest.mark.usefixtures("kubeconfig")
def test_a_failure_is_told_to_ci(tmp_path: Path) -> None:
    """And so to the termination message of a pod."""
    file = tmp_path / "variables"

    run(["build", str(tmp_path / "nowhere"), "--variables", str(file)])

    said = dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert ("source-not-found", "2") == (said["error"], said["error_exit_code"])


FLEET = """
[fleet]
name = "science"
registry = "{registry}/team/envs"
[environments.box]
image = "{registry}/team/box:1"
[environments.rivers]
lock = "rivers/envbuild.lock"
"""


@pytest.mark.parametrize(
    "arguments", [["."], ["x"], ["-t", "x"], ["-o", "oci:x"], ["--load"], ["--detach"], ["--summary", "x"]]
)
def test_what_does_not_go_with_a_fleet(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["build", "--fleet", str(tmp_path / "fleet.toml"), "--json", *arguments])

    expected = "fleet-and-source" if arguments != ["."] else "no-fleet-file"
    assert expected == json.loads(capsys.readouterr().out)["error"]


def test_a_fleet_is_brought_up_to_date_as_far_as_possible(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The image is pinned although the lock of the other environment is not there."""
    with fake_registry() as registry, Registries({}) as registries:
        data = canonical({"manifests": [], "mediaType": INDEX_TYPE, "schemaVersion": 2})
        digest = registries.repository(f"{registry.address}/team/box").put_manifest(data, INDEX_TYPE, "1")
        file = tmp_path / "fleet.toml"
        file.write_text(FLEET.format(registry=registry.address))

        checked = run(["build", "--fleet", str(file), "--check", "--json"])
        first = json.loads(capsys.readouterr().out)
        assert not (tmp_path / "fleet.lock").exists()
        code = run(["build", "--fleet", str(file), "--json"])
        second = json.loads(capsys.readouterr().out)

    assert (2, 2) == (checked, code)
    assert ["outdated", "failed"] == [one["outcome"] for one in first["environments"]]
    assert ["resolved", "failed"] == [one["outcome"] for one in second["environments"]]
    assert "lock-missing" == second["environments"][1]["error"]["error"]
    assert f"@{digest}" in (tmp_path / "fleet.lock").read_text()


def test_check_without_a_fleet() -> None:
    assert 2 == run(["build", "--check"])
