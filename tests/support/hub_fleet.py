"""Two small environments that differ in a package, in a registry, and the fleet file that offers them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from envbuild.fleet.model import Pin
from envbuild.fleet.pins import read_pins, write_pins
from envbuild.fleet.read import read_fleet
from envbuild.image.reference import parse_reference
from tests.support.programs import Envbuild

__all__ = ["HubFleet", "hub_fleet"]

_CELLS = (
    "import os, tabulate\ntabulate.__version__",
    "import importlib.util\nimportlib.util.find_spec('colorama') is not None",
    "open(os.path.expanduser('~/notes.txt'), 'a').write('.') and os.environ['TITLE']",
)

# `course` is for everybody, `lab` only for ada; what is said about them is meant to break pages and files.
_FLEET = """\
[fleet]
name = "science"

[pools.main]
selector = {{ pool = "pool2" }}
tolerations = [{{ key = "pool.example.org/reserved", operator = "Exists" }}]

[environments.course]
pools = ["main"]
image = "{registry}/hub/course:1"
display-name = "Course \\"1\\" <b>{{{{ 7 * 7 }}}}</b>"
description = '''
It's for {{everybody}}: <script>document.title = "broken"</script>
{{% raw %}} \\''''
default = true
memory = {{ request = "128 MiB", limit = "1 GB" }}
cpu = {{ request = 0.1, limit = 2 }}
idle-timeout = "1 h"
variables = {{ TITLE = "${{{{HOME}}}} $(HOME) {{username}} 'x'" }}

[environments.lab]
pools = ["main"]
image = "{registry}/hub/lab:1"
display-name = "Lab"
users = ["Ada"]
groups = ["staff"]
memory = {{ limit = "1 GB" }}
variables = {{ TITLE = "lab" }}
"""
TITLE = "${{HOME}} $(HOME) {username} 'x'"


@dataclass(frozen=True, slots=True)
class HubFleet:
    """The fleet file ``path``; ``images`` are digests in a registry: ``course``, ``lab`` and ``newer``,
    which is another version of ``course``."""

    envbuild: Envbuild
    path: Path
    images: dict[str, str]

    def pin(self, **images: str) -> None:
        """Make environments of the fleet these images."""
        fleet = read_fleet(self.path)
        pins = dict(read_pins(fleet))
        pins |= {name: Pin(name, parse_reference(image)) for name, image in images.items()}
        write_pins(fleet, pins)

    def configuration(self, form: str) -> str:
        """What ``envbuild hub config`` writes."""
        output = self.path.with_name(f"{form}.out")
        self.envbuild.document("hub", "config", self.path, "--format", form, "--output", output)
        return output.read_text("utf-8")


def hub_fleet(envbuild: Envbuild, registry: str, directory: Path) -> HubFleet:
    """Build and push the images, and write the files, below ``directory``."""
    wanted = {
        "course": ("tabulate==0.9.0",),
        "lab": ("tabulate==0.9.0", "colorama"),
        "newer": ("tabulate==0.10.0",),
    }
    images = {}
    for name, requirements in wanted.items():
        repository = directory / name
        repository.mkdir(parents=True)
        (repository / "requirements.txt").write_text("".join(f"{one}\n" for one in requirements))
        metadata = {"kernelspec": {"name": "course", "display_name": "Course", "language": "python"}}
        cells = [new_code_cell(source, id=f"c{number}") for number, source in enumerate(_CELLS)]
        nbformat.write(new_notebook(cells=cells, metadata=metadata), repository / "check.ipynb")
        image = f"{registry}/hub/{name}"
        arguments = ("build", repository, "--platform", "linux/amd64", "--compression", "gzip")
        document = envbuild.document(*arguments, "--tag", f"{image}:1", "--push")
        images[name] = f"{image}@{document['digest']}"
    path = directory / "fleet.toml"
    path.write_text(_FLEET.format(registry=registry))
    fleet = HubFleet(envbuild, path, images)
    fleet.pin(course=images["course"], lab=images["lab"])
    return fleet
