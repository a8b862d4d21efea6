"""Why nodes are not warm, from objects as the API server of the tests' cluster gave them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from envbuild.fleet.model import Fleet, Pin
from envbuild.warm.causes import WARM, Cause
from envbuild.warm.observe import wait_until_warm
from envbuild.warm.planner import PoolPlan
from envbuild.warm.record import Applied, plan_object, read_applied
from envbuild.warm.status import NodeStatus, Observed, PoolStatus, judge
from tests.support.strangers import TEXTS, records
from tests.warm.conftest import reference

Plans = tuple[PoolPlan, ...]


def node(
    name: str = "n1", *, pool: str = "cpu", images: list[str] | None = None, **given: Any
) -> dict[str, Any]:
    conditions = {"Ready": ("True", ""), **given.get("conditions", {})}
    labels = {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "pool": pool}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": given.get("taints", [])},
        "status": {
            "conditions": [
                {"type": kind, "status": status, "message": message}
                for kind, (status, message) in conditions.items()
            ],
            "images": [{"names": [image]} for image in images or ()],
        },
    }


def pod(*names: str, on: str = "n1", states: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    """A pod with containers of the images ``names``; they run unless ``states`` says otherwise."""
    return {
        "metadata": {"name": f"warm-{on}", "uid": f"uid-{on}", "labels": {"envbuild.dev/pool": "cpu"}},
        "spec": {
            "nodeName": on,
            "containers": [{"name": name, "image": str(reference(name))} for name in names],
        },
        "status": {
            "phase": "Running",
            "containerStatuses": [
                {"name": name, "state": (states or {}).get(name, {"running": {}})} for name in names
            ],
            **status,
        },
    }


def event(
    message: str, *, container: str = "geo", reason: str = "Failed", moment: str = "10"
) -> dict[str, Any]:
    return {
        "metadata": {"creationTimestamp": "2026-11-21T19:00:00Z"},
        "reason": reason,
        "message": message,
        "lastTimestamp": f"2026-11-21T19:00:{moment}Z",
        "involvedObject": {"uid": "uid-n1", "fieldPath": f"spec.containers{{{container}}}"},
    }


WAITING = {"geo": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}
CREATING = {"geo": {"waiting": {"reason": "ContainerCreating"}}}


@pytest.fixture
def look(fleet: Fleet, pins: dict[str, Pin], plans: Plans) -> Any:
    """The state of the node n1 in the pool ``cpu``, which was told to keep ``analysis`` and ``geo``."""

    def found(**observed: Any) -> NodeStatus:
        applied = read_applied(plan_object(fleet, plans))
        (status,) = judge(fleet, pins, applied, Observed(**observed))[0].nodes
        return status

    return found


def test_a_node_whose_containers_run_is_warm(look: Any) -> None:
    status = look(nodes=(node(),), pods=(pod("analysis", "geo"),))

    assert (WARM, [True, True]) == (status.cause, [image.held for image in status.images])


def test_pods_of_several_lanes_and_images_that_only_the_node_lists_count(look: Any) -> None:
    status = look(nodes=(node(images=[str(reference("geo"))]),), pods=(pod("analysis"),))

    assert (WARM, [True, False]) == (status.cause, [image.held for image in status.images])


_NOT_FOUND = 'Failed to pull image "x": rpc error: code = NotFound desc = {}: not found'


@pytest.mark.parametrize(
    ("observed", "cause"),
    [
        (
            {"pods": (pod("analysis", "geo", states=WAITING),), "events": ()},
            Cause("pull-failed", "Back-off pulling image"),
        ),
        (
            {
                "pods": (pod("analysis", "geo", states=WAITING),),
                "events": (
                    event(_NOT_FOUND.format("new"), moment="30"),
                    event(_NOT_FOUND.format("old"), moment="20"),
                    event("Error: ImagePullBackOff", moment="40"),
                    event(_NOT_FOUND.format("another's"), moment="50", container="analysis"),
                ),
            },
            Cause("pull-failed", "new: not found"),
        ),
        (
            {
                "pods": (pod("analysis", "geo", states=WAITING),),
                "events": (event('Failed to pull image "x": write /v/y: no space left on device'),),
            },
            Cause("disk-full", "write /v/y: no space left on device"),
        ),
        (
            {"pods": (pod("analysis", "geo", states=CREATING),)},
            Cause("pulling", "its image is being pulled"),
        ),
        (
            {
                "pods": (pod("analysis", "geo", states=CREATING),),
                "events": (event('configmap "warm-lab" not found', reason="FailedMount"),),
            },
            Cause("start-failed", 'configmap "warm-lab" not found'),
        ),
        (
            {
                "pods": (
                    pod(
                        *("analysis", "geo"),
                        states={
                            "geo": {"waiting": {"reason": "CreateContainerError", "message": "exec format"}}
                        },
                    ),
                )
            },
            Cause("start-failed", "CreateContainerError: exec format"),
        ),
        (
            {"pods": (pod("analysis", "geo", phase="Failed", reason="Evicted", message="low on disk"),)},
            Cause("evicted", "low on disk"),
        ),
        (
            {
                "pods": (
                    pod(
                        *("analysis", "geo"),
                        states={"analysis": {}, "geo": {}},
                        conditions=[{"type": "PodScheduled", "status": "False", "message": "Too many pods"}],
                    ),
                )
            },
            Cause("not-scheduled", "Too many pods"),
        ),
        (
            {"pods": (pod("analysis"),)},
            Cause("previous", "its pod is of an earlier version, and replaced when it is the node's turn"),
        ),
        ({"pods": ()}, Cause("no-pod", "it has no pod that keeps images")),
    ],
)
def test_causes_of_images(look: Any, observed: dict[str, Any], cause: Cause) -> None:
    assert cause == look(nodes=(node(),), **observed).cause


class _Counted(dict[str, Any]):
    """A mapping that counts how often something in it is asked for."""

    asked = 0

    def get(self, *given: Any) -> Any:
        type(self).asked += 1
        return super().get(*given)


def test_events_and_statuses_are_gone_through_once_however_many_images_there_are(
    fleet: Fleet, pins: dict[str, Pin]
) -> None:
    """A pod has a hundred containers and three hundred events, and there are as many pods as nodes."""

    def asked(images: int) -> int:
        names = [f"env{number}" for number in range(images)]
        told = {name: f"registry.example.org/lab/{name}@sha256:{'0' * 64}" for name in names}
        one = pod()
        one["spec"]["containers"] = [{"name": name, "image": image} for name, image in told.items()]
        one["status"]["containerStatuses"] = [
            _Counted(name=name, state=_Counted(waiting=_Counted(reason="ErrImagePull"))) for name in names
        ]
        events = tuple(_Counted(event(_NOT_FOUND.format(name), container=name)) for name in names)
        seen = node()
        seen["status"]["images"] = [_Counted(names=[f"other/{name}"]) for name in names]
        _Counted.asked = 0
        applied = {"cpu": Applied(tuple((image, (name,)) for name, image in told.items()))}
        (status,) = judge(fleet, pins, applied, Observed((seen,), (one,), events))[0].nodes
        found = [image.cause for image in status.images if image.image in told.values()]
        assert [Cause("pull-failed", f"{name}: not found") for name in names] == found
        return _Counted.asked

    few = asked(10)

    assert few > 0
    assert 10 * few == asked(100)


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        (
            {"conditions": {"Ready": ("Unknown", "Kubelet stopped posting node status.")}},
            Cause("node-not-ready", "Kubelet stopped posting node status."),
        ),
        (
            {"taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]},
            Cause("taint", "its pool has no toleration for its taint team=a:NoSchedule"),
        ),
        (
            {"conditions": {"DiskPressure": ("True", "kubelet has disk pressure")}},
            Cause("disk-pressure", "kubelet has disk pressure"),
        ),
    ],
)
def test_causes_of_nodes_come_before_those_of_images(look: Any, given: dict[str, Any], cause: Cause) -> None:
    assert cause == look(nodes=(node(**given),), pods=(pod("analysis", "geo", states=WAITING),)).cause


def test_taints_that_daemonsets_or_the_pool_tolerate_are_none(
    fleet: Fleet, pins: dict[str, Pin], plans: Plans
) -> None:
    taints = [
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
        {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},
        {"key": "soft", "effect": "PreferNoSchedule"},
    ]
    observed = Observed(nodes=(node(pool="gpu", taints=taints, images=[str(reference("analysis"))]),))

    (status,) = judge(fleet, pins, read_applied(plan_object(fleet, plans)), observed)[1].nodes

    assert WARM == status.cause


def test_pressure_on_a_node_that_has_everything_is_not_told(look: Any) -> None:
    given = node(conditions={"DiskPressure": ("True", "full")})

    assert WARM == look(nodes=(given,), pods=(pod("analysis", "geo"),)).cause


def test_what_was_never_applied_is_on_no_node(fleet: Fleet, pins: dict[str, Pin]) -> None:
    cpu, gpu = judge(fleet, pins, {}, Observed(nodes=(node(),)))

    assert ["not-applied"] == [one.cause.reason for one in cpu.nodes]
    assert (False, False, ()) == (cpu.warm, gpu.warm, gpu.nodes)
    assert (str(reference("analysis")), str(reference("torch"))) == gpu.not_applied


def test_a_fleet_that_changed_since_is_noticed(fleet: Fleet, pins: dict[str, Pin], plans: Plans) -> None:
    new = reference("geo").with_digest("sha256:" + "f" * 64)
    moved = {**pins, "geo": Pin("geo", new)}
    observed = Observed(nodes=(node(),), pods=(pod("analysis", "geo"),))

    cpu, gpu = judge(fleet, moved, read_applied(plan_object(fleet, plans)), observed)

    assert ((str(new),), (str(reference("geo")),)) == (cpu.not_applied, cpu.no_longer)
    assert "not-applied" == cpu.nodes[0].cause.reason
    assert ((), (str(reference("torch")),), True) == (gpu.not_applied, gpu.left_out, gpu.warm)


def test_previous_images_are_told_and_do_not_count(
    keeping: tuple[Fleet, dict[str, Pin], Plans], fleet: Fleet
) -> None:
    keeps, pins, plans = keeping
    before, applied = str(reference("geo-before")), read_applied(plan_object(keeps, plans))
    have = pod("analysis", "geo")
    waits = pod("geo-before", states={"geo-before": {"waiting": {"reason": "ImagePullBackOff"}}})
    observed = Observed(
        nodes=(node(), node("n2", images=[before])), pods=(have, waits, pod("analysis", "geo", on="n2"))
    )

    cpu = judge(keeps, pins, applied, observed)[0]
    assert (True, 2, (before,), 1, ()) == (
        cpu.warm,
        cpu.warm_nodes,
        cpu.previous,
        cpu.previous_nodes,
        cpu.no_longer,
    )
    (told,) = (image for image in cpu.nodes[0].images if image.previous)
    assert (before, ("geo",), "pull-failed") == (told.image, told.environments, told.cause.reason)

    # Back to it: then it is what the fleet wants, the node that has it is warm and the other is not.
    back = {**pins, "geo": Pin("geo", reference("geo-before"))}
    cpu = judge(keeps, back, applied, observed)[0]
    assert (["pull-failed", ""], (), ()) == (
        [one.cause.reason for one in cpu.nodes],
        cpu.not_applied,
        cpu.previous,
    )
    assert (str(reference("geo")),) == cpu.no_longer

    # Nobody has applied it, or nobody wants it any more.
    never = judge(keeps, pins, read_applied(plan_object(fleet, plans[1:])), observed)[0]
    assert ((), (before,)) == (never.previous, never.previous_not_kept)
    assert (before,) == judge(fleet, pins, applied, observed)[0].no_longer


def _job(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"envbuild.dev/pool": "cpu"}},
        "spec": {"image": str(reference("geo"))},
        "status": {"desired": 2, **status},
    }


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"active": 1}, "pulling"),
        ({"succeeded": 1, "failedNodes": ["n1"], "message": "timeout"}, "pull-failed"),
        ({"succeeded": 2}, "collected"),
    ],
)
def test_jobs_of_openkruise_tell(look: Any, status: dict[str, Any], reason: str) -> None:
    given = node(images=[str(reference("analysis"))])

    assert reason == look(nodes=(given,), jobs=(_job(**status),)).cause.reason


def test_waiting_ends_when_all_is_warm_or_time_is_over() -> None:
    cold = (PoolStatus("cpu", (NodeStatus("n1", Cause("pulling")),)),)
    warm = (PoolStatus("cpu", (NodeStatus("n1", WARM),)),)
    now = [0.0]

    def waited(
        *states: tuple[PoolStatus, ...],
    ) -> tuple[tuple[PoolStatus, ...], list[tuple[PoolStatus, ...]]]:
        told: list[tuple[PoolStatus, ...]] = []
        left = list(states)
        now[0] = 0.0
        last = wait_until_warm(
            *(lambda: left.pop(0), 7.0, told.append),
            clock=lambda: now[0],
            sleep=lambda seconds: now.__setitem__(0, now[0] + seconds),
        )
        return last, told

    assert (warm, [cold, warm]) == waited(cold, cold, warm)
    assert (cold, [cold]) == waited(cold, cold, cold)


_LABELS = st.sampled_from([node()["metadata"]["labels"], pod()["metadata"]["labels"], {}])
_CONDITIONS = st.lists(
    records(
        {
            "type": st.sampled_from(["Ready", "DiskPressure", "PodScheduled"]),
            "status": st.sampled_from(["True", "False", "Unknown"]),
        },
        message=TEXTS,
    ),
    max_size=2,
)
_STATES = records(
    {},
    running=st.just({}),
    terminated=records({}, message=TEXTS),
    waiting=records({}, reason=st.sampled_from(["ErrImagePull", "ContainerCreating"]) | TEXTS, message=TEXTS),
)
_NODES = records(
    {"metadata": records({"name": st.just("n1")}, labels=_LABELS)},
    spec=records({}, taints=st.lists(records({"key": TEXTS, "effect": TEXTS}, value=TEXTS), max_size=1)),
    status=records(
        {},
        conditions=_CONDITIONS,
        images=st.lists(records({}, names=st.just([str(reference("geo"))])), max_size=1),
    ),
)
_PODS = records(
    {
        "metadata": records({"name": st.just("p"), "uid": st.just("u")}, labels=_LABELS),
        "spec": records(
            {
                "containers": st.lists(
                    records({"name": st.just("geo")}, image=st.just(str(reference("geo")))), max_size=1
                )
            },
            nodeName=st.just("n1"),
        ),
    },
    status=records(
        {},
        phase=st.sampled_from(["Failed", "Running"]),
        reason=st.just("Evicted") | TEXTS,
        message=TEXTS,
        conditions=_CONDITIONS,
        containerStatuses=st.lists(records({"name": st.just("geo")}, state=_STATES), max_size=1),
    ),
)
_EVENTS = records(
    {"metadata": records({}, creationTimestamp=TEXTS)},
    involvedObject=records({}, uid=st.just("u"), fieldPath=st.just("spec.containers{geo}")),
    reason=st.sampled_from(["Failed", "FailedMount"]),
    message=st.just('Failed to pull image "x": https://me:s3cr3t@example.org') | TEXTS,
)
_JOBS = records(
    {"metadata": records({"name": st.just("j")}, labels=_LABELS)},
    spec=records({}, image=st.just(str(reference("geo")))),
    status=records({}, desired=st.integers(), failedNodes=st.just(["n1"]), message=TEXTS),
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(node=_NODES, pod=_PODS, events=st.lists(_EVENTS, max_size=2), job=_JOBS)
@example(node=node(), pod=pod(phase="Failed", reason="\x1b[31m"), events=[], job={"metadata": {"name": "j"}})
def test_whatever_objects_leave_out_is_no_trouble(
    fleet: Fleet, pins: dict[str, Pin], plans: Plans, node: Any, pod: Any, events: list[Any], job: Any
) -> None:
    """Nearly all fields of Kubernetes' objects are optional. What they say fits on a line."""
    applied = read_applied(plan_object(fleet, plans))

    for status in judge(fleet, pins, applied, Observed((node,), (pod,), tuple(events), (job,))):
        for one in status.nodes:
            for cause in (one.cause, *(image.cause for image in one.images)):
                assert cause.message.isprintable()
                assert "s3cr3t" not in cause.message
