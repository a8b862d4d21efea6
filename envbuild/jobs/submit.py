"""One build in a cluster: submitted once however often it is asked for, followed, tried again, cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from envbuild.errors import EnvbuildError, RemoteError
from envbuild.jobs.failures import container_state
from envbuild.jobs.follow import Follower, Outcome, finished, newest_pod, result
from envbuild.jobs.pod import TRIES, has_failure_policy, make_job
from envbuild.jobs.request import Placement, Request
from envbuild.jobs.transcript import Transcript
from envbuild.progress import Reporter

if TYPE_CHECKING:
    from envbuild.cluster.api import Cluster, Object

__all__ = ["Built", "Submission", "cancelled_when_interrupted", "finish", "remove", "submit"]

How = Literal["created", "joined", "reused"]

_PAUSE_SECONDS: Final = 1.0
_GONE_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Submission:
    """A Job that is there: ``how`` it came about. Only a ``created`` one is ours to cancel."""

    name: str
    namespace: str
    how: How

    @property
    def where(self) -> str:
        """The Job, in a sentence."""
        return f"the Job {self.name} in namespace {self.namespace}"


@dataclass(frozen=True, slots=True)
class Built:
    """What a Job gave: the builder's ``document``, None when its log is gone, and the image's ``digest``."""

    digest: str
    document: dict[str, Any] | None


def submit(
    cluster: Cluster,
    request: Request,
    placement: Placement,
    *,
    still_there: Callable[[str], bool],
    wait: Callable[[float], None] = time.sleep,
) -> Submission:
    """Have the Job of ``request`` in the cluster.

    One that runs is joined. One that has succeeded is used as it is while what it pushed is there; else, and
    when it failed, it is replaced.

    Parameters:
        still_there: whether all names still lead to the image with this digest.

    Raises:
        RemoteError: the cluster refuses.
        UsageError: the pod template does not fit.
    """
    job = make_job(request, placement, cluster.version())
    while True:
        found = cluster.find("batch/v1", "Job", request.name, placement.namespace)
        if found is not None:
            if finished(found) is None:
                return Submission(request.name, placement.namespace, "joined")
            digest = _digest(cluster, found)
            if digest is not None and still_there(digest):
                return Submission(request.name, placement.namespace, "reused")
            remove(cluster, found, wait=wait)
        try:
            cluster.create(job)
        except RemoteError as error:
            if error.code != "cluster-exists":
                raise
            continue  # somebody was faster
        return Submission(request.name, placement.namespace, "created")


def remove(cluster: Cluster, job: Object, *, wait: Callable[[float], None] = time.sleep) -> None:
    """Delete ``job`` with its pods, and wait until its name is free."""
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    cluster.delete("batch/v1", "Job", name, namespace)
    for _ in range(_GONE_SECONDS):
        now = cluster.find("batch/v1", "Job", name, namespace)
        if now is None or now["metadata"]["uid"] != job["metadata"]["uid"]:
            return
        wait(_PAUSE_SECONDS)
    raise RemoteError(
        f"the Job {name} of an earlier try does not go away",
        code="job-stuck",
        remedy=f"see what holds it: `kubectl -n {namespace} describe job {name}`",
    )


@contextmanager
def cancelled_when_interrupted(
    cluster: Cluster, submission: Submission, reporter: Reporter
) -> Iterator[None]:
    """Have Ctrl-C in the block delete a Job that is ours, and say what becomes of it.

    The block begins as soon as the Job is there: nobody else would end it.
    """
    try:
        yield
    except KeyboardInterrupt:
        if submission.how == "created":
            cluster.delete("batch/v1", "Job", submission.name, submission.namespace)
            reporter.warn(f"cancelled: {submission.where} is deleted")
        elif submission.how == "joined":
            reporter.warn(f"{submission.where} goes on: somebody else has submitted it")
        raise


def finish(
    cluster: Cluster,
    request: Request,
    placement: Placement,
    submission: Submission,
    transcript: Transcript,
    reporter: Reporter,
    *,
    wait: Callable[[float], None] = time.sleep,
) -> Built:
    """Follow the Job to its end. A Job of ours that cannot begin is deleted.

    Raises:
        EnvbuildError: as the builder failed, with its exit code; or as the cluster did.
    """
    tries = 1 if has_failure_policy(cluster.version()) else TRIES
    for left in reversed(range(tries)):
        follower = Follower(cluster, submission.namespace, submission.name, transcript, reporter, wait=wait)
        outcome = _ours(cluster, submission, follower, reporter)
        if outcome.error is None:
            return _built(outcome)
        if not outcome.retry or not left or submission.how != "created":
            raise outcome.error
        reporter.warn(f"{outcome.error.message}: trying again")
        again = submit(cluster, request, placement, still_there=lambda digest: False, wait=wait)
        submission = Submission(again.name, again.namespace, submission.how)
    raise AssertionError("the last try raises or returns")


def _ours(cluster: Cluster, submission: Submission, follower: Follower, reporter: Reporter) -> Outcome:
    try:
        return follower.follow()
    except EnvbuildError as error:
        if not error.code.startswith("job-"):
            reporter.warn(f"{submission.where} goes on: the same command joins it")
        elif submission.how == "created":
            cluster.delete("batch/v1", "Job", submission.name, submission.namespace)
        raise


def _built(outcome: Outcome) -> Built:
    document = outcome.document
    digest = (outcome.result or {}).get("digest") or (document or {}).get("digest")
    if not isinstance(digest, str):
        raise RemoteError(
            "the build succeeded, and what it pushed is not known: its pod is gone",
            code="job-result-lost",
            remedy="submit it again: everything it made is in the registry",
        )
    return Built(digest, document)


def _digest(cluster: Cluster, job: Object) -> str | None:
    """What a Job that has succeeded pushed; None when it has not, or its pod is gone."""
    pod = newest_pod(cluster, job) if finished(job) == "Complete" else None
    return result(str(container_state(pod)[1].get("message") or "")).get("digest") if pod else None
