"""What every step sees, whatever runs it."""

from __future__ import annotations

from collections.abc import Mapping

from envbuild.base.host import host_platform
from envbuild.errors import MachineError
from envbuild.pack import recipe
from envbuild.sandbox.model import Step

__all__ = ["WRITABLE", "require_native", "variables"]

# Where the image's user may write; everything else belongs to root.
WRITABLE = (recipe.ENV_PREFIX, recipe.REPO_DIR, recipe.HOME)

_FIXED = {
    # https://reproducible-builds.org/specs/source-date-epoch/
    "SOURCE_DATE_EPOCH": str(recipe.MTIME),
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
    "LANG": "C.UTF-8",
    # A process number, a time or a terminal in a log would be different each time.
    "TERM": "dumb",
    "HOSTNAME": "envbuild",
}
_ROOT = {"HOME": "/root", "USER": "root", "LOGNAME": "root"}


def variables(step: Step, lent: Mapping[str, str]) -> dict[str, str]:
    """The variables a step gets on top of the image's own.

    Parameters:
        lent: those of the user's that a step with network needs.
    """
    return {**_FIXED, **(_ROOT if step.user == "root" else {}), **lent, **step.env}


def require_native(platform: str, what: str) -> None:
    """Refuse to run ``what`` for another architecture.

    Raises:
        MachineError: ``platform`` is not this machine's.
    """
    if platform != host_platform():
        raise MachineError(
            f"{what} has to run on {platform}, and this machine is {host_platform()}",
            code="foreign-platform",
            remedy=f"build that on such a machine; --platform {host_platform()} builds for this one",
        )
