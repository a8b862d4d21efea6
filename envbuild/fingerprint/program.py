"""Prints what the environment it runs in is, as one JSON document, and compares two of them.

This file is in every image as ``envbuild-fingerprint``. It needs Python 3.8 or newer and can import nothing
of envbuild. ``environment`` in the document is what can make a notebook's result differ, and what ``digest``
is of; user, machine and working directory are under ``machine``. The reasons are in docs/fingerprint.md. No
value is shown of a variable that is not listed here.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import json
import locale
import os
import platform
import re
import sys
import sysconfig
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # older Pythons have no dict[...]
    Document = dict[str, Any]
    Differences = list[tuple[str, Any, Any]]

VERSION = 1

# Written into every image by envbuild/pack/glue.py.
_IDENTITY = Path("/usr/share/envbuild/environment.json")
_LOCK = Path("/usr/share/envbuild/envbuild.lock")
_MOST_SHOWN = 20

# Variables that decide what a notebook's code does: patterns for whole names, and why.
COUNTED = (
    (r"PATH|SHELL", "which programs are started"),
    (r"VIRTUAL_ENV|CONDA_PREFIX|CONDA_DEFAULT_ENV", "which environment is taken for active"),
    (r"PYTHON(?:PATH|HOME|USERBASE|NOUSERSITE|SAFEPATH)", "what can be imported"),
    (r"PYTHON(?:STARTUP|OPTIMIZE|DEVMODE|WARNINGS|INSPECT|MALLOC)", "how Python behaves"),
    (r"PYTHONHASHSEED", "the order of sets"),
    (r"PYTHON(?:UTF8|IOENCODING|COERCECLOCALE)", "how text is encoded"),
    (
        r"LANG|LANGUAGE|LC_(?:ALL|COLLATE|CTYPE|MESSAGES|MONETARY|NUMERIC|TIME)",
        "words, order, numbers, dates",
    ),
    (r"TZ|TZDIR|PYTHONTZPATH", "what time it is"),
    (r"LD_(?:LIBRARY_PATH|PRELOAD|AUDIT)|GLIBC_TUNABLES", "which libraries are loaded"),
    (r"(?:OMP|OPENBLAS|GOTO|MKL|BLIS|NUMEXPR|NUMBA)_NUM_THREADS", "in how many parts sums are added up"),
    (r"(?:NUMEXPR|POLARS)_MAX_THREADS|VECLIB_MAXIMUM_THREADS", "the same"),
    (r"OMP_(?:DYNAMIC|PROC_BIND|SCHEDULE|THREAD_LIMIT)", "the same"),
    (r"OPENBLAS_CORETYPE|MKL_CBWR|MKL_ENABLE_INSTRUCTIONS|NPY_\w*CPU\w*", "which instructions compute"),
    (r"MPLBACKEND|MATPLOTLIBRC|MPLCONFIGDIR|SOURCE_DATE_EPOCH", "how pictures are drawn"),
    (r"IPYTHONDIR|JUPYTER_(?:PATH|CONFIG_PATH|PREFER_ENV_PATH)", "which kernels and settings are found"),
    (r"R_(?:LIBS|PROFILE|ENVIRON)(?:_SITE|_USER)?|OCTAVE_PATH", "what other languages find"),
)
# Those that belong to the user, the hub or the machine: shown, and no difference.
SHOWN = (
    (r"USER|NB_USER|NB_UID|NB_GID", "who runs it"),
    (
        r"REPO_DIR|TMPDIR|XDG_(?:CACHE|CONFIG|DATA)_HOME|JUPYTER_(?:CONFIG|DATA|RUNTIME)_DIR",
        "where files are",
    ),
    (r"JUPYTER_IMAGE(?:_SPEC)?", "which image the hub started"),
    (r"(?:CPU|MEM)_(?:LIMIT|GUARANTEE)|CUDA_VISIBLE_DEVICES", "what of the machine may be used"),
    (r"(?:SSL_CERT|REQUESTS_CA|CURL_CA)_(?:FILE|DIR|BUNDLE)", "who is believed on the network"),
)
# What ipykernel sets for every notebook by itself, so that a cell and a terminal see the same.
_OF_IPYKERNEL = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}

# Files of the user that change what every notebook does: a hub's volume over $HOME may have them.
_SETTINGS = (
    ("{ipython}/profile_default", "startup/*.py"),
    ("{ipython}/profile_default", "startup/*.ipy"),
    ("{ipython}/profile_default", "ipython*_config.*"),
    ("{matplotlib}", "matplotlibrc"),
    ("{matplotlib}", "stylelib/*.mplstyle"),
    ("{home}/.matplotlib", "matplotlibrc"),
    ("{home}/.fonts", "**/*"),
    ("{home}/.local/share/fonts", "**/*"),
    ("{home}", ".Rprofile"),
    ("{home}", ".Renviron"),
    ("{home}", ".octaverc"),
)
# Kernelspecs are written for the environment, over those of packages; they are in the document by themselves.
_KERNELSPEC = re.compile(r"share/jupyter/kernels/[^/]+/kernel\.json$")


def canonical(value: Any) -> bytes:
    """``value`` as the JSON that digests are of: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def digest(data: bytes) -> str:
    """``sha256:<hex>``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def text_of(document: Mapping[str, Any]) -> str:
    """A document as it is printed and saved: the same for the same content."""
    return json.dumps(document, sort_keys=True, indent=1) + "\n"


def fingerprint(*, files: bool = False) -> Document:
    """The document about the Python that runs this.

    Parameters:
        files: also compare every installed file with what its package's RECORD, or conda's, says.
    """
    home, paths = str(Path("~").expanduser()), _import_paths()
    kernels, own_kernels = _kernels(os.environ, home)
    variables = _of_kernel(kernels, os.environ)
    told = _json(_IDENTITY)
    conda = _conda_records(Path(sys.prefix, "conda-meta"))
    of_conda = {str(Path(sys.prefix, path)) for record in conda for path in record.get("files", ())}
    environment = {
        "conda": {str(record["name"]): _conda_package(record, files=files) for record in conda},
        "debian": _debian(Path("/var/lib/dpkg/status")),
        "identity": {name: told.get(name) for name in ("environment", "recipe")},
        "interpreter": _interpreter(paths, home),
        "kernels": kernels,
        "locale": _locale(),
        "packages": packages(paths, home, files=files, of_conda=of_conda),
        "settings": _settings(variables, home),
        "startup": _startup(paths, home),
        "system": _system(),
        "variables": _variables(COUNTED, variables, home),
    }
    return {
        "version": VERSION,
        "digest": digest(canonical(environment)),
        "environment": environment,
        "files_checked": files,
        "image": {"lock": _file_digest(_LOCK), "image_id": None, "digest": None},
        "machine": {**_machine(), "kernels": own_kernels, "variables": _variables(SHOWN, variables, "")},
    }


def _import_paths() -> list[str]:
    """``sys.path`` as a kernel has it: without the directory of this program."""
    here = Path(__file__).resolve().parent
    return [path for path in sys.path if path and Path(path).resolve() != here]


def _below_home(text: str, home: str) -> str:
    """``text`` with the home directory as ``~``, wherever a path in it begins so.

    >>> _below_home("/home/me/bin:/home/meta:/usr/bin", "/home/me")
    '~/bin:/home/meta:/usr/bin'
    """
    if home.strip("/") == "":
        return text
    return re.sub(f"(?:(?<=[:;])|^){re.escape(home.rstrip('/'))}(?=[/:;]|$)", "~", text)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.is_file() else None
    except (OSError, ValueError):  # ValueError: a path with a null byte
        return None


def _text(path: Path) -> str:
    return (_read(path) or b"").decode("utf-8", "replace")


def _json(path: Path) -> Document:
    try:
        value = json.loads(_read(path) or b"null")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _names(directory: str | Path) -> list[str]:
    try:
        return sorted(entry.name for entry in Path(directory).iterdir())
    except OSError:
        return []


def _file_digest(path: Path) -> str | None:
    data = _read(path)
    return None if data is None else digest(data)


def packages(
    paths: Sequence[str], home: str, *, files: bool = False, of_conda: Collection[str] = ()
) -> Document:
    """The installed distributions that can be imported, by normalised name (PEP 503).

    Parameters:
        paths: directories in the order of ``sys.path``; what is found first counts.
        of_conda: files that conda installed. It changes prefixes in them, of which RECORD knows nothing.
    """
    found: Document = {}
    for path in paths:
        for entry in _names(path):
            place = Path(path, entry)
            if place.suffix not in (".dist-info", ".egg-info"):
                continue
            header = _header(_text(place / "METADATA") or _text(place / "PKG-INFO") or _text(place))
            name = re.sub(r"[-_.]+", "-", header.get("name", entry.partition("-")[0])).lower()
            if name in found:
                continue
            record = _read(place / "RECORD")
            found[name] = {
                "version": header.get("version"),
                "record": None if record is None else digest(record),
                "location": _below_home(path, home),
            }
            looked_at = files and record is not None and str(place / "RECORD") not in of_conda
            altered = dict(_altered(Path(path), record or b"")) if looked_at else {}
            if altered:
                found[name]["altered"] = altered
    return found


def _header(text: str) -> dict[str, str]:
    """The fields before the first empty line, by lower-case name."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip():
            break
        name, _, value = line.partition(":")
        fields.setdefault(name.lower(), value.strip())
    return fields


def _altered(directory: Path, record: bytes) -> Iterator[tuple[str, str]]:
    """Path and what happened to it, for each file with a hash in ``record`` that is not as it says."""
    for row in csv.reader(record.decode("utf-8", "replace").splitlines()):
        algorithm, _, expected = row[1].partition("=") if len(row) > 1 else ("", "", "")
        if algorithm not in hashlib.algorithms_guaranteed or _KERNELSPEC.search(row[0]):
            continue
        data = _read(directory / row[0])
        if data is None:
            yield row[0], "missing"
        elif base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).decode().rstrip("=") != expected:
            yield row[0], "changed"


def _startup(paths: Sequence[str], home: str) -> Document:
    """Digests of what Python runs by itself when it starts."""
    files = [
        Path(path, name)
        for path in paths
        for name in _names(path)
        if name.endswith(".pth") or name in ("sitecustomize.py", "usercustomize.py")
    ]
    return {_below_home(str(file), home): _file_digest(file) for file in files}


def _conda_records(directory: Path) -> list[Document]:
    read = [_json(directory / name) for name in _names(directory) if name.endswith(".json")]
    return [record for record in read if "name" in record]


def _conda_package(record: Document, *, files: bool) -> Document:
    package = {key: record.get(key) for key in ("version", "build", "sha256")}
    altered = {}
    for entry in record.get("paths_data", {}).get("paths", ()) if files else ():
        path, expected = entry["_path"], entry.get("sha256_in_prefix") or entry.get("sha256")
        rewritten = path.endswith(".pyc") or _KERNELSPEC.search(path)
        if not expected or rewritten or entry.get("path_type") == "softlink":
            continue
        found = _file_digest(Path(sys.prefix, path))
        if found != f"sha256:{expected}":
            altered[path] = "missing" if found is None else "changed"
    return {**package, "altered": altered} if altered else package


def _debian(status: Path) -> Document:
    """The versions of installed Debian packages, by name and architecture."""
    read = map(_header, re.split(r"\n\s*\n", _text(status)))
    return {
        f"{fields.get('package')}:{fields.get('architecture')}": fields.get("version")
        for fields in read
        if fields.get("status", "").endswith(" installed")
    }


def _interpreter(paths: Sequence[str], home: str) -> Document:
    try:
        libc: str | None = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):  # another C library
        libc = None
    flags = ("optimize", "utf8_mode", "hash_randomization", "dev_mode", "no_user_site")
    return {
        "implementation": platform.python_implementation(),
        "version": platform.python_version(),
        "build": list(platform.python_build()),
        "compiler": platform.python_compiler(),
        "platform": sysconfig.get_platform(),
        "libc": libc,
        "executable": _below_home(sys.executable, home),
        "executable_digest": _file_digest(Path(sys.executable)),
        "prefix": _below_home(sys.prefix, home),
        "path": [_below_home(path, home) for path in paths],
        "flags": {flag: int(getattr(sys.flags, flag, 0)) for flag in flags},
    }


def _kernels(variables: Mapping[str, str], home: str) -> tuple[Document, Document]:
    """The kernels of the image, and beside them those of the user, by name, as Jupyter finds them."""
    places = [path for path in variables.get("JUPYTER_PATH", "").split(os.pathsep) if path]
    places.append(variables.get("JUPYTER_DATA_DIR") or f"{home}/.local/share/jupyter")
    prefixes = (sys.prefix, "/srv/env", "/srv/jupyter", "/usr/local", "/usr")
    places += [f"{prefix}/share/jupyter" for prefix in prefixes]
    found: Document = {}
    own: Document = {}
    for place in places:
        for name in _names(f"{place}/kernels"):
            file = Path(place, "kernels", name, "kernel.json")
            spec, shown = _json(file), _below_home(str(file), home)
            if spec and name.lower() not in {**found, **own}:
                kernel = {key: spec.get(key) for key in ("argv", "display_name", "language")}
                kernels = own if shown.startswith("~/") else found
                kernels[name.lower()] = {**kernel, "file": shown, "digest": _file_digest(file)}
    return found, own


def _of_kernel(kernels: Document, variables: Mapping[str, str]) -> Mapping[str, str]:
    """The variables as the kernel ``python3`` has them, wherever this runs: kernelspecs set some."""
    spec = _json(Path(kernels["python3"]["file"])) if "python3" in kernels else {}
    added = spec.get("env")
    known = added.items() if isinstance(added, dict) else ()
    return {**variables, **{name: str(value) for name, value in known}}


def _locale() -> Document:
    try:
        chosen: str | None = locale.setlocale(locale.LC_ALL, "")
    except locale.Error:
        chosen = None
    return {
        "filesystem": sys.getfilesystemencoding(),
        "filesystem_errors": sys.getfilesystemencodeerrors(),
        "preferred": locale.getpreferredencoding(False),
        "locale": chosen,
        "timezone": [*time.tzname, time.timezone],
    }


def _system() -> Document:
    lines = [line.partition("=") for line in _text(Path("/etc/os-release")).splitlines()]
    fields = {name: value.strip("\"'") for name, _, value in lines}
    return {"id": fields.get("ID"), "version": fields.get("VERSION_ID")}


def _variables(listed: Sequence[tuple[str, str]], variables: Mapping[str, str], home: str) -> Document:
    """The listed variables that are set; never another one's value."""
    wanted = re.compile("|".join(f"(?:{pattern})" for pattern, _ in listed))
    return {
        name: _below_home(value, home)
        for name, value in variables.items()
        if wanted.fullmatch(name) and _OF_IPYKERNEL.get(name) != value
    }


def _settings(variables: Mapping[str, str], home: str) -> Document:
    """Digests of files of the user that act on every notebook."""
    configuration = variables.get("XDG_CONFIG_HOME") or f"{home}/.config"
    places = {
        "home": home,
        "ipython": variables.get("IPYTHONDIR") or f"{home}/.ipython",
        "matplotlib": variables.get("MPLCONFIGDIR") or f"{configuration}/matplotlib",
    }
    files = [file for place, glob in _SETTINGS for file in Path(place.format(**places)).glob(glob)]
    return {_below_home(str(file), home): _file_digest(file) for file in files if file.is_file()}


def _machine() -> Document:
    """What is particular about this process, its user and its machine."""
    umask = os.umask(0o077)
    os.umask(umask)
    processor = re.search(r"^model name\s*:\s*(.+)$", _text(Path("/proc/cpuinfo")), re.MULTILINE)
    return {
        "user": os.getuid(),
        "group": os.getgid(),
        "home": str(Path("~").expanduser()),
        "directory": str(Path.cwd()),
        "umask": f"{umask:03o}",
        "kernel": platform.release(),
        "processor": processor.group(1).strip() if processor else platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
    }


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Differences:
    """What is different between two environments: what, and its value in each (None: it has none).

    Parameters:
        before, after: ``environment``, or ``machine``, of two documents.
    """
    found: Differences = []
    for name in sorted({*before, *after}):
        one, other = before.get(name), after.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            found += [(f"{name} {what}", *values) for what, *values in differences(one, other)]
        elif one != other:
            found.append((name, one, other))
    return found


def difference_lines(found: Differences) -> list[str]:
    """``found`` for people, the first ones of many."""
    lines = []
    for what, one, other in found[:_MOST_SHOWN]:
        if one is None or other is None:
            lines.append(f"  {'+' if one is None else '-'} {what}  {_brief(other if one is None else one)}")
        else:
            lines.append(f"  ~ {what}  {_brief(one)} -> {_brief(other)}")
    more = len(found) - _MOST_SHOWN
    return lines + ([f"  and {more} more"] if more > 0 else [])


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("version") or value.get("display_name") or "")
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1…", text)


def altered_files(environment: Mapping[str, Any]) -> list[str]:
    """``package: path: what``, for every file that is not as it was installed."""
    return [
        f"{name}: {path}: {what}"
        for kind in ("conda", "packages")
        for name, package in sorted(environment.get(kind, {}).items())
        for path, what in sorted(package.get("altered", {}).items())
    ]


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head -2`; Python would complain again when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(arguments: Sequence[str]) -> int:
    """0: printed, or the same; 1: different, or files were altered; 2: wrong usage."""
    parser = argparse.ArgumentParser(
        prog="envbuild-fingerprint", description="Print what this environment is, as one JSON document."
    )
    parser.add_argument("--files", action="store_true", help="compare installed files with their RECORD")
    parser.add_argument("--output", metavar="FILE", help="write there instead of to standard output")
    parser.add_argument("--against", metavar="FILE", help="print what differs from this saved document")
    options = parser.parse_args(arguments)
    saved = _json(Path(options.against)) if options.against else {}
    if options.against and (
        saved.get("version") != VERSION or not isinstance(saved.get("environment"), dict)
    ):
        parser.error(f"{options.against} is not a fingerprint of version {VERSION}")
    document = fingerprint(files=options.files)
    if options.output:
        Path(options.output).write_text(text_of(document), "ascii")
    elif not options.against:
        _print(text_of(document))
    found = differences(saved["environment"], document["environment"]) if saved else []
    if saved:
        print("\n".join(difference_lines(found)) if found else f"the same: {document['digest']}")
    altered = altered_files(document["environment"])
    for line in altered[:_MOST_SHOWN]:
        print(f"altered: {line}", file=sys.stderr)
    return 1 if found or altered else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
