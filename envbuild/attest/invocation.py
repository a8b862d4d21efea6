"""Which run of a CI system a build is part of, if any: what it says about itself in the environment.

This is what the build was told, not what it could find out; provenance keeps the two apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from envbuild.source.text import redact

__all__ = ["Invocation", "find_invocation"]

_SAFE = re.compile(r"[ -~]{1,500}")


@dataclass(frozen=True, slots=True)
class Invocation:
    """A run of a CI system: the ``url`` of its page, and what it says it is about, by name."""

    system: str
    url: str
    details: tuple[tuple[str, str], ...]


def find_invocation(environment: Mapping[str, str]) -> Invocation | None:
    """The run that ``environment`` is that of; None outside of the CI systems that are known.

    Follows GitHub's "default environment variables" and GitLab's "predefined CI/CD variables".
    """
    if environment.get("GITHUB_ACTIONS") == "true":
        names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
        server, repository, run = (environment.get(name, "") for name in names)
        attempt = environment.get("GITHUB_RUN_ATTEMPT", "1")
        url = f"{server}/{repository}/actions/runs/{run}/attempts/{attempt}"
        system, complete = "github-actions", all((server, repository, run))
        details = {
            "ref": "GITHUB_REF",
            "repository": "GITHUB_REPOSITORY",
            "revision": "GITHUB_SHA",
            "workflow": "GITHUB_WORKFLOW_REF",
        }
    elif environment.get("GITLAB_CI") == "true":
        url = environment.get("CI_JOB_URL", "")
        system, complete = "gitlab-ci", bool(url)
        details = {
            "ref": "CI_COMMIT_REF_NAME",
            "repository": "CI_PROJECT_URL",
            "revision": "CI_COMMIT_SHA",
        }
    else:
        return None
    if not complete or not _SAFE.fullmatch(url):
        return None
    told = {key: redact(environment.get(name, "")) for key, name in details.items()}
    return Invocation(
        system, redact(url), tuple(sorted((key, text) for key, text in told.items() if _SAFE.fullmatch(text)))
    )
