"""Building in a cluster, for one command: from settings to a Job, and from its end to a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.config import OPTIONS, Settings
from envbuild.errors import UsageError

if TYPE_CHECKING:
    from envbuild.cli.session import Session
    from envbuild.cluster.api import Cluster
    from envbuild.image.reference import Reference
    from envbuild.jobs.request import Placement, Request
    from envbuild.jobs.submit import Built, Submission
    from envbuild.source.address import GitSource

__all__ = ["build_on_cluster", "flag_arguments"]

# What concerns this machine or the Job, and not the image.
_LOCAL = frozenset(
    {
        *("subdir", "engine", "jobs", "offline", "cache_dir", "sign_key", "verify", "inputs", "drift"),
        *("kube_context", "namespace", "builder_image", "registry_secret", "config_map", "pod_template"),
        *("ca_config_map", "job_timeout", "audit_log", "actor"),
        *("metrics_file", "metrics_push"),
    }
)


def build_on_cluster(
    session: Session,
    source: str,
    tags: Sequence[str],
    *,
    local: bool,
    detach: bool,
    switches: Mapping[str, bool],
) -> tuple[str, dict[str, Any] | None]:
    """Build ``source`` by a Job and print what it is.

    Parameters:
        local: whether the image is wanted on this machine, too.
        switches: options of the verb that are no settings, by name.

    Returns:
        The project's name and the document that ``--json`` prints; None for that when nothing is known yet.
    """
    from envbuild.image.reference import full_name, parse_reference
    from envbuild.jobs.submit import cancelled_when_interrupted, finish, submit
    from envbuild.jobs.transcript import Transcript

    names = tuple(parse_reference(full_name(tag)) for tag in tags)
    _refuse_what_cannot_be(session, names, local=local)
    settings = session.settings
    cluster = session.cluster
    placement = _placement(settings, cluster)
    builder = _pinned_builder(session)
    name, request = _request(session, source, names, builder, switches)
    session.console.observation.build = request.build_id  # what the pod's lines have, too
    there = partial(_still_there, session, names)
    submission = submit(cluster, request, placement, still_there=there)
    with cancelled_when_interrupted(cluster, submission, session.console):
        _tell(session, request, submission, detach=detach)
        if detach:
            document = {"job": _job(request, submission), "detached": True}
            session.console.document(document)
            return name, None
        transcript = Transcript(session.console, session.raw_lines())
        built = finish(cluster, request, placement, submission, transcript, session.console)
    return name, _deliver(session, request, submission, built)


def flag_arguments(*names: str) -> list[str]:
    """The options on this command line that are the settings ``names``, as arguments for another one."""
    context = click.get_current_context()
    arguments = []
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.name not in names or value in (None, ()):
            continue
        if value is True or value is False:
            negative = parameter.secondary_opts if isinstance(parameter, click.Option) else ()
            arguments.append(parameter.opts[-1] if value or not negative else negative[0])
        else:
            values = value if isinstance(value, tuple) else (value,)
            arguments += [f"{parameter.opts[-1]}={one}" for one in values]
    return arguments


def _refuse_what_cannot_be(session: Session, names: Sequence[Reference], *, local: bool) -> None:
    settings = session.settings
    if not names:
        raise UsageError(
            "a build in a cluster is pushed, and needs to know where to",
            code="push-without-name",
            remedy="name the image with its registry: -t registry.example.org/team/demo:1.0",
        )
    if local or settings.sign_key:
        what = "-o and --load have" if local else "a key to sign with has"
        raise UsageError(
            f"{what} no place in a cluster",
            code="not-in-a-job",
            remedy="use `envbuild pull` afterwards" if local else "sign afterwards with `envbuild attest`",
        )
    if settings.offline:
        raise UsageError(
            "--offline cannot talk to a cluster", code="not-in-a-job", remedy="leave out one of the two"
        )
    if settings.builder_image is None:
        raise UsageError(
            "which image builds in the cluster is not known",
            code="no-builder-image",
            remedy="name it with --builder-image or the setting `builder-image` (docs/builder-image.md)",
        )


def _placement(settings: Settings, cluster: Cluster) -> Placement:
    from envbuild.jobs.request import Placement
    from envbuild.jobs.template import read_template

    _refuse_password("--metrics-push", settings.metrics_push or "")
    return Placement(
        namespace=settings.namespace or cluster.namespace,
        registry_secret=settings.registry_secret,
        config_map=settings.config_map,
        ca_config_map=settings.ca_config_map,
        metrics_push=settings.metrics_push,
        timeout=60 * settings.job_timeout,
        template=read_template(Path(settings.pod_template)) if settings.pod_template else {},
    )


def _pinned_builder(session: Session) -> Reference:
    """The builder image by digest: another one is another build, and may give another image."""
    from envbuild.errors import RemoteError
    from envbuild.image.reference import parse_reference

    reference = parse_reference(str(session.settings.builder_image))
    if reference.digest is not None:
        return reference
    found = session.registries.repository(reference).head_manifest(reference.version)
    if found is None:
        raise RemoteError(
            f"there is no builder image {reference}",
            code="no-builder-image",
            remedy="correct --builder-image, or push one with scripts/builder-image",
        )
    return reference.with_digest(found.digest)


def _request(
    session: Session,
    source: str,
    names: tuple[Reference, ...],
    builder: Reference,
    switches: Mapping[str, bool],
) -> tuple[str, Request]:
    """The project's name, and what is submitted for it."""
    from envbuild.jobs.request import Request
    from envbuild.source.address import GitSource, parse_source

    passed = {option.attribute for option in OPTIONS} - _LOCAL
    arguments = flag_arguments(*passed)
    variables = _variables(session, passed)
    parsed = parse_source(source)
    if isinstance(parsed, GitSource) and parsed.address.scheme != "file":
        name, address, content = _of_git(session, parsed)
        arguments += flag_arguments("subdir")
        arguments += [option for option, given in switches.items() if given]
        title = address.partition("#")[0]
    else:
        name, address, content, platforms = _of_directory(session, source, names[0], switches["--locked"])
        given = [f"--platform={platform}" for platform in platforms]
        arguments = [one for one in arguments if not one.startswith("--platform=")] + given
        arguments += ["--locked", *(option for option, on in switches.items() if on and option != "--locked")]
        title = name
    for argument in arguments:
        _refuse_password(argument.partition("=")[0], argument)
    return name, Request(
        source=address,
        title=title,
        content=content,
        arguments=tuple(arguments),
        variables=variables,
        tags=names,
        builder=builder,
    )


def _of_git(session: Session, source: GitSource) -> tuple[str, str, str]:
    """``(name, address at the commit, commit)``."""
    if source.address.user or source.address.password:
        raise UsageError(
            "the address has a password, which would be readable in the Job",
            code="password-in-job",
            remedy="clone the repository here and build the directory, or give pods a .netrc (docs/jobs.md)",
        )
    commit = session.git(session.settings).commit(source.address, source.ref)
    return source.address.name, f"{source.address.url}#{commit}", commit


def _of_directory(
    session: Session, source: str, target: Reference, locked: bool
) -> tuple[str, str, str, Sequence[str]]:
    """``(name, address of what was uploaded, its digest, platforms)``.

    It is locked here, so that the lock is kept, and decides about the image wherever it is built.
    """
    from envbuild.base.host import host_platform
    from envbuild.cli.locking import project_lock
    from envbuild.errors import RepoError
    from envbuild.jobs.context import pack_context, push_context

    project = session.project(source)
    engine_build = project.spec.engine_build
    if engine_build is not None:
        raise RepoError(
            "a container engine has to build this, and the pod of a Job has none",
            code="engine-in-job",
            file=engine_build.path,
            remedy="build it where Docker is (without --on), or declare what it installs in files that"
            " envbuild assembles",
        )
    platforms = project.settings.platforms or (host_platform(),)
    lock = project_lock(session, project, platforms, locked=locked)
    if project.spec.executions:
        what = ", ".join(dict.fromkeys(one.what for one in project.spec.executions))
        session.console.note(f"has to run in the pod, which needs user namespaces for it: {what}")
    context = pack_context(project.repo, project.spec, lock.data, session.store)
    address = push_context(
        context,
        project.repo.name,
        target,
        store=session.store,
        registries=session.registries,
        reporter=session.console,
    )
    content = f"{context.tar.digest} {project.repo.name}"
    return project.spec.name, address, content, platforms


def _variables(session: Session, passed: set[str]) -> tuple[tuple[str, str], ...]:
    """The settings of this user's that are no options of the command line, for the pod's environment."""
    settings, found = session.settings, {}
    given = [name for name in session.given(*passed) if click.get_current_context().params.get(name) != ()]
    for option in OPTIONS:
        value = getattr(settings, option.attribute)
        usual = Settings.__dataclass_fields__[option.attribute].default
        if option.attribute not in passed or option.attribute in given or value == usual:
            continue
        text = " ".join(value) if isinstance(value, tuple) else str(value)
        _refuse_password(f"the setting {option.key}", text)
        found[option.variable] = text
    return tuple(sorted(found.items()))


def _refuse_password(what: str, text: str) -> None:
    """A Job is read by many.

    Raises:
        UsageError: ``text`` of ``what`` has a password in it.
    """
    from envbuild.source.text import redact

    if redact(text) != text:
        raise UsageError(
            f"{what} has a password, which would be readable in the Job",
            code="password-in-job",
            remedy="give it to pods in a Secret, as `envFrom` of the container `build` in a pod template",
        )


def _still_there(session: Session, names: Sequence[Reference], digest: str) -> bool:
    for name in names:
        found = session.registries.repository(name).head_manifest(name.version)
        if found is None or found.digest != digest:
            return False
    return True


def _tell(session: Session, request: Request, submission: Submission, *, detach: bool) -> None:
    where = f"{submission.name} in namespace {submission.namespace}"
    how = {
        "created": f"submitted: Job {where}",
        "joined": f"the same build runs already: following Job {where}",
        "reused": f"built already: Job {where}",
    }
    session.console.note(how[submission.how])
    if detach:
        command = f"kubectl --namespace {submission.namespace} logs --follow job/{submission.name}"
        session.console.result(
            f"job     {submission.namespace}/{submission.name}",
            *(f"image   {tag}" for tag in request.tags),
            f"follow  {command}",
            "        or the same `envbuild build` without --detach: it joins this Job",
        )


def _deliver(
    session: Session, request: Request, submission: Submission, built: Built
) -> dict[str, Any] | None:
    from envbuild.cli.delivery import built_lines

    job = _job(request, submission)
    session.console.identify(digest=built.digest, environment=(built.document or {}).get("env"))
    if built.document is None:
        session.console.document({"job": job, "digest": built.digest})
        session.console.result(*(f"pushed  {tag}@{built.digest}" for tag in request.tags))
        return None
    document = {**built.document, "job": job}
    session.console.result(*built_lines(document))
    session.console.document(document)
    return document


def _job(request: Request, submission: Submission) -> dict[str, str]:
    return {
        "name": submission.name,
        "namespace": submission.namespace,
        "build": request.build_id,
        "how": submission.how,
    }
