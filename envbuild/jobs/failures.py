"""Why a build in a cluster did not begin, or ended without its own word: from what the cluster says of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from envbuild.errors import EnvbuildError, RemoteError
from envbuild.jobs.pod import CONTAINER
from envbuild.source.text import clean, redact

__all__ = ["container_state", "ended", "not_created", "not_started", "unschedulable"]

Object = Mapping[str, Any]

_PULL: Final = frozenset({"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"})
_CONFIG: Final = frozenset({"CreateContainerConfigError"})
_START: Final = frozenset({"CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun"})
# As containerd, CRI-O and the kubelet say it.
_UNPREPARED: Final = re.compile(r"seccomp.*profile|user namespaces", re.IGNORECASE)
# The control plane's own trouble, also with a quota that two pods want at once: it tries again by itself.
_PASSING: Final = re.compile(
    r"object has been modified|retry after|timed? ?out|deadline exceeded", re.IGNORECASE
)
_LONGEST: Final = 2000
# Another try of these may go well: the node is to blame, or what the build talked to.
_LOST_CODES: Final = frozenset({4, 143})
_DESCRIBED: Final = "look at the Job with `kubectl describe`"


def container_state(pod: Object) -> tuple[str, Object]:
    """``(waiting, running or terminated, what is known of it)`` of the container that builds."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if status.get("name") == CONTAINER:
            for kind, details in (status.get("state") or {}).items():
                return str(kind), details or {}
    return "waiting", {}


def not_created(events: Iterable[Object], *, patient: bool = False) -> RemoteError | None:
    """Why the Job has no pod, from its events; None when nothing keeps it from having one.

    Parameters:
        patient: pass over what may go well when the cluster tries it again, as it does.
    """
    for event in events:
        if event.get("reason") != "FailedCreate":
            continue
        said = str(event.get("message", ""))
        if patient and _PASSING.search(said):
            continue
        detail = redact(said)[:_LONGEST]
        lowered = said.lower()
        if "exceeded quota" in lowered or "must specify" in lowered or "limitrange" in lowered:
            return RemoteError(
                "the namespace's quota does not allow the build's pod",
                code="job-quota",
                detail=detail,
                remedy="wait for other pods to end, ask for more quota, or lower `resources` in a pod"
                " template (--pod-template)",
            )
        if "podsecurity" in lowered or "pod security" in lowered:
            return RemoteError(
                "the namespace's Pod Security level does not allow the build's pod",
                code="job-pod-security",
                detail=detail,
                remedy="remove what the message names from the pod template: without one, builds satisfy the"
                " restricted level",
            )
        return RemoteError(
            "the cluster does not make the build's pod",
            code="job-not-created",
            detail=detail,
            remedy="change what the message names: a policy of the cluster, or the pod template",
        )
    return None


def not_started(pod: Object, events: Iterable[Object]) -> RemoteError | None:
    """Why the pod will not begin to build; None while it may."""
    kind, state = container_state(pod)
    reason = str(state.get("reason", ""))
    said = [str(event.get("message", "")) for event in events if event.get("type") == "Warning"]
    told = redact("\n".join(dict.fromkeys([str(state.get("message") or ""), *said])).strip())[:_LONGEST]
    if kind == "waiting" and _UNPREPARED.search(told):
        return RemoteError(
            "the node lacks what the pod template asks for",
            code="job-node-unprepared",
            detail=told,
            remedy="prepare the nodes that the template's `nodeSelector` chooses (docs/jobs.md)",
        )
    if reason in _PULL:
        image = _image(pod)
        return RemoteError(
            f"the node cannot pull the builder image {clean(image)}",
            code="job-image-pull",
            detail=told or None,
            remedy="check the name (--builder-image), and that the pods' service account or"
            " `imagePullSecrets` in the pod template may pull it",
        )
    if reason in _CONFIG:
        return RemoteError(
            "the pod of the build refers to something that is not there",
            code="job-config",
            detail=told or None,
            remedy="create what the message names, or correct --registry-secret, --config-map or the pod"
            " template",
        )
    if reason in _START:
        return RemoteError(
            f"the builder image {clean(_image(pod))} does not start",
            code="job-cannot-start",
            detail=told or None,
            remedy="give an image that has envbuild on its PATH (scripts/builder-image makes one) for the"
            " architecture of the nodes",
        )
    missing = next((text for text in said if "not found" in text and "MountVolume" in text), None)
    if kind == "waiting" and missing is not None:
        return RemoteError(
            "the pod of the build needs a Secret or a ConfigMap that is not there",
            code="job-config",
            detail=redact(missing)[:_LONGEST],
            remedy="create it in the namespace of the build, or correct --registry-secret or --config-map",
        )
    return None


def unschedulable(pod: Object) -> str | None:
    """Why no node takes the pod, None when one has or may."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return clean(str(condition.get("message", "")))
    return None


def ended(job: Object, pod: Object | None) -> tuple[EnvbuildError, bool]:
    """Why the Job failed, when the builder itself did not say; and whether another try may help."""
    condition: Object = next(
        (one for one in (job.get("status") or {}).get("conditions") or () if one.get("type") == "Failed"), {}
    )
    if condition.get("reason") == "DeadlineExceeded":
        return RemoteError(
            "the build took longer than it may",
            code="job-deadline",
            remedy="give it more time (--job-timeout), or more to work with (`resources` in a pod template)",
        ), False
    status = (pod or {}).get("status") or {}
    kind, state = container_state(pod or {})
    code = state.get("exitCode")
    if state.get("reason") == "OOMKilled":
        return RemoteError(
            "the build needed more memory than its pod may use",
            code="job-out-of-memory",
            remedy="raise `resources.limits.memory` of the container `build` in a pod template"
            " (--pod-template)",
        ), False
    if status.get("reason") == "Evicted":
        said = str(status.get("message", ""))
        full = "ephemeral" in said or "emptyDir" in said or "EmptyDir" in said
        return RemoteError(
            "the node evicted the build" + (": it used more disk than it may" if full else ""),
            code="job-evicted",
            detail=redact(said)[:_LONGEST] or None,
            remedy="raise `ephemeral-storage` (and the `sizeLimit` of the volume `home`) in a pod template"
            if full
            else "try again, or send builds to nodes with more room (`nodeSelector` in a pod template)",
        ), not full
    if str(state.get("reason", "")) in _START or code in (126, 127):
        found = not_started(pod or {}, ())
        if found is not None:
            return found, False
    if kind == "terminated" and code not in (None, *_LOST_CODES):
        return RemoteError(
            f"the build ended with exit code {code} and did not say why",
            code="job-failed",
            detail=redact(str(state.get("message") or ""))[:_LONGEST] or None,
            remedy=_DESCRIBED,
        ), False
    return RemoteError(
        "the pod of the build was lost, with its node or by somebody's hand",
        code="job-lost",
        detail=redact(str(status.get("message") or condition.get("message") or ""))[:_LONGEST] or None,
        remedy=f"submit the build again; {_DESCRIBED} to see what became of it",
    ), True


def _image(pod: Object) -> str:
    containers = (pod.get("spec") or {}).get("containers") or ()
    return next((str(one.get("image")) for one in containers if one.get("name") == CONTAINER), "")
