"""The copy of a notebook that is executed: without outputs, and with the tags that nbclient knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from envbuild.outputs.conventions import cell_rules, notebook_rules
from envbuild.outputs.notebook import read_cells

__all__ = ["prepare"]

_SKIP = "skip-execution"
_MAY_RAISE = "raises-exception"


def prepare(document: Mapping[str, Any]) -> bytes:
    """The notebook to execute in the place of ``document`` (from :func:`.notebook.parse_notebook`).

    Its cells are the same and in the same places. Those that are not to be executed are tagged
    ``skip-execution``, those that may raise ``raises-exception``, whichever convention said so. No cell has
    an output or a count, so whatever has one afterwards was executed.
    """
    may_raise = notebook_rules(document.get("metadata")).may_raise
    cells = list(document["cells"])
    for cell in read_cells(document):
        rules = cell_rules(cell.source, cell.tags)
        tags = [tag for tag in cell.tags if tag not in (_SKIP, _MAY_RAISE)]
        tags += [_SKIP] * (not rules.execute) + [_MAY_RAISE] * (rules.may_raise or may_raise)
        old = cells[cell.number - 1]
        metadata = old.get("metadata")
        cells[cell.number - 1] = {
            **old,
            "execution_count": None,
            "outputs": [],
            "metadata": {**(metadata if isinstance(metadata, dict) else {}), "tags": tags},
        }
    return json.dumps({**document, "cells": cells}).encode()
