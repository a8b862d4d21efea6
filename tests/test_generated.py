"""Parts of pages that are generated."""

from __future__ import annotations

import pytest

from envbuild.generated import with_generated

_BEGIN = "<!-- Generated: python -m some.module PAGE -->\n"
_END = "<!-- End of what is generated -->\n"


def test_what_is_between_the_marks_is_replaced() -> None:
    page = with_generated(f"# Title\n{_BEGIN}old\n{_END}rest\n", "some.module", ["new\n", "lines\n"])

    assert f"# Title\n{_BEGIN}new\nlines\n{_END}rest\n" == page


@pytest.mark.parametrize("page", ["# Nothing", _BEGIN, _END, _BEGIN.replace("some", "another") + _END])
def test_a_page_without_marks(page: str) -> None:
    with pytest.raises(ValueError, match=r"no marks for some\.module"):
        with_generated(page, "some.module", [])
