"""What is said when the cluster, and not the builder, ends a build."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.jobs.failures import ended, not_created, not_started, unschedulable
from envbuild.jobs.pod import CONTAINER
from tests.jobs.objects import pod, terminated, waiting
from tests.support.strangers import TEXTS, records


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('pods "x" is forbidden: exceeded quota: small, requested: cpu=2, used: cpu=0', "job-quota"),
        ('pods "x" is forbidden: failed quota: small: must specify limits.cpu', "job-quota"),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', "job-pod-security"),
        ('admission webhook "policy.example.org" denied the request', "job-not-created"),
    ],
)
def test_a_pod_that_may_not_be(message: str, code: str) -> None:
    problem = not_created([{"reason": "Scheduled"}, {"reason": "FailedCreate", "message": message}])

    assert problem is not None
    assert (code, message) == (problem.code, problem.detail)


@pytest.mark.parametrize(
    "message",
    [
        'Operation cannot be fulfilled on resourcequotas "builds": the object has been modified; please apply'
        " your changes to the latest version and try again",
        "Internal error occurred: resource quota evaluation timed out",
        "Timeout: request did not complete within requested timeout 34s",
        "etcdserver: request timed out",
        "context deadline exceeded",
    ],
)
def test_what_the_cluster_tries_again_is_waited_for(message: str) -> None:
    events = [{"reason": "FailedCreate", "message": f"Error creating: {message}"}]

    assert not_created(events, patient=True) is None
    problem = not_created(events)
    assert problem is not None
    assert "job-not-created" == problem.code


def test_nothing_keeps_it_from_being() -> None:
    assert not_created([{"reason": "SuccessfulCreate", "message": "made"}]) is None


@pytest.mark.parametrize(
    ("state", "event", "code"),
    [
        (waiting("ImagePullBackOff"), "manifest unknown", "job-image-pull"),
        (waiting("InvalidImageName", "cannot parse"), "", "job-image-pull"),
        (waiting("CreateContainerConfigError", 'secret "x" not found'), "", "job-config"),
        (waiting("ContainerCreating"), 'MountVolume.SetUp failed: secret "x" not found', "job-config"),
        (waiting("CreateContainerError", "no command"), "", "job-cannot-start"),
        (
            waiting("CreateContainerError", 'cannot load seccomp profile "/var/lib/kubelet/seccomp/x.json"'),
            "",
            "job-node-unprepared",
        ),
        (waiting("CreateContainerError"), "seccomp: unable to load local profile", "job-node-unprepared"),
        (waiting("ContainerCreating"), "runtime does not support user namespaces", "job-node-unprepared"),
        (waiting("ContainerCreating"), "", None),
        (waiting("ErrImagePull", "a hiccup"), "", None),
        ({}, "", None),
    ],
)
def test_a_pod_that_does_not_begin(state: dict[str, Any], event: str, code: str | None) -> None:
    problem = not_started(pod(state), [{"type": "Warning", "message": event}] if event else [])

    assert code == (problem.code if problem else None)


@pytest.mark.parametrize(
    ("reason", "state", "status", "code", "retry"),
    [
        ("DeadlineExceeded", None, {}, "job-deadline", False),
        ("BackoffLimitExceeded", terminated(137, reason="OOMKilled"), {}, "job-out-of-memory", False),
        (
            "BackoffLimitExceeded",
            {},
            {"reason": "Evicted", "message": "ephemeral local storage usage exceeds"},
            "job-evicted",
            False,
        ),
        ("BackoffLimitExceeded", {}, {"reason": "Evicted", "message": "low on memory"}, "job-evicted", True),
        ("PodFailurePolicy", terminated(9, "said"), {}, "job-failed", False),
        ("BackoffLimitExceeded", terminated(128, "no envbuild", "StartError"), {}, "job-cannot-start", False),
        ("BackoffLimitExceeded", terminated(143), {}, "job-lost", True),
        ("BackoffLimitExceeded", None, {}, "job-lost", True),
        ("BackoffLimitExceeded", {}, {"reason": "NodeLost"}, "job-lost", True),
    ],
)
def test_a_pod_that_ends_without_a_word(
    reason: str, state: dict[str, Any] | None, status: dict[str, Any], code: str, retry: bool
) -> None:
    job = {"status": {"conditions": [{"type": "Failed", "reason": reason}]}}

    error, again = ended(job, None if state is None else pod(state, **status))

    assert (code, retry, 4) == (error.code, again, error.exit_code)
    assert error.remedy


def test_no_node() -> None:
    said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}

    assert "0/3 nodes" == unschedulable(pod({}, conditions=[said]))
    assert unschedulable(pod({}, conditions=[{"type": "PodScheduled", "status": "True"}])) is None


_NAMED = {"name": st.just(CONTAINER)}
_STATES = records(
    {},
    waiting=records({}, reason=st.sampled_from(["ImagePullBackOff", "CreateContainerError"]), message=TEXTS),
    terminated=records({"exitCode": st.integers(0, 255)}, reason=st.just("OOMKilled"), message=TEXTS),
)
_PODS = records(
    {"metadata": st.just({"name": "p", "uid": "u"})},
    spec=records({"containers": st.lists(records(_NAMED, image=TEXTS), max_size=1)}),
    status=records(
        {},
        reason=st.just("Evicted") | TEXTS,
        message=TEXTS,
        conditions=st.lists(records({"type": st.just("PodScheduled")}, reason=TEXTS), max_size=1),
        containerStatuses=st.lists(records(_NAMED, state=_STATES), max_size=1),
    ),
)
_EVENTS = st.lists(records({}, type=st.just("Warning"), reason=st.just("FailedCreate"), message=TEXTS))
_FAILED = records({"type": st.just("Failed")}, reason=st.just("DeadlineExceeded"), message=TEXTS)
_JOBS = records({}, status=records({}, conditions=st.lists(_FAILED, max_size=1)))


@settings(max_examples=15)
@given(_JOBS, _PODS, _EVENTS)
def test_whatever_is_left_out_there_is_a_word_for_it(job: Any, left: Any, events: list[Any]) -> None:
    unschedulable(left)
    for error in (ended(job, left)[0], ended(job, None)[0], not_created(events), not_started(left, events)):
        if error is not None:
            assert error.remedy
            assert "s3cr3t" not in str(error.to_json())
