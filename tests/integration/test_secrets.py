"""A company's network: a proxy with a password, an authority of its own, a private index and mirror.

Passwords are planted in every place they may be in, images are built, and nothing that was written or said
has any of them.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zstandard

from envbuild.base.mirrors import find_mirrors
from tests.support.authority import make_authority
from tests.support.index import Index, make_wheel
from tests.support.programs import Envbuild, require
from tests.support.proxy import Host, Proxy

pytestmark = [pytest.mark.network, pytest.mark.slow]

_ZSTD = b"\x28\xb5\x2f\xfd"
PROXY, MIRROR, INDEX, WRONG = "Pr0xyS3cret", "M1rrorS3cret", "Ind3xS3cret", "Wr0ngS3cret"


@dataclass(frozen=True, slots=True)
class Company:
    """The network, and the files that a user in it has."""

    index: Index
    proxy: Proxy
    authorities: Path
    scratch: Path

    def user(self, name: str) -> Path:
        """A home directory."""
        home = self.scratch / name
        (home / ".config").mkdir(parents=True)
        return home

    def program(self, home: Path, **variables: str) -> Envbuild:
        """envbuild as that user has it."""
        environment = {
            **{name: "" for name in os.environ if name.startswith(("UV_", "PIP_")) or "CA_BUNDLE" in name},
            "HOME": str(home),
            "HTTP_PROXY": self.proxy.url,
            "https_proxy": self.proxy.url,
            "NO_PROXY": "",
            "SSL_CERT_FILE": str(self.authorities),
            "ENVBUILD_DEBIAN_MIRROR": f"http://deb:{MIRROR}@mirror.invalid",
            "ENVBUILD_DEBIAN_SECURITY_MIRROR": f"http://deb:{MIRROR}@security.invalid",
            **variables,
        }
        return Envbuild(self.scratch / "cache", environment=environment)


@pytest.fixture(scope="module")
def company(scratch: Path) -> Iterator[Company]:
    require("openssl")
    place = scratch / "company"
    authority = make_authority(place)
    real = find_mirrors(at=datetime.now(UTC))
    hosts = {
        "mirror.invalid": Host(real.debian[0], "deb", MIRROR),
        "security.invalid": Host(real.security[0], "deb", MIRROR),
    }
    with (
        Index(credentials=("me", INDEX), tls=authority.server) as index,
        Proxy("out", PROXY, hosts=hosts) as proxy,
    ):
        index.add(make_wheel("company-app"))
        yield Company(index, proxy, authority.bundle, place)


def _in_the_address(company: Company, home: Path) -> Envbuild:
    return company.program(home, UV_INDEX=company.index.url_with_credentials)


def _in_netrc(company: Company, home: Path) -> Envbuild:
    (home / ".netrc").write_text(f"machine localhost login me password {INDEX}\n")
    (home / ".netrc").chmod(0o600)
    return company.program(home, UV_INDEX=company.index.url)


def _in_the_keyring(company: Company, home: Path) -> Envbuild:
    program = home / "bin" / "keyring"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho {INDEX}\n")
    program.chmod(0o755)
    return company.program(
        home,
        UV_INDEX=company.index.url.replace("://", "://me@"),
        UV_KEYRING_PROVIDER="subprocess",
        PATH=f"{program.parent}:{os.environ['PATH']}",
    )


def _in_pip_conf(company: Company, home: Path) -> Envbuild:
    (home / ".config" / "pip").mkdir()
    (home / ".config" / "pip" / "pip.conf").write_text(
        f"[global]\nextra-index-url = {company.index.url_with_credentials}\n"
    )
    return company.program(home, ENVBUILD_RESOLVER="pip-tools")


@pytest.mark.parametrize("place", [_in_the_address, _in_netrc, _in_the_keyring, _in_pip_conf])
def test_no_password_is_written_or_said(company: Company, place: Callable[[Company, Path], Envbuild]) -> None:
    name = place.__name__.strip("_")
    envbuild = place(company, company.user(f"home-{name}"))
    repository = company.scratch / name
    repository.mkdir()
    (repository / "requirements.txt").write_text("company-app\n")
    layout = f"oci:{company.scratch / 'layouts' / name}"
    before = len(company.proxy.asked)

    said = ""
    for arguments in (
        ("plan", repository, "--json"),
        ("lock", repository, "-v", "--debug"),
        ("build", repository, "--locked", "--json", "-v", "-o", layout),
        ("build", repository, "--locked", "--offline"),
        ("doctor", "--json"),
    ):
        done = envbuild.run(*arguments)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        said += done.stdout + done.stderr

    assert "localhost" in company.proxy.asked[before:]
    assert "company-app" in (repository / "envbuild.lock").read_text()
    assert [] == _found_in(said.encode())
    for path in _written(company.scratch):
        assert (path, []) == (path, _found_in(path.read_bytes()))


@pytest.mark.parametrize("resolver", ["uv", "pip-tools"])
@pytest.mark.parametrize(
    ("variable", "host"),
    [("UV_INDEX", "localhost"), ("https_proxy", "proxy"), ("HTTP_PROXY", "mirror.invalid")],
)
def test_wrong_passwords_are_the_networks_fault_and_not_said(
    company: Company, resolver: str, variable: str, host: str
) -> None:
    home = company.user(f"home-{resolver}-{variable}")
    wrong = {
        "UV_INDEX": company.index.url.replace("://", f"://me:{WRONG}@"),
        "https_proxy": f"http://out:{WRONG}@{company.proxy.address}",
        "HTTP_PROXY": f"http://out:{WRONG}@{company.proxy.address}",
    }
    told = {"UV_INDEX": company.index.url_with_credentials, variable: wrong[variable]}
    repository = company.scratch / f"{resolver}-{variable}"
    repository.mkdir()
    (repository / "requirements.txt").write_text("company-app\n")
    program = company.program(home, **told)

    done = replace(program, cache=company.scratch / "cold" / repository.name).run(
        "lock", repository, "--resolver", resolver, "--debug", "--json"
    )

    assert 4 == done.returncode, done.stderr
    assert json.loads(done.stdout)["remedy"]
    assert host in done.stdout.lower()
    assert [] == _found_in((done.stdout + done.stderr).encode())


def _found_in(data: bytes) -> list[str]:
    """The passwords that ``data`` has, as they are or as HTTP sends them."""
    if data.startswith(_ZSTD):
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    users = {PROXY: "out", MIRROR: "deb", INDEX: "me", WRONG: "me"}
    forms = {
        secret: (secret.encode(), base64.b64encode(f"{user}:{secret}".encode()).rstrip(b"="))
        for secret, user in users.items()
    }
    return [secret for secret, some in forms.items() if any(form in data for form in some)]


def _written(scratch: Path) -> Iterator[Path]:
    """Every file below ``scratch`` but those in which the users keep their passwords."""
    for top in sorted(scratch.iterdir()):
        if top.is_dir() and not top.name.startswith("home-"):
            yield from (path for path in sorted(top.rglob("*")) if path.is_file() and not path.is_symlink())
