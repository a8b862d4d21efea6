"""Messages of uv as they were seen in the wild; the wording differs between its versions."""

from __future__ import annotations

import doctest

import pytest

from envbuild.errors import EnvbuildError, MachineError, RemoteError
from envbuild.lock import reasons
from envbuild.lock.reasons import explain
from tests.lock.conftest import lines


def why(said: str, *texts: str, constraints: tuple[str, ...] = ()) -> EnvbuildError:
    asked = lines(*texts)
    return explain(said, asked, lines(*constraints, file="constraints.txt"), "linux/amd64, Python 3.11.2")


FRAMED = """\
  × No solution found when resolving dependencies:
  ╰─▶ Because pandas==2.2.3 depends on numpy>=1.23.2 and you require
      pandas==2.2.3, we can conclude that you require numpy>=1.23.2.
      And because you require numpy<1.20, we can conclude that your
      requirements are unsatisfiable.
"""
PLAIN = """\
error: No solution found when resolving dependencies
  cause: Because pandas==2.2.3 depends on numpy{python_full_version < '3.12'}>=1.23.2 and you require \
pandas==2.2.3, we can conclude that you require numpy{python_full_version < '3.12'}>=1.23.2.
         And because you require numpy<1.20, we can conclude that your requirements are unsatisfiable.
"""


@pytest.mark.parametrize("said", [FRAMED, PLAIN])
def test_a_conflict_in_either_style(said: str) -> None:
    error = why(said, "six", "pandas==2.2.3", "numpy<1.20")
    assert (
        "pandas==2.2.3 depends on numpy>=1.23.2 and you require pandas==2.2.3; you require numpy<1.20 "
        "(for linux/amd64, Python 3.11.2); see also requirements.txt:3"
    ) == error.message
    assert ("unsolvable", "requirements.txt:2", None) == (error.code, error.place, error.detail)


def test_the_line_with_the_version_named_is_blamed() -> None:
    said = "No solution found\n  cause: Because there is no version of lib==9 and you require lib==9, we can"
    assert "requirements.txt:2" == why(said, "lib>=1", "Lib[extra]==9", "lib<20").place


def test_a_constraint_is_blamed_when_no_requirement_is_named() -> None:
    said = "No solution found\n  cause: Because you require lib<1 and lib>2, we can conclude x."
    error = why(said, "app", constraints=("other", "lib<1", "lib>2"))
    assert "constraints.txt:2" == error.place


@pytest.mark.parametrize(
    "said",
    [
        "error: Request failed after 3 retries\n  cause: Failed to fetch: http://u:hunter2@example.org/",
        "error: Failed to fetch: `https://u:hunter2@example.org/simple/six/`\n"
        "  Caused by: HTTP status server error (503 Service Unavailable) for url (https://u:hunter2@example.org/)",
        "error: error sending request for url (https://example.org)\n  cause: certificate: Unknown",
    ],
)
def test_the_network_is_the_remotes_fault(said: str) -> None:
    error = why(said, "six")
    assert (RemoteError, "index-unreachable") == (type(error), error.code)
    assert "\n" not in error.message
    assert "hunter2" not in error.message


def test_an_authority_that_is_not_known_says_where_to_name_it() -> None:
    said = "error: Failed to fetch: `https://example.org/`\n  cause: invalid peer certificate: UnknownIssuer"
    error = why(said, "six")
    assert ("index-unreachable", True) == (error.code, "SSL_CERT_FILE" in str(error.remedy))


def test_a_full_disk_is_the_machines_fault() -> None:
    error = why("error: Failed to write\n  cause: No space left on device (os error 28)", "six")
    assert (MachineError, "disk-full") == (type(error), error.code)


@pytest.mark.parametrize("said", ["", "error: something new\n  cause: of a kind not seen before", "\x00\xff"])
def test_what_is_not_understood_is_passed_on(said: str) -> None:
    error = why(said, "six")
    assert (MachineError, "resolver-failed") == (type(error), error.code)
    assert "\n" not in error.message


def test_a_requirement_only_uv_objects_to_is_traced_by_its_position() -> None:
    said = "error: Couldn't parse requirement in `requirements.in` at position 4\n  cause: bad version\n"
    error = why(said, "six", "app===x")
    assert ("requirements.txt:2", "'app===x' is not a valid requirement: bad version") == (
        error.place,
        error.message,
    )


def test_examples_in_the_documentation() -> None:
    assert 0 == doctest.testmod(reasons).failed
