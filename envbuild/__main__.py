"""``envbuild`` and ``python -m envbuild``."""

from __future__ import annotations

import os
import sys

__all__ = ["main"]

_INTERRUPTED = 130  # as shells have it


def main() -> None:
    """Run the command line and exit with its code (the console script)."""
    try:
        code = _run()
    except KeyboardInterrupt:  # before the command line looks after it, or a second one during its goodbye
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        # Everything is cleaned up by now; threads that wait for a network must not keep the user waiting.
        os._exit(code)
    sys.exit(code)


def _run() -> int:
    """Import the command line, which takes most of the time of a short command, and run it."""
    import signal

    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:
        # There is nothing to clean up yet, and an exception would be lost where importing ignores exceptions.
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(_INTERRUPTED))
    from envbuild.cli.main import run

    if usual is signal.default_int_handler:
        signal.signal(signal.SIGINT, usual)
    return run(sys.argv[1:])


if __name__ == "__main__":
    main()
