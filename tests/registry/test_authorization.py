"""Who we are to a registry: passwords, tokens, their end, and what never leaves."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from envbuild.errors import RemoteError
from envbuild.registry.registries import Registries
from envbuild.registry.token import Authorizer, TokenRequest
from tests.registry.conftest import AT_ONCE
from tests.support.registry import FakeRegistry, digest_of, fake_registry, faults

DATA = b"some layer" * 100
DIGEST = digest_of(DATA)
USERS = {"me": "hunter2-secret"}


def config(registry: FakeRegistry, **entry: str) -> dict[str, str]:
    """The variables of somebody who is logged in."""
    return {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {registry.address: entry}})}


@contextmanager
def logged_in(registry: FakeRegistry, **entry: str) -> Iterator[Registries]:
    entry = entry or {"username": "me", "password": USERS["me"]}
    with Registries(config(registry, **entry), retries=AT_ONCE) as made:
        yield made


def upload(registries: Registries, registry: FakeRegistry, name: str = "team/demo", **options: Any) -> str:
    repository = registries.repository(f"{registry.address}/{name}")
    return repository.upload_blob(DIGEST, len(DATA), lambda: iter([DATA]), **options)


def scopes(registry: FakeRegistry) -> list[list[str]]:
    """What every request for a token asked for."""
    from urllib.parse import parse_qs

    return [parse_qs(request.query)["scope"] for request in registry.asked("token")]


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_a_password(scheme: str) -> None:
    with fake_registry(scheme=scheme, users=USERS) as registry, logged_in(registry) as registries:
        assert "uploaded" == upload(registries, registry)

        assert {DIGEST: DATA} == registry.repository("team/demo").blobs
        # Nobody is asked twice, and nothing is sent that will be refused.
        assert [200, 401][scheme != "none"] == registry.requests[0].status
        assert [] == [str(request) for request in registry.requests[1:] if request.status == 401]
        assert (scheme == "bearer") == registry.count("token")


def test_the_first_scope_is_the_one_to_push_and_one_token_is_enough() -> None:
    with fake_registry(scheme="bearer", users=USERS) as registry, logged_in(registry) as registries:
        upload(registries, registry)
        repository = registries.repository(f"{registry.address}/team/demo")
        assert len(DATA) == repository.has_blob(DIGEST)
        assert b"".join(repository.blob_chunks(DIGEST, len(DATA))) == DATA

        assert [["repository:team/demo:pull,push"]] == scopes(registry)


def test_an_identity_token_is_exchanged() -> None:
    with (
        fake_registry(scheme="bearer", refresh_tokens=frozenset({"refresh-me"})) as registry,
        logged_in(registry, identitytoken="refresh-me") as registries,
    ):
        assert "uploaded" == upload(registries, registry)

        (request,) = registry.asked("token")
        assert ("POST", None, "") == (request.method, request.authorization, request.query)


def test_a_token_of_the_registrys_own() -> None:
    with fake_registry(scheme="bearer", users=USERS) as registry:
        body = registry.access.token(
            "service=tests&scope=repository:team/demo:pull,push",
            "Basic " + base64.b64encode(b"me:hunter2-secret").decode(),
            None,
        )
        with logged_in(registry, registrytoken=json.loads(body)["token"]) as registries:
            assert "uploaded" == upload(registries, registry)
        assert 0 == registry.count("token")


def test_anybody_may_pull_where_that_is_so(registries: Registries) -> None:
    with fake_registry(scheme="bearer", anonymous_pull=True) as registry:
        registry.put_blob("team/demo", DATA)
        repository = registries.repository(f"{registry.address}/team/demo")

        assert len(DATA) == repository.has_blob(DIGEST)
        with pytest.raises(RemoteError) as raised:
            repository.upload_blob("sha256:" + "0" * 64, 1, lambda: iter([b"x"]))
        assert "registry-unauthorized" == raised.value.code


def test_a_token_that_ends_is_renewed() -> None:
    with (
        fake_registry(scheme="bearer", users=USERS, token_uses=1) as registry,
        logged_in(registry) as registries,
    ):
        assert "uploaded" == upload(registries, registry)  # three requests

        assert 3 == registry.count("token")
        assert {DIGEST: DATA} == registry.blobs


@pytest.mark.parametrize("kind", ["head-blob", "start-upload", "finish-upload"])
def test_a_token_ends_at_any_request(kind: str) -> None:
    with fake_registry(scheme="bearer", users=USERS) as registry, logged_in(registry) as registries:
        registry.fail(faults.token_expired(), kind=kind)

        assert "uploaded" == upload(registries, registry)
        assert {DIGEST: DATA} == registry.blobs


def test_mounting_also_needs_to_pull_from_the_source() -> None:
    with fake_registry(scheme="bearer", users=USERS) as registry, logged_in(registry) as registries:
        registry.put_blob("base/python", DATA)

        assert "mounted" == upload(registries, registry, mount_from=[f"{registry.address}/base/python"])
        assert ["repository:team/demo:pull,push", "repository:base/python:pull"] == scopes(registry)[-1]


def test_who_may_not_read_the_source_uploads() -> None:
    with fake_registry(scheme="bearer", users=USERS) as registry, logged_in(registry) as registries:
        registry.put_blob("secret/python", DATA)
        registry.fail(faults.status(403, "DENIED"), kind="token", path="secret", times=None)

        assert "uploaded" == upload(registries, registry, mount_from=[f"{registry.address}/secret/python"])


def refused(registry: FakeRegistry, registries: Registries) -> RemoteError:
    with pytest.raises(RemoteError) as raised:
        upload(registries, registry)
    return raised.value


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_nobody_is_logged_in(scheme: str, registries: Registries) -> None:
    with fake_registry(scheme=scheme, users=USERS) as registry:
        error = refused(registry, registries)

        address = registry.address
        assert "registry-unauthorized" == error.code
        assert error.message.startswith(f"{address} wants to know who you are to push ")
        assert error.message.endswith(
            "there are no credentials for it (no file of docker or podman is there)"
        )
        assert f"log in: `docker login {address}` or `podman login {address}`" in str(error.remedy)


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_a_wrong_password(scheme: str) -> None:
    with (
        fake_registry(scheme=scheme, users=USERS) as registry,
        logged_in(registry, username="me", password="wrong-password") as registries,
    ):
        error = refused(registry, registries)

        assert "registry-unauthorized" == error.code
        assert "does not accept the credentials from $DOCKER_AUTH_CONFIG" in error.message
        assert "wrong-password" not in str(error.to_json())


def test_a_registry_that_repeats_secrets_is_not_quoted() -> None:
    with fake_registry(scheme="bearer", users=USERS) as registry, logged_in(registry) as registries:
        upload(registries, registry)
        token = str(registry.requests[-1].authorization).removeprefix("Bearer ")
        basic = base64.b64encode(b"me:hunter2-secret").decode()
        said = f"you sent {token}, {basic} and hunter2-secret"
        registry.fail(faults.status(403, "DENIED", said), kind="put-manifest")

        with pytest.raises(RemoteError) as raised:
            registries.repository(f"{registry.address}/team/demo").put_manifest(b"{}", "a/b", "1")

        assert "(DENIED: you sent ***, *** and ***)" in raised.value.message


# Without a server


class _Keys:
    """A keychain with one password, or none."""

    def __init__(self, password: str | None) -> None:
        from envbuild.registry.auth import Credential

        self.credential = Credential("password", "me", password, "a file") if password else None

    def find(self, registry: str, repository: str) -> Any:
        return self.credential

    def sources(self) -> tuple[str, ...]:
        return ()


def authorizer(
    answers: list[tuple[int, Mapping[str, Any] | bytes]], clock: Any = lambda: 0.0, password: str | None = "x"
) -> tuple[Authorizer, list[TokenRequest]]:
    import httpx

    from envbuild.registry.challenge import Challenge
    from envbuild.registry.refusals import Answer

    asked: list[TokenRequest] = []

    def ask(request: TokenRequest) -> Answer:
        asked.append(request)
        status, body = answers.pop(0)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Answer(status, httpx.Headers(), data)

    made = Authorizer("ghcr.io", _Keys(password), ask, clock)  # type: ignore[arg-type]
    assert made.learn([Challenge("bearer", {"realm": "https://auth.example.org/t?x=1", "service": "s"})])
    return made, asked


def test_the_request_for_a_token() -> None:
    made, asked = authorizer([(200, {"access_token": "t"})])

    assert "Bearer t" == made.header("a", ["repository:a:pull,push", "repository:b:pull"])
    assert [
        TokenRequest(
            "https://auth.example.org/t?x=1&service=s&scope=repository%3Aa%3Apull%2Cpush"
            "&scope=repository%3Ab%3Apull&account=me&client_id=envbuild",
            "Basic bWU6eA==",
            None,
        )
    ] == asked


def test_tokens_are_kept_as_long_as_they_are_good() -> None:
    now = 0.0
    made, asked = authorizer(
        [(200, {"token": "one", "expires_in": 300}), (200, {"token": "two", "expires_in": 10})],
        lambda: now,
    )
    scope = ["repository:a:pull"]

    assert "Bearer one" == made.header("a", scope)
    now = 280.0
    assert "Bearer one" == made.header("a", scope)
    now = 290.0  # it would end on the way
    assert "Bearer two" == made.header("a", scope)
    now = 294.0
    assert "Bearer two" == made.header("a", scope)
    assert 2 == len(asked)


def test_a_token_for_more_is_good_for_less() -> None:
    made, asked = authorizer([(200, {"token": "one"}), (200, {"token": "two"})])

    assert "Bearer one" == made.header("a", ["repository:a:pull,push"])
    assert "Bearer one" == made.header("a", ["repository:a:pull"])
    assert "Bearer two" == made.header("b", ["repository:b:pull"])
    assert 2 == len(asked)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, b"<html>", "registry-token"),
        (200, b"[]", "registry-token"),
        (200, b"[" * 100_000, "registry-token"),
        (200, {}, "registry-token"),
        (200, {"token": ""}, "registry-token"),
        (200, {"token": 7}, "registry-token"),
        (200, {"token": "a\r\nHost: x"}, "registry-token"),
        (200, {"token": "é"}, "registry-token"),
        (200, {"token": "t" * 100_000}, "registry-token"),
        (401, {}, "registry-unauthorized"),
        (403, {}, "registry-token"),
        (404, b"nothing here", "registry-token"),
    ],
)
def test_answers_that_are_no_token(status: int, body: Mapping[str, Any] | bytes, code: str) -> None:
    made, _ = authorizer([(status, body)])

    with pytest.raises(RemoteError) as raised:
        made.header("a", ["repository:a:pull"])
    assert code == raised.value.code


@pytest.mark.parametrize("seconds", [-1, 0, "60", 1e9, None, 1 << 40])
def test_absurd_lifetimes_are_the_default(seconds: Any) -> None:
    now = 0.0
    made, asked = authorizer(
        [(200, {"token": "one", "expires_in": seconds}), (200, {"token": "two"})], lambda: now
    )

    made.header("a", ["repository:a:pull"])
    now = 44.0
    made.header("a", ["repository:a:pull"])
    assert 1 == len(asked)
    now = 46.0
    assert "Bearer two" == made.header("a", ["repository:a:pull"])
