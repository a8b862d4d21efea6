from __future__ import annotations

import sys

import pytest
from packaging.markers import Marker, default_environment
from packaging.pylock import PackageWheel
from packaging.tags import sys_tags

from envbuild.lock.select import best_wheel, marker_environment, target_tags


def wheel(filename: str) -> PackageWheel:
    return PackageWheel(name=filename, url=f"https://example.org/{filename}", hashes={"sha256": "0" * 64})


def choose(
    *tags: str, platform: str = "linux/amd64", python: str = "3.11.2", glibc: str = "2.36"
) -> str | None:
    """The tag of the wheel chosen among ``tags``."""
    wheels = [wheel(f"demo-1.0-{tag}.whl") for tag in tags]
    best = best_wheel(wheels, target_tags(python, platform, glibc))
    return None if best is None else best.filename.removeprefix("demo-1.0-").removesuffix(".whl")


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        (["py3-none-any", "cp311-cp311-manylinux_2_17_x86_64"], "cp311-cp311-manylinux_2_17_x86_64"),
        (["py2.py3-none-any"], "py2.py3-none-any"),
        (["cp39-abi3-manylinux2014_x86_64"], "cp39-abi3-manylinux2014_x86_64"),
        (
            ["cp39-abi3-manylinux_2_28_x86_64", "cp311-cp311-manylinux1_x86_64"],
            "cp311-cp311-manylinux1_x86_64",
        ),
        (
            ["cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-manylinux_2_36_x86_64"],
            "cp311-cp311-manylinux_2_36_x86_64",
        ),
        (["cp311-cp311-manylinux_2_37_x86_64"], None),
        (["cp311-cp311-manylinux_2_17_aarch64"], None),
        (["cp311-cp311-musllinux_1_2_x86_64"], None),
        (["cp312-cp312-manylinux_2_17_x86_64"], None),
        (["cp312-abi3-manylinux_2_17_x86_64"], None),
        (["cp311-cp311-win_amd64", "cp311-cp311-macosx_11_0_arm64"], None),
        (["cp311-cp311-linux_x86_64"], "cp311-cp311-linux_x86_64"),
        (["py3-none-manylinux2010_x86_64"], "py3-none-manylinux2010_x86_64"),
        (["1-py3-none-any", "2-py3-none-any", "py3-none-any"], "2-py3-none-any"),
        ([], None),
    ],
)
def test_the_best_wheel_for_bookworm_on_amd64(offered: list[str], expected: str | None) -> None:
    assert expected == choose(*offered)
    assert expected == choose(*reversed(offered))


def test_arm_has_no_policies_older_than_2_17() -> None:
    assert (
        choose("cp311-cp311-manylinux2014_aarch64", platform="linux/arm64")
        == "cp311-cp311-manylinux2014_aarch64"
    )
    assert choose("cp311-cp311-manylinux_2_12_aarch64", platform="linux/arm64") is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="compares with the tags of a Linux")
def test_for_the_host_the_tags_are_those_of_packaging() -> None:
    """Ours are computed for any target; for this very interpreter packaging knows the answer."""
    own = [str(tag) for tag in sys_tags()]
    newest = next(tag for tag in own if "manylinux_2_" in tag)
    glibc = "2." + newest.split("manylinux_2_")[1].split("_")[0]
    platform = "linux/amd64" if newest.endswith("x86_64") else "linux/arm64"
    python = ".".join(str(part) for part in sys.version_info[:3])
    assert own == [str(tag) for tag in target_tags(python, platform, glibc)]


def test_the_marker_environment_has_every_variable() -> None:
    assert set(default_environment()) == set(marker_environment("3.11.2", "linux/arm64"))


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("platform_machine == 'aarch64'", True),
        ("sys_platform == 'linux' and os_name == 'posix'", True),
        ("python_version < '3.12' and python_full_version >= '3.11.2'", True),
        ("python_full_version >= '3.11.3'", False),
        ("platform_system == 'Windows'", False),
        ("implementation_name == 'cpython'", True),
    ],
)
def test_markers_are_those_of_the_target(marker: str, expected: bool) -> None:
    assert expected is Marker(marker).evaluate(marker_environment("3.11.2", "linux/arm64"))
