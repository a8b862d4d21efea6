"""The layout of treemaps: areas are sizes, nothing overlaps, nothing is left."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.report.treemap import Rectangle, squarify

_PLACE = Rectangle(10, 20, 600, 400)
_SIZES = st.lists(st.integers(0, 10**12), max_size=60)


def test_the_example_of_the_paper() -> None:
    """Bruls, Huizing, van Wijk: 6, 6, 4, 3, 2, 2, 1 in a rectangle of 6 by 4."""
    placed = squarify([6, 6, 4, 3, 2, 2, 1], Rectangle(0, 0, 6, 4))

    assert [
        (0, 0, 3, 2),
        (0, 2, 3, 2),
        (3, 0, 1.7143, 2.3333),
        (4.7143, 0, 1.2857, 2.3333),
        (3, 2.3333, 1.2, 1.6667),
        (4.2, 2.3333, 1.2, 1.6667),
        (5.4, 2.3333, 0.6, 1.6667),
    ] == [tuple(round(side, 4) for side in (one.x, one.y, one.width, one.height)) for one in placed]


@given(_SIZES)
def test_areas_are_in_proportion_to_sizes(sizes: list[int]) -> None:
    placed = squarify(sizes, _PLACE)
    total = sum(sizes)

    expected = [_PLACE.area * size / total if total else 0.0 for size in sizes]
    assert pytest.approx(expected, rel=1e-6, abs=1e-6) == [one.area for one in placed]


@given(_SIZES)
def test_rectangles_are_inside_and_do_not_overlap(sizes: list[int]) -> None:
    placed = [one for one in squarify(sizes, _PLACE) if one.area > 1e-6]
    slack = 1e-6

    for one in placed:
        assert one.x >= _PLACE.x - slack and one.x + one.width <= _PLACE.x + _PLACE.width + slack
        assert one.y >= _PLACE.y - slack and one.y + one.height <= _PLACE.y + _PLACE.height + slack
    for number, one in enumerate(placed):
        for other in placed[number + 1 :]:
            across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
            down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
            assert across <= slack or down <= slack


def test_equal_sizes_are_nearly_square() -> None:
    placed = squarify([1] * 24, _PLACE)

    assert max(max(one.width / one.height, one.height / one.width) for one in placed) < 1.6


def test_larger_sizes_are_nearer_to_the_corner() -> None:
    placed = squarify([1, 2, 4, 8, 16], Rectangle(0, 0, 100, 100))

    order = sorted(range(5), key=lambda number: placed[number].x + placed[number].y)
    assert all(one >= other for one, other in pairwise(order))
