"""Which certificate authorities are trusted: the user's choice, else the operating system's.

Networks with a TLS-inspecting proxy have an authority of their own, which their machines carry in the
system's bundle. It is used here, passed on to the tools we start, and lent to containers while they run; it
never becomes part of an image.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

__all__ = ["authorities", "trusting_context"]

# Where distributions keep the bundle: Debian and others, Red Hat, SUSE, Alpine.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def authorities(environment: Mapping[str, str]) -> Path | None:
    """The file with the trusted authorities (PEM): ``$SSL_CERT_FILE``, else the system's, else None."""
    chosen = environment.get("SSL_CERT_FILE")
    for candidate in (chosen,) if chosen else _BUNDLES:
        path = Path(candidate)
        if path.is_file():
            return path
    return None


def trusting_context() -> ssl.SSLContext:
    """A context for clients. OpenSSL looks at ``$SSL_CERT_FILE`` and where it was told at build time; a
    Python that was built elsewhere finds nothing there and gets the system's bundle.
    """
    context = ssl.create_default_context()
    bundle = authorities({})
    if not context.cert_store_stats()["x509_ca"] and bundle is not None:
        context.load_verify_locations(bundle)
    return context
