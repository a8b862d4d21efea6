"""Variables that notebooks start with: where they are given, and how each language writes them down.

As with papermill (https://papermill.readthedocs.io), values are those of JSON and YAML, and they are set by a
cell of code in the notebook's language.
"""

from __future__ import annotations

import json
import keyword
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.errors import UsageError
from envbuild.source.text import printable, quote, redact
from envbuild.spec.model import Notebook
from envbuild.spec.notebook import PYTHON_LANGUAGES

__all__ = [
    "LANGUAGES",
    "REDACTED",
    "check_names",
    "parameter_cells",
    "parse_value",
    "read_parameters",
    "redacted",
]

REDACTED = "***"

_MOST_BYTES = 1 << 20
_MOST_DEPTH = 32
# Words of a name that say what its value is: `dbPassword`, `GITHUB_TOKEN`, but not `keyword`.
_SECRET_WORDS = frozenset(
    {
        *("apikey", "authorization", "bearer", "cookie", "credential", "credentials", "passphrase", "passwd"),
        *("password", "pwd", "secret", "secrets", "token", "tokens"),
    }
)
# What is a key of a lock and not of a table.
_KINDS_OF_KEYS = frozenset({"access", "account", "api", "auth", "encryption", "private", "signing", "ssh"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# How well-known tokens begin: GitHub's, GitLab's, Slack's, AWS', OpenAI's, npm's, PyPI's, Hugging Face's,
# Google's, JSON web tokens, and private keys.
_TOKEN = re.compile(
    r"gh[opsur]_\w{20}|github_pat_\w{20}|glpat-[\w-]{20}|xox[abeoprs]-\w|A[KS]IA[A-Z0-9]{16}|sk-[\w-]{20}"
    r"|npm_\w{30}|pypi-Ag\w|hf_\w{30}|AIza[\w-]{30}|eyJ[\w-]{10,}\.eyJ|-----BEGIN [A-Z ]*PRIVATE KEY"
)


def parse_value(text: str) -> Any:
    """The value of a parameter on the command line: JSON, Python's ``True``, ``False`` and ``None``, or text.

    >>> [parse_value(text) for text in ("3", "1e3", "True", "null", "[1, 2]", "a b", '"3"')]
    [3, 1000.0, True, None, [1, 2], 'a b', '3']
    """
    known = {"True": True, "False": False, "None": None}
    if text in known:
        return known[text]
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity: the parser's, and not JSON


def read_parameters(path: Path) -> dict[str, Any]:
    """The parameters in a YAML (or JSON) file of the user's, of at most 1 MiB. Dates are texts.

    Raises:
        UsageError: it cannot be read, or is not a mapping of names to values.
    """
    shown = printable(str(path))
    remedy = "write it as `name: value` lines"
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"the file with parameters cannot be read: {error.strerror}",
            code="bad-parameters",
            file=shown,
            remedy="name a YAML file with -f",
        ) from error
    if len(data) > _MOST_BYTES:
        raise UsageError("the file with parameters is larger than 1 MiB", code="bad-parameters", file=shown)
    try:
        found = _load(data)
    except _NotYaml as error:
        raise UsageError(
            str(error), code="bad-parameters", file=shown, line=error.line, remedy=remedy
        ) from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UsageError(
            "parameters are a mapping of names to values", code="bad-parameters", file=shown, remedy=remedy
        )
    for name, value in found.items():
        trouble = "a name is not a text" if not isinstance(name, str) else _trouble(value)
        if trouble is not None:
            raise UsageError(
                f"{quote(str(name))}: {trouble}", code="bad-parameters", file=shown, remedy=remedy
            )
    return found


class _NotYaml(Exception):
    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def _load(data: bytes) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # there are no types
        """Without dates, which no two languages write alike, and without aliases, which multiply."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise _NotYaml("aliases are not supported", self.peek_event().start_mark.line + 1)
            return super().compose_node(parent, index)

    Loader.yaml_implicit_resolvers = {
        first: [(tag, expression) for tag, expression in pairs if not tag.endswith(":timestamp")]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    try:
        return yaml.load(data, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = printable(error.problem or error.context or "")
        raise _NotYaml(f"this is not YAML: {said}", mark.line + 1 if mark else None) from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise _NotYaml("this is not YAML") from error
    except RecursionError as error:
        raise _NotYaml("this is nested too deep") from error


def _trouble(value: object, depth: int = 0) -> str | None:
    """Why ``value`` cannot be a parameter; None when it can."""
    if depth > _MOST_DEPTH:
        return "it is nested too deep"
    match value:
        case None | bool() | int() | float() | str():
            return None
        case list():
            return next((found for item in value if (found := _trouble(item, depth + 1))), None)
        case dict():
            if not all(isinstance(key, str) for key in value):
                return "a key in it is not a text"
            return next((found for item in value.values() if (found := _trouble(item, depth + 1))), None)
    return f"a {type(value).__name__} cannot be given to a notebook"


def redacted(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """``parameters`` for the record: what looks like a credential, by its name or by itself, is ``"***"``.

    >>> redacted({"year": 2020, "api_key": "abc", "key": "name", "url": "https://me:pw@example.org/"})
    {'year': 2020, 'api_key': '***', 'key': 'name', 'url': 'https://***@example.org/'}
    """
    return {name: _redacted(name, value) for name, value in parameters.items()}


def _redacted(name: str, value: Any) -> Any:
    words = {word.lower() for word in _WORD.findall(name)}
    secret = words & _SECRET_WORDS or ("key" in words and words & _KINDS_OF_KEYS)
    if secret and value is not None and not isinstance(value, bool):
        return REDACTED
    match value:
        case str():
            return REDACTED if _TOKEN.search(value) else redact(value)
        case list():
            return [_redacted("", item) for item in value]
        case dict():
            return {key: _redacted(key, item) for key, item in value.items()}
    return value


# How languages write values


@dataclass(frozen=True, slots=True)
class _Language:
    """How a language sets variables.

    ``name`` matches what can be one, besides ``reserved`` words; ``constants`` are null, true, false, not a
    number and infinity; ``text`` writes a text, ``items`` a list of written values, ``table`` a mapping.
    """

    title: str
    name: re.Pattern[str]
    reserved: frozenset[str]
    constants: tuple[str, str, str, str, str]
    text: Callable[[str], str]
    items: Callable[[Sequence[str]], str]
    table: Callable[[Sequence[tuple[str, str]]], str]
    assignment: str = "{name} = {value}"

    def has_name(self, name: str) -> bool:
        """Whether ``name`` can be a variable."""
        return self.name.fullmatch(name) is not None and name not in self.reserved

    def value(self, value: Any) -> str:
        """``value`` as an expression."""
        null, true, false, nan, infinity = self.constants
        match value:
            case None:
                return null
            case bool():
                return true if value else false
            case float() if math.isnan(value):
                return nan
            case float() if math.isinf(value):
                return infinity if value > 0 else f"-{infinity}"
            case int() | float():
                return repr(value)
            case str():
                return self.text(value)
            case list():
                return self.items([self.value(item) for item in value])
            case dict():
                return self.table([(self.text(key), self.value(item)) for key, item in value.items()])
        raise TypeError(type(value))

    def cell(self, parameters: Mapping[str, Any]) -> str:
        """The code that sets ``parameters``."""
        lines = [
            self.assignment.format(name=name, value=self.value(value)) for name, value in parameters.items()
        ]
        return "\n".join(["# Parameters", *lines])


def _joined(form: str) -> Callable[[Sequence[str]], str]:
    return lambda items: form % ", ".join(items)


def _paired(form: str, pair: str) -> Callable[[Sequence[tuple[str, str]]], str]:
    return lambda pairs: form % ", ".join(pair % both for both in pairs)


def _escaped(also: str = "") -> Callable[[str], str]:
    """Texts in double quotes with the escapes that C, R and Julia agree on; ``also`` gets a backslash too."""

    def write(text: str) -> str:
        pieces = []
        for char in text:
            if char in '"\\' + also:
                pieces.append("\\" + char)
            elif char in "\n\t\r":
                pieces.append({"\n": "\\n", "\t": "\\t", "\r": "\\r"}[char])
            elif char < " " or char == "\x7f":
                pieces.append(f"\\{ord(char):03o}")
            else:
                pieces.append(char)
        return '"' + "".join(pieces) + '"'

    return write


def _shell_text(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _shell_table(pairs: Sequence[tuple[str, str]]) -> str:
    return "(" + " ".join(f"[{key}]={value}" for key, value in pairs) + ")"


def _octave_table(pairs: Sequence[tuple[str, str]]) -> str:
    if not pairs:
        return "containers.Map()"
    keys, values = (", ".join(column) for column in zip(*pairs, strict=True))
    return f"containers.Map({{{keys}}}, {{{values}}}, 'UniformValues', false)"


_ASCII = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PYTHON_NAME = re.compile(r"[^\W\d]\w*")
_R_NAME = re.compile(r"(?:[A-Za-z]|\.(?![0-9]))[A-Za-z0-9._]*")
_R_RESERVED = "if else repeat while function for next break TRUE FALSE NULL Inf NaN NA in ..."
_JULIA_RESERVED = (
    "baremodule begin break catch const continue do else elseif end export false finally for function global"
    " if import let local macro module quote return struct true try using while"
)
_OCTAVE_RESERVED = (
    "break case catch continue do else elseif end end_try_catch end_unwind_protect endfor endfunction endif"
    " endparfor endswitch endwhile for function global if otherwise parfor persistent return switch try until"
    " unwind_protect unwind_protect_cleanup while"
)

# By the name that kernelspecs state for the language, in lower case.
_LANGUAGES = {
    "python": _Language(
        "Python",
        _PYTHON_NAME,
        frozenset(keyword.kwlist),
        ("None", "True", "False", 'float("nan")', 'float("inf")'),
        repr,
        _joined("[%s]"),
        _paired("{%s}", "%s: %s"),
    ),
    "r": _Language(
        "R",
        _R_NAME,
        frozenset(_R_RESERVED.split()),
        ("NULL", "TRUE", "FALSE", "NaN", "Inf"),
        _escaped(),
        _joined("list(%s)"),
        _paired("list(%s)", "%s = %s"),
    ),
    "julia": _Language(
        "Julia",
        _ASCII,
        frozenset(_JULIA_RESERVED.split()),
        ("nothing", "true", "false", "NaN", "Inf"),
        _escaped("$"),
        _joined("[%s]"),
        _paired("Dict(%s)", "%s => %s"),
    ),
    "octave": _Language(
        "Octave",
        _ASCII,
        frozenset(_OCTAVE_RESERVED.split()),
        ("[]", "true", "false", "NaN", "Inf"),
        _escaped(),
        _joined("{%s}"),
        _octave_table,
        "{name} = {value};",
    ),
    "bash": _Language(
        "Bash",
        _ASCII,
        frozenset(),
        ("''", "true", "false", "nan", "inf"),
        _shell_text,
        lambda items: "(" + " ".join(items) + ")",
        _shell_table,
        "{name}={value}",
    ),
}
LANGUAGES = frozenset(_LANGUAGES)
"""The languages in which parameters can be set, in lower case."""


def check_names(parameters: Iterable[str], chosen: Iterable[str], notebooks: Iterable[Notebook]) -> None:
    """Check that all names can be variables in the languages of the notebooks that are ``chosen``.

    Parameters:
        chosen: paths, relative to the repository.
        notebooks: those of the repository, as they were read.

    Raises:
        UsageError: one cannot, or the language is none that parameters can be set in.
    """
    names = tuple(parameters)
    known = {notebook.path: notebook.language for notebook in notebooks}
    for path in map(printable, chosen) if names else ():
        said = (known.get(path) or "python").lower()
        language = _LANGUAGES.get("python" if said in PYTHON_LANGUAGES else said)
        if language is None:
            raise UsageError(
                f"parameters cannot be set in {quote(said)}, the language of {path}",
                code="no-parameters",
                remedy=f"run it without parameters; they can be set in {', '.join(sorted(LANGUAGES))}",
            )
        for name in names:
            if not language.has_name(name):
                raise UsageError(
                    f"{quote(name)} is not the name of a variable in {language.title}, in which {path} is",
                    code="bad-parameter-name",
                    remedy="give the parameter another name",
                )


def parameter_cells(parameters: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The code that sets ``parameters``, by language (lower case); none when there are none.

    Returns:
        For every language that has such names and values: ``source``, the code to run, and ``shown``, the
        code to keep, in which nothing looks like a credential.
    """
    cells = {}
    for name, language in _LANGUAGES.items():
        nested = name == "bash" and any(map(_is_nested, parameters.values()))
        if parameters and not nested and all(map(language.has_name, parameters)):
            cells[name] = {
                "source": _declared(name, language.cell(parameters), parameters),
                "shown": _declared(name, language.cell(redacted(parameters)), parameters),
            }
    return cells


def _is_nested(value: object) -> bool:
    """Whether it is a list or a mapping that holds another: the shell has only flat ones."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(isinstance(item, list | dict) for item in items)


def _declared(language: str, code: str, parameters: Mapping[str, Any]) -> str:
    """For the shell, associative arrays are declared before they are set."""
    tables = [name for name, value in parameters.items() if isinstance(value, dict)]
    if language != "bash" or not tables:
        return code
    first, _, rest = code.partition("\n")
    return f"{first}\ndeclare -A {' '.join(tables)}\n{rest}"
