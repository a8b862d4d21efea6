"""Why an image is not on a node, in one word and one sentence, from objects as the cluster gives them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from envbuild.fleet.model import Toleration
from envbuild.source.text import clean, printable, redact

__all__ = [
    "WARM",
    "Cause",
    "container_causes",
    "node_cause",
    "pod_node",
    "pressure_cause",
]

_PULL_REASONS: Final = frozenset(
    {
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_CREATING: Final = frozenset({"ContainerCreating", "PodInitializing"})
# What the DaemonSet controller makes its pods tolerate by itself.
_ALWAYS_TOLERATED: Final = frozenset(
    f"node.kubernetes.io/{name}"
    for name in (
        "disk-pressure",
        "memory-pressure",
        "not-ready",
        "pid-pressure",
        "unreachable",
        "unschedulable",
    )
)
_FRAME: Final = re.compile(
    r"Failed to pull image \"[^\"]*\": (?:rpc error: code = \w+ desc = )?(?:failed to pull and unpack image "
    r"\"[^\"]*\": )?"
)
_BEGINNING, _END = 120, 280  # of a message that is too long: the cause is at its end


class Cause(NamedTuple):
    """``reason`` is one of those in docs/warm.md, empty when there is nothing to explain."""

    reason: str
    message: str = ""


WARM: Final = Cause("")


def node_cause(node: Mapping[str, Any], tolerated: Sequence[Toleration]) -> Cause:
    """What about the node itself keeps it from being warm, or :data:`WARM`.

    Parameters:
        tolerated: the taints that our pods put up with.
    """
    ready = _condition(node, "Ready")
    if ready.get("status") != "True":
        return Cause("node-not-ready", _text(ready.get("message")) or "its kubelet does not report")
    for taint in (node.get("spec") or {}).get("taints") or ():
        key, effect = str(taint.get("key")), str(taint.get("effect"))
        if effect == "PreferNoSchedule" or key in _ALWAYS_TOLERATED:
            continue
        if not any(_tolerates(one, key, str(taint.get("value") or ""), effect) for one in tolerated):
            value = f"={taint['value']}" if taint.get("value") else ""
            shown = f"{clean(key + value)}:{clean(effect)}"
            return Cause("taint", f"its pool has no toleration for its taint {shown}")
    return WARM


def pressure_cause(node: Mapping[str, Any]) -> Cause:
    """The node's lack of disk, or :data:`WARM`."""
    pressure = _condition(node, "DiskPressure")
    if pressure.get("status") == "True":
        return Cause("disk-pressure", _text(pressure.get("message")) or "its disk is full")
    return WARM


def container_causes(
    pod: Mapping[str, Any], events: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, Cause]]:
    """The image of each container of ``pod``, and why it does not run; :data:`WARM` if it does.

    Statuses and events are gone through once, and not for each container: a pod may have a hundred.

    Parameters:
        events: those of this pod, in any order.
    """
    whole = _unscheduled_cause(pod)
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    states = {one.get("name"): one.get("state") or {} for one in statuses}
    failures, mount = _last_failures(events), _mount_failure(events)
    for container in pod["spec"]["containers"]:
        name = container["name"]
        image = str(container.get("image"))
        if whole != WARM:
            yield image, whole
        else:
            yield image, _container_cause(states.get(name) or {}, failures.get(name), mount)


def pod_node(pod: Mapping[str, Any]) -> str | None:
    """The node a DaemonSet's pod is on, or is meant for while it is not scheduled."""
    spec = pod.get("spec") or {}
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in affinity.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("values"):
                return str(field["values"][0])
    return None


def _unscheduled_cause(pod: Mapping[str, Any]) -> Cause:
    """Why the pod as a whole does not run: it was not scheduled, or was evicted; else :data:`WARM`."""
    status = pod.get("status") or {}
    if status.get("phase") == "Failed":
        reason = str(status.get("reason") or "")
        return Cause(
            "evicted" if reason == "Evicted" else "pod-failed", _text(status.get("message") or reason)
        )
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return Cause("not-scheduled", _text(scheduled.get("message")))
    return WARM


def _container_cause(state: Mapping[str, Any], failure: Mapping[str, Any] | None, mount: str) -> Cause:
    """Why a container in this ``state`` does not run; ``failure`` is its last event, ``mount`` its pod's."""
    if "running" in state:
        return WARM
    waiting = state.get("waiting") or {}
    reason, message = str(waiting.get("reason") or "ContainerCreating"), _text(waiting.get("message"))
    if "terminated" in state:
        return Cause("start-failed", _text(state["terminated"].get("message")) or "its container ended")
    if reason in _PULL_REASONS:
        # While the kubelet pauses, it says no more than that; the event before has the registry's words.
        said = _text(_FRAME.sub("", str(failure["message"]))) if failure is not None else ""
        said = said or message or reason
        return Cause("disk-full" if "no space left on device" in said else "pull-failed", said)
    if reason in _CREATING:
        return Cause("start-failed", mount) if mount else Cause("pulling", "its image is being pulled")
    return Cause("start-failed", f"{clean(reason)}: {message}".removesuffix(": "))


def _condition(item: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions: Sequence[Mapping[str, Any]] = (item.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == kind), {})


def _tolerates(toleration: Toleration, key: str, value: str, effect: str) -> bool:
    return (
        toleration.effect in ("", effect)
        and toleration.key in ("", key)
        and (toleration.operator == "Exists" or toleration.value == value)
    )


def _last_failures(events: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The last event of each container that tells why its image was not pulled."""
    last: dict[str, Mapping[str, Any]] = {}
    for event in events:
        if event.get("reason") == "Failed" and _FRAME.match(str(event.get("message"))):
            field = str((event.get("involvedObject") or {}).get("fieldPath"))
            name = field.partition("{")[2].partition("}")[0]  # spec.containers{name}
            if name not in last or _moment(event) > _moment(last[name]):
                last[name] = event
    return last


def _mount_failure(events: Iterable[Mapping[str, Any]]) -> str:
    found = [event for event in events if event.get("reason") in ("FailedMount", "FailedCreatePodSandBox")]
    last = max(found, key=_moment, default=None)
    return _text(last.get("message")) if last is not None else ""


def _moment(event: Mapping[str, Any]) -> str:
    made = event["metadata"].get("creationTimestamp")
    return str(event.get("lastTimestamp") or event.get("eventTime") or made or "")


def _text(value: object) -> str:
    text = redact(printable(" ".join(str(value or "").split())))
    return text if len(text) <= _BEGINNING + _END else f"{text[:_BEGINNING]} … {text[-_END:]}"
