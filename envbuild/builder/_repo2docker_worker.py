"""Run as a process of its own: lets repo2docker's buildpacks write the build context for a repository.

They look for files in the current directory, which is a copy of the repository, and some of them ask servers
which versions there are. Nothing is built here: in the place of a container engine stands one that keeps what
it is given. A job (JSON) is read from standard input, the answer (JSON) is written to standard output.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class _Keeper:
    """Takes what a buildpack hands to an engine (``ContainerEngine.build``) and builds nothing."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self.arguments: dict[str, str] = {}

    def build(self, *, fileobj: Any, buildargs: dict[str, str], **_: Any) -> Iterator[str]:
        """See :meth:`repo2docker.engine.ContainerEngine.build`."""
        self._archive.write_bytes(fileobj.read())
        self.arguments = dict(buildargs)
        return iter(())


def main() -> None:
    """Read the job, write the context's archive, print what was done."""
    job = json.load(sys.stdin)
    os.chdir(job["directory"])
    from repo2docker.app import Repo2Docker

    app = Repo2Docker()
    base_image = job["base_image"] or app.base_image
    try:
        pack = next(found for made in app.buildpacks if (found := made(base_image=base_image)).detect())
        pack.platform = job["platform"]
        pack.labels.update(job["labels"])
        keeper = _Keeper(Path(job["archive"]))
        for _ in pack.build(keeper, "unused", 0, job["arguments"], [], {}, platform=job["platform"]):
            pass
    except Exception as error:  # whatever a buildpack raises is its answer
        answer = {"error": f"{error}", "kind": type(error).__name__, "remote": _is_remote(error)}
    else:
        answer = {"buildpack": type(pack).__name__, "base_image": base_image, "arguments": keeper.arguments}
    json.dump(answer, sys.stdout)


def _is_remote(error: BaseException | None) -> bool:
    """Whether a server that was asked is to blame."""
    from requests.exceptions import RequestException

    while error is not None:
        if isinstance(error, RequestException) or "Failed to fetch" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


if __name__ == "__main__":
    main()
