"""Which certificate authorities are trusted: the user's choice, else the operating system's.

Networks with a TLS-inspecting proxy have an authority of their own, which their machines carry in the
system's bundle. It is used here, passed on to the tools we start, and lent to containers while they run; it
never becomes part of an image.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

__all__ = ["authorities", "trusting_context"]

# OpenSSL's name for a bundle, then those that other programs have for the same thing.
_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# Where distributions keep the bundle: Debian and others, Red Hat, SUSE, Alpine.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def authorities(environment: Mapping[str, str]) -> Path | None:
    """The file with the trusted authorities (PEM): the first variable that names one, else the system's.

    None when ``$SSL_CERT_FILE`` names what is not there, or when there is nothing.
    """
    chosen = environment.get("SSL_CERT_FILE")
    if chosen:
        return Path(chosen) if Path(chosen).is_file() else None
    named = [environment[name] for name in _VARIABLES if environment.get(name)]
    for candidate in (*named, *_BUNDLES):
        path = Path(candidate)
        if path.is_file():
            return path
    return None


def trusting_context(environment: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """A context for clients, trusting :func:`authorities` and what is in ``$SSL_CERT_DIR``."""
    import ssl

    context = ssl.create_default_context()
    bundle = authorities(environment)
    # OpenSSL has read $SSL_CERT_FILE and where it was told at build time, which may be nowhere.
    named = any(environment.get(name) for name in _VARIABLES[1:]) and not environment.get("SSL_CERT_FILE")
    if bundle is not None and (named or not context.cert_store_stats()["x509_ca"]):
        context.load_verify_locations(bundle)
    return context
