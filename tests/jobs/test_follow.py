"""Submitting and following, against an API server that does what no cluster does on request."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from envbuild.cluster.api import Cluster
from envbuild.errors import EnvbuildError, RemoteError
from envbuild.jobs.follow import Follower
from envbuild.jobs.request import Placement, Request
from envbuild.jobs.submit import Submission, cancelled_when_interrupted, finish, submit
from envbuild.jobs.transcript import Transcript
from tests.jobs.objects import JOBS, PODS, job, pod, terminated, waiting
from tests.support.api_server import Answer, ApiServer, Asked, status
from tests.support.reporters import Messages

LOG = f"{PODS}/pod-1/log"
DONE = terminated(0, "digest=sha256:1\nimage=registry.example.org/x@sha256:1", "Completed")


def _log(*messages: str) -> Answer:
    lines = [
        json.dumps({"time": "t", "level": "info", "phase": "", "event": "note", "message": message})
        for message in messages
    ]
    return Answer(200, "".join(f"{line}\n" for line in lines).encode())


def _follower(
    cluster: Cluster, request: Request, messages: Messages, wait: Callable[[float], None]
) -> Follower:
    return Follower(cluster, "envs", request.name, Transcript(messages), messages, wait=wait, patience=-1)


def test_a_log_that_breaks_is_shown_once(cluster: Cluster, server: ApiServer, request_: Request) -> None:
    """It ends in the middle, the connection breaks, the node has lost it; then it is whole."""
    place, messages = f"{JOBS}/{request_.name}", Messages()
    server.objects[place] = job(request_)
    server.objects[f"{PODS}/pod-1"] = pod({"running": {}})
    logs = [_log("one"), Answer(200, _log("one", "two").body, cut=150)]
    logs.append(Answer(200, b"failed to try resolving symlinks in path /var/log/pods/x: no such file"))
    logs.append(status(500, "InternalError", "no such container"))

    def next_look(_: float) -> None:
        if logs:
            server.always["GET", LOG] = logs.pop(0)
        else:
            server.always["GET", LOG] = _log("one", "two", "three")
            server.objects[place] = job(request_, condition="Complete")
            server.objects[f"{PODS}/pod-1"] = pod(DONE)

    server.always["GET", LOG] = _log()

    outcome = _follower(cluster, request_, messages, next_look).follow()

    assert ["builds on node1", "one", "two", "three"] == messages.notes
    assert ["the node does not give its log; the build goes on"] == messages.warnings
    assert outcome.result is not None
    assert "sha256:1" == outcome.result["digest"]


def test_a_log_that_may_not_be_read_does_not_end_the_build(
    cluster: Cluster, server: ApiServer, request_: Request
) -> None:
    messages = Messages()
    server.objects[f"{JOBS}/{request_.name}"] = job(request_, condition="Complete")
    server.objects[f"{PODS}/pod-1"] = pod(DONE)
    server.always["GET", LOG] = status(403, "Forbidden", 'User "me" cannot get resource "pods/log"')

    outcome = _follower(cluster, request_, messages, lambda _: None).follow()

    assert outcome.error is None
    assert ["its log cannot be shown"] == [warning.partition(":")[0] for warning in messages.warnings]


def test_the_builders_error_is_ours(cluster: Cluster, server: ApiServer, request_: Request) -> None:
    left = "error=lock-stale\nerror_exit_code=1\nerror_place=envbuild.lock\nerror_message=out of date"
    server.objects[f"{JOBS}/{request_.name}"] = job(request_, condition="Failed")
    server.objects[f"{PODS}/pod-1"] = pod(terminated(1, left))
    server.always["GET", LOG] = _log()

    outcome = _follower(cluster, request_, Messages(), lambda _: None).follow()

    assert outcome.error is not None
    assert ("lock-stale", 1, False) == (outcome.error.code, outcome.error.exit_code, outcome.retry)


def test_unschedulable_is_said_at_once_and_given_up_in_the_end(
    cluster: Cluster, server: ApiServer, request_: Request
) -> None:
    messages = Messages()
    unfit = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    server.objects[f"{JOBS}/{request_.name}"] = job(request_)
    server.objects[f"{PODS}/pod-1"] = pod({}, conditions=[unfit])

    with pytest.raises(RemoteError) as caught:
        _follower(cluster, request_, messages, lambda _: None).follow()

    assert "job-unschedulable" == caught.value.code
    assert ["no node takes the pod yet: 0/3 nodes"] == messages.warnings


def test_a_pod_that_the_cluster_fails_to_make_is_given_up_in_the_end(
    cluster: Cluster, server: ApiServer, request_: Request
) -> None:
    said = 'Error creating: Operation cannot be fulfilled on resourcequotas "q": the object has been modified'
    server.objects[f"{JOBS}/{request_.name}"] = job(request_)
    event = {"metadata": {"name": "event-1"}, "reason": "FailedCreate", "message": said}
    server.objects[f"{PODS.replace('pods', 'events')}/event-1"] = event
    messages, waits, times = Messages(), list[float](), iter((0.0, 10.0, 11.0))
    follower = Follower(
        cluster,
        "envs",
        request_.name,
        Transcript(messages),
        messages,
        patience=10,
        wait=waits.append,
        clock=lambda: next(times),
    )

    with pytest.raises(RemoteError) as caught:
        follower.follow()

    assert ("job-not-created", said, 2) == (caught.value.code, caught.value.detail, len(waits))


def test_pods_of_an_earlier_job_do_not_count(cluster: Cluster, server: ApiServer, request_: Request) -> None:
    server.objects[f"{JOBS}/{request_.name}"] = job(request_, condition="Failed", uid="job-2")
    server.objects[f"{PODS}/pod-1"] = pod(terminated(1), of="job-1")

    outcome = _follower(cluster, request_, Messages(), lambda _: None).follow()

    assert outcome.error is not None
    assert "job-lost" == outcome.error.code


@pytest.mark.parametrize(
    ("condition", "state", "there", "how", "deleted"),
    [
        (None, {}, True, "created", False),
        ("", {}, True, "joined", False),
        ("Complete", DONE, True, "reused", False),
        ("Complete", DONE, False, "created", True),
        ("Complete", None, True, "created", True),
        ("Failed", terminated(1), True, "created", True),
    ],
    ids=["none", "running", "succeeded", "image gone", "pod gone", "failed"],
)
def test_the_same_build_again(
    cluster: Cluster,
    server: ApiServer,
    request_: Request,
    condition: str | None,
    state: dict[str, Any] | None,
    there: bool,
    how: str,
    deleted: bool,
) -> None:
    if condition is not None:
        server.objects[f"{JOBS}/{request_.name}"] = job(request_, condition=condition)
    if state:
        server.objects[f"{PODS}/pod-1"] = pod(state)

    submission = submit(
        cluster, request_, Placement("envs"), still_there=lambda digest: there and digest == "sha256:1"
    )

    assert how == submission.how
    assert deleted == any(asked.method == "DELETE" for asked in server.asked)


def test_who_comes_second_at_the_same_moment_joins(
    cluster: Cluster, server: ApiServer, request_: Request
) -> None:
    def exists(asked: Asked) -> Answer:
        server.objects[f"{JOBS}/{request_.name}"] = job(request_)
        return status(409, "AlreadyExists", "exists")

    server.always["POST", JOBS] = exists

    submission = submit(cluster, request_, Placement("envs"), still_there=lambda digest: True)

    assert "joined" == submission.how


@pytest.mark.parametrize(("how", "deleted"), [("created", True), ("joined", False)])
def test_interrupted(cluster: Cluster, server: ApiServer, request_: Request, how: Any, deleted: bool) -> None:
    """Ctrl-C ends what we have submitted, and not what others have."""
    messages = Messages()
    server.objects[f"{JOBS}/{request_.name}"] = job(request_)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    submission = Submission(request_.name, "envs", how)
    with (
        pytest.raises(KeyboardInterrupt),
        cancelled_when_interrupted(cluster, submission, messages),
    ):
        finish(
            *(cluster, request_, Placement("envs"), submission, Transcript(messages), messages),
            wait=interrupt,
        )

    assert deleted == (f"{JOBS}/{request_.name}" not in server.objects)
    assert 1 == len(messages.warnings)


def test_what_cannot_begin_is_removed(cluster: Cluster, server: ApiServer, request_: Request) -> None:
    server.objects[f"{JOBS}/{request_.name}"] = job(request_)
    server.objects[f"{PODS}/pod-1"] = pod(waiting("ImagePullBackOff"))
    messages = Messages()

    with pytest.raises(EnvbuildError) as caught:
        finish(
            cluster,
            request_,
            Placement("envs"),
            Submission(request_.name, "envs", "created"),
            Transcript(messages),
            messages,
            wait=lambda _: None,
        )

    assert "job-image-pull" == caught.value.code
    assert f"{JOBS}/{request_.name}" not in server.objects


def test_a_cluster_that_is_gone_keeps_its_job(cluster: Cluster, server: ApiServer, request_: Request) -> None:
    messages = Messages()
    server.objects[f"{JOBS}/{request_.name}"] = job(request_)
    server.always["GET", PODS] = status(500, "InternalError", "no etcd")

    with pytest.raises(EnvbuildError):
        finish(
            cluster,
            request_,
            Placement("envs"),
            Submission(request_.name, "envs", "created"),
            Transcript(messages),
            messages,
            wait=lambda _: None,
        )

    assert f"{JOBS}/{request_.name}" in server.objects
    assert [
        f"the Job {request_.name} in namespace envs goes on: the same command joins it"
    ] == messages.warnings
