"""What strangers may say: any text, and any document of JSON in which known words occur."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["TEXTS", "documents", "records"]

# All that Python's texts can be: also halves of surrogate pairs, and bytes that are not UTF-8.
TEXTS = st.text(st.characters(categories=None), max_size=8) | st.sampled_from(
    ["", "\ud800", "\udcff", "\x00", "\x1b[31m", "a\nb", "https://me:s3cr3t@example.org/x", "1" * 5000]
)
_NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -1, 0, 2**63])


def documents(*words: str) -> st.SearchStrategy[Any]:
    """Any document; many of its keys are ``words``."""
    keys = st.sampled_from(words) | TEXTS
    return st.recursive(
        st.none() | st.booleans() | _NUMBERS | TEXTS,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=6,
    )


def records(
    required: dict[str, st.SearchStrategy[Any]], /, **optional: st.SearchStrategy[Any]
) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of Kubernetes: what is ``optional`` may be left out, or null."""
    return st.fixed_dictionaries(required, optional={name: st.none() | one for name, one in optional.items()})
