"""The tests of the hub contract, one record each."""

from __future__ import annotations

from collections.abc import Sequence

from envbuild.conformance import checks, scenarios
from envbuild.conformance.model import ContractTest
from envbuild.errors import UsageError
from envbuild.source.text import quote

__all__ = ["CONTRACT", "chosen"]

_NEEDS_SERVER = ("jupyter-lab",)

CONTRACT = (
    ContractTest(
        id="user",
        title="the image's USER is a number, and not root",
        purpose="A cluster can tell that the image does not run as root before it starts it.",
        relied_on_by="Kubernetes with runAsNonRoot, the restricted Pod Security Standard",
        method="Reads USER in the image's config.",
        remedy="end the Dockerfile with USER 1000",
        check=checks.user,
    ),
    ContractTest(
        id="shell",
        title="/bin/sh runs as uid 65534",
        purpose="Nodes pull the image before the first user needs it.",
        relied_on_by="Zero to JupyterHub's image pullers, which run `/bin/sh -c` in every image",
        method="Runs /bin/sh in the place of the entry point, as 65534:65534.",
        remedy="install a shell as /bin/sh, which every user may execute",
        check=checks.shell,
        scenario=scenarios.SHELL,
    ),
    ContractTest(
        id="python3",
        title="the entry point runs the command it is given, and python3 is on PATH",
        purpose="Whoever starts the image says what runs in it.",
        relied_on_by="BinderHub, whose default command is a program for python3; every hub's `cmd`",
        method="Gives the entry point a short program for python3, and looks for what it prints.",
        remedy='end the entry point with exec "$@", and have python3 on PATH',
        check=checks.python3,
        scenario=scenarios.PYTHON,
    ),
    ContractTest(
        id="port",
        title="its own command listens on the exposed port, on all interfaces",
        purpose="The server is reached without further options.",
        relied_on_by="`docker run -p` and `-P`, container platforms without a hub, people",
        method="Starts the image without arguments, and looks at the sockets that are listened on.",
        remedy="EXPOSE 8888, and have CMD start the server with --ip=0.0.0.0 --port=8888",
        check=checks.port,
        scenario=scenarios.OWN,
    ),
    ContractTest(
        id="jupyter-lab",
        title="jupyter-lab answers",
        purpose="The interface most people work in.",
        relied_on_by="BinderHub, `envbuild up`, hubs that start it as `cmd`",
        method="Starts `jupyter-lab --ip=0.0.0.0 --port=8888` with a token; asks with it and without.",
        remedy="install jupyterlab, with jupyter-lab on PATH",
        check=checks.lab,
        scenario=scenarios.LAB,
        requires=("python3",),
    ),
    ContractTest(
        id="kernels",
        title="every kernelspec's kernel starts and answers 1+1",
        purpose="What the launcher offers works.",
        relied_on_by="users: a kernelspec without its program is an endless `Connecting`",
        method="Starts each kernel through the server, and executes over its websocket as JupyterLab does.",
        remedy="install what the kernelspec's argv names, or remove it (jupyter kernelspec remove NAME)",
        check=checks.kernels,
        scenario=scenarios.LAB,
        requires=_NEEDS_SERVER,
    ),
    ContractTest(
        id="writes",
        title="starting a server and kernels writes only to places meant for that",
        purpose="Volumes and quotas are where the writes are, and nothing is lost or refused by surprise.",
        relied_on_by="clusters with read-only root file systems or limits for ephemeral storage",
        method="Compares the container's files with the image's after all kernels have run.",
        remedy="write below $HOME or /tmp, declare the place with VOLUME, or make the files at build time",
        check=checks.writes,
        scenario=scenarios.LAB,
        requires=_NEEDS_SERVER,
    ),
    ContractTest(
        id="reaping",
        title="process 1 reaps orphans",
        purpose="A server that runs for days does not fill the table of processes with zombies.",
        relied_on_by="clusters that limit a pod's processes; terminals, kernels that start programs",
        method="Leaves a process without a parent in the container, lets it end, and looks for it.",
        remedy='start with an init: ENTRYPOINT ["tini", "-g", "--"]',
        check=checks.reaping,
        scenario=scenarios.LAB,
        requires=_NEEDS_SERVER,
    ),
    ContractTest(
        id="sigterm",
        title=f"SIGTERM ends the server within {checks.STOP_SECONDS} s, with code 0 or {checks.TERMINATED}",
        purpose="Stopping a server is quick, and kernels are told.",
        relied_on_by="hubs that stop idle servers, drained nodes, `docker stop`",
        method="Sends SIGTERM to process 1, as engines do, and waits.",
        remedy='have the entry point exec the command (exec "$@"), or pass signals on with tini -g',
        check=checks.sigterm,
        scenario=scenarios.LAB,
        requires=_NEEDS_SERVER,
    ),
    ContractTest(
        id="group-0",
        title="works as any user in group 0",
        purpose="The cluster chooses the user's number.",
        relied_on_by="OpenShift, which starts images under random uids in group 0",
        method=f"As jupyter-lab, as {scenarios.ANY_USER}:0, with the default kernel.",
        remedy="chgrp -R 0 and chmod -R g=u what a user works with; look nothing up in /etc/passwd",
        check=checks.server,
        scenario=scenarios.GROUP_0,
        requires=_NEEDS_SERVER,
    ),
    ContractTest(
        id="group-100",
        title="works as any user in group 100",
        purpose="Volumes of several users or hubs belong to group 100.",
        relied_on_by="Zero to JupyterHub's fsGid 100, shared volumes",
        method=f"As jupyter-lab, as {scenarios.ANY_USER}:100, with the default kernel.",
        remedy="make what a user works with writable for everybody; look nothing up in /etc/passwd",
        check=checks.server,
        scenario=scenarios.GROUP_100,
        requires=_NEEDS_SERVER,
    ),
    ContractTest(
        id="home",
        title="needs nothing that it has in $HOME",
        purpose="A user's volume is mounted there, and hides what the image has.",
        relied_on_by="Zero to JupyterHub's homeMountPath, DockerSpawner's volumes",
        method="As jupyter-lab, with an empty volume over $HOME, with the default kernel.",
        remedy="install programs, kernels and settings outside of $HOME, such as /srv or /opt",
        check=checks.server,
        scenario=scenarios.HOME,
        requires=_NEEDS_SERVER,
    ),
    ContractTest(
        id="read-only",
        title="works with a read-only root file system",
        purpose="Nobody can change the image's programs in a running container.",
        relied_on_by="clusters with readOnlyRootFilesystem",
        method="As jupyter-lab, read-only but for the places of `writes`, with the default kernel.",
        remedy="write below $HOME or /tmp, or declare the place with VOLUME",
        check=checks.server,
        scenario=scenarios.READ_ONLY,
        requires=_NEEDS_SERVER,
    ),
    ContractTest(
        id="jupyterhub-singleuser",
        title="jupyterhub-singleuser serves a hub's user",
        purpose="The server asks the hub who the user is, and answers under the user's prefix.",
        relied_on_by="JupyterHub with any spawner, Zero to JupyterHub, BinderHub with logins",
        method=(
            "Starts it with the variables JupyterHub sets, and a stand-in for the hub's API in the container;"
            " opens the user's prefix with a token the hub knows and without, and runs the default kernel."
        ),
        remedy="install jupyterhub (the hub's major version), with jupyterhub-singleuser on PATH",
        check=checks.singleuser,
        scenario=scenarios.SINGLEUSER,
        requires=("python3",),
    ),
    ContractTest(
        id="binderhub",
        title="BinderHub's default command answers",
        purpose="Links to the repository on a BinderHub open.",
        relied_on_by="BinderHub without logins, mybinder.org",
        method=(
            "Gives the entry point what BinderHub does: a program for python3 that becomes jupyter-lab, or"
            " jupyter-notebook, with the spawner's arguments; and runs the default kernel."
        ),
        remedy="have jupyter-lab or jupyter-notebook on PATH, one that takes --ServerApp options",
        check=checks.server,
        scenario=scenarios.BINDERHUB,
        requires=("python3",),
    ),
)


def chosen(only: Sequence[str], skip: Sequence[str]) -> tuple[ContractTest, ...]:
    """The tests with the ids ``only`` (all, when empty), without those of ``skip``.

    Raises:
        UsageError: there is no such test, or none is left.
    """
    known = {test.id for test in CONTRACT}
    for name in (*only, *skip):
        if name not in known:
            raise UsageError(
                f"there is no contract test {quote(name)}",
                code="no-such-test",
                remedy=f"choose from {', '.join(test.id for test in CONTRACT)}",
            )
    tests = tuple(test for test in CONTRACT if (not only or test.id in only) and test.id not in skip)
    if not tests:
        raise UsageError("no contract test is left", code="no-such-test", remedy="leave out --skip or --only")
    return tests
