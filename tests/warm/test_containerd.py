"""containerd, as far as it can be told without one: a program ``ctr`` that says what it is told to say."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from envbuild.errors import MachineError
from envbuild.warm.containerd import Containerd
from envbuild.warm.engines import KeptImage
from tests.support.servers import scratch_directory

_A, _B, _ID = (f"sha256:{digit * 64}" for digit in "abc")
_OURS = f"registry.example.org/lab/a@{_A}"
_TYPE = "application/vnd.oci.image.manifest.v1+json"
_IMAGES = f"""\
REF TYPE DIGEST SIZE PLATFORMS LABELS
{_OURS} {_TYPE} {_A} 1.0 MiB linux/amd64 dev.envbuild.warm.lab=brought
{_ID} {_TYPE} {_A} 1.0 MiB linux/amd64 io.cri-containerd.image=managed
registry.example.org/their:1 {_TYPE} {_B} 1.0 MiB linux/amd64 -
"""
_CTR = """\
#!/bin/sh
cd "$(dirname "$0")"
shift 4
echo "$@" >> log
cat "$1 $2" 2>/dev/null && exit
cat "fail $1 $2" >&2
exit 1
"""


@pytest.fixture
def address() -> Iterator[str]:
    with scratch_directory() as directory, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(directory / "s"))
        listening.listen()
        yield str(directory / "s")


@pytest.fixture
def engine(tmp_path: Path, address: str) -> Callable[..., Containerd]:
    """An engine whose ``ctr`` answers to commands (``images list``) with texts; it keeps a log."""

    def make(**answers: str) -> Containerd:
        for command, answer in answers.items():
            (tmp_path / command.replace("_", " ")).write_text(answer)
        program = tmp_path / "ctr"
        program.write_text(_CTR)
        program.chmod(0o755)
        return Containerd({"PATH": f"{tmp_path}:{os.environ['PATH']}"}, address=address)

    return make


@pytest.mark.parametrize(
    ("containers", "in_use"),
    [
        ("", False),
        (f"x {_ID} io.containerd.runc.v2", True),
        (f"x {_OURS} io.containerd.runc.v2", True),
        ("x registry.example.org/their:1 io.containerd.runc.v2", False),
    ],
)
def test_only_images_with_our_label_are_ours_and_any_of_their_names_may_be_in_use(
    engine: Callable[..., Containerd], containers: str, in_use: bool
) -> None:
    made = engine(images_list=_IMAGES, containers_list=f"CONTAINER IMAGE RUNTIME\n{containers}\n")

    assert (KeptImage(_OURS, frozenset({"lab"}), in_use),) == made.kept()


def test_an_image_goes_with_the_name_that_kubernetes_gave_it(
    engine: Callable[..., Containerd], tmp_path: Path
) -> None:
    made = engine(images_list=_IMAGES, images_remove="")

    assert made.release(KeptImage(_OURS, frozenset({"lab"}), False), "lab")

    assert f"images remove --sync {_OURS} {_ID}" == (tmp_path / "log").read_text().splitlines()[-1]


def test_another_name_keeps_an_image(engine: Callable[..., Containerd], tmp_path: Path) -> None:
    made = engine(images_list=_IMAGES.replace(_B, _A), images_remove="")

    made.release(KeptImage(_OURS, frozenset({"lab"}), False), "lab")

    assert f"images remove --sync {_OURS}" == (tmp_path / "log").read_text().splitlines()[-1]


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        ("ctr: write /x: no space left on device\n", "no-space", "write /x: no space left on device"),
        ("ctr: dial: permission denied\n", "containerd-denied", "dial: permission denied"),
        ("level=info\nctr: \x1b[31mbad\n", "containerd-failed", "\\x1b[31mbad"),
        ("", "containerd-failed", "it failed and does not say why"),
    ],
)
def test_what_ctr_says_is_an_error(
    engine: Callable[..., Containerd], tmp_path: Path, said: str, code: str, message: str
) -> None:
    (tmp_path / "fail images list").write_text(said)

    with pytest.raises(MachineError) as raised:
        engine().kept()

    assert (code, f"containerd: {message}") == (raised.value.code, raised.value.message)


def test_without_a_program_or_a_daemon(engine: Callable[..., Containerd], tmp_path: Path) -> None:
    engine()
    path = {"PATH": str(tmp_path)}
    with pytest.raises(MachineError) as nobody:
        Containerd(path, address=str(tmp_path / "nothing"))
    (tmp_path / "ctr").unlink()
    with pytest.raises(MachineError) as no_program:
        Containerd(path, address=str(tmp_path / "nothing"))

    assert ("containerd-unreachable", "no-ctr") == (nobody.value.code, no_program.value.code)
