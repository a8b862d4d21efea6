"""``envbuild verify-image`` with Docker: our image passes all tests, each bad one fails what it is bad for.

The bad images are made of ours; where a test is about something else, a small server stands for the real
ones.
"""

from __future__ import annotations

import io
import json
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support import small_jupyter
from tests.support.programs import Envbuild, output_of

pytestmark = [pytest.mark.network, pytest.mark.docker, pytest.mark.slow]

OURS = "contract/ours:1"
SMALL = "contract/small:1"
SERVER_COMMAND = 'CMD ["jupyter-lab", "--ip=0.0.0.0", "--port=8888"]\n'

# What repo2docker's entry point does, and does not: it starts the command as a child, copies its output to a
# file in the repository, passes signals on, and waits for nobody else.
ENTRY_POINT = """\
#!/srv/env/bin/python3
import os, signal, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda number, frame: child.send_signal(number))
try:
    log = open(os.environ["REPO_DIR"] + "/.jupyter-server-log.txt", "ab")
except OSError:
    log = open(os.devnull, "ab")
for line in child.stdout:
    log.write(line)
    sys.stdout.buffer.write(line)
    sys.stdout.flush()
sys.exit(child.wait())
"""


def shell_entry(script: str, *before: str) -> str:
    return f"ENTRYPOINT {json.dumps([*before, 'sh', '-c', script, '--'])}\n{SERVER_COMMAND}"


TINI = ("tini", "-g", "--")
# The tests that an image of this Dockerfile has to fail, and no other -> its lines.
BAD = {
    "user kernels port": "USER jovyan\nENV SMALL_KERNELS=python3,ghost\n"
    'CMD ["jupyter-lab", "--ip=127.0.0.1", "--port=8888"]\n',
    "shell": "USER 0\n"
    'RUN ["python3", "-c", "import os; os.remove(\'/usr/bin/sh\')"]\n'
    f"USER 1000:100\nENTRYPOINT {json.dumps(TINI)}\n{SERVER_COMMAND}",
    "sigterm home": "USER 0\nRUN mkdir /home/jovyan/bin && mv /opt/small/jupyter-lab /home/jovyan/bin"
    " && rm /srv/jupyter/bin/jupyter-lab\nENV PATH=/home/jovyan/bin:$PATH\nUSER 1000:100\n"
    + shell_entry('"$@"; exit $?'),
    "writes read-only": "USER 0\nRUN mkdir -m 777 /var/lib/app\nUSER 1000:100\n"
    + shell_entry('touch /var/lib/app/started && exec "$@"', *TINI),
    "group-0 group-100": shell_entry(
        "python3 -c 'import os, pwd; pwd.getpwuid(os.getuid())' && exec \"$@\"", *TINI
    ),
    # The traits of an image that repo2docker makes.
    "user reaping": "USER 0\nCOPY entry /usr/local/bin/repo2docker-entrypoint\n"
    "RUN chmod 755 /usr/local/bin/repo2docker-entrypoint\nENV REPO_DIR=/home/jovyan PYTHONUNBUFFERED=1\n"
    "WORKDIR /home/jovyan\nUSER jovyan\nLABEL repo2docker.version=2026.4.0\n"
    f'ENTRYPOINT ["/usr/local/bin/repo2docker-entrypoint"]\n{SERVER_COMMAND}',
}


@pytest.fixture(scope="module")
def docker(envbuild: Envbuild, docker_host: str) -> Envbuild:
    return replace(envbuild, environment={**envbuild.environment, "DOCKER_HOST": docker_host})


@pytest.fixture(scope="module")
def ours(docker: Envbuild, quickstart: Path) -> str:
    docker.document("build", quickstart, "--locked", "--compression", "gzip", "-t", OURS, "--load")
    return OURS


@pytest.fixture(scope="module")
def make(docker_host: str, ours: str) -> Callable[[str, str], str]:
    """Makes an image of lines of a Dockerfile, on top of another one."""

    def build(tag: str, lines: str) -> str:
        files = {
            "Dockerfile": lines,
            "server": "#!/srv/env/bin/python3\n" + Path(small_jupyter.__file__).read_text("utf-8"),
            "entry": ENTRY_POINT,
        }
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as tar:
            for name, text in files.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(text.encode()), 0o755
                tar.addfile(entry, io.BytesIO(text.encode()))
        command = ["docker", "build", "--quiet", "--tag", tag, "-"]
        environment = {"DOCKER_HOST": docker_host, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
        subprocess.run(command, input=context.getvalue(), env=environment, check=True, capture_output=True)
        return tag

    programs = ("jupyter-lab", "jupyter-notebook", "jupyterhub-singleuser")
    copies = "".join(f"COPY server /opt/small/{name}\n" for name in programs)
    build(SMALL, f"FROM {ours}\n{copies}ENV PATH=/opt/small:$PATH\n")
    return build


def left(docker_host: str) -> list[str]:
    """Containers and volumes that are still there."""
    environment = {"DOCKER_HOST": docker_host}
    containers = output_of("docker", "ps", "--all", "--quiet", environment=environment)
    return (containers + output_of("docker", "volume", "ls", "--quiet", environment=environment)).split()


def test_our_image_passes_all(docker: Envbuild, ours: str, docker_host: str, scratch: Path) -> None:
    junit = scratch / "contract.xml"

    document = docker.document("verify-image", ours, "--junit", junit, "--timeout", "600")

    assert [] == [test for test in document["tests"] if test["state"] != "passed"]
    assert 15 == len(document["tests"])
    suite = ElementTree.parse(junit).getroot()[0]
    assert ("15", "0", "0") == tuple(suite.get(name) for name in ("tests", "failures", "errors"))
    assert [] == left(docker_host)


@pytest.mark.parametrize("fails", BAD)
def test_a_bad_image_fails_what_it_is_bad_for(
    docker: Envbuild, make: Callable[[str, str], str], docker_host: str, fails: str
) -> None:
    image = make("contract/bad-" + fails.replace(" ", "-") + ":1", f"FROM {SMALL}\n{BAD[fails]}")

    done = docker.run("verify-image", image, "--json")

    states = {test["id"]: test["state"] for test in json.loads(done.stdout)["tests"]}
    assert dict.fromkeys(fails.split(), "failed") == {
        name: state for name, state in states.items() if state != "passed"
    }, done.stdout
    assert 1 == done.returncode
    assert [] == left(docker_host)


def test_an_image_without_python_or_server(
    docker: Envbuild, make: Callable[[str, str], str], docker_host: str
) -> None:
    """One cause is told once; what rests on it is not checked."""
    image = make(
        "contract/bare:1", f"FROM {SMALL}\nUSER 0\nRUN rm /srv/*/bin/python3* /usr/bin/python3*\nUSER 1000\n"
    )

    done = docker.run("verify-image", image, "--skip", "port")

    assert 1 == done.returncode
    assert "FAILED       python3" in done.stdout
    assert "2 tests passed, 1 failed, 11 not checked" == done.stdout.splitlines()[-1]


def test_a_server_that_takes_all_memory_is_ended(
    docker: Envbuild, make: Callable[[str, str], str], docker_host: str
) -> None:
    hungry = "import time; a = bytearray(1 << 30); time.sleep(99)"
    image = make("contract/hungry:1", f"FROM {SMALL}\n" + shell_entry(f"exec python3 -c '{hungry}'"))

    done = docker.run("verify-image", image, "--only", "jupyter-lab", "--memory", "256M", "--json")

    (test,) = json.loads(done.stdout)["tests"]
    assert ("failed", "it was ended for lack of memory") == (test["state"], test["seen"])


def test_a_server_that_never_answers_and_talks_without_end(
    docker: Envbuild, make: Callable[[str, str], str], docker_host: str
) -> None:
    image = make("contract/talking:1", f"FROM {SMALL}\n" + shell_entry("exec yes"))

    done = docker.run("verify-image", image, "--only", "jupyter-lab", "--timeout", "2", "--json")

    (test,) = json.loads(done.stdout)["tests"]
    assert test["seen"].startswith("no answer within ")
    assert len(test["log"]) < 100_000
    assert [] == left(docker_host)


def test_interrupted_it_leaves_nothing(
    docker: Envbuild, make: Callable[[str, str], str], docker_host: str
) -> None:
    image = make("contract/silent:1", f"FROM {SMALL}\n" + shell_entry("exec sleep 2147483647"))
    process = docker.start("verify-image", image, "--only", "jupyter-lab", "--timeout", "3600")
    while not left(docker_host):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)

    process.communicate(timeout=600)
    assert 130 == process.returncode
    assert [] == left(docker_host)


def test_images_elsewhere(
    docker: Envbuild, ours: str, registry: str, scratch: Path, docker_host: str
) -> None:
    """A layout's and a registry's are given to the engine; what is nowhere is an error."""
    name = f"{registry}/team/ours:1"
    layout = scratch / "verify-layout"
    docker.document("push", ours, name)
    skopeo = ("skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{name}")
    output_of(*skopeo, f"oci:{layout}:1")
    for place in (name, f"cache:{ours}", f"oci:{layout}"):
        document = docker.document("verify-image", place, "--only", "user")
        assert "USER 1000:100" == document["tests"][0]["seen"]

    assert 2 == docker.run("verify-image", f"{registry}/team/ours:2").returncode
    assert 4 == docker.run("verify-image", "registry.invalid/team/ours:2").returncode
    nowhere = replace(docker, environment={**docker.environment, "DOCKER_HOST": "unix:///nowhere"})
    assert 3 == nowhere.run("verify-image", ours, "--engine", "docker").returncode
