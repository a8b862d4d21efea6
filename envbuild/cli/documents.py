"""The documents that ``--json`` prints (docs/schemas.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.source.text import redact_all

if TYPE_CHECKING:  # each verb needs few of these, and loading them all would take a sixth of a cached build
    from envbuild.attest.attaching import Attached
    from envbuild.base.recipe import BaseRecipe
    from envbuild.builder.contract import Lack
    from envbuild.errors import EnvbuildError
    from envbuild.image.descriptor import Descriptor
    from envbuild.image.model import Image
    from envbuild.image.output import Output
    from envbuild.image.reference import Reference
    from envbuild.lock.difference import Change
    from envbuild.lock.ensure import LockFile
    from envbuild.lock.model import Lock
    from envbuild.plan import Plan
    from envbuild.pull import Pulled
    from envbuild.registry.publish import Published
    from envbuild.registry.push import Pushed
    from envbuild.source import Origin
    from envbuild.source.selection import Selection
    from envbuild.spec import Spec

__all__ = [
    "attest_document",
    "bases_document",
    "build_document",
    "changes_document",
    "error_document",
    "export_document",
    "lock_document",
    "plan_document",
    "pull_document",
    "push_document",
    "pushed_document",
    "sbom_document",
]


def error_document(error: EnvbuildError) -> dict[str, Any]:
    """Of anything that failed: why, without credentials."""
    document: dict[str, Any] = redact_all(error.to_json())
    return document


def export_document(
    form: str, text: str, output: Path | None, platforms: Sequence[str], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """``export``: what was written, and the text itself when it went to no file."""
    return {
        "format": form,
        "output": str(output) if output else None,
        "platforms": list(platforms),
        "digest": "sha256:" + hashlib.sha256(text.encode()).hexdigest(),
        "content": None if output else text,
        "seconds": dict(seconds),
    }


def lock_document(file: LockFile, previous: Lock | None, seconds: Mapping[str, float]) -> dict[str, Any]:
    """``lock``: what was locked, and what is different from the ``previous`` lock."""
    lock = file.lock
    return {
        "lock": str(file.path) if file.path else None,
        "digest": "sha256:" + hashlib.sha256(file.data).hexdigest(),
        "up_to_date": lock == previous,
        "previous": previous is not None,
        "name": lock.name,
        "python": next((of.conda_python for of in lock.targets if of.conda_python), lock.base.python),
        "base": lock.base.name,
        "base_digest": _base_digest(lock),
        "previous_base": previous.base.name if previous else None,
        "previous_base_digest": _base_digest(previous) if previous else None,
        "cutoff": lock.cutoff,
        "kernels": list(lock.kernels),
        "platforms": {target.platform: target.versions for target in lock.targets},
        "changes": _changes(previous, lock),
        "seconds": dict(seconds),
    }


def _base_digest(lock: Lock) -> str | None:
    return lock.base.image.digest if lock.base.image else None


def _changes(previous: Lock | None, lock: Lock) -> list[dict[str, str | None]]:
    """Packages of the user's environments whose versions differ, by name."""

    def versions(of: Lock | None) -> dict[str, str]:
        found: dict[str, set[str]] = {}
        for target in of.targets if of else ():
            for name, version in target.versions.items():
                found.setdefault(name, set()).add(version)
        return {name: ", ".join(sorted(several)) for name, several in found.items()}

    before, after = versions(previous), versions(lock)
    return [
        {"name": name, "before": before.get(name), "after": after.get(name)}
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _source(origin: Origin | None) -> dict[str, str | None] | None:
    """Where a repository was fetched from; None for a directory."""
    if origin is None:
        return None
    return {
        "url": origin.url,
        "ref": origin.ref,
        "revision": origin.revision,
        "subdirectory": origin.subdirectory,
    }


def _contents(selection: Selection | None) -> dict[str, Any] | None:
    """What of the repository goes into the image; None when that could not be found out."""
    if selection is None:
        return None
    return {
        "files": sum(file.kind != "dir" for file in selection.files),
        "bytes": selection.size,
        "left_out": [
            {"path": entry.path, "cause": entry.cause, "reason": entry.reason} for entry in selection.left_out
        ],
        "large": [{"path": path, "bytes": size} for path, size in selection.large.items()],
        "by_pattern_only": selection.by_pattern_only,
    }


def plan_document(
    spec: Spec,
    lock: Lock | None,
    stale: Sequence[str],
    plan: Plan | None,
    *,
    python: str | None,
    origin: Origin | None,
    selection: Selection | None,
) -> dict[str, Any]:
    """``plan``: what is read and would be built.

    Parameters:
        lock, plan: those of a lock that is there.
        python: the version that locking anew would give, None when no base fits.
        origin: where the repository was fetched from.
        selection: what of it goes into the image.
    """
    return {
        "name": spec.name,
        "source": _source(origin),
        "files": [
            {"path": file.path, "kind": file.kind, "used": file.used, "reason": file.reason}
            for file in spec.files
        ],
        "notebooks": [
            {
                "path": notebook.path,
                "kernel": notebook.kernel,
                "language": notebook.language,
                "imports": list(notebook.imports),
            }
            for notebook in spec.notebooks
        ],
        "python": {
            "requested": [
                {
                    "specifier": request.specifier,
                    "file": request.file,
                    "line": request.line,
                    "hint": request.hint,
                }
                for request in spec.python
            ],
            "chosen": python,
            "locked": lock.base.python if lock else None,
        },
        "base": {
            "asked": spec.base.reference if spec.base else None,
            "file": spec.base.file if spec.base else None,
            "line": spec.base.line if spec.base else None,
            "locked": lock.base.name if lock else None,
            "digest": lock.base.image.digest if lock and lock.base.image else None,
        },
        "requirements": [
            {"requirement": requirement.text, "file": requirement.file, "line": requirement.line}
            for requirement in spec.requirements
        ],
        "inferred": spec.inferred,
        "adopted": spec.adopted.path if spec.adopted else None,
        "kernels": sorted(
            {spec.name, "python3", *spec.kernels, *(kernel.name for kernel in spec.other_kernels)}
        ),
        "builder": spec.engine_build.kind if spec.engine_build else "envbuild",
        "will_execute": [
            {
                "what": execution.what,
                "why": execution.why,
                "when": execution.when,
                "file": execution.file,
                "line": execution.line,
                "network": execution.network,
            }
            for execution in spec.executions
        ],
        "problems": [
            {
                "level": problem.level,
                "code": problem.code,
                "message": problem.message,
                "file": problem.file,
                "line": problem.line,
                "remedy": problem.remedy,
            }
            for problem in spec.problems
        ],
        "contents": _contents(selection),
        "lock": {"present": lock is not None, "stale": list(stale)},
        "env": plan.env if plan else None,
        "layers": [
            {
                "title": layer.title,
                "packages": list(layer.packages),
                "bytes": sum(artifact.size for artifact in layer.artifacts),
            }
            for layer in (plan.layers if plan else ())
        ],
    }


def build_document(
    images: Sequence[Image],
    *,
    index: str | None,
    env: str | None,
    tags: Sequence[str],
    outputs: Sequence[str],
    loaded: str | None,
    pushed: Pushed | None,
    previous: str | None,
    changes: Sequence[Change] | None,
    attached: Sequence[Attached],
    published: Published | None,
    lock: str | None,
    lacks: Sequence[Lack],
    origin: Origin | None,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """``build``: the image of each platform; ``index`` is the digest over several of them.

    ``loaded`` is the engine that was given one of them.
    ``env`` is None and ``lacks`` may have elements when a container engine built the image. ``changes`` are
    those from the lock of the image that was ``previous``, None when it has none or nothing was pushed.
    """
    first = images[0]
    return {
        "image_id": first.image_id,
        "digest": index or first.manifest.digest,
        "env": env,
        "lock": lock,
        "source": _source(origin),
        "tags": list(tags),
        "outputs": list(outputs),
        "loaded": loaded,
        "pushed": pushed_document(pushed, attached) if pushed is not None else None,
        "shared": _shared(published),
        "previous": previous,
        "changes": None if changes is None else changes_document(changes),
        "platforms": {image.platform: _image(image) for image in images},
        "layers": _image(first)["layers"],
        "lacks": [{"what": lack.what, "why": lack.why, "remedy": lack.remedy} for lack in lacks],
        "seconds": dict(seconds),
    }


def changes_document(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Changes of a lock."""
    return [
        {
            "kind": change.kind,
            "name": change.name,
            "before": change.before,
            "after": change.after,
            "platforms": list(change.platforms),
        }
        for change in changes
    ]


def pushed_document(pushed: Pushed, attached: Sequence[Attached]) -> dict[str, Any]:
    """What was pushed under which names, what became of layers and configs, and what was attached."""
    return {
        "digest": pushed.top.digest,
        "references": [str(reference) for reference in pushed.references],
        **{outcome: {"blobs": moved.blobs, "bytes": moved.size} for outcome, moved in pushed.moved.items()},
        "attached": _attached(attached),
    }


def attest_document(
    reference: Reference, top: Descriptor, attached: Sequence[Attached], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """``attest``: the image, by name and digest, and what was attached to it."""
    return {
        "image": str(reference),
        "digest": top.digest,
        "attached": _attached(attached),
        "seconds": dict(seconds),
    }


def _attached(attached: Sequence[Attached]) -> list[dict[str, Any]]:
    return [{"kind": one.kind, "subject": one.subject, "digest": one.digest or None} for one in attached]


def sbom_document(name: str, platform: str, data: bytes, output: Path | None) -> dict[str, Any]:
    """``sbom``: of what and for which platform, and the bill of materials itself when it went to no file."""
    return {
        "name": name,
        "platform": platform,
        "output": str(output) if output else None,
        "digest": "sha256:" + hashlib.sha256(data).hexdigest(),
        "content": None if output else json.loads(data),
    }


def push_document(
    name: str, images: Sequence[Image], pushed: Pushed, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """``push``: the image of each platform, and what was sent of them."""
    return {
        "name": name,
        "pushed": pushed_document(pushed, ()),
        "platforms": {image.platform: _image(image) for image in images},
        "seconds": dict(seconds),
    }


def pull_document(
    reference: Reference,
    pulled: Pulled,
    name: str,
    outputs: Sequence[Output],
    loaded: str | None,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """``pull``: the image of each platform, and the ``name`` the cache has it under."""
    return {
        "reference": str(reference),
        "digest": pulled.digest,
        "name": name,
        "outputs": list(map(str, outputs)),
        "loaded": loaded,
        "platforms": {image.platform: _image(image) for image in pulled.images},
        "seconds": dict(seconds),
    }


def _shared(published: Published | None) -> dict[str, Any] | None:
    """What went into the shared cache; None when nothing was to go there."""
    if published is None:
        return None
    return {
        "reference": str(published.reference),
        "digest": published.digest,
        "layers": published.layers,
    }


def _image(image: Image) -> dict[str, Any]:
    return {
        "image_id": image.image_id,
        "digest": image.manifest.digest,
        "size": sum(layer.size for layer in image.layers),
        "layers": [
            {
                "digest": layer.digest,
                "diff_id": layer.diff_id,
                "size": layer.size,
                "title": layer.title,
                "packages": list(layer.packages),
                "cached": layer.cached,
                "found": layer.found or None,
            }
            for layer in image.layers
        ],
    }


def bases_document(recipes: Sequence[BaseRecipe], setting: str | None = None) -> dict[str, Any]:
    """``base list``: the bases on offer, oldest Python first; ``setting`` is the image of the user."""
    return {
        "setting": setting,
        "bases": [
            {
                "name": recipe.name,
                "python": recipe.python,
                "suite": recipe.suite,
                "glibc": recipe.glibc,
                "platforms": list(recipe.platforms),
                "packages": list(recipe.packages),
                "server": list(recipe.server),
            }
            for recipe in recipes
        ],
    }
