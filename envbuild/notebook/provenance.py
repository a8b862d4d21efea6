"""Where the outputs of an executed notebook come from, kept in the notebook's own metadata.

It is evidence for people and tools, and no proof: whoever can change the outputs can change it as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

__all__ = ["VERSION", "Provenance", "read_provenance", "with_provenance"]

VERSION = 1
"""The form of the record; raised when a reader of the old one would misunderstand it."""

_KEY = "envbuild"
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a notebook was executed in, and with what.

    Parameters:
        version: see :data:`VERSION`.
        image_id: the image, see ADR 0005.
        notebook: what was executed, relative to its repository: other notebooks with this record are copies.
        environment: its environment's id; None when a container engine built the image.
        lock: the digest (``sha256:...``) of the lock file; None as above.
        platform: ``linux/amd64``, ...
        parameters: name -> JSON value; those that look like credentials are ``"***"``.
        started: RFC 3339, UTC, to the second; None when times are not recorded.
        seconds: from the start of the container to its end; None as above.
        commit: of the repository the notebook is in; None when there is none, or it is not known.
        dirty: whether files that git tracks differed from the commit; None when that is not known.
        inputs: path of each declared input -> its ``sha256:...``, before the run.
    """

    image_id: str
    platform: str
    notebook: str | None = None
    environment: str | None = None
    lock: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    started: str | None = None
    seconds: float | None = None
    commit: str | None = None
    dirty: bool | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        """The object in the metadata (docs/schemas.md); times are left out when they were not recorded."""
        times = {"started": self.started, "seconds": self.seconds}
        return {
            "version": self.version,
            "notebook": self.notebook,
            "image_id": self.image_id,
            "environment": self.environment,
            "lock": self.lock,
            "platform": self.platform,
            "parameters": dict(self.parameters),
            **{name: value for name, value in times.items() if value is not None},
            "commit": self.commit,
            "dirty": self.dirty,
            "inputs": dict(self.inputs),
        }


def read_provenance(metadata: object) -> Provenance | None:
    """What the ``metadata`` of a notebook says about its last run; None when it says nothing.

    Metadata may be anything at all: what is not as it should be counts as not there.

    >>> read_provenance({"envbuild": {"image_id": "sha256:ab", "platform": "linux/amd64"}}).image_id
    'sha256:ab'
    >>> read_provenance({"envbuild": ["?"]}) is None
    True
    """
    found = metadata.get(_KEY) if isinstance(metadata, Mapping) else None
    if not isinstance(found, Mapping) or not isinstance(found.get("image_id"), str):
        return None
    seconds = found.get("seconds")
    is_duration = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < 1e12
    parameters = _if(dict, found.get("parameters")) or {}
    inputs = _if(dict, found.get("inputs")) or {}
    version = found.get("version")
    return Provenance(
        version=version if isinstance(version, int) and not isinstance(version, bool) else VERSION,
        image_id=found["image_id"],
        notebook=_if(str, found.get("notebook")),
        environment=_if(str, found.get("environment")),
        lock=_if(str, found.get("lock")),
        platform=_if(str, found.get("platform")) or "",
        parameters={name: value for name, value in parameters.items() if isinstance(name, str)},
        started=_if(str, found.get("started")),
        seconds=float(seconds) if seconds is not None and is_duration else None,
        commit=_if(str, found.get("commit")),
        dirty=_if(bool, found.get("dirty")),
        inputs={path: digest for path, digest in inputs.items() if isinstance(digest, str)},
    )


def _if(kind: type[_Value], value: object) -> _Value | None:
    return value if isinstance(value, kind) else None


class _Notebook(msgspec.Struct):
    """A notebook of nbformat 4; its cells are not looked at."""

    cells: msgspec.Raw
    metadata: dict[str, Any]
    nbformat: int
    nbformat_minor: int


def with_provenance(content: bytes, provenance: Provenance) -> bytes:
    """The executed notebook ``content`` with the record in its metadata, in the form nbformat writes.

    Raises:
        ValueError: ``content`` is not a notebook of nbformat 4.
    """
    try:
        notebook = msgspec.json.decode(content, type=_Notebook)
    except msgspec.DecodeError:
        return _rewritten(content, provenance)
    # Cells may be hundreds of megabytes: they stay the text they are.
    pieces = (
        b'{\n "cells": ',
        bytes(notebook.cells),
        b',\n "metadata": ',
        _written({**notebook.metadata, _KEY: provenance.to_json()}).replace(b"\n", b"\n "),
        b',\n "nbformat": %d,\n "nbformat_minor": %d\n}\n' % (notebook.nbformat, notebook.nbformat_minor),
    )
    return b"".join(pieces)


def _rewritten(content: bytes, provenance: Provenance) -> bytes:
    """As above, by way of Python's reader: it takes what Python's writer writes, such as NaN."""
    try:
        notebook = json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    known = isinstance(notebook, dict) and isinstance(notebook.get("cells"), list)
    if not known or not isinstance(notebook.get("metadata"), dict):
        raise ValueError("it is not a notebook")
    notebook["metadata"][_KEY] = provenance.to_json()
    return _written(notebook) + b"\n"


def _written(value: object) -> bytes:
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    # Half a surrogate pair cannot be UTF-8. Its escape in Python is its escape in JSON.
    return text.encode("utf-8", "backslashreplace")
