"""Registries as companies have them: TLS by an authority of their own, passwords, a proxy in between.

The registry is the CNCF's. Passwords are where Docker, podman and their helpers put them, and nowhere in what
is said and written.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.integration.conftest import Built
from tests.support.authority import Authority, make_authority
from tests.support.programs import Envbuild, output_of, require
from tests.support.proxy import Proxy
from tests.support.registry import fake_registry
from tests.support.servers import docker_registry

pytestmark = [pytest.mark.network, pytest.mark.slow]

USER, PASSWORD, WRONG, PROXY = "me", "R3gistryS3cret", "Wr0ngS3cret", "Pr0xyS3cret"
PASSWORDS = "me:$2b$05$12CJWoF5ASuabRpnocnoFeDhCWxwGky.b9PLDcRkf3ZnzpadEvFKa\n"
"""``htpasswd -nbB me R3gistryS3cret``."""
OUTSIDE = "registry.invalid"
"""A name that only the proxy knows."""


@dataclass(frozen=True, slots=True)
class Company:
    """A registry that wants a password, and the authority that signed its certificate."""

    registry: str
    authority: Authority
    scratch: Path

    def home(self, name: str) -> Path:
        """An empty home directory."""
        made = self.scratch / name
        made.mkdir()
        return made

    def program(self, envbuild: Envbuild, home: Path, **variables: str) -> Envbuild:
        """envbuild as the user there has it, who trusts the authority."""
        inherited = {
            "DOCKER_CONFIG": "",
            "REGISTRY_AUTH_FILE": "",
            "XDG_RUNTIME_DIR": "",
            "XDG_CONFIG_HOME": "",
        }
        trusted = {"SSL_CERT_FILE": str(self.authority.bundle)}
        return replace(envbuild, environment={**inherited, "HOME": str(home), **trusted, **variables})


@pytest.fixture(scope="module")
def company(scratch: Path) -> Iterator[Company]:
    require("docker-registry", "openssl")
    authority = make_authority(scratch / "registry-authority", OUTSIDE)
    homes = scratch / "registry-users"
    homes.mkdir()
    with docker_registry(tls=authority.server, passwords=PASSWORDS) as address:
        yield Company(address, authority, homes)


def _push(program: Envbuild, built: Built, image: str) -> tuple[int, dict[str, object], str]:
    """``(exit code, document, everything that was said)`` of a build that is pushed."""
    arguments = ("build", built.repository, "--locked", "--platform", "linux/amd64", "-t", image, "--push")
    done = program.run(*arguments, "--json", "--debug", "-v")
    return done.returncode, json.loads(done.stdout), done.stdout + done.stderr


def _entry(password: str = PASSWORD) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{USER}:{password}".encode()).decode()}


def _helper(home: Path, registry: str) -> str:
    """A credential helper that knows one registry; the value is a PATH with it."""
    program = home / "bin" / "docker-credential-tests"
    program.parent.mkdir()
    known = json.dumps({"ServerURL": registry, "Username": USER, "Secret": PASSWORD})
    program.write_text(
        f"#!/bin/sh\nread -r asked\n[ \"$1 $asked\" = 'get {registry}' ] && echo '{known}' && exit\n"
        "echo credentials not found in native keychain\nexit 1\n"
    )
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


def _found_in(said: str) -> list[str]:
    """The passwords in ``said``, as they are or as HTTP sends them."""
    users = {PASSWORD: USER, WRONG: USER, PROXY: "out"}
    forms = {
        secret: base64.b64encode(f"{user}:{secret}".encode()).decode().rstrip("=")
        for secret, user in users.items()
    }
    return [secret for secret, form in forms.items() if secret in said or form in said]


# Where passwords are


def _dockers_file(home: Path, registry: str) -> dict[str, str]:
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": {registry: _entry()}}))
    return {}


def _dockers_file_elsewhere(home: Path, registry: str) -> dict[str, str]:
    (home / "config.json").write_text(json.dumps({"auths": {f"https://{registry}/v2/": _entry()}}))
    return {"DOCKER_CONFIG": str(home)}


def _podmans_file(home: Path, registry: str) -> dict[str, str]:
    (home / "containers").mkdir()
    (home / "containers" / "auth.json").write_text(json.dumps({"auths": {registry: _entry()}}))
    return {"XDG_RUNTIME_DIR": str(home)}


def _podmans_file_elsewhere(home: Path, registry: str) -> dict[str, str]:
    (home / "auth.json").write_text(json.dumps({"auths": {f"{registry}/team": _entry()}}))
    return {"REGISTRY_AUTH_FILE": str(home / "auth.json")}


def _a_helper(home: Path, registry: str) -> dict[str, str]:
    (home / "config.json").write_text(json.dumps({"credHelpers": {registry: "tests"}}))
    return {"DOCKER_CONFIG": str(home), "PATH": _helper(home, registry)}


def _a_helper_for_all(home: Path, registry: str) -> dict[str, str]:
    (home / "config.json").write_text(json.dumps({"auths": {registry: {}}, "credsStore": "tests"}))
    return {"DOCKER_CONFIG": str(home), "PATH": _helper(home, registry)}


@pytest.mark.parametrize(
    "place",
    [
        _dockers_file,
        _dockers_file_elsewhere,
        _podmans_file,
        _podmans_file_elsewhere,
        _a_helper,
        _a_helper_for_all,
    ],
    ids=lambda place: place.__name__.strip("_"),
)
def test_passwords_are_found_and_not_said(
    company: Company, envbuild: Envbuild, built: Built, place: Callable[[Path, str], Mapping[str, str]]
) -> None:
    name = place.__name__.strip("_")
    home = company.home(name)
    program = company.program(envbuild, home, **place(home, company.registry))
    image = f"{company.registry}/team/{name}:1.0"

    code, document, said = _push(program, built, image)

    assert 0 == code, said
    assert [] == _found_in(said)
    access = ("--tls-verify=false", "--creds", f"{USER}:{PASSWORD}")
    seen = json.loads(output_of("skopeo", "inspect", *access, f"docker://{image}"))
    assert built.document["digest"] == document["digest"] == seen["Digest"]


def test_nothing_that_is_written_has_a_password(company: Company, envbuild: Envbuild, built: Built) -> None:
    """Notes of where blobs are, locks, logs: everything in the cache that is not an artifact or a layer."""
    home = company.home("written")
    program = company.program(envbuild, home, **_dockers_file(home, company.registry))
    code, _, said = _push(program, built, f"{company.registry}/team/written:1.0")
    assert 0 == code, said

    files = [path for path in envbuild.cache.rglob("*") if path.is_file() and path.stat().st_size < 1 << 20]
    assert company.registry in "".join(path.read_text("latin-1") for path in files if "places" in str(path))
    assert {} == {path: found for path in files if (found := _found_in(path.read_text("latin-1")))}


def test_what_was_pushed_is_pulled_into_another_cache(
    company: Company, envbuild: Envbuild, built: Built, tmp_path: Path
) -> None:
    """With the same password, and not without."""
    home = company.home("puller")
    program = company.program(envbuild, home, **_dockers_file(home, company.registry))
    image = f"{company.registry}/team/pulled:1.0"
    code, _, said = _push(program, built, image)
    assert 0 == code, said

    other = replace(program, cache=tmp_path / "cache")
    pulled = other.document("pull", image, "--platform", "linux/amd64")
    stranger = replace(company.program(envbuild, company.home("stranger")), cache=tmp_path / "nothing")
    refused = stranger.run("pull", image, "--json", "--debug")

    assert built.document["digest"] == pulled["digest"]
    assert (4, "registry-unauthorized") == (refused.returncode, json.loads(refused.stdout)["error"])
    blobs = other.cache / "store-v1" / "blobs" / "sha256"
    assert {layer["digest"] for layer in built.document["layers"]} <= {
        f"sha256:{path.name}" for path in blobs.iterdir()
    }


# What goes wrong


def _wrong_password(company: Company, home: Path) -> Mapping[str, str]:
    (home / "config.json").write_text(json.dumps({"auths": {company.registry: _entry(WRONG)}}))
    return {"DOCKER_CONFIG": str(home)}


def _no_password(company: Company, home: Path) -> Mapping[str, str]:
    return {}


def _unknown_authority(company: Company, home: Path) -> Mapping[str, str]:
    return {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt", **_dockers_file(home, company.registry)}


def _broken_helper(company: Company, home: Path) -> Mapping[str, str]:
    (home / "config.json").write_text(json.dumps({"credHelpers": {company.registry: "absent-helper"}}))
    return {"DOCKER_CONFIG": str(home)}


@pytest.mark.parametrize(
    ("trouble", "exit_code", "error"),
    [
        (_wrong_password, 4, "registry-unauthorized"),
        (_no_password, 4, "registry-unauthorized"),
        (_unknown_authority, 4, "registry-certificate"),
        (_broken_helper, 3, "credential-helper-failed"),
    ],
    ids=["wrong password", "no password", "unknown authority", "broken helper"],
)
def test_errors_are_said_without_passwords(
    company: Company,
    envbuild: Envbuild,
    built: Built,
    trouble: Callable[[Company, Path], Mapping[str, str]],
    exit_code: int,
    error: str,
) -> None:
    home = company.home(trouble.__name__)
    program = company.program(envbuild, home, **trouble(company, home))

    code, document, said = _push(program, built, f"{company.registry}/team/refused:1.0")

    assert (exit_code, error) == (code, document["error"]), said
    assert document["remedy"]
    assert company.registry in str(document["message"])
    assert [] == _found_in(said)


def test_other_machines_must_speak_tls(envbuild: Envbuild, built: Built, registry: str) -> None:
    """0.0.0.0 is this machine, and nobody's loopback address."""
    elsewhere = registry.replace("127.0.0.1", "0.0.0.0")
    image = f"{elsewhere}/team/plain:1.0"

    allowing = replace(envbuild, environment={**envbuild.environment, "ENVBUILD_PLAIN_HTTP": elsewhere})

    refused, document, _ = _push(envbuild, built, image)
    allowed, _, said = _push(allowing, built, image)

    assert (4, "registry-tls") == (refused, document["error"])
    assert f"--plain-http {elsewhere}" in str(document["remedy"])
    assert 0 == allowed, said


# A proxy in between


def test_images_go_through_the_proxy(company: Company, envbuild: Envbuild, built: Built) -> None:
    tunnels = {f"{OUTSIDE}:443": company.registry}
    home = company.home("proxied")
    _dockers_file(home, OUTSIDE)
    image = f"{OUTSIDE}/team/proxied:1.0"
    with Proxy("out", PROXY, tunnels=tunnels) as proxy:

        def pushed(url: str, around: str) -> tuple[int, dict[str, object], str]:
            both = {"HTTPS_PROXY": url, "https_proxy": url, "NO_PROXY": around, "no_proxy": around}
            return _push(company.program(envbuild, home, **both), built, image)

        code, document, said = pushed(proxy.url, "")
        asked = list(proxy.asked)
        refused, refusal, more = pushed(proxy.url.replace(PROXY, WRONG), "")
        missed, missing, most = pushed(proxy.url, OUTSIDE)

    assert (0, built.document["digest"]) == (code, document["digest"]), said
    assert {OUTSIDE} == set(asked)
    assert (4, True) == (refused, bool(refusal["remedy"])), more
    assert (4, "registry-unreachable") == (missed, missing["error"]), most
    assert asked == proxy.asked
    assert [] == _found_in(said + more + most)


# The tests' own registry, so that it is known to be one


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scheme": "basic"},
        {"scheme": "bearer"},
        {"storage": True, "locations": "absolute"},
        {"locations": "storage"},
    ],
    ids=["open", "basic", "bearer", "storage", "uploads elsewhere"],
)
def test_skopeo_takes_the_tests_registry_for_one(
    built: Built, tmp_path: Path, options: dict[str, object]
) -> None:
    require("skopeo")
    credentials = f"{USER}:{PASSWORD}"
    with fake_registry(users={USER: PASSWORD}, **options) as registry:
        image = f"docker://{registry.address}/team/demo:1.0"
        copy = ("skopeo", "copy", "--quiet", "--preserve-digests")
        to, back = ((f"--{end}-tls-verify=false", f"--{end}-creds={credentials}") for end in ("dest", "src"))
        output_of(*copy, *to, f"oci:{built.layout}", image)
        output_of(*copy, *back, image, f"oci:{tmp_path / 'back'}:demo")

    assert {"1.0": built.document["digest"]} == registry.repository("team/demo").tags
    assert [] == registry.contents.damages()
    index = json.loads((tmp_path / "back" / "index.json").read_text())
    assert built.document["digest"] == index["manifests"][0]["digest"]
