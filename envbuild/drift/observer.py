"""Runs a command and tells which packages of the environment change. This file runs inside the image.

It is started by the image's own Python as ``observer.py REPORT PREFIX [ROOT...] -- COMMAND...``, and ends as
the command does. ``REPORT`` is an existing file, to which a JSON line is appended whenever the packages below
``PREFIX`` (a virtual environment or a conda prefix), in the user's site-packages and on ``PYTHONPATH``, or in
directories that ``pip install --target`` made a little below the ``ROOT`` directories, are others than those
that were told last. Each line has all differences from the start::

    {"changes": [{"name": ..., "before": version or null, "after": version or null,
                  "manager": "pip" or "conda", "place": "environment", "user" or the directory,
                  "requested": bool, "installer": ..., "origin": direct_url.json or null}]}

While nothing changes, it looks at the times of a few directories once a second and at nothing else. What is
told is for people to judge: the command can write to the same file. Nothing of envbuild can be imported.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial

# What is imported here is waited for before every command; the rest is when the command has been started.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SIGNALS = (
    signal.SIGCHLD,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_POLL_SECONDS = 1.0
_TARGETS_EVERY = 30  # polls: looking for new directories is not as cheap as the rest
_MOST_WAITS = 60  # polls: an installation that takes longer is told as far as it got
_MOST_PACKAGES = 2000
_MOST_DIRECTORIES = 500
_LONGEST_FILE = 16 << 20
_LONGEST_ORIGIN = 1 << 16
_DIST_INFO = ".dist-info"
_NO_FORMAT = 8  # ENOEXEC
# By Python, which commands do not expect.
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)


class Package:
    """What is installed: ``stamp`` changes when the same version is installed again."""

    __slots__ = ("path", "stamp", "version")

    def __init__(self, version: str, path: str) -> None:
        self.version = version
        self.path = path
        self.stamp = _stamp(path)


def site_directories(prefix: str) -> list[str]:
    """The site-packages below ``prefix``."""
    library = os.path.join(prefix, "lib")
    return [
        os.path.join(library, name, "site-packages") for name in _names(library) if name.startswith("python3")
    ]


def user_directories(sites: list[str], environment: dict[str, str]) -> list[str]:
    """Where the Pythons of ``sites`` put what a user installs for themselves."""
    home = environment.get("HOME", "")
    base = environment.get("PYTHONUSERBASE") or (os.path.join(home, ".local") if home else "")
    versions = [os.path.basename(os.path.dirname(site)) for site in sites]
    return [os.path.join(base, "lib", version, "site-packages") for version in versions] if base else []


def installed(directory: str) -> dict[str, Package]:
    """The distributions in a site-packages (or a ``--target``) by canonical name, from names of files."""
    found: dict[str, Package] = {}
    for entry in _entries(directory):
        if entry.name.endswith(_DIST_INFO):
            name, _, version = entry.name[: -len(_DIST_INFO)].rpartition("-")
        elif entry.name.endswith(".egg-info"):
            name, version = [*entry.name[: -len(".egg-info")].split("-"), ""][:2]
        else:
            continue
        # A name that begins with "~" is one that pip has moved out of the way.
        if name and version and not name.startswith("~") and len(found) < _MOST_PACKAGES:
            found[_canonical(name)] = Package(version, entry.path)
    return found


def conda_installed(prefix: str) -> dict[str, Package]:
    """The packages of a conda prefix by name."""
    found: dict[str, Package] = {}
    for entry in _entries(os.path.join(prefix, "conda-meta")):
        parts = entry.name[:-5].rsplit("-", 2)
        if entry.name.endswith(".json") and len(parts) == 3 and len(found) < _MOST_PACKAGES:
            found[parts[0].lower()] = Package(parts[1], entry.path)
    return found


def targets(roots: list[str]) -> list[str]:
    """Directories at most two below ``roots`` that distributions are installed in."""
    found = []
    looked = 0
    todo = [(root, 0) for root in reversed(roots)]
    while todo and looked < _MOST_DIRECTORIES:
        directory, depth = todo.pop()
        looked += 1
        entries = _entries(directory)
        if depth and any(entry.name.endswith(_DIST_INFO) for entry in entries):
            found.append(directory)
        elif depth < 2:
            todo += [(entry.path, depth + 1) for entry in entries if _is_searched(entry)]
    return found


def _is_searched(entry: os.DirEntry[str]) -> bool:
    # pip's own working directories are not what anybody imports from.
    if entry.name.startswith((".", "pip-", "node_modules")):
        return False
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


class Observer:
    """Knows what was there at the start, and tells what is different now."""

    def __init__(self, report: int, prefix: str, roots: list[str], environment: dict[str, str]) -> None:
        self._report = report
        self._prefix = prefix
        self._roots = roots
        sites = site_directories(prefix)
        self._places = [(site, "environment") for site in sites]
        self._places += [(directory, "user") for directory in user_directories(sites, environment)]
        known = {directory for directory, _ in self._places}
        for directory in environment.get("PYTHONPATH", "").split(":"):
            if os.path.isabs(directory) and directory not in known:
                self._places.append((directory, directory))
        self._before: dict[tuple[str, str, str], Package] = {}
        self._seen: tuple[int, ...] = ()
        self._pending: tuple[Any, ...] | None = None
        self._waited = 0
        self._told: list[dict[str, Any]] = []

    def begin(self) -> None:
        """Remember what is there."""
        self._before = self._packages()
        self._seen = self._stamps()

    def add_targets(self, *, known: bool = False) -> None:
        """Look for directories that were installed into; ``known``: what is in them was there before."""
        places = {directory for directory, _ in self._places}
        for directory in targets(self._roots):
            if directory not in places:
                self._places.append((directory, directory))
                if known:
                    self._before.update(self._packages([(directory, directory)]))
        if known:
            self._seen = self._stamps()

    def look(self, polls: int) -> None:
        """Tell what changed, if it has come to rest: installers work on for a while.

        Parameters:
            polls: how often this was called, now included.
        """
        if polls % _TARGETS_EVERY == 0:
            self.add_targets()
        if self._pending is None:
            stamps = self._stamps()
            if stamps == self._seen:
                return
        state = self._state()
        if state != self._pending or (self._is_busy() and self._waited < _MOST_WAITS):
            self._pending = state
            self._waited += 1
            return
        self._pending, self._waited = None, 0
        self._seen = state[0]
        self._tell()

    def finish(self) -> None:
        """Tell how it ended."""
        self.add_targets()
        self._tell()

    def changes(self) -> list[dict[str, Any]]:
        """All differences from the start, sorted."""
        after = self._packages()
        found = []
        for key in sorted(set(self._before) | set(after)):
            old, new = self._before.get(key), after.get(key)
            if old is None or new is None or _differs(old, new):
                found.append(_change(key, old, new))
        return found

    def _tell(self) -> None:
        import json

        changes = self.changes()
        if changes != self._told:
            self._told = changes
            line = json.dumps({"changes": changes[:_MOST_PACKAGES]}) + "\n"
            os.write(self._report, line.encode())

    def _packages(self, places: list[tuple[str, str]] | None = None) -> dict[tuple[str, str, str], Package]:
        found: dict[tuple[str, str, str], Package] = {}
        for directory, place in self._places if places is None else places:
            for name, package in installed(directory).items():
                found[(place, "pip", name)] = package
        if places is None:
            for name, package in conda_installed(self._prefix).items():
                found[("environment", "conda", name)] = package
        return found

    def _stamps(self) -> tuple[int, ...]:
        watched = [directory for directory, _ in self._places] + [os.path.join(self._prefix, "conda-meta")]
        return tuple(map(_stamp, watched))

    def _state(self) -> tuple[Any, ...]:
        """Equal at two moments when nothing was installed in between."""
        stamps = self._stamps()
        return (stamps, [(key, package.stamp) for key, package in sorted(self._packages().items())])

    def _is_busy(self) -> bool:
        """Whether an installer has files out of the way, or has not signed what it installs."""
        if any(entry.name.startswith("~") for directory, _ in self._places for entry in _entries(directory)):
            return True
        for key, package in self._packages().items():
            old = self._before.get(key)
            is_new = old is None or (old.version, old.stamp) != (package.version, package.stamp)
            if is_new and package.path.endswith(_DIST_INFO) and not _installer(package):
                return True
        return False


def _differs(old: Package, new: Package) -> bool:
    """Whether it is another version, or the same from somewhere else than an index."""
    return old.version != new.version or (old.stamp != new.stamp and _origin(new) is not None)


def _change(key: tuple[str, str, str], old: Package | None, new: Package | None) -> dict[str, Any]:
    place, manager, name = key
    return {
        "name": name,
        "before": old.version if old else None,
        "after": new.version if new else None,
        "manager": manager,
        "place": place,
        "requested": True if new is None else _is_requested(manager, new),
        "installer": None if new is None or manager == "conda" else _installer(new),
        "origin": None if new is None or manager == "conda" else _origin(new),
    }


def _is_requested(manager: str, package: Package) -> bool:
    """Whether a user asked for the package, rather than another package (PEP 376)."""
    if manager == "conda":
        # "None" is what some versions write for a package that nobody asked for.
        asked = _read_json(package.path, _LONGEST_FILE).get("requested_spec")
        return bool(asked) and asked != "None"
    if os.path.exists(os.path.join(package.path, "REQUESTED")):
        return True
    return _installer(package) not in ("pip", "uv", "conda")


def _installer(package: Package) -> str:
    return _read(os.path.join(package.path, "INSTALLER"), 100).decode("ascii", "replace").strip()


def _origin(package: Package) -> dict[str, Any] | None:
    """What ``direct_url.json`` says (PEP 610), None when the package came from an index."""
    return _read_json(os.path.join(package.path, "direct_url.json"), _LONGEST_ORIGIN) or None


def _read_json(path: str, limit: int) -> dict[str, Any]:
    import json

    try:
        value = json.loads(_read(path, limit))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _read(path: str, limit: int) -> bytes:
    try:
        # Without waiting: it may have become a FIFO.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return b""
    try:
        with os.fdopen(handle, "rb") as stream:
            return stream.read(limit)
    except OSError:
        return b""


def _canonical(name: str) -> str:
    return "-".join(filter(None, name.replace("_", "-").replace(".", "-").split("-"))).lower()


def _names(directory: str) -> list[str]:
    return sorted(entry.name for entry in _entries(directory))


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _stamp(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def main(arguments: list[str]) -> int:
    """Run the command, and observe; returns what to exit with: its exit code, 128 + n after signal n."""
    separator = arguments.index("--")
    report, prefix, *roots = arguments[:separator]
    command = arguments[separator + 1 :]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    handle = os.open(report, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    roots += filter(None, [os.environ.get("HOME")])
    observer = Observer(handle, prefix, roots, dict(os.environ))
    observing = _safely(observer.begin)
    try:
        child = _spawn(command, mask)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return 127 if isinstance(error, FileNotFoundError) else 126
    return _follow(child, observer if observing else None)


def _spawn(command: list[str], mask: set[Any]) -> int:
    try:
        return os.posix_spawnp(command[0], command, os.environ, setsigdef=_IGNORED, setsigmask=mask)
    except OSError as error:
        if error.errno != _NO_FORMAT:
            raise
    # A script that does not say what runs it: shells do.
    argv = ["sh", "-c", 'exec "$@"', "sh", *command]
    return os.posix_spawn("/bin/sh", argv, os.environ, setsigdef=_IGNORED, setsigmask=mask)


def _safely(observe: Callable[[], None]) -> bool:
    """Whether ``observe`` went well. Whatever was done to the files, the command lives on."""
    try:
        observe()
    except Exception as error:
        sys.stderr.write(f"envbuild: the packages of this session are not observed: {error}\n")
        return False
    return True


def _follow(child: int, observer: Observer | None) -> int:
    import json  # noqa: F401  # now, because a session can replace the Python it would come from later

    if observer is not None and not _safely(partial(observer.add_targets, known=True)):
        observer = None
    polls = 0
    while True:
        got = signal.sigtimedwait(_SIGNALS, _POLL_SECONDS)
        if got is None:
            polls += 1
            if observer is not None and not _safely(partial(observer.look, polls)):
                observer = None
        elif got.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                if observer is not None:
                    _safely(observer.finish)
                return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
        elif got.si_code <= 0:  # sent by a process; what a terminal sends has reached the command, too
            os.kill(child, got.si_signo)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
