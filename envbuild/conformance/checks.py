"""What decides each test of the hub contract, from what was seen of the image."""

from __future__ import annotations

import re
from collections.abc import Iterable

from envbuild.conformance.model import Answers, Evidence, Kernel, Outcome, Subject
from envbuild.source.text import clean, quote

__all__ = [
    "STOP_SECONDS",
    "TERMINATED",
    "kernels",
    "lab",
    "port",
    "python3",
    "reaping",
    "server",
    "shell",
    "sigterm",
    "singleuser",
    "user",
    "writes",
]

STOP_SECONDS = 10  # `docker stop` kills after that; Kubernetes after 30
TERMINATED = 143  # 128 + SIGTERM, as shells say it
_MOST_NAMED = 5
_OK = 200
_PULLED = re.compile("Pulling complete")
_VERSION = re.compile(r"\d+(\.\d+){1,2}\S{0,20}", re.ASCII)
_NUMBER = re.compile(r"\d{1,10}", re.ASCII)


def _passed(seen: str) -> Outcome:
    return Outcome("passed", seen)


def _failed(seen: str) -> Outcome:
    return Outcome("failed", seen)


def user(subject: Subject, evidence: Evidence) -> Outcome:
    """A number, and not root's."""
    uid = subject.user.partition(":")[0]
    if not uid:
        return _failed("its config has no USER, so it runs as root")
    if not _NUMBER.fullmatch(uid):
        return _failed(f"its USER is {quote(subject.user)}, a name")
    if int(uid) == 0:
        return _failed(f"its USER is {quote(subject.user)}, which is root")
    return _passed(f"USER {clean(subject.user)}")


def shell(subject: Subject, evidence: Evidence) -> Outcome:
    """The shell ran its command to the end."""
    return _ran(evidence, _PULLED)


def python3(subject: Subject, evidence: Evidence) -> Outcome:
    """The entry point had python3 run its program to the end."""
    return _ran(evidence, _VERSION)


def _ran(evidence: Evidence, answer: re.Pattern[str]) -> Outcome:
    """The command ran to its end, and a line is what it was to say: an entry point may do something else."""
    if evidence.trouble is not None:
        return _failed(evidence.trouble)
    if evidence.exit_code is None:
        return _failed("it was started, and did not end")
    if evidence.exit_code:
        return _failed(f"it ended with exit code {evidence.exit_code}")
    said = next((line.strip() for line in evidence.log.splitlines() if answer.fullmatch(line.strip())), None)
    if said is None:
        return _failed(f"something else ran, and said {quote(evidence.log)}")
    return _passed(f"it ran, and said {quote(said)}")


def server(subject: Subject, evidence: Evidence) -> Outcome:
    """A Jupyter server answers whoever has its token, and its kernel adds."""
    heard = _heard(evidence)
    if isinstance(heard, Outcome):
        return heard
    broken = next((kernel for kernel in heard.kernels or () if kernel.error is not None), None)
    if broken is not None:
        return _failed(f"the server answers, but {_told(broken)}")
    started = f", and the kernel {clean(heard.kernels[0].name)} gives 2 for 1+1" if heard.kernels else ""
    return _passed(f"answered after {heard.server.seconds:.1f} s{started}")


def _heard(evidence: Evidence) -> Answers | Outcome:
    """The answers of a server that serves who may be served; else what is to be said of it."""
    if evidence.blind:
        return Outcome("not-checked", "there is no python3 in the image to look with")
    if evidence.answers is None:
        return _failed(evidence.trouble or "it gave no answer")
    heard = evidence.answers.server
    if heard.status is None:
        return _failed(f"no answer within {heard.seconds:.0f} s: {clean(heard.said)}")
    if evidence.answers.anonymous == _OK:
        return _failed("the server answers everybody, also without its token")
    return evidence.answers


def _told(kernel: Kernel) -> str:
    return f"the kernel {clean(kernel.name)}: {clean(kernel.error or '')}"


def lab(subject: Subject, evidence: Evidence) -> Outcome:
    """A server answers; kernels have a test of their own."""
    heard = _heard(evidence)
    if isinstance(heard, Outcome):
        return heard
    return _passed(f"answered after {heard.server.seconds:.1f} s")


def singleuser(subject: Subject, evidence: Evidence) -> Outcome:
    """:func:`server`, and the hub was asked about the user."""
    outcome = server(subject, evidence)
    asked = evidence.answers.hub if evidence.answers is not None else ()
    if outcome.state == "passed" and not any(line.startswith("GET /hub/api/") for line in asked):
        return _failed("it answers without asking the hub whose token it was given")
    if outcome.state == "failed" and asked:
        return _failed(f"{outcome.seen}; of the hub it asked {', '.join(map(clean, asked[:_MOST_NAMED]))}")
    return outcome


def port(subject: Subject, evidence: Evidence) -> Outcome:
    """The image's own command listens where the image says."""
    if not subject.ports:
        return _failed("it exposes no port")
    if not subject.command:
        return _failed("it has no command of its own, so nothing listens on the exposed port")
    if evidence.blind:
        return Outcome("not-checked", "there is no python3 in the image to look with")
    if evidence.answers is None:
        return _failed(f"its own command: {evidence.trouble}")
    for number in subject.ports:
        if ("any", number) in evidence.answers.listening:
            if evidence.answers.server.status is None:
                return _failed(f"its own command listens on port {number}, and does not answer HTTP there")
            return _passed(f"its own command answers on port {number}")
        if ("loopback", number) in evidence.answers.listening:
            return _failed(f"its own command listens on port {number} of the loopback interface only")
    exposed, others = (
        ", ".join(map(str, sorted(numbers)[:_MOST_NAMED]))
        for numbers in (subject.ports, {number for _, number in evidence.answers.listening})
    )
    return _failed(f"it exposes {exposed}, and its own command listens on {others or 'no port'}")


def kernels(subject: Subject, evidence: Evidence) -> Outcome:
    """All kernels add."""
    if evidence.answers is None or evidence.answers.kernels is None:
        return Outcome("not-checked", "the server did not answer")
    asked = evidence.answers.kernels
    broken = [kernel for kernel in asked if kernel.error is not None]
    if broken:
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        return _failed(f"{_told(broken[0])}{more}")
    if not asked:
        return _failed("it has no kernel")
    return _passed("1+1 was answered by " + ", ".join(clean(kernel.name) for kernel in asked))


def reaping(subject: Subject, evidence: Evidence) -> Outcome:
    """The orphan is gone."""
    if evidence.answers is None or evidence.answers.orphan is None:
        return Outcome("not-checked", "the container could not be looked into")
    if evidence.answers.orphan != "reaped":
        return _failed("a process that lost its parent and ended stays as a zombie")
    return _passed("a process that lost its parent and ended was reaped")


def sigterm(subject: Subject, evidence: Evidence) -> Outcome:
    """The end was quick, and a clean one."""
    if evidence.stop_seconds is None:
        return Outcome("not-checked", "the server did not run")
    if evidence.exit_code is None:
        return _failed(f"it still ran {evidence.stop_seconds:.0f} s after SIGTERM")
    if evidence.exit_code not in (0, TERMINATED):
        return _failed(f"it ended with exit code {evidence.exit_code} after SIGTERM")
    return _passed(
        f"it ended {evidence.stop_seconds:.1f} s after SIGTERM, with exit code {evidence.exit_code}"
    )


def writes(subject: Subject, evidence: Evidence) -> Outcome:
    """Nothing was written outside of the places for that."""
    if evidence.written is None:
        if evidence.answers is None:
            return Outcome("not-checked", "the server did not run")
        return _failed("it changed more files than can be listed")
    stray = [path for path in evidence.written if not _below(path, subject.places)]
    if stray:
        more = f" and {len(stray) - _MOST_NAMED} more" if len(stray) > _MOST_NAMED else ""
        return _failed("it wrote " + ", ".join(map(clean, stray[:_MOST_NAMED])) + more)
    return _passed("it wrote only below " + ", ".join(subject.places))


def _below(path: str, places: Iterable[str]) -> bool:
    return any(path == place or path.startswith(place + "/") for place in places)
