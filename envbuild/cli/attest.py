"""``envbuild attest``: say something about an image that is in a registry."""

from __future__ import annotations

import click

from envbuild.cli.attesting import attached_rows, private_key, sign_option
from envbuild.cli.looking import inspector
from envbuild.cli.options import common_options, plain_http_option
from envbuild.cli.session import Session
from envbuild.cli.text import columns
from envbuild.errors import UsageError

__all__ = ["attest"]


@click.command(short_help="Sign an image in a registry, attach what is in it.")
@click.argument("image", metavar="IMAGE")
@click.option("--sbom", is_flag=True, default=None, help="Attach a bill of materials (CycloneDX).")
@sign_option
@plain_http_option
@common_options
def attest(session: Session, image: str) -> None:
    """Sign IMAGE, which is in a registry, or attach what is in it; for all of its platforms.

    The image stays as it is. `build --push` does both with an image it makes; here they are done afterwards,
    and by somebody else if need be: who has the key need not be who builds.
    """
    from envbuild.attest.attaching import Attestation
    from envbuild.attest.finished import attest_finished
    from envbuild.cli.documents import attest_document

    attestation = Attestation(sbom=session.settings.sbom, key=private_key(session))
    if not attestation.sbom and attestation.key is None:
        raise UsageError(
            "nothing is to be attached",
            code="nothing-to-attest",
            remedy="sign it (--sign KEY), attach a bill of materials (--sbom), or both",
        )
    with session.audit.push([image]):
        reference, top, attached = attest_finished(inspector(session), image, attestation)
    document = attest_document(reference, top, attached, session.console.rounded_seconds)
    session.console.result(
        *columns([("image", f"{reference.name}@{top.digest}"), *attached_rows(document["attached"])])
    )
    session.console.document(document)
