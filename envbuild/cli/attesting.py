"""What is to be attached to images: the options for it, and the key."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import chain
from envbuild.cli.session import Session
from envbuild.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envbuild.attest.attaching import Attestation
    from envbuild.attest.keys import PrivateKey

__all__ = [
    "attached_rows",
    "attest_options",
    "private_key",
    "sign_option",
    "wanted_attestation",
]

sign_option = click.option(
    "--sign", "sign_key", metavar="KEY", help="Sign it with this private key (a PEM file)."
)
attest_options = chain(
    click.option(
        "--sbom", is_flag=True, default=None, help="Attach a bill of materials (CycloneDX) to what is pushed."
    ),
    click.option(
        "--provenance", is_flag=True, default=None, help="Attach where it comes from (SLSA provenance)."
    ),
    sign_option,
)
_OPTIONS = {"sbom": "--sbom", "provenance": "--provenance", "sign_key": "--sign"}
_PASSPHRASES = ("ENVBUILD_SIGN_PASSPHRASE", "COSIGN_PASSWORD")


def wanted_attestation(session: Session, *, push: bool) -> Attestation:
    """What is to be attached to what is pushed; a key that cannot be used is found before the work begins.

    Raises:
        UsageError: the key cannot be used; something is asked for on the command line, and nothing is pushed.
    """
    from envbuild.attest.attaching import Attestation
    from envbuild.attest.invocation import find_invocation

    if not push:
        if asked := session.given(*_OPTIONS):
            raise UsageError(
                f"{_OPTIONS[asked[0]]} needs a registry to attach it in",
                code="attest-without-push",
                remedy="add --push" + ("; `envbuild sbom` only prints it" if asked[0] == "sbom" else ""),
            )
        return Attestation()
    settings = session.settings
    return Attestation(
        sbom=settings.sbom,
        provenance=settings.provenance,
        key=private_key(session),
        invocation=find_invocation(session.environment),
    )


def private_key(session: Session) -> PrivateKey | None:
    """The key to sign with; None when there is to be no signature.

    Raises:
        UsageError: it cannot be used.
    """
    from envbuild.attest.keys import load_private_key

    if session.settings.sign_key is None:
        return None
    path = Path(session.settings.sign_key).expanduser()

    def passphrase() -> bytes:
        for name in _PASSPHRASES:
            if name in session.environment:
                return os.fsencode(session.environment[name])
        if sys.stdin.isatty() and not session.console.machine:
            return str(click.prompt(f"Passphrase of {path}", hide_input=True, err=True)).encode()
        return b""

    return load_private_key(path, passphrase)


def attached_rows(attached: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """What was attached, for people."""
    words = {"sbom": "bill of materials", "provenance": "provenance", "signature": "signature"}
    return [("attached", f"{words[one['kind']]} of {one['subject']}") for one in attached]
