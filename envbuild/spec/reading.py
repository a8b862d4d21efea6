"""From a :class:`Repo` to its :class:`Spec`: the order in which everything is read."""

from __future__ import annotations

import os
import re
import warnings

from envbuild.errors import RepoError, UsageError
from envbuild.source import Repo, RepoFile, printable
from envbuild.source.text import quote
from envbuild.spec.apt import apt_execution, read_apt
from envbuild.spec.declared import Declared, read_declared
from envbuild.spec.detection import Listing, list_files
from envbuild.spec.engine_build import needs
from envbuild.spec.findings import Findings
from envbuild.spec.inference import infer_requirements, local_modules
from envbuild.spec.languages import read_kernels
from envbuild.spec.local import executions
from envbuild.spec.model import AptPackage, Execution, Notebook, PythonRequest, Spec, SpecOptions
from envbuild.spec.notebook import PYTHON_LANGUAGES, read_notebook
from envbuild.spec.pep508 import parse_requirement
from envbuild.spec.post_build import STEP as POST_BUILD
from envbuild.spec.post_build import post_build_execution, read_post_build
from envbuild.spec.python_version import read_python_version, read_runtime_txt, specifier_of

__all__ = ["read_spec"]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_NAME_LIMIT = 60
_NO_OPTIONS = SpecOptions()
_ALWAYS_THERE = frozenset({"ipykernel", "pip"})


def read_spec(repo: Repo, options: SpecOptions = _NO_OPTIONS) -> Spec:
    """Read what ``repo`` asks for (DESIGN 5.2).

    What is wrong with single files is collected in :attr:`Spec.problems`, all of it, so that one run shows
    everything; a caller that goes on to lock or build must refuse when one of them is an error. Nothing is
    downloaded and nothing of the repository runs.

    Raises:
        UsageError: ``options`` are not usable with this repository.
        RepoError: the directory tree cannot be walked.
    """
    python = _requested_python(options)
    findings = Findings()
    files = repo.files()
    _check_entries(repo, files, findings)
    notebooks = _read_notebooks(repo, files, findings)
    listing = list_files(files, findings)
    declared = read_declared(repo, listing, options, findings)
    requirements = declared.requirements
    if declared.winner is None:
        requirements = infer_requirements(notebooks, local_modules(files), findings)
    else:
        _check_installs(notebooks, declared, findings)
    other = read_kernels(
        () if declared.engine_build else notebooks,
        apt=_apt(repo, listing, declared, findings),
        conda=None if declared.adopted else declared.conda,  # a lock is not added to
        requirements=requirements,
        locked=(declared.packages or frozenset()) if declared.adopted else frozenset(),
        conda_locked=declared.adopted is not None and declared.conda is not None,
        findings=findings,
    )
    if (start := listing.path("start")) and declared.engine_build is None:
        findings.used(start, "start", "runs in the container, before its command")
    post_build = _post_build(repo, listing, declared, findings)
    if options.base is not None and declared.engine_build is not None:
        findings.note(
            "base-unused",
            f"the base {options.base.reference} is not used: {declared.engine_build.path} names its own",
            options.base.file,
            options.base.line,
        )
    name, display_name = _names(repo, declared, options)
    # Which Python an engine's build has is up to what it follows.
    requests = () if declared.engine_build else _python_requests(repo, listing, declared, notebooks, findings)
    return Spec(
        name=name,
        display_name=display_name,
        python=python or requests,
        base=None if declared.engine_build else options.base,
        requirements=requirements,
        constraints=declared.constraints,
        sources=declared.sources,
        conda=other.conda or declared.conda,
        apt=other.apt,
        engine_build=declared.engine_build,
        post_build=post_build,
        executions=_executions(declared, other.apt, post_build, options),
        adopted=declared.adopted,
        declared_by=declared.winner,
        inferred=declared.winner is None,
        notebooks=notebooks,
        kernels=_kernels(notebooks, name),
        other_kernels=other.kernels,
        kernel_packages=other.requirements,
        files=findings.files,
        problems=findings.problems,
        packages=declared.packages,
    )


def _apt(repo: Repo, listing: Listing, declared: Declared, findings: Findings) -> tuple[AptPackage, ...]:
    path = listing.path("apt.txt")
    if path is None:
        return ()
    if declared.engine_build is not None:
        findings.ignored(path, "apt.txt", f"{declared.engine_build.path} describes the whole image")
        return ()
    findings.used(path, "apt.txt", "Debian packages are added to the base")
    return read_apt(repo, path, findings)


def _post_build(repo: Repo, listing: Listing, declared: Declared, findings: Findings) -> str | None:
    build = declared.engine_build
    if build is None:
        return read_post_build(repo, listing, findings)
    if (path := listing.path(POST_BUILD)) and build.kind == "Dockerfile":
        findings.ignored(path, POST_BUILD, f"{build.path} describes the whole image")
    return None


def _executions(
    declared: Declared, apt: tuple[AptPackage, ...], post_build: str | None, options: SpecOptions
) -> tuple[Execution, ...]:
    """What has to run, in this order."""
    if declared.engine_build is not None:
        return (needs(declared.engine_build),)
    result = executions(declared.sources, network="build" in options.network)
    if apt:
        result += (apt_execution(apt),)
    if post_build is not None:
        result += (post_build_execution(post_build, network=POST_BUILD in options.network),)
    return result


def _check_entries(repo: Repo, files: tuple[RepoFile, ...], findings: Findings) -> None:
    """Name what can be neither read nor packed: special files, and links that lead out."""
    for file in files:
        if file.kind in ("symlink", "other"):
            try:
                repo.check(os.fsdecode(file.path))
            except RepoError as error:
                # Not a link to nothing: it does no harm.
                if error.code in ("outside-repository", "special-file"):
                    findings.failed(error)


def _read_notebooks(repo: Repo, files: tuple[RepoFile, ...], findings: Findings) -> tuple[Notebook, ...]:
    notebooks = []
    others = {printable(os.fsdecode(file.path)) for file in files if file.path.endswith(b".ipynb")}
    with warnings.catch_warnings():
        # Of the notebooks' code (invalid escapes and the like), not of ours.
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        for file in files:
            if not file.path.endswith(b".ipynb") or file.kind not in ("file", "symlink"):
                continue
            path = os.fsdecode(file.path)
            if file.kind == "symlink" and not repo.exists(path):
                continue  # leads out, which has been said, or to nothing (an editor's lock)
            try:
                notebook = read_notebook(repo, path, findings, others)
            except RepoError as error:
                findings.failed(error)
            else:
                if notebook is not None:  # no executed copy
                    notebooks.append(notebook)
    return tuple(notebooks)


def _check_installs(notebooks: tuple[Notebook, ...], declared: Declared, findings: Findings) -> None:
    """Name what notebooks install or declare themselves and the files do not."""
    if declared.packages is None:
        return
    there = declared.packages | _ALWAYS_THERE
    remedy = f"add it to {declared.winner}"
    for notebook in notebooks:
        wanted = [
            (f"cell {line.cell} installs", text) for line in notebook.installs for text in line.requirements
        ]
        wanted += [
            ("its script block names", requirement.text) for requirement in notebook.script_requirements
        ]
        for what, text in wanted:
            parsed = parse_requirement(text)
            if parsed is not None and parsed.name not in there:
                message = f"{what} {quote(text)}, which {declared.winner} does not declare"
                findings.warning("install-not-declared", message, notebook.path, remedy=remedy)


def _requested_python(options: SpecOptions) -> tuple[PythonRequest, ...]:
    if options.python is None:
        return ()
    specifier = specifier_of(options.python.strip())
    if specifier is None:
        raise UsageError(
            f"{quote(options.python)} is not a version of Python",
            code="bad-python",
            remedy="write a version (3.11) or a specifier (>=3.11,<3.14)",
        )
    return (PythonRequest(specifier, "command line"),)


def _python_requests(
    repo: Repo, listing: Listing, declared: Declared, notebooks: tuple[Notebook, ...], findings: Findings
) -> tuple[PythonRequest, ...]:
    """What the files demand, then what the notebooks wish for."""
    requests = []
    for kind, read in (("runtime.txt", read_runtime_txt), (".python-version", read_python_version)):
        path = listing.path(kind)
        if path and declared.conda is not None:
            findings.ignored(path, kind, f"{declared.winner} decides which Python there is")
        elif path:
            requests.append(read(repo, path, findings))
    requests += declared.python
    hints: dict[str, PythonRequest] = {}
    for notebook in notebooks:
        if notebook.script_python is not None and declared.winner is None:
            requests.append(PythonRequest(notebook.script_python, notebook.path))
        version = re.match(r"(\d{1,3}\.\d{1,3})(?:\.|$)", notebook.language_version or "", re.ASCII)
        if version is not None:
            specifier = f"=={version[1]}.*"
            hints.setdefault(specifier, PythonRequest(specifier, notebook.path, hint=True))
    return tuple(dict.fromkeys(request for request in requests if request is not None)) + tuple(
        hints.values()
    )


def _kernels(notebooks: tuple[Notebook, ...], name: str) -> tuple[str, ...]:
    """The Python kernels that notebooks name, besides those every image of the project has."""
    names = {
        notebook.kernel
        for notebook in notebooks
        if notebook.kernel and (notebook.language or "python").lower() in PYTHON_LANGUAGES
    }
    return tuple(sorted(names - {"python3", name}))


def _names(repo: Repo, declared: Declared, options: SpecOptions) -> tuple[str, str]:
    """``(name, display name)`` of the project."""
    if options.name is not None and not _NAME.fullmatch(options.name):
        raise UsageError(
            f"{quote(options.name)} is not a valid name",
            code="bad-name",
            remedy="use letters, digits, '.', '_' and '-'",
        )
    display_name = options.name or declared.project_name or repo.name
    name = re.sub(r"[^a-z0-9._-]+", "-", display_name.lower())[:_NAME_LIMIT].strip("._-")
    return name or "repository", printable(display_name)[:_NAME_LIMIT]
