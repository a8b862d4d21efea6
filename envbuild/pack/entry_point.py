"""The script that stands for an entry point (``[console_scripts]`` of a wheel, ``entry_points`` of conda)."""

from __future__ import annotations

import re

__all__ = ["entry_point_script"]

_DOTTED_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_SCRIPT_NAME = re.compile(r"[^/\\\0\s][^/\\\0\r\n]*")

# Ours, because the templates of installers change from version to version.
_SCRIPT = """\
#!/{prefix}/bin/python3
import sys
from {module} import {name}

if __name__ == "__main__":
    sys.exit({call}())
"""


def entry_point_script(prefix: str, name: str, module: str, call: str) -> bytes:
    """The executable ``name`` of an environment: calls ``call`` (``main``, ``App.run``) of ``module``.

    Parameters:
        prefix: the environment's place in the image, without leading ``/``.

    Raises:
        ValueError: the name is no file name, or what is to be called is no dotted name.
    """
    if not (_SCRIPT_NAME.fullmatch(name) and _DOTTED_NAME.fullmatch(module) and _DOTTED_NAME.fullmatch(call)):
        raise ValueError(f"bad entry point {name!r} = {module!r}:{call!r}")
    text = _SCRIPT.format(prefix=prefix, module=module, name=call.partition(".")[0], call=call)
    return text.encode()
