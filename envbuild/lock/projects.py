"""The repository's own projects in a lock: what building them takes, and what they depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from packaging.markers import Marker
from packaging.requirements import Requirement as Parsed

from envbuild.lock.from_source import Metadata, WheelBuilder
from envbuild.lock.model import Built
from envbuild.lock.select import marker_environment
from envbuild.spec.model import Requirement, SourceRequirement

__all__ = ["Projects"]


@dataclass
class Projects:
    """The answers about ``sources``, by platform; nobody is asked twice.

    Parameters:
        builder: who is asked; needed when there are sources.
        python: the exact version (``3.11.2``), for markers.
    """

    sources: Sequence[SourceRequirement]
    builder: WheelBuilder | None
    python: str
    _found: dict[tuple[SourceRequirement, str], tuple[Built, Metadata | None]] = field(default_factory=dict)

    def built(self, platform: str) -> tuple[Built, ...]:
        """What building each project takes, sorted."""
        return tuple(sorted(built for _, built, _ in self._answers(platform)))

    def requirements(self, platform: str) -> tuple[Requirement, ...]:
        """What projects depend on of which only the build knows."""
        found = []
        for source, _, metadata in self._answers(platform):
            for text in metadata.requires if metadata else ():
                environment = marker_environment(self.python, platform)
                if (needed := _selected(text, source.extras, environment)) is not None:
                    found.append(Requirement(needed, source.file, source.line))
        return tuple(dict.fromkeys(found))

    def _answers(self, platform: str) -> list[tuple[SourceRequirement, Built, Metadata | None]]:
        environment = {**marker_environment(self.python, platform), "extra": ""}
        answers = []
        for source in self.sources:
            if source.marker is not None and not Marker(source.marker).evaluate(environment):
                continue
            if (source, platform) not in self._found:
                if self.builder is None:
                    raise ValueError("there is nobody to build with")
                self._found[source, platform] = self.builder.project(source, platform)
            answers.append((source, *self._found[source, platform]))
        return answers


def _selected(text: str, extras: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """``text`` of a project's metadata as a requirement of its own, None when it is for another extra.

    >>> _selected('seaborn>=1; extra == "plot" and os_name == "posix"', ["plot"], {"os_name": "posix"})
    'seaborn>=1'
    >>> _selected('seaborn>=1; extra == "plot"', [], {}) is None
    True
    """
    parsed = Parsed(text)
    if parsed.marker is None or "extra" not in str(parsed.marker):
        return text
    if not any(parsed.marker.evaluate({**environment, "extra": extra}) for extra in extras):
        return None
    parsed.marker = None
    return str(parsed)
