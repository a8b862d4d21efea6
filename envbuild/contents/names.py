"""Which modules can be imported once files are in ``site-packages``: by their names alone."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["importable", "provides"]

_MODULES = (".py", ".so", ".pyc")
_LIBRARIES = ("purelib", "platlib")


def importable(paths: Iterable[str]) -> frozenset[str]:
    """The modules and packages that ``paths`` make importable, as far down as namespaces go (PEP 420).

    What is below a package with an ``__init__`` is its own business and not listed; where there is none the
    directory is a namespace, which other distributions may share.

    Parameters:
        paths: relative to ``site-packages``, ``/``-separated, as in a wheel (``.data`` directories and all).

    >>> sorted(importable(["six.py", "numpy/__init__.py", "numpy/linalg/a.py", "google/auth/__init__.py"]))
    ['google.auth', 'numpy', 'six']
    """
    packages: set[tuple[str, ...]] = set()
    modules: set[tuple[str, ...]] = set()
    for path in paths:
        if not path.endswith(_MODULES):
            continue
        *parents, last = path.split("/")
        if parents and parents[0].endswith(".data"):
            if len(parents) < 2 or parents[1] not in _LIBRARIES:
                continue
            del parents[:2]
        if parents[-1:] == ["__pycache__"]:
            continue
        stem = last.partition(".")[0]  # also of name.cpython-311-x86_64-linux-gnu.so
        if not all(part.isidentifier() for part in (*parents, stem)):
            continue
        if stem == "__init__":
            packages.add(tuple(parents))
        else:
            modules.add((*parents, stem))
    roots = set()
    for name in packages | modules:
        lengths = range(1, len(name))
        roots.add(next((name[:length] for length in lengths if name[:length] in packages), name))
    return frozenset(".".join(root) for root in roots if root)


def provides(roots: Iterable[str], module: str) -> bool:
    """Whether what :func:`importable` found has the dotted ``module``, or is what it is a namespace of.

    >>> provides(["google.auth"], "google.auth.jwt"), provides(["google.auth"], "google")
    (True, True)
    """
    return any(
        module == root or module.startswith(root + ".") or root.startswith(module + ".") for root in roots
    )
