"""What is to be built in a cluster: the :class:`Request`, and what makes it the same as another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from envbuild.image.reference import Reference
from envbuild.observation import request_build_id

__all__ = ["Placement", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """One build.

    ``source`` is what the pod builds: ``https://…#COMMIT`` or ``context://…@sha256:…``; ``title`` what people
    call it; ``content`` what decides whether it is the same: a commit, or the digest of the files.
    ``arguments`` and ``variables`` carry the settings, ``tags`` is what the image is to be called, and
    ``builder`` the image that builds, by digest.
    """

    source: str
    title: str
    content: str
    arguments: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    tags: tuple[Reference, ...]
    builder: Reference

    @property
    def build_id(self) -> str:
        """32 hexadecimal digits: the same for what gives the same image under the same names."""
        source = self.source.partition("#")[0] if "#" in self.source else ""
        settings = [f"{name}={value}" for name, value in self.variables]
        counts = [str(len(part)) for part in (self.arguments, settings, self.tags)]
        return request_build_id(
            source,
            self.content,
            self.builder.digest or "",
            *counts,
            *self.arguments,
            *settings,
            *map(str, self.tags),
        )

    @property
    def name(self) -> str:
        """The Job's name."""
        return f"envbuild-{self.build_id}"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how pods run; nothing of it changes the image.

    ``registry_secret`` is the name of a Secret of type ``kubernetes.io/dockerconfigjson``; ``config_map``
    that of a ConfigMap with variables, ``ca_config_map`` of one whose ``ca.crt`` has the authorities to
    trust; ``metrics_push`` is the address of a Pushgateway; ``timeout`` is in seconds, over all tries.
    ``template`` is a partial PodTemplateSpec that is merged into ours.
    """

    namespace: str
    registry_secret: str | None = None
    config_map: str | None = None
    ca_config_map: str | None = None
    metrics_push: str | None = None
    timeout: int = 3600
    template: Mapping[str, Any] = field(default_factory=dict)
