"""The difference of two locks: nothing for equal ones, everything for others, the same both ways."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from envbuild.lock.difference import Change, lock_difference
from envbuild.lock.model import Artifact, Base, BaseImage, Built, CondaPackage, Deb, Lock, Target, Wheel
from tests.support.base_images import platform_image
from tests.support.locks import PLATFORM, small_lock, small_wheel

OTHER = "linux/arm64"

# Few values of each, so that two locks often have things in common.
words = st.sampled_from(["a", "b", "c"])
versions = st.sampled_from(["1", "2"])
artifacts = st.builds(
    Artifact,
    filename=words,
    sha256=words,
    size=st.integers(1, 2),
    source=words,
    path=st.sampled_from(["", "x"]),
)
wheels = st.builds(Wheel, name=words, version=versions, artifact=artifacts, layer=words, direct=st.booleans())
debs = st.builds(Deb, name=words, version=versions, arch=words, artifact=artifacts, direct=st.booleans())
conda = st.builds(
    CondaPackage, name=words, version=versions, build=versions, subdir=words, artifact=artifacts, layer=words
)
built = st.builds(
    Built,
    name=words,
    kind=st.sampled_from(["sdist", "vcs", "url", "path"]),
    location=words,
    commit=st.sampled_from(["", "0" * 40]),
    archive=st.none() | artifacts,
    requires=st.lists(wheels, max_size=1).map(tuple),
)


def several(packages):
    """Sorted, each name once: what a lock file can hold."""
    return st.lists(packages, max_size=3, unique_by=lambda package: package.name).map(
        lambda found: tuple(sorted(found, key=lambda package: package.name))
    )


def by_platform(values):
    return st.dictionaries(st.sampled_from([PLATFORM, OTHER]), values)


pairs = st.dictionaries(words, words, max_size=2).map(lambda found: tuple(sorted(found.items())))
images = st.builds(
    BaseImage,
    reference=words,
    digest=words,
    platforms=st.dictionaries(
        st.sampled_from([PLATFORM, OTHER]), words.map(lambda shell: platform_image(shell=shell)), max_size=1
    ),
)
bases = st.builds(
    Base,
    recipe=words,
    suite=words,
    python=versions,
    glibc=versions,
    debs=by_platform(several(debs)),
    server=by_platform(several(wheels)),
    date=versions,
    image=st.none() | images,
)
targets = by_platform(st.tuples(several(wheels), several(conda), several(debs), several(built))).map(
    lambda found: tuple(Target(platform, *parts) for platform, parts in sorted(found.items()))
)
locks = st.builds(
    Lock,
    name=words,
    display_name=words,
    inputs=words,
    cutoff=versions,
    kernels=st.lists(words, unique=True, max_size=2).map(sorted).map(tuple),
    recipe=st.integers(1, 2),
    resolver=words,
    base=bases,
    targets=targets,
    other_kernels=pairs,
    variables=pairs,
)


def _swapped(change: Change) -> Change:
    return replace(change, before=change.after, after=change.before)


@given(locks)
def test_a_lock_does_not_differ_from_itself(lock: Lock) -> None:
    assert () == lock_difference(lock, lock)


@given(locks, locks)
def test_locks_that_are_not_equal_have_a_change(one: Lock, two: Lock) -> None:
    assert (one != two) == bool(lock_difference(one, two))


@given(locks, locks)
def test_the_way_back_is_the_way_there_turned_round(one: Lock, two: Lock) -> None:
    there, back = lock_difference(one, two), lock_difference(two, one)

    assert set(map(_swapped, there)) == set(back)
    assert len(there) == len(back) == len(set(there))


@given(locks, locks)
def test_one_platform_is_a_part_of_all(one: Lock, two: Lock) -> None:
    """What is said about one platform is also said when no platform is named."""
    everything = lock_difference(one, two)

    for change in lock_difference(one, two, [PLATFORM]):
        if change.kind == "platform":
            continue  # with what is there for this one
        assert any(
            replace(other, platforms=()) == replace(change, platforms=())
            and set(change.platforms) <= set(other.platforms)
            for other in everything
        )


def test_packages_are_added_removed_and_changed() -> None:
    before = small_lock(small_wheel("numpy", "2.0"), small_wheel("six", "1.0"))
    after = small_lock(small_wheel("numpy", "2.1"), small_wheel("scipy", "1.9"))
    numpy = after.targets[0].wheels[0]
    after = replace(
        after,
        targets=(
            Target(PLATFORM, (replace(numpy, artifact=_other(numpy.artifact)), *after.targets[0].wheels[1:])),
        ),
    )

    assert (
        Change("wheel", "numpy", "2.0", "2.1", (PLATFORM,)),
        Change("wheel", "scipy", None, "1.9", (PLATFORM,)),
        Change("wheel", "six", "1.0", None, (PLATFORM,)),
    ) == lock_difference(before, after)


def _other(artifact: Artifact) -> Artifact:
    return replace(artifact, sha256="ab" * 32)


def test_another_file_of_the_same_version_is_told_apart_by_its_hash() -> None:
    wheel = small_wheel("numpy", "2.0")
    before, after = small_lock(wheel), small_lock(replace(wheel, artifact=_other(wheel.artifact)))

    assert (
        Change("wheel", "numpy", "2.0 (file 000000000000)", "2.0 (file abababababab)", (PLATFORM,)),
    ) == lock_difference(before, after)


def test_what_changes_no_file_is_a_detail() -> None:
    wheel = small_wheel("numpy", "2.0")
    moved = replace(wheel, layer="bucket-03", direct=True)

    assert (
        Change("detail", "numpy: direct", "False", "True", (PLATFORM,)),
        Change("detail", "numpy: layer", "numpy", "bucket-03", (PLATFORM,)),
    ) == lock_difference(small_lock(wheel), small_lock(moved))


def test_settings_kernels_variables_and_the_base() -> None:
    before = small_lock()
    after = replace(
        before,
        kernels=("geo",),
        other_kernels=(("ir", "r"),),
        variables=(("MODE", "fast"),),
        base=replace(before.base, python="3.11.4"),
    )

    assert (
        Change("setting", "Python", "3.11.2", "3.11.4"),
        Change("kernel", "geo", None, "python"),
        Change("kernel", "ir", None, "r"),
        Change("variable", "MODE", None, "fast"),
    ) == lock_difference(before, after)


def test_a_platform_that_only_one_has_is_named_and_not_listed() -> None:
    before = small_lock(small_wheel("numpy", "2.0"))
    after = replace(before, targets=(*before.targets, Target(OTHER, before.targets[0].wheels)))

    assert (Change("platform", OTHER, None, "environment"),) == lock_difference(before, after)


def test_the_same_change_on_two_platforms_is_one() -> None:
    before = small_lock(small_wheel("numpy", "2.0"))
    before = replace(before, targets=(before.targets[0], replace(before.targets[0], platform=OTHER)))
    after = replace(before, targets=tuple(replace(target, wheels=()) for target in before.targets))

    assert (Change("wheel", "numpy", "2.0", None, (PLATFORM, OTHER)),) == lock_difference(before, after)


def test_what_a_package_is_built_from() -> None:
    one = Built("tool", "vcs", "https://example.org/tool", commit="a" * 40)
    two = replace(one, commit="b" * 40)
    before, after = small_lock(), small_lock()
    before = replace(before, targets=(replace(before.targets[0], built=(one,)),))
    after = replace(after, targets=(replace(after.targets[0], built=(two,)),))

    assert (
        Change(
            "built",
            "tool",
            "vcs https://example.org/tool at aaaaaaaaaaaa",
            "vcs https://example.org/tool at bbbbbbbbbbbb",
            (PLATFORM,),
        ),
    ) == lock_difference(before, after)
