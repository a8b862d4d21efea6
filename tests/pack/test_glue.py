"""The glue layer: what hubs and notebooks rely on beside the packages."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from envbuild.fingerprint import program
from envbuild.kernel.languages import chosen_way
from envbuild.kernel.specs import kernel_names
from envbuild.lock.model import Artifact, CondaPackage
from envbuild.pack import recipe
from envbuild.pack.glue import ENTRYPOINT, FINGERPRINT, IDENTITY_PATH, LOCK_PATH, glue_entries
from envbuild.pack.tar import complete

GOLDEN = "55cbda1411063b79c6810a843a93da98f1856a514695876b5509226a3fe560ca"


def glue(**changes: object) -> dict[str, bytes]:
    arguments = {
        "name": "proj",
        "display_name": "My project",
        "python": "3.11.2",
        "executable": "/usr/bin/python3.11",
        "kernels": ("conda-env-x-py",),
        "lock": b"version = 1\n",
        "environment": "env-0123456789abcdef",
        "own_server": False,
        **changes,
    }
    entries = complete(glue_entries(**arguments))  # type: ignore[arg-type]
    return {entry.path.decode(): entry.target or b"".join(entry.chunks()) for entry in entries}


def test_every_kernel_name_a_notebook_uses_starts_the_environments_python() -> None:
    files = glue()
    place = "srv/env/share/jupyter/kernels"

    for name in ("python3", "proj", "conda-env-x-py"):
        spec = json.loads(files[f"{place}/{name}/kernel.json"])
        assert spec["argv"][0] == "/srv/env/bin/python3"
        assert spec["display_name"] == "Python (My project)"


def test_kernels_of_other_languages_are_found_under_the_notebooks_names() -> None:
    r, bash = chosen_way("r", {"apt": {"r-base"}}), chosen_way("bash", {})

    entries = glue(name="bash", kernels=(), other_kernels=(("ir", r), ("bash", bash), ("..", r)))

    folder = "srv/env/share/jupyter/kernels"
    files = [path for path in entries if path.startswith(folder) and path.endswith("kernel.json")]
    specs = {path.split("/")[-2]: json.loads(entries[path]) for path in files}
    assert {"bash", "ir", "python3"} == specs.keys()
    assert ("R", "/usr/bin/R") == (specs["ir"]["language"], specs["ir"]["argv"][0])
    assert ("bash", "bash_kernel") == (specs["bash"]["language"], specs["bash"]["argv"][2])


def test_virtual_environments_point_to_the_bases_python() -> None:
    files = glue()

    assert files["srv/env/bin/python3"] == b"/usr/bin/python3.11"
    assert files["srv/jupyter/bin/python3.11"] == b"python3"
    assert b"version = 3.11.2" in files["srv/env/pyvenv.cfg"]
    assert files[LOCK_PATH] == b"version = 1\n"


@pytest.mark.parametrize(("own_server", "place"), [(False, "srv/jupyter"), (True, "srv/env")])
def test_jupyterlab_asks_nobody_about_news(own_server: bool, place: str) -> None:
    settings = json.loads(glue(own_server=own_server)[f"{place}/share/jupyter/lab/settings/overrides.json"])

    assert settings["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"


def test_with_a_server_in_the_environment_the_servers_place_leads_there() -> None:
    files = glue(own_server=True)

    assert files["srv/jupyter"] == b"/srv/env"
    assert not [path for path in files if path.startswith("srv/jupyter/")]


def test_what_runs_in_the_image_can_tell_what_it_is() -> None:
    """The program is the one that `envbuild fingerprint` starts; a change needs a new recipe version."""
    files = glue()

    script = files[FINGERPRINT]
    assert b"#!/srv/env/bin/python3\n" + Path(program.__file__).read_bytes() == script
    assert {"environment": "env-0123456789abcdef", "recipe": recipe.VERSION} == json.loads(
        files[IDENTITY_PATH]
    )
    assert (7, GOLDEN) == (recipe.VERSION, hashlib.sha256(script).hexdigest())


def test_kernel_names_are_safe_and_differ_by_more_than_case() -> None:
    """jupyter_client folds case; a name that could be a path is never one."""
    assert kernel_names("proj", ("Python3", "../../etc", "..", "b", "PROJ")) == ("b", "proj", "python3")


def conda(name: str, *, direct: bool = False) -> CondaPackage:
    artifact = Artifact(f"{name}-1.0-0.conda", "0" * 64, 1, "conda-forge", f"linux-64/{name}-1.0-0.conda")
    return CondaPackage(name, "1.0", "0", "linux-64", artifact, direct=direct)


def test_a_conda_prefix_has_its_own_python_and_tells_conda_that_it_is_one() -> None:
    files = glue(conda=(conda("zlib"), conda("python", direct=True)))

    assert not [path for path in files if path.startswith(("srv/env/bin", "srv/env/pyvenv.cfg"))]
    assert files["srv/jupyter/bin/python3"] == b"/usr/bin/python3.11"
    assert files["srv/env/conda-meta/history"].decode().splitlines() == [
        "==> 1980-01-01 00:00:01 <==",
        "+conda-forge/linux-64::python-1.0-0",
        "+conda-forge/linux-64::zlib-1.0-0",
        '# update specs: ["python"]',
    ]
    kernel = json.loads(files["srv/env/share/jupyter/kernels/python3/kernel.json"])
    assert kernel["argv"][0] == "/srv/env/bin/python3"


def test_a_conda_prefix_without_python_has_the_bases() -> None:
    assert glue(conda=(conda("zlib"),))["srv/env/bin/python3"] == b"/usr/bin/python3.11"


def test_entry_point_activates_a_conda_prefix(tmp_path: Path) -> None:
    """Also when scripts are for bash only, print, change arguments or options, or cannot be read."""
    scripts = tmp_path / "etc/conda/activate.d"
    scripts.mkdir(parents=True)
    (scripts / "a.sh").write_text("[[ 1 == 1 ]] && export FIRST=$CONDA_PREFIX\nset -- nonsense\nset -eu\n")
    (scripts / "b.sh").write_text("echo noise\nfalse\nlist=(x y)\nexport SECOND=${list[1]}\n")
    (scripts / "c.sh").symlink_to("nothing")
    (scripts / "d.txt").write_text("exit 1\n")
    script = tmp_path / "entrypoint"
    script.write_bytes(glue(conda=(conda("python"),))[ENTRYPOINT])
    script.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "HOME": "/tmp", "CONDA_PREFIX": str(tmp_path)}

    done = subprocess.run(
        [script, "sh", "-c", "echo $FIRST $SECOND $UNSET"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == f"{tmp_path} y\n"
    assert "noise" in done.stderr


@pytest.fixture
def entrypoint(tmp_path: Path) -> Path:
    script = tmp_path / "entrypoint"
    script.write_bytes(glue()[ENTRYPOINT])
    script.chmod(0o755)
    return script


def run(script: Path, repo: Path, *command: str, home: str = "/tmp") -> str:
    environment = {"PATH": os.environ["PATH"], "REPO_DIR": str(repo), "HOME": home}
    return subprocess.run(
        [script, *command], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_entry_point_runs_the_command(entrypoint: Path, tmp_path: Path) -> None:
    assert run(entrypoint, tmp_path, "echo", "a b", "$HOME") == "a b $HOME\n"


@pytest.mark.parametrize("executable", [True, False])
@pytest.mark.parametrize("first", ["#!/bin/sh -e", "#! /bin/sh", "#!/usr/bin/env sh"])
def test_start_runs_by_its_own_interpreter(
    first: str, executable: bool, entrypoint: Path, tmp_path: Path
) -> None:
    start = tmp_path / "start"
    start.write_text(f'{first}\n[ -z "$BASH_VERSION" ] && export STARTED=yes\nexec "$@"\n')
    start.chmod(0o755 if executable else 0o644)

    result = subprocess.run(
        ["sh", entrypoint, "sh", "-c", 'echo "$STARTED $1"', "-", "a b"],
        env={**os.environ, "REPO_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout == "yes a b\n"


@pytest.mark.parametrize("place", ["start", "binder/start", ".binder/start"])
@pytest.mark.parametrize("executable", [True, False])
def test_entry_point_runs_start_first(place: str, executable: bool, entrypoint: Path, tmp_path: Path) -> None:
    start = tmp_path / place
    start.parent.mkdir(exist_ok=True)
    start.write_text('#!/bin/bash\nexport STARTED=yes\nexec "$@"\n')
    start.chmod(0o755 if executable else 0o644)

    assert run(entrypoint, tmp_path, "sh", "-c", "echo $STARTED") == "yes\n"


def test_entry_point_survives_a_home_that_does_not_exist(entrypoint: Path, tmp_path: Path) -> None:
    home = run(entrypoint, tmp_path, "sh", "-c", "touch $HOME/x && echo $HOME", home="/nonexistent").strip()

    assert home != "/nonexistent"
    assert (Path(home) / "x").exists()


class TestReadingAhead:
    """What `envbuild trace` listed is read beside the command, whatever is in the list."""

    @pytest.fixture
    def place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A directory in the place of those of the image."""
        place = tmp_path / "image"
        place.mkdir()
        monkeypatch.setattr(recipe, "TRACE_PLACES", (str(place)[1:],))
        return place

    @pytest.fixture
    def programs(self, tmp_path: Path) -> Path:
        """A directory for the front of PATH, with a ``cat`` that tells what it is to read."""
        programs = tmp_path / "programs"
        programs.mkdir()
        self.program(programs / "cat", f'printf "%s\\n" "$@" >> {tmp_path}/read.part')
        return programs

    def program(self, path: Path, text: str) -> None:
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def start(self, repo: Path, programs: Path) -> tuple[str, str]:
        """What is printed by a container's first process, and as an error, until all of it has ended."""
        script = repo / "entrypoint"
        script.write_bytes(glue()[ENTRYPOINT])
        script.chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        done = subprocess.run(
            [script, "echo", "started"],
            env={"PATH": path, "REPO_DIR": str(repo), "HOME": "/tmp"},
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        )
        return done.stdout, done.stderr

    def read(self, repo: Path, last: str) -> list[str]:
        """What was read when ``last`` was; it is waited for."""
        told = repo / "read.part"
        for _ in range(12_000):
            words = told.read_text().splitlines() if told.exists() else []
            if last in words:
                return words
            time.sleep(0.05)
        raise AssertionError(f"{last} was not read")

    def test_files_are_read_whatever_their_names(self, place: Path, programs: Path, tmp_path: Path) -> None:
        names = ["it's", 'a "b"', "$(touch gone)", "back\\slash", "-n", "*", "é", "last"]
        for name in names:
            (place / name).write_text(name)
        (tmp_path / "envbuild.trace").write_text(
            "# a comment\n" + "".join(f"{place}/{name}\n" for name in names)
        )

        assert ("started\n", "") == self.start(tmp_path, programs)

        assert ["--", *(f"{place}/{name}" for name in names)] == self.read(tmp_path, f"{place}/last")

    def test_what_is_no_file_of_the_image_is_not(self, place: Path, programs: Path, tmp_path: Path) -> None:
        (place / "last").write_text("last")
        (place / "directory").mkdir()
        os.mkfifo(place / "fifo")
        (tmp_path / "outside").write_text("outside")
        names = ["missing", "directory", "fifo", "../outside", "../image/last", "last"]
        (tmp_path / "envbuild.trace").write_text(
            f"{tmp_path}/outside\n--help\n/dev/zero\n\n" + "".join(f"{place}/{name}\n" for name in names)
        )

        assert ("started\n", "") == self.start(tmp_path, programs)

        assert ["--", f"{place}/last"] == self.read(tmp_path, f"{place}/last")

    def test_there_is_a_most(
        self, place: Path, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("one", "two", "three"):
            (place / name).write_text(name)
        monkeypatch.setattr(recipe, "TRACE_LINES", 2)
        (tmp_path / "envbuild.trace").write_text(f"{place}/one\n{place}/two\n{place}/three\n")

        self.start(tmp_path, programs)

        assert ["--", f"{place}/one", f"{place}/two"] == self.read(tmp_path, f"{place}/two")

    @pytest.mark.parametrize("kind", ["fifo", "directory", "garbage", "link", "no xargs", "other xargs"])
    def test_nothing_keeps_a_start_from_starting(self, kind: str, place: Path, tmp_path: Path) -> None:
        """And nothing is printed."""
        trace, programs = tmp_path / "envbuild.trace", tmp_path / "programs"
        programs.mkdir()
        match kind:
            case "fifo":
                os.mkfifo(trace)
            case "directory":
                trace.mkdir()
            case "link":
                trace.symlink_to("nothing")
            case "garbage":
                trace.write_bytes(os.urandom(100_000) + b"\0" * 100 + str(place).encode() + b"/x" * 9999)
            case _:
                trace.write_text(f"{place}/x\n")
                code = 127 if kind == "no xargs" else 1
                self.program(programs / "xargs", f"echo 'xargs: invalid option: d' >&2; exit {code}")

        assert ("started\n", "") == self.start(tmp_path, programs)

    def test_the_command_gets_its_own_input(self, place: Path, tmp_path: Path) -> None:
        (tmp_path / "envbuild.trace").write_text(f"{place}/x\n")
        script = tmp_path / "entrypoint"
        script.write_bytes(glue()[ENTRYPOINT])

        done = subprocess.run(
            ["sh", script, "cat"],
            env={"PATH": os.environ["PATH"], "REPO_DIR": str(tmp_path), "HOME": "/tmp"},
            input=b"mine",
            capture_output=True,
            check=True,
        )

        assert (b"mine", b"") == (done.stdout, done.stderr)
