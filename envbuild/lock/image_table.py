"""The part of ``envbuild.lock`` that is there when the base is an image of a registry."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from envbuild.errors import UsageError
from envbuild.image.model import layer_compression
from envbuild.image.reference import parse_reference
from envbuild.lock.model import BaseImage, ImageLayer, PlatformImage
from envbuild.lock.table import Table
from envbuild.pack import recipe
from envbuild.spec.variables import kept_of_base

__all__ = ["platform_values", "read_image"]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+-]{0,120}")
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._+@-]{1,255}){1,40}")
_SHELL = re.compile(r"/bin/(?:ba)?sh")
_DISTRIBUTION = re.compile(r"[a-z0-9][a-z0-9._-]{0,40} [a-z0-9][a-z0-9._-]{0,40}")
# Of files like passwd(5), whose encoding nobody says; they are short.
_LINES = re.compile(r"(?:[^\x00-\x1f\x7f\ud800-\udfff]{0,1000}\n){0,5000}")
_MOST_BYTES = 1 << 40

Value = str | int | dict[str, str] | list[dict[str, str | int]]


def platform_values(image: PlatformImage) -> dict[str, Value]:
    """The keys and values of one ``[base.platforms."…"]`` table, in their order."""
    values: dict[str, Value] = {
        "digest": image.digest,
        "media-type": image.media_type,
        "size": image.size,
        "config": image.config,
        "config-size": image.config_size,
        "python": image.python,
        "shell": image.shell,
        "certificates": image.certificates,
        "distribution": image.distribution,
        "passwd": image.passwd,
        "group": image.group,
        "variables": dict(sorted(image.variables)),
        "layers": [
            {
                "digest": layer.digest,
                "media-type": layer.media_type,
                "size": layer.size,
                "diff-id": layer.diff_id,
                "raw-size": layer.raw_size,
            }
            for layer in image.layers
        ],
    }
    return {name: value for name, value in values.items() if value not in ("", {})}


def read_image(table: Table, check_platform: Callable[[str], None]) -> BaseImage | None:
    """The image in ``[base]``; None when there is none, and a recipe made the base.

    Parameters:
        check_platform: refuses what is no platform.
    """
    if not table.has("image"):
        return None
    reference = table.text("image", None)
    try:
        known = str(parse_reference(reference)) == reference
    except UsageError:
        known = False
    if not known:
        table.fail(f"image has an impossible value {reference[:100]!r}")
    platforms = table.table("platforms")
    found = {}
    for platform in sorted(platforms.keys()):
        check_platform(platform)
        found[platform] = _platform(platforms.table(platform))
    platforms.finish()
    if not found:
        table.fail("platforms is empty")
    return BaseImage(reference, table.text("digest", _DIGEST), found)


def _platform(table: Table) -> PlatformImage:
    layers = tuple(_layers(table.tables("layers")))
    image = PlatformImage(
        digest=table.text("digest", _DIGEST),
        media_type=table.text("media-type", _MEDIA_TYPE),
        size=table.number("size", most=_MOST_BYTES),
        config=table.text("config", _DIGEST),
        config_size=table.number("config-size", most=_MOST_BYTES),
        layers=layers,
        python=table.text("python", _PATH),
        shell=table.text("shell", _SHELL),
        certificates=table.text("certificates", _PATH) if table.has("certificates") else "",
        distribution=table.text("distribution", _DISTRIBUTION) if table.has("distribution") else "",
        passwd=table.text("passwd", _LINES) if table.has("passwd") else "",
        group=table.text("group", _LINES) if table.has("group") else "",
        variables=_variables(table.table("variables")) if table.has("variables") else (),
    )
    table.finish()
    if not 0 < len(layers) <= recipe.MOST_BASE_LAYERS:
        table.fail(f"it has {len(layers)} layers")
    return image


def _layers(rows: Iterable[Table]) -> Iterable[ImageLayer]:
    for row in rows:
        media_type = row.text("media-type", _MEDIA_TYPE)
        if layer_compression(media_type) is None:
            row.fail(f"media-type has an impossible value {media_type!r}")
        yield ImageLayer(
            digest=row.text("digest", _DIGEST),
            media_type=media_type,
            size=row.number("size", most=_MOST_BYTES),
            diff_id=row.text("diff-id", _DIGEST),
            raw_size=row.number("raw-size", most=_MOST_BYTES),
        )
        row.finish()


def _variables(table: Table) -> tuple[tuple[str, str], ...]:
    pairs = {name: table.text(name, None) for name in sorted(table.keys())}
    if dict(kept_of_base(pairs)) != pairs:
        table.fail("a variable cannot be set in an image")
    table.finish()
    return tuple(sorted(pairs.items()))
