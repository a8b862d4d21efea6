"""The results of notebooks for CI systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from envbuild.junit import Case, Kind, Trouble, junit_xml
from envbuild.notebook.execute import Executed
from envbuild.source.text import printable

__all__ = ["junit_report"]

# What the code of a notebook did; everything else that can go wrong is an <error>.
_OF_THE_CODE = frozenset({"cell-failed"})


def junit_report(results: Sequence[Executed], *, seconds: float, properties: Mapping[str, str]) -> bytes:
    """JUnit's XML: a case for each notebook.

    Parameters:
        seconds: how long all of it took.
        properties: facts about the run, like the image.
    """
    return junit_xml("envbuild run", list(map(_case, results)), seconds=seconds, properties=properties)


def _case(result: Executed) -> Case:
    path = printable(result.notebook)
    folder = path.rpartition("/")[0].replace("/", ".") or "notebooks"
    return Case(folder, path, result.seconds, _trouble(result), path)


def _trouble(result: Executed) -> Trouble | None:
    error = result.error
    if error is not None:
        kind: Kind = "failure" if error.code in _OF_THE_CODE else "error"
        told = "\n\n".join(filter(None, (str(error), error.detail, error.remedy)))
        return Trouble(kind, error.message, error.code, told)
    return Trouble("skipped", "another notebook failed before its turn") if result.skipped else None
