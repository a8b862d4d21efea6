"""JupyterHub with KubeSpawner on a real Kubernetes, and what ``envbuild hub config`` writes for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from envbuild.fleet.values import byte_count, core_count
from tests.integration.test_hub import Place, Spawned, visit
from tests.support.hub_fleet import hub_fleet
from tests.support.jupyterhub import HubPrograms
from tests.support.kubernetes import KubernetesCluster
from tests.support.programs import Envbuild

pytestmark = [pytest.mark.network, pytest.mark.kubernetes]

# What operators have in their own configuration: a volume over the home directory, a toleration for all.
_MORE = """\
c.KubeSpawner.namespace = {namespace!r}
c.KubeSpawner.fs_gid = 100
c.KubeSpawner.volumes = {{"home": {{"name": "home", "emptyDir": {{}}}}}}
c.KubeSpawner.volume_mounts = {{"home": {{"name": "home", "mountPath": "/home/jovyan"}}}}
c.KubeSpawner.tolerations = [{{"key": "hub.jupyter.org/dedicated", "value": "user"}}]
c.KubeSpawner.events_enabled = False
"""


def test_kubespawner(
    envbuild: Envbuild,
    kubernetes: KubernetesCluster,
    kubernetes_namespace: str,
    hub_programs: HubPrograms,
    scratch: Path,
    tmp_path: Path,
) -> None:
    """On nodes of the environments' pool, with requests and limits, in the fleet's order."""
    if kubernetes.network is None:
        pytest.skip("the hub is on this machine, and has to reach pods by their addresses")
    program = replace(envbuild, environment={"ENVBUILD_PLAIN_HTTP": kubernetes.registry})
    fleet = hub_fleet(program, kubernetes.registry, scratch / "kubernetes-fleet")

    def spawned(user: str) -> Spawned:
        label = f"hub.jupyter.org/username={user}"
        found = kubernetes.document("get", "pods", "--namespace", kubernetes_namespace, "--selector", label)
        (pod,) = found["items"]
        assert {"pool": "pool2"} == pod["spec"]["nodeSelector"]
        keys = {one["key"] for one in pod["spec"]["tolerations"]}
        assert {"hub.jupyter.org/dedicated", "pool.example.org/reserved"} <= keys
        (container,) = pod["spec"]["containers"]
        limits = container["resources"]["limits"]
        # The lab has no limit of its own for processors.
        return Spawned(container["image"], byte_count(limits["memory"]), core_count(limits.get("cpu", 2)))

    place = Place(
        "kubespawner",
        _MORE.format(namespace=kubernetes_namespace),
        kubernetes.registry.rpartition(":")[0],
        kubernetes.environment,
        spawned,
    )
    visit(fleet, hub_programs, place, tmp_path)
