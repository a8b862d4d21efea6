"""From what was seen of images, a repository and its notebooks to the report about them."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from datetime import datetime

from envbuild.inspection.inspector import Seen
from envbuild.inspection.medium import Medium
from envbuild.layers import REPOSITORY_TITLE
from envbuild.lock.model import Lock
from envbuild.plan import environment_id
from envbuild.progress import Reporter
from envbuild.report.model import Command, Fact, NotebookEntry, PlatformReport, Report
from envbuild.report.notebooks import notebook_entries
from envbuild.report.reading import read_platform
from envbuild.source import Origin, Repo
from envbuild.source.text import printable
from envbuild.spec.model import Spec
from envbuild.spec.post_build import STEP as POST_BUILD
from envbuild.store import Store

__all__ = ["image_report", "repository_report"]


def repository_report(
    seen: Seen,
    medium: Medium,
    store: Store,
    reporter: Reporter,
    *,
    repo: Repo,
    spec: Spec,
    results: Sequence[Repo] = (),
    made: datetime | None = None,
) -> Report:
    """The report about a repository, whose environment images ``seen`` are, on ``medium``.

    Parameters:
        results: directories with executed notebooks, as for
            :func:`~envbuild.report.notebooks.notebook_entries`.
        made: when, if the report is to say so.

    Raises:
        EnvbuildError: as :func:`~envbuild.report.reading.read_platform`.
    """
    digest = _lock_digest(seen)
    platforms = _platforms(seen, medium, store, reporter)
    notebooks = notebook_entries(repo, spec.notebooks, results, digest)
    return Report(
        name=spec.name,
        title=spec.display_name,
        facts=(*_source_facts(repo.origin, spec), *_facts(seen, platforms)),
        platforms=platforms,
        notebooks=notebooks,
        commands=tuple(_repository_commands(repo.origin, spec, platforms, notebooks)),
        needs=_needs(repo.origin, spec),
        unknown=_unknown(seen),
        made=made,
    )


def image_report(
    seen: Seen, medium: Medium, store: Store, reporter: Reporter, *, made: datetime | None = None
) -> Report:
    """The report about an image alone; parameters and errors as for :func:`repository_report`."""
    platforms = _platforms(seen, medium, store, reporter)
    name = printable(seen.name)
    return Report(
        name=seen.lock.name if seen.lock else name,
        title=seen.lock.display_name if seen.lock else name,
        facts=(Fact("Image", name, code=True), *_facts(seen, platforms)),
        platforms=platforms,
        notebooks=None,
        commands=tuple(_image_commands(seen)),
        needs="On a machine with envbuild:",
        unknown=_unknown(seen),
        made=made,
    )


def _platforms(seen: Seen, medium: Medium, store: Store, reporter: Reporter) -> tuple[PlatformReport, ...]:
    return tuple(read_platform(image, medium, store, reporter) for image in seen.images)


def _lock_digest(seen: Seen) -> str | None:
    data = seen.lock_bytes
    return None if data is None else "sha256:" + hashlib.sha256(data).hexdigest()


def _source_facts(origin: Origin | None, spec: Spec) -> list[Fact]:
    facts = []
    if origin is not None:
        facts = [Fact("Source", origin.url), Fact("Revision", origin.revision, code=True)]
    if origin is not None and origin.subdirectory:
        facts.append(Fact("Directory", origin.subdirectory))
    files = {item.file for item in (*spec.requirements, *(spec.conda.packages if spec.conda else ()))}
    files |= {item.file for item in spec.sources} | {item.file for item in spec.apt}
    files |= {whole.path for whole in (spec.adopted, spec.engine_build) if whole is not None}
    asked = "imports of the notebooks" if spec.inferred else ", ".join(sorted(files))
    return [*facts, Fact("Asked for in", asked)] if asked else facts


def _facts(seen: Seen, platforms: Sequence[PlatformReport]) -> list[Fact]:
    facts = []
    versions = dict.fromkeys(platform.python for platform in platforms if platform.python)
    if versions:
        facts.append(Fact("Python", ", ".join(versions)))
    if seen.lock is not None:
        facts += _lock_facts(seen.lock, _lock_digest(seen) or "")
    several = len(platforms) > 1
    for platform in platforms:
        of = f" for {platform.platform}" if several else ""
        facts.append(Fact(f"Image ID{of}", platform.image_id, code=True))
    others = [name for name in seen.platforms if name not in {one.platform for one in platforms}]
    if others:
        facts.append(Fact("Also locked for" if seen.lock else "Also for", ", ".join(others)))
    return facts


def _lock_facts(lock: Lock, digest: str) -> list[Fact]:
    base = lock.base
    system = f"{base.name} (Debian {base.suite}, glibc {base.glibc})"
    if base.image is not None:
        system = f"{base.image.reference}@{base.image.digest}"
    facts = [
        Fact("Base", system),
        Fact("Locked", f"{lock.cutoff}, by {lock.resolver}"),
        Fact("Environment", environment_id(lock), code=True),
        Fact("Lock", digest, code=True),
    ]
    variables = [f"{name}={value}" for name, value in lock.variables]
    return [*facts, Fact("Variables", ", ".join(variables), code=True)] if variables else facts


def _unknown(seen: Seen) -> tuple[str, ...]:
    troubles = dict.fromkeys(image.inside.trouble for image in seen.images if image.inside.trouble)
    made_by = {image.view.builder or "somebody else" for image in seen.images} - {"envbuild"}
    sentences = [f"There is no lock to go by: {trouble}." for trouble in troubles]
    if made_by:
        sentences.append(
            f"The image was made by {' and '.join(sorted(made_by))}, not assembled by envbuild: packages are"
            " those that package managers have noted in it, and there may be more."
        )
    return tuple(sentences)


def _needs(origin: Origin | None, spec: Spec) -> str:
    if spec.engine_build is not None:
        return "On a machine with envbuild and Docker, which may make another image: nothing is locked."
    if origin is not None:
        return "On a machine with envbuild:"
    return "On a machine with envbuild, in a copy of the repository with this envbuild.lock:"


def _repository_commands(
    origin: Origin | None,
    spec: Spec,
    platforms: Sequence[PlatformReport],
    notebooks: Sequence[NotebookEntry],
) -> list[Command]:
    where = ""
    if origin is not None:
        where = " " + shlex.quote(f"{origin.url}#{origin.revision}" if origin.tracked else origin.url)
    subdirectory = f" --subdir {shlex.quote(origin.subdirectory)}" if origin and origin.subdirectory else ""
    locked = "" if spec.engine_build else " --locked"
    options = f"{where}{subdirectory}{locked}"
    wanted = "".join(f" --platform {shlex.quote(platform.platform)}" for platform in platforms)
    commands = [Command(f"envbuild up{options}", "opens JupyterLab on this environment")]
    if notebooks:
        first = shlex.quote(notebooks[0].path)
        commands.append(
            Command(
                f"envbuild run{where} {first}{subdirectory}{locked}", "runs a notebook from top to bottom"
            )
        )
    commands += [
        Command(
            f"envbuild build{options}{wanted}", "assembles the image, with the repository's files on top"
        ),
        Command(f"envbuild report{options}{wanted} -o report.html", "makes this page again"),
    ]
    return commands


def _source_of(seen: Seen) -> str:
    """What has to be named to make an image again, beside its lock."""
    titles = {layer.title for image in seen.images for layer in image.view.layers if layer.ours}
    return " SOURCE" if titles & {REPOSITORY_TITLE, POST_BUILD} else ""


def _image_commands(seen: Seen) -> list[Command]:
    name = shlex.quote(seen.name)
    commands = [Command(f"envbuild inspect {name}", "shows labels, layers and what is attached")]
    if seen.kind == "registry" and seen.top is not None:
        pinned = shlex.quote(
            f"{seen.name.partition('@')[0].rpartition(':')[0] or seen.name}@{seen.top.digest}"
        )
        commands = [
            Command(f"envbuild pull {pinned}", "brings the image into the cache"),
            Command(f"docker run --rm -it -p 8888:8888 {pinned}", "runs it"),
            *commands,
        ]
    if seen.lock is not None:
        commands += [
            Command(f"envbuild lock --from {name} --print > envbuild.lock", "gets the lock that is in it"),
            Command(f"envbuild verify{_source_of(seen)} --image {name}", "makes it again and compares"),
        ]
    return commands
