"""The Python of a base that is a registry's image, in a sandbox: nothing of such an image runs outside."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace

from envbuild.base.host import host_platform
from envbuild.base.interpreter import Interpreter
from envbuild.errors import MachineError, RepoError
from envbuild.image.model import Image
from envbuild.lock.model import Base
from envbuild.pack.bytecode import VARIABLES
from envbuild.progress import Reporter
from envbuild.sandbox.model import Limits, Sandbox
from envbuild.source.text import printable, quote
from envbuild.store import Store

__all__ = ["confined_interpreter", "require_host"]

_PROCESSES = 16  # one that answers, and a fork for each package
_CHECK_SECONDS = 60.0
_SAY_VERSION = "import sys; print(sys.implementation.cache_tag, '%d.%d.%d' % sys.version_info[:3])"
_LONGEST_ANSWER = 2000


def require_host(base: Base) -> str:
    """The platform of this machine, for which ``base`` is locked.

    Raises:
        MachineError: it is not.
    """
    host = host_platform()
    if base.image is not None and host not in base.image.platforms:
        locked = ", ".join(sorted(base.image.platforms))
        raise MachineError(
            f"the base is locked for {locked}, and this machine is {host}: the base's Python, which compiles"
            " bytecode, does not run here",
            code="foreign-platform",
            remedy=f"lock for {host}, too (`--platform {host}` beside the others), or build elsewhere",
        )
    return host


def confined_interpreter(
    base: Base,
    image: Callable[[], Image],
    sandbox: Sandbox,
    *,
    store: Store,
    limits: Limits,
    reporter: Reporter,
) -> Interpreter:
    """The Python of ``base``, to be started in ``sandbox``.

    Parameters:
        image: makes the image of the base for this machine.

    Raises:
        RepoError: it is not the Python that was locked.
        MachineError: it does not run here.
    """
    host = require_host(base)
    made = image()
    config = json.loads(store.read_blob(made.config.digest))["config"]
    values = dict(variable.partition("=")[::2] for variable in config.get("Env") or ())
    # Where the image has libraries in unusual places, Python may need them.
    libraries = {name: values[name] for name in ("LD_LIBRARY_PATH",) if name in values}
    options = ("-P",) if tuple(map(int, base.python_minor.split("."))) >= (3, 11) else ()
    argv = (base.executable(host), *options)
    variables = {**libraries, **VARIABLES}
    few = replace(limits, processes=_PROCESSES)
    _check(base, *sandbox.attached(made, argv, variables, replace(few, seconds=_CHECK_SECONDS), reporter))
    command, environment = sandbox.attached(made, argv, variables, few, reporter)
    return Interpreter(command, environment, made.image_id)


def _check(base: Base, command: tuple[str, ...], environment: dict[str, str]) -> None:
    """Ask the Python which one it is. It need not answer, or may answer without end."""
    with subprocess.Popen(
        [*command, "-S", "-s", "-B", "-c", _SAY_VERSION],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said, complaints = process.stdout.read(_LONGEST_ANSWER), process.stderr.read(_LONGEST_ANSWER)
        process.stdout.close()
        process.stderr.close()
        code = process.wait()
    if code:
        lines = [
            printable(line) for line in complaints.decode("utf-8", "replace").splitlines() if line.strip()
        ]
        raise MachineError(
            f"the Python of the base {base.name} does not run in the sandbox, so it cannot compile bytecode",
            code="interpreter-failed",
            remedy="run `envbuild doctor`; or use another base",
            detail="\n".join(lines) or f"exit status {code}",
        )
    answer = said.decode("utf-8", "replace").strip()
    if answer != f"cpython-{base.python_minor.replace('.', '')} {base.python}":
        raise RepoError(
            f"the base {base.name} was locked with Python {base.python}, and its Python says that it is"
            f" {quote(answer)}",
            code="base-python-differs",
            remedy="lock again with `envbuild lock --upgrade-base`; if that does not help, use another base",
        )
