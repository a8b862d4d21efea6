"""Squarified treemaps: sizes as areas of rectangles that are as square as can be.

M. Bruls, K. Huizing, J. J. van Wijk, "Squarified Treemaps", 2000. Pure; no drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Rectangle", "squarify"]


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A place in the plane: the corner with the smallest coordinates, ``width`` and ``height``."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Width times height."""
        return self.width * self.height

    def inset(self, by: float) -> Rectangle:
        """The same without a margin of ``by`` on each side; never smaller than nothing."""
        across, down = min(by, self.width / 2), min(by, self.height / 2)
        return Rectangle(self.x + across, self.y + down, self.width - 2 * across, self.height - 2 * down)


def squarify(sizes: Sequence[float], within: Rectangle) -> list[Rectangle]:
    """One rectangle for each of ``sizes``, in the same order, that together fill ``within``.

    Areas are in proportion to the sizes; larger ones are nearer to the corner. Sizes of nothing have
    rectangles of no area.

    >>> [one.width for one in squarify([3, 1], Rectangle(0, 0, 4, 1))]
    [3.0, 1.0]

    Parameters:
        sizes: finite and not negative.
    """
    placed = [Rectangle(within.x, within.y, 0.0, 0.0)] * len(sizes)
    order = sorted(
        (number for number, size in enumerate(sizes) if size > 0), key=lambda number: -sizes[number]
    )
    left = within
    total = float(sum(sizes[number] for number in order))
    while order:
        count = _row(sizes, order, total, left)
        row, order = order[:count], order[count:]
        amount = sum(sizes[number] for number in row)
        left = _place(sizes, row, amount, amount / total, left, placed)
        total = float(sum(sizes[number] for number in order))
    return placed


def _row(sizes: Sequence[float], order: Sequence[int], total: float, left: Rectangle) -> int:
    """How many of the next rectangles go into one row along the shorter side of what is left."""
    side, area = min(left.width, left.height), left.area
    if side <= 0 or area <= 0:
        return len(order)
    amount, count, best = 0.0, 0, float("inf")
    largest = sizes[order[0]]
    for number in order:
        amount += sizes[number]
        worst = _worst(largest, sizes[number], amount, side, area / total)
        if worst > best:
            break
        best, count = worst, count + 1
    return max(count, 1)


def _worst(largest: float, smallest: float, amount: float, side: float, scale: float) -> float:
    """The worst ratio of sides in a row that has ``amount`` in all along ``side``; 1 is a square."""
    depth = amount * scale / side
    longest, shortest = largest * scale / depth, smallest * scale / depth
    if shortest <= 0:
        return float("inf")
    return max(longest / depth, depth / shortest)


def _place(
    sizes: Sequence[float],
    row: Sequence[int],
    amount: float,
    share: float,
    left: Rectangle,
    placed: list[Rectangle],
) -> Rectangle:
    """Put ``row`` along the shorter side of ``left``; returns what is left after that."""
    along = 0.0
    if left.width >= left.height:
        width = left.width * share
        for number in row:
            height = left.height * (sizes[number] / amount)
            placed[number] = Rectangle(left.x, left.y + along, width, height)
            along += height
        return Rectangle(left.x + width, left.y, max(0.0, left.width - width), left.height)
    height = left.height * share
    for number in row:
        width = left.width * (sizes[number] / amount)
        placed[number] = Rectangle(left.x + along, left.y, width, height)
        along += width
    return Rectangle(left.x, left.y + height, left.width, max(0.0, left.height - height))
