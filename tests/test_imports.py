"""The order of the rooms, and what starting up costs."""

from __future__ import annotations

import ast
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "envbuild"

# Every room may import those before it, and itself. The models of spec and lock are data that may be known
# further left than the rooms that fill them.
ROOMS = (
    "certificates",
    "errors",
    "quantities",
    "generated",
    "progress",
    "pack.recipe",
    "fingerprint.program",
    "store",
    "source",
    "observation",
    "audit",
    "metrics",
    "network",
    "kernel",
    "spec.model",
    "lock.model",
    "spec",
    "layers",
    "plan",
    "pack.deb",
    "fetch",
    "contents",
    "junit",
    "base",
    "pack.tar",
    "pack",
    "image",
    "registry",
    "engine",
    "registry_base",
    "sandbox",
    "apt",
    "lock",
    "builder",
    "backend",
    "drift",
    "notebook",
    "outputs",
    "launch",
    "fingerprint",
    "post_build",
    "build",
    "inspection",
    "attest",
    "pull",
    "proof",
    "report",
    "check",
    "conformance",
    "up",
    "config",
    "cluster",
    "fleet",
    "hub",
    "warm",
    "jobs",
    "probe",
    "startup.recorder",
    "startup",
    "doctor",
    "cli",
    "binder",
    "__main__",
)

HEAVY = (
    "httpx",
    "docker",
    "rich",
    "uv",
    "installer",
    "pysequoia",
    "zstandard",
    "zlib_ng",
    "tomli_w",
    "tomlkit",
    "cryptography",
    "nacl",
    "PIL",
    "detect_secrets",
    "kubernetes",
    "prometheus_client",
)


def _room(module: str) -> str:
    """The room of ``envbuild.<module>``: the longest entry of ROOMS that it is or lies in."""
    fitting = [room for room in ROOMS if module == room or module.startswith(room + ".")]
    assert fitting, f"envbuild.{module} is in no room: add it to ROOMS"
    return max(fitting, key=len)


@functools.cache
def _modules() -> dict[str, None]:
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        names.append(".".join(part for part in parts if part != "__init__"))
    return dict.fromkeys(name for name in names if name)


def _imports(module: str) -> Iterator[tuple[int, str]]:
    """``(line, envbuild module)`` of every import in ``module``, wherever in the file it is."""
    path = PACKAGE.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            base = node.module or ""
            for alias in node.names:
                submodule = f"{base}.{alias.name}".removeprefix("envbuild.")
                names.append(f"{base}.{alias.name}" if submodule in _modules() else base)
        for name in names:
            if name.startswith("envbuild."):
                yield node.lineno, name.removeprefix("envbuild.")


@pytest.mark.parametrize("module", _modules())
def test_rooms_import_only_what_is_left_of_them(module: str) -> None:
    here = ROOMS.index(_room(module))

    wrong = [f"line {line}: {name}" for line, name in _imports(module) if ROOMS.index(_room(name)) > here]

    assert [] == wrong


def _loaded(
    *lines: tuple[str, ...], environment: dict[str, str] | None = None
) -> dict[tuple[str, ...], set[str]]:
    """The modules in memory after running each of these command lines, which know nothing of each other."""
    program = (
        "import json, os, sys\n"
        "from envbuild.cli.main import run\n"
        "for line in json.loads(sys.argv[1]):\n"
        "    if os.fork():\n"  # a process of its own; starting each from nothing takes ten times as long
        "        if os.wait()[1]: sys.exit(f'{line} failed')\n"
        "        continue\n"
        "    code = run(line)\n"
        "    print('\\n'.join(['', 'MODULES', *sys.modules, 'END']), flush=True)\n"
        "    os._exit(code)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, json.dumps(lines)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
        env={**os.environ, **(environment or {})},
    )
    found = [part.partition("\nEND\n")[0] for part in result.stdout.split("\nMODULES\n")[1:]]
    return {line: set(modules.split("\n")) for line, modules in zip(lines, found, strict=True)}


VERBS = (
    *("plan", "lock", "build", "push", "pull", "up", "run", "kernel", "inspect", "diff", "verify"),
    *("verify-image",),
    *("fingerprint", "check", "sbom", "report", "attest", "cache", "base", "doctor"),
    *("hub", "warm", "probe", "serve-metrics"),
)


@functools.cache
def _loaded_by_help() -> dict[tuple[str, ...], set[str]]:
    return _loaded(("--help",), *((verb, "--help") for verb in VERBS))


@pytest.mark.parametrize("verb", [*VERBS, None])
def test_help_imports_nothing_heavy(verb: str | None) -> None:
    loaded = _loaded_by_help()["--help",] if verb is None else _loaded_by_help()[verb, "--help"]

    assert "envbuild.cli.main" in loaded
    assert set() == {name for name in HEAVY if name in loaded}


def test_help_of_one_verb_imports_no_other() -> None:
    loaded = _loaded_by_help()["plan", "--help"]

    assert {"envbuild.cli.plan"} == {
        f"envbuild.cli.{verb}"
        for verb in ("plan", "lock", "build", "up", "run")
        if f"envbuild.cli.{verb}" in loaded
    }


def test_plan_loads_nothing_to_talk_or_show_with(tmp_path: Path) -> None:
    """What a build needs no more than plan does, it must not pay for when everything is cached."""
    (tmp_path / "requirements.txt").write_text("numpy\n")

    line = ("plan", str(tmp_path), "--quiet")
    loaded = _loaded(line, environment={"ENVBUILD_CACHE_DIR": str(tmp_path / "cache")})[line]

    assert set() == loaded & {"httpx", "httpcore", "docker", "rich", "pysequoia"}
