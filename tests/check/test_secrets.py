"""EB7: credentials are found, what only looks like one is not, and no value is ever printed.

The credentials here are made up when the tests run: none is in this file.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable

import pytest

from envbuild.check.checker import Checked
from envbuild.check.rule import Finding
from envbuild.check.sarif import sarif_document
from envbuild.check.text import github_lines, text_lines
from tests.check.conftest import code, notebook, result

Found = Callable[..., list[Finding]]


def made_up(length: int, seed: str = "x") -> str:
    """Letters and digits that mean nothing."""
    digest = hashlib.sha512(seed.encode()).digest() * (length // 40 + 1)
    return base64.b64encode(digest).decode().replace("+", "a").replace("/", "b")[:length]


GITHUB = "gh" + "p_" + made_up(36)
AWS = "AK" + "IA" + "".join("ABCDEFGH2345"[ord(char) % 12] for char in made_up(16))
HUGGING_FACE = "h" + "f_" + made_up(34).replace("=", "a")
OPENAI = "s" + "k-" + made_up(20) + "T3Blbk" + "FJ" + made_up(20, "y")
SLACK = "xo" + "xb-123456789012-123456789012-" + made_up(24)
KEY = "-----BEGIN RSA PRIV" + "ATE KEY-----" + made_up(64)


@pytest.mark.parametrize("token", [GITHUB, AWS, HUGGING_FACE, OPENAI, SLACK, KEY])
def test_known_formats(found: Found, token: str) -> None:
    findings = found(code(f"x = 1\ny = '{token}'", 1, result(f"it is {token}", 1)), select="EB7")
    assert {("EB701", 2), ("EB702", None)} == {(one.rule.code, one.cell_line) for one in findings}


def test_a_key_of_several_lines(found: Found) -> None:
    text = "\n".join([KEY[:-64], made_up(64), made_up(64, "y"), KEY[:-64].replace("BEGIN", "END")])
    assert [("EB701", 2)] == [
        (one.rule.code, one.cell_line) for one in found(f"x = 1\nkey = '''{text}'''", select="EB701")
    ]


def test_a_password_in_an_address(found: Found) -> None:
    assert 1 == len(found("db = 'postgres://me:Tr0ub4dor3x@db.internal/x'", select="EB7"))
    assert [] == found("db = 'postgres://user:password@host/x'", select="EB7")


@pytest.mark.parametrize(
    "source",
    [
        f"api_key = '{made_up(32)}'",
        f"config = {{'client_secret': '{made_up(40)}'}}",
        f"connect(password='{made_up(20)}')",
    ],
)
def test_by_name_and_entropy(found: Found, source: str) -> None:
    assert ["EB701"] == [finding.rule.code for finding in found(source, select="EB7")]


@pytest.mark.parametrize(
    "source",
    [
        "api_key = 'YOUR_API_KEY_GOES_HERE_123'",
        "api_key = os.environ['API_KEY']",
        "token = '[CLS]'; pad_token = '<pad>'; tokens = 'the cat sat on the mat'",
        "password = getpass.getpass('password: ')",
        "secret = 'xxxxxxxxxxxxxxxxxxxxxxxxxxx1'",
        "token_model = 'bert-base-uncased-2021'",
        "sha = '" + hashlib.sha256(b"x").hexdigest() + "'",
        "key = 'AKIAIOSFODNN7EXAMPLE'",
        "x = 'risk-free-asset-model-with-very-long-name-' * 3",
        f"token = '{made_up(32)}'  # pragma: allowlist secret",
    ],
)
def test_what_is_no_secret(found: Found, source: str) -> None:
    assert [] == found(source, select="EB7")


def test_pictures_are_no_secrets(found: Found) -> None:
    picture = {"output_type": "display_data", "data": {"image/png": f"a+{GITHUB}"}, "metadata": {}}
    page = {
        "output_type": "display_data",
        "data": {"text/html": f"<img src='data:image/png;base64,{AWS}'>"},
        "metadata": {},
    }
    assert [] == found(code("x", 1, picture, page), select="EB7")


def test_the_line_of_an_output(check: Callable[..., Checked]) -> None:
    text = notebook(code("x", 1, result("nothing", 1), result(GITHUB, 1)))
    (finding,) = check({"n.ipynb": text}, "EB702").findings
    assert GITHUB in text.splitlines()[(finding.line or 0) - 1]


def test_values_are_in_no_report(check: Callable[..., Checked]) -> None:
    text = notebook(
        code(f"!pip install https://{GITHUB}@example.org/x.whl\nkey = '{AWS}'\nopen('/home/a/{AWS}')", 1)
    )
    checked = check({"n.ipynb": text}, fix=True)
    shown = "\n".join(
        [
            *text_lines(checked),
            *github_lines(checked),
            json.dumps(sarif_document(checked)),
            repr(checked.findings),
        ]
    )

    assert {"EB701"} <= {finding.rule.code for finding in checked.findings}
    assert [] == [token for token in (GITHUB, AWS) if token in shown]
