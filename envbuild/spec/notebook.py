"""One notebook file (nbformat 3 and 4): which kernel it wants, what it imports, installs and declares.

Format: https://nbformat.readthedocs.io/en/latest/format_description.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator
from typing import Any

import msgspec

from envbuild.errors import RepoError
from envbuild.source import Repo, printable
from envbuild.source.text import clean, quote
from envbuild.spec.cells import find_imports, find_installs, find_written_module
from envbuild.spec.findings import Findings
from envbuild.spec.imports import imported_name
from envbuild.spec.model import ImportLine, InstallLine, Notebook
from envbuild.spec.script import ScriptBlock, read_script_block

__all__ = ["PYTHON_LANGUAGES", "is_executed_copy", "read_notebook"]

PYTHON_LANGUAGES = frozenset({"ipython", "ipython2", "ipython3", "python", "python2", "python3"})

_NOTEBOOK_LIMIT = 256 << 20
# What becomes a kernelspec's directory. Jupyter's own rule, plus a length; never "." or "..".
_KERNEL_NAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,100}")
# Kernels that are found without the language being named.
_KERNEL_LANGUAGES = {"ir": "R", "bash": "bash", "octave": "octave", "sagemath": "sage"}


class _Cell(msgspec.Struct):
    cell_type: str = ""
    source: str | list[str] = ""
    input: str | list[str] = ""  # nbformat 3
    language: str = "python"  # nbformat 3

    @property
    def code(self) -> str:
        text = self.source or self.input
        return text if isinstance(text, str) else "".join(text)


class _Worksheet(msgspec.Struct):
    cells: list[_Cell] = []


class _KernelSpec(msgspec.Struct):
    name: str | None = None
    language: str | None = None


class _LanguageInfo(msgspec.Struct):
    name: str | None = None
    version: Any = None


class _Metadata(msgspec.Struct):
    kernelspec: _KernelSpec | None = None
    language_info: _LanguageInfo | None = None
    language: Any = None  # nbformat 3
    envbuild: Any = None  # what `envbuild run` has written into an executed copy


class _Version(msgspec.Struct):
    nbformat: int


class _Document(msgspec.Struct):
    """The parts that are read; everything else, outputs above all, is skipped without being kept."""

    nbformat: int
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    cells: list[_Cell] = []
    worksheets: list[_Worksheet] = []  # nbformat 3

    def code_cells(self) -> Iterator[tuple[int, str]]:
        """``(1-based position among all cells, source)`` of each code cell."""
        cells = (
            self.cells if self.nbformat == 4 else [cell for sheet in self.worksheets for cell in sheet.cells]
        )
        for number, cell in enumerate(cells, 1):
            if cell.cell_type == "code" and cell.language in PYTHON_LANGUAGES:
                yield number, cell.code


_decode = msgspec.json.Decoder(_Document).decode


def read_notebook(repo: Repo, path: str, findings: Findings, others: Container[str] = ()) -> Notebook | None:
    """Read the notebook at ``path``; what it asks for and cannot have becomes a problem in ``findings``.

    None when it is an executed copy of one of ``others`` (printable paths).

    Raises:
        RepoError: the file cannot be read or is not a notebook of nbformat 3 or 4.
    """
    shown = printable(path)
    document = _parse(repo.read(path, _NOTEBOOK_LIMIT), shown)
    if _is_copy(document.metadata.envbuild, shown, others):
        return None
    kernel, language = _kernel(document.metadata, shown, findings)
    info = document.metadata.language_info
    notebook = Notebook(
        path=shown,
        kernel=kernel,
        language=language,
        language_version=clean(info.version) if info is not None and isinstance(info.version, str) else None,
        imports=(),
    )
    if language is not None and language.lower() not in PYTHON_LANGUAGES:
        return notebook  # its cells are not ours to read
    if (notebook.language_version or "").startswith("2."):
        findings.warning(
            "python-2",
            "this notebook was written for Python 2, and will run on Python 3",
            shown,
            remedy="port it",
        )
    return _with_code(notebook, document, findings)


def is_executed_copy(repo: Repo, path: str, others: Container[str]) -> bool:
    """Whether the notebook at ``path`` is what ``envbuild run`` made of one of ``others`` (printable paths).

    What cannot be read is no copy: whoever reads it next will say why.
    """
    shown = printable(path)
    try:
        document = _parse(repo.read(path, _NOTEBOOK_LIMIT), shown)
    except RepoError:
        return False
    return _is_copy(document.metadata.envbuild, shown, others)


def _is_copy(record: object, shown: str, others: Container[str]) -> bool:
    original = record.get("notebook") if isinstance(record, dict) else None
    return isinstance(original, str) and original != shown and original in others


def _with_code(notebook: Notebook, document: _Document, findings: Findings) -> Notebook:
    imports: list[ImportLine] = []
    written: set[str | None] = set()
    installs: list[InstallLine] = []
    block = ScriptBlock()
    for number, code in document.code_cells():
        imports += [ImportLine(found.module, number, found.line) for found in find_imports(code)]
        written.add(find_written_module(code))
        for install in find_installs(code):
            installs.append(InstallLine(install.text, install.requirements, number, install.line))
            if install.others:
                findings.warning(
                    "install-not-supported",
                    f"cell {number} installs {', '.join(install.others)}, which the environment will lack",
                    notebook.path,
                    remedy="name the package in requirements.txt if an index has it",
                )
        if "# /// script" in code:
            found = read_script_block(code, notebook.path, number, findings)
            if found is not None and block.found:
                findings.error(
                    "bad-script-block",
                    f"cell {number} holds a second `# /// script` block, and there may be only one (PEP 723)",
                    notebook.path,
                )
            block = found or block
    return Notebook(
        path=notebook.path,
        kernel=notebook.kernel,
        language=notebook.language,
        language_version=notebook.language_version,
        imports=tuple(sorted({imported_name(item.module) for item in imports} - {"", *written})),
        installs=tuple(installs),
        script_requirements=block.requirements,
        script_python=block.python,
        import_lines=tuple(
            sorted(
                (item for item in imports if item.module.partition(".")[0] not in written),
                key=lambda item: (item.cell, item.line, item.module),
            )
        ),
    )


def _kernel(metadata: _Metadata, shown: str, findings: Findings) -> tuple[str | None, str | None]:
    """The kernelspec name (None when unset or not usable) and the language (None when not said)."""
    spec = metadata.kernelspec or _KernelSpec()
    info = metadata.language_info or _LanguageInfo()
    language = spec.language or info.name
    if language is None and isinstance(metadata.language, str):
        language = metadata.language
    if language is not None:
        language = clean(language)
    if not spec.name:
        return None, language
    if not _KERNEL_NAME.fullmatch(spec.name):
        findings.error(
            "bad-kernel-name",
            f"the kernel name {quote(spec.name)} is not valid (letters, digits, '.', '_' and '-' are)",
            shown,
            remedy="choose a kernel in Jupyter and save, or set metadata.kernelspec.name to python3",
        )
        return None, language
    if language is None:
        language = "julia" if spec.name.startswith("julia-") else _KERNEL_LANGUAGES.get(spec.name)
    return spec.name, language


def _parse(data: bytes, shown: str) -> _Document:
    """The document in ``data``. Raises :class:`RepoError` when it is not one."""
    try:
        try:
            document = _decode(data)
        except msgspec.ValidationError as error:
            # The version first: another version's cells need not look like these.
            document = _Document(nbformat=_version(data))
            if document.nbformat in (3, 4):
                raise _bad(f"this is not a notebook: {clean(str(error))}", shown) from error
        except (msgspec.DecodeError, UnicodeDecodeError):
            # What Jupyter itself reads with: it accepts NaN, and says where the mistake is.
            document = msgspec.convert(json.loads(data), _Document)
    except json.JSONDecodeError as error:
        what = "this holds NUL bytes" if b"\0" in data else f"this is not valid JSON: {error.msg}"
        raise _bad(what, shown, error.lineno) from error
    except UnicodeDecodeError as error:
        raise _bad("this is not UTF-8 text", shown, data.count(b"\n", 0, error.start) + 1) from error
    except RecursionError as error:
        raise _bad("this is nested too deep", shown) from error
    except ValueError as error:  # msgspec's own, and a number of more digits than Python converts
        raise _bad(f"this is not a notebook: {clean(str(error))}", shown) from error
    if document.nbformat not in (3, 4):
        raise RepoError(
            f"nbformat {document.nbformat} is not supported; 3 and 4 are",
            code="bad-nbformat",
            file=shown,
            remedy="open and save the notebook in a current JupyterLab",
        )
    return document


def _version(data: bytes) -> int:
    return msgspec.json.decode(data, type=_Version).nbformat


def _bad(message: str, shown: str, line: int | None = None) -> RepoError:
    return RepoError(
        message, code="bad-notebook", file=shown, line=line, remedy="restore the notebook from an intact copy"
    )
