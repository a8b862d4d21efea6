"""The lock file: the same lock gives the same bytes, and nothing impossible is read."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from envbuild.errors import RepoError
from envbuild.lock.lockfile import dump_lock, load_lock
from envbuild.lock.model import Artifact, Base, Deb, Lock, Target, Wheel
from tests.support.base_images import lock_on_image, platform_image

SHA = "ab" * 32
INPUTS = "sha256:" + "cd" * 32


def wheel(name: str = "six", version: str = "1.17.0", **changes: Any) -> Wheel:
    filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    artifact = {
        "filename": filename,
        "sha256": SHA,
        "size": 11050,
        "source": "pypi",
        "path": f"packages/{filename}",
    }
    return Wheel(name, version, Artifact(**{**artifact, **changes}), layer="bucket-01")


def deb(name: str = "libc6", version: str = "2.36-9+deb12u13", arch: str = "amd64") -> Deb:
    filename = f"{name}_{version.partition(':')[2] or version}_{arch}.deb"
    return Deb(name, version, arch, Artifact(filename, SHA, 2758356, "debian", f"pool/main/g/{filename}"))


def lock(**changes: Any) -> Lock:
    values: dict[str, Any] = {
        "name": "demo",
        "display_name": "Demo",
        "inputs": INPUTS,
        "cutoff": "2026-11-20T12:00:00Z",
        "kernels": ("conda-env",),
        "recipe": 1,
        "resolver": "uv",
        "base": Base(
            "python-3.11",
            "bookworm",
            "3.11.2",
            "2.36",
            {"linux/amd64": (deb(), deb("tini", "1:0.19.0-1")), "linux/arm64": (deb(arch="arm64"),)},
            {"linux/amd64": (wheel("jupyterlab", "4.5.0"),)},
            "2026-11-19T12:00:00Z",
        ),
        "targets": (Target("linux/amd64", (wheel(), wheel("zipp", "3.0"))),),
    }
    return Lock(**{**values, **changes})


def test_a_lock_survives_being_written_and_read() -> None:
    assert lock() == load_lock(dump_lock(lock()))


def test_the_order_in_which_things_were_found_does_not_show() -> None:
    shuffled = lock(targets=(Target("linux/amd64", (wheel("zipp", "3.0"), wheel())),))
    assert dump_lock(lock()) == dump_lock(shuffled)


def test_one_line_per_artifact() -> None:
    lines = dump_lock(lock()).decode().splitlines()
    assert 6 == sum("sha256 =" in line for line in lines)
    (line,) = [line for line in lines if '"six"' in line]
    assert line == (
        '    { name = "six", version = "1.17.0", layer = "bucket-01", source = "pypi", '
        'path = "packages/six-1.17.0-py3-none-any.whl", size = 11050, '
        f'sha256 = "{SHA}" }},'
    )


def test_a_file_name_that_is_not_the_paths_last_part_is_written() -> None:
    odd = lock(targets=(Target("linux/amd64", (wheel(path="download/1234"), wheel("zipp", "3.0", path=""))),))
    assert odd == load_lock(dump_lock(odd))
    assert 2 == dump_lock(odd).decode().count("filename =")


def test_a_local_version_is_percent_encoded_in_the_path_only() -> None:
    torch = wheel("torch", "2.9.0+cpu", path="whl/torch-2.9.0%2Bcpu-py3-none-any.whl")
    local = lock(targets=(Target("linux/amd64", (torch,)),))
    assert local == load_lock(dump_lock(local))
    assert "filename" not in dump_lock(local).decode()


names = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+){0,3}", fullmatch=True).filter(lambda name: len(name) < 40)
versions = st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,3}){0,3}((a|rc)[0-9])?(\.post[0-9])?", fullmatch=True)
wheels = st.builds(
    lambda name, version, size, layer, direct: Wheel(
        name, version, wheel(name, version, size=size).artifact, layer or name, direct
    ),
    names,
    versions,
    st.integers(1, 1 << 40),
    st.sampled_from(["", "bucket-00", "direct-03"]),
    st.booleans(),
)
wheel_lists = st.lists(wheels, max_size=6, unique_by=lambda wheel: wheel.name).map(
    lambda list: tuple(sorted(list))
)


@given(
    wheel_lists,
    wheel_lists,
    st.text(),
    st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]*", fullmatch=True)),
)
def test_any_lock_survives(
    server: tuple[Wheel, ...], user: tuple[Wheel, ...], display_name: str, kernels: list[str]
) -> None:
    full = lock(
        display_name=display_name.encode("utf-8", "replace").decode(),
        kernels=tuple(sorted(kernels)),
        base=replace(lock().base, server={"linux/amd64": server}),
        targets=(Target("linux/amd64", user),),
    )
    assert full == load_lock(dump_lock(full))


@given(st.binary())
def test_any_bytes_give_a_lock_or_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(RepoError):
        load_lock(data)


@given(st.data())
def test_a_damaged_lock_gives_a_lock_or_one_kind_of_error(data: st.DataObject) -> None:
    whole = dump_lock(lock())
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 80)))
    try:
        load_lock(whole[:start] + data.draw(st.binary(max_size=8)) + whole[end:])
    except RepoError as error:
        assert error.code in ("bad-lock", "lock-too-new")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("version = 1\n", "version = 2\n", "format 2"),
        ("version = 1\n", 'version = "1"\n', "version must be a number"),
        ("version = 1\n", "version = true\n", "version must be a number"),
        ("version = 1\n", "", "version is missing"),
        ('resolver = "uv"\n', 'resolver = "uv"\nextra = 1\n', "unknown key 'extra'"),
        ("recipe = 1\n", "recipe = -1\n", "recipe has an impossible value"),
        ('name = "demo"', 'name = "../demo"', "name has an impossible value"),
        ('"conda-env"', '"../../etc"', "kernels has an impossible value"),
        (INPUTS, "sha256:abc", "inputs has an impossible value"),
        ("2026-11-20T12:00:00Z", "yesterday", "cutoff has an impossible value"),
        ("2026-11-19T12:00:00Z", "yesterday", "date has an impossible value"),
        ('python = "3.11.2"', 'python = "3.11"', "python has an impossible value"),
        ('suite = "bookworm"', 'suite = "-o evil"', "suite has an impossible value"),
        ('platform = "linux/amd64"', 'platform = "windows/amd64"', "unknown platform 'windows/amd64'"),
        ('platform = "linux/amd64"', 'platform = "linux/arm64"', "base has nothing for linux/arm64"),
        ('source = "debian"', 'source = "https://example.org"', "source has an impossible value"),
        ('{ name = "six"', '{ name = "Six"', "is not normalised"),
        ('{ name = "six"', '{ name = "sax"', "is not a wheel of sax 1.17.0"),
        ('version = "1.17.0"', 'version = "1.16.0"', "is not a wheel of six 1.16.0"),
        ('version = "1.17.0"', 'version = "nonsense!"', "is not a wheel of six"),
        ('layer = "bucket-01"', 'layer = "../x"', "layer has an impossible value"),
        ('layer = "bucket-01", ', "", "layer is missing"),
        ("size = 11050", "size = 0", "size has an impossible value"),
        ("size = 11050", 'size = "11050"', "size must be a number"),
        ("size = 11050", "size = 99999999999999999", "size has an impossible value"),
        (SHA, SHA.upper(), "sha256 has an impossible value"),
        (SHA, SHA[:-1], "sha256 has an impossible value"),
        ("packages/six", "https://example.org/six", "path has an impossible value"),
        ("packages/six", "/packages/six", "path has an impossible value"),
        ("packages/six", "packages/../six", "path has an impossible value"),
        ("packages/six", "packages/%2e%2E/six", "path has an impossible value"),
        ("packages/six", "packages/%2Fetc/six", "path has an impossible value"),
        ("packages/six", "--output=x/six", "path has an impossible value"),
        ("packages/six", "packages//six", "path has an impossible value"),
        ("packages/six", "packages/a b/six", "path has an impossible value"),
        ("packages/six", "packages/six?x=1#", "path has an impossible value"),
        ("packages/six-1.17.0-py3-none-any.whl", "packages/six-1.17.0.tar.gz", "is not a wheel of six"),
        ("packages/six-1.17.0-py3-none-any.whl", "packages/six", "is not a wheel of six"),
        ("libc6_2.36-9+deb12u13_amd64.deb", "libc6_2.35_amd64.deb", "is not a package of libc6"),
        ('arch = "amd64"', 'arch = "arm64"', "is not a package of libc6"),
        ('version = "2.36-9+deb12u13"', 'version = "$(evil)"', "version has an impossible value"),
        ('{ name = "zipp", version = "3.0"', '{ name = "six", version = "3.0"', "is not a wheel of six 3.0"),
        ("[base.server]", "[base.servers]", "server is missing"),
        ("[[target]]", "[target]", "target must be a list of tables"),
    ],
)
def test_the_impossible_is_refused_with_its_place(old: str, new: str, words: str) -> None:
    text = dump_lock(lock()).decode()
    assert old in text
    with pytest.raises(RepoError, match=re.escape(words)) as caught:
        load_lock(text.replace(old, new).encode(), "envbuild.lock")
    assert "envbuild.lock" == caught.value.file
    assert caught.value.remedy


def test_the_line_of_a_bad_artifact_is_named() -> None:
    data = dump_lock(lock()).decode().replace("size = 11050", "size = 0", 1)
    with pytest.raises(RepoError) as caught:
        load_lock(data.encode())
    line = data.splitlines()[(caught.value.line or 0) - 1]
    assert SHA in line


def test_a_package_may_be_locked_once() -> None:
    twice = lock(targets=(Target("linux/amd64", (wheel(), wheel(version="1.16.0"))),))
    with pytest.raises(RepoError, match="six is there more than once"):
        load_lock(dump_lock(twice))


def test_a_lock_of_a_newer_envbuild_says_what_to_do() -> None:
    with pytest.raises(RepoError) as caught:
        load_lock(b"# comment\nversion = 7\n")
    assert ("lock-too-new", 2, "upgrade envbuild") == (
        caught.value.code,
        caught.value.line,
        caught.value.remedy,
    )


def test_broken_toml_is_reported_with_its_line() -> None:
    with pytest.raises(RepoError) as caught:
        load_lock(b"version = 1\n\nname =\n")
    assert ("bad-lock", 3) == (caught.value.code, caught.value.line)


def test_a_lock_too_deep_to_read_is_an_error() -> None:
    with pytest.raises(RepoError, match="nested too deeply"):
        load_lock(b"x = " + b"[" * 100_000)


def test_what_is_written_is_toml_for_any_reader() -> None:
    table = tomli.loads(dump_lock(lock(display_name='a "quoted"\nname\x7f\\ ☃ 🎉')).decode())
    assert 'a "quoted"\nname\x7f\\ ☃ 🎉' == table["display-name"]


def test_variables_survive() -> None:
    made = lock(variables=(("A", 'b = { "c" }\\'), ("EMPTY", "")))

    assert made == load_lock(dump_lock(made))


@pytest.mark.parametrize("row", ['"PATH" = "/mine"', '"LD_PRELOAD" = "x"', '"A=B" = "c"', r'"A" = "b\nc"'])
def test_a_lock_sets_no_variable_that_an_environment_file_may_not(row: str) -> None:
    data = dump_lock(lock(variables=(("A", "b"),)))
    line = data[: data.index(b"variables =")].count(b"\n") + 1

    with pytest.raises(RepoError) as caught:
        load_lock(data.replace(b'"A" = "b"', row.encode()))

    assert ("bad-lock", line) == (caught.value.code, caught.value.line)


class TestImagesOfRegistries:
    def test_a_lock_on_an_image_survives(self) -> None:
        lock = lock_on_image()

        assert lock == load_lock(dump_lock(lock))

    def test_what_there_is_nothing_of_is_left_out(self) -> None:
        image = platform_image(certificates="", distribution="", passwd="", group="", variables=())
        written = dump_lock(lock_on_image(image)).decode()

        assert lock_on_image(image) == load_lock(written.encode())
        assert not re.search("certificates|distribution|passwd|variables", written)

    def test_the_image_is_named_in_place_of_a_recipe(self) -> None:
        lines = dump_lock(lock_on_image()).decode().splitlines()
        start = lines.index("[base]")

        assert 'image = "registry.example.org/team/python:3.12"' == lines[start + 1]
        assert lines[start + 2].startswith('digest = "sha256:')
        assert not [line for line in lines if line.startswith('recipe = "')]

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ('python = "/usr/local', 'python = "/usr/../local', "python has an impossible value"),
            ('python = "/usr/local', 'python = "usr/local', "python has an impossible value"),
            ('shell = "/bin/bash"', 'shell = "/bin/evil"', "shell has an impossible value"),
            ("python:3.12", "python", "image has an impossible value"),
            ("diff.tar.gzip", "diff.tar.xz", "media-type has an impossible value"),
            ('passwd = "root', 'passwd = "\\u0007root', "passwd has an impossible value"),
            ('"LANG" =', '"PYTHONPATH" =', "a variable cannot be set"),
            ("raw-size = 5000", "raw-size = -1", "raw-size has an impossible value"),
            ('[base.platforms."linux/amd64"]', '[base.platforms."linux/arm64"]', "base has nothing for"),
        ],
    )
    def test_the_impossible_is_refused(self, old: str, new: str, words: str) -> None:
        written = dump_lock(lock_on_image()).decode()
        assert old in written

        with pytest.raises(RepoError, match=words) as caught:
            load_lock(written.replace(old, new, 1).encode())

        assert "bad-lock" == caught.value.code

    def test_more_layers_than_fit_are_refused(self) -> None:
        layers = platform_image().layers * 31

        with pytest.raises(RepoError, match="it has 62 layers"):
            load_lock(dump_lock(lock_on_image(platform_image(layers=layers))))
