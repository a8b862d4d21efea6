"""Where the cluster is and who we are there: a kubeconfig, or a pod's service account.

Reading a kubeconfig and getting credentials by its means (files, exec plugins, OIDC) is the official
client's work. It puts whole entries, tokens included, into the messages of its errors, and logs what plugins
complain about; none of that is let through.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.cluster.api import Cluster
from envbuild.errors import EnvbuildError, MachineError, UsageError
from envbuild.source.text import clean

if TYPE_CHECKING:
    from kubernetes.client.api_client import ApiClient

__all__ = ["connect"]

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LOOPBACK = "localhost,127.0.0.0/8,::1"


def connect(context: str | None = None, environment: Mapping[str, str] = os.environ) -> Cluster:
    """A connection to a cluster. No request is sent yet.

    The files that ``KUBECONFIG`` names, else ``~/.kube/config``, else the service account of the pod that we
    are in.

    Parameters:
        context: a context of the kubeconfig; None: its current one.
        environment: where ``KUBECONFIG``, ``HOME`` and ``KUBERNETES_SERVICE_HOST`` are looked up.

    Raises:
        MachineError: the client is not installed (``kubernetes-client-missing``), there is no kubeconfig
            (``kubeconfig-missing``), or its exec plugin gives no credentials (``cluster-exec-plugin``).
        UsageError: the kubeconfig cannot be used (``kubeconfig-invalid``), or has no such context
            (``kubeconfig-context``).
    """
    if find_spec("kubernetes") is None:
        raise MachineError(
            "the Kubernetes client is not installed",
            code="kubernetes-client-missing",
            remedy="install it beside envbuild: pip install 'envbuild[kubernetes]'",
        )
    files = _files(environment)
    if files:
        chosen = _Chosen(files, context)
        return Cluster(chosen.client(), chosen.namespace, chosen.client)
    if environment.get("KUBERNETES_SERVICE_HOST") and context is None:
        client = _in_cluster(environment)
        return Cluster(client, _own_namespace())
    named = environment.get("KUBECONFIG")
    raise MachineError(
        f"there is no kubeconfig{f' at {clean(named)}' if named else ''}",
        code="kubeconfig-missing",
        remedy="set KUBECONFIG to the file that the cluster's operator gave you, or put it at ~/.kube/config",
    )


def _files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The kubeconfig files that are there. They are merged; in doubt the first one counts."""
    named = environment.get("KUBECONFIG")
    if named:
        candidates = [part for part in named.split(os.pathsep) if part]
    else:
        candidates = [os.path.join(environment.get("HOME", "~"), ".kube", "config")]  # noqa: PTH118
    # Those of os.path raise nothing, whatever the name is, and whoever its directory belongs to.
    found = (os.path.expanduser(name) for name in candidates)  # noqa: PTH111
    return tuple(Path(name) for name in found if os.path.isfile(name))  # noqa: PTH113


class _Chosen:
    """A context of a kubeconfig."""

    def __init__(self, files: tuple[Path, ...], context: str | None) -> None:
        self._files = files
        documents = [_read(path) for path in files]
        contexts = [entry for each in documents for entry in _entries(each, "contexts")]
        current = [name for each in documents if (name := each.get("current-context"))]
        # As with kubectl, the first file that has one counts. (With the client it would be the last.)
        self.name = context or (str(current[0]) if current else "")
        names = sorted({str(entry.get("name")) for entry in contexts})
        found = next((entry for entry in contexts if entry.get("name") == self.name), None)
        if found is None:
            raise UsageError(
                f"the kubeconfig has no context '{clean(self.name)}'" if self.name else
                "the kubeconfig has no current context",
                code="kubeconfig-context",
                file=str(files[0]),
                remedy=f"name one of: {clean(', '.join(names))}" if names else "add a context to it",
            )  # fmt: skip
        details = _mapping(found.get("context"))
        self.namespace = str(details.get("namespace") or "default")
        users = [entry for each in documents for entry in _entries(each, "users")]
        user = next((entry.get("user") for entry in users if entry.get("name") == details.get("user")), None)
        self._plugin = str(_mapping(_mapping(user).get("exec")).get("command") or "")

    def client(self) -> ApiClient:
        """A client with this context's credentials, freshly read."""
        from kubernetes.client import ApiClient, Configuration
        from kubernetes.config import load_kube_config

        if self._plugin and shutil.which(self._plugin) is None and not self._beside():
            raise self._plugin_failed("it is not installed")
        configuration = Configuration()
        with _complaints() as said:
            try:
                load_kube_config(
                    os.pathsep.join(map(str, self._files)),
                    context=self.name,
                    client_configuration=configuration,
                    persist_config=False,  # it would be written in place
                )
            except EnvbuildError:
                raise
            except Exception as error:  # the client lets whatever its parts raise through
                # Without a cause: the messages have credentials in them.
                raise UsageError(
                    f"context '{clean(self.name)}' of the kubeconfig cannot be used ({type(error).__name__})",
                    code="kubeconfig-invalid",
                    file=str(self._files[0]),
                    remedy=f"check its cluster and user entries and the files they name: "
                    f"`kubectl --context {clean(self.name)} cluster-info`",
                ) from None
        if self._plugin and said:
            raise self._plugin_failed(clean(said[0]))
        if not str(configuration.host).startswith(("https://", "http://")):
            raise UsageError(
                f"the cluster of context '{clean(self.name)}' has no address",
                code="kubeconfig-invalid",
                file=str(self._files[0]),
                remedy="give its `server` an address that begins with https://",
            )
        return ApiClient(_tuned(configuration))

    def _beside(self) -> bool:
        """Whether the plugin is named relative to the kubeconfig."""
        return os.sep in self._plugin and any((path.parent / self._plugin).is_file() for path in self._files)

    def _plugin_failed(self, why: str) -> MachineError:
        name = clean(Path(self._plugin).name)
        return MachineError(
            f"the exec plugin '{name}' of context '{clean(self.name)}' gives no credentials",
            code="cluster-exec-plugin",
            detail=why,
            remedy=f"install '{name}', log in with it, and try `kubectl --context {clean(self.name)} "
            "get namespaces`",
        )


def _in_cluster(environment: Mapping[str, str]) -> ApiClient:
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config import ConfigException
    from kubernetes.config.incluster_config import InClusterConfigLoader

    configuration = Configuration()
    token, authority = _SERVICE_ACCOUNT / "token", _SERVICE_ACCOUNT / "ca.crt"
    try:
        loader = InClusterConfigLoader(str(token), str(authority), environ=environment)
        loader.load_and_set(configuration)
    except (ConfigException, OSError) as error:
        raise MachineError(
            "this pod has no service account to reach its cluster with",
            code="kubeconfig-missing",
            remedy="set serviceAccountName and automountServiceAccountToken: true in the pod, or KUBECONFIG",
        ) from error
    return ApiClient(_tuned(configuration))


def _own_namespace() -> str:
    try:
        return (_SERVICE_ACCOUNT / "namespace").read_text("utf-8").strip() or "default"
    except OSError:
        return "default"


def _tuned(configuration: Any) -> Any:
    """Retries are ours, clusters on this machine need no proxy, and refreshing credentials is quiet."""
    configuration.retries = False
    configuration.keep_alive = True
    configuration.no_proxy = ",".join(filter(None, (configuration.no_proxy, _LOOPBACK)))
    refresh: Callable[[Any], None] | None = configuration.refresh_api_key_hook
    if refresh is not None:

        def quietly(of: Any) -> None:
            # What cannot be refreshed is refused by the server, with an error of its own.
            with _complaints():
                refresh(of)
            of.refresh_api_key_hook = quietly  # the client has put its own back

        configuration.refresh_api_key_hook = quietly
    if not configuration.verify_ssl:
        _accept_unverified()
    return configuration


def _accept_unverified() -> None:
    """The kubeconfig says so (``insecure-skip-tls-verify``); no warning for each request."""
    import warnings

    from urllib3.exceptions import InsecureRequestWarning

    warnings.filterwarnings("ignore", category=InsecureRequestWarning)


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What is logged to the root logger during the block, which then is not shown."""
    said: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    handler, root = Collector(logging.ERROR), logging.getLogger()
    root.addHandler(handler)
    try:
        yield said
    finally:
        root.removeHandler(handler)


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the kubeconfig cannot be read: {error.strerror}",
            code="kubeconfig-invalid",
            file=str(path),
            remedy="make it readable for yourself, or set KUBECONFIG to another",
        ) from error
    try:
        document = yaml.safe_load(data)
    except Exception as error:  # PyYAML lets through whatever its parts raise, ValueError for 2026-13-01
        mark = getattr(error, "problem_mark", None)
        raise UsageError(
            "the kubeconfig is not YAML",
            code="kubeconfig-invalid",
            file=str(path),
            line=mark.line + 1 if mark else None,
            remedy="correct it, or set KUBECONFIG to another",
        ) from None  # the parser quotes lines of the file
    if not isinstance(document, dict):
        raise UsageError(
            "the kubeconfig is empty" if document is None else "the kubeconfig is not a mapping",
            code="kubeconfig-invalid",
            file=str(path),
            remedy="correct it, or set KUBECONFIG to another",
        )
    return document


def _entries(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    entries = document.get(key) or ()
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
