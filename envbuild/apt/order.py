"""In which order Debian packages are unpacked and configured.

dpkg itself minds ``Depends`` among the packages it configures at once. What it cannot do is wait with the
unpacking of a package until those of its ``Pre-Depends`` are configured (Debian policy 7.2), with all that
these need; so packages are installed in groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from envbuild.base.resolve import relations

__all__ = ["Needs", "essential", "groups"]


@dataclass(frozen=True, slots=True)
class Needs:
    """What a package's control file says: alternatives of each dependency, and what it provides.

    ``essential``: others use it without a dependency on it, from when it is unpacked (Debian policy 3.8).
    """

    before: tuple[tuple[str, ...], ...] = ()
    after: tuple[tuple[str, ...], ...] = ()
    provides: tuple[str, ...] = ()
    essential: bool = False

    @staticmethod
    def of(control: Mapping[str, str]) -> Needs:
        """Read the fields of a control file.

        Raises:
            RemoteError: a field is not readable.
        """
        before, after, provides = (
            tuple(tuple(relation.name for relation in group) for group in relations(control.get(name, "")))
            for name in ("Pre-Depends", "Depends", "Provides")
        )
        return Needs(
            before,
            after,
            tuple(name for group in provides for name in group),
            control.get("Essential") == "yes",
        )


def groups(packages: Mapping[str, Needs]) -> list[tuple[str, ...]]:
    """``packages`` in groups, each to be unpacked and then configured as a whole before the next one.

    What a dependency names and is not among ``packages`` is there already.

    >>> groups({"a": Needs(before=(("b",),)), "b": Needs(after=(("c",),)), "c": Needs(), "d": Needs()})
    [('b', 'c'), ('a', 'd')]
    """
    order = _Order(packages)
    for name in sorted(packages):
        order.prepare(name)
    rest = tuple(sorted(packages.keys() - order.done))
    return [*order.found, *([rest] if rest else [])]


def essential(packages: Mapping[str, Needs]) -> tuple[str, ...]:
    """Those of ``packages`` that any maintainer script may use, and everything they need, sorted."""
    order = _Order(packages)
    names = (name for name, needs in packages.items() if needs.essential)
    return tuple(sorted({member for name in names for member in order.closure(name)}))


@dataclass(slots=True)
class _Order:
    packages: Mapping[str, Needs]
    found: list[tuple[str, ...]] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    _asked: set[str] = field(default_factory=set)
    _providers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._providers = {}
        for name in sorted(self.packages):
            for virtual in self.packages[name].provides:
                self._providers.setdefault(virtual, name)

    def prepare(self, name: str) -> None:
        """Make groups of everything that has to be configured before ``name`` is unpacked."""
        if name in self._asked:  # also in a circle, which Debian's Pre-Depends do not have
            return
        self._asked.add(name)
        for wanted in self._among(self.packages[name].before):
            members = self.closure(wanted) - self.done
            for member in sorted(members):
                self.prepare(member)
            group = tuple(sorted(members - self.done))
            if group:
                self.done.update(group)
                self.found.append(group)

    def closure(self, name: str) -> set[str]:
        """``name`` and everything it needs."""
        found = {name}
        waiting = [name]
        while waiting:
            needs = self.packages[waiting.pop()]
            for other in self._among((*needs.before, *needs.after)):
                if other not in found:
                    found.add(other)
                    waiting.append(other)
        return found

    def _among(self, dependencies: Iterable[tuple[str, ...]]) -> list[str]:
        """The packages that meet ``dependencies``, as far as they are ours to install."""
        chosen = []
        for alternatives in dependencies:
            names = (name if name in self.packages else self._providers.get(name) for name in alternatives)
            chosen += [name for name in names if name is not None][:1]
        return chosen
