"""What happens to an image that was built: names, places, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.attesting import attached_rows, attest_options, wanted_attestation
from envbuild.cli.options import audit_options, chain, metrics_options, plain_http_option
from envbuild.cli.placing import image_rows, keeper, load_option, output_option, place_images
from envbuild.cli.session import Session
from envbuild.cli.text import byte_size, columns, count
from envbuild.errors import UsageError

if TYPE_CHECKING:
    from envbuild.attest.attaching import Attached, Attestation, Subject
    from envbuild.builder.contract import Lack
    from envbuild.config import Settings
    from envbuild.image.descriptor import Descriptor
    from envbuild.image.model import Image
    from envbuild.image.output import Output
    from envbuild.image.reference import Reference
    from envbuild.lock.difference import Change
    from envbuild.lock.model import Lock
    from envbuild.registry.publish import Published
    from envbuild.registry.push import Pushed
    from envbuild.registry.repository import Repository
    from envbuild.source import Origin

__all__ = ["Delivery", "built_lines", "delivery_options", "parse_delivery", "pushed_rows"]

delivery_options = chain(
    click.option(
        "-t", "--tag", "tags", multiple=True, metavar="NAME[:TAG]", help="Name the image; repeatable."
    ),
    output_option,
    load_option,
    click.option("--push", is_flag=True, help="Push it to the registries of its names (-t)."),
    attest_options,
    audit_options,
    metrics_options,
    plain_http_option,
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where images go: ``names`` are full (``demo:latest``), ``load`` means to Docker or podman, ``push``
    to the registries of all names, and ``attestation`` is what is said about them there.
    """

    names: tuple[str, ...]
    places: tuple[Output, ...]
    load: bool
    push: bool
    attestation: Attestation

    @property
    def replaced(self) -> tuple[Reference, ...]:
        """The images in registries that will be replaced."""
        from envbuild.image.reference import parse_reference

        return tuple(map(parse_reference, self.names)) if self.push else ()

    def deliver(
        self,
        session: Session,
        images: Sequence[Image],
        *,
        name: str,
        env: str | None,
        lock_path: str | None,
        settings: Settings,
        origin: Origin | None = None,
        lacks: Sequence[Lack] = (),
        subject: Subject | None = None,
        environments: Callable[[], Sequence[Image]] | None = None,
    ) -> dict[str, Any]:
        """Record ``images`` (one per platform), write, load and push them, and print what they are.

        Returns the document that ``--json`` prints.

        Parameters:
            name: the project's, for images without a tag.
            origin: where the repository was fetched from.
            env: the environment's id; None when a container engine built the image.
            lacks: what an image by an engine lacks for hubs and notebooks.
            subject: what the images were made from, for what is said about them.
            environments: gives the environment images, for the shared cache.

        Raises:
            LayersLost: see :meth:`envbuild.image.finding.Layers.bring`.
        """
        from envbuild.cli.documents import build_document
        from envbuild.image.layout import image_index

        index = image_index(images, session.store).digest if len(images) > 1 else None
        session.console.assembled(images, index)
        loaded = place_images(
            session,
            images,
            names=self.names or (f"{name}:latest",),
            places=self.places,
            named=self.names,
            load=self.load,
            settings=settings,
        )
        pushed: Pushed | None = None
        attached: tuple[Attached, ...] = ()
        published: Published | None = None
        changes: tuple[Change, ...] | None = None
        if self.push:
            from envbuild.cli.sharing import noticing_losses, publish

            changes = self._changes(session, subject.lock) if subject is not None else None
            with session.audit.push([*self.names, *([settings.registry] if settings.registry else [])]):
                with noticing_losses(session, settings, images):
                    pushed, attached = self._push(session, images, subject)
                if env is not None and environments is not None:
                    published = publish(session, settings, env, environments(), images)
        document = build_document(
            images,
            index=index,
            env=env,
            tags=self.names,
            outputs=[str(place) for place in self.places],
            loaded=loaded,
            pushed=pushed,
            previous=None if changes is None else self.names[0],
            changes=changes,
            attached=attached,
            published=published,
            lock=lock_path,
            origin=origin,
            lacks=lacks,
            seconds=session.console.rounded_seconds,
        )
        session.console.result(*built_lines(document))
        session.console.document(document)
        return document

    def _changes(self, session: Session, lock: Lock) -> tuple[Change, ...] | None:
        """How ``lock`` differs from that of the image that has the first name now; None without one."""
        from envbuild.cli.looking import inspector
        from envbuild.errors import EnvbuildError
        from envbuild.image.reference import parse_reference
        from envbuild.lock.difference import lock_difference

        try:
            before = inspector(session).look(str(parse_reference(self.names[0]))).lock
        except EnvbuildError:
            return None  # what is wrong with a registry, the push will say
        return None if before is None else lock_difference(before, lock)

    def _push(
        self, session: Session, images: Sequence[Image], subject: Subject | None
    ) -> tuple[Pushed, tuple[Attached, ...]]:
        from envbuild.image.reference import parse_reference
        from envbuild.registry.push import push_images

        if subject is None and (self.attestation.sbom or self.attestation.provenance):
            session.console.warn(
                "there is neither a bill of materials nor provenance: a container engine built this image,"
                " and does not tell what is in it"
            )
        references = [parse_reference(tag) for tag in self.names]
        attached: list[Attached] = []

        def attach(repository: Repository, manifests: Sequence[Descriptor]) -> None:
            attached.extend(self.attestation.attach(repository, references, manifests, subject))

        pushed = push_images(
            images,
            references,
            store=session.store,
            registries=session.registries,
            reporter=session.console,
            attach=attach,
        )
        return pushed, tuple(attached)


def parse_delivery(
    session: Session,
    tags: Sequence[str],
    outputs: Sequence[str],
    load: bool,
    push: bool,
    platforms: Sequence[str],
) -> Delivery:
    """Check the options before the work begins.

    Raises:
        UsageError: a name is none, or there is none to push; a place cannot be written or cannot hold images
            of ``platforms``; the key to sign with cannot be used.
        MachineError: there is no engine to load them into.
    """
    from envbuild.image.output import parse_output
    from envbuild.image.reference import full_name

    places = tuple(parse_output(output) for output in outputs)
    for place in places:
        place.require_room_for(len(platforms))
    if push and not tags:
        raise UsageError(
            "--push needs to know where to",
            code="push-without-name",
            remedy="name the image with its registry: -t registry.example.org/team/demo:1.0",
        )
    names = tuple(map(full_name, tags))
    attestation = wanted_attestation(session, push=push)
    if load:
        keeper(session, session.settings)
    return Delivery(names, places, load, push, attestation)


def pushed_rows(pushed: dict[str, Any] | None) -> list[tuple[str, str]]:
    """What was pushed, for people: every name with the digest, and what travelled."""
    if pushed is None:
        return []
    rows = [("pushed", f"{name}@{pushed['digest']}") for name in pushed["references"]]
    words = {"uploaded": "sent", "mounted": "mounted from other repositories", "exists": "there already"}
    moved = [
        f"{byte_size(pushed[outcome]['bytes'])} {word} ({count(pushed[outcome]['blobs'], 'blob')})"
        for outcome, word in words.items()
        if pushed[outcome]["blobs"]
    ]
    return [*rows, ("bytes", ", ".join(moved)), *attached_rows(pushed["attached"])]


def built_lines(document: dict[str, Any]) -> list[str]:
    """What ``--json`` prints of a build, for people."""
    rows = image_rows(document["platforms"])
    if len(document["platforms"]) > 1:
        rows.append(("index", document["digest"]))
    if document["source"]:
        rows.append(("source", f"{document['source']['url']} at {document['source']['revision']}"))
    rows += [("name", tag) for tag in document["tags"]]
    rows += [("written to", place) for place in document["outputs"]]
    if document["loaded"]:
        rows.append(("loaded into", document["loaded"]))
    rows += pushed_rows(document["pushed"])
    if document["shared"]:
        shared = document["shared"]
        rows.append(("shared", f"{shared['reference']} ({count(shared['layers'], 'new layer')})"))
    rows += [("lacks", f"it {lack['what']}: {lack['why']}") for lack in document["lacks"]]
    return columns(rows)
