"""``envbuild`` and ``python -m envbuild``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from envbuild.cli.main import INTERRUPTED, run

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its code (the console script)."""
    code = INTERRUPTED
    with suppress(KeyboardInterrupt):  # a second Ctrl-C, in the middle of our goodbye
        code = run(sys.argv[1:])
    if code == INTERRUPTED:
        # Everything is cleaned up by now; threads that wait for a network must not keep the user waiting.
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
