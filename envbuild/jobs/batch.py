"""A fleet's environments brought up to date: what has changed is built, one failure stops no other.

What an image is made from is in its tag (``rivers-3f0c…``), so the pins of a fleet tell by themselves what is
out of date. Each build is an ``envbuild build`` of its own: what happens to one happens to no other.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from envbuild.errors import EnvbuildError, RemoteError
from envbuild.fleet.model import Environment, Fleet, ImageSource, Pin
from envbuild.image.reference import Reference
from envbuild.jobs.transcript import Transcript
from envbuild.progress import Reporter, Stage
from envbuild.registry.registries import Registries
from envbuild.source import Repo
from envbuild.source.selection import select

__all__ = ["Made", "Outcome", "Wanted", "build_all", "files_digest", "look", "platforms_of", "resolve"]

_LOCK_DIGEST: Final = "dev.envbuild.lock.digest"  # docs/image.md

Outcome = Literal["built", "unchanged", "resolved", "outdated", "failed"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image that is to be there.

    ``target`` is its name; its tag has a digest of what it is made from. ``source`` is what is built, with
    ``arguments``; ``reason`` why it has to be, None when it is there already.
    """

    environment: str
    target: Reference
    source: str
    arguments: tuple[str, ...]
    commit: str | None
    lock_digest: str | None
    reason: str | None = None

    def because(self, reason: str) -> Wanted:
        """The same, with a reason."""
        return replace(self, reason=reason)


@dataclass(frozen=True, slots=True)
class Made:
    """What became of an environment: its ``pin`` from now on, the one before when it failed."""

    environment: str
    outcome: Outcome
    pin: Pin | None
    previous: Pin | None
    reason: str | None = None
    seconds: float = 0.0
    error: EnvbuildError | None = None


def platforms_of(environment: Environment, fleet: Fleet) -> tuple[str, ...]:
    """Those of the pools it runs in, sorted; none when no pool says."""
    return tuple(sorted({pool.platform for pool in fleet.pools if pool.name in environment.pools}))


def files_digest(repo: Repo) -> str:
    """A digest of all that goes into the image of ``repo``.

    Raises:
        RepoError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in select(repo).files:
        head = [file.path.hex(), file.kind, str(int(file.executable)), str(file.size), file.target.hex()]
        digest.update((" ".join(head) + "\n").encode())
        if file.kind == "file":
            for chunk in repo.open_content(file.path, size=file.size):
                digest.update(chunk)
    return digest.hexdigest()


def look(wanted: Wanted, pin: Pin | None, registries: Registries) -> str | None:
    """Why ``wanted`` has to be built, a sentence for people; None when ``pin`` is it and is there.

    Raises:
        RemoteError: the registry cannot say.
    """
    if pin is None:
        return "it was not built yet"
    before = pin.reference
    if (before.name, before.tag) != (wanted.target.name, wanted.target.tag):
        if wanted.commit is not None and pin.commit != wanted.commit:
            return f"the commit moved from {(pin.commit or 'nothing')[:12]} to {wanted.commit[:12]}"
        if wanted.lock_digest is not None and pin.lock_digest != wanted.lock_digest:
            return "its lock changed"
        return "its files, the settings or envbuild changed"
    if registries.repository(before).head_manifest(before.version) is None:
        return "the registry does not have its image any more"
    return None


def resolve(
    environment: Environment, pin: Pin | None, registries: Registries, *, check: bool = False
) -> Made:
    """What the image of somebody else's is at present; ``environment`` is an image.

    Parameters:
        check: only say that it is another one than before.
    """
    assert isinstance(environment.source, ImageSource)
    reference = environment.source.reference
    try:
        found = registries.repository(reference).head_manifest(reference.version)
        if found is None:
            raise RemoteError(
                f"there is no image {reference}",
                code="image-missing",
                remedy=f"correct `image` of {environment.name}, or push it",
            )
    except EnvbuildError as error:
        return Made(environment.name, "failed", pin, pin, error=error)
    now = Pin(environment.name, replace(reference, digest=found.digest)).after(pin)
    if now == pin:
        return Made(environment.name, "unchanged", now, pin)
    reason = "its tag leads to another image" if pin is not None else "its tag was not looked up yet"
    if check:
        return Made(environment.name, "outdated", pin, pin, reason)
    return Made(environment.name, "resolved", now, pin, reason)


def build_all(
    wanted: Sequence[Wanted],
    pins: Mapping[str, Pin],
    *,
    command: Callable[[Wanted], Sequence[str]],
    jobs: int,
    registries: Registries,
    reporter: Reporter,
    raw: Callable[[str], None] | None = None,
    done: Callable[[Made], None],
) -> None:
    """Build ``wanted``, ``jobs`` at once, and tell ``done`` of each as it ends.

    When this is interrupted, every build is, once; each ends what it has begun.

    Parameters:
        command: the command line of one build, which prints lines of JSON and a document.
        raw: gets these lines, see :class:`Transcript`.
    """
    running = _Running()
    with reporter.stage("builds", unit="environments") as stage:
        stage.add_total(len(wanted))

        def build(one: Wanted) -> Made:
            started = time.monotonic()
            pin = pins.get(one.environment)
            transcript = Transcript(_Named(reporter, one.environment), raw)
            try:
                document = _run(command(one), transcript, stage, running)
                made = _pin(one, document, registries).after(pin)
            except EnvbuildError as error:
                spent = time.monotonic() - started
                return Made(one.environment, "failed", pin, pin, one.reason, spent, error)
            return Made(one.environment, "built", made, pin, one.reason, time.monotonic() - started)

        with ThreadPoolExecutor(jobs) as pool:
            futures: list[Future[Made]] = []
            try:
                futures.extend(pool.submit(build, one) for one in wanted)
                for future in as_completed(futures):
                    done(future.result())
                    stage.advance(1)
            except BaseException:
                for future in futures:
                    future.cancel()
                running.interrupt()
                raise


class _Running:
    """The builds that run; none begins after :meth:`interrupt`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._over = False

    @contextmanager
    def start(self, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
        """Start one. In a session of its own: Ctrl-C reaches it by us, and not twice."""
        with self._lock:
            if self._over:
                raise RemoteError("interrupted", code="interrupted")
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self._processes.add(process)
        with process:
            try:
                yield process
            finally:
                with self._lock:
                    self._processes.discard(process)

    def interrupt(self) -> None:
        """End all of them as Ctrl-C does."""
        with self._lock:
            self._over = True
            for process in self._processes:
                process.send_signal(signal.SIGINT)


def _run(
    command: Sequence[str], transcript: Transcript, stage: Stage, running: _Running
) -> Mapping[str, Any]:
    """The document that one build prints.

    Raises:
        EnvbuildError: as it failed.
    """
    said: list[bytes] = []
    with running.start(command) as process:
        assert process.stdout is not None and process.stderr is not None
        reader = threading.Thread(target=lambda: said.append(process.stdout.read()))  # type: ignore[union-attr]
        reader.start()
        for line in process.stderr:
            transcript.line(line.rstrip(b"\n"), stage)
        reader.join()
        code = process.wait()
    if code != 0:
        raise transcript.error or RemoteError(
            f"the build ended with exit code {code} and did not say why",
            code="build-failed",
            remedy="build it alone to see more",
        )
    try:
        document = json.loads(said[0])
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise RemoteError(
            "the build did not say what it made", code="build-failed", remedy="build it alone to see more"
        )
    return document


def _pin(wanted: Wanted, document: Mapping[str, Any], registries: Registries) -> Pin:
    digest = str(document.get("digest"))
    reference = replace(wanted.target, digest=wanted.target.with_digest(digest).digest)
    lock = wanted.lock_digest or _lock_digest(reference, registries)
    return Pin(wanted.environment, reference, wanted.commit, lock)


def _lock_digest(reference: Reference, registries: Registries) -> str | None:
    """What the image says its lock is, None when it says nothing (it has several platforms, for example)."""
    found = registries.repository(reference).manifest(reference.version)
    try:
        value = json.loads(found.data)["annotations"][_LOCK_DIGEST] if found is not None else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return value if isinstance(value, str) else None


class _Named:
    """A reporter whose messages say which environment they are about."""

    def __init__(self, reporter: Reporter, name: str) -> None:
        self._reporter = reporter
        self._name = name
        self.stage = reporter.stage

    def note(self, message: str) -> None:
        """See :meth:`envbuild.progress.Reporter.note`."""
        self._reporter.note(f"{self._name}: {message.strip()}")

    def warn(self, message: str) -> None:
        """See :meth:`envbuild.progress.Reporter.warn`."""
        self._reporter.warn(f"{self._name}: {message}")
