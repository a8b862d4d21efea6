"""Objects of a cluster, as the dictionaries that their YAML is.

The official client's models are not used, so that objects of every version and of custom resources are alike.
Where a kind is (its plural, whether it has namespaces) the server is asked once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from envbuild.cluster.failures import ABSENT, Action, not_kubernetes
from envbuild.cluster.transport import Transport
from envbuild.errors import RemoteError
from envbuild.source.text import clean

if TYPE_CHECKING:
    from kubernetes.client.api_client import ApiClient

__all__ = ["Cluster", "Object", "Objects", "Resource"]

Object = dict[str, Any]
Objects = list[Object]

_PAGE = 500  # objects of a list per request
_VERBS = {"GET": "get", "PATCH": "patch", "DELETE": "delete"}  # a role's, of HTTP's methods


@dataclass(frozen=True, slots=True)
class Resource:
    """Where objects of a kind are: ``plural`` in ``api_version``, in namespaces or not."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def group(self) -> str:
        """The API group; empty for the core."""
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The path of the URL; ``namespace`` is None for what is in none."""
        parts = ["apis" if "/" in self.api_version else "api", self.api_version]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts += [part for part in (self.plural, quote(name, safe=""), subresource) if part]
        return "/" + "/".join(parts)


class Cluster:
    """A connection to a cluster; threads may share it.

    Every method raises :class:`RemoteError` (see failures.py) when the cluster does not do what is asked.
    ``namespace=None`` means the context's.

    Parameters:
        client: the official client, with address and credentials.
        namespace: the context's.
        renew: makes a client with fresh credentials once they are refused.
        wait: pauses that many seconds before another try.
    """

    def __init__(
        self,
        client: ApiClient,
        namespace: str,
        renew: Callable[[], ApiClient] | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self.namespace = namespace
        self._transport = Transport(client, renew, wait)
        self._resources: dict[str, dict[str, Resource]] = {}

    @property
    def client(self) -> ApiClient:
        """The official client, for what is not here."""
        return self._transport.client

    def version(self) -> tuple[int, int]:
        """Major and minor version of the API server; 0 is what it does not say."""
        said = self._transport.json("GET", "/version", Action("get", resource="version"))
        found = [re.match(r"\d{1,4}", str(said.get(part))) for part in ("major", "minor")]  # "20+" on some
        major, minor = (int(match[0]) if match else 0 for match in found)
        return major, minor

    def resource(self, api_version: str, kind: str) -> Resource:
        """Where objects of this kind are.

        Raises:
            RemoteError: ``cluster-kind-unknown``, when the cluster has no such kind.
        """
        known = self._resources.get(api_version)
        if known is None:
            path = f"/{'apis' if '/' in api_version else 'api'}/{api_version}"
            try:
                answer = self._transport.json("GET", path, Action("get", resource=api_version))
            except RemoteError as error:
                if error.code != "cluster-not-found":
                    raise
                answer = {}
            try:
                known = {
                    entry["kind"]: Resource(
                        api_version, entry["kind"], entry["name"], bool(entry["namespaced"])
                    )
                    for entry in answer.get("resources", ())
                    if "/" not in entry["name"]
                }
            except (KeyError, TypeError) as error:
                raise not_kubernetes(self._transport.server, 200) from error
            self._resources[api_version] = known
        if kind not in known:
            self._resources.pop(api_version)  # it may be installed later
            raise RemoteError(
                f"the cluster has no {clean(kind)} in {clean(api_version)}",
                code="cluster-kind-unknown",
                remedy="install what brings this kind (its custom resource definitions), or use a cluster "
                "of a version that has it",
            )
        return known[kind]

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object:
        """One object; ``cluster-not-found`` when it is not there."""
        (found,) = self._objects([self._on(self.resource(api_version, kind), "GET", namespace, name)])
        return found

    def find(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """One object, None when it (or its namespace) is not there."""
        try:
            return self.get(api_version, kind, name, namespace)
        except RemoteError as error:
            if error.code in ABSENT:
                return None
            raise

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
    ) -> Objects:
        """The objects of a kind, by namespace and name.

        Parameters:
            labels: a label selector (``app=x,tier!=y``).
            fields: a field selector (``spec.nodeName=node1``).
        """
        resource = self.resource(api_version, kind)
        where = self._namespace(resource, namespace)
        action = Action("list", resource.group, resource.plural, where)
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(_PAGE)}
        found: Objects = []
        while True:
            try:
                page = self._transport.json("GET", resource.path(where), action, query)
            except RemoteError as error:
                if error.code != "cluster-expired" or "continue" not in query:
                    raise
                del query["continue"]  # reading took minutes; once more from the beginning
                found.clear()
                continue
            # Lists leave out what all their items have in common.
            found += [
                {"apiVersion": api_version, "kind": kind, **item} for item in self._objects(page.get("items"))
            ]
            metadata = page.get("metadata") or {}
            if not isinstance(metadata, dict):
                raise not_kubernetes(self._transport.server, 200)
            if not metadata.get("continue"):
                found.sort(key=_place)
                return found
            query["continue"] = str(metadata["continue"])

    def create(self, wanted: Object) -> Object:
        """Create it; ``cluster-exists`` when it is there, ``cluster-refused`` by quotas and policies."""
        resource = self.resource(wanted["apiVersion"], wanted["kind"])
        metadata = wanted["metadata"]
        where = self._namespace(resource, metadata.get("namespace"))
        action = Action("create", resource.group, resource.plural, where, metadata.get("name", ""))
        return self._transport.json("POST", resource.path(where), action, body=wanted)

    def apply(self, wanted: Object, manager: str, *, dry_run: bool = False, force: bool = False) -> Object:
        """Server-side apply: create it or set the fields that ``wanted`` has, and drop those set before.

        Parameters:
            manager: who the fields belong to.
            dry_run: only say what it would be.
            force: take over fields that others have set, instead of ``cluster-conflict``.
        """
        query = {"fieldManager": manager, "force": str(force).lower(), "dryRun": "All" if dry_run else ""}
        resource = self.resource(wanted["apiVersion"], wanted["kind"])
        metadata = wanted["metadata"]
        return self._on(
            resource,
            "PATCH",
            metadata.get("namespace"),
            metadata["name"],
            query,
            wanted,
            "apply-patch+yaml",
        )

    def delete(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        grace: int | None = None,
        dry_run: bool = False,
    ) -> bool:
        """Delete an object and, in the background, what belongs to it; false when it is not there.

        Parameters:
            grace: seconds that pods get to end; None: what they ask for.
        """
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if dry_run:
            options["dryRun"] = ["All"]
        try:
            self._on(self.resource(api_version, kind), "DELETE", namespace, name, {}, options)
        except RemoteError as error:
            if error.code not in ABSENT:
                raise
            return False
        return True

    def logs(
        self,
        pod: str,
        namespace: str | None = None,
        *,
        container: str = "",
        follow: bool = False,
        seconds: float | None = None,
    ) -> Iterator[bytes]:
        """The lines that a container writes, without their ends.

        Parameters:
            container: which of the pod's; may be empty when it has one only.
            follow: go on until it ends.
            seconds: after so many without a byte it breaks.
        """
        resource = self.resource("v1", "Pod")
        where = self._namespace(resource, namespace)
        query = {"container": container, "follow": str(follow).lower()}
        action = Action("get", "", "pods/log", where, pod)
        return self._transport.lines(resource.path(where, pod, "log"), action, query, seconds)

    def _objects(self, items: Any) -> Objects:
        """``items``, if they are what every object is: a mapping with a mapping that has its name.

        The rest of it is for the API server to check, which it does for everything that is written to it.
        """
        found = [] if items is None else items
        if not isinstance(found, list) or not all(map(_is_object, found)):
            raise not_kubernetes(self._transport.server, 200)
        return found

    def _namespace(self, resource: Resource, given: str | None) -> str | None:
        if not resource.namespaced:
            return None
        return self.namespace if given is None else given

    def _on(
        self,
        resource: Resource,
        method: str,
        namespace: str | None,
        name: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = "json",
    ) -> Object:
        where = self._namespace(resource, namespace)
        action = Action(_VERBS[method], resource.group, resource.plural, where, name)
        path = resource.path(where, name)
        return self._transport.json(method, path, action, query or {}, body, content)


def _is_object(item: Any) -> bool:
    metadata = item.get("metadata") if isinstance(item, dict) else None
    return isinstance(metadata, dict) and isinstance(metadata.get("name"), str)


def _place(item: Object) -> tuple[str, str]:
    return str(item["metadata"].get("namespace", "")), item["metadata"]["name"]
