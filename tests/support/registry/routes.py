"""What the tests' registry answers when nothing goes wrong: the distribution specification's endpoints."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.support.registry.contents import INDEX_TYPES, Refused, UploadSession
from tests.support.registry.wire import Exchange, Reply, Request

if TYPE_CHECKING:
    from tests.support.registry import FakeRegistry

__all__ = ["KINDS", "answer", "classify", "error"]

_NAME = r"(?P<name>[^?]+)"
_ROUTES = (
    (re.compile(r"/v2/"), {"GET": "ping", "HEAD": "ping"}),
    (re.compile(r"/token"), {"GET": "token", "POST": "token"}),
    (re.compile(rf"/v2/{_NAME}/blobs/uploads/"), {"POST": "start-upload"}),
    (
        re.compile(rf"/v2/{_NAME}/blobs/uploads/(?P<reference>[0-9a-f]+)"),
        {"PATCH": "send-chunk", "PUT": "finish-upload", "GET": "upload-status", "DELETE": "cancel-upload"},
    ),
    (re.compile(rf"/v2/{_NAME}/blobs/(?P<reference>[^/]+)"), {"HEAD": "head-blob", "GET": "get-blob"}),
    (
        re.compile(rf"/v2/{_NAME}/manifests/(?P<reference>[^/]+)"),
        {"HEAD": "head-manifest", "GET": "get-manifest", "PUT": "put-manifest"},
    ),
    (re.compile(rf"/v2/{_NAME}/tags/list"), {"GET": "tags"}),
    (re.compile(rf"/v2/{_NAME}/referrers/(?P<reference>[^/]+)"), {"GET": "referrers"}),
)
KINDS = (*dict.fromkeys(kind for _, kinds in _ROUTES for kind in kinds.values()), "mount")
"""What requests can be about; "?" is any other."""
_PUSHING = frozenset(
    {"start-upload", "mount", "send-chunk", "finish-upload", "upload-status", "cancel-upload", "put-manifest"}
)
_ANYBODY = frozenset({"ping", "token"})
_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")


def classify(request: Request) -> None:
    """Say in the request's own fields what it is about."""
    for pattern, kinds in _ROUTES:
        match = pattern.fullmatch(request.path)
        if match is not None and request.method in kinds:
            request.kind = kinds[request.method]
            request.repository = match.groupdict().get("name", "")
            request.reference = match.groupdict().get("reference", "")
            break
    if request.kind == "start-upload" and "mount" in _parameters(request):
        request.kind = "mount"


def error(status: int, code: str, message: str = "", **headers: str) -> Reply:
    """An answer with an error as the specification has them."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Reply(status, {"Content-Type": "application/json", **headers}, body)


def answer(registry: FakeRegistry, exchange: Exchange) -> Reply:
    """The honest answer."""
    request = exchange.request
    body = exchange.body()
    try:
        if request.kind == "token":
            form = body if request.method == "POST" else None
            token = registry.access.token(request.query, request.authorization, form)
            return Reply(200, {"Content-Type": "application/json"}, token)
        refused = _refused(registry, request)
        return refused if refused is not None else _Routes(registry, request, body).answer()
    except Refused as refusal:
        return error(refusal.status, refusal.code, refusal.message)


def _refused(registry: FakeRegistry, request: Request) -> Reply | None:
    """The answer to somebody who may not do this."""
    if request.at == registry.storage_address:
        # Storages refuse requests that are authorized twice, and passwords are none of their business.
        if request.authorization is not None:
            registry.complain(request, "authorization sent to another server")
            return error(400, "UNSUPPORTED", "only one way of authorization is allowed")
        if _parameters(request).get("signature") != "signed":
            return error(403, "DENIED", "not signed")
        return None
    wanted = set()
    if request.kind not in _ANYBODY:
        wanted.add((request.repository, "pull"))
        if request.kind in _PUSHING:
            wanted.add((request.repository, "push"))
        if request.kind == "mount" and "from" in _parameters(request):
            wanted.add((_parameters(request)["from"], "pull"))
    headers = registry.access.check(request.authorization, frozenset(wanted))
    return None if headers is None else error(401, "UNAUTHORIZED", "authentication required", **headers)


class _Routes:
    def __init__(self, registry: FakeRegistry, request: Request, body: bytes) -> None:
        self.registry = registry
        self.request = request
        self.body = body
        self.contents = registry.contents
        self.name = request.repository
        self.reference = request.reference
        self.parameters = _parameters(request)

    def answer(self) -> Reply:
        if self.request.kind == "?":
            return error(404, "UNSUPPORTED", "no such endpoint")
        reply: Reply = getattr(self, self.request.kind.replace("-", "_"))()
        return reply

    def ping(self) -> Reply:
        headers = {"Content-Type": "application/json", "Docker-Distribution-Api-Version": "registry/2.0"}
        return Reply(200, headers, b"{}")

    # Blobs

    def head_blob(self) -> Reply:
        return self._blob(self.contents.blob(self.name, self.reference))

    def get_blob(self) -> Reply:
        data = self.contents.blob(self.name, self.reference)
        if self.registry.storage and self.request.at != self.registry.storage_address:
            place = f"{self.registry.storage_url}{self.request.path}?signature=signed"
            return Reply(307, {"Location": place}, b"elsewhere")
        match = _RANGE.fullmatch(self.request.headers.get("Range", ""))
        if match is None:
            return self._blob(data)
        first, last = int(match[1]), min(int(match[2] or len(data)), len(data) - 1)
        if first > last:
            return error(416, "BLOB_UNKNOWN", "no such range", **{"Content-Range": f"bytes */{len(data)}"})
        part = self._blob(data[first : last + 1])
        return Reply(206, {**part.headers, "Content-Range": f"bytes {first}-{last}/{len(data)}"}, part.body)

    def _blob(self, data: bytes) -> Reply:
        headers = {"Docker-Content-Digest": self.reference, "Accept-Ranges": "bytes"}
        return Reply(200, {"Content-Type": "application/octet-stream", **headers}, data)

    # Uploads

    def mount(self) -> Reply:
        digest = self.parameters["mount"]
        source = self.parameters.get("from")
        if self.registry.mounts and source and self.contents.mount(self.name, digest, source):
            return self._created(digest)
        return self.start_upload()

    def start_upload(self) -> Reply:
        if "digest" in self.parameters:
            return self._created(self.contents.put_blob(self.name, self.body, self.parameters["digest"]))
        if self.body:
            raise Refused(400, "SIZE_INVALID", "a body without digest")
        identifier = self.contents.start_upload(self.name)
        headers = self._session(identifier, self.contents.upload(self.name, identifier))
        if self.registry.chunk_minimum:
            headers["OCI-Chunk-Min-Length"] = str(self.registry.chunk_minimum)
        return Reply(202, headers)

    def send_chunk(self) -> Reply:
        self._check_address()
        session = self.contents.append(
            self.name,
            self.reference,
            self.body,
            self.request.headers.get("Content-Range"),
            self.registry.chunk_minimum,
        )
        return Reply(202, self._session(self.reference, session))

    def upload_status(self) -> Reply:
        return Reply(204, self._session(self.reference, self.contents.upload(self.name, self.reference)))

    def finish_upload(self) -> Reply:
        self._check_address()
        if "digest" not in self.parameters:
            raise Refused(400, "DIGEST_INVALID", "digest is missing")
        if self.body:
            content_range = self.request.headers.get("Content-Range")
            self.contents.append(self.name, self.reference, self.body, content_range, 0)
        return self._created(self.contents.finish(self.name, self.reference, self.parameters["digest"]))

    def cancel_upload(self) -> Reply:
        self.contents.cancel(self.name, self.reference)
        return Reply(204)

    def _check_address(self) -> None:
        """Writing needs the newest address of the session, and all of it."""
        session = self.contents.upload(self.name, self.reference)
        if "state" not in self.parameters:
            raise Refused(400, "BLOB_UPLOAD_INVALID", "this is not the address that was given out")
        if self.parameters["state"] != session.state:
            raise Refused(416, "BLOB_UPLOAD_INVALID", "the session is further on")
        if self.body and self.request.headers.get("Content-Type") != "application/octet-stream":
            self.registry.complain(self.request, "a piece of a blob that is no octet-stream")

    def _session(self, identifier: str, session: UploadSession) -> dict[str, str]:
        place = f"/v2/{self.name}/blobs/uploads/{identifier}?state={session.state}"
        if self.registry.locations == "absolute":
            place = f"http{'s' if self.registry.tls else ''}://{self.request.headers['Host']}{place}"
        elif self.registry.locations == "storage":
            place = f"{self.registry.storage_url}{place}&signature=signed"
        # Also of an empty session; distribution does the same.
        return {
            "Location": place,
            "Range": f"0-{max(len(session.data) - 1, 0)}",
            "Docker-Upload-UUID": identifier,
        }

    def _created(self, digest: str) -> Reply:
        place = f"/v2/{self.name}/blobs/{digest}"
        return Reply(201, {"Location": place, "Docker-Content-Digest": digest})

    # Manifests and lists

    def head_manifest(self) -> Reply:
        return self.get_manifest()

    def get_manifest(self) -> Reply:
        manifest = self.contents.manifest(self.name, self.reference)
        accepted = ",".join(self.request.headers.get_all("Accept", []))
        if manifest.media_type not in accepted:
            raise Refused(404, "MANIFEST_UNKNOWN", f"{manifest.media_type} is not accepted")
        headers = {"Content-Type": manifest.media_type, "Docker-Content-Digest": manifest.digest}
        return Reply(200, headers, manifest.data)

    def put_manifest(self) -> Reply:
        kind = self.request.headers.get("Content-Type", "")
        manifest = self.contents.put_manifest(self.name, self.reference, kind, self.body)
        headers = {
            "Location": f"/v2/{self.name}/manifests/{manifest.digest}",
            "Docker-Content-Digest": manifest.digest,
        }
        subject = manifest.document.get("subject")
        if subject and self.registry.referrers:
            headers["OCI-Subject"] = subject["digest"]
        return Reply(201, headers)

    def tags(self) -> Reply:
        tags = sorted(self.contents.known(self.name).tags)
        tags = [tag for tag in tags if tag > self.parameters.get("last", "")]
        most = min(int(self.parameters.get("n", self.registry.page)), self.registry.page)
        following = {"last": tags[most - 1], "n": str(most)} if 0 < most < len(tags) else None
        return self._page({"name": self.name, "tags": tags[:most]}, following, "application/json")

    def referrers(self) -> Reply:
        if not self.registry.referrers:
            raise Refused(404, "UNSUPPORTED", "no referrers here")
        kind = self.parameters.get("artifactType")
        found = self.contents.referrers(self.name, self.reference, kind)
        start = int(self.parameters.get("start", "0"))
        end = start + self.registry.page
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPES[0], "manifests": found[start:end]}
        following = {**self.parameters, "start": str(end)} if end < len(found) else None
        applied = {"OCI-Filters-Applied": "artifactType"} if kind else {}
        return self._page(index, following, INDEX_TYPES[0], **applied)

    def _page(self, document: object, following: dict[str, str] | None, kind: str, **headers: str) -> Reply:
        if following is not None:
            headers["Link"] = f'<{self.request.path}?{urllib.parse.urlencode(following)}>; rel="next"'
        return Reply(200, {"Content-Type": kind, **headers}, json.dumps(document).encode())


def _parameters(request: Request) -> dict[str, str]:
    pairs: Sequence[tuple[str, str]] = urllib.parse.parse_qsl(request.query, keep_blank_values=True)
    return dict(pairs)
