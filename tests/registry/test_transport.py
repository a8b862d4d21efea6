"""Finding a registry, and following where it leads: no further than is safe."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import httpx
import pytest

from envbuild.errors import RemoteError
from envbuild.registry.registries import Registries
from envbuild.registry.repository import Repository
from envbuild.registry.retry import Retries
from envbuild.registry.wire import Wire, is_internal
from tests.registry.conftest import AT_ONCE
from tests.support.registry import digest_of, fake_registry, faults

DATA = b"some layer" * 100
DIGEST = digest_of(DATA)
Handler = Callable[[httpx.Request], httpx.Response]


@contextmanager
def served(handler: Handler, name: str = "registry.example.org/team/demo") -> Iterator[Repository]:
    """A repository whose registry, and every other server, is ``handler``."""

    def handle(request: httpx.Request) -> httpx.Response:
        answer = handler(request)
        stream = httpx.ByteStream(answer.content)  # still to be read, like those of a server
        return httpx.Response(answer.status_code, headers=answer.headers, stream=stream)

    client = httpx.Client(transport=httpx.MockTransport(handle))
    wire = Wire(connections=4, connect=lambda **options: nullcontext(client))
    environment = {"DOCKER_AUTH_CONFIG": '{"auths": {"registry.example.org": {"auth": "bWU6c2VjcmV0"}}}'}
    with Registries(environment, retries=AT_ONCE, wire=wire, plain_http=["plain.example.org"]) as registries:
        yield registries.repository(name)


def redirecting(location: str, seen: list[httpx.Request], status: int = 307) -> Handler:
    """A registry with Basic authentication that sends whoever wants a blob to ``location``."""

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.path == "/v2/":
            return httpx.Response(401, headers={"WWW-Authenticate": "Basic realm=r"})
        if request.url.path.startswith("/v2/"):
            return httpx.Response(status, headers={"Location": location})
        return httpx.Response(200, content=DATA)

    return handle


def test_no_password_goes_to_another_server() -> None:
    seen: list[httpx.Request] = []

    with served(redirecting("https://storage.example.net/blob?signed=1", seen)) as repository:
        assert b"".join(repository.blob_chunks(DIGEST, len(DATA))) == DATA

    assert [None, "Basic bWU6c2VjcmV0", None] == [request.headers.get("Authorization") for request in seen]
    assert "storage.example.net" == seen[-1].url.host


@pytest.mark.parametrize(
    "location",
    [
        "https://registry.example.org:8443/blob",
        "https://registry.example.org.evil.example.net/blob",
        "//storage.example.net/blob",
    ],
)
def test_what_counts_as_another_server(location: str) -> None:
    seen: list[httpx.Request] = []

    with served(redirecting(location, seen)) as repository:
        repository.has_blob(DIGEST)

    assert None is seen[-1].headers.get("Authorization")


@pytest.mark.parametrize("location", ["/elsewhere", "https://registry.example.org:443/elsewhere"])
def test_the_registry_itself_still_knows_us(location: str) -> None:
    seen: list[httpx.Request] = []

    with served(redirecting(location, seen)) as repository:
        repository.has_blob(DIGEST)

    assert "Basic bWU6c2VjcmV0" == seen[-1].headers.get("Authorization")


@pytest.mark.parametrize(
    "location",
    [
        "http://registry.example.org/blob",
        "http://storage.example.net/blob",
        "https://127.0.0.1/blob",
        "https://localhost:8080/blob",
        "https://[::1]/blob",
        "https://[::ffff:10.0.0.1]/blob",
        "https://10.1.2.3/blob",
        "https://169.254.169.254/latest/meta-data/",
        "https://192.168.0.1/blob",
        "https://100.64.0.1/blob",
        "https://[fd00::1]/blob",
        "https://0.0.0.0/blob",
        "https://me:secret@storage.example.net/blob",
        "file:///etc/passwd",
        "ftp://storage.example.net/blob",
        "https://storage.example.net:99999/blob",
    ],
)
def test_where_nobody_goes(location: str) -> None:
    seen: list[httpx.Request] = []

    with served(redirecting(location, seen)) as repository, pytest.raises(RemoteError) as raised:
        repository.has_blob(DIGEST)

    assert "unsafe-redirect" == raised.value.code
    assert {"registry.example.org"} == {request.url.host for request in seen}
    assert 2 == len(seen)
    assert "secret" not in raised.value.message


def test_a_private_registry_may_lead_to_a_private_storage() -> None:
    seen: list[httpx.Request] = []
    handler = redirecting("https://10.1.2.4/blob", seen)

    with served(handler, "10.1.2.3/demo") as repository:
        assert len(DATA) == repository.has_blob(DIGEST)


def test_redirects_without_end() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.path == "/v2/":
            return httpx.Response(200)
        return httpx.Response(302, headers={"Location": f"/again/{len(seen)}"})

    with served(handle) as repository, pytest.raises(RemoteError, match="without end"):
        repository.has_blob(DIGEST)
    assert 7 == len(seen)


def test_what_is_written_goes_on_only_where_its_method_is_kept() -> None:
    """A 303 makes a GET of a PUT, which would then seem to have succeeded."""
    with served(redirecting("/elsewhere", [], status=303)) as repository, pytest.raises(RemoteError):
        repository.put_manifest(b"{}", "application/json")
    with served(redirecting("/elsewhere", [], status=307)) as repository:
        assert digest_of(b"{}") == repository.put_manifest(b"{}", "application/json")


def test_an_upload_that_is_to_go_elsewhere_brings_no_password() -> None:
    with fake_registry(scheme="basic", users={"me": "x"}, locations="storage") as registry:
        config = f'{{"auths": {{"{registry.address}": {{"username": "me", "password": "x"}}}}}}'
        with Registries({"DOCKER_AUTH_CONFIG": config}, retries=AT_ONCE) as registries:
            repository = registries.repository(f"{registry.address}/team/demo")
            assert "uploaded" == repository.upload_blob(DIGEST, len(DATA), lambda: iter([DATA]))
        assert {DIGEST: DATA} == registry.blobs


@pytest.mark.parametrize("location", ["http://registry.example.org/up", "https://127.0.0.1/up", "file:///x"])
def test_an_upload_that_is_to_go_where_nobody_goes(location: str) -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.method == "POST":
            return httpx.Response(202, headers={"Location": location})
        return httpx.Response(404 if request.method == "HEAD" else 200)

    with served(handle) as repository, pytest.raises(RemoteError) as raised:
        repository.upload_blob(DIGEST, len(DATA), lambda: iter([DATA]))
    assert "unsafe-redirect" == raised.value.code
    assert ["GET", "HEAD", "POST"] == [request.method for request in seen]


# Token servers


@pytest.mark.parametrize(
    ("realm", "code"),
    [
        ("http://auth.example.net/token", "unsafe-redirect"),
        ("https://127.0.0.1/token", "unsafe-redirect"),
        ("https://169.254.169.254/token", "unsafe-redirect"),
        ("file:///etc/passwd", "registry-token"),
        ("", "registry-token"),
        ("nonsense", "registry-token"),
        ("https://auth.example.net:99999/token", "unsafe-redirect"),
        ("https://[::1", "unsafe-redirect"),
    ],
)
def test_token_servers_nobody_asks(realm: str, code: str) -> None:
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.host)
        return httpx.Response(401, headers={"WWW-Authenticate": f'Bearer realm="{realm}"'})

    with served(handle) as repository, pytest.raises(RemoteError) as raised:
        repository.has_blob(DIGEST)
    assert code == raised.value.code
    assert ["registry.example.org"] == seen


def test_a_token_server_may_be_another_one_if_it_speaks_tls() -> None:
    seen: list[tuple[str, str | None]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.host, request.headers.get("Authorization")))
        if request.url.host == "auth.example.net":
            return httpx.Response(200, json={"token": "t"})
        if request.headers.get("Authorization") == "Bearer t":
            return httpx.Response(200, headers={"Content-Length": "7"})
        return httpx.Response(401, headers={"WWW-Authenticate": 'Bearer realm="https://auth.example.net/t"'})

    with served(handle) as repository:
        assert 7 == repository.has_blob(DIGEST)
    assert [
        ("registry.example.org", None),
        ("auth.example.net", "Basic bWU6c2VjcmV0"),
        ("registry.example.org", "Bearer t"),
    ] == seen


# Finding it


def test_tls_is_a_must_except_on_this_machine_or_when_it_is_allowed() -> None:
    schemes = []

    def handle(request: httpx.Request) -> httpx.Response:
        schemes.append(request.url.scheme)
        return httpx.Response(200, json={"tags": []})

    names = ("registry.example.org", "plain.example.org", "127.0.0.1:5000", "localhost:5000", "10.0.0.1")
    for name in names:
        with served(handle, f"{name}/demo") as repository:
            repository.tags()
    assert ["https", "https", *6 * ["http"], "https", "https"] == schemes


def test_docker_hub_is_elsewhere() -> None:
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200)

    with served(handle, "python") as repository:
        assert None is repository.has_blob(DIGEST)
    assert [
        "https://registry-1.docker.io/v2/",
        f"https://registry-1.docker.io/v2/library/python/blobs/{DIGEST}",
    ] == seen
    assert "docker.io/library/python" == repository.name


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(200, html="<html>"), "is a web page"),
        (httpx.Response(404, html="<html>"), "gives HTTP 404"),
        (httpx.Response(301, headers={"Location": "/login"}), "gives HTTP 301"),
        (httpx.Response(401), "in a way that no registry has"),
        (httpx.Response(401, headers={"WWW-Authenticate": "Negotiate"}), "in a way that no registry has"),
    ],
)
def test_a_server_that_is_no_registry(answer: httpx.Response, message: str) -> None:
    with served(lambda request: answer) as repository, pytest.raises(RemoteError, match=message) as raised:
        repository.tags()
    assert "not-a-registry" == raised.value.code
    assert raised.value.message.startswith("registry.example.org is not a container registry: ")


def test_nobody_listens(registries: Registries) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(RemoteError) as raised:
            registries.repository(f"{address}/demo").tags()

    assert "registry-unreachable" == raised.value.code
    assert f"{address} cannot be reached: connection refused" == raised.value.message


def test_no_such_host(registries: Registries) -> None:
    with pytest.raises(RemoteError) as raised:
        registries.repository("registry.invalid/demo").tags()

    assert raised.value.code in ("registry-unreachable", "registry-dropped")  # the latter without any network
    assert "registry.invalid" in raised.value.message


def test_offline() -> None:
    with Registries({}, offline=True) as registries, pytest.raises(RemoteError) as raised:
        registries.repository("127.0.0.1:5000/demo").tags()
    assert "offline" == raised.value.code


def test_a_registry_on_this_machine_needs_no_proxy(
    registries: Registries, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.invalid:3128")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with fake_registry() as registry:
        assert () == registries.repository(f"{registry.address}/demo").tags()


def test_a_server_that_hangs_up_may_want_tls(registries: Registries) -> None:
    """Here it does not; what it said without is what is told."""
    with fake_registry() as registry:
        registry.fail(faults.dropped(), times=None)

        with pytest.raises(RemoteError) as raised:
            registries.repository(f"{registry.address}/demo").tags()
        assert "registry-dropped" == raised.value.code


# Connections


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_name_that_turns_out_to_be_internal_gets_no_request(name: str) -> None:
    with fake_registry() as registry:
        url = httpx.URL(f"http://{name}:{registry.address.rpartition(':')[2]}/v2/")
        wire = Wire(connections=1)
        wire._peers["registry.example.org"] = "9.9.9.9"
        try:
            with pytest.raises(RemoteError) as raised, wire.stream("r", "GET", url, {}, only_public=True):
                pass
            # The same with a name that only the connection unmasks.
            watch = wire._watch("r", "storage.example.net", True)
            with socket.create_connection(("127.0.0.1", int(url.port or 0))) as opened:

                class Stream:
                    closed = False

                    def get_extra_info(self, what: str) -> object:
                        return opened if what == "socket" else opened.getpeername()

                    def close(self) -> None:
                        self.closed = True

                stream = Stream()
                watch("connection.connect_tcp.started", {"host": "storage.example.net"})
                with pytest.raises(RemoteError):
                    watch("connection.connect_tcp.complete", {"return_value": stream})
                assert stream.closed
                watch("connection.connect_tcp.started", {"host": "proxy.example.org"})
                watch("connection.connect_tcp.complete", {"return_value": stream})  # a proxy may be anywhere
        finally:
            wire.close()

        assert "unsafe-redirect" == raised.value.code
        assert [] == registry.requests


def test_closing_wakes_up_who_waits() -> None:
    with fake_registry() as registry:
        arrived, over = threading.Event(), threading.Event()

        def wait(registry: object, exchange: object) -> object:
            arrived.set()
            over.wait(600)
            return faults.dropped()(registry, exchange)  # type: ignore[arg-type]

        registry.fail(wait, kind="tags")  # type: ignore[arg-type]
        made = Registries({}, retries=Retries())
        outcome: list[BaseException] = []

        def ask() -> None:
            try:
                made.repository(f"{registry.address}/demo").tags()
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        assert arrived.wait(300)
        made.close()
        thread.join(300)
        over.set()
        registry.heal()

        assert not thread.is_alive()
        assert ["CancelledError"] == [type(error).__name__ for error in outcome]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("::1", True),
        ("fe80::1%eth0", True),
        ("224.0.0.1", True),
        ("2001:db8::1", True),
        ("8.8.8.8", False),
        ("2606:4700::1", False),
        ("registry.example.org", False),
        ("a.localhost", True),
    ],
)
def test_internal_addresses(address: str, expected: bool) -> None:
    assert expected is is_internal(address)
