"""What is found in an image, without running it; and why one cannot be a base."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from envbuild.image.base_config import BaseConfig
from envbuild.registry_base.elf import parse_elf
from envbuild.registry_base.inspect import Findings, inspect
from envbuild.registry_base.python import Unfit
from envbuild.registry_base.root import Root
from tests.support.base_roots import added, lay_out, slim
from tests.support.elf import make_elf, python_number

PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
LOADER = "/lib64/ld-linux-x86-64.so.2"


def look(root: Path, files: dict[str, Any], platform: str = "linux/amd64", **variables: str) -> Findings:
    config = BaseConfig(platform, {}, (), (), {**PATH, **variables})
    return inspect(Root(lay_out(files, root)), config, platform)


def without(files: dict[str, Any], *names: str) -> dict[str, Any]:
    return {path: what for path, what in files.items() if not path.startswith(names)}


def test_an_image_like_pythons_own(tmp_path: Path) -> None:
    found = look(tmp_path, slim())

    assert ("3.12.4", "/usr/local/bin/python3.12", "2.36") == (found.python, found.executable, found.glibc)
    assert ("/bin/bash", "debian bookworm") == (found.shell, found.distribution)
    assert "/etc/ssl/certs/ca-certificates.crt" == found.certificates
    assert "root:x:0:0:root:/root:/bin/bash\n" == found.passwd
    assert ["libc6"] == [package.name for package in found.packages], "not what was removed"


def test_one_for_the_other_architecture(tmp_path: Path) -> None:
    assert "3.13.1" == look(tmp_path, slim("3.13.1", platform="linux/arm64"), "linux/arm64").python


def test_one_without_dpkg_bash_and_authorities(tmp_path: Path) -> None:
    found = look(tmp_path, without(slim(), "usr/bin/dpkg", "bin/bash", "etc/ssl"))

    assert ("/bin/sh", "", "", ()) == (found.shell, found.distribution, found.certificates, found.packages)


@pytest.mark.parametrize("library", ["libgcc_s.so.1", "libstdc++.so.6"])
def test_libraries_that_wheels_take_for_granted_have_to_be_there(tmp_path: Path, library: str) -> None:
    with pytest.raises(Unfit, match="expect of every system") as caught:
        look(tmp_path, without(slim(), f"usr/lib64/{library}"))

    assert "base-lacks-library" == caught.value.code
    assert f"has no {library}, which" in caught.value.reason


def test_libraries_may_be_where_only_the_loaders_cache_says(tmp_path: Path) -> None:
    files = without(slim(), "usr/lib64/libgcc_s", "usr/lib64/libstdc")
    cache = b"glibc-ld.so.cache1.1\0libgcc_s.so.1\0/opt/libgcc_s.so.1\0libstdc++.so.6\0/opt/libstdc++.so.6\0"

    assert "3.12.4" == look(tmp_path, added(files, **{"etc__ld.so.cache": cache})).python


def test_authorities_as_fedora_has_them(tmp_path: Path) -> None:
    files = added(without(slim(), "etc/ssl"), etc__pki__tls__certs="ca")
    files["etc/pki/tls/ca/ca-bundle.crt"] = b"authority"

    assert "/etc/pki/tls/certs/ca-bundle.crt" == look(tmp_path, files).certificates


class TestWhichPython:
    def test_the_first_on_path(self, tmp_path: Path) -> None:
        files = added(slim(), opt__venv__bin__python3="/usr/local/bin/python3")

        assert "/usr/local/bin/python3.12" == look(tmp_path, files, PATH="/opt/venv/bin:/usr/bin").executable

    def test_through_links_that_stay_inside(self, tmp_path: Path) -> None:
        """An absolute one starts at the image's root, and ``..`` ends there."""
        files = added(slim(), usr__bin__python3="/etc/alternatives/python3")
        files["etc/alternatives/python3"] = "../../../../usr/local/bin/python3.12"

        assert "/usr/local/bin/python3.12" == look(tmp_path, files, PATH="/usr/bin").executable

    def test_a_program_that_has_all_of_it(self, tmp_path: Path) -> None:
        files = slim()
        files["usr/local/bin/python3.12"] = make_elf(
            interpreter=LOADER, numbers={"Py_Version": python_number("3.12.7")}
        )

        assert "3.12.7" == look(tmp_path, files).python

    def test_before_3_11_it_is_the_text_it_answers_with(self, tmp_path: Path) -> None:
        """Which the linker may have made the end of another text."""
        files = slim("3.10.13")
        files["usr/local/lib/libpython3.10.so.1.0"] = make_elf(
            text=b"\0/opt/versions/3.10.13\0/opt/versions/3.10.2/lib\0Python-3.10.4 \0"
        )

        assert "3.10.13" == look(tmp_path, files).python

    def test_of_several_texts_none_is_believed_but_the_header_file(self, tmp_path: Path) -> None:
        files = slim("3.10.13")
        files["usr/local/lib/libpython3.10.so.1.0"] = make_elf(text=b"\0003.10.1\0003.10.2\0")
        with pytest.raises(Unfit, match="does not tell which it is"):
            look(tmp_path / "one", files)

        files["usr/local/include/python3.10/patchlevel.h"] = b'#define PY_VERSION   "3.10.9"\n'
        assert "3.10.9" == look(tmp_path / "other", files).python

    def test_what_the_image_says_of_itself_is_not_believed(self, tmp_path: Path) -> None:
        assert "3.12.4" == look(tmp_path, slim(), PYTHON_VERSION="3.13.9").python

    def test_its_library_is_found_where_it_says(self, tmp_path: Path) -> None:
        files = slim()
        files["opt/here/libpython3.12.so.1.0"] = files.pop("usr/local/lib/libpython3.12.so.1.0")
        files["usr/local/bin/python3.12"] = make_elf(
            interpreter=LOADER, needed=("libpython3.12.so.1.0",), search="$ORIGIN/../../../opt/here"
        )

        assert "3.12.4" == look(tmp_path, files).python


UNFIT: dict[str, tuple[dict[str, Any], str, str]] = {
    "musl": (
        added(slim(), usr__local__bin__python3_12=b"")
        | {"usr/local/bin/python3.12": make_elf(interpreter="/lib/ld-musl-x86_64.so.1")},
        "base-musl",
        "has musl as its C library",
    ),
    "no Python": (without(slim(), "usr/local/bin"), "base-no-python", "no Python 3 on its PATH"),
    "Python 2": (
        without(slim(), "usr/local/bin")
        | {"usr/bin/python": "python2.7", "usr/bin/python2.7": make_elf(interpreter=LOADER)},
        "base-no-python",
        "no Python 3",
    ),
    "a script": (
        without(slim(), "usr/local/bin") | {"usr/bin/python3": b"#!/bin/sh\nexec pyenv\n"},
        "base-no-python",
        "/usr/bin/python3 is no program",
    ),
    "PyPy": (
        without(slim(), "usr/local/bin")
        | {"usr/bin/python3": "pypy3.10", "usr/bin/pypy3.10": make_elf(interpreter=LOADER)},
        "base-other-python",
        "its python3 is pypy3.10",
    ),
    "without the lock": (
        without(slim(), "usr/local/bin")
        | {"usr/bin/python3": "python3.13t", "usr/bin/python3.13t": make_elf(interpreter=LOADER)},
        "base-other-python",
        "its python3 is python3.13t",
    ),
    "a release candidate": (
        slim()
        | {
            "usr/local/lib/libpython3.12.so.1.0": make_elf(
                numbers={"Py_Version": python_number("3.12.0", level=0xC)}
            )
        },
        "base-python-unreleased",
        "Python 3.12.0 before its release",
    ),
    "another than its name": (
        slim()
        | {"usr/local/lib/libpython3.12.so.1.0": make_elf(numbers={"Py_Version": python_number("3.9.1")})},
        "base-python-unknown",
        "says it is 3.9.1",
    ),
    "an old one": (
        slim("3.7.9") | {"usr/local/lib/libpython3.7.so.1.0": make_elf(text=b"\0003.7.9\0")},
        "base-python-old",
        "Python 3.7.9, which is too old",
    ),
    "half a standard library": (
        without(slim(), "usr/local/lib/python3.12/asyncio"),
        "base-python-incomplete",
        "without the module asyncio",
    ),
    "no standard library": (
        without(slim(), "usr/local/lib/python3.12"),
        "base-python-incomplete",
        "no standard library at /usr/local/lib/python3.12",
    ),
    "no C library": (without(slim(), "lib64"), "base-no-glibc", "no GNU C library"),
    "a static Python": (
        slim() | {"usr/local/bin/python3.12": make_elf()},
        "base-no-glibc",
        "linked statically",
    ),
    "no shell": (without(slim(), "bin"), "base-no-shell", "has no /bin/sh"),
    "home elsewhere": (added(slim(), home="var/home", var__home=None), "base-unusual-layout", "at /home"),
    "a path with odd characters": (
        without(slim(), "usr/local/bin")
        | {
            "usr/bin/python3": "../local/o dd/python3.12",
            "usr/local/o dd/python3.12": make_elf(
                interpreter=LOADER, numbers={"Py_Version": python_number("3.12.4")}
            ),
        },
        "base-python-private",
        "unusual characters",
    ),
    "links that end nowhere": (
        without(slim(), "usr/local/bin") | {"usr/bin/python3": "python", "usr/bin/python": "python3"},
        "base-no-python",
        "no Python 3",
    ),
}


@pytest.mark.parametrize(("files", "code", "reason"), UNFIT.values(), ids=UNFIT.keys())
def test_why_an_image_cannot_be_a_base(tmp_path: Path, files: dict[str, Any], code: str, reason: str) -> None:
    with pytest.raises(Unfit) as caught:
        look(tmp_path, files)

    assert code == caught.value.code
    assert reason in caught.value.reason
    assert caught.value.remedy


def test_one_that_lies_about_its_architecture(tmp_path: Path) -> None:
    with pytest.raises(Unfit, match="says it is for linux/amd64, and its Python is not"):
        look(tmp_path, slim(platform="linux/arm64"), "linux/amd64")


def test_a_python_in_roots_home_is_of_no_use_to_others(tmp_path: Path) -> None:
    lay_out(slim(), tmp_path)
    (tmp_path / "usr/local").chmod(0o700)

    with pytest.raises(Unfit) as caught:
        inspect(Root(tmp_path), BaseConfig("linux/amd64", {}, (), (), PATH), "linux/amd64")

    assert "base-python-private" == caught.value.code


class TestRoot:
    def test_nothing_outside_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("mine")
        root = tmp_path / "root"
        lay_out({"up": "../secret", "absolute": str(tmp_path / "secret"), "etc/x": "../../../secret"}, root)

        for path in ("/up", "/absolute", "/etc/x", "/../secret", "/etc/../../secret"):
            assert Root(root).read(path, 100) is None

    def test_what_is_too_large_is_not_read(self, tmp_path: Path) -> None:
        lay_out({"a": b"12345"}, tmp_path)

        assert (None, b"12345") == (Root(tmp_path).read("/a", 4), Root(tmp_path).read("/a", 5))

    def test_a_pipe_is_not_opened(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")

        assert Root(tmp_path).read("/pipe", 100) is None


class TestElf:
    def test_half_a_file_is_no_reason_to_fail(self) -> None:
        whole = make_elf(interpreter=LOADER, needed=("a", "b"), search="/x", numbers={"Py_Version": 5})
        found = [parse_elf(whole[:cut]) for cut in range(len(whole) + 1)]

        assert {5} == {elf.number("Py_Version") for elf in found[-1:] if elf is not None}
        assert {None, 5} >= {elf.number("Py_Version") for elf in found if elf is not None}
        assert found[len(whole) // 2] is None

    def test_nonsense_is_no_reason_to_fail(self) -> None:
        whole = make_elf(interpreter=LOADER, needed=("a",), numbers={"Py_Version": 5})
        damaged = [whole[:place] + b"\xff" * 8 + whole[place + 8 :] for place in range(16, len(whole) - 8)]
        found = [parse_elf(data) for data in damaged]

        assert any(elf is None for elf in found)
        assert 5 in {elf.number("Py_Version") for elf in found if elf is not None}

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads this machine's own programs")
    def test_this_machines_python_and_what_it_says_itself(self) -> None:
        """Debian's has the number in its program; many others in a library."""
        real = Path(os.path.realpath(sys.executable))
        found = parse_elf(real.read_bytes())
        assert found is not None
        places = [real]
        if (name := next((n for n in found.needed if n.startswith("libpython3")), None)) is not None:
            linked = subprocess.run(["ldd", real], capture_output=True, text=True, check=True).stdout
            places.append(Path(next(line.split()[2] for line in linked.splitlines() if name in line)))

        numbers = [elf.number("Py_Version") for place in places if (elf := parse_elf(place.read_bytes()))]

        assert sys.hexversion in numbers
