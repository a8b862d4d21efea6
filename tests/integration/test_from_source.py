"""Packages that no index has as a wheel: built in the sandbox, once; and the repository's own, editable."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli

from tests.support.programs import Envbuild, output_of, require

pytestmark = [pytest.mark.network, pytest.mark.slow]

_EXAMPLES = Path(__file__).parents[2] / "examples"
_PROBE = """\
import os, socket
found = []
for secret in {secrets!r}:
    if os.path.exists(secret):
        found.append(secret)
if "ENVBUILD_TEST_SECRET" in os.environ:
    found.append("variables")
try:
    socket.create_connection(("127.0.0.1", {port}), 2)
    found.append("network")
except OSError:
    pass
try:
    open("/srv/env/lib/evil", "w")
    found.append("environment")
except OSError:
    pass
"""


def locked(repository: Path) -> dict[str, Any]:
    """The only target of the repository's lock."""
    document = tomli.loads((repository / "envbuild.lock").read_text())
    (target,) = document["target"]
    assert isinstance(target, dict)
    return target


def wheel(repository: Path, name: str) -> dict[str, Any]:
    (found,) = (row for row in locked(repository)["wheels"] if row["name"] == name)
    assert isinstance(found, dict)
    return found


def python(envbuild: Envbuild, repository: Path, code: str) -> str:
    """What ``code`` prints in the repository's environment, with its lock as it is."""
    done = envbuild.run("run", repository, "--locked", "--", "python", "-c", code)
    assert 0 == done.returncode, done.stderr
    return done.stdout


def git(*arguments: str, cwd: Path) -> str:
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    done = subprocess.run(["git", *identity, *arguments], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def sdist(envbuild: Envbuild, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that needs docopt, of which the index has nothing but the source, and its lock."""
    repository = tmp_path_factory.mktemp("sdist")
    (repository / "requirements.txt").write_text("docopt==0.6.2\n")
    done = envbuild.run("lock", repository)
    assert 0 == done.returncode, done.stderr
    return repository


def test_a_package_without_a_wheel(envbuild: Envbuild, sdist: Path) -> None:
    """The index's file, all that its build needs, and the wheel are in the lock."""
    (built,) = locked(sdist)["built"]

    assert ("docopt", "sdist", "docopt-0.6.2.tar.gz") == (
        built["name"],
        built["kind"],
        built["archive"][0]["path"].rpartition("/")[2],
    )
    assert "setuptools" in {row["name"] for row in built["requires"]}
    assert "built" == wheel(sdist, "docopt")["source"]
    assert "0.6.2\n" == python(envbuild, sdist, "import docopt; print(docopt.__version__)")


def test_another_machine_builds_the_same_wheel(envbuild: Envbuild, sdist: Path, scratch: Path) -> None:
    """From the lock, with an empty cache and as another user."""
    require("setpriv", root=True)
    system = shutil.which("python3", path="/usr/bin")
    if system is None or sys.version_info[:2] < (3, 11):
        pytest.skip("no recent Python that other users can start")
    directory, home = scratch / "source-for-nobody", scratch / "source-nobody"
    uv = Path(sys.executable).with_name("uv")
    output_of(uv, "venv", "--quiet", "--no-python-downloads", "--python", system, directory)
    copied = ("--quiet", "--link-mode", "copy", "--python", directory / "bin" / "python")
    output_of(uv, "pip", "install", *copied, Path(__file__).parents[2])
    repository = home / sdist.name
    shutil.copytree(sdist, repository)
    for path in (home, repository, *repository.iterdir()):
        os.chown(path, 65534, 65534)
    other = Envbuild(
        home / "cache",
        program=directory / "bin" / "envbuild",
        prefix=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"),
        environment={"HOME": str(home)},
    )

    document = other.document("build", repository, "--locked")
    mine = envbuild.document("build", sdist, "--locked")

    assert mine["image_id"] == document["image_id"]
    assert (home / "cache" / "artifacts-v1" / wheel(sdist, "docopt")["sha256"]).is_file()


def test_what_was_built_is_not_built_again(envbuild: Envbuild, sdist: Path, tmp_path: Path) -> None:
    """Locking again in a directory without a lock needs no sandbox: there is no engine in this run."""
    (tmp_path / "requirements.txt").write_text("docopt==0.6.2\n")
    without = replace(envbuild, environment={"ENVBUILD_ENGINE": "docker", "DOCKER_HOST": "unix:///nowhere"})
    done = without.run("lock", tmp_path)

    assert 0 == done.returncode, done.stderr
    assert wheel(sdist, "docopt")["sha256"] == wheel(tmp_path, "docopt")["sha256"]


def test_a_wheel_that_comes_out_differently_is_an_error(
    envbuild: Envbuild, sdist: Path, tmp_path: Path
) -> None:
    copy = tmp_path / sdist.name  # the name is locked, too
    shutil.copytree(sdist, copy)
    lock = copy / "envbuild.lock"
    right = wheel(sdist, "docopt")["sha256"]
    lock.write_text(lock.read_text().replace(right, "0" * 64))
    done = envbuild.run("build", copy, "--locked")

    assert 1 == done.returncode
    assert "docopt 0.6.2 is not reproducible" in done.stderr
    assert right in done.stderr


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A git repository of a package, which git finds at an https address."""
    source = tmp_path / "remote" / "demo"
    (source / "inner" / "demo").mkdir(parents=True)
    (source / "inner" / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["flit_core>=3.4"]\nbuild-backend = "flit_core.buildapi"\n'
        '[project]\nname = "demo"\nversion = "1.4"\ndescription = "x"\ndependencies = ["six"]\n'
    )
    (source / "inner" / "demo" / "__init__.py").write_text("VALUE = 1\n")
    git("init", "--quiet", "--initial-branch=main", cwd=source)
    git("add", "--all", cwd=source)
    git("commit", "--quiet", "--message=one", cwd=source)
    (tmp_path / "gitconfig").write_text(
        f'[url "file://{tmp_path}/remote/"]\n\tinsteadOf = https://example.org/\n'
    )
    return source


def test_a_git_repository(envbuild: Envbuild, remote: Path, tmp_path: Path) -> None:
    """The commit is pinned; the branch may go on, and only an upgrade follows it."""
    envbuild = replace(envbuild, environment={"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")})
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "requirements.txt").write_text(
        "demo @ git+https://example.org/demo@main#subdirectory=inner\n"
    )
    first = git("rev-parse", "HEAD", cwd=remote)
    done = envbuild.run("lock", repository)
    assert 0 == done.returncode, done.stderr
    assert first == locked(repository)["built"][0]["commit"]
    assert "1\n" == python(envbuild, repository, "import demo, six; print(demo.VALUE)")

    (remote / "inner" / "demo" / "__init__.py").write_text("VALUE = 2\n")
    git("commit", "--quiet", "--all", "--message=two", cwd=remote)
    (repository / "requirements.txt").write_text(
        "demo @ git+https://example.org/demo@main#subdirectory=inner\nidna\n"
    )
    assert 0 == envbuild.run("lock", repository).returncode
    assert first == locked(repository)["built"][0]["commit"]
    assert 0 == envbuild.run("lock", repository, "--upgrade-package", "demo").returncode
    assert git("rev-parse", "HEAD", cwd=remote) == locked(repository)["built"][0]["commit"]
    assert "2\n" == python(envbuild, repository, "import demo; print(demo.VALUE)")


def test_a_version_that_only_git_knows(envbuild: Envbuild, remote: Path, tmp_path: Path) -> None:
    """There is no history in the sandbox: the commit is the version."""
    envbuild = replace(envbuild, environment={"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")})
    (remote / "inner" / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=70", "setuptools-scm>=8"]\n'
        'build-backend = "setuptools.build_meta"\n'
        '[project]\nname = "demo"\ndynamic = ["version"]\n[tool.setuptools_scm]\nroot = ".."\n'
    )
    git("commit", "--quiet", "--all", "--message=dynamic", cwd=remote)
    repository = tmp_path / "repository"
    repository.mkdir()
    line = "demo @ git+https://example.org/demo#subdirectory=inner\n"
    (repository / "requirements.txt").write_text(line)
    done = envbuild.run("lock", repository)

    assert 0 == done.returncode, done.stderr
    commit = git("rev-parse", "HEAD", cwd=remote)
    assert f"0.0.0+g{commit[:12]}" == wheel(repository, "demo")["version"]


BACKENDS = {
    "setuptools": '[build-system]\nrequires = ["setuptools>=70"]\nbuild-backend = "setuptools.build_meta"\n',
    "hatchling": '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n',
    "flit": '[build-system]\nrequires = ["flit_core>=3.4"]\nbuild-backend = "flit_core.buildapi"\n',
    "poetry": '[build-system]\nrequires = ["poetry-core>=2"]\nbuild-backend = "poetry.core.masonry.api"\n',
    "pdm": '[build-system]\nrequires = ["pdm-backend"]\nbuild-backend = "pdm.backend"\n',
}


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_editable_projects_of_every_backend(envbuild: Envbuild, backend: str, tmp_path: Path) -> None:
    """Nothing runs for the lock; an edit is there at once, without a build, and with a new one as well."""
    repository = tmp_path / "repository"
    module = repository / "demo" / "__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text('"""Demo."""\n\n__version__ = "1"\nVALUE = 1\n')
    (repository / "requirements.txt").write_text("-e .\n")
    (repository / "pyproject.toml").write_text(
        BACKENDS[backend] + '[project]\nname = "demo"\nversion = "1"\ndescription = "x"\n'
    )
    code = "import demo, importlib.metadata as m; print(demo.__file__, demo.VALUE, m.version('demo'))"
    without = replace(envbuild, environment={"ENVBUILD_ENGINE": "docker", "DOCKER_HOST": "unix:///nowhere"})
    done = without.run("lock", repository)
    assert 0 == done.returncode, done.stderr

    assert "/srv/repo/demo/__init__.py 1 1\n" == python(envbuild, repository, code)
    module.write_text(module.read_text().replace("VALUE = 1", "VALUE = 2"))
    assert "/srv/repo/demo/__init__.py 2 1\n" == python(envbuild, repository, code)
    assert 0 == envbuild.run("lock", repository, "--check").returncode


def test_the_example(envbuild: Envbuild, tmp_path: Path) -> None:
    shutil.copytree(_EXAMPLES / "local-package", tmp_path / "local-package")
    done = envbuild.run("run", tmp_path / "local-package", "tides.ipynb", "-o", tmp_path / "out")
    assert 0 == done.returncode, done.stderr
    (cell,) = json.loads((tmp_path / "out" / "tides.ipynb").read_text())["cells"]

    assert "[1.5, -0.0, -1.5]" == "".join(cell["outputs"][0]["data"]["text/plain"])


def test_hostile_builds_see_nothing(envbuild: Envbuild, tmp_path: Path) -> None:
    """A setup.py that looks around, run for the lock and for the image."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        probe = _PROBE.format(
            secrets=[str(secret), str(envbuild.cache), __file__], port=server.getsockname()[1]
        )
        repository = tmp_path / "repository"
        repository.mkdir()
        (repository / "setup.py").write_text(
            probe
            + 'from setuptools import setup\nsetup(name="probe", version="1", description=f"found {found}")\n'
        )
        envbuild = replace(envbuild, environment={"ENVBUILD_TEST_SECRET": "x"})
        done = envbuild.run("lock", repository)
        assert 0 == done.returncode, done.stderr
        found = python(
            envbuild, repository, "import importlib.metadata as m; print(m.metadata('probe')['Summary'])"
        )

    assert "found []\n" == found


def test_a_build_that_fails_says_why(envbuild: Envbuild, tmp_path: Path) -> None:
    (tmp_path / "setup.py").write_text('raise RuntimeError("this is\\x1b[31m broken")\n')
    done = envbuild.run("lock", tmp_path)

    assert 1 == done.returncode
    assert "setup.py: building the project from source failed" in done.stderr
    assert "broken" in done.stderr
    assert "\x1b[31m" not in done.stderr


def test_a_build_that_needs_a_compiler(envbuild: Envbuild, tmp_path: Path) -> None:
    """The remedy is named, and helps."""
    (tmp_path / "x.c").write_text(
        "#include <Python.h>\n"
        'static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "x", NULL, -1, NULL};\n'
        "PyMODINIT_FUNC PyInit_x(void) { return PyModule_Create(&module); }\n"
    )
    (tmp_path / "setup.py").write_text(
        "from setuptools import Extension, setup\n"
        'setup(name="x", version="1", ext_modules=[Extension("x", ["x.c"])])\n'
    )
    (tmp_path / "requirements.txt").write_text("./.\n")
    done = envbuild.run("build", tmp_path)
    assert 1 == done.returncode
    assert "add build-essential and python3-dev to apt.txt" in done.stderr

    (tmp_path / "apt.txt").write_text("build-essential\npython3-dev\n")
    done = envbuild.run("lock", tmp_path)
    assert 0 == done.returncode, done.stderr
    assert python(envbuild, tmp_path, "import x; print(x.__file__)").endswith(".so\n")
