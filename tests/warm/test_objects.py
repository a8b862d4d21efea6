"""What goes into a cluster: valid for current versions of Kubernetes, restricted, and always the same."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest

from envbuild.errors import UsageError
from envbuild.fleet.model import Fleet
from envbuild.warm.daemonset import Settings, daemonset_objects
from envbuild.warm.hold import hold_program
from envbuild.warm.kruise import kruise_objects
from envbuild.warm.planner import PoolPlan, plan_pool
from envbuild.warm.record import Applied, plan_object, read_applied
from envbuild.warm.z2jh import z2jh_values
from tests.warm.conftest import reference

Plans = tuple[PoolPlan, ...]
# The newest there is, and one that some still run.
_VERSIONS = (kubernetes_validate.latest_version(), "1.28")


def _daemonsets(fleet: Fleet, plans: Plans, **given: Any) -> dict[str, dict[str, Any]]:
    objects = daemonset_objects(fleet, plans, Settings(**given))
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == "DaemonSet"}


@pytest.mark.parametrize("version", _VERSIONS)
def test_objects_are_valid(fleet: Fleet, plans: Plans, version: str) -> None:
    for one in daemonset_objects(fleet, plans, Settings()):
        kubernetes_validate.validate(one, version, strict=True)


def test_pods_fit_the_restricted_pod_security_standard(fleet: Fleet, plans: Plans) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, every control of "restricted"."""
    for daemonset in _daemonsets(fleet, plans).values():
        pod = daemonset["spec"]["template"]["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "hostUsers"} & pod.keys()
        assert {"configMap", "name"} == {key for volume in pod["volumes"] for key in volume}
        assert (True, 65534) == (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"])
        assert "RuntimeDefault" == pod["securityContext"]["seccompProfile"]["type"]
        assert not pod["automountServiceAccountToken"]
        for container in pod["containers"]:
            context = container["securityContext"]
            assert not context["allowPrivilegeEscalation"]
            assert {"drop": ["ALL"]} == context["capabilities"]
            assert "ports" not in container


def test_a_daemonset_has_a_container_of_each_image_in_order(fleet: Fleet, plans: Plans) -> None:
    (one,) = [
        found for name, found in _daemonsets(fleet, plans, parallel=1).items() if name == "warm-lab-cpu-1"
    ]
    pod = one["spec"]["template"]["spec"]

    assert [("analysis", str(reference("analysis"))), ("geo", str(reference("geo")))] == [
        (container["name"], container["image"]) for container in pod["containers"]
    ]
    assert {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "pool": "cpu"} == pod["nodeSelector"]
    assert [{"name": "registry-login"}] == pod["imagePullSecrets"]
    assert ("envbuild-warm", 0) == (pod["priorityClassName"], pod["terminationGracePeriodSeconds"])
    assert "tolerations" not in pod


def test_images_are_dealt_out_to_pods_that_pull_side_by_side(fleet: Fleet, plans: Plans) -> None:
    found = _daemonsets(fleet, plans, parallel=3)

    assert {"warm-lab-cpu-1": ["analysis"], "warm-lab-cpu-2": ["geo"], "warm-lab-gpu-1": ["analysis"]} == {
        name: [container["name"] for container in one["spec"]["template"]["spec"]["containers"]]
        for name, one in found.items()
    }
    selectors = [str(one["spec"]["selector"]) for one in found.values()]
    assert len(set(selectors)) == len(selectors)


def test_tolerations_and_settings_are_passed_on(fleet: Fleet, plans: Plans) -> None:
    objects = daemonset_objects(fleet, plans, Settings(at_once="2", priority_class="low"))
    gpu = objects[-1]

    assert [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}] == (
        gpu["spec"]["template"]["spec"]["tolerations"]
    )
    assert 2 == gpu["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"]
    assert "low" == gpu["spec"]["template"]["spec"]["priorityClassName"]
    assert ["ConfigMap", "DaemonSet"] == sorted({one["kind"] for one in objects})


def test_previous_images_have_pods_of_their_own(keeping: tuple[Fleet, Any, Plans]) -> None:
    """A pod that waits for one that is gone must not stop a change of the others."""
    fleet, _, plans = keeping
    found = _daemonsets(fleet, plans[:1], parallel=1)

    assert {
        "warm-lab-cpu-1": [str(reference("analysis")), str(reference("geo"))],
        "warm-lab-cpu-previous": [str(reference("geo-before"))],
    } == {
        name: [container["image"] for container in one["spec"]["template"]["spec"]["containers"]]
        for name, one in found.items()
    }
    for one in found.values():
        kubernetes_validate.validate(one, _VERSIONS[0], strict=True)


def test_previous_images_come_last_for_other_pullers(keeping: tuple[Fleet, Any, Plans]) -> None:
    fleet, _, plans = keeping
    images = z2jh_values(fleet, plans)["prePuller"]["extraImages"]
    jobs = kruise_objects(fleet, plans[:1], Settings())[1:]

    assert ["0001-analysis", "0002-geo", "0003-geo"] == sorted(images)
    assert str(reference("geo-before")).endswith(images["0003-geo"]["tag"])
    assert ["warm-lab-cpu-analysis", "warm-lab-cpu-geo", "warm-lab-cpu-geo-previous"] == [
        job["metadata"]["name"] for job in jobs
    ]


@pytest.mark.parametrize("share", ["0", "0%", "101%", "-1", "many", "", "²"])
def test_shares_that_are_none_are_refused(fleet: Fleet, plans: Plans, share: str) -> None:
    with pytest.raises(UsageError) as caught:
        daemonset_objects(fleet, plans, Settings(at_once=share))
    assert "bad-at-once" == caught.value.code


def test_the_program_is_that_of_each_pools_platform(fleet: Fleet, plans: Plans) -> None:
    arm = replace(plans[1], pool=replace(plans[1].pool, platform="linux/arm64"))
    objects = daemonset_objects(fleet, (plans[0], arm), Settings())
    programs = next(one["binaryData"] for one in objects if one["kind"] == "ConfigMap")
    volumes = [one["spec"]["template"]["spec"]["volumes"] for one in objects if one["kind"] == "DaemonSet"]

    assert {name: hold_program(name) for name in ("amd64", "arm64")} == {
        name: base64.b64decode(text) for name, text in programs.items()
    }
    assert ["amd64", "amd64", "arm64"] == [volume["configMap"]["items"][0]["key"] for (volume,) in volumes]


def test_what_was_applied_can_be_read_back(fleet: Fleet, plans: Plans) -> None:
    analysis = (str(reference("analysis")), ("analysis",))
    assert {
        "cpu": Applied((analysis, (str(reference("geo")), ("geo",)))),
        "gpu": Applied((analysis,), (str(reference("torch")),)),
    } == read_applied(plan_object(fleet, plans))


def test_previous_images_are_recorded_apart_and_those_without_room_not_at_all(
    keeping: tuple[Fleet, Any, Plans],
) -> None:
    """After a rollback such an image is wanted, and nodes were not told of it."""
    fleet, _, (plan, _) = keeping
    small = plan_pool(replace(plan.pool, disk=600), [one.image for one in plan.images])
    kept = tuple((str(reference(name)), (name,)) for name in ("analysis", "geo"))

    assert {"cpu": Applied(kept, previous=((str(reference("geo-before")), ("geo",)),))} == read_applied(
        plan_object(fleet, (plan,))
    )
    assert ["geo-before"] == [out.image.reference.repository.rpartition("/")[2] for out in small.left_out]
    assert {"cpu": Applied(kept)} == read_applied(plan_object(fleet, (small,)))


def test_names_do_not_collide(fleet: Fleet, plans: Plans) -> None:
    """Fleets, pools and environments may have hyphens in their names."""
    names = []
    for fleet_name, pool_name in (("a", "b-c"), ("a-b", "c"), ("a", "b"), ("a" * 60, "b"), ("a" * 61, "b")):
        plan = replace(plans[0], pool=replace(plans[0].pool, name=pool_name))
        names += list(_daemonsets(replace(fleet, name=fleet_name), (plan,), parallel=1))
    assert 5 == len(set(names))
    assert all(len(name) <= 52 for name in names)


def test_jobs_of_openkruise(fleet: Fleet, plans: Plans) -> None:
    record, *jobs = kruise_objects(fleet, plans, Settings(at_once="10%"))

    assert "binaryData" not in record
    assert ["warm-lab-cpu-analysis", "warm-lab-cpu-geo", "warm-lab-gpu-analysis"] == [
        job["metadata"]["name"] for job in jobs
    ]
    assert {
        "completionPolicy": {"type": "Never"},
        "image": str(reference("analysis")),
        "parallelism": "10%",
        "pullPolicy": {"backoffLimit": 3, "timeoutSeconds": 600},
        "pullSecrets": ["registry-login"],
        "selector": {
            "matchLabels": {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "pool": "cpu"}
        },
    } == jobs[0]["spec"]


def test_values_for_zero_to_jupyterhub_lead_to_the_pinned_image(fleet: Fleet, plans: Plans) -> None:
    """The chart writes an image as ``NAME:TAG``."""
    values = z2jh_values(fleet, plans)
    images = values["prePuller"]["extraImages"]

    assert [str(reference("analysis")), str(reference("geo"))] == [
        f"{images[key]['name']}:{images[key]['tag']}" for key in sorted(images)
    ]
    assert ["registry-login"] == values["imagePullSecrets"]
