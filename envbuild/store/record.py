r"""Records: JSON with a digest, so that one that was cut, changed or mixed up is none.

::

    <sha256, hex, of the record's name, a line break and the content>
    <content: canonical JSON, one line>

Nothing signs them: whoever may write to the cache may write a record. They are to be safe from accidents.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

__all__ = ["decode", "encode"]


def encode(name: str, value: Any) -> bytes:
    r"""The record ``name`` with ``value`` (JSON) in it, as it is kept.

    >>> encode("ab", {"size": 3}).splitlines()[1]
    b'{"size":3}'
    """
    content = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return b"%s\n%s\n" % (_digest(name, content), content)


def decode(name: str, data: bytes) -> Any:
    """The value in the record ``name``.

    >>> decode("ab", encode("ab", {"size": 3}))
    {'size': 3}

    Raises:
        ValueError: this is not that record as it was written.
    """
    digest, _, content = data.partition(b"\n")
    content = content.removesuffix(b"\n")
    if digest != _digest(name, content):
        raise ValueError("it is not what was written")
    return json.loads(content)


def _digest(name: str, content: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + content).hexdigest().encode()
