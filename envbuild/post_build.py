"""Running the repository's ``postBuild`` in a complete image, and what to say when it fails."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from envbuild.engine.model import Mount
from envbuild.errors import RepoError
from envbuild.image.model import Image
from envbuild.pack import recipe
from envbuild.sandbox.model import Outcome, Step
from envbuild.sandbox.script import WATCH, failed_line, is_bash, watched
from envbuild.sandbox.steps import StepLayers, Stepped
from envbuild.source import Repo, printable
from envbuild.source.log import last_lines
from envbuild.spec.post_build import STEP, script_interpreter

__all__ = ["PostBuild", "run_post_build"]

# What a program says when it cannot reach anybody.
_NO_NETWORK = re.compile(
    r"Could not resolve|Temporary failure in name resolution|Name or service not known|Network is unreachable"
    r"|NameResolutionError|getaddrinfo|unable to resolve host|EAI_AGAIN|Failed to establish a new connection",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class PostBuild:
    """The script at ``path`` of the repository; ``network`` tells whether it may reach the network."""

    path: str
    network: bool = False


def run_post_build(script: PostBuild, repo: Repo, image: Image, steps: StepLayers) -> Stepped:
    """The layer of what the script changes in ``image``, which has the repository's files.

    Raises:
        RepoError: it failed, or exceeded a limit; the end of its output is in ``detail``.
        MachineError: see :meth:`StepLayers.layer`.
    """
    interpreter = script_interpreter(repo, script.path)
    place = f"/{recipe.REPO_DIR}/{script.path}"
    key = _key(image, place, interpreter, script.network)
    log = steps.store.logs / f"{STEP}-{key[:16]}.log"
    with watched(steps.store) as watch:

        def failed(outcome: Outcome) -> RepoError:
            return _failure(script, outcome, log, watch, repo)

        step = Step(
            title=STEP,
            # Through a shell: an interpreter that is not there is the script's failure, with a message.
            argv=("/bin/sh", "-c", 'exec "$@"', "sh", *interpreter, place),
            output=log,
            env={"BASH_ENV": f"{WATCH}/trap"} if is_bash(interpreter) else {},
            mounts=(Mount(watch, WATCH, writable=True),),
            network=script.network,
            limits=steps.limits,
        )
        return steps.layer(image, step, key, failed, printable(script.path))


def _key(image: Image, place: str, interpreter: tuple[str, ...], network: bool) -> str:
    content = {
        "kind": STEP,
        "recipe": recipe.VERSION,
        "platform": image.platform,
        "layers": [layer.diff_id for layer in image.layers],
        "script": [*interpreter, place],
        "network": network,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _failure(script: PostBuild, outcome: Outcome, log: Path, watch: Path, repo: Repo) -> RepoError:
    said = last_lines(log)
    what = f"used {outcome.exceeded}" if outcome.exceeded else f"failed with exit code {outcome.code}"
    remedy = f"all it said is in {log}"
    if outcome.exceeded:
        remedy = f"give it more with --step-timeout or --step-memory; {remedy}"
    elif not script.network and _NO_NETWORK.search(said):
        remedy = (
            "it has no network: declare what it downloads as dependencies, or allow it with"
            f" --network {STEP}; {remedy}"
        )
    return RepoError(
        f"{STEP} {what}",
        code="post-build-failed",
        file=printable(script.path),
        line=None if outcome.exceeded else failed_line(repo, script.path, outcome.code, said, watch),
        remedy=remedy,
        detail=said or None,
    )
