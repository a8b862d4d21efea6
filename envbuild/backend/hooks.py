"""One hook of a build backend, called in the sandbox: what goes in, and what is believed of the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

from envbuild.backend.system import BuildSystem
from envbuild.engine.model import Mount
from envbuild.errors import RepoError
from envbuild.image.model import Image
from envbuild.pack import recipe
from envbuild.progress import Reporter
from envbuild.sandbox.model import Limits, Sandbox, Step
from envbuild.source import Repo
from envbuild.source.text import clean, printable, redact
from envbuild.spec.pep508 import parse_requirement
from envbuild.store import Store

__all__ = ["Answer", "Hooks"]

_PLACE: Final = "/srv/build"
_RESULT_LIMIT = 4 << 20
_LOG_LIMIT = 64 << 10
_SHOWN_LINES = 25
# The same wherever it is built: nothing of the host, and one time.
_ENVIRONMENT: Final = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": str(recipe.MTIME),
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "PIP_NO_INDEX": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
# What the last words of a failed build mean: pattern, and what to do about it.
_REMEDIES: Final = (
    (
        r"Python\.h: No such file|command '[^']*(?:gcc|cc|g\+\+|clang)' failed: No such file"
        r"|unable to execute '|No such file or directory: '(?:[\w-]+-)?(?:gcc|cc|g\+\+|clang|make|cmake)'"
        r"|(?:gcc|g\+\+|cc|make|clang)['\"]?: (?:command )?not found"
        r"|Unknown compiler|compiler .*not found|CMAKE_C_COMPILER not set|No CMAKE_C_COMPILER"
        r"|fatal error: .*\.h: No such file",
        "it needs a compiler: add build-essential and python3-dev to apt.txt, or use a version with wheels",
    ),
    (
        r"name resolution|Network is unreachable|Name or service not known|urlopen error|getaddrinfo",
        "it wants the network, which builds have only with `--network build`",
    ),
    (
        r"No module named '?([\w.]+)",
        "it uses a module without saying so in its [build-system]: use another version of it",
    ),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a hook gave: the ``out`` directory with files of foreign code, and its result."""

    out: Path
    result: Mapping[str, Any]

    def requires(self, what: str) -> tuple[str, ...]:
        """The answer of a ``get_requires_for_build_*`` hook.

        Raises:
            RepoError: it is not a list of requirements on an index.
        """
        texts = self.result.get("requires")
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise _unusable(what, "no list of requirements")
        for text in texts:
            if parse_requirement(text) is None:
                raise _unusable(what, f"it needs {clean(text)!r}, which is no package of an index")
        return tuple(texts)

    def path(self, key: str, what: str) -> Path | None:
        """The file or directory that the result names under ``key``; None when it names none.

        Raises:
            RepoError: the name leads elsewhere, or nothing is there.
        """
        name = self.result.get(key)
        if name is None:
            return None
        if not isinstance(name, str) or "/" in name or "\0" in name or name in ("", ".", ".."):
            raise _unusable(what, "a name that is none")
        path = self.out / name
        if path.is_symlink() or not path.exists():
            raise _unusable(what, f"{clean(name)!r}, which is not there")
        return path


def _unusable(what: str, reason: str) -> RepoError:
    return RepoError(
        f"building {what} gave an answer that cannot be used: {reason}",
        code="bad-build-answer",
        remedy="report it to the project's maintainers",
    )


@dataclass(frozen=True, slots=True)
class Hooks:
    """Calls hooks in ``image``, which has the base's Python.

    ``network`` lets them reach the network, ``limits`` is what each call may use.
    """

    sandbox: Sandbox
    image: Image
    store: Store
    reporter: Reporter
    network: bool = False
    limits: Limits = field(default_factory=Limits)

    @contextmanager
    def call(
        self,
        hook: str,
        what: str,
        tree: Path,
        system: BuildSystem,
        environment: Path,
        *,
        place: str = f"{_PLACE}/source",
        subdirectory: str = "",
        version: str | None = None,
    ) -> Iterator[Answer]:
        """Call ``hook`` (PEP 517, PEP 660); the answer's files are there until the block ends.

        Parameters:
            what: the project, for messages.
            tree: its sources; the backend may write there.
            environment: what :func:`envbuild.backend.environment.make_environment` made.
            place: where the sandbox sees the tree, and ``subdirectory`` the project in it.
            version: what tools that ask git for one should say instead.

        Raises:
            RepoError: the build failed; its last words are in the detail.
            MachineError: the sandbox failed.
        """
        with self.store.temporary_directory() as scratch:
            (scratch / "place" / "out").mkdir(parents=True)
            (scratch / "place" / "out").chmod(0o777)
            (scratch / "place" / "source").mkdir()  # mount points cannot be made in what is read-only
            request = {"backend": system.backend, "backend_path": list(system.backend_path)}
            (scratch / "place" / "request.json").write_text(json.dumps(request))
            runner = resources.files("envbuild.backend").joinpath("_runner.py").read_bytes()
            (scratch / "place" / "runner.py").write_bytes(runner)
            log = scratch / "log"
            step = Step(
                title=f"building {what}",
                argv=(f"/{recipe.ENV_PREFIX}/bin/python3", f"{_PLACE}/runner.py", _PLACE, hook),
                env=_ENVIRONMENT | _pretended(version),
                workdir=f"{place}/{subdirectory}".rstrip("/"),
                mounts=(
                    Mount(environment, f"/{recipe.ENV_PREFIX}"),
                    Mount(scratch / "place", _PLACE),
                    Mount(scratch / "place" / "out", f"{_PLACE}/out", writable=True),
                    Mount(tree, place, writable=True),
                ),
                network=self.network,
                limits=self.limits,
                output=log,
            )
            with self.sandbox.execute(self.image, step, self.reporter) as outcome:
                if outcome.exceeded is not None or outcome.code != 0:
                    raise _failed(what, outcome.exceeded, outcome.code, log)
            yield Answer(scratch / "place" / "out", _result(what, scratch / "place" / "out"))


def _pretended(version: str | None) -> dict[str, str]:
    """There is no git in the sandbox, nor a history to look at."""
    names = ("SETUPTOOLS_SCM_PRETEND_VERSION", "PDM_BUILD_SCM_VERSION", "PBR_VERSION")
    return {} if version is None else dict.fromkeys(names, version)


def _result(what: str, out: Path) -> dict[str, Any]:
    try:
        value = json.loads(Repo(out.resolve()).read("result.json", _RESULT_LIMIT))
    except (RepoError, ValueError, RecursionError) as error:
        raise _unusable(what, "none that can be read") from error
    if not isinstance(value, dict):
        raise _unusable(what, "none that can be read")
    return value


def _failed(what: str, exceeded: str | None, code: int, log: Path) -> RepoError:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _LOG_LIMIT))
        text = stream.read().decode("utf-8", "replace")
    lines = [printable(redact(line.rstrip())) for line in text.split("\n") if line.strip()]
    reason = exceeded or (clean(lines[-1]) if lines else f"exit code {code}")
    remedy = "use another version of it, or one that is published as a wheel"
    for pattern, found in _REMEDIES:
        if re.search(pattern, text):
            remedy = found
            break
    return RepoError(
        f"building {what} from source failed: {reason}",
        code="build-failed",
        remedy=remedy,
        detail="\n".join(lines[-_SHOWN_LINES:]),
    )
