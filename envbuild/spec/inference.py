"""What the notebooks need when no file declares it: script blocks, install lines, imports."""

from __future__ import annotations

from envbuild.source import RepoFile
from envbuild.spec.findings import Findings
from envbuild.spec.imports import distribution_of
from envbuild.spec.model import Notebook, Requirement
from envbuild.spec.pep508 import canonical_name, parse_requirement

__all__ = ["infer_requirements", "local_modules"]

_REMEDY = "declare the packages in a requirements.txt, or name them with --requirement"


def local_modules(files: tuple[RepoFile, ...]) -> frozenset[str]:
    """The names that can be imported from the repository itself, wherever in it they are.

    A module is a ``.py`` file, a package is a directory with one (which need not be ``__init__.py``).
    """
    names = set()
    for file in files:
        if file.kind in ("file", "symlink") and file.path.endswith(b".py"):
            *parents, last = file.path.decode("utf-8", "replace").split("/")
            names.add(last.removesuffix(".py"))
            names.update(parents[-1:])
    return frozenset(names)


def infer_requirements(
    notebooks: tuple[Notebook, ...], local: frozenset[str], findings: Findings
) -> tuple[Requirement, ...]:
    """The requirements of ``notebooks``, each placed at the first notebook that has it, sorted by name.

    A notebook's script block says all it needs; of the others, install lines and imports are taken. What
    is asked for with a version is not asked for again without one.
    """
    found: dict[str, dict[str, Requirement]] = {}

    def add(text: str, notebook: Notebook) -> None:
        parsed = parse_requirement(text)
        if parsed is not None:
            found.setdefault(parsed.name, {}).setdefault(parsed.text, Requirement(parsed.text, notebook.path))

    inferred: set[str] = set()
    skipped: set[str] = set()
    for notebook in notebooks:
        for requirement in notebook.script_requirements:
            add(requirement.text, notebook)
        if notebook.script_requirements or notebook.script_python:
            continue
        for install in notebook.installs:
            for text in install.requirements:
                add(text, notebook)
        for name in notebook.imports:
            distribution = distribution_of(name)
            if name.split(".")[0] in local:
                skipped.add(name)
            elif not distribution:
                findings.warning(
                    "unknown-import",
                    f"no package is known for `import {name}`, so none is installed for it",
                    notebook.path,
                    remedy=_REMEDY,
                )
            else:
                inferred.add(canonical_name(distribution))
                add(distribution, notebook)
    for name, requirements in found.items():
        if len(requirements) > 1:
            found[name] = {
                text: value for text, value in requirements.items() if canonical_name(text) != name
            }
    if inferred:
        message = f"no file declares dependencies; {len(inferred)} are inferred from the notebooks' imports"
        if skipped:
            message += f" (not from an index, because the repository has them: {', '.join(sorted(skipped))})"
        findings.note("inferred", message, None, remedy=_REMEDY)
    elif not found:
        findings.note(
            "no-dependencies", "neither a file nor a notebook names any dependency", None, remedy=_REMEDY
        )
    return tuple(found[name][text] for name in sorted(found) for text in sorted(found[name]))
