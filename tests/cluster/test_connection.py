"""Finding the cluster and the credentials; what is wrong with a kubeconfig is said without showing it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from envbuild.cluster.connection import connect
from envbuild.errors import EnvbuildError, RemoteError
from tests.support.api_server import ApiServer
from tests.support.authority import make_authority

_TOKEN = "t0p-s3cr3t"
_WHOLE = """
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t0p-s3cr3t}}]
contexts:
- {name: here, context: {cluster: c, user: u}}
- {name: there, context: {cluster: c, user: u, namespace: n}}
current-context: here
"""


def _refused(tmp_path: Path, text: str, context: str | None = None) -> EnvbuildError:
    (tmp_path / "config").write_text(text)
    with pytest.raises(EnvbuildError) as raised:
        connect(context, {"KUBECONFIG": str(tmp_path / "config")})
    assert _TOKEN not in str(raised.value.to_json())
    assert raised.value.remedy
    assert raised.value.__cause__ is None
    return raised.value


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", "kubeconfig-invalid", "empty"),
        ("[1]", "kubeconfig-invalid", "not a mapping"),
        ("a: b\nusers: [{token: t0p-s3cr3t", "kubeconfig-invalid", "not YAML"),
        ("a: 2026-13-01\nusers: [{token: t0p-s3cr3t}]", "kubeconfig-invalid", "not YAML"),
        ("!!bool t0p-s3cr3t", "kubeconfig-invalid", "not YAML"),
        ("[" * 500, "kubeconfig-invalid", "not YAML"),
        (_WHOLE.replace("context: {cluster: c, user: u}", "context: [c]"), "kubeconfig-invalid", "'here'"),
        (_WHOLE.replace("current-context: here", ""), "kubeconfig-context", "no current context"),
        (_WHOLE.replace("name: c, cluster", "name: d, cluster"), "kubeconfig-invalid", "'here'"),
        (_WHOLE.replace("name: c,", ""), "kubeconfig-invalid", "'here'"),
        (_WHOLE.replace("server: ", "sever: "), "kubeconfig-invalid", "no address"),
        (
            _WHOLE.replace("{server", "{certificate-authority: /no/such/file, server"),
            "kubeconfig-invalid",
            "'here'",
        ),
        (
            _WHOLE.replace("{server", "{certificate-authority-data: t0p-s3cr3t!, server"),
            "kubeconfig-invalid",
            "'here'",
        ),
        (_WHOLE.replace("{token:", "{client-key-data: [], tokenFile:"), "kubeconfig-invalid", "'here'"),
    ],
)
def test_kubeconfigs_that_cannot_be_used(tmp_path: Path, text: str, code: str, said: str) -> None:
    error = _refused(tmp_path, text)

    assert code == error.code
    assert said in error.message
    assert str(tmp_path / "config") == error.file


def test_an_unknown_context_names_those_there_are(tmp_path: Path) -> None:
    error = _refused(tmp_path, _WHOLE, "nowhere")

    assert ("kubeconfig-context", "name one of: here, there") == (error.code, error.remedy)


def test_no_kubeconfig(tmp_path: Path) -> None:
    for environment in ({"KUBECONFIG": str(tmp_path / "none")}, {"HOME": str(tmp_path)}):
        with pytest.raises(EnvbuildError) as raised:
            connect(environment=environment)
        assert ("kubeconfig-missing", 3) == (raised.value.code, raised.value.exit_code)


def test_a_pod_without_service_account(tmp_path: Path) -> None:
    with pytest.raises(EnvbuildError, match="no service account") as raised:
        connect(environment={"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "10.0.0.1"})

    assert "kubeconfig-missing" == raised.value.code


def test_the_namespace_is_the_contexts(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(_WHOLE)

    assert ["default", "n"] == [
        connect(name, {"HOME": str(tmp_path)}).namespace for name in ("here", "there")
    ]


def test_of_several_files_the_first_counts_as_with_kubectl(tmp_path: Path) -> None:
    """Another order would be another cluster than the one that `kubectl` shows."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(_WHOLE.replace("current-context: here", "current-context: there"))
    second.write_text(_WHOLE.replace("127.0.0.1:1", "127.0.0.1:2"))

    connected = connect(
        environment={"KUBECONFIG": os.pathsep.join(map(str, (tmp_path / "no", first, second)))}
    )

    assert ("n", "https://127.0.0.1:1") == (connected.namespace, connected.client.configuration.host)


def _with_plugin(tmp_path: Path, script: str | None) -> str:
    plugin = tmp_path / "plugin-of-tests"
    if script is not None:
        plugin.write_text(f"#!/bin/sh\n{script}\n")
        plugin.chmod(stat.S_IRWXU)
    command = (
        f"exec: {{apiVersion: client.authentication.k8s.io/v1beta1, command: {plugin}, args: [{_TOKEN}]}}"
    )
    return _WHOLE.replace(f"token: {_TOKEN}", command)


@pytest.mark.parametrize(
    "script", [None, "echo you are logged out >&2; exit 1", "echo nonsense", "echo '{}'"],
    ids=["absent", "fails", "nonsense", "empty"],
)  # fmt: skip
def test_plugins_that_give_nothing(
    tmp_path: Path, script: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    error = _refused(tmp_path, _with_plugin(tmp_path, script))

    assert ("cluster-exec-plugin", 3) == (error.code, error.exit_code)
    assert "plugin-of-tests" in error.message
    assert ("", "") == tuple(capfd.readouterr())


def test_a_plugin_that_works(tmp_path: Path, server: ApiServer) -> None:
    version = "client.authentication.k8s.io/v1beta1"
    given = json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": {"token": "fresh"}})
    text = _with_plugin(tmp_path, f"echo '{given}'").replace("https://127.0.0.1:1", server.url)
    (tmp_path / "config").write_text(text)

    connect(environment={"KUBECONFIG": str(tmp_path / "config")}).list("v1", "Pod")

    assert (
        "Bearer fresh"
        == {key.lower(): value for key, value in server.asked[0].headers.items()}["authorization"]
    )


def test_an_authority_that_is_not_the_servers(tmp_path: Path) -> None:
    import ssl
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    ours, other = make_authority(tmp_path / "ours"), make_authority(tmp_path / "other")
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*ours.server)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    text = _WHOLE.replace("https://127.0.0.1:1", f"https://127.0.0.1:{server.server_port}")
    (tmp_path / "config").write_text(
        text.replace("{server", f"{{certificate-authority: {other.alone}, server")
    )
    try:
        with pytest.raises(RemoteError) as raised:
            connect(environment={"KUBECONFIG": str(tmp_path / "config")}).list("v1", "Pod")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert "cluster-certificate" == raised.value.code


def test_clusters_here_need_no_proxy(
    tmp_path: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert [] == connect(environment={**os.environ, "KUBECONFIG": str(tmp_path / "kubeconfig")}).list(
        "v1", "Pod"
    )


@pytest.mark.parametrize("name", ["a" * 5000, "~nobody-of-this-name/config", "\udcff", "no\0thing"])
def test_a_name_that_cannot_be_a_file_is_no_kubeconfig(name: str) -> None:
    with pytest.raises(EnvbuildError) as raised:
        connect(environment={"KUBECONFIG": name})

    assert "kubeconfig-missing" == raised.value.code


@pytest.mark.parametrize("user", ["[t0p-s3cr3t]", "{exec: t0p-s3cr3t}"])
def test_a_user_that_is_none_has_no_credentials(tmp_path: Path, user: str) -> None:
    (tmp_path / "config").write_text(_WHOLE.replace("{token: t0p-s3cr3t}", user))

    cluster = connect(environment={"KUBECONFIG": str(tmp_path / "config")})

    assert "default" == cluster.namespace
    assert {} == cluster.client.configuration.api_key
    cluster.client.close()
