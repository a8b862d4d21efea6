"""The treemap as a drawing: blocks of packages, together by layer, coloured by part of the image.

It is drawn twice, wide and tall, and the page shows what fits the screen. Areas are bytes, exactly; only the
gaps between blocks are taken from them. Who does not see it has the same numbers in the table below.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from envbuild.quantities import byte_size, count
from envbuild.report.markup import Markup, element
from envbuild.report.model import PARTS, Part, PlatformReport, ReportLayer
from envbuild.report.treemap import Rectangle, squarify

__all__ = ["legend", "treemap_figure"]

_SHAPES: Final = {"wide": Rectangle(0, 0, 1000, 460), "tall": Rectangle(0, 0, 360, 520)}
_LAYER_GAP: Final = 1.5
_BLOCK_GAP: Final = 0.5
_LETTER: Final = 0.64  # width of a character, of the size of the font
_FONT_SIZES: Final = {"wide": 13.0, "tall": 11.0}
_SMALLEST: Final = 14.0  # area in square units below which blocks of a layer are drawn as one


@dataclass(frozen=True, slots=True)
class _Block:
    """Something of a layer that has a size: a package, all small ones together, files of no package."""

    name: str
    size: int


def legend(parts: Collection[Part]) -> Markup:
    """What the colours mean."""
    items = [
        element("li", element("span", class_=f"swatch {part}"), title)
        for part, title in PARTS.items()
        if part in parts
    ]
    return element("ul", items, class_="legend", aria_label="Colours")


def treemap_figure(platform: PlatformReport) -> Markup:
    """The treemap of an image, nothing for one of which no size is known."""
    layers = [layer for layer in platform.layers if layer.size]
    if not layers:
        return element("p", "Nothing is known about what is in the layers.", class_="note")
    largest = sorted(
        ((package.size or 0, package.name) for layer in layers for package in layer.packages), reverse=True
    )
    named = ", ".join(f"{name} {byte_size(size)}" for size, name in largest[:3])
    label = (
        f"Treemap of {byte_size(platform.size)} in {count(len(layers), 'layer')}"
        + (f"; the largest packages are {named}" if named else "")
        + ". The table below has all numbers."
    )
    drawings = [
        element(
            "svg",
            list(_layers(layers, shape, within)),
            class_=f"treemap {shape}",
            viewBox=f"0 0 {within.width:.0f} {within.height:.0f}",
            role="img",
            aria_label=label,
        )
        for shape, within in _SHAPES.items()
    ]
    return element("figure", drawings)


def _layers(layers: list[ReportLayer], shape: str, within: Rectangle) -> Iterator[Markup]:
    places = squarify([layer.size or 0 for layer in layers], within)
    for layer, place in zip(layers, places, strict=True):
        inner = place.inset(_LAYER_GAP)
        blocks = _blocks(layer, inner.area)
        spots = squarify([block.size for block in blocks], inner)
        drawn = [
            _drawn(block, spot, layer, _FONT_SIZES[shape]) for block, spot in zip(blocks, spots, strict=True)
        ]
        yield element("g", drawn, class_=layer.part)


def _blocks(layer: ReportLayer, area: float) -> list[_Block]:
    """What is drawn of a layer."""
    scale = area / (layer.size or 1)
    large = [package for package in layer.packages if (package.size or 0) * scale >= _SMALLEST]
    small = [package for package in layer.packages if package.size and package.size * scale < _SMALLEST]
    blocks = [_Block(package.name, package.size or 0) for package in large]
    if small:
        total = sum(package.size or 0 for package in small)
        only = small[0].name if len(small) == 1 else f"{count(len(small), 'small package')}"
        blocks.append(_Block(only, total))
    if layer.rest:
        blocks.append(_Block(layer.title if not layer.packages else "files of no package", layer.rest))
    return blocks


def _drawn(block: _Block, spot: Rectangle, layer: ReportLayer, font: float) -> Markup:
    """A block with its name and size, as far as they fit into it."""
    shown = spot.inset(_BLOCK_GAP)
    where = "" if block.name == layer.title else f", in the layer {layer.title}"
    tip = element("title", f"{block.name}: {byte_size(block.size)}{where}")
    block_shape = element("rect", x=shown.x, y=shown.y, width=shown.width, height=shown.height)
    return element("g", tip, block_shape, list(_labels(block, shown, font)))


def _labels(block: _Block, spot: Rectangle, font: float) -> Iterator[Markup]:
    letters = int((spot.width - font * 0.8) / (font * _LETTER))
    if spot.height < font * 1.5 or letters < 3:
        return
    name = block.name if len(block.name) <= letters else f"{block.name[: letters - 1]}…"
    if len(name) < min(5, len(block.name)):
        return
    left = spot.x + font * 0.4
    yield element("text", name, x=left, y=spot.y + font * 1.15)
    size = byte_size(block.size)
    if spot.height >= font * 2.9 and len(size) <= letters:
        yield element("text", size, x=left, y=spot.y + font * 2.4, class_="amount")
