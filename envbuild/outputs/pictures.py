"""Whether two pictures look the same; and if not, a picture of where they differ."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from envbuild.outputs.text import TextRules, compare_texts

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["BITMAPS", "PictureDifference", "PictureRules", "compare_bitmaps", "compare_drawings"]

# What a stranger's picture may be decoded as: the fewer formats, the less code meets it.
BITMAPS = {"image/png": "PNG", "image/jpeg": "JPEG"}
_MOST_PIXELS = 50_000_000
_METADATA = re.compile(r"<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL)
_DIFFERENT = (214, 0, 54)
_FADE = 0.75


@dataclass(frozen=True, slots=True)
class PictureRules:
    """When two pictures are the same.

    A pixel is visibly different when one of its channels is by more than ``threshold`` (1: black and white);
    ``tolerance`` is the share of such pixels that is allowed.
    """

    threshold: float = 0.1
    tolerance: float = 0.0


@dataclass(frozen=True, slots=True)
class PictureDifference:
    """What differs in a few words, and a PNG that shows where (None: there is nothing to show)."""

    summary: str
    picture: bytes | None = None


def compare_bitmaps(stored: bytes, new: bytes, rules: PictureRules) -> PictureDifference | None:
    """How two PNG or JPEG files differ as people see them, on white; None when they look the same."""
    if stored == new:
        return None
    try:
        before, after = _decode(stored), _decode(new)
    except _NotAPicture as error:
        return PictureDifference(f"the pictures cannot be compared: {error}")
    if before.size != after.size:
        return PictureDifference("picture is {}×{} instead of {}×{}".format(*after.size, *before.size))
    mask = _mask(before, after, rules.threshold)
    different, all_pixels = mask.histogram()[255], before.width * before.height
    if different <= rules.tolerance * all_pixels:
        return None
    share = 100 * different / all_pixels
    amount = f"{share:.2g} %" if share < 10 else f"{share:.0f} %"
    return PictureDifference(
        f"picture differs in {amount} of its pixels ({different:,})", _show(before, mask)
    )


def compare_drawings(stored: str, new: str, rules: TextRules) -> PictureDifference | None:
    """How two SVG documents differ as texts, but for metadata; None when they are the same."""
    trouble = compare_texts(_METADATA.sub("", stored), _METADATA.sub("", new), rules)
    return None if trouble is None else PictureDifference(f"drawing: {trouble}")


class _NotAPicture(Exception):
    pass


def _decode(content: bytes) -> Image:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            picture = Image.open(io.BytesIO(content), formats=tuple(BITMAPS.values()))
            if picture.width * picture.height > _MOST_PIXELS:
                raise _NotAPicture(f"more than {_MOST_PIXELS:,} pixels")
            page = Image.new("RGBA", picture.size, "white")
            page.alpha_composite(picture.convert("RGBA"))
            return page.convert("RGB")
    except UnidentifiedImageError as error:
        raise _NotAPicture("it is neither PNG nor JPEG") from error
    except (OSError, ValueError, SyntaxError, Warning, MemoryError, Image.DecompressionBombError) as error:
        raise _NotAPicture("it is damaged, or of a kind that is not known") from error


def _mask(before: Image, after: Image, threshold: float) -> Image:
    """White where the two differ visibly, else black."""
    from PIL import ImageChops

    red, green, blue = ImageChops.difference(before, after).split()
    largest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    limit = 255 * threshold
    return largest.point([255 if value > limit else 0 for value in range(256)])


def _show(before: Image, mask: Image) -> bytes:
    """``before`` as a shadow, with what differs in red; single pixels are made larger."""
    from PIL import Image, ImageFilter

    grey = before.convert("L").convert("RGB")
    shown = Image.blend(grey, Image.new("RGB", before.size, "white"), _FADE)
    shown.paste(_DIFFERENT, mask=mask.filter(ImageFilter.MaxFilter(3)))
    stream = io.BytesIO()
    shown.save(stream, "PNG", optimize=True)
    return stream.getvalue()
