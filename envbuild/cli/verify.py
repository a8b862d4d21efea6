"""``envbuild verify``: is an image what its lock says?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.building import lock_builder
from envbuild.cli.locking import project_lock
from envbuild.cli.looking import inspector
from envbuild.cli.notebook_arguments import split_arguments
from envbuild.cli.options import (
    common_options,
    engine_option,
    jobs_option,
    locked_option,
    platform_option,
    step_options,
    subdir_option,
)
from envbuild.cli.reproducing import reproduce_notebooks, reproduce_options
from envbuild.cli.session import Project, Session
from envbuild.cli.text import columns, count

if TYPE_CHECKING:
    from envbuild.attest.finished import Checked
    from envbuild.build import Builder
    from envbuild.inspection.medium import Medium
    from envbuild.proof.rebuilding import Recipe

__all__ = ["verify"]


@click.command(short_help="Build again from the lock, or run notebooks again, and compare.")
@click.argument("arguments", nargs=-1, metavar="[SOURCE] [NOTEBOOK...]")
@subdir_option
@click.option("--image", metavar="IMAGE", help="The image to verify. Default: the one in the cache.")
@click.option(
    "--key", type=click.Path(path_type=Path), metavar="KEY", help="Check its signature with this public key."
)
@click.option("--signature", is_flag=True, help="With --key: check only that, and build nothing.")
@reproduce_options
@locked_option
@platform_option
@engine_option
@jobs_option
@step_options
@common_options
def verify(
    session: Session,
    arguments: tuple[str, ...],
    image: str | None,
    key: Path | None,
    signature: bool,
    notebooks: bool,
    locked: bool,
    **wishes: Any,
) -> None:
    """Build SOURCE again from its lock, with nothing that was built before, and compare with an image.

    Without --image that is the image of this lock in the cache, or in the shared cache; if there is none, two
    builds are compared. With --image alone an environment image is verified with the lock inside it. Exit
    code 0: every byte is what the lock says. 1: something is not; the first file that differs is named. With
    --key an image in a registry must be signed, too; 4: it is not.

    With --notebooks nothing is built twice: the notebooks of SOURCE, all or those that are named, are run
    in its environment, and what they give is compared with the outputs that are stored in them. Exit code 1:
    one of them fails, or gives something else.
    """
    source, named = split_arguments(arguments)
    if notebooks:
        if image is not None or key is not None or signature:
            raise click.UsageError("--notebooks goes with neither --image nor --key nor --signature")
        reproduce_notebooks(session, source, named, locked=locked, wishes=wishes)
    else:
        _refuse_notebooks(named, {"locked": locked, **wishes})
        _verify_image(session, source if arguments else None, image, key, signature)


def _refuse_notebooks(named: Sequence[str], wishes: Mapping[str, Any]) -> None:
    if named:
        raise click.UsageError("to verify notebooks, add --notebooks")
    given = sorted(name for name, value in wishes.items() if value is not None and value is not False)
    if given:
        raise click.UsageError(f"--{given[0].replace('_', '-')} goes with --notebooks")


def _verify_image(
    session: Session, source: str | None, image: str | None, key: Path | None, signature: bool
) -> None:
    checked = _checked(session, image, key, signature)
    if signature and checked is not None:
        _tell_signature(session, checked)
        return
    from envbuild.base.host import host_platform
    from envbuild.cli.proof_documents import verify_document
    from envbuild.proof.verifier import Verifier

    project = None if source is None and image is not None else session.project(source or ".")
    settings = project.settings if project is not None else session.settings
    verifier = Verifier(
        inspector=inspector(session),
        recipe=partial(_recipe, session, project) if project is not None else None,
        usual=lambda recipe: lock_builder(session, recipe.lock, settings, recipe.repo),
        fresh=partial(_fresh_builder, session, project),
        shared=partial(_shared_image, session),
        reporter=session.console,
    )
    platforms = session.settings.platforms
    if image is not None:
        found = verifier.image(checked.pinned if checked is not None else image, platforms)
    else:
        found = verifier.own(settings.platforms or (host_platform(),))
    document = verify_document(found, checked, session.console.rounded_seconds)
    session.console.result(*_text(document))
    session.console.document(document)
    if not found.proven:
        raise click.exceptions.Exit(1)


def _checked(session: Session, image: str | None, key: Path | None, signature: bool) -> Checked | None:
    """The signature that is asked for, which is good; None when none is."""
    if key is None:
        if signature:
            raise click.UsageError("--signature needs a public key: --key KEY")
        return None
    if image is None:
        raise click.UsageError("--key needs an image in a registry: --image IMAGE")
    from envbuild.attest.finished import check_signature
    from envbuild.attest.keys import load_public_key

    checked = check_signature(inspector(session), image, load_public_key(key))
    if not checked.is_signed_as_asked:
        session.console.warn(f"it is signed as {', '.join(checked.signed.names)}, not as {checked.reference}")
    return checked


def _tell_signature(session: Session, checked: Checked) -> None:
    from envbuild.cli.proof_documents import signature_document

    document = signature_document(checked, session.console.rounded_seconds)
    session.console.result(*columns(_signature(document["signature"])))
    session.console.document(document)


def _signature(signature: dict[str, Any] | None) -> list[tuple[str, str]]:
    if signature is None:
        return []
    return [
        ("signed", signature["digest"]),
        *(("signed as", name) for name in signature["names"]),
        *(("signed about it", kind) for kind in signature["statements"]),
    ]


def _recipe(session: Session, project: Project, platforms: Sequence[str]) -> Recipe:
    from envbuild.proof.rebuilding import Recipe

    file = project_lock(session, project, platforms, locked=True)
    return Recipe(file.lock, file.data, project.repo, project.post_build)


def _fresh_builder(session: Session, project: Project | None, recipe: Recipe, compression: str) -> Builder:
    from envbuild.proof.rebuilding import cache_without_layers

    settings = project.settings if project is not None else session.settings
    root = click.get_current_context().with_resource(
        cache_without_layers(session.store, recipe.lock, session.console)
    )
    apart = session.apart(root)
    settings = replace(settings, cache_dir=root, compression=compression, registry=None, registry_cache=False)
    return lock_builder(apart, recipe.lock, settings, recipe.repo)


def _shared_image(session: Session, environment: str) -> Medium | None:
    from envbuild.image.reference import parse_reference
    from envbuild.inspection.remote import RemoteImage

    if session.settings.registry is None or session.settings.offline:
        return None
    reference = parse_reference(f"{session.settings.registry}:{environment}")
    repository = session.registries.repository(reference)
    return RemoteImage(reference, repository) if repository.head_manifest(environment) else None


def _text(document: dict[str, Any]) -> list[str]:
    rows = [("image", document["image"] or "none: two builds are compared")]
    lines = columns([*rows, *_signature(document["signature"])])
    for image in document["images"]:
        lines += ["", *columns([("platform", image["platform"]), ("image ID", image["image_id"])])]
        lines += _verdict(image)
    return lines


def _verdict(image: dict[str, Any]) -> list[str]:
    layers = count(len(image["layers"]), "layer")
    if image["identical"]:
        return [f"proven: {layers}, config and manifest are what the lock makes, byte for byte"]
    if image["proven"]:
        return [f"proven: {layers} and config are what the lock makes; compressed or described otherwise"]
    wrong = [layer for layer in image["layers"] if layer["state"] not in ("same", "encoded")]
    lines = [f"differs: {len(wrong)} of {layers}" if wrong else f"differs: the config; {layers} are the same"]
    for layer in wrong:
        lines += _layer(layer)
    for change in image["config"]:
        before, after = (change[side] or "nothing" for side in ("before", "after"))
        lines.append(f"  config: {change['name']} is {after} instead of {before}")
    if image["hint"]:
        lines.append(f"  hint: {image['hint']}")
    return lines


def _layer(layer: dict[str, Any]) -> list[str]:
    states = {
        "differs": "differs",
        "missing": "is missing",
        "extra": "is extra",
        "moved": "is not in its place",
    }
    lines = [f"  layer `{layer['title']}` {states[layer['state']]}"]
    if layer["trouble"]:
        lines.append(f"    {layer['trouble']}")
    lines += [f"    {file['path']}: {'; '.join(file['how'])}" for file in layer["files"]]
    more = layer["differing"] - len(layer["files"])
    return [*lines, f"    and {more} more"] if more > 0 else lines
