"""postBuild in whole builds: the same image everywhere, nothing twice, and nothing of the host."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.support.programs import Envbuild, output_of

pytestmark = [pytest.mark.network, pytest.mark.slow]

_EXAMPLES = Path(__file__).parents[2] / "examples"


_BACKEND = """\
import zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name, info = "made_here-1-py3-none-any.whl", "made_here-1.dist-info"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        wheel.writestr("made_here.py", "VALUE = 42\\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: made-here\\nVersion: 1\\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""


@pytest.fixture(scope="module")
def repository(envbuild: Envbuild, scratch: Path) -> Path:
    """A locked copy of examples/postbuild; tests change its script."""
    repository = scratch / "postbuild"
    shutil.copytree(_EXAMPLES / "postbuild", repository)
    envbuild.document("lock", repository)
    return repository


@pytest.fixture
def script(repository: Path, tmp_path: Path) -> Path:
    """The ``postBuild`` of a copy of the repository."""
    copy = tmp_path / "repository"
    shutil.copytree(repository, copy)
    return copy / "postBuild"


def _executed(document: dict[str, object]) -> bool:
    return "execute" in document["seconds"]  # type: ignore[operator]


def test_the_notebook_reads_what_the_script_made(
    envbuild: Envbuild, repository: Path, tmp_path: Path
) -> None:
    envbuild.document("run", repository, "primes.ipynb", "-o", tmp_path)
    assert "99991" in (tmp_path / "primes.ipynb").read_text()


def test_the_same_image_from_another_cache_another_user_and_not_twice_from_one(
    envbuild: Envbuild, nobody: Envbuild, repository: Path
) -> None:
    first = envbuild.document("build", repository, "--locked")
    assert not _executed(envbuild.document("build", repository, "--locked"))
    second = nobody.document("build", repository, "--locked")
    assert _executed(second)
    assert first["image_id"] == second["image_id"]


@pytest.mark.docker
def test_the_same_image_by_docker(
    envbuild: Envbuild, repository: Path, scratch: Path, docker_host: str
) -> None:
    first = envbuild.document("build", repository, "--locked")
    cache = scratch / "post-build-docker"
    shutil.copytree(envbuild.cache / "artifacts-v1", cache / "artifacts-v1", copy_function=os.link)
    docker = Envbuild(cache, environment={"DOCKER_HOST": docker_host})
    second = docker.document("build", repository, "--locked", "--engine", "docker", "--load", "-t", "post:1")
    assert _executed(second)
    assert first["image_id"] == second["image_id"]
    command = ("docker", "--host", docker_host, "run", "--rm", "post:1", "head", "-n2")
    assert output_of(*command, "/srv/env/share/primes/primes.csv") == "number,prime\n1,2\n"


def test_what_pip_installs_in_it_is_there(envbuild: Envbuild, script: Path) -> None:
    package = script.parent / "package"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[project]\nname = "made-here"\nversion = "1"\n[build-system]\nrequires = []\n'
        'build-backend = "backend"\nbackend-path = ["."]\n'
    )
    (package / "backend.py").write_text(_BACKEND)
    script.write_text("set -e\npip install --no-index --no-build-isolation ./package\n")
    envbuild.document("build", script.parent, "--check-reproducible")
    done = envbuild.run(
        "run", script.parent, "--", "python3", "-c", "import made_here; print(made_here.VALUE)"
    )
    assert done.stdout == "42\n", done.stderr


def test_files_that_differ_are_named_on_request(envbuild: Envbuild, script: Path) -> None:
    script.write_text(
        "date +%N > /srv/env/share/when; echo same > /srv/env/share/same; mktemp -p /srv/repo\n"
    )
    envbuild.document("build", script.parent)
    done = envbuild.run("build", script.parent, "--check-reproducible")
    assert done.returncode == 1
    assert "srv/env/share/when: content" in done.stderr
    assert done.stderr.count("only the first run made it") == 1
    assert done.stderr.count("only the second run made it") == 1
    assert "srv/env/share/same" not in done.stderr


def test_a_failure_shows_line_and_output_and_keeps_the_log(envbuild: Envbuild, script: Path) -> None:
    script.write_text("#!/bin/bash\nset -e\necho before\npython3 -c 'raise SystemExit(3)'\n")
    script.chmod(0o644)
    done = envbuild.run("build", script.parent)
    assert (done.returncode, "postBuild:4: postBuild failed with exit code 3" in done.stderr) == (1, True)
    assert "    before\n" in done.stderr
    log = Path(next(word for word in done.stderr.split() if word.endswith(".log")))
    assert log.read_text() == "before\n"


def test_without_network_the_remedy_says_so(envbuild: Envbuild, script: Path) -> None:
    script.write_text(
        "#!/usr/bin/env python3\nimport urllib.request\nurllib.request.urlopen('http://example.org')\n"
    )
    done = envbuild.run("build", script.parent)
    assert done.returncode == 1
    assert "allow it with --network postBuild" in done.stderr
    assert "postBuild:3:" in done.stderr


def test_files_in_the_repository_are_in_the_image_and_a_note_says_when_they_are_not_seen(
    envbuild: Envbuild, script: Path
) -> None:
    script.write_text("echo made > made\n")
    done = envbuild.run("run", script.parent, "--", "ls", "made")
    assert done.returncode != 0
    assert "writes into the repository's directory" in done.stderr
    assert not (script.parent / "made").exists()


def test_another_architecture_is_refused_before_anything_is_made(
    envbuild: Envbuild, repository: Path
) -> None:
    other = "linux/arm64" if os.uname().machine == "x86_64" else "linux/amd64"
    done = envbuild.run("build", repository, "--platform", other)
    assert done.returncode == 3
    assert f"postBuild has to run on {other}" in done.stderr


def test_no_engine_gives_each_ones_reason(envbuild: Envbuild, script: Path, tmp_path: Path) -> None:
    script.write_text("echo never\n")
    nowhere = Envbuild(envbuild.cache, environment={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    done = nowhere.run("build", script.parent, "--engine", "docker")
    assert done.returncode == 3
    assert "docker: no Docker daemon answers" in done.stderr


def test_hostile_script_finds_nothing_and_leaves_nothing(
    envbuild: Envbuild, script: Path, tmp_path: Path, scratch: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    script.write_text(
        "#!/usr/bin/env python3\n"
        "import os, pathlib, shutil, socket\n"
        f"for place in ({str(secret)!r}, {str(scratch)!r}, '/root/.ssh', '/proc/1/root/root'):\n"
        "    print(place, os.path.exists(place) and os.access(place, os.R_OK) and os.listdir('/root'))\n"
        "print('VARIABLES', sorted(name for name in os.environ if name.startswith(('ENVBUILD', 'OURS'))))\n"
        "for name in ('/proc/sys/kernel/core_pattern', '/usr/bin/evil', '/etc/passwd', '/dev/evil'):\n"
        "    try:\n        open(name, 'a').write('')\n        print('WROTE', name)\n"
        "    except OSError as error:\n        print('refused', name)\n"
        "for port in (22, 80, 8888):\n"
        "    try:\n        socket.create_connection(('127.0.0.1', port), 1)\n        print('REACHED', port)\n"
        "    except OSError:\n        pass\n"
        "os.symlink('/', '/srv/env/everything')\n"
        f"os.symlink({str(secret)!r}, '/srv/repo/secret')\n"
        "pathlib.Path('/srv/env/.wh.bin').touch()\n"
        "os.mkfifo('/srv/env/pipe')\n"
        "shutil.rmtree('/srv/env/share')\n"
        "os.symlink('/etc', '/srv/env/share')\n"
        "pathlib.Path('/srv/env/set').touch()\nos.chmod('/srv/env/set', 0o6777)\n"
        "raise SystemExit(9)\n"
    )
    done = envbuild.run("build", script.parent)
    assert done.returncode == 1, done.stderr
    log = Path(next(word for word in done.stderr.split() if word.endswith(".log"))).read_text()
    assert "hidden" not in log
    assert "WROTE" not in log
    assert "REACHED" not in log
    assert "VARIABLES []" in log
    script.write_text(script.read_text().replace("raise SystemExit(9)\n", ""))
    document = envbuild.document("build", script.parent, "-o", f"oci:{tmp_path / 'layout'}")
    assert document["layers"][-1]["packages"] == []
    listed = envbuild.run(
        "run", script.parent, "--", "python3", "-c", "import os; print(sorted(os.listdir('/srv/env')))"
    )
    names = eval(listed.stdout)
    assert {"everything", "set", "share", "bin"} <= set(names)
    assert not {"pipe", ".wh.bin"} & set(names)
    mode = envbuild.run("run", script.parent, "--", "stat", "-c", "%a", "/srv/env/set").stdout
    assert stat.S_IMODE(int(mode, 8)) == 0o755
