from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pysequoia
import pytest

from envbuild.base.debian import Archive, paragraphs, read_release, suites
from envbuild.base.mirrors import Mirrors, find_mirrors
from envbuild.base.recipe import debian_keyring
from envbuild.errors import RemoteError
from envbuild.fetch import http_client
from envbuild.progress import Silent
from envbuild.store import Store
from tests.support.debian import DebianArchive, make_deb

NOW = datetime(2026, 11, 20, tzinfo=UTC)


class Listening(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with http_client() as client:
        yield client


def reader(
    archive: DebianArchive,
    store: Store,
    mirrors: Mirrors,
    client: httpx.Client,
    reporter: Silent | None = None,
    now: datetime = NOW,
) -> Archive:
    return Archive(
        client=client,
        mirrors=mirrors,
        keyring=archive.keyring,
        store=store,
        reporter=reporter or Silent(),
        now=now,
    )


def test_a_release_and_its_index(
    archive: DebianArchive, store: Store, mirrors: Mirrors, client: httpx.Client
) -> None:
    archive.add("trixie", make_deb("hello"), make_deb("data", arch="all"), make_deb("other", arch="arm64"))
    archive.publish()
    here = reader(archive, store, mirrors, client)

    release = here.release("debian", "trixie")
    index = here.index(release, "amd64")

    assert (archive.date, archive.date + archive.valid_for) == (release.date, release.valid_until)
    assert [b"Package: hello", b"Package: data"] == [text.splitlines()[0] for text in paragraphs(index)]
    assert archive.requests[-1].endswith(f"/by-hash/SHA256/{index.sha256}")


def test_an_index_is_fetched_once(
    archive: DebianArchive, store: Store, mirrors: Mirrors, client: httpx.Client
) -> None:
    archive.publish()
    here = reader(archive, store, mirrors, client)

    first = here.index(here.release("debian", "trixie"), "amd64")
    second = here.index(here.release("debian", "trixie"), "amd64")

    assert first == second
    assert 1 == sum("by-hash" in path for path in archive.requests)


def test_an_archive_without_by_hash(
    archive: DebianArchive, store: Store, mirrors: Mirrors, client: httpx.Client
) -> None:
    archive.by_hash = False
    archive.publish()
    here = reader(archive, store, mirrors, client)

    here.index(here.release("debian", "trixie"), "amd64")

    assert "/dists/trixie/main/binary-amd64/Packages.xz" == archive.requests[-1]


def test_a_release_signed_by_somebody_else_is_refused(
    archive: DebianArchive, store: Store, mirrors: Mirrors, client: httpx.Client, tmp_path: Path
) -> None:
    archive.publish()
    stranger = pysequoia.Tsk.generate("stranger <stranger@example.org>")
    archive.keyring.write_bytes(bytes(stranger.extract_certificate()))

    with pytest.raises(RemoteError) as caught:
        reader(archive, store, mirrors, client).release("debian", "trixie")

    assert "mirror-bad-signature" == caught.value.code
    assert 4 == caught.value.exit_code


@pytest.mark.parametrize("cut", ["changed", "unsigned", "empty", "garbage"])
def test_a_release_that_was_tampered_with_is_refused(archive: DebianArchive, cut: str) -> None:
    text = archive.release_text("trixie")
    signed = {
        "changed": archive.sign(text).replace(b"Origin: Test", b"Origin: Evil"),
        "unsigned": text.encode(),
        "empty": b"",
        "garbage": b"-----BEGIN PGP SIGNED MESSAGE-----\n\xff\xfe",
    }[cut]

    with pytest.raises(RemoteError, match="no good signature"):
        read_release(signed, "debian", "trixie", keyring=archive.keyring)


def test_text_around_the_signed_part_is_not_read(archive: DebianArchive) -> None:
    signed = archive.sign(archive.release_text("trixie"))
    around = (
        b"Valid-Until: Sat, 01 Jan 2000 00:00:00 UTC\n\n" + signed + b"\nSHA256:\n " + b"0" * 64 + b" 1 x\n"
    )

    try:
        release = read_release(around, "debian", "trixie", keyring=archive.keyring)
    except RemoteError:
        return  # refusing it altogether is as good
    assert ({}, archive.date + archive.valid_for) == (release.files, release.valid_until)


def test_another_suite_is_refused(archive: DebianArchive) -> None:
    """A mirror cannot pass an old, still well-signed release off as a newer one."""
    signed = archive.sign(archive.release_text("bookworm"))

    with pytest.raises(RemoteError, match="index of `bookworm` when asked for `trixie`"):
        read_release(signed, "debian", "trixie", keyring=archive.keyring)


def test_a_release_without_a_date_is_refused(archive: DebianArchive) -> None:
    with pytest.raises(RemoteError, match="no readable date"):
        read_release(archive.sign("Codename: trixie\n"), "debian", "trixie", keyring=archive.keyring)


def test_an_expired_release_is_refused(
    archive: DebianArchive, store: Store, mirrors: Mirrors, client: httpx.Client
) -> None:
    archive.valid_for = timedelta(days=7)
    archive.publish()

    with pytest.raises(RemoteError, match="expired on 2026-11-08 00:00 UTC") as caught:
        reader(archive, store, mirrors, client).release("debian", "trixie")

    assert "mirror-expired" == caught.value.code


def test_the_archive_of_the_past_is_judged_as_of_then(
    archive: DebianArchive, store: Store, mirrors: Mirrors, client: httpx.Client
) -> None:
    archive.valid_for = timedelta(days=7)
    archive.publish()
    past = Mirrors(mirrors.debian, mirrors.security, at=archive.date + timedelta(days=1))

    assert archive.date == reader(archive, store, past, client).release("debian", "trixie").date


def test_a_mirror_that_falls_behind_is_not_followed(
    archive: DebianArchive, store: Store, mirrors: Mirrors, client: httpx.Client
) -> None:
    archive.publish()
    reporter = Listening()
    here = reader(archive, store, mirrors, client, reporter)
    here.release("debian", "trixie")
    newest = archive.date
    archive.date -= timedelta(days=30)
    archive.publish()

    release = here.release("debian", "trixie")

    assert newest == release.date
    assert 1 == len(reporter.warnings)
    assert "the Debian mirror is behind" in reporter.warnings[0]


def test_an_index_with_the_wrong_bytes_is_refused(
    archive: DebianArchive, store: Store, mirrors: Mirrors, client: httpx.Client
) -> None:
    archive.publish()
    here = reader(archive, store, mirrors, client)
    release = here.release("debian", "trixie")
    for path in archive.folder.glob("dists/trixie/main/binary-amd64/**/*"):
        if path.is_file():
            data = path.read_bytes()
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    with pytest.raises(RemoteError, match="is not the file that Debian's signed index names"):
        here.index(release, "amd64")

    assert [] == list(store.debian.glob("*.xz"))


def test_more_bytes_than_announced_are_not_read(
    archive: DebianArchive, store: Store, mirrors: Mirrors, client: httpx.Client
) -> None:
    archive.publish()
    here = reader(archive, store, mirrors, client)
    release = here.release("debian", "trixie")
    for path in archive.folder.glob("dists/trixie/main/binary-amd64/**/*"):
        if path.is_file():
            path.write_bytes(path.read_bytes() + b"more")

    with pytest.raises(RemoteError, match=r"more than [0-9]+ bytes"):
        here.index(release, "amd64")


def test_an_architecture_debian_does_not_have(
    archive: DebianArchive, store: Store, mirrors: Mirrors, client: httpx.Client
) -> None:
    archive.publish()
    here = reader(archive, store, mirrors, client)

    with pytest.raises(RemoteError, match="no packages for s390x"):
        here.index(here.release("debian", "trixie"), "s390x")


def test_the_second_mirror_is_asked_when_the_first_does_not_answer(
    archive: DebianArchive, store: Store, mirrors: Mirrors, client: httpx.Client
) -> None:
    archive.publish()
    two = Mirrors((f"{archive.url}/nothing-here", archive.url), mirrors.security)

    assert archive.date == reader(archive, store, two, client).release("debian", "trixie").date


def test_a_mirror_that_does_not_answer_is_named_without_its_password(
    archive: DebianArchive, store: Store, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envbuild.base.debian._PAUSES", (0.0,))
    mirrors = find_mirrors({"debian": "http://me:secret@127.0.0.1:9/debian"}, at=NOW)

    with pytest.raises(RemoteError) as caught:
        reader(archive, store, mirrors, client).release("debian", "trixie")

    assert "mirror-unreachable" == caught.value.code
    assert "secret" not in str(caught.value.to_json())
    assert "http://***@127.0.0.1:9/debian/dists/trixie/InRelease" in caught.value.message


def test_a_connection_that_breaks_is_tried_again(
    archive: DebianArchive, store: Store, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.publish()
    monkeypatch.setattr("envbuild.base.debian._PAUSES", (0.0, 0.0))
    attempts = []

    def answer(request: httpx.Request) -> httpx.Response:
        attempts.append(request.url.path)
        if len(attempts) < 3:
            raise httpx.ReadError("reset by peer")
        signed = (archive.folder / "dists/trixie/InRelease").read_bytes()
        return httpx.Response(200, stream=httpx.ByteStream(signed))

    with httpx.Client(transport=httpx.MockTransport(answer)) as flaky:
        release = reader(archive, store, mirrors, flaky).release("debian", "trixie")

    assert (archive.date, ["/dists/trixie/InRelease"] * 3) == (release.date, attempts)


@pytest.mark.network
@pytest.mark.parametrize(("source", "suite"), [*suites("bookworm"), *suites("trixie")])
def test_debian_itself_against_the_shipped_keys_and_gpgv(
    store: Store, client: httpx.Client, source, suite
) -> None:
    mirrors = find_mirrors(at=NOW)
    archive = Archive(
        client=client,
        mirrors=mirrors,
        keyring=debian_keyring(),
        store=store,
        reporter=Silent(),
        now=datetime.now(UTC),
    )

    release = archive.release(source, suite)

    kept = store.debian / f"{suite}.InRelease"
    assert "main/binary-arm64/Packages.xz" in release.files
    if shutil.which("gpgv"):
        subprocess.run(["gpgv", "-q", "--keyring", debian_keyring(), kept], check=True, capture_output=True)
    changed = kept.read_bytes().replace(b"Debian", b"Nebian", 1)
    with pytest.raises(RemoteError, match="no good signature"):
        read_release(changed, source, suite, keyring=debian_keyring())


def test_what_is_kept_of_a_release_is_what_was_signed(
    archive: DebianArchive, store: Store, mirrors: Mirrors, client: httpx.Client
) -> None:
    archive.publish()
    reader(archive, store, mirrors, client).release("debian", "trixie")

    served = (archive.folder / "dists/trixie/InRelease").read_bytes()
    kept = (store.debian / "trixie.InRelease").read_bytes()
    assert hashlib.sha256(served).digest() == hashlib.sha256(kept).digest()
