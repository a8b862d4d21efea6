"""From a name on the command line to an image that an engine has."""

from __future__ import annotations

from envbuild.base.host import host_platform, platform_of
from envbuild.engine import Docker
from envbuild.errors import MachineError, UsageError
from envbuild.image.reference import parse_reference
from envbuild.inspection.inspector import Inspector
from envbuild.inspection.place import Place
from envbuild.pull import pull_image, take_images
from envbuild.source.text import clean, quote, redact

__all__ = ["find_image", "require_platform"]


def find_image(text: str, engine: Docker, inspector: Inspector) -> str:
    """The name under which ``engine`` has the image ``text``.

    A name without a prefix is first that of an image the engine has, then one in the cache, then one in a
    registry. What the engine does not have is given to it.

    Raises:
        UsageError: there is no such image, or it is none.
        RemoteError: the registry failed.
        MachineError: the engine failed, or does not run images of this platform.
    """
    place = inspector.place(text)
    if place.kind in ("lock", "source"):
        raise UsageError(
            f"{quote(text)} is not an image",
            code="not-an-image",
            remedy="`envbuild build SOURCE -t NAME` makes one; then name it",
        )
    if _is_plain(text, place) and (present := _present(text, engine)) is not None:
        return present
    store, reporter = inspector.store, inspector.reporter
    if place.kind == "registry":
        reporter.note(f"{redact(text)} is not in {engine.name}: asking the registry")
        images = pull_image(
            parse_reference(place.text),
            platforms=(),
            native=host_platform(),
            store=store,
            registries=inspector.registries(),
            reporter=reporter,
        ).images
    else:
        medium = inspector.medium(place)
        several = len(medium.entries().images) > 1
        images = take_images(
            medium,
            platforms=(host_platform(),) if several else (),
            store=store,
            jobs=1,
            reporter=reporter,
        )
    require_platform(images[0].platform.split("/")[1], engine)
    engine.prepare(images[0], reporter=reporter)
    return engine.reference(images[0])


def require_platform(architecture: str, engine: Docker) -> None:
    """Check that ``engine`` runs images for ``architecture``, in the words of image configs (``arm64``).

    Raises:
        MachineError: it runs others.
    """
    machine = str(engine.info.get("Architecture"))
    machine = (platform_of(machine) or machine).rpartition("/")[2]
    if architecture != machine:
        raise MachineError(
            f"the image is for {clean(architecture)}, and this engine runs {clean(machine)}",
            code="other-platform",
            remedy=f"verify it on a machine with {clean(architecture)}",
        )


def _is_plain(text: str, place: Place) -> bool:
    return place.kind == "registry" or (place.kind == "cache" and place.text == text)


def _present(text: str, engine: Docker) -> str | None:
    from docker.errors import APIError, NotFound

    with engine.errors():
        try:
            engine.client.api.inspect_image(text)
        except NotFound:
            return None
        except APIError as error:
            if error.is_client_error():  # a name the engine does not take
                return None
            raise
    return text
