"""EB7: are there credentials in the code or in the outputs? Their values are in no message and no report."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from envbuild.check.context import Context
from envbuild.check.credentials import find_credentials
from envbuild.check.document import Document
from envbuild.check.rule import Hit, notebook_rule

__all__ = ["RULES"]

_ALLOWED = "pragma: allowlist secret"  # detect-secrets' own remark
_DATA = re.compile(r"data:[\w/+.;=-]{1,80};base64,[A-Za-z0-9+/=]*")
_REVOKE = "revoke it, remove it, and read it from an environment variable"


@notebook_rule("EB701", "secret-in-code", "error")
def secret_in_code(document: Document, context: Context) -> Iterator[Hit]:
    """There is a credential in a cell: a password, a token, a private key.

    Found by the formats of known tokens, and by name (`api_key = "…"`) where the value has the entropy of a
    key. Markdown and code in other languages are looked at, too. The value is not shown. A line with
    `pragma: allowlist secret` is left out.
    """
    for cell in document.cells:
        lines = cell.source.split("\n")
        for found in find_credentials(cell.source, by_name=cell.kind != "markdown"):
            if _ALLOWED not in lines[found.line - 1]:
                yield Hit(f"this looks like {found.kind}", cell.number, found.line, remedy=_REVOKE)


@notebook_rule("EB702", "secret-in-output", "error")
def secret_in_output(document: Document, context: Context) -> Iterator[Hit]:
    """There is a credential in an output, where it stays when the code no longer shows it.

    Only the formats of known tokens are looked for. Pictures and other encoded data are left out.
    """
    for cell in document.code_cells:
        if not cell.has_outputs:
            continue
        for text in cell.texts():
            plain = _DATA.sub("", text) if "base64," in text else text
            for found in find_credentials(plain, by_name=False):
                yield Hit(
                    f"this looks like {found.kind}",
                    cell.number,
                    remedy="revoke it, and clear the output",
                    needle=json.dumps(found.value)[1:-1].encode(),
                )


RULES = (secret_in_code, secret_in_output)
