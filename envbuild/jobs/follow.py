"""Following a Job to its end: its pods, their logs, and what keeps them from beginning.

State is asked for again and again rather than watched: whatever breaks (a log, a connection, a node), the
next look shows what is. A log that broke is read from its start once more, without what was shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from envbuild.errors import EnvbuildError, RemoteError
from envbuild.jobs.failures import container_state, ended, not_created, not_started, unschedulable
from envbuild.jobs.pod import BUILD_LABEL, CONTAINER
from envbuild.jobs.transcript import Transcript, error_left
from envbuild.progress import Reporter, Stage

if TYPE_CHECKING:
    from envbuild.cluster.api import Cluster, Object

__all__ = ["Follower", "Outcome", "finished", "newest_pod", "result"]

_PAUSE_SECONDS: Final = 1.0
# How long a cluster that grows may take to bring a node for the pod, and one in trouble to make the pod.
_PATIENCE_SECONDS: Final = 300.0
_LOG_TRIES: Final = 5
_SLOW_SECONDS: Final = 5.0
_SILENCE_SECONDS: Final = 30.0
_NO_LOG_NOW: Final = "the node does not give its log; the build goes on"
# What nodes answer, with a good status, where a log should be and is not.
_NO_LOG: Final = (
    b"failed to try resolving symlinks",
    b"unable to retrieve container logs",
    b"failed to open log",
)


def newest_pod(cluster: Cluster, job: Object) -> Object | None:
    """The last pod that was made for ``job``; those of an earlier Job of that name do not count."""
    metadata = job["metadata"]
    label = f"{BUILD_LABEL}={metadata['labels'][BUILD_LABEL]}"
    pods = [
        pod
        for pod in cluster.list("v1", "Pod", metadata["namespace"], labels=label)
        if any(owner.get("uid") == metadata["uid"] for owner in pod["metadata"].get("ownerReferences") or ())
    ]
    return max(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], _name(pod)), default=None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a Job ended: with the ``document`` that the builder printed (None when its log is gone) and the
    ``result`` it left (``digest``, ``image``, ...), or with an ``error``; ``retry``: another try may help.
    """

    document: dict[str, Any] | None = None
    result: Mapping[str, str] | None = None
    error: EnvbuildError | None = None
    retry: bool = False


class Follower:
    """Follows the Job ``name`` in ``namespace``.

    Parameters:
        patience: how long a pod may find no node, or the cluster fail to make it, in seconds.
        wait: pauses that many seconds.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        transcript: Transcript,
        reporter: Reporter,
        *,
        patience: float = _PATIENCE_SECONDS,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._transcript = transcript
        self._reporter = reporter
        self._patience = patience
        self._wait = wait
        self._clock = clock
        self._shown: dict[str, int] = {}
        self._told: set[str] = set()
        self._since: dict[str, float] = {}

    def follow(self) -> Outcome:
        """Wait for the end.

        Raises:
            RemoteError: the cluster fails, the Job is gone, or it cannot begin: then it is still there.
        """
        with self._reporter.stage("build", unit="") as stage:
            while True:
                job = self._cluster.find("batch/v1", "Job", self._name, self._namespace)
                if job is None:
                    raise RemoteError(
                        f"the Job {self._name} was deleted before it ended",
                        code="job-cancelled",
                        remedy="submit the build again, unless somebody cancelled it on purpose",
                    )
                pod = newest_pod(self._cluster, job)
                how = finished(job)
                if pod is not None:
                    self._look(pod, stage, over=how is not None)
                elif how is None:
                    self._expect_pod(job)
                if how is not None:
                    return self._outcome(job, pod, complete=how == "Complete")
                self._wait(_PAUSE_SECONDS)

    def _look(self, pod: Object, stage: Stage, *, over: bool) -> None:
        """See what becomes of ``pod``, and show what it writes."""
        name = _name(pod)
        if name not in self._shown:
            if self._shown:
                self._reporter.note("the pod was lost; another one begins from the start")
            self._shown[name] = 0
            self._transcript.start()
        kind, _ = container_state(pod)
        node = (pod.get("spec") or {}).get("nodeName")
        if kind == "waiting":
            if not over:
                stage.detail("waits for a node" if not node else f"starts on {node}")
                self._expect_start(pod)
            return
        self._tell(f"builds on {node}")
        self._show_log(pod, stage, running=kind == "running")

    def _expect_pod(self, job: Object) -> None:
        patient = self._waited(f"pod of {job['metadata']['uid']}") <= self._patience
        problem = not_created(self._events("Job", job), patient=patient)
        if problem is not None:
            raise problem

    def _expect_start(self, pod: Object) -> None:
        slow = self._waited(_name(pod)) > _SLOW_SECONDS
        state = container_state(pod)[1]
        problem = not_started(pod, self._events("Pod", pod) if slow or state.get("reason") else ())
        if problem is not None:
            raise problem
        why = unschedulable(pod)
        if why is None:
            return
        self._tell(f"no node takes the pod yet: {why}", warning=True)
        if self._waited(f"node for {_name(pod)}") > self._patience:
            raise RemoteError(
                "no node of the cluster takes the pod of the build",
                code="job-unschedulable",
                detail=why,
                remedy="lower `resources`, or give a node selector or tolerations that fit, in a pod template"
                " (--pod-template)",
            )

    def _show_log(self, pod: Object, stage: Stage, *, running: bool) -> None:
        """Show what the pod has written since the last look; while it runs, as long as the log goes on."""
        name = _name(pod)
        for _ in range(1 if running else _LOG_TRIES):
            try:
                # A node that is gone does not end its logs: silence is a reason to look again.
                lines = self._cluster.logs(
                    name, self._namespace, container=CONTAINER, follow=running, seconds=_SILENCE_SECONDS
                )
                if self._show_lines(name, lines, stage):
                    return
            except RemoteError as error:
                if error.code == "cluster-forbidden":
                    self._tell(f"its log cannot be shown: {error.message} ({error.remedy})", warning=True)
                    return
                if error.code != "cluster-unreachable":  # which may be silence
                    self._tell(_NO_LOG_NOW, warning=True)
            if not running:
                self._wait(_PAUSE_SECONDS)

    def _show_lines(self, name: str, lines: Iterator[bytes], stage: Stage) -> bool:
        """Show those of ``lines`` that are new; false when the node says that it has none."""
        for number, line in enumerate(lines):
            if number == 0 and line.startswith(_NO_LOG):
                self._tell(_NO_LOG_NOW, warning=True)
                return False
            if number >= self._shown[name]:
                self._shown[name] = number + 1
                self._transcript.line(line, stage)
        return True

    def _outcome(self, job: Object, pod: Object | None, *, complete: bool) -> Outcome:
        state = container_state(pod or {})[1]
        left = result(str(state.get("message") or ""))
        if complete:
            return Outcome(self._transcript.document, left)
        said = self._transcript.error or error_left(left)
        if said is not None and said.exit_code == state.get("exitCode"):
            return Outcome(error=said, retry=said.exit_code == RemoteError.exit_code)
        error, retry = ended(job, pod)
        return Outcome(error=error, retry=retry)

    def _events(self, kind: str, item: Object) -> list[Object]:
        """What the cluster tells of an object; nothing when we may not know."""
        fields = f"involvedObject.kind={kind},involvedObject.uid={item['metadata']['uid']}"
        try:
            return self._cluster.list("v1", "Event", self._namespace, fields=fields)
        except RemoteError as error:
            if error.code != "cluster-forbidden":
                raise
            return []

    def _waited(self, what: str) -> float:
        """Seconds since ``what`` was first waited for."""
        now = self._clock()
        return now - self._since.setdefault(what, now)

    def _tell(self, message: str, *, warning: bool = False) -> None:
        """Say it once."""
        if message not in self._told:
            self._told.add(message)
            (self._reporter.warn if warning else self._reporter.note)(message)


def finished(job: Object) -> str | None:
    """``Complete`` or ``Failed``, None while the Job goes on."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return str(condition["type"])
    return None


def _name(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def result(message: str) -> dict[str, str]:
    """The ``name=value`` lines that the builder left (``--variables``)."""
    pairs = (line.partition("=") for line in message.splitlines() if "=" in line)
    return {name: value for name, _, value in pairs}
