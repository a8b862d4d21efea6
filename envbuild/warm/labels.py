"""How objects in a cluster are told to be those of a fleet's warm nodes, and how they are called."""

from __future__ import annotations

import hashlib
from typing import Final

from envbuild.fleet.model import Fleet

__all__ = ["LABEL_LANE", "LABEL_POOL", "object_name", "own_labels", "own_selector"]

_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
_COMPONENT: Final = "app.kubernetes.io/component"
_FLEET: Final = "envbuild.dev/fleet"
LABEL_POOL: Final = "envbuild.dev/pool"
LABEL_LANE: Final = "envbuild.dev/lane"
_LONGEST: Final = 52  # what controllers add to a name still has to fit into a label's 63 characters


def own_labels(fleet: Fleet) -> dict[str, str]:
    """The labels of everything that keeps nodes warm for ``fleet``."""
    return {_COMPONENT: "warm", _MANAGED_BY: "envbuild", _FLEET: fleet.name}


def own_selector(fleet: Fleet) -> str:
    """A label selector for all of that and nothing else."""
    return ",".join(f"{name}={value}" for name, value in sorted(own_labels(fleet).items()))


def object_name(fleet: Fleet, *parts: str) -> str:
    """``warm-FLEET-PART-…``.

    Names that would be too long, or could be those of other parts, end in a digest.

    >>> from pathlib import Path
    >>> lab = Fleet("lab", Path("fleet.toml"), ())
    >>> object_name(lab, "gpu", "1"), object_name(lab, "gpu-a100", "1")
    ('warm-lab-gpu-1', 'warm-lab-gpu-a100-1-c1927e67c8')
    """
    name = "-".join(("warm", fleet.name, *parts))
    if len(name) <= _LONGEST and not (parts and any("-" in part for part in (fleet.name, *parts))):
        return name
    digest = hashlib.sha256("/".join((fleet.name, *parts)).encode()).hexdigest()[:10]
    return f"{name[: _LONGEST - 11].rstrip('-')}-{digest}"
