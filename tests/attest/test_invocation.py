"""What a build believes a CI system about its run."""

from __future__ import annotations

import pytest

from envbuild.attest.invocation import Invocation, find_invocation

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://git.example.org",
    "GITHUB_REPOSITORY": "team/demo",
    "GITHUB_RUN_ID": "17",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_SHA": "c0ffee",
    "GITHUB_REF": "refs/heads/main",
    "GITHUB_TOKEN": "secret",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_JOB_URL": "https://gitlab.example.org/team/demo/-/jobs/3",
    "CI_PROJECT_URL": "https://gitlab.example.org/team/demo",
    "CI_COMMIT_SHA": "c0ffee",
    "CI_JOB_TOKEN": "secret",
}


def test_a_run_of_github_actions() -> None:
    assert Invocation(
        "github-actions",
        "https://git.example.org/team/demo/actions/runs/17/attempts/2",
        (("ref", "refs/heads/main"), ("repository", "team/demo"), ("revision", "c0ffee")),
    ) == find_invocation(GITHUB)


def test_a_job_of_gitlab() -> None:
    assert Invocation(
        "gitlab-ci",
        "https://gitlab.example.org/team/demo/-/jobs/3",
        (("repository", "https://gitlab.example.org/team/demo"), ("revision", "c0ffee")),
    ) == find_invocation(GITLAB)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"CI": "true", "GITHUB_REPOSITORY": "team/demo", "USER": "somebody"},
        {**GITHUB, "GITHUB_RUN_ID": ""},
        {**GITHUB, "GITHUB_REPOSITORY": "a\nb"},
        {"GITLAB_CI": "true"},
    ],
)
def test_no_run_when_it_does_not_say_which(environment: dict[str, str]) -> None:
    assert find_invocation(environment) is None


def test_credentials_in_addresses_are_left_out() -> None:
    found = find_invocation({**GITLAB, "CI_PROJECT_URL": "https://me:secret@gitlab.example.org/team/demo"})

    assert found is not None
    assert "https://***@gitlab.example.org/team/demo" == dict(found.details)["repository"]
