"""The life of a server, with a program of the test's in the place of JupyterLab."""

from __future__ import annotations

import shutil
import socket
import urllib.parse
import urllib.request
import webbrowser
from pathlib import Path
from typing import Any

import pytest

from envbuild import up as up_module
from envbuild.engine.model import Command, Mount
from envbuild.errors import MachineError, RepoError
from envbuild.progress import Silent
from envbuild.store import Store
from envbuild.up import up
from tests.support.engines import EMPTY_IMAGE, FakeEngine, FakeRunning
from tests.support.servers import free_port

pytestmark = pytest.mark.slow  # real servers

SERVER = """
import http.server, os, time

class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Handler.asked += 1
        known = self.headers.get("Authorization") == "token " + os.environ["JUPYTER_TOKEN"]
        status = 503 if Handler.asked < 3 else 200 if known and self.path == "/api/status" else 403
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if Handler.asked == LAST:
            os._exit(CODE)
    def log_message(self, *arguments):
        pass

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def _server(last: int = 0, code: int = 0) -> FakeEngine:
    return FakeEngine(lambda command: SERVER.replace("LAST", str(last)).replace("CODE", str(code)))


@pytest.fixture(autouse=True)
def ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any free port: other tests, in other processes, look for the usual ones at the same time."""
    monkeypatch.setattr(up_module, "_USUAL_PORTS", ())
    monkeypatch.setattr(up_module, "free_port", free_port)  # one that they do not get before the server does


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache")
    made.prepare()
    return made


def _interrupt(url: str) -> None:
    raise KeyboardInterrupt


def _up(engine: FakeEngine, store: Store, **more: Any) -> None:
    repository = store.root.parent / "repository"
    repository.mkdir(exist_ok=True)
    settings: dict[str, Any] = {"ready": _interrupt, "browser": False, **more}
    up(EMPTY_IMAGE, repository, engine=engine, store=store, reporter=Silent(), **settings)


def test_the_url_comes_when_the_server_answers_and_ctrl_c_ends_it(store: Store) -> None:
    engine, urls = _server(), []

    def ready(url: str) -> None:
        urls.append(url)
        raise KeyboardInterrupt

    _up(engine, store, ready=ready)
    (running,) = engine.running
    assert (len(urls), running.poll() is not None, list(store.tmp.iterdir())) == (1, True, [])
    parts = urllib.parse.urlsplit(urls[0])
    token = engine.commands[0].env["JUPYTER_TOKEN"]
    assert (parts.hostname, parts.path, parts.query) == ("127.0.0.1", "/lab", f"token={token}")


def test_the_token_is_long_new_each_time_and_in_no_argument(store: Store) -> None:
    engine = _server()
    _up(engine, store)
    _up(engine, store)
    first, second = engine.commands
    assert len(first.env["JUPYTER_TOKEN"]) == 48
    assert first.env["JUPYTER_TOKEN"] != second.env["JUPYTER_TOKEN"]
    assert not any(first.env["JUPYTER_TOKEN"] in argument for argument in first.argv)
    assert first.env["JUPYTER_TOKEN"] not in repr(first)


def test_the_repository_is_all_that_is_mounted(store: Store) -> None:
    engine = _server()
    _up(engine, store)
    repository = store.root.parent / "repository"
    assert engine.commands[0].mounts == (Mount(repository, "/srv/repo", writable=True),)
    assert engine.commands[0].owner == repository.stat().st_uid


def test_options_are_jupyterlabs_and_a_command_replaces_it(store: Store) -> None:
    engine = _server()
    _up(engine, store, arguments=["--LabApp.x=1"])
    _up(engine, store, arguments=["voila", "--port=$PORT"])
    first, second = engine.commands
    assert (first.argv[0], first.argv[-1]) == ("jupyter-lab", "--LabApp.x=1")
    assert second.argv == ("voila", "--port=$PORT")
    assert second.env["HOST"] == "127.0.0.1"


def test_a_command_that_is_no_jupyter_server_is_ready_when_it_speaks_http(store: Store) -> None:
    """The server answers 503 first, which JupyterLab would have to get over."""
    urls = []

    def ready(url: str) -> None:
        urls.append(url)
        raise KeyboardInterrupt

    _up(_server(), store, arguments=["voila"], ready=ready)
    assert urllib.parse.urlsplit(urls[0]).path == "/"


def test_a_wanted_port_that_is_taken_is_an_error_before_anything_starts(store: Store) -> None:
    engine = _server()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(MachineError) as caught:
            _up(engine, store, port=port)
    assert caught.value.message == f"port {port} of 127.0.0.1 is already in use"
    assert engine.commands == []


def test_without_a_wanted_port_another_than_those_taken_is_used(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        monkeypatch.setattr(up_module, "_USUAL_PORTS", (taken,))
        engine = _server()
        _up(engine, store)
    assert engine.commands[0].ports not in ((), (taken,))


def test_two_that_start_at_once_take_different_ports(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of the first does not listen yet when the second looks."""
    usual = (free_port(), free_port())
    monkeypatch.setattr(up_module, "_USUAL_PORTS", usual)
    first, second = _server(), _server()
    start = first.start

    def start_later(*arguments: Any) -> FakeRunning:
        _up(second, store)
        return start(*arguments)

    monkeypatch.setattr(first, "start", start_later)
    _up(first, store)
    assert [(usual[1],), (usual[0],)] == [engine.commands[0].ports for engine in (second, first)]
    with pytest.raises(MachineError), up_module._usable_port(usual[0]), up_module._usable_port(usual[0]):
        pass


def test_a_server_that_dies_at_once_is_an_error_with_its_last_words(store: Store) -> None:
    program = "import sys; print('\\n'.join(map(str, range(100)))); sys.exit('\\x1b[31mno such option')"
    with pytest.raises(RepoError) as caught:
        _up(FakeEngine(lambda command: program), store)
    assert caught.value.code == "server-failed"
    assert (caught.value.detail or "").splitlines()[-2:] == ["99", "no such option"]
    assert len((caught.value.detail or "").splitlines()) == 20
    assert list(store.tmp.iterdir()) == []


def test_a_server_that_never_answers_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up_module, "_START_SECONDS", 0.2)
    engine = FakeEngine(lambda command: "import time; time.sleep(60)")
    with pytest.raises(RepoError, match="did not answer"):
        _up(engine, store)
    assert engine.running[0].poll() is not None


def test_a_server_that_is_shut_down_from_its_own_menu_is_no_error(store: Store) -> None:
    """File -> Shut Down: exit code 0."""
    _up(_server(last=4), store, ready=_ask)


def test_a_server_that_crashes_later_is_an_error(store: Store) -> None:
    with pytest.raises(RepoError, match="exit code 3"):
        _up(_server(last=4, code=3), store, ready=_ask)


def test_a_server_that_crashes_because_the_cache_is_deleted_is_an_error_too(store: Store) -> None:
    def ready(url: str) -> None:
        shutil.rmtree(store.root)  # and its log with it
        _ask(url)

    with pytest.raises(RepoError, match="exit code 3"):
        _up(_server(last=4, code=3), store, ready=ready)


def _ask(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(url, timeout=300)


def test_ctrl_c_before_the_server_answers_is_the_callers(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(up_module, "_ask", interrupted)
    engine = FakeEngine(lambda command: "import time; time.sleep(60)")
    with pytest.raises(KeyboardInterrupt):
        _up(engine, store)
    assert (engine.running[0].poll() is not None, list(store.tmp.iterdir())) == (True, [])


class Browser:
    """Stands in for a browser; opening ends the test's server."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def open(self, url: str) -> None:
        self.opened.append(url)
        raise KeyboardInterrupt


def test_the_browser_opens_only_when_wanted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, urls = Browser(), []
    monkeypatch.setattr(webbrowser, "get", lambda: browser)
    _up(_server(), store, ready=urls.append, browser=True)
    _up(_server(), store, browser=False)
    assert browser.opened == urls


def test_browsers_for_terminals_are_left_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser("w3m"))
    monkeypatch.setattr(webbrowser.GenericBrowser, "open", lambda *_: pytest.fail("it was opened"))
    up_module._open_browser("http://127.0.0.1/")


def test_no_browser_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def get() -> None:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", get)
    up_module._open_browser("http://127.0.0.1/")


def test_a_repository_of_somebody_else_is_warned_about(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Listening(Silent):
        def __init__(self) -> None:
            self.warnings: list[str] = []

        def warn(self, message: str) -> None:
            self.warnings.append(message)

    reporter = Listening()
    monkeypatch.setattr(up_module.os, "geteuid", lambda: 12345)
    up_module._warn_about_owner(store.root, FakeEngine(lambda command: ""), reporter)
    assert reporter.warnings == [
        f"{store.root} belongs to another user: what you edit there may not be saved"
    ]


def test_a_command_is_what_the_engine_gets(store: Store) -> None:
    engine = _server()
    _up(engine, store, show_log=True)
    (command,) = engine.commands
    assert isinstance(command, Command)
    assert command.output is None
