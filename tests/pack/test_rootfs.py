from __future__ import annotations

import hashlib
import marshal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from envbuild.base.locking import lock_debs
from envbuild.base.mirrors import find_mirrors
from envbuild.base.recipe import BaseRecipe, load_recipes
from envbuild.errors import RemoteError, RepoError
from envbuild.fetch import Fetcher, Sources
from envbuild.lock.model import Artifact, Deb
from envbuild.pack.rootfs import os_entries
from envbuild.pack.tar import Entry, complete, write_tar
from envbuild.progress import Silent
from envbuild.store import Store
from tests.support.debian import PackageFile, make_deb

RECIPE = BaseRecipe(
    name="test",
    python="3.13.5",
    suite="trixie",
    glibc="2.40",
    platforms=("linux/amd64",),
    packages=(),
    excluded={},
    scripts={"scripted": "a test"},
    server=(),
    digest="0",
)


def no_bytecode(sources: list[tuple[str, bytes]]) -> dict[str, bytes]:
    return {}


def debs(folder: Path, *packages: PackageFile) -> list[tuple[Deb, Path]]:
    made = []
    for package in packages:
        path = folder / package.sha256
        path.write_bytes(package.data)
        artifact = Artifact(package.filename, package.sha256, len(package.data), "debian")
        made.append(
            (
                Deb(
                    package.control["Package"],
                    package.control["Version"],
                    package.control["Architecture"],
                    artifact,
                ),
                path,
            )
        )
    return made


def tree(
    folder: Path, *packages: PackageFile, arch: str = "amd64", recipe: BaseRecipe = RECIPE
) -> dict[str, Entry]:
    entries = complete(os_entries(debs(folder, *packages), recipe, arch=arch, compile=no_bytecode))
    return {entry.path.decode(): entry for entry in entries}


def text(entry: Entry) -> str:
    assert entry.kind == "file"
    return b"".join(entry.chunks()).decode()


def test_files_get_normal_modes(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        make_deb(
            "a",
            directories=["etc/group-writable"],
            files={"usr/bin/su": b"1", "etc/secret": b"2"},
            executable=["usr/bin/su"],
        ),
    )

    assert (0o755, 0o644, 0o755) == (
        found["usr/bin/su"].mode,
        found["etc/secret"].mode,
        found["etc/group-writable"].mode,
    )
    assert {(0, 0)} == {(found[path].uid, found[path].gid) for path in ("usr/bin/su", "etc/secret")}


def test_merged_usr(tmp_path: Path) -> None:
    """Packages for split /usr, for merged /usr, and the one that ships the links end in one tree."""
    found = tree(
        tmp_path,
        make_deb("base-files", links={"bin": "usr/bin", "lib64": "usr/lib64"}, directories=["sbin"]),
        make_deb(
            "old", files={"bin/old": b"", "lib/x86_64-linux-gnu/lib.so": b"1"}, directories=["bin", "lib"]
        ),
        make_deb("new", files={"usr/bin/new": b""}),
    )

    assert ["usr/bin", "usr/lib", "usr/lib64", "usr/sbin"] == [
        found[name].target.decode() for name in ("bin", "lib", "lib64", "sbin")
    ]
    assert {"usr/bin/old", "usr/bin/new", "usr/lib/x86_64-linux-gnu/lib.so"} <= set(found)


def test_arm64_has_no_lib64(tmp_path: Path) -> None:
    assert "lib64" not in tree(tmp_path, make_deb("a", arch="arm64"), arch="arm64")


def test_what_is_dropped_and_what_is_kept(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        make_deb(
            "a",
            directories=["usr/share/man", "usr/share/man/man1"],
            files={
                "usr/share/man/man1/a.1.gz": b"",
                "usr/share/locale/de/LC_MESSAGES/a.mo": b"",
                "usr/share/doc/a/changelog.gz": b"",
                "usr/share/doc/a/copyright": b"licence",
                "usr/share/manual": b"not a manual page",
                "usr/share/zoneinfo/UTC": b"",
            },
            links={"usr/share/doc/a-extra": "a"},
        ),
    )

    assert {
        "usr/share/doc/a",
        "usr/share/doc/a-extra",
        "usr/share/doc/a/copyright",
        "usr/share/manual",
        "usr/share/zoneinfo/UTC",
    } == {path for path in found if path.startswith("usr/share/") and path.count("/") > 1} - {
        "usr/share/doc",
        "usr/share/zoneinfo",
    }


def test_hard_links_become_copies(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        make_deb(
            "gzip",
            files={"bin/gunzip": b"x"},
            executable=["bin/gunzip"],
            hardlinks={"bin/uncompress": "bin/gunzip"},
        ),
    )

    assert replace(found["usr/bin/gunzip"], path=b"usr/bin/uncompress") == found["usr/bin/uncompress"]


def test_a_hard_link_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="hard link to nothing"):
        tree(tmp_path, make_deb("a", hardlinks={"bin/b": "bin/missing"}))


def test_two_packages_with_different_files_in_one_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="disagree about /usr/bin/x"):
        tree(tmp_path, make_deb("a", files={"bin/x": b"1"}), make_deb("b", files={"usr/bin/x": b"2"}))


@pytest.mark.parametrize("script", ["postinst", "preinst", "config"])
def test_a_script_nobody_has_read_stops_the_build(tmp_path: Path, script: str) -> None:
    with pytest.raises(RepoError) as caught:
        tree(tmp_path, make_deb("surprise", control_files={script: "#!/bin/sh\nrm -rf /\n"}))

    assert "maintainer-script" == caught.value.code
    assert "`surprise` 1.0" in caught.value.message
    assert script in caught.value.message
    assert "[packages.scripts]" in (caught.value.remedy or "")


@pytest.mark.parametrize(
    ("name", "script"), [("scripted", "postinst"), ("other", "postrm"), ("other", "prerm")]
)
def test_scripts_that_were_read_or_run_later_do_not(tmp_path: Path, name: str, script: str) -> None:
    assert "etc/passwd" in tree(tmp_path, make_deb(name, control_files={script: ""}))


def test_a_file_that_is_another_package_is_refused(tmp_path: Path) -> None:
    ((deb, path),) = debs(tmp_path, make_deb("a", "1.0"))

    with pytest.raises(RemoteError, match=r"is not the package a 2\.0"):
        os_entries([(replace(deb, version="2.0"), path)], RECIPE, arch="amd64", compile=no_bytecode)


BASE_PASSWD = make_deb(
    "base-passwd",
    files={
        "usr/share/base-passwd/passwd.master": b"root:*:0:0:root:/root:/bin/bash\n",
        "usr/share/base-passwd/group.master": b"root:*:0:\nusers:*:100:\n",
    },
)


def test_users_and_groups(tmp_path: Path) -> None:
    found = tree(tmp_path, BASE_PASSWD)

    assert [
        "root:x:0:0:root:/root:/bin/bash\njovyan:x:1000:100::/home/jovyan:/bin/bash\n",
        "root:x:0:\nusers:x:100:\n",
        "root:*::0:99999:7:::\njovyan:*::0:99999:7:::\n",
        "root:*::\nusers:*::\n",
    ] == [text(found[f"etc/{name}"]) for name in ("passwd", "group", "shadow", "gshadow")]
    assert (0o600, 0o600) == (found["etc/shadow"].mode, found["etc/gshadow"].mode)


def test_directories_people_write_to(tmp_path: Path) -> None:
    found = tree(tmp_path)

    assert {"tmp": (0o1777, 0), "var/tmp": (0o1777, 0), "home/jovyan": (0o777, 1000), "root": (0o711, 0)} == {
        path: (found[path].mode, found[path].uid) for path in ("tmp", "var/tmp", "home/jovyan", "root")
    }


def test_run_and_lock_are_links_even_when_packages_ship_directories(tmp_path: Path) -> None:
    found = tree(tmp_path, make_deb("base-files", directories=["var/run", "var/lock"]))

    assert (b"/run", b"/run/lock") == (found["var/run"].target, found["var/lock"].target)


def test_the_certificate_bundle(tmp_path: Path) -> None:
    certificates = make_deb(
        "ca-certificates",
        arch="all",
        files={
            "usr/share/ca-certificates/mozilla/Zulu.crt": b"Z",
            "usr/share/ca-certificates/mozilla/Alfa.crt": b"A\n",
            "usr/share/ca-certificates/mozilla/README": b"no",
        },
    )

    found = tree(tmp_path, certificates)

    assert "A\nZ\n" == text(found["etc/ssl/certs/ca-certificates.crt"])
    assert "mozilla/Alfa.crt\nmozilla/Zulu.crt\n" == text(found["etc/ca-certificates.conf"])


def test_login_shells_find_the_environment(tmp_path: Path) -> None:
    snippet = text(tree(tmp_path)["etc/profile.d/00-environment.sh"])

    assert snippet.startswith("PATH=/srv/env/bin:/srv/jupyter/bin:$PATH\n")


def test_shells(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        make_deb(
            "debianutils",
            files={
                "usr/share/debianutils/shells": b"# comment\n/bin/sh\n",
                "usr/share/debianutils/shells.d/bash": b"/bin/bash\n",
            },
        ),
    )

    assert ["/bin/sh", "/usr/bin/sh", "/bin/bash", "/usr/bin/bash"] == text(found["etc/shells"]).splitlines()[
        1:
    ]


PYTHON = make_deb(
    "libpython3.13-stdlib",
    files={
        "usr/lib/python3.13/json/__init__.py": b"x = 1\n",
        "usr/lib/python3.13/tests/x.py": b"",
        "usr/lib/python3.13/bad.py": b"(",
        "usr/lib/python3/other.py": b"",
    },
    links={"usr/lib/python3.13/site.py": "/etc/python3.13/site.py"},
)


def test_bytecode_of_the_standard_library(tmp_path: Path) -> None:
    asked: list[str] = []

    def compiler(sources: list[tuple[str, bytes]]) -> dict[str, bytes]:
        asked.extend(path for path, _ in sources)
        return {path: marshal.dumps(source) for path, source in sources if source != b"("}

    entries = os_entries(debs(tmp_path, PYTHON), RECIPE, arch="amd64", compile=compiler)

    assert ["/usr/lib/python3.13/bad.py", "/usr/lib/python3.13/json/__init__.py"] == asked
    assert [b"usr/lib/python3.13/json/__pycache__/__init__.cpython-313.pyc"] == [
        entry.path for entry in entries if entry.path.endswith(b".pyc")
    ]


def test_python_goes_by_all_its_names(tmp_path: Path) -> None:
    found = tree(tmp_path)

    assert (b"python3", b"python3.13") == (found["usr/bin/python"].target, found["usr/bin/python3"].target)


def packages() -> Iterator[PackageFile]:
    yield PYTHON
    yield BASE_PASSWD
    yield make_deb("a", files={"usr/bin/x": b"x"}, directories=["usr/bin"], links={"etc/x": "y"})


def test_the_same_bytes_for_the_same_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever order they come and wherever it is done; a change here needs a new recipe.VERSION."""

    class Hash:
        def __init__(self) -> None:
            self.sha256 = hashlib.sha256()

        def write(self, data: bytes) -> None:
            self.sha256.update(data)

    digests = set()
    for order in (list(packages()), list(packages())[::-1]):
        monkeypatch.chdir(tmp_path if not digests else "/")
        sink = Hash()
        made = os_entries(
            debs(tmp_path, *order),
            RECIPE,
            arch="amd64",
            compile=lambda files: {path: b"pyc" for path, _ in files},
        )
        write_tar(complete(made), sink)
        digests.add(sink.sha256.hexdigest())

    assert 1 == len(digests)


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("recipe", load_recipes(), ids=lambda recipe: recipe.name)
def test_the_real_bases(recipe: BaseRecipe, tmp_path: Path) -> None:
    """Debian's packages of today: no script nobody has read, no conflict, and everything in its place."""
    store = Store(tmp_path / "cache")
    store.prepare()
    mirrors = find_mirrors(at=datetime.now(UTC))
    locked = lock_debs(recipe, store=store, mirrors=mirrors, reporter=Silent())
    sources = Sources({"debian": mirrors.debian, "debian-security": mirrors.security})
    for platform, wanted in locked.debs.items():
        with Fetcher(store, sources) as fetcher:
            futures = [(deb, fetcher.submit(deb.artifact)) for deb in wanted]
            files = [(deb, future.result()) for deb, future in futures]
        arch = platform.removeprefix("linux/")
        entries = complete(os_entries(files, recipe, arch=arch, compile=no_bytecode))
        found = {entry.path.decode("utf-8", "surrogateescape"): entry for entry in entries}

        assert set() == {
            "bin",
            "etc/inputrc",
            "etc/nsswitch.conf",
            "etc/profile",
            "usr/bin/mawk",
            "usr/bin/less",
            "usr/bin/tini",
            "usr/bin/which.debianutils",
            f"usr/bin/python{recipe.python_minor}",
            "usr/lib/os-release",
            "usr/sbin/rmt-tar",
            "usr/share/zoneinfo/Etc/UTC",
        } - set(found)
        assert "nobody:x:65534:" in text(found["etc/passwd"])
        assert "users:x:100:" in text(found["etc/group"])
        assert 100 < text(found["etc/ssl/certs/ca-certificates.crt"]).count("BEGIN CERTIFICATE")
        assert len(wanted) == text(found["var/lib/dpkg/status"]).count("Status: install ok installed\n")
        assert [] == [path for path in found if path.startswith(("usr/share/man/", "usr/share/locale/"))]
