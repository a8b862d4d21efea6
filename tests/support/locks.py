"""Small locks, as values."""

from __future__ import annotations

from envbuild.lock.model import Artifact, Base, Deb, Lock, Target, Wheel

__all__ = ["PLATFORM", "small_lock", "small_wheel"]

PLATFORM = "linux/amd64"


def small_wheel(name: str, version: str, *, direct: bool = False) -> Wheel:
    """A wheel alone in its layer."""
    filename = f"{name}-{version}-py3-none-any.whl"
    artifact = Artifact(filename, "0" * 64, 1000, "pypi", f"packages/{filename}")
    return Wheel(name, version, artifact, layer=name, direct=direct)


def small_lock(*wheels: Wheel, inputs: str = "sha256:" + "2" * 64) -> Lock:
    """A lock of ``wheels`` on one deb and one package of a server, for :data:`PLATFORM`."""
    deb = Deb(
        "libc6",
        "2.36-9",
        "amd64",
        Artifact("libc6_2.36-9_amd64.deb", "1" * 64, 5, "debian", "pool/libc6_2.36-9_amd64.deb"),
    )
    return Lock(
        name="demo",
        display_name="Demo",
        inputs=inputs,
        cutoff="2026-01-01T00:00:00Z",
        kernels=(),
        recipe=1,
        resolver="uv",
        base=Base(
            recipe="python-3.11",
            suite="bookworm",
            python="3.11.2",
            glibc="2.36",
            debs={PLATFORM: (deb,)},
            date="2026-01-01T00:00:00Z",
            server={PLATFORM: (small_wheel("jupyterlab", "4.0"),)},
        ),
        targets=(Target(PLATFORM, wheels),),
    )
