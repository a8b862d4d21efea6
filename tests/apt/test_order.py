from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from envbuild.apt.order import Needs, essential, groups


def test_without_pre_depends_everything_is_one_group() -> None:
    packages = {"b": Needs(after=(("a",),)), "a": Needs(after=(("b",), ("libc6",)))}

    assert [("a", "b")] == groups(packages)


def test_what_is_needed_before_comes_with_all_it_needs() -> None:
    packages = {
        "app": Needs(before=(("service",),)),
        "service": Needs(after=(("helper",),)),
        "helper": Needs(before=(("tool",),)),
        "tool": Needs(),
        "other": Needs(),
    }

    assert [("tool",), ("helper", "service"), ("app", "other")] == groups(packages)


def test_alternatives_and_virtual_packages() -> None:
    packages = {
        "app": Needs(before=(("missing", "editor"),)),
        "nano": Needs(provides=("editor",)),
        "vim": Needs(provides=("editor",)),
    }

    assert [("nano",), ("app", "vim")] == groups(packages)


def test_a_circle_ends() -> None:
    packages = {"a": Needs(before=(("b",),)), "b": Needs(before=(("a",),))}

    assert {"a", "b"} == {name for group in groups(packages) for name in group}


def test_what_is_read_of_a_control_file() -> None:
    control = {
        "Package": "dpkg",
        "Essential": "yes",
        "Pre-Depends": "libc6 (>= 2.38), libmd0:any",
        "Depends": "tar | busybox",
        "Provides": "dpkg-api (= 1)",
    }

    expected = Needs((("libc6",), ("libmd0",)), (("tar", "busybox"),), ("dpkg-api",), essential=True)
    assert expected == Needs.of(control)


def test_essential_packages_come_with_what_they_need() -> None:
    packages = {
        "dpkg": Needs(before=(("libmd0",),), essential=True),
        "libmd0": Needs(),
        "git": Needs(after=(("dpkg",),)),
    }

    assert ("dpkg", "libmd0") == essential(packages)


_NAMES = st.sampled_from("abcdefgh")
_GROUPS = st.lists(st.lists(_NAMES, min_size=1, max_size=2).map(tuple), max_size=2).map(tuple)


@given(st.dictionaries(_NAMES, st.builds(Needs, before=_GROUPS, after=_GROUPS), max_size=8))
def test_every_package_is_in_exactly_one_group(packages: dict[str, Needs]) -> None:
    found = groups(packages)

    assert sorted(packages) == sorted(name for group in found for name in group)
    assert found == groups(dict(reversed(packages.items())))
