"""Bringing a blob into a registry: found there, mounted from a neighbour, or sent.

Follows "Pushing blobs" of the OCI distribution specification 1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal
from urllib.parse import quote

from envbuild.errors import RemoteError
from envbuild.registry.refusals import Answer, lied
from envbuild.registry.retry import Patience, Transient
from envbuild.registry.transport import Call, Registry

__all__ = ["Content", "Outcome", "Upload"]

Content = Callable[[], Iterator[bytes]]
Outcome = Literal["exists", "mounted", "uploaded"]

_MOST_MOUNTS = 2
_PIECE = 1 << 20


class Upload:
    """One blob on its way into one repository.

    Parameters:
        repository: the path in ``registry``.
        content: gives the blob from its start, each time it is called; it raises at its end at the latest if
            that is not the blob.
        sent: told the number of bytes that were sent; a negative one when they have to be sent again.
    """

    def __init__(
        self,
        registry: Registry,
        repository: str,
        digest: str,
        size: int,
        content: Content,
        sent: Callable[[int], None],
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._digest = digest
        self._size = size
        self._content = content
        self._sent = sent
        self._counted = 0

    def run(self, mount_from: Sequence[str], *, look: bool = True) -> Outcome:
        """Bring the blob there.

        Parameters:
            mount_from: paths in the same registry that may have it.
            look: ask first whether it is there.

        Raises:
            RemoteError: the registry does not take it.
            MachineError: the content is damaged.
        """
        patience = self._registry.patience()
        if look and patience.through(self._is_there):
            return "exists"
        session = None
        for source in [name for name in mount_from if name != self._repository][:_MOST_MOUNTS]:
            session = self._mount(source)
            if session == "":
                return "mounted"
        while True:
            try:
                self._send(session, patience)
            except Transient as trouble:
                session = None
                self._forget()
                patience.wait(trouble)
            else:
                return "uploaded"

    def _is_there(self) -> bool:
        call = self._call("HEAD", f"/v2/{self._repository}/blobs/{self._digest}")
        answer = self._registry.send(call)
        if answer.status == 200:
            # One of another size is not the blob, whatever the registry calls it.
            return bool(answer.headers.get("content-length", str(self._size)) == str(self._size))
        if answer.status in (404, 405):
            return False
        raise self._registry.refusal(call, answer)

    def _mount(self, source: str) -> str | None:
        """Ask to have the blob from the repository ``source``.

        Returns the address to upload to where the registry wants that instead, "" when the blob is mounted,
        None when there was some trouble, which uploading will make plain if it concerns that, too.
        """
        query = f"mount={quote(self._digest, safe='')}&from={quote(source, safe='')}"
        call = self._call("POST", f"/v2/{self._repository}/blobs/uploads/?{query}", mounted=source)
        try:
            answer = self._registry.send(call)
            if answer.status == 201:
                return ""
            return self._registry.location(answer, call.url) if answer.status == 202 else None
        except (RemoteError, Transient):
            return None

    def _send(self, session: str | None, patience: Patience) -> None:
        address = session or self._start()
        separator = "&" if "?" in address else "?"
        url = f"{address}{separator}digest={quote(self._digest, safe='')}"
        call = self._call("PUT", url)
        call = replace(
            call,
            headers={"Content-Type": "application/octet-stream"},
            content=lambda: self._pieces(0, self._size, patience),
            size=self._size,
        )
        self._finished(call, self._registry.send(call))

    def _start(self) -> str:
        """Open an upload session; its address."""
        call = self._call("POST", f"/v2/{self._repository}/blobs/uploads/")
        answer = self._registry.send(replace(call, content=lambda: b""))
        if answer.status != 202:
            raise self._registry.refusal(call, answer)
        return self._registry.location(answer, call.url)

    def _finished(self, call: Call, answer: Answer) -> None:
        if answer.status == 404 or "BLOB_UPLOAD_UNKNOWN" in answer.codes:
            # Sessions get lost when a registry restarts, or is several that do not know of each other.
            error = self._registry.refusal(call, answer)
            raise error if isinstance(error, Transient) else Transient(error)
        if answer.status not in (200, 201, 204):
            raise self._registry.refusal(call, answer)
        named = answer.headers.get("docker-content-digest", self._digest)
        if named != self._digest:
            raise lied(self._registry.name, f"it took {self._digest} and calls it {named[:80]}")

    def _pieces(self, start: int, end: int, patience: Patience) -> Iterator[bytes]:
        """The content from ``start`` to ``end``. Its last piece is kept back until the source has confirmed
        that this is the blob, so that a damaged one never arrives in full.
        """
        kept, position = b"", 0
        for piece in self._content():
            part = piece[max(start - position, 0) : max(end - position, 0)]
            position += len(piece)
            if part:
                if kept:
                    yield self._count(kept, patience)
                kept = part
            if position >= end and end < self._size:
                break
        if position < end or (end == self._size and position > end):
            raise RuntimeError(f"the content of {self._digest} has {position} bytes instead of {self._size}")
        yield self._count(kept, patience)

    def _count(self, piece: bytes, patience: Patience) -> bytes:
        self._counted += len(piece)
        self._sent(len(piece))
        patience.advance(len(piece))
        return piece

    def _forget(self) -> None:
        self._sent(-self._counted)
        self._counted = 0

    def _call(self, method: str, url: str, mounted: str = "") -> Call:
        scopes = [f"repository:{self._repository}:pull,push"]
        if mounted:
            scopes.append(f"repository:{mounted}:pull")
        what = f"{self._digest[:19]}… to {self._registry.name}/{self._repository}"
        return Call(method, url, self._repository, tuple(scopes), "push", what)
