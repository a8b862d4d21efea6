"""What the program in the image sees of an environment, made of files that installers leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from envbuild.drift import observer
from envbuild.drift.observer import Observer

SITE = "lib/python3.13/site-packages"


def install(
    directory: Path, name: str, version: str, *, requested: bool = True, url: dict[str, Any] | None = None
) -> Path:
    """What pip leaves of a distribution."""
    made = directory / f"{name}-{version}.dist-info"
    made.mkdir(parents=True, exist_ok=True)
    (made / "INSTALLER").write_text("pip\n")
    if requested:
        (made / "REQUESTED").touch()
    if url is not None:
        (made / "direct_url.json").write_text(json.dumps(url))
    return made


def remove(made: Path) -> None:
    for file in made.iterdir():
        file.unlink()
    made.rmdir()


class Watch:
    """An observer of ``prefix``, and what it tells."""

    def __init__(self, tmp_path: Path, **environment: str) -> None:
        self.prefix = tmp_path / "env"
        self.site = self.prefix / SITE
        self.site.mkdir(parents=True, exist_ok=True)
        self.report = tmp_path / "report"
        self.report.touch()
        self.root = tmp_path / "repo"
        self.root.mkdir(exist_ok=True)
        self._arguments = (str(self.prefix), [str(self.root)], environment)

    def start(self) -> Observer:
        """Begin. What was installed before is old: two changes in a row may have the same time."""
        for directory in (self.site, self.prefix / "conda-meta"):
            if directory.exists():
                os.utime(directory, (1, 1))
        handle = os.open(self.report, os.O_WRONLY | os.O_APPEND)
        made = Observer(handle, *self._arguments)
        made.begin()
        return made

    def told(self) -> list[list[dict[str, Any]]]:
        return [json.loads(line)["changes"] for line in self.report.read_text().splitlines()]

    def short(self) -> list[list[tuple[Any, ...]]]:
        keys = ("name", "before", "after", "place", "requested")
        return [[tuple(change[key] for key in keys) for change in changes] for changes in self.told()]


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path, HOME=str(tmp_path / "home"))


def test_what_was_added_removed_and_changed_is_told_when_it_has_come_to_rest(watch: Watch) -> None:
    old = install(watch.site, "numpy", "2.1.0")
    gone = install(watch.site, "PyYAML", "6.0")
    install(watch.site, "left_alone", "1.0")
    observing = watch.start()

    remove(old)
    remove(gone)
    install(watch.site, "numpy", "2.3.1")
    install(watch.site, "zope.event", "5.0", requested=False)
    observing.look(1)
    unsettled = watch.told()
    observing.look(2)

    assert unsettled == []
    assert watch.short() == [
        [
            ("numpy", "2.1.0", "2.3.1", "environment", True),
            ("pyyaml", "6.0", None, "environment", True),
            ("zope-event", None, "5.0", "environment", False),
        ]
    ]


def test_nothing_is_told_twice_and_nothing_of_what_was_undone_stays(watch: Watch) -> None:
    observing = watch.start()
    made = install(watch.site, "six", "1.17.0")
    for number in range(4):
        observing.look(number)
    remove(made)
    for number in range(4):
        observing.look(number)
    observing.finish()
    assert watch.short() == [[("six", None, "1.17.0", "environment", True)], []]


def test_an_installation_that_is_not_signed_or_has_files_out_of_the_way_goes_on(watch: Watch) -> None:
    observing = watch.start()
    made = install(watch.site, "six", "1.17.0")
    (made / "INSTALLER").unlink()
    for number in range(4):
        observing.look(number)
    unsigned = watch.told()
    (made / "INSTALLER").write_text("pip\n")
    (watch.site / "~umpy").mkdir()
    for number in range(4):
        observing.look(number)
    half = watch.told()
    (watch.site / "~umpy").rmdir()
    observing.look(5)
    observing.look(6)
    assert (unsigned, half, len(watch.told())) == ([], [], 1)


def test_an_installation_that_never_ends_is_told_in_the_end(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer, "_MOST_WAITS", 3)
    observing = watch.start()
    (watch.site / "~umpy").mkdir()
    install(watch.site, "six", "1.17.0")
    for number in range(5):
        observing.look(number)
    assert len(watch.told()) == 1


def test_the_end_of_the_command_is_not_waited_out(watch: Watch) -> None:
    observing = watch.start()
    install(watch.site, "six", "1.17.0")
    observing.finish()
    assert watch.short() == [[("six", None, "1.17.0", "environment", True)]]


def test_the_same_version_from_somewhere_else_is_a_change(watch: Watch) -> None:
    made = install(watch.site, "six", "1.17.0")
    plain = install(watch.site, "toml", "1.0")
    os.utime(made, (1, 1))
    os.utime(plain, (1, 1))
    observing = watch.start()
    url = {"url": "https://example.org/six.git", "vcs_info": {"vcs": "git", "commit_id": "0" * 40}}
    install(watch.site, "six", "1.17.0", url=url)
    os.utime(made)
    os.utime(plain)  # installed again, from the index
    observing.finish()
    (changes,) = watch.told()
    assert [(change["before"], change["after"], change["origin"]) for change in changes] == [
        ("1.17.0", "1.17.0", url)
    ]


def test_the_users_site_packages_and_targets_are_places_of_their_own(watch: Watch, tmp_path: Path) -> None:
    install(watch.root / "vendored", "there_before", "1.0")
    observing = watch.start()
    observing.add_targets(known=True)
    install(tmp_path / "home/.local" / SITE, "six", "1.17.0")
    install(watch.root / "libs", "attrs", "25.1")
    install(watch.root / "vendored", "rich", "14.0")
    observing.finish()
    libs, vendored = str(watch.root / "libs"), str(watch.root / "vendored")
    assert watch.short() == [
        [
            ("attrs", None, "25.1", libs, True),
            ("rich", None, "14.0", vendored, True),
            ("six", None, "1.17.0", "user", True),
        ]
    ]


def test_directories_on_the_path_are_watched(tmp_path: Path) -> None:
    watch = Watch(tmp_path, PYTHONPATH=f"relative:{tmp_path / 'extra'}")
    observing = watch.start()
    install(tmp_path / "extra", "six", "1.17.0")
    observing.look(1)
    observing.look(2)
    assert watch.short() == [[("six", None, "1.17.0", str(tmp_path / "extra"), True)]]


def test_condas_packages_are_told_with_whether_they_were_asked_for(watch: Watch) -> None:
    meta = watch.prefix / "conda-meta"
    meta.mkdir()
    (meta / "python-3.13.1-h1_0.json").write_text("{}")
    observing = watch.start()
    (meta / "r-base-4.4.1-h2_3.json").write_text('{"requested_spec": "r-base >=4"}')
    (meta / "zlib-1.3.1-hb_0.json").write_text('{"requested_spec": "None"}')
    (meta / "history").write_text("")
    observing.finish()
    assert [(one["manager"], one["name"], one["after"], one["requested"]) for one in watch.told()[0]] == [
        ("conda", "r-base", "4.4.1", True),
        ("conda", "zlib", "1.3.1", False),
    ]


def test_what_is_no_record_of_an_installation_is_passed_over(watch: Watch) -> None:
    observing = watch.start()
    for name in ("nothing.dist-info", "-1.dist-info", "a.egg-info", "~ix-1.0.dist-info"):
        (watch.site / name).mkdir()
    made = install(watch.site, "six", "1.17.0")
    os.mkfifo(made / "direct_url.json")  # must not be waited for
    observing.finish()
    assert watch.short() == [[("six", None, "1.17.0", "environment", True)]]


# The whole program


def run(watch: Watch, *command: str, **more: Any) -> subprocess.Popen[str]:
    program = Path(observer.__file__)
    arguments = [str(watch.report), str(watch.prefix), str(watch.root), "--", *command]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(program), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def test_the_command_is_what_is_seen_of_the_program(watch: Watch) -> None:
    script = f"mkdir -p {watch.site}/six-1.17.0.dist-info; echo out; echo err >&2; exit 7"
    running = run(watch, "sh", "-c", script)
    assert (*running.communicate(), running.returncode) == ("out\n", "err\n", 7)
    assert watch.short() == [[("six", None, "1.17.0", "environment", True)]]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("sh", "-c", "kill -9 $$"), 137),
        (("no-such-program",), 127),
        (("/",), 126),
        # Python ignores SIGPIPE, which commands do not expect.
        (("sh", "-c", "sh -c 'kill -PIPE $$'; exit $(($? == 141))"), 1),
    ],
)
def test_the_exit_code_is_that_of_the_command(watch: Watch, command: tuple[str, ...], code: int) -> None:
    running = run(watch, *command)
    running.communicate()
    assert running.returncode == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_reach_the_command(watch: Watch, number: int) -> None:
    """Tests that run in the background have some of them ignored, which a shell cannot undo."""
    script = f"trap 'echo got; exit 5' {number}; echo ready; while :; do sleep 0.05; done"
    running = run(watch, "sh", "-c", script, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(number)
    assert (running.communicate()[0], running.returncode) == ("got\n", 5)


def test_the_command_lives_on_when_nothing_can_be_told(watch: Watch) -> None:
    def full() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    script = f"mkdir -p {watch.site}/six-1.17.0.dist-info; exit 7"
    running = run(watch, "sh", "-c", script, preexec_fn=full)
    messages = running.communicate()[1]
    assert (running.returncode, "are not observed" in messages) == (7, True)
