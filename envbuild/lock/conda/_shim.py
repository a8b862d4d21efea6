"""What conda-lock calls as ``conda``: py-rattler solves, for any platform, and nothing is installed.

A program of its own (:mod:`envbuild.lock.conda.process` starts it through conda-lock). conda-lock wants the
answer of ``conda create --dry-run --json`` on standard output. What that leaves out (sizes, builds), and why
there is no solution, goes into files beside the request, whose path is in ``$ENVBUILD_CONDA_REQUEST``.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from rattler import (
    BuildString,
    Channel,
    Gateway,
    GenericVirtualPackage,
    MatchSpec,
    PackageName,
    RepoDataRecord,
    SourceConfig,
    Subdir,
    Version,
    solve,
)
from rattler.exceptions import GatewayError, SolverError

_FIELDS = ("name", "version", "build", "build_number", "subdir", "noarch", "depends", "md5", "sha256", "size")
_PLACE = "python_site_packages_path"


class _Question:
    """One solve. ``request`` is what :mod:`envbuild.lock.conda.process` wrote."""

    def __init__(self, request: dict[str, Any], subdir: str) -> None:
        self.addresses: dict[str, str] = request["channels"]
        self.optional: list[str] = request["optional"]
        self.preferred: list[str] = request["preferred"].get(subdir, [])
        self.platforms = [Subdir(subdir), Subdir("noarch")]
        self.virtual = [
            GenericVirtualPackage(PackageName(name), Version(version), BuildString(build))
            for name, version, build in request["virtual"][subdir]
        ]
        newer = request["exclude_newer"]
        self.exclude_newer = datetime.fromisoformat(newer) if newer else None
        action = "force-cache-only" if request["offline"] else "cache-or-fetch"
        config = SourceConfig(cache_action=action)  # type: ignore[arg-type]
        self.gateway = Gateway(cache_dir=Path(request["cache"]), default_config=config)
        self.channels = [Channel(address) for address in self.addresses.values()]

    async def answer(self, specs: list[str]) -> list[RepoDataRecord]:
        """The records for ``specs``.

        Raises:
            _Without: there is an answer only without some of the optional packages.
        """
        left = [spec for spec in specs if _name(spec) not in self.optional]
        if left != specs:
            there = set(await self._names())
            absent = [name for name in self.optional if name not in there]
            if any(_name(spec) in absent for spec in specs):
                raise _Without(absent)
        try:
            return await self._solve(specs)
        except SolverError:
            if left == specs:
                raise
            await self._solve(left)  # raises the error that is not about what nobody asked for
            raise _Without(self.optional) from None

    async def _names(self) -> list[str]:
        result = await self.gateway.names(self.channels, self.platforms, channel_relations="disabled")
        return [getattr(name, "normalized", str(name)) for name in result.names]

    async def _solve(self, specs: list[str]) -> list[RepoDataRecord]:
        return await solve(
            self.channels,
            [self._located(spec) for spec in specs],
            gateway=self.gateway,
            platforms=self.platforms,
            virtual_packages=self.virtual,
            locked_packages=await self._locked(),
            exclude_newer=self.exclude_newer,
            timestamp_policy="allow-missing",
            channel_relations="disabled",
        )

    async def _locked(self) -> list[RepoDataRecord]:
        """The records of the previous lock that the channels still have."""
        if not self.preferred:
            return []
        found = await self.gateway.query(
            self.channels, self.platforms, self.preferred, recursive=False, channel_relations="disabled"
        )
        return [record for records in found for record in records]

    def _located(self, spec: str) -> MatchSpec:
        """``spec`` with its channel's address for its name: by itself rattler knows no mirrors."""
        channel, separator, rest = spec.rpartition("::")
        return MatchSpec(f"{self.addresses[channel]}::{rest}" if separator else spec)

    def identity(self, record: RepoDataRecord) -> str:
        """The channel ``record`` is from."""
        base = _bare(str(record.url).rsplit("/", 2)[0])
        return next(name for name, address in self.addresses.items() if _bare(address) == base)


class _Without(Exception):
    """What cannot be in the environment; ``args[0]`` are the names."""


def _bare(url: str) -> str:
    """``url`` without credentials."""
    return re.sub(r"(?<=[^/])/t/[^/]+(?=/)", "", re.sub(r"//[^/]*@", "//", url)).rstrip("/")


def _name(spec: str) -> str:
    return re.split(r"[ =<>!~\[]", spec.rpartition("::")[2], maxsplit=1)[0]


def _record(question: _Question, record: RepoDataRecord) -> dict[str, Any]:
    known = json.loads(record.to_json())
    fields = {name: known.get(name) for name in _FIELDS}
    filename = str(record.url).rsplit("/", 1)[1]
    purls = known.get("purls") or []
    return {
        **fields,
        "filename": filename,
        "channel": question.identity(record),
        "purls": sorted(purls),
        _PLACE: known.get(_PLACE),
    }


def _action(row: dict[str, Any]) -> dict[str, Any]:
    """A row as conda-lock wants it: channels that have only a name are where they usually are."""
    channel = row["channel"]
    base = channel if "://" in channel else f"https://conda.anaconda.org/{channel}"
    url = f"{base}/{row['subdir']}/{row['filename']}"
    return {**row, "fn": row["filename"], "url": url, "channel": base, "noarch": row["noarch"] or None}


def main() -> int:
    """Solve for the specs on the command line; returns the exit code."""
    path = Path(os.environ["ENVBUILD_CONDA_REQUEST"])
    subdir = os.environ["CONDA_SUBDIR"]
    arguments = sys.argv[1:]
    specs = []
    while arguments:
        argument = arguments.pop(0)
        if argument in ("--prefix", "--channel"):
            arguments.pop(0)
        elif argument != "create" and not argument.startswith("--"):
            specs.append(argument)
    try:
        question = _Question(json.loads(path.read_bytes()), subdir)
        records = asyncio.run(question.answer(specs))
    except _Without as error:
        return _fail(path, {"kind": "without", "names": error.args[0]})
    except SolverError as error:
        return _fail(path, {"kind": "unsolvable", "message": str(error), "subdir": subdir})
    except GatewayError as error:
        return _fail(path, {"kind": "channel", "message": str(error), "subdir": subdir})
    rows = [_record(question, record) for record in records]
    path.with_name(f"answer-{subdir}.json").write_text(json.dumps(rows))
    actions = [_action(row) for row in rows]
    print(json.dumps({"success": True, "actions": {"FETCH": actions, "LINK": actions}}))
    return 0


def _fail(path: Path, reason: dict[str, Any]) -> int:
    path.with_name("failure.json").write_text(json.dumps(reason))
    print(json.dumps({"success": False, "message": reason["kind"]}))
    return 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # py-rattler's own threads can abort the interpreter while it ends, after all is done.
    os._exit(code)
