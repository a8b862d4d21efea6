"""YAML that `kubectl` and Helm read as it was meant: :func:`yaml_text`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

__all__ = ["Block", "yaml_text"]

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*", re.ASCII)
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})


class Block(str):
    """Text over several lines, written as such."""

    __slots__ = ()


def yaml_text(documents: Sequence[Mapping[str, Any]]) -> str:
    """``documents`` as one YAML stream; what is in them stays in its order.

    >>> yaml_text([{"pool": "gpu-1", "zone": "1e3"}])
    'pool: gpu-1\\nzone: "1e3"\\n'
    """
    text: str = yaml.dump_all(
        documents,
        Dumper=_Dumper,
        explicit_start=len(documents) > 1,
        sort_keys=False,
        allow_unicode=True,
        width=1_000_000,
    )
    return text


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # there are no types
    """They read another YAML than PyYAML writes: ``1e3`` and ``y`` are texts only in quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True  # people read it, and anchors are not for them


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_plain else '"')


def _block(dumper: _Dumper, text: Block) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Block, _block)
