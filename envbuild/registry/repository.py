"""A repository in a registry, and what can be done with it.

Follows the OCI distribution specification 1.1.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from envbuild.errors import RemoteError
from envbuild.image.config import INDEX_TYPE, MANIFEST_TYPE
from envbuild.image.descriptor import Descriptor, parse_descriptor
from envbuild.image.reference import is_digest
from envbuild.progress import Stage
from envbuild.registry.downloads import blob_bytes
from envbuild.registry.refusals import Answer, lied
from envbuild.registry.retry import TRANSIENT, Transient
from envbuild.registry.transport import Call, Registry
from envbuild.registry.uploads import Content, Outcome, Upload
from envbuild.store import Store
from envbuild.store.disk import disk_errors

__all__ = [
    "DOCKER_INDEX_TYPE",
    "DOCKER_MANIFEST_TYPE",
    "Manifest",
    "Repository",
    "next_page",
    "referrers_tag",
]

DOCKER_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"
_MANIFEST_TYPES = (MANIFEST_TYPE, INDEX_TYPE, DOCKER_MANIFEST_TYPE, DOCKER_INDEX_TYPE)
_LINK = re.compile(r"<([^<>]+)>((?:\s*;\s*[\w*-]+\s*=\s*(?:\"[^\"]*\"|[^\s\",;]*))*)")
_NEXT = re.compile(r"\brel\s*=\s*\"?next(?![\w-])", re.IGNORECASE)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# What registries without a referrers API answer: 404 by the specification, others where the address is taken
# for something else.
_NO_REFERRERS = (400, 404, 405, 406, 501)
_MOST_PAGES = 1000
_PAGE = 1000


def referrers_tag(digest: str) -> str:
    """The tag of the list of what refers to ``digest``, in registries that keep no such list themselves.

    >>> referrers_tag("sha256:00ff")
    'sha256-00ff'
    """
    return digest.replace(":", "-")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or an index, byte for byte as the registry has it."""

    digest: str
    media_type: str
    data: bytes


class Repository:
    """One repository. Methods may be called from several threads; each is one piece of work, tried as often
    as it makes sense.

    All methods raise :class:`envbuild.errors.RemoteError` when the registry fails, refuses or lies, and
    :class:`envbuild.errors.MachineError` when a credential helper does not work.
    """

    def __init__(self, registry: Registry, path: str) -> None:
        self._registry = registry
        self._path = path

    @property
    def registry(self) -> str:
        """The registry's name."""
        return self._registry.name

    @property
    def name(self) -> str:
        """``registry/repository``."""
        return f"{self._registry.name}/{self._path}"

    # Manifests

    def manifest(self, reference: str) -> Manifest | None:
        """The manifest or index with this tag or digest; None when there is none."""
        call = self._manifest_call("GET", reference)
        answer = self._sent(call)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._refused(call, answer)
        digest = "sha256:" + hashlib.sha256(answer.body).hexdigest()
        promised = reference if is_digest(reference) else answer.headers.get("docker-content-digest", digest)
        if promised != digest:
            raise lied(self.registry, f"instead of {promised[:80]} it gives {digest} as {call.what}")
        return Manifest(digest, self._media_type(answer, call.what), answer.body)

    def head_manifest(self, reference: str) -> Descriptor | None:
        """What :meth:`manifest` would give, without its bytes; None when there is none."""
        call = self._manifest_call("HEAD", reference)
        answer = self._sent(call)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._refused(call, answer)
        digest = answer.headers.get("docker-content-digest", reference)
        length = answer.headers.get("content-length", "")
        if is_digest(digest) and length.isascii() and length.isdecimal():
            if is_digest(reference) and digest != reference:
                raise lied(self.registry, f"instead of {reference} it has {digest}")
            return Descriptor(_content_type(answer), digest, int(length))
        found = self.manifest(reference)  # some registries leave out what is needed
        return Descriptor(found.media_type, found.digest, len(found.data)) if found is not None else None

    def put_manifest(self, data: bytes, media_type: str, reference: str | None = None) -> str:
        """Store a manifest or an index.

        Parameters:
            reference: a tag for it; by its digest when None.

        Returns its digest. A :class:`RemoteError` with the code ``registry-lacks-blob`` tells that what it
        names is not there; its ``detail`` has the digests that the registry names, one a line.
        """
        self._put(data, media_type, reference)
        return "sha256:" + hashlib.sha256(data).hexdigest()

    def put_referrer(self, data: bytes, media_type: str) -> bool:
        """Store a manifest that has a ``subject``, by its digest.

        Returns whether the registry lists it as a referrer of that; if not, its clients have to keep the list
        (:mod:`envbuild.registry.referrers`).
        """
        return "oci-subject" in self._put(data, media_type, None).headers

    def _put(self, data: bytes, media_type: str, reference: str | None) -> Answer:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        call = replace(
            self._manifest_call("PUT", reference or digest),
            headers={"Content-Type": media_type},
            content=lambda: data,
            size=len(data),
        )
        answer = self._sent(call)
        if answer.status not in (200, 201, 202, 204):
            if {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"} & set(answer.codes):
                raise RemoteError(
                    f"{self.registry} says it lacks a part of {call.what} ({answer.reason})",
                    code="registry-lacks-blob",
                    remedy="push again; if it goes on, ask who runs the registry",
                    detail="\n".join(sorted(set(_DIGEST.findall(answer.body.decode("utf-8", "replace"))))),
                )
            raise self._refused(call, answer)
        named = answer.headers.get("docker-content-digest", digest)
        if named != digest:
            raise lied(self.registry, f"it took {digest} and calls it {named[:80]}")
        if answer.status != 201:  # what only some registries answer, and many a server that is none
            found = self.head_manifest(reference or digest)
            if found is None or found.digest != digest:
                raise lied(self.registry, f"it says it took {call.what}, and does not have it")
        return answer

    def referrers(self, digest: str, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """What refers to the manifest ``digest`` (signatures, bills of materials), of one type or of all.

        Asks the referrers API; where there is none, the index under the tag that stands in for it.
        """
        query = f"?artifactType={quote(artifact_type, safe='')}" if artifact_type else ""
        found: list[Descriptor] = []
        call = self._call("GET", f"/v2/{self._path}/referrers/{digest}{query}", "list what refers to", digest)
        for answer in self._pages(call, _NO_REFERRERS):
            found += _descriptors(answer.body)
        if not found:
            fallback = self.manifest(referrers_tag(digest))
            found = _descriptors(fallback.data) if fallback is not None else []
        return tuple(one for one in found if artifact_type in (None, one.artifact_type))

    def tags(self) -> tuple[str, ...]:
        """All tags, sorted; none when there is no such repository."""
        found: set[str] = set()
        call = self._call("GET", f"/v2/{self._path}/tags/list?n={_PAGE}", "list the tags of", self.name)
        for answer in self._pages(call):
            found |= set(_tags(answer.body))
        return tuple(sorted(found))

    # Blobs

    def has_blob(self, digest: str) -> int | None:
        """The blob's size in bytes as the registry tells it; None when it is not there."""
        call = self._blob_call("HEAD", digest)
        answer = self._sent(call)
        if answer.status == 200:
            length = answer.headers.get("content-length", "")
            return int(length) if length.isascii() and length.isdecimal() else None
        if answer.status == 404:
            return None
        raise self._refused(call, answer)

    def blob_chunks(self, digest: str, size: int) -> Iterator[bytes]:
        """The blob's bytes; an error is raised at the end at the latest if they are not the blob's."""
        return blob_bytes(self._registry, self._blob_call("GET", digest), digest, size)

    def fetch_blob(self, digest: str, size: int, store: Store, stage: Stage | None = None) -> None:
        """Bring the blob into ``store``, where it appears whole and verified or not at all.

        ``stage`` is told of the bytes; ``size`` must have been added to its total.
        """
        if store.has_blob(digest, size):
            if stage is not None:
                stage.advance(size, cached=True)
            return
        try:
            self._fetch(digest, size, store, stage)
        except RemoteError as error:
            if error.code != "registry-lied":
                raise
            self._fetch(digest, size, store, stage)  # what a bad line did once, it may not do twice

    def _fetch(self, digest: str, size: int, store: Store, stage: Stage | None) -> None:
        arrived = 0
        with store.temporary_file() as path, disk_errors(store.root):
            try:
                with path.open("wb") as stream:
                    for piece in self.blob_chunks(digest, size):
                        stream.write(piece)
                        arrived += len(piece)
                        if stage is not None:
                            stage.advance(len(piece))
            except BaseException:
                if stage is not None:
                    stage.advance(-arrived)
                raise
            path.replace(store.blob_path(digest))

    def upload_blob(
        self,
        digest: str,
        size: int,
        content: Content,
        mount_from: Sequence[str] = (),
        *,
        sent: Callable[[int], None] = lambda amount: None,
        look: bool = True,
    ) -> Outcome:
        """Bring a blob here, unless it is here already.

        Parameters:
            content: gives the blob's bytes from the start each time it is called, and raises at the end at
                the latest if they are not the blob's (as :func:`envbuild.image.blobs.blob_chunks` does).
            mount_from: repositories (``registry/repository``) that may have it; those of other registries are
                left out.
            sent: told the number of bytes that were sent, a negative one when they have to be sent again.
            look: ask first whether it is there; not to, when the registry has been wrong about that.
        """
        prefix = f"{self.registry}/"
        neighbours = [name.removeprefix(prefix) for name in mount_from if name.startswith(prefix)]
        upload = Upload(self._registry, self._path, digest, size, content, sent)
        return upload.run(neighbours, look=look)

    # Calls

    def _sent(self, call: Call) -> Answer:
        def send() -> Answer:
            answer = self._registry.send(call)
            if answer.status in TRANSIENT:
                raise self._refused(call, answer)
            return answer

        return self._registry.patience().through(send)

    def _pages(self, call: Call, absent: Collection[int] = (404,)) -> Iterator[Answer]:
        """The pages of a list; none when there is no such list, as the statuses ``absent`` tell."""
        seen = set()
        for _ in range(_MOST_PAGES):
            answer = self._sent(call)
            if answer.status in absent:
                return
            if answer.status != 200:
                raise self._refused(call, answer)
            yield answer
            following = next_page(answer.headers.get("link", ""))
            if following is None:
                return
            seen.add(call.url)
            call = replace(call, url=self._registry.joined(call.url, following))
            if call.url in seen:
                break
        raise lied(self.registry, f"its list of {call.what} has no end")

    def _refused(self, call: Call, answer: Answer) -> RemoteError | Transient:
        return self._registry.refusal(call, answer)

    def _manifest_call(self, method: str, reference: str) -> Call:
        action, access = ("push", "pull,push") if method == "PUT" else ("pull", "pull")
        separator = "@" if is_digest(reference) else ":"
        return Call(
            method,
            f"/v2/{self._path}/manifests/{reference}",
            self._path,
            (f"repository:{self._path}:{access}",),
            action,
            f"{self.name}{separator}{reference}",
            {"Accept": ", ".join(_MANIFEST_TYPES)},
        )

    def _blob_call(self, method: str, digest: str) -> Call:
        return self._call(method, f"/v2/{self._path}/blobs/{digest}", "pull", f"{self.name}@{digest}")

    def _call(self, method: str, url: str, action: str, what: str) -> Call:
        return Call(method, url, self._path, (f"repository:{self._path}:pull",), action, what)

    def _media_type(self, answer: Answer, what: str) -> str:
        """What the answer is; its header and its own statement must not contradict each other."""
        told, own = _content_type(answer), _parsed(answer.body).get("mediaType")
        own = own if isinstance(own, str) else ""
        if told in _MANIFEST_TYPES and own and own != told:
            raise lied(self.registry, f"it calls {what} {told}, and that calls itself {own[:80]}")
        return told if told in _MANIFEST_TYPES or not own else own


def next_page(link: str) -> str | None:
    """The address of the next page in a ``Link`` header (RFC 8288); None on the last page.

    >>> next_page('</v2/demo/tags/list?last=b&n=2>; rel="next"')
    '/v2/demo/tags/list?last=b&n=2'
    """
    for address, parameters in _LINK.findall(link):
        if _NEXT.search(parameters):
            return str(address)
    return None


def _content_type(answer: Answer) -> str:
    return str(answer.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _descriptors(data: bytes) -> list[Descriptor]:
    """The descriptors in an index; entries that are none are left out."""
    entries = _parsed(data).get("manifests")
    found = []
    for entry in entries if isinstance(entries, list) else ():
        try:
            found.append(parse_descriptor(entry))
        except ValueError:
            continue
    return found


def _tags(data: bytes) -> Iterator[str]:
    tags = _parsed(data).get("tags")
    for tag in tags if isinstance(tags, list) else ():
        if isinstance(tag, str):
            yield tag
