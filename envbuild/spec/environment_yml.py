"""``environment.yml``: what conda is asked for, and what pip on top of that.

https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-environments.html
"""

from __future__ import annotations

from dataclasses import dataclass, field

from envbuild.source import Repo, printable
from envbuild.source.text import quote
from envbuild.spec.channel import DEFAULTS, hide_token, read_channel
from envbuild.spec.findings import Findings
from envbuild.spec.match_spec import name_of, parse_match_spec, python_specifier
from envbuild.spec.model import CondaRequest, PythonRequest, Requirement
from envbuild.spec.requirements import Requirements, read_lines
from envbuild.spec.selectors import leave_out_other_platforms
from envbuild.spec.variables import read_variables
from envbuild.spec.yaml_file import Node, parse_yaml

__all__ = ["CondaEnvironment", "add_spec", "read_environment_yml"]

_FILE_LIMIT = 1 << 20
COMMUNITY = "conda-forge"
# conda's own names of environments say nothing about a project.
_NO_NAMES = frozenset({"base", "root"})
_KNOWN = frozenset({"name", "channels", "dependencies", "prefix", "variables", "platforms", "category"})


@dataclass(slots=True)
class CondaEnvironment:
    """What a file asks of conda and of pip. ``channels`` are in order of priority."""

    file: str
    name: str | None = None
    channels: list[str] = field(default_factory=list)
    packages: list[Requirement] = field(default_factory=list)
    python: PythonRequest | None = None
    pip: Requirements = field(default_factory=Requirements)
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def request(self) -> CondaRequest:
        """The part that is conda's."""
        return CondaRequest(
            self.file, tuple(dict.fromkeys(self.channels)), tuple(self.packages), self.variables
        )


def read_environment_yml(repo: Repo, path: str, findings: Findings) -> CondaEnvironment:
    """Read ``environment.yml``; mistakes in single entries become problems in ``findings``.

    Raises:
        RepoError: it cannot be read as a whole.
    """
    file = printable(path)
    root = parse_yaml(leave_out_other_platforms(repo.read(path, _FILE_LIMIT), file, findings), file)
    table = root.table("environment.yml")
    environment = CondaEnvironment(file)
    for key, node in table.items():
        if key not in _KNOWN:
            findings.warning(
                "unknown-key", f"{quote(key)} is not followed: conda does not know it", node.file, node.line
            )
    if "name" in table and table["name"].value is not None:
        name = table["name"].text("name")
        environment.name = None if name in _NO_NAMES else name
    _read_channels(table.get("channels"), environment, findings)
    if "dependencies" not in table:
        raise root.error(
            "there are no `dependencies`",
            code="bad-environment-yml",
            remedy="list what the environment has, for example `dependencies: [python=3.12]`",
        )
    for node in table["dependencies"].items("dependencies"):
        if isinstance(node.value, dict):
            _read_pip(repo, path, node, environment, findings)
        else:
            add_spec(environment, node.text("a dependency"), node.line, findings)
    if "variables" in table:
        environment.variables = read_variables(table["variables"].table("variables"), findings)
    _name_the_rest(table, findings)
    return environment


def _read_channels(node: Node | None, environment: CondaEnvironment, findings: Findings) -> None:
    only_these = False
    for item in node.items("channels") if node else ():
        text = item.text("a channel")
        channel = read_channel(text)
        if text == "nodefaults":
            only_these = True
        elif text == "defaults":
            environment.channels += DEFAULTS
        elif channel is not None:
            environment.channels.append(channel)
        else:
            findings.error(
                "bad-channel",
                f"{quote(hide_token(text))} is not a channel's name or http(s) address without credentials",
                item.file,
                item.line,
                "write a name (conda-forge) or an address; credentials belong into your own configuration",
            )
    if not only_these and COMMUNITY not in environment.channels:
        environment.channels.append(COMMUNITY)
        findings.note(
            "channel-added",
            f"{COMMUNITY} is asked last, as on Binder",
            environment.file,
            node.line if node else None,
            "add the channel `nodefaults` to have no others",
        )


def add_spec(environment: CondaEnvironment, text: str, line: int | None, findings: Findings) -> None:
    """Add one MatchSpec; ``environment.python`` is what one for ``python`` says."""
    spec = parse_match_spec(text)
    if spec is None:
        findings.error(
            "bad-conda-spec",
            f"{quote(text)} is not a conda package with a version",
            environment.file,
            line,
            "write `name`, `name=1.2`, `name>=1.2,<2` or `channel::name`",
        )
        return
    if any(spec.name == name_of(known.text) for known in environment.packages):
        findings.warning("named-twice", f"{spec.name} is there more than once", environment.file, line)
    environment.packages.append(Requirement(spec.text, environment.file, line))
    if spec.channel is not None and spec.channel not in environment.channels:
        environment.channels.append(spec.channel)
    if spec.name == "python" and (specifier := python_specifier(spec.version)):
        environment.python = PythonRequest(specifier, environment.file, line)


def _read_pip(repo: Repo, path: str, node: Node, environment: CondaEnvironment, findings: Findings) -> None:
    for key, value in node.table("a dependency").items():
        if key != "pip":
            findings.error(
                "bad-conda-spec",
                f"{quote(key)} is not a section of dependencies; `pip` is",
                value.file,
                value.line,
            )
            continue
        lines = [(item.line, item.text("a requirement")) for item in value.items("pip")]
        environment.pip = read_lines(repo, path, lines, findings)


def _name_the_rest(table: dict[str, Node], findings: Findings) -> None:
    """Say what becomes of the parts that do not choose packages."""

    def say(key: str, message: str) -> None:
        if key in table and table[key].value not in (None, [], {}):
            findings.note("not-followed", f"{key}: {message}", table[key].file, table[key].line)

    say("prefix", "the environment is always at /srv/env in the image")
    say("platforms", "the platforms are chosen when locking (--platform)")
    say("category", "there is one environment")
