"""``pixi.toml``, and ``[tool.pixi]`` of ``pyproject.toml``: the default environment.

https://pixi.sh/latest/reference/pixi_manifest/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envbuild.source import Repo
from envbuild.source.text import quote
from envbuild.spec.channel import hide_token, read_channel
from envbuild.spec.environment_yml import CondaEnvironment, add_spec
from envbuild.spec.findings import Findings
from envbuild.spec.requirements import read_lines
from envbuild.spec.toml_file import TomlFile

__all__ = ["read_pixi"]

_TABLES = ("dependencies", "host-dependencies", "build-dependencies")
_KNOWN = frozenset(
    {
        *_TABLES,
        *("workspace", "project", "pypi-dependencies", "target", "feature", "environments", "activation"),
        *("tasks", "package", "pypi-options", "dev", "system-requirements", "$schema"),
    }
)
_SELECTORS = frozenset({"linux", "unix", "linux-64", "linux-aarch64"})


def read_pixi(
    repo: Repo, path: str, file: TomlFile, table: Mapping[str, Any], findings: Findings
) -> CondaEnvironment:
    """What the manifest ``table`` (a whole ``pixi.toml``, or ``tool.pixi``) of ``file`` asks for.

    Mistakes become problems in ``findings``.
    """
    return _Reader(repo, path, file, findings).read(table)


class _Reader:
    def __init__(self, repo: Repo, path: str, file: TomlFile, findings: Findings) -> None:
        self._repo = repo
        self._path = path
        self._file = file
        self._findings = findings
        self._environment = CondaEnvironment(file.path)

    def read(self, table: Mapping[str, Any]) -> CondaEnvironment:
        workspace = self._table(table, "workspace") or self._table(table, "project")
        name = workspace.get("name")
        self._environment.name = name if isinstance(name, str) else None
        self._channels(workspace.get("channels", []))
        for key in _TABLES:
            self._dependencies(self._table(table, key))
        lines = self._pypi(self._table(table, "pypi-dependencies"))
        self._environment.pip = read_lines(self._repo, self._path, lines, self._findings)
        for selector, specific in self._table(table, "target").items():
            if selector in _SELECTORS and specific:
                self._wrong("not-supported", f"packages for {selector} alone are not supported", selector)
        for key in ("feature", "environments"):
            for name in self._table(table, key):
                if name != "default":
                    self._say(f"{key} {quote(name)} is left out: the default environment is used", name)
        if self._table(table, "activation"):
            self._say("activation is not followed: set variables in `start` or in the notebook", "activation")
        for key in sorted(set(table) - _KNOWN):
            self._findings.warning(
                "unknown-key", f"{quote(key)} is not followed", self._file.path, self._file.line_of_key(key)
            )
        return self._environment

    def _table(self, table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        value = table.get(key, {})
        if isinstance(value, dict):
            return value
        self._wrong("bad-pixi", f"{key} must be a table", key)
        return {}

    def _channels(self, channels: object) -> None:
        found = []
        for item in channels if isinstance(channels, list) else ():
            text = item.get("channel") if isinstance(item, dict) else item
            priority = item.get("priority", 0) if isinstance(item, dict) else 0
            channel = read_channel(text) if isinstance(text, str) else None
            if channel is None or not isinstance(priority, int):
                shown = quote(hide_token(str(text)))
                self._wrong("bad-channel", f"{shown} is not a channel's name or address", "channels")
            else:
                found.append((-priority, channel))
        self._environment.channels += [channel for _, channel in sorted(found, key=lambda item: item[0])]
        if not self._environment.channels:
            self._wrong("bad-pixi", "there are no channels", "channels")

    def _dependencies(self, table: Mapping[str, Any]) -> None:
        for name, value in table.items():
            fields = value if isinstance(value, dict) else {"version": value}
            unknown = set(fields) - {"version", "build", "channel"}
            texts = {key: fields.get(key, "") for key in ("version", "build", "channel")}
            if unknown or not all(isinstance(text, str) for text in texts.values()):
                self._wrong(
                    "bad-conda-spec", f"{quote(name)} selects by more than version, build and channel", name
                )
                continue
            spec = f"{name} {texts['version'].replace(' ', '') or '*'} {texts['build']}".strip()
            if texts["channel"]:
                spec = f"{texts['channel']}::{spec}"
            add_spec(self._environment, spec, self._file.line_of_key(name), self._findings)

    def _pypi(self, table: Mapping[str, Any]) -> list[tuple[int, str]]:
        """The requirement lines that entries of ``pypi-dependencies`` stand for."""
        lines = []
        for name, value in table.items():
            fields = value if isinstance(value, dict) else {"version": value}
            text = self._requirement(name, fields)
            if text is None or "\n" in text:
                self._wrong("bad-requirement", f"{quote(name)} is not a requirement pixi has", name)
            else:
                lines.append((self._file.line_of_key(name) or 1, text))
        return lines

    def _requirement(self, name: str, fields: Mapping[str, Any]) -> str | None:
        values = {key: value for key, value in fields.items() if isinstance(value, str)}
        extras = fields.get("extras", [])
        if not isinstance(extras, list) or not all(isinstance(extra, str) for extra in extras):
            return None
        head = f"{name}[{','.join(extras)}]" if extras else name
        if "path" in values:
            line = values["path"] if values["path"].startswith(".") else f"./{values['path']}"
            return f"-e {line}" if fields.get("editable") else line
        if "git" in values:
            revision = values.get("rev") or values.get("tag") or values.get("branch")
            folder = f"#subdirectory={values['subdirectory']}" if "subdirectory" in values else ""
            url = values["git"] if values["git"].startswith("git+") else f"git+{values['git']}"
            return f"{head} @ {url}{f'@{revision}' if revision else ''}{folder}"
        if "url" in values:
            return f"{head} @ {values['url']}"
        version = values.get("version")
        if version is None or set(fields) - {"version", "extras", "index"}:
            return None
        return head if version == "*" else f"{head}{version if version[:1] in '<>=!~' else f'=={version}'}"

    def _wrong(self, code: str, message: str, key: str) -> None:
        self._findings.error(code, message, self._file.path, self._file.line_of_key(key))

    def _say(self, message: str, key: str) -> None:
        self._findings.note("not-followed", message, self._file.path, self._file.line_of_key(key))
