"""An engine whose processes reach the network the way this machine does.

Behind a proxy, or a proxy that looks into TLS, ``%pip install`` and every download of a notebook need what
the user's own programs have: the proxy's address and the trusted certificate authorities. Both are lent while
a process runs; neither is ever part of an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from envbuild.certificates import authorities
from envbuild.engine.model import Command, Engine, Mount, Running
from envbuild.image.model import Image
from envbuild.progress import Reporter

__all__ = ["OnThisNetwork", "lent"]

_AUTHORITIES = "/run/envbuild/authorities.pem"
# OpenSSL, requests, curl and pip each have a name of their own for the same file.
_AUTHORITY_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@dataclass(frozen=True, slots=True)
class OnThisNetwork:
    """``engine`` with the proxy and the authorities of ``environment``; see :class:`~.model.Engine`."""

    engine: Engine
    environment: Mapping[str, str] = field(repr=False)

    @property
    def name(self) -> str:
        """See :attr:`envbuild.engine.model.Engine.name`."""
        return self.engine.name

    @property
    def listen_address(self) -> str:
        """See :attr:`envbuild.engine.model.Engine.listen_address`."""
        return self.engine.listen_address

    @property
    def runs_as_caller(self) -> bool:
        """See :attr:`envbuild.engine.model.Engine.runs_as_caller`."""
        return self.engine.runs_as_caller

    def unavailable(self) -> str | None:
        """See :meth:`envbuild.engine.model.Engine.unavailable`."""
        return self.engine.unavailable()

    def prepare(self, image: Image, *, reporter: Reporter) -> None:
        """See :meth:`envbuild.engine.model.Engine.prepare`."""
        self.engine.prepare(image, reporter=reporter)

    def start(self, image: Image, command: Command) -> Running:
        """See :meth:`envbuild.engine.model.Engine.start`."""
        variables, mounts = lent(self.environment)
        return self.engine.start(
            image,
            replace(command, env={**variables, **command.env}, mounts=(*command.mounts, *mounts)),
        )


def lent(environment: Mapping[str, str]) -> tuple[dict[str, str], tuple[Mount, ...]]:
    """The variables and files with which a process reaches the network as the user's programs do.

    Parameters:
        environment: the user's variables.
    """
    variables = {
        name: value
        for variable in _PROXY_VARIABLES
        for name in (variable, variable.lower())
        if (value := environment.get(name))
    }
    bundle = authorities(environment)
    if bundle is None:
        return variables, ()
    variables |= dict.fromkeys(_AUTHORITY_VARIABLES, _AUTHORITIES)
    return variables, (Mount(bundle.resolve(), _AUTHORITIES),)
