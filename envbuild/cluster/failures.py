"""What a Kubernetes API server answers when something is wrong, as errors with a remedy.

Nothing of a kubeconfig and nothing of an object that was sent gets into a message; what the server says is
shown shortened and without credentials.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from envbuild.errors import EnvbuildError, RemoteError
from envbuild.source.text import clean, redact

__all__ = ["ABSENT", "TRANSIENT", "Action", "failure", "not_kubernetes", "unreachable"]

# What passes by itself: too many requests, and an API server (or what is in front of it) that restarts.
TRANSIENT = frozenset({429, 500, 502, 503, 504})
# The codes of errors that mean that an object is not there.
ABSENT = frozenset({"cluster-namespace-missing", "cluster-not-found"})
_USER = re.compile(r'User "([^"]{1,200})" cannot ')


@dataclass(frozen=True, slots=True)
class Action:
    """What was asked of the API server, in the words of a role's rules.

    ``verb`` is RBAC's (``create``), ``group`` the API group (empty for the core), ``resource`` the plural
    with a subresource (``pods/log``). ``namespace`` is None for what is in none, ``name`` empty when no
    single object is meant.
    """

    verb: str
    group: str = ""
    resource: str = ""
    namespace: str | None = None
    name: str = ""

    @property
    def what(self) -> str:
        """The action for a sentence: ``create jobs.batch 'x' in namespace envs``."""
        return f"{self.verb} {self.target}"

    @property
    def target(self) -> str:
        """The action's object: ``jobs.batch 'x' in namespace envs``."""
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        name = f" '{clean(self.name)}'" if self.name else ""
        return f"{resource}{name}{self.where}"

    @property
    def where(self) -> str:
        """``in namespace …``, empty for what is in none."""
        return f" in namespace {self.namespace}" if self.namespace else ""

    @property
    def rule(self) -> str:
        """The rule of a Role or ClusterRole that allows it, as YAML on one line.

        For an object of the whole cluster it is a rule for this one: others of its kind are other people's.
        """
        parts = [f'apiGroups: ["{self.group}"]', f'resources: ["{self.resource}"]']
        if self.name and self.namespace is None and self.verb != "create":
            parts.append(f'resourceNames: ["{clean(self.name)}"]')
        return f'{{{", ".join(parts)}, verbs: ["{self.verb}"]}}'


def failure(code: int, status: Mapping[str, Any] | None, action: Action, server: str) -> EnvbuildError:
    """The error for an answer.

    Parameters:
        code: HTTP status.
        status: the answer's body when it is a ``Status`` document.
        action: what was asked.
        server: the API server's address.
    """
    if status is None and (code < 400 or code in (403, 407)):
        # An API server sends nobody elsewhere, and says who may not do what.
        return not_kubernetes(server, code)
    said = str((status or {}).get("message") or "")
    detail = clean(said) or None
    kind = str(_details(status).get("kind") or "")
    if code == 401:
        return RemoteError(
            f"the cluster does not accept the credentials (while trying to {action.what})",
            code="cluster-unauthorized",
            remedy="log in to the cluster again (tokens and client certificates expire), then try "
            "`kubectl auth can-i --list` with the same context",
        )
    if code == 403:
        return _forbidden(said, action)
    if code == 404 and kind == "namespaces" and action.namespace:
        return RemoteError(
            f"there is no namespace {action.namespace} in the cluster",
            code="cluster-namespace-missing",
            remedy=f"create it (`kubectl create namespace {action.namespace}`), or name another",
        )
    if code == 404:
        return RemoteError(
            f"the cluster has no {action.target}",
            code="cluster-not-found",
            detail=detail,
            remedy="look at what is there with `kubectl get`, and whether this is the cluster you meant",
        )
    if code == 409:
        return _conflict(status or {}, detail, action)
    if code in (400, 405, 415, 422):
        return RemoteError(
            f"the cluster refuses to {action.what}: it is not valid there",
            code="cluster-invalid",
            detail=redact(said)[:2000] or None,
            remedy="correct the fields it names; a cluster older than the object's fields does not know them",
        )
    if code == 410:
        return RemoteError(
            f"the cluster no longer knows how {action.target} were at that time",
            code="cluster-expired",
            detail=detail,
            remedy="run this again",
        )
    if code == 429:
        return RemoteError(
            f"the cluster is too busy to {action.what}",
            code="cluster-busy",
            detail=detail,
            remedy="wait for what loads its API server to end, then run this again",
        )
    return RemoteError(
        f"the cluster failed to {action.what} (HTTP {code})",
        code="cluster-failed",
        detail=detail,
        remedy="look at the API server (and the admission webhook, if one is named), then run this again",
    )


def not_kubernetes(server: str, code: int) -> EnvbuildError:
    """The error for an answer that no API server gives."""
    return RemoteError(
        f"what {redact(server)} answers (HTTP {code}) is not that of a Kubernetes API server",
        code="cluster-not-kubernetes",
        remedy="check the address in the kubeconfig: a proxy or a login page may be in between",
    )


def _details(status: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """More about it; what is in front of a server may answer in JSON that is no ``Status``."""
    details = (status or {}).get("details")
    return details if isinstance(details, dict) else {}


def _forbidden(said: str, action: Action) -> EnvbuildError:
    """RBAC and admission both answer 403: only the former says who cannot do what."""
    who = _USER.search(said)
    if who is None:
        return RemoteError(
            f"the cluster's admission refuses to {action.what}",
            code="cluster-refused",
            detail=redact(said)[:2000] or None,
            remedy="a quota or a policy (Pod Security, a webhook) says no: change what its message names, or "
            "ask who runs the cluster",
        )
    scope = "a Role" if action.namespace else "a ClusterRole"
    return RemoteError(
        f"{clean(who[1])} may not {action.what}",
        code="cluster-forbidden",
        remedy=f"have this rule added to {scope} bound to it{action.where}: {action.rule}",
    )


def _conflict(status: Mapping[str, Any], detail: str | None, action: Action) -> EnvbuildError:
    causes = _details(status).get("causes")
    managed = [
        cause
        for cause in (causes if isinstance(causes, list) else ())
        if isinstance(cause, dict) and cause.get("reason") == "FieldManagerConflict"
    ]
    if managed:
        fields = ", ".join(
            f"{clean(str(each.get('field')))} ({clean(str(each.get('message')))})" for each in managed
        )
        return RemoteError(
            f"cannot {action.what}: somebody else has set fields of it",
            code="cluster-conflict",
            detail=fields,
            remedy="undo their change, or leave these fields to them",
        )
    exists = status.get("reason") == "AlreadyExists"
    why = "it exists already" if exists else "somebody else has changed it meanwhile"
    return RemoteError(
        f"cannot {action.what}: {why}",
        code="cluster-exists" if exists else "cluster-conflict",
        detail=detail,
        remedy="give it another name, or delete the other one" if exists else "run this again",
    )


def unreachable(error: Exception, server: str, action: Action) -> EnvbuildError:
    """The error for a connection that could not be made or broke.

    Parameters:
        error: of the client (urllib3).
        server: the API server's address.
        action: what was asked.
    """
    text = f"{type(error).__name__} {error}"
    if "SSL" in text or "certificate" in text.lower():
        return RemoteError(
            f"the certificate of the cluster at {redact(server)} is not trusted, or TLS failed",
            code="cluster-certificate",
            detail=clean(str(error)),
            remedy="set `certificate-authority` of the cluster in the kubeconfig to who signed it"
            ", and check that its address is one the certificate is for",
        )
    return RemoteError(
        f"the cluster at {redact(server)} cannot be reached (while trying to {action.what})",
        code="cluster-unreachable",
        detail=clean(str(error)),
        remedy="check the address in the kubeconfig, VPN and proxy; try `kubectl cluster-info` with the same "
        "context",
    )
