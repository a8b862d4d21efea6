"""``envbuild base``: what images stand on."""

from __future__ import annotations

import click

from envbuild.cli.delivery import delivery_options, parse_delivery
from envbuild.cli.options import (
    common_options,
    compression_option,
    engine_option,
    jobs_option,
    lock_options,
    platform_option,
    registry_options,
)
from envbuild.cli.session import Project, Session
from envbuild.cli.text import columns

__all__ = ["base"]


@click.group(no_args_is_help=False)
def base() -> None:
    """List or build base images."""


@base.command("list")
@common_options
def list_bases(session: Session) -> None:
    """List the base images on offer. Any image of a registry can be one, too (--base IMAGE)."""
    from envbuild.base.recipe import load_recipes
    from envbuild.cli.documents import bases_document

    document = bases_document(load_recipes(), session.settings.base)
    rows = [("NAME", "PYTHON", "DEBIAN", "GLIBC", "PLATFORMS", "SERVER")]
    rows += [
        (
            recipe["name"],
            recipe["python"],
            recipe["suite"],
            recipe["glibc"],
            ", ".join(recipe["platforms"]),
            ", ".join(recipe["server"]),
        )
        for recipe in document["bases"]
    ]
    asked = document["setting"]
    also = ["", f"The setting `base` names another: {asked}"] if asked else []
    session.console.result(*columns(rows), *also)
    session.console.document(document)


@base.command("build")
@click.argument("recipe_name", metavar="NAME")
@delivery_options
@engine_option
@compression_option
@jobs_option
@platform_option
@registry_options
@lock_options
@common_options
def build_base(
    session: Session,
    recipe_name: str,
    tags: tuple[str, ...],
    outputs: tuple[str, ...],
    load: bool,
    push: bool,
) -> None:
    """Assemble the image of a repository that asks for nothing, on the base NAME, as of today.

    Its layers are shared by all images on that base: have them built, pushed or pulled in advance.
    """
    from envbuild.attest.attaching import Subject
    from envbuild.base.host import host_platform
    from envbuild.base.recipe import base_images, recipe_named
    from envbuild.cli.building import lock_builder
    from envbuild.cli.locking import new_lock
    from envbuild.cli.sharing import environment_reference
    from envbuild.image.finding import without_lost
    from envbuild.lock.lockfile import dump_lock
    from envbuild.plan import environment_id
    from envbuild.source import open_repo
    from envbuild.spec.model import PythonRequest, Spec

    recipe = recipe_named(recipe_name)
    settings = session.settings
    platforms = settings.platforms or (host_platform(),)
    delivery = parse_delivery(session, tags, outputs, load, push, platforms)
    spec = Spec(
        name=recipe.name,
        display_name=recipe.name,
        python=(PythonRequest(f"=={recipe.python}", f"{recipe.name}/base.toml"),),
    )
    project = Project(open_repo(str(base_images() / recipe.name)), spec, settings)
    lock = new_lock(session, project, platforms, None)
    builder, env = lock_builder(session, lock, settings), environment_id(lock)
    session.layers(settings).consult([*environment_reference(settings, env), *delivery.replaced])

    data = dump_lock(lock)

    def make() -> None:
        images = builder.environment(lock, data, platforms)
        delivery.deliver(
            session,
            images,
            name=lock.name,
            env=env,
            lock_path=None,
            settings=settings,
            subject=Subject(lock, data, images, settings.compression),
            environments=lambda: images,
        )

    without_lost(make)
