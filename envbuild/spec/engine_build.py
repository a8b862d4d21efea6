"""Files that describe a whole image in a way only a container engine can follow.

``Dockerfile`` is built as it is. R's, Julia's and Nix's files are for repo2docker's buildpacks. Either way
the result is no function of a lock, and ``plan`` says so.
"""

from __future__ import annotations

import re
from typing import Final

from envbuild.errors import RepoError
from envbuild.source import Repo, printable
from envbuild.spec.detection import ENGINE_KINDS, Listing
from envbuild.spec.findings import Findings
from envbuild.spec.model import EngineBuild, Execution

__all__ = ["find_binder_dockerfile", "find_repo2docker", "find_root_dockerfile", "needs"]

# What these buildpacks read beside the file that made them responsible.
_READ_TOO: Final = frozenset(
    {"apt.txt", "environment.yml", "requirements.txt", "postBuild", "start", "runtime.txt"}
)
_RUNTIME = re.compile(rb"\s*(r|julia)-", re.IGNORECASE)
_RUNTIME_LIMIT = 4096


def find_repo2docker(repo: Repo, listing: Listing, findings: Findings) -> EngineBuild | None:
    """The build that repo2docker has to make, None when the repository has none of its files.

    Every other file of a known kind is named in ``findings``.
    """
    decisive = [(path, kind) for kind, names in ENGINE_KINDS for path in listing.find(names)]
    runtime = listing.path("runtime.txt")
    if runtime is not None and _names_other_runtime(repo, runtime):
        decisive.insert(0, (runtime, "runtime.txt"))
    if not decisive:
        return None
    for path, kind in listing.known:
        if (path, kind) in decisive:
            findings.used(path, kind, "the image is built by repo2docker, on a container engine")
        elif kind in _READ_TOO:
            findings.used(path, kind, "left to repo2docker")
        else:
            findings.ignored(path, kind, f"repo2docker builds {decisive[0][0]} and does not read it")
    return EngineBuild("repo2docker", printable(decisive[0][0]))


def find_binder_dockerfile(listing: Listing, findings: Findings) -> EngineBuild | None:
    """The ``Dockerfile`` in ``binder/``, which counts before everything else; None when there is none."""
    path = listing.path("Dockerfile")
    if path is None or not listing.directory:
        return None
    return _dockerfile(path, listing, findings)


def find_root_dockerfile(listing: Listing, winner: str | None, findings: Findings) -> EngineBuild | None:
    """The ``Dockerfile`` in the root, if it is all there is: many repositories have one for other ends.

    Parameters:
        winner: the path that declares the dependencies, None when nothing does.
    """
    path = listing.path("Dockerfile")
    if path is None:
        return None
    if winner is not None:
        findings.ignored(path, "Dockerfile", f"{winner} declares the environment")
        return None
    return _dockerfile(path, listing, findings)


def _dockerfile(path: str, listing: Listing, findings: Findings) -> EngineBuild:
    for other, kind in listing.known:
        if other != path:
            findings.ignored(other, kind, f"{path} describes the whole image")
    findings.used(path, "Dockerfile", "describes the whole image; it is built by a container engine")
    return EngineBuild("Dockerfile", printable(path))


def needs(build: EngineBuild) -> Execution:
    """What runs for ``build``, for ``plan``."""
    if build.kind == "Dockerfile":
        what, why = "Dockerfile", "every instruction of it runs on a container engine"
    else:
        what, why = "repo2docker", f"its buildpacks install what {build.path} asks for, on a container engine"
    return Execution(what, why, "build", build.path, network=True)


def _names_other_runtime(repo: Repo, path: str) -> bool:
    try:
        return _RUNTIME.match(repo.read(path, _RUNTIME_LIMIT)) is not None
    except RepoError:
        return False  # said by who reads it for the version of Python
