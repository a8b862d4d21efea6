"""Builds as Jobs of a real cluster, by an account with the role of templates/kubernetes and nothing else."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from envbuild.base.mirrors import find_mirrors
from tests.support.git import Upstream, serve_git
from tests.support.kubernetes import KubernetesCluster
from tests.support.programs import Envbuild
from tests.support.servers import ServerError
from tests.support.small_images import push_small_image
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kubernetes, pytest.mark.network]

_ROOT = Path(__file__).parents[2]
_SANDBOX = _ROOT / "templates" / "kubernetes" / "sandbox"
_SANDBOX_LABEL = "envbuild.dev/sandbox"
_NOTEBOOK = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
_FILES = {"requirements.txt": "packaging\n", "analysis.ipynb": _NOTEBOOK}
_FLEET = """
[fleet]
name = "science"
registry = "{registry}/jobs/fleet"
namespace = "{namespace}"
[environments.builder]
image = "{builder}"
[environments.known]
lock = "known/envbuild.lock"
[environments.broken]
git = "{upstream}/broken"
[environments.moving]
git = "{upstream}/known"
"""


@dataclass(frozen=True, slots=True)
class Builds:
    """A namespace for builds, and the program of somebody who may submit there.

    ``known`` is a locked repository whose layers are in the shared cache, ``digest`` its image's.
    """

    cluster: KubernetesCluster
    namespace: str
    program: Envbuild
    known: Path
    digest: str

    def jobs(self) -> list[dict[str, Any]]:
        """The Jobs there are."""
        items: list[dict[str, Any]] = self.cluster.document("get", "jobs", "--namespace", self.namespace)[
            "items"
        ]
        return items

    def arguments(self, source: str | Path, tag: str) -> list[str | Path]:
        """The command line of a build."""
        name = f"{self.cluster.registry}/jobs/{tag}:1"
        return ["build", source, "--on", "kubernetes", "-t", name, "--json"]


@pytest.fixture(scope="module")
def builds(envbuild: Envbuild, kubernetes: KubernetesCluster, scratch: Path) -> Iterator[Builds]:
    """The builder image, the roles, and a repository that was built at home."""
    registry = kubernetes.registry
    builder = f"{registry}/builder:test"
    subprocess.run(
        [_ROOT / "scripts" / "builder-image", "-t", builder, "--push", "--plain-http", registry],
        env=envbuild.variables(),
        check=True,
        capture_output=True,
    )
    known = scratch / "known"
    known.mkdir()
    for name, text in _FILES.items():
        (known / name).write_text(text)
    shared = {"ENVBUILD_PLAIN_HTTP": registry, "ENVBUILD_REGISTRY": f"{registry}/shared"}
    home = replace(envbuild, environment=shared)
    digest = home.document("build", known, "-t", f"{registry}/home/known:1", "--push")["digest"]
    with kubernetes.namespace("builds") as namespace:
        _install(kubernetes, namespace)
        settings = {
            **shared,
            "KUBECONFIG": str(_submitter(kubernetes, namespace)),
            "ENVBUILD_BUILDER_IMAGE": builder,
        }
        yield Builds(kubernetes, namespace, replace(envbuild, environment=settings), known, digest)


def _install(cluster: KubernetesCluster, namespace: str) -> None:
    """Apply the role of the template in ``namespace``."""
    template = _ROOT / "templates" / "kubernetes" / "builds.yaml"
    for document in yaml.safe_load_all(template.read_text("utf-8")):
        if document["kind"] in ("Role", "RoleBinding", "ServiceAccount") and (
            document["metadata"]["name"] != "default"
        ):
            text = json.dumps(document).replace("envbuild-builds", namespace)
            cluster.kubectl("apply", "-f", "-", text=text)


def _submitter(cluster: KubernetesCluster, namespace: str) -> Path:
    """The account, as soon as the API server has heard of its role."""
    kubeconfig = cluster.account(namespace, "envbuild-submitter")

    def may() -> bool:
        with contextlib.suppress(ServerError):
            return bool(cluster.kubectl("auth", "can-i", "create", "jobs.batch", kubeconfig=kubeconfig))
        return False

    wait_until(may)
    return kubeconfig


def _error(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    return done.returncode, json.loads(done.stdout)["error"]


def test_a_directory_twice_at_once_is_one_job_and_the_image_of_home(builds: Builds, tmp_path: Path) -> None:
    label = f"envbuild.dev/{secrets.token_hex(4)}"
    template = tmp_path / "pod.yaml"
    template.write_text(json.dumps({"spec": {"nodeSelector": {label: "true"}}}))
    arguments = [*builds.arguments(builds.known, "twice"), "--pod-template", template]

    running = [builds.program.start(*arguments) for _ in range(2)]
    # No node takes the pod before both have the Job: it would end before the slower one sees it.
    for process in running:
        next(line for line in process.stderr or () if " Job " in line)
    builds.cluster.kubectl("label", "nodes", "--all", f"{label}=true")
    ended = [(process.communicate(), process.returncode) for process in running]
    builds.cluster.kubectl("label", "nodes", "--all", f"{label}-")
    again = builds.program.document(*arguments)

    documents = [json.loads(output) for (output, _), _ in ended]
    assert [0, 0] == [code for _, code in ended], ended
    assert {builds.digest} == {document["digest"] for document in (*documents, again)}
    assert {"created", "joined"} == {document["job"]["how"] for document in documents}
    assert ("reused", documents[0]["job"]["name"]) == (again["job"]["how"], again["job"]["name"])
    assert 1 == len(builds.jobs())


def test_a_commit(builds: Builds, tmp_path: Path) -> None:
    """It is fetched and built by the pod, and the lock in it decides; the labels name the commit."""
    lock = (builds.known / "envbuild.lock").read_text()
    upstream = Upstream.create(tmp_path / "known", {**_FILES, "envbuild.lock": lock})
    host = builds.cluster.registry.rpartition(":")[0]
    with serve_git(tmp_path, host=host) as server:
        source = f"http://{host}:{server.server_port}/known"
        at_home = builds.program.document("build", source)
        by_job = builds.program.document(*builds.arguments(source, "commit"))

    assert upstream.git("rev-parse", "HEAD") == by_job["source"]["revision"]
    assert at_home["digest"] == by_job["digest"]


def test_a_fleet_is_built_by_jobs_and_then_only_what_changed(builds: Builds, tmp_path: Path) -> None:
    shutil.copytree(builds.known, tmp_path / "known")
    upstream = tmp_path / "upstream"
    Upstream.create(upstream / "broken", {"requirements.txt": "pandas ==== 1\n"})
    lock = (builds.known / "envbuild.lock").read_text()
    moving = Upstream.create(upstream / "known", {**_FILES, "envbuild.lock": lock})
    host = builds.cluster.registry.rpartition(":")[0]
    file = tmp_path / "fleet.toml"

    def build(*options: str) -> tuple[int, dict[str, str], dict[str, str]]:
        done = builds.program.run("build", "--fleet", file, "--on", "kubernetes", "--json", *options)
        made = json.loads(done.stdout)["environments"]
        outcomes = {one["name"]: one["error"]["error"] if one["error"] else one["outcome"] for one in made}
        return done.returncode, outcomes, {one["name"]: one["image"] for one in made}

    with serve_git(upstream, host=host) as server:
        file.write_text(
            _FLEET.format(
                registry=builds.cluster.registry,
                namespace=builds.namespace,
                builder=builds.program.environment["ENVBUILD_BUILDER_IMAGE"],
                upstream=f"http://{host}:{server.server_port}",
            )
        )
        first, outcomes, images = build()
        pinned = (tmp_path / "fleet.lock").read_bytes()
        moving.commit({"README.md": "moved\n"})
        checked, would, _ = build("--check")
        assert pinned == (tmp_path / "fleet.lock").read_bytes()
        second, then, now = build()

    assert (1, 1, 1) == (first, checked, second)  # what is broken stays so
    failed = {"broken": "bad-requirement"}
    assert {"builder": "resolved", "known": "built", "moving": "built", **failed} == outcomes
    assert {"builder": "unchanged", "known": "unchanged", "moving": "outdated", "broken": "outdated"} == would
    assert {"builder": "unchanged", "known": "unchanged", "moving": "built", **failed} == then
    assert images["known"].endswith(f"@{builds.digest}")
    assert (images["known"], images["builder"]) == (now["known"], now["builder"])
    assert images["moving"] != now["moving"]
    for image in (images["moving"], now["moving"], now["known"]):
        assert image.partition("@")[2] == builds.program.document("inspect", image)["digest"]


def test_the_repositorys_fault_is_told_as_at_home_and_not_repeated(builds: Builds, tmp_path: Path) -> None:
    Upstream.create(tmp_path / "faulty", {"requirements.txt": "pandas ==== 1\n"})
    host = builds.cluster.registry.rpartition(":")[0]
    with serve_git(tmp_path, host=host) as server:
        source = f"http://{host}:{server.server_port}/faulty"
        at_home = builds.program.run("build", source, "--json")
        by_job = builds.program.run(*builds.arguments(source, "faulty"))

    assert (1, json.loads(at_home.stdout)) == (by_job.returncode, json.loads(by_job.stdout))
    pods = builds.cluster.document("get", "pods", "--namespace", builds.namespace)["items"]
    assert 1 == sum("faulty" in json.dumps(pod["spec"]) for pod in pods)


def test_what_has_to_run_is_refused_by_the_pod_at_once(builds: Builds, tmp_path: Path) -> None:
    shutil.copytree(builds.known, tmp_path / "runs")
    (tmp_path / "runs" / "postBuild").write_text("#!/bin/sh\ntrue\n")
    alone = replace(builds.program, environment={**builds.program.environment, "ENVBUILD_REGISTRY": ""})

    done = alone.run(*builds.arguments(tmp_path / "runs", "runs"))

    assert (3, "no-sandbox-in-job") == _error(done)
    assert "(seccomp) forbids it" in json.loads(done.stdout)["detail"]


@pytest.fixture(scope="module")
def sandbox_nodes(builds: Builds) -> None:
    """A node that is prepared for steps as docs/jobs.md says."""
    nodes = builds.cluster.nodes
    for node in (nodes["node2"],) if nodes else ():
        node.seccomp_profiles.mkdir(parents=True, exist_ok=True)
        shutil.copy(_SANDBOX / "seccomp.json", node.seccomp_profiles / "envbuild.json")
        builds.cluster.kubectl("label", "node", node.name, f"{_SANDBOX_LABEL}=true")
    if not builds.cluster.document("get", "nodes", "-l", f"{_SANDBOX_LABEL}=true")["items"]:
        pytest.skip(f"no node of this cluster has the label {_SANDBOX_LABEL}")


@pytest.mark.usefixtures("sandbox_nodes")
def test_what_has_to_run_runs_in_pods_of_the_template_for_it(builds: Builds, tmp_path: Path) -> None:
    """As root and as the user: the image is that of home, whose steps are not in the shared cache."""
    shutil.copytree(builds.known, tmp_path / "steps")
    (tmp_path / "steps" / "apt.txt").write_text("hello\n")
    (tmp_path / "steps" / "postBuild").write_text(f"#!/bin/sh\nhello > {secrets.token_hex(4)}.txt\n")
    mirrors = find_mirrors(at=datetime.now(UTC))
    settings = {
        **builds.program.environment,
        "ENVBUILD_DEBIAN_MIRROR": mirrors.debian[0],
        "ENVBUILD_DEBIAN_SECURITY_MIRROR": mirrors.security[0],
    }
    program = replace(builds.program, environment=settings)
    home = replace(builds.program, environment={**settings, "ENVBUILD_REGISTRY": ""})
    at_home = home.document("build", tmp_path / "steps")
    template = ("--pod-template", _SANDBOX / "pod-template.yaml")

    by_job = program.document(*builds.arguments(tmp_path / "steps", "steps"), *template)

    assert at_home["digest"] == by_job["digest"]
    ran = {layer["title"] for layer in by_job["layers"] if not layer["cached"]}
    # A registry that was there before may have the packages from an earlier run.
    assert {"postBuild", *(["Debian packages of apt.txt"] if builds.cluster.nodes else [])} <= ran


@pytest.mark.usefixtures("sandbox_nodes")
def test_a_covered_proc_is_told(builds: Builds, tmp_path: Path) -> None:
    """The filter allows it; the rest of the template is missing."""
    shutil.copytree(builds.known, tmp_path / "covered")
    (tmp_path / "covered" / "postBuild").write_text("#!/bin/sh\ntrue\n")
    template = yaml.safe_load((_SANDBOX / "pod-template.yaml").read_text())
    del template["spec"]["containers"][0]["securityContext"]["procMount"]
    (tmp_path / "pod.yaml").write_text(json.dumps(template))
    alone = replace(builds.program, environment={**builds.program.environment, "ENVBUILD_REGISTRY": ""})

    arguments = builds.arguments(tmp_path / "covered", "covered")
    done = alone.run(*arguments, "--pod-template", tmp_path / "pod.yaml")

    assert (3, "no-sandbox-in-job") == _error(done)
    assert "`procMount: Unmasked`" in json.loads(done.stdout)["detail"]


def test_interrupted(builds: Builds) -> None:
    """While a build runs that would not end by itself."""
    builder = f"{builds.cluster.registry}/endless"
    digest = push_small_image(
        f"{builder}:1", ["sh"], files={"bin/envbuild": b"#!/bin/sh\nexec sleep 2147483647\n"}
    )
    arguments = (*builds.arguments(builds.known, "interrupted"), "--builder-image", f"{builder}@{digest}")
    process = builds.program.start(*arguments)
    assert process.stderr is not None
    said = next(line for line in process.stderr if line.startswith("submitted: Job "))
    name = said.split()[2]

    time.sleep(0.5)  # at any moment from here on
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate()

    assert 130 == process.returncode
    assert f"cancelled: the Job {name}" in messages
    assert name not in [job["metadata"]["name"] for job in builds.jobs()]


def test_without_the_role(builds: Builds) -> None:
    account = builds.cluster.account(builds.namespace, "nobody")
    nobody = replace(builds.program, environment={**builds.program.environment, "KUBECONFIG": str(account)})

    done = nobody.run(*builds.arguments(builds.known, "nobody"))

    assert (4, "cluster-forbidden") == _error(done)
    assert 'resources: ["jobs"]' in json.loads(done.stdout)["remedy"]


@pytest.mark.parametrize(
    ("option", "code"),
    [
        (("--builder-image", "{registry}/busybox:1"), "job-cannot-start"),
        (("--builder-image", "{registry}/nothing@sha256:" + "a" * 64), "job-image-pull"),
        (("--registry-secret", "nothing"), "job-config"),
        (("--config-map", "nothing"), "job-config"),
        (("--pod-template", "{template}"), "job-node-unprepared"),
    ],
)
def test_what_cannot_begin_is_told_soon(
    builds: Builds, option: tuple[str, str], code: str, tmp_path: Path
) -> None:
    template = tmp_path / "pod.yaml"
    profile = {"type": "Localhost", "localhostProfile": "nothing.json"}
    template.write_text(json.dumps({"spec": {"securityContext": {"seccompProfile": profile}}}))
    given = [part.format(registry=builds.cluster.registry, template=template) for part in option]

    assert (4, code) == _error(builds.program.run(*builds.arguments(builds.known, "cannot"), *given))
