"""What can be imported in the environment: by what is in the locked packages, or else by their names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from envbuild.contents.modules import Modules
from envbuild.contents.names import provides
from envbuild.lock.model import CondaPackage, Wheel
from envbuild.source import RepoFile
from envbuild.spec.imports import brought_by, distribution_of, imported_name
from envbuild.spec.inference import local_modules
from envbuild.spec.model import Spec
from envbuild.spec.pep508 import canonical_name

__all__ = ["Provided"]

Package = Wheel | CondaPackage
# What names of packages begin with that have nothing else in common.
_SHARED = frozenset({"aws", "azure", "apache", "flask", "django", "google", "jupyter", "python", "scikit"})
_LIBRARIES = (b".py", b".so", b".pyx", b".pyd")


class Provided:
    """Answers where an import comes from.

    Nothing is fetched for a module that is found without; for the others, first what should have them by name
    is asked for, then everything else.

    Parameters:
        packages: the locked packages of the environment.
        modules: what is in them, None without a lock.
    """

    def __init__(
        self, spec: Spec, files: tuple[RepoFile, ...], packages: Sequence[Package], modules: Modules | None
    ) -> None:
        self._spec = spec
        self._files = files
        self._packages = {package.name: package for package in packages}
        self._modules = modules
        self._answers: dict[str, bool] = {}

    @property
    def is_exact(self) -> bool:
        """Whether there is a lock to look into."""
        return self._modules is not None

    @cached_property
    def local(self) -> frozenset[str]:
        """The top-level names that the repository itself has, wherever in it they are."""
        names = set(local_modules(self._files))
        for file in self._files:
            if file.path.endswith(_LIBRARIES):
                *parents, last = file.path.decode("utf-8", "replace").split("/")
                names.update((*parents, last.partition(".")[0]))
        return frozenset(names)

    def has(self, module: str) -> bool:
        """Whether ``import module`` works: it is of the standard library, of the repository, or provided."""
        name = imported_name(module)
        if not name or name.partition(".")[0] in self.local:
            return True
        if self._modules is None:
            return self._is_unknown or self._is_declared(name)
        if module not in self._answers:
            self._answers[module] = self._is_provided(self._modules, module, name)
        return self._answers[module]

    def roots(self, names: Sequence[str]) -> dict[str, frozenset[str]]:
        """What can be imported from each of the locked packages ``names``, as far as that can be known."""
        if self._modules is None:
            return {}
        packages = [self._packages[name] for name in names if name in self._packages]
        self._modules.fetch(packages)
        return self._modules.of(packages)

    def _is_provided(self, modules: Modules, module: str, name: str) -> bool:
        packages = self._packages.values()
        likely = self._likely(name)
        known: dict[str, frozenset[str]] = {}
        for candidates in ((), likely, packages):
            modules.fetch(candidates)
            known = modules.of(packages)
            if any(provides(roots, module) for roots in known.values()):
                return True
        # What is in some is not known: it is theirs if they are called like it.
        return any(package.name not in known for package in likely)

    def _likely(self, name: str) -> list[Package]:
        names = {canonical_name(name), canonical_name(distribution_of(name) or name)}
        return [
            package
            for each, package in self._packages.items()
            if each in names or any(each.startswith(one + "-") for one in names)
        ]

    @cached_property
    def _is_unknown(self) -> bool:
        """Whether nobody can tell by reading what is declared: a ``setup.py`` would have to run."""
        declared = self._spec.packages
        return declared is None or "anaconda" in declared or any(one.dynamic for one in self._spec.sources)

    def _is_declared(self, name: str) -> bool:
        declared = self._spec.packages or frozenset()
        distribution = distribution_of(name)
        if not distribution:
            return True  # nobody knows what to ask for
        brought = brought_by(name)
        if "*" in brought or not declared.isdisjoint(brought):
            return True
        names = {canonical_name(name), canonical_name(distribution)}
        # opencv-contrib-python for opencv-python-headless, tensorflow-gpu for tensorflow, py-opencv on conda.
        stems = {_stem(each) for each in names} - _SHARED
        return any(each in names or _stem(each) in stems for each in declared)


def _stem(name: str) -> str:
    return name.removeprefix("python-").removeprefix("py-").partition("-")[0]
