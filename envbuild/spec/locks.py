"""Locks a repository brings along: ``pylock.toml`` (PEP 751) and ``uv.lock``.

They are taken over by :mod:`envbuild.lock`; here it is only seen that they are what they claim to be, what
they hold, and which Python they want.
"""

from __future__ import annotations

from dataclasses import dataclass

from envbuild.errors import RepoError
from envbuild.source import Repo
from envbuild.source.text import clean, quote
from envbuild.spec.model import PythonRequest
from envbuild.spec.pep508 import canonical_name
from envbuild.spec.python_version import is_specifier
from envbuild.spec.toml_file import TomlFile, parse_toml

__all__ = ["ForeignLock", "read_pylock", "read_uv_lock"]

_FILE_LIMIT = 64 << 20
_UV_LOCK_VERSION = 1


@dataclass(frozen=True, slots=True)
class ForeignLock:
    """The canonical names of the packages a lock holds, and the Python it wants."""

    names: frozenset[str]
    python: PythonRequest | None


def read_pylock(repo: Repo, path: str) -> ForeignLock:
    """Read ``pylock.toml`` or ``pylock.NAME.toml``.

    Raises:
        RepoError: it cannot be read or is not valid by PEP 751.
    """
    # Slow to import, and most repositories have none.
    from packaging.pylock import Pylock, PylockUnsupportedVersionError, PylockValidationError

    file = parse_toml(repo, path, _FILE_LIMIT)
    try:
        lock = Pylock.from_dict(file.data)
    except PylockUnsupportedVersionError as error:
        raise RepoError(clean(str(error)), code="bad-lock", file=file.path) from error
    except (PylockValidationError, ValueError, TypeError, RecursionError) as error:
        raise _bad(file, clean(str(error))) from error
    return ForeignLock(frozenset(str(package.name) for package in lock.packages), _python(file))


def read_uv_lock(repo: Repo, path: str) -> ForeignLock:
    """Read ``uv.lock``.

    Raises:
        RepoError: it cannot be read, or is not a lock of the version this envbuild knows.
    """
    file = parse_toml(repo, path, _FILE_LIMIT)
    version = file.data.get("version")
    if version != _UV_LOCK_VERSION:
        raise RepoError(
            f"version {quote(str(version))} of uv.lock is not supported; {_UV_LOCK_VERSION} is",
            code="bad-lock",
            file=file.path,
            line=file.line_of_key("version"),
            remedy="update envbuild, or lock again with a uv of its time",
        )
    packages = file.data.get("package", [])
    if not isinstance(packages, list):
        raise _bad(file, "package is not a list")
    names = {package.get("name") if isinstance(package, dict) else None for package in packages}
    if not all(isinstance(name, str) for name in names):
        raise _bad(file, "a package has no name")
    return ForeignLock(frozenset(canonical_name(name) for name in names if name), _python(file))


def _python(file: TomlFile) -> PythonRequest | None:
    value = file.data.get("requires-python")
    if value is None:
        return None
    if not is_specifier(value):
        raise _bad(file, f"requires-python {quote(str(value))} is not a version specifier")
    return PythonRequest(value, file.path, file.line_of_key("requires-python"))


def _bad(file: TomlFile, reason: str) -> RepoError:
    return RepoError(
        f"this is not a valid lock: {reason}", code="bad-lock", file=file.path, remedy="lock again"
    )
