"""Adding to what a tag names while others may be doing the same.

Not all registries know a way to say "only if nobody changed it meanwhile". So it is written, read again, and
written again when what was added is not there. What remains is that somebody else reads before us and writes
after we have looked: two that attach something to one image at once may lose one of the two.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from envbuild.errors import RemoteError
from envbuild.registry.repository import Manifest, Repository

__all__ = ["update_tag"]

_ATTEMPTS = 6
_LONGEST_WAIT = 0.5  # seconds


def update_tag(
    repository: Repository, tag: str, media_type: str, changed: Callable[[Manifest | None], bytes | None]
) -> None:
    """Make ``tag`` name what ``changed`` makes of what it names.

    Parameters:
        media_type: of what the tag names; ``changed`` refuses what is of another one.
        changed: given what the tag names (None: nothing), returns what it shall name, or None when there is
            nothing to add. It may bring blobs that are needed.

    Raises:
        RemoteError: others write over it all the time.
    """
    for _ in range(_ATTEMPTS):
        data = changed(repository.manifest(tag))
        if data is None:
            return
        repository.put_manifest(data, media_type, tag)
        if changed(repository.manifest(tag)) is None:
            return
        time.sleep(random.uniform(0.1, 1.0) * _LONGEST_WAIT)
    raise RemoteError(
        f"{repository.name}:{tag} is not as it was written: somebody else changes it all the time",
        code="tag-contended",
        remedy="try again when nobody else attaches anything to this image",
    )
