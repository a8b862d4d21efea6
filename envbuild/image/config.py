"""The image's config and manifest: pure functions from a plan and its layers to canonical JSON.

Follows the OCI image specification 1.1 (config.md, manifest.md); the content is the contract hubs rely on
(docs/image.md).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from envbuild.image.annotations import layer_descriptor
from envbuild.image.base_config import BaseConfig
from envbuild.image.model import Layer
from envbuild.lock.model import Lock, PlatformImage
from envbuild.pack import recipe
from envbuild.pack.glue import ENTRYPOINT
from envbuild.source import Origin

__all__ = ["CONFIG_TYPE", "INDEX_TYPE", "MANIFEST_TYPE", "canonical", "image_config", "image_manifest"]

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Labels of the config that are annotations of the manifest, too, where a registry shows them.
_ANNOTATIONS = (
    "dev.envbuild.env",
    "dev.envbuild.lock.digest",
    "org.opencontainers.image.base.digest",
    "org.opencontainers.image.base.name",
)


def canonical(value: Any) -> bytes:
    """``value`` as JSON that has one form: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _environment(conda: bool, repository: Sequence[tuple[str, str]], base: PlatformImage | None) -> list[str]:
    """The variables: as after `conda activate`, or like those of a virtual environment.

    Those of the ``repository`` are beside them: a lock cannot have one with a name of the image's own. What
    the ``base`` sets stays, but for names that are the image's own.
    """
    env, server = f"/{recipe.ENV_PREFIX}", f"/{recipe.SERVER_PREFIX}"
    below = dict(base.variables) if base else {}
    values = {
        # Sets are in the same order in every process, and nothing is imported from a home directory, which is
        # a hub's (virtual environments see to that themselves). Whoever wants it otherwise can say so.
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        **below,
        **dict(repository),
        # CONDA_DIR and NB_PYTHON_PREFIX are what repo2docker images have; scripts for hubs look at them.
        "CONDA_DIR": env,
        "HOME": f"/{recipe.HOME}",
        "JUPYTER_PATH": f"{env}/share/jupyter",
        "LANG": "C.UTF-8",
        "NB_PYTHON_PREFIX": env,
        "NB_UID": str(recipe.UID),
        "NB_USER": recipe.USER_NAME,
        "PATH": f"{env}/bin:{server}/bin:{below.get('PATH') or _SYSTEM_PATH}",
        "REPO_DIR": f"/{recipe.REPO_DIR}",
        "SHELL": base.shell if base else "/bin/bash",
        "SSL_CERT_FILE": (base and base.certificates) or f"/{recipe.BASE_CERTIFICATES}",
        "USER": recipe.USER_NAME,
        **({"CONDA_DEFAULT_ENV": env, "CONDA_PREFIX": env} if conda else {"VIRTUAL_ENV": env}),
    }
    return [f"{name}={value}" for name, value in sorted(values.items())]


def image_config(
    lock: Lock,
    *,
    platform: str,
    env: str,
    lock_digest: str,
    layers: Sequence[Layer],
    origin: Origin | None = None,
    below: BaseConfig | None = None,
) -> dict[str, Any]:
    """The config; its digest (in :func:`canonical` form) is the image ID.

    Parameters:
        env: the environment's id; ``lock_digest`` the digest of the lock file.
        layers: bottom to top.
        below: the config of the registry's image that the base is.
        origin: where the repository's files in the image were fetched from; None when they are a directory's.
    """
    system, architecture = platform.split("/", 1)
    labels = {
        "dev.envbuild.env": env,
        "dev.envbuild.lock.digest": lock_digest,
        "dev.envbuild.recipe": str(recipe.VERSION),
        "org.opencontainers.image.title": lock.name,
        "org.opencontainers.image.created": lock.cutoff,
        # What tools made for repo2docker's images look for.
        "repo2docker.ref": "None",
        "repo2docker.repo": "local",
        "repo2docker.version": "envbuild",
    }
    if origin is not None:
        labels |= {
            "org.opencontainers.image.revision": origin.revision,
            "org.opencontainers.image.source": origin.url,
            "repo2docker.ref": origin.revision,
            "repo2docker.repo": origin.url,
        }
    image = lock.base.image
    base = image.platforms[platform] if image else None
    if image and base:
        labels["org.opencontainers.image.base.digest"] = base.digest
        labels["org.opencontainers.image.base.name"] = image.reference
    created = lock.cutoff
    own = [layer for layer in layers if not layer.foreign]
    return {
        **(below.requirements if below else {}),
        "architecture": architecture,
        "config": {
            "Cmd": ["jupyter-lab", "--ip=0.0.0.0", "--port=8888", "--no-browser"],
            "Entrypoint": [f"/{recipe.BASE_INIT}" if base else "/usr/bin/tini", "-g", "--", f"/{ENTRYPOINT}"],
            "Env": _environment(any(target.conda for target in lock.targets), lock.variables, base),
            "ExposedPorts": {"8888/tcp": {}},
            "Labels": labels,
            "User": f"{recipe.UID}:{recipe.GID}",
            "WorkingDir": f"/{recipe.REPO_DIR}",
        },
        "created": created,
        "history": [
            *(below.history_of(lock.base.name) if below else ()),
            *({"created": created, "created_by": _created_by(layer), "comment": "envbuild"} for layer in own),
        ],
        "os": system,
        "rootfs": {"diff_ids": [layer.diff_id for layer in layers], "type": "layers"},
    }


def _created_by(layer: Layer) -> str:
    packages = " ".join(layer.packages)
    return f"{layer.title}: {packages}" if packages else layer.title


def image_manifest(
    config: dict[str, Any], layers: Sequence[Layer], *, config_digest: str, config_size: int
) -> dict[str, Any]:
    """The manifest for a stored config, which may be somebody else's and have no labels, and layers."""
    inner = config.get("config")
    labels = inner.get("Labels") if isinstance(inner, dict) else None
    if not isinstance(labels, dict):
        labels = {}
    return {
        "annotations": {name: labels[name] for name in _ANNOTATIONS if name in labels},
        "config": {"digest": config_digest, "mediaType": CONFIG_TYPE, "size": config_size},
        "layers": [layer_descriptor(layer).to_json() for layer in layers],
        "mediaType": MANIFEST_TYPE,
        "schemaVersion": 2,
    }
