"""What containers are lent of this machine's network."""

from __future__ import annotations

from pathlib import Path

from envbuild.engine.model import Command, Mount
from envbuild.engine.network import OnThisNetwork
from tests.support.engines import EMPTY_IMAGE, FakeEngine


def started(environment: dict[str, str], command: Command) -> Command:
    engine = FakeEngine(lambda _: "pass")
    with OnThisNetwork(engine, environment).start(EMPTY_IMAGE, command) as running:
        running.wait()
    return engine.commands[0]


def test_the_proxy_and_the_authorities_are_lent(tmp_path: Path) -> None:
    bundle = tmp_path / "company.pem"
    bundle.write_text("certificates")
    environment = {"https_proxy": "http://127.0.0.1:3128", "SSL_CERT_FILE": str(bundle), "SECRET": "x"}

    command = started(environment, Command(("true",)))

    (mount,) = command.mounts
    assert (mount.source, mount.writable) == (bundle, False)
    assert command.env["https_proxy"] == "http://127.0.0.1:3128"
    assert {command.env[name] for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT")} == {
        mount.target
    }
    assert "SECRET" not in command.env


def test_what_the_command_says_itself_wins(tmp_path: Path) -> None:
    own = Mount(tmp_path, "/srv/repo", writable=True)

    command = started({"NO_PROXY": "a"}, Command(("true",), env={"NO_PROXY": "b"}, mounts=(own,)))

    assert command.env["NO_PROXY"] == "b"
    assert command.mounts[0] == own
