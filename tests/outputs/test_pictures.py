"""Whether pictures look the same."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from envbuild.outputs.pictures import PictureRules, compare_bitmaps
from tests.outputs.examples import plot

RULES = PictureRules()


def _png(picture: Image.Image) -> bytes:
    made = io.BytesIO()
    picture.save(made, "PNG")
    return made.getvalue()


def _summary(stored: bytes, new: bytes, rules: PictureRules = RULES) -> str | None:
    found = compare_bitmaps(stored, new, rules)
    return None if found is None else found.summary


@pytest.mark.parametrize(
    "new",
    [
        plot(compress_level=0),
        plot(optimize=True),
        plot("#0505fa"),
        _png(Image.open(io.BytesIO(plot())).convert("P")),
    ],
    ids=["compressed otherwise", "optimized", "hardly another blue", "a palette"],
)
def test_the_same(new: bytes) -> None:
    assert None is _summary(plot(), new)


def test_another_colour_is_seen_and_shown() -> None:
    found = compare_bitmaps(plot("blue"), plot("green"), RULES)
    assert found is not None
    assert "picture differs in 4.7 % of its pixels (112)" == found.summary
    shown = Image.open(io.BytesIO(found.picture or b"")).convert("RGB")
    assert ((60, 40), (214, 0, 54), (255, 255, 255)) == (
        shown.size,
        shown.getpixel((30, 20)),
        shown.getpixel((0, 0)),
    )


def test_a_share_of_the_pixels_may_differ() -> None:
    assert None is _summary(plot("blue"), plot("green"), PictureRules(tolerance=0.05))
    assert None is not _summary(plot("blue"), plot("green"), PictureRules(tolerance=0.04))
    assert None is _summary(plot("blue"), plot("green"), PictureRules(threshold=1.0))


def test_transparent_is_white() -> None:
    transparent = _png(Image.new("RGBA", (5, 5), (255, 0, 0, 0)))

    assert None is _summary(_png(Image.new("RGB", (5, 5), "white")), transparent)


def test_photographs() -> None:
    assert None is _summary(plot(kind="JPEG", quality=95), plot(kind="JPEG", quality=94))
    assert None is not _summary(plot(kind="JPEG"), plot("green", kind="JPEG"))


def test_a_bomb_does_not_go_off() -> None:
    """A file of some kilobytes that says it has more pixels than this machine has memory."""
    bomb = bytearray(plot())
    bomb[16:24] = (60_000).to_bytes(4) + (60_000).to_bytes(4)

    assert (_summary(plot(), bytes(bomb)) or "").startswith("the pictures cannot be compared")


def test_other_formats_are_not_opened() -> None:
    made = io.BytesIO()
    Image.new("RGB", (4, 4)).save(made, "TIFF")

    assert "the pictures cannot be compared: it is neither PNG nor JPEG" == _summary(plot(), made.getvalue())


@given(st.integers(0, 600), st.binary(max_size=8))
def test_a_damaged_picture_is_no_trouble(at: int, noise: bytes) -> None:
    picture = plot()

    assert isinstance(_summary(picture, picture[:at] + noise + picture[at + len(noise) :]), str | None)
