"""Docker as the engine of a node.

The daemon pulls from the registry itself, so that images have the names (``registry/repository@digest``) by
which spawners ask for them; it gets the user's credentials, and must be able to reach the registry.

An image is kept under one name more, ``envbuild-warm/FLEET:sha256-…``: that tells which images are ours and
for which fleets, and ``docker image prune`` spares what has a tag.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from envbuild.engine.docker import Docker as Engine
from envbuild.errors import EnvbuildError, MachineError, RemoteError
from envbuild.image.reference import Reference
from envbuild.inspection.view import ImageView
from envbuild.registry.auth import Credential
from envbuild.source.text import clean
from envbuild.warm.engines import Inventory, KeptImage, Wanted, pinned_name
from envbuild.warm.images import chain_ids

__all__ = ["Docker"]

_MARK = "envbuild-warm/"
_FIRST_WITH_ZSTD = 23


class Docker:
    """See :class:`envbuild.warm.engines.NodeEngine`.

    Parameters:
        engine: the daemon.
        credential: finds what the user has for a registry and a repository.

    Raises:
        MachineError: there is no daemon, or none that we may talk to.
    """

    name = "docker"

    def __init__(self, engine: Engine, credential: Callable[[Reference], Credential | None]) -> None:
        reason = engine.unavailable()
        if reason is not None:
            raise MachineError(
                reason.partition("; ")[0], code="docker-unreachable", remedy=reason.partition("; ")[2] or None
            )
        self._engine = engine
        self._credential = credential

    @property
    def _api(self) -> Any:
        return self._engine.client.api

    def inventory(self) -> Inventory:
        """See :meth:`envbuild.warm.engines.NodeEngine.inventory`."""
        with self._engine.errors():
            images = {image["Id"] for image in self._api.images(all=True)}
            layers = [
                self._api.inspect_image(image)["RootFS"].get("Layers") or () for image in sorted(images)
            ]
        return Inventory(None, frozenset(chain for diff_ids in layers for chain in chain_ids(diff_ids)))

    def free(self) -> int | None:
        """See :meth:`envbuild.warm.engines.NodeEngine.free`."""
        try:
            return shutil.disk_usage(self._engine.info["DockerRootDir"]).free
        except (OSError, KeyError):  # it is on another machine
            return None

    def has(self, reference: Reference) -> bool:
        """See :meth:`envbuild.warm.engines.NodeEngine.has`."""
        from docker.errors import NotFound

        try:
            with self._engine.errors():
                self._api.inspect_image(pinned_name(reference))
        except MachineError as error:
            if isinstance(error.__cause__, NotFound):
                return False
            raise
        return True

    def pull(self, wanted: Wanted, *, fleet: str, sent: Callable[[int], None]) -> None:
        """See :meth:`envbuild.warm.engines.NodeEngine.pull`."""
        self._require_zstd(wanted.view)
        reference = wanted.reference
        arrived: dict[str, int] = {}
        with self._engine.errors():
            events = self._api.pull(
                reference.name,
                tag=reference.digest,
                platform=wanted.view.platform,
                auth_config=_auth(self._credential(reference)),
                stream=True,
                decode=True,
            )
            with closing(events):
                for event in events:
                    if "error" in event:
                        raise _failed(str(event["error"]), reference)
                    if event.get("status") == "Downloading":
                        now = int((event.get("progressDetail") or {}).get("current") or 0)
                        sent(max(now - arrived.get(event["id"], 0), 0))
                        arrived[event["id"]] = now
            self._mark(reference, fleet)

    def _require_zstd(self, view: ImageView) -> None:
        with self._engine.errors():
            version = str(self._api.version()["Version"])
        major = version.partition(".")[0]
        if any(layer.compression == "zstd" for layer in view.layers) and (
            major.isdecimal() and int(major) < _FIRST_WITH_ZSTD
        ):
            raise MachineError(
                f"Docker {clean(version)} cannot read layers compressed with zstd",
                code="docker-zstd",
                remedy="use Docker 23 or later, or build the image with --compression gzip",
            )

    def kept(self) -> tuple[KeptImage, ...]:
        """See :meth:`envbuild.warm.engines.NodeEngine.kept`."""
        with self._engine.errors():
            used = {container["ImageID"] for container in self._api.containers(all=True)}
            images = self._api.images()
        found = []
        for image in images:
            marks = [tag for tag in image.get("RepoTags") or () if tag.startswith(_MARK)]
            for digest in {mark.rpartition(":")[2].replace("-", ":", 1) for mark in marks}:
                fleets = frozenset(
                    mark.removeprefix(_MARK).rpartition(":")[0] for mark in marks if _tag(digest) in mark
                )
                names = [name for name in image.get("RepoDigests") or () if name.endswith(f"@{digest}")]
                found += [
                    KeptImage(name, fleets, image["Id"] in used)
                    for name in names
                    if not name.startswith(_MARK)
                ]
        return tuple(sorted(found, key=lambda image: image.name))

    def claim(self, image: KeptImage, fleet: str) -> None:
        """See :meth:`envbuild.warm.engines.NodeEngine.claim`."""
        with self._engine.errors():
            self._api.tag(image.name, f"{_MARK}{fleet}", _tag(image.name.rpartition("@")[2]))

    def release(self, image: KeptImage, fleet: str) -> bool:
        """See :meth:`envbuild.warm.engines.NodeEngine.release`."""
        tag = _tag(image.name.rpartition("@")[2])
        goes = not image.fleets - {fleet}
        with self._engine.errors():
            if goes:
                self._api.remove_image(image.name)
            self._api.remove_image(f"{_MARK}{fleet}:{tag}")
        return goes

    def _mark(self, reference: Reference, fleet: str) -> None:
        assert reference.digest is not None
        self._api.tag(pinned_name(reference), f"{_MARK}{fleet}", _tag(reference.digest))


def _tag(digest: str) -> str:
    return digest.replace(":", "-")


def _auth(credential: Credential | None) -> Mapping[str, str]:
    """What the daemon is given; something, even if it is nothing: else the SDK would look for itself."""
    if credential is None:
        return {}
    if credential.kind == "identity":
        return {"identitytoken": credential.secret}
    if credential.kind == "bearer":
        return {"registrytoken": credential.secret}
    return {"username": credential.user, "password": credential.secret}


def _failed(said: str, reference: Reference) -> EnvbuildError:
    message = f"Docker cannot pull {reference}: {clean(said)}"
    if "no space left on device" in said:
        return MachineError(
            message, code="no-space", remedy="make room where Docker keeps images (`docker info`)"
        )
    if "server gave HTTP response to HTTPS client" in said or "x509:" in said:
        return MachineError(
            message,
            code="docker-registry",
            remedy="make Docker's daemon trust the registry: `insecure-registries`, or /etc/docker/certs.d",
        )
    return RemoteError(message, code="docker-pull", remedy="Docker's log says more")
