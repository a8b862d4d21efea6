"""Planning: within the budget, in order of use, everything shared counted once, whatever there is to plan."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from envbuild.fleet.model import Pool
from envbuild.image.reference import Reference
from envbuild.warm.planner import Piece, PoolPlan, WarmImage, plan_pool

_PIECES = tuple(Piece(f"sha256:{number:064x}", 10 + 7 * number) for number in range(12))


def image(
    name: str,
    contents: tuple[Piece, ...],
    snapshots: tuple[Piece, ...] = (),
    launches: int = 0,
    previous: bool = False,
) -> WarmImage:
    reference = Reference("registry.example.org", name, None, "sha256:" + "0" * 64)
    return WarmImage(reference, (name,), launches, contents, snapshots, previous=previous)


@st.composite
def _images(draw: st.DrawFn) -> list[WarmImage]:
    pieces = st.sets(st.sampled_from(_PIECES), max_size=6).map(
        lambda found: tuple(sorted(found, key=lambda piece: piece.digest))
    )
    return [
        image(f"env{number}", draw(pieces), draw(pieces), draw(st.integers(0, 3)), draw(st.booleans()))
        for number in range(draw(st.integers(0, 8)))
    ]


def _disk(images: list[WarmImage]) -> int:
    """What ``images`` take, by a way of its own: contents and snapshots each once."""
    contents = {piece for one in images for piece in one.contents}
    snapshots = {piece for one in images for piece in one.snapshots}
    return sum(piece.size for piece in contents) + sum(piece.size for piece in snapshots)


def _pool(disk: int | None) -> Pool:
    return Pool("pool", disk=disk)


def _kept(plan: PoolPlan) -> list[WarmImage]:
    return [planned.image for planned in plan.images]


@given(_images(), st.one_of(st.none(), st.integers(0, 1500)))
def test_never_more_than_the_budget_and_shared_things_once(images: list[WarmImage], disk: int | None) -> None:
    plan = plan_pool(_pool(disk), images)

    assert _disk(_kept(plan)) == plan.disk
    assert sum(piece.size for piece in {p for one in _kept(plan) for p in one.contents}) == plan.pull
    assert disk is None or plan.disk <= disk
    assert {one.reference for one in images} == {one.reference for one in _kept(plan)} | {
        out.image.reference for out in plan.left_out
    }
    assert _disk(images) == plan.everything


@given(_images(), st.integers(0, 1500), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(images: list[WarmImage], disk: int, random: Random) -> None:
    shuffled = list(images)
    random.shuffle(shuffled)

    assert plan_pool(_pool(disk), images) == plan_pool(_pool(disk), shuffled)


@given(_images(), st.integers(0, 1500))
def test_what_is_started_more_often_comes_first(images: list[WarmImage], disk: int) -> None:
    order = [(one.previous, -one.launches) for one in _kept(plan_pool(_pool(disk), images))]

    assert sorted(order) == order


@given(_images(), st.integers(0, 1500))
def test_previous_images_take_nothing_from_others(images: list[WarmImage], disk: int) -> None:
    current = [one for one in images if not one.previous]
    plan, without = plan_pool(_pool(disk), images), plan_pool(_pool(disk), current)

    assert without.images == plan.images[: len(without.images)]
    assert [(out.image, out.fits_within) for out in without.left_out] == [
        (out.image, out.fits_within) for out in plan.left_out if not out.image.previous
    ]


@given(_images(), st.integers(0, 1500))
def test_what_is_left_out_does_not_fit_and_fits_into_what_is_said(images: list[WarmImage], disk: int) -> None:
    plan = plan_pool(_pool(disk), images)

    for out in plan.left_out:
        assert _disk([*_kept(plan), out.image]) == plan.disk + out.disk
        assert plan.disk + out.disk > disk
        assert out.image in _kept(plan_pool(_pool(out.fits_within), images))
    assert () == plan_pool(_pool(plan.everything), images).left_out


@given(_images(), st.sets(st.sampled_from(_PIECES)))
def test_a_node_pulls_what_it_lacks(images: list[WarmImage], present: set[Piece]) -> None:
    plan = plan_pool(_pool(None), images)
    contents = {piece for one in images for piece in one.contents}

    assert plan.pull == plan.to_pull(())
    assert sum(p.size for p in contents - present) == plan.to_pull({p.digest for p in present})


def test_families_of_images_follow_each_other() -> None:
    """Among images of equal use, the one that shares most with what is there comes next."""
    python, r, tiny = _PIECES[11], _PIECES[10], _PIECES[0]
    images = [image("a", (python,)), image("b", (r,)), image("c", (python, tiny)), image("d", (r, tiny))]

    assert ["b", "d", "a", "c"] == [
        planned.image.environments[0] for planned in plan_pool(_pool(None), images).images
    ]


def test_a_small_image_is_kept_where_a_larger_one_is_not() -> None:
    large, small = image("large", (_PIECES[11],), launches=9), image("small", (_PIECES[0],))

    plan = plan_pool(_pool(50), [large, small])

    assert (["small"], [(large, 87, 87)]) == (
        [planned.image.environments[0] for planned in plan.images],
        [(out.image, out.disk, out.fits_within) for out in plan.left_out],
    )
