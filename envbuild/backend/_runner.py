"""Calls one hook of a build backend. Runs in the sandbox, by the base's Python, with nothing of envbuild.

Started as ``runner.py PLACE HOOK`` in the source tree. ``PLACE/request.json`` says which backend (PEP 517)
and ``PLACE/out`` is where wheels go and ``result.json`` with the hook's answer. Everything else, the log
included, is standard output.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any


def load(backend: str, paths: list[str]) -> Any:
    """The backend object, as PEP 517 says; ``paths`` are directories of the source tree to look in first."""
    here = Path.cwd().resolve()
    for path in reversed(paths):
        directory = (here / path).resolve()
        if not directory.is_relative_to(here):
            raise SystemExit("backend-path leads out of the source tree")
        sys.path.insert(0, str(directory))
    module, _, attributes = backend.partition(":")
    found = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        found = getattr(found, attribute)
    return found


def call(backend: Any, hook: str, out: str) -> dict[str, Any]:
    """The hook's answer, as JSON can say it."""
    if hook.startswith("get_requires_for_build_"):
        function = getattr(backend, hook, None)
        return {"requires": [] if function is None else list(map(str, function({})))}
    if hook == "prepare_metadata_for_build_wheel":
        function = getattr(backend, hook, None)
        if function is None:
            return {"wheel": str(backend.build_wheel(out, {}))}
        return {"metadata": str(function(out, {}))}
    if hook == "build_editable" and not hasattr(backend, hook):
        hook = "build_wheel"  # an old backend: what is installed is then a copy
    return {"wheel": str(getattr(backend, hook)(out, {}))}


def main(place: str, hook: str) -> None:
    """Do it."""
    os.umask(0o022)
    request = json.loads(Path(place, "request.json").read_text("utf-8"))
    # The directory of this file is first on the path, and none of the backend's business.
    sys.path = [entry for entry in sys.path if entry != sys.path[0]]
    out = Path(place, "out")
    result = call(load(request["backend"], request["backend_path"]), hook, str(out))
    (out / "result.json").write_text(json.dumps(result), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
