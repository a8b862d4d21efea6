"""A fleet file, read strictly: :func:`read_fleet`. What may be in it is in docs/fleet.md."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from envbuild.config import PLATFORMS, REPOSITORY_EXAMPLE
from envbuild.errors import UsageError
from envbuild.fleet.model import (
    Environment,
    Fleet,
    GitSource,
    ImageSource,
    LockSource,
    Pool,
    Resources,
    Source,
    Toleration,
)
from envbuild.fleet.tables import Table, read_table
from envbuild.fleet.values import (
    byte_count,
    core_count,
    dns_label,
    is_dns_label,
    is_dns_subdomain,
    is_label_key,
    is_label_value,
    seconds,
)
from envbuild.image.reference import is_repository_name, parse_reference
from envbuild.source.git_address import check_ref, git_address
from envbuild.source.text import quote

__all__ = ["read_fleet"]

_FLEET = ("name", "registry", "namespace", "pull-secrets")
_POOL = ("selector", "tolerations", "platform", "gpu", "disk", "keep-previous")
_ENVIRONMENT = (
    *("image", "lock", "git", "ref", "subdir", "display-name", "description", "default", "launches"),
    *("pools", "cpu", "memory", "gpu", "node-selector", "tolerations", "idle-timeout"),
    *("users", "groups", "variables"),
)
_OPERATORS = ("Equal", "Exists")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_MOST_GPUS = 64
_MOST_LAUNCHES = 10**9
_LONGEST_TITLE, _LONGEST_DESCRIPTION, _LONGEST_NAME = 200, 4000, 255


def read_fleet(path: Path) -> Fleet:
    """The fleet that the file ``path`` describes.

    Nothing else is opened: neither locks nor repositories nor images need to be there.

    Raises:
        UsageError: it cannot be read, or something in it is wrong: with file, line and remedy.
    """
    root = read_table(path)
    if path.suffix == ".lock":
        raise root.error(
            "this name is for pins", code="bad-fleet-name", remedy="give the fleet file, like fleet.toml"
        )
    root.only("fleet", "pools", "environments")
    head = root.table("fleet")
    if head is None or "name" not in head.data:
        raise (head or root).error(
            "the fleet has no name", code="no-fleet-name", remedy='write name = "..." below [fleet]'
        )
    head.only(*_FLEET)
    pools = tuple(_pool(name, table) for name, table in _named(root, "pools"))
    environments = tuple(
        _environment(name, table, pools, path.parent) for name, table in _named(root, "environments")
    )
    if not environments:
        raise root.error(
            "there is no environment in it", code="no-environments", remedy="write [environments.NAME]"
        )
    registry = head.text("registry", _image_repository)
    _check_together(root, environments, registry)
    return Fleet(
        name=head.text("name", _label) or "",
        path=path,
        environments=environments,
        pools=pools,
        registry=registry,
        namespace=head.text("namespace", _label) or "default",
        pull_secrets=head.texts("pull-secrets", _secret_name),
    )


def _named(root: Table, key: str) -> list[tuple[str, Table]]:
    """The tables of ``key``; their names are DNS labels, and different ones."""
    found = list(root.tables(key))
    by_label: dict[str, str] = {}
    for name, table in found:
        label = dns_label(name)
        if label in by_label and label:
            raise table.error(
                f"{quote(name)} and {quote(by_label[label])} (line {root.line(key, by_label[label])}) "
                "are the same name",
                code="duplicate-name",
                remedy="rename one of them",
            )
        by_label[label] = name
    for name, table in found:
        if not is_dns_label(name):
            raise table.error(
                f"{quote(name)} cannot be a name: it must be lower-case letters, digits and hyphens, "
                "63 at most",
                code="bad-fleet-name",
                remedy=f"write [{key}.{dns_label(name)}]" if dns_label(name) else "choose another name",
            )
    return found


def _check_together(root: Table, environments: tuple[Environment, ...], registry: str | None) -> None:
    """What no environment can know by itself."""
    defaults = [environment.name for environment in environments if environment.default]
    if len(defaults) > 1:
        raise root.error(
            f"both {defaults[0]} (line {root.line('environments', defaults[0], 'default')}) and "
            f"{defaults[1]} are the default",
            *("environments", defaults[1], "default"),
            code="two-defaults",
            remedy="keep one default = true",
        )
    built = next((one for one in environments if not isinstance(one.source, ImageSource)), None)
    if built is not None and registry is None:
        raise root.error(
            f"{built.name} has to be built, and there is no registry to keep it in",
            *("environments", built.name),
            code="no-registry",
            remedy=f'write registry = "{REPOSITORY_EXAMPLE}" below [fleet]',
        )


def _pool(name: str, table: Table) -> Pool:
    table.only(*_POOL)
    return Pool(
        name=name,
        selector=table.pairs("selector", _check_label),
        tolerations=_tolerations(table),
        platform=table.text("platform", _platform) or PLATFORMS[0],
        gpu=table.text("gpu", _extended_resource),
        disk=table.text("disk", byte_count, what='a size, like "100 GB",'),
        keep_previous=table.switch("keep-previous"),
    )


def _environment(name: str, table: Table, pools: tuple[Pool, ...], folder: Path) -> Environment:
    table.only(*_ENVIRONMENT)
    source = _source(table, folder)
    names = table.texts("pools", lambda text: _pool_name(text, pools))
    resources = _resources(table)
    if resources.gpu and not any(pool.gpu for pool in pools if pool.name in names):
        raise table.error(
            f"{name} wants a GPU, and none of its pools has any",
            "gpu",
            code="gpu-without-pool",
            remedy='give it a pool that has gpu = "nvidia.com/gpu" (or what its nodes call theirs)',
        )
    return Environment(
        name=name,
        source=source,
        display_name=table.text("display-name", _title) or name,
        description=table.text("description", _description) or "",
        pools=names,
        resources=resources,
        node_selector=table.pairs("node-selector", _check_label),
        tolerations=_tolerations(table),
        idle_timeout=table.text("idle-timeout", seconds, what='a length of time, like "1 h",'),
        users=table.texts("users", _account),
        groups=table.texts("groups", _account),
        default=table.switch("default"),
        launches=table.number("launches", _MOST_LAUNCHES),
        variables=table.pairs("variables", _check_variable),
    )


def _source(table: Table, folder: Path) -> Source:
    given = [key for key in ("image", "lock", "git") if key in table.data]
    if len(given) != 1:
        what = "nothing says what it is" if not given else f"it has {' and '.join(given)}"
        raise table.error(
            f"{table.title}: {what}",
            *given[1:2],
            code="not-one-source",
            remedy="write one of image, lock and git",
        )
    for key in ("ref", "subdir"):
        if key in table.data and given != ["git"]:
            raise table.wrong(key, "goes only with git", remedy=f"remove {key}")
    if given == ["image"]:
        reference = table.text("image", parse_reference)
        assert reference is not None
        return ImageSource(reference)
    if given == ["lock"]:
        path = table.text("lock", _lock_path)
        assert path is not None
        return LockSource(folder / path)
    url = table.text("git", _git_url)
    assert url is not None
    return GitSource(url, table.text("ref", check_ref) or "HEAD", table.text("subdir", _subdirectory) or "")


def _resources(table: Table) -> Resources:
    cpu: dict[str, float | None] = {"request": None, "limit": None}
    memory: dict[str, int | None] = {"request": None, "limit": None}
    for key in ("cpu", "memory"):
        if key in table.data and not isinstance(table.data[key], dict):
            example = "4" if key == "cpu" else '"4 GB"'
            raise table.wrong(key, "must be a table", remedy=f"write {key} = {{ limit = {example} }}")
    if (inner := table.table("cpu")) is not None:
        inner.only("request", "limit")
        cpu = {key: inner.value(key, core_count) for key in cpu}
    if (inner := table.table("memory")) is not None:
        inner.only("request", "limit")
        memory = {key: inner.text(key, byte_count, what='a size, like "4 GB",') for key in memory}
    resources = Resources(
        cpu["request"], cpu["limit"], memory["request"], memory["limit"], table.number("gpu", _MOST_GPUS)
    )
    for key, request, limit in (
        ("cpu", resources.cpu_request, resources.cpu_limit),
        ("memory", resources.memory_request, resources.memory_limit),
    ):
        if request is not None and limit is not None and request > limit:
            raise table.wrong(key, "requests more than its limit", "request", remedy="request less")
    return resources


def _tolerations(table: Table) -> tuple[Toleration, ...]:
    found = []
    for element in table.elements("tolerations"):
        element.only("key", "operator", "value", "effect")
        toleration = Toleration(
            key=element.text("key", _label_key) or "",
            operator=element.text("operator", _one_of(_OPERATORS)) or "Equal",
            value=element.text("value", _label_value) or "",
            effect=element.text("effect", _one_of(_EFFECTS)) or "",
        )
        if toleration.operator == "Exists" and toleration.value:
            raise element.wrong("value", "goes only with the operator Equal", remedy="remove value")
        if toleration.operator == "Equal" and not toleration.key:
            raise element.error(
                "a toleration without a key tolerates everything",
                code="bad-fleet-value",
                remedy='write key = "...", or operator = "Exists" if everything is meant',
            )
        found.append(toleration)
    return tuple(found)


def _pool_name(text: str, pools: tuple[Pool, ...]) -> str:
    known = [pool.name for pool in pools]
    if text not in known:
        near = difflib.get_close_matches(text, known, n=1)
        raise UsageError(
            f"there is no pool {quote(text)}",
            code="unknown-pool",
            remedy=f"did you mean {near[0]!r}?" if near else f"add [pools.{dns_label(text) or 'NAME'}]",
        )
    return text


def _label(text: str) -> str:
    if not is_dns_label(text):
        raise ValueError("must be lower-case letters, digits and hyphens, 63 at most")
    return text


def _secret_name(text: str) -> str:
    if not is_dns_subdomain(text):
        raise ValueError("cannot be the name of a Kubernetes secret")
    return text


def _image_repository(text: str) -> str:
    if not is_repository_name(text):
        raise ValueError(f"must be a repository in a registry, like {REPOSITORY_EXAMPLE}")
    return text


def _platform(text: str) -> str:
    if text not in PLATFORMS:
        raise ValueError(f"must be one of {', '.join(PLATFORMS)}")
    return text


def _extended_resource(text: str) -> str:
    if "/" not in text or not is_label_key(text):
        raise ValueError('must be the name of a resource, like "nvidia.com/gpu"')
    return text


def _label_key(text: str) -> str:
    if not is_label_key(text):
        raise ValueError("cannot be the key of a label in Kubernetes")
    return text


def _label_value(text: str) -> str:
    if not is_label_value(text):
        raise ValueError("cannot be the value of a label in Kubernetes")
    return text


def _check_label(key: str, value: str) -> None:
    _label_key(key)
    if not is_label_value(value):
        raise ValueError(f"is {quote(value)} and cannot be the value of a label in Kubernetes")


def _check_variable(name: str, value: str) -> None:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("cannot be the name of a variable")
    if name.upper().startswith(("JUPYTERHUB_", "ENVBUILD_")):
        raise ValueError("is set by the hub or by envbuild")
    if "\0" in value:
        raise ValueError("holds a NUL")


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return read


def _title(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > _LONGEST_TITLE:
        raise ValueError(f"must be one line of at most {_LONGEST_TITLE} printable characters")
    return text


def _description(text: str) -> str:
    if not text.replace("\n", "").replace("\t", "").isprintable() or len(text) > _LONGEST_DESCRIPTION:
        raise ValueError(f"must be text of at most {_LONGEST_DESCRIPTION} printable characters")
    return text


def _account(text: str) -> str:
    if not text or text != text.strip() or not text.isprintable() or len(text) > _LONGEST_NAME:
        raise ValueError("cannot be the name of a user or a group")
    return text


def _lock_path(text: str) -> Path:
    if not text.isprintable() or not text.endswith(".lock"):
        raise ValueError('must be the path of a lock, like "analysis/envbuild.lock"')
    return Path(text)


def _git_url(text: str) -> str:
    address = git_address(text)
    if address.user or address.password:
        raise UsageError(
            f"{quote(text)} holds a name or a password",
            code="credentials-in-fleet",
            remedy=f"write {address.url}, change the password, and give it where the build runs",
        )
    return address.url


def _subdirectory(text: str) -> str:
    path = PurePosixPath(text)
    if not text.isprintable() or path.is_absolute() or ".." in path.parts:
        raise ValueError("must be a directory in the repository")
    return "" if str(path) == "." else str(path)
