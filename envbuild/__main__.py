"""``envbuild`` and ``python -m envbuild``."""

from __future__ import annotations

import sys

from envbuild.cli.main import run

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its code (the console script)."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
