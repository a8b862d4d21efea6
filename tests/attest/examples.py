"""A lock with a package of every kind, and an image that was made from it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from envbuild.image.model import Image, Layer
from envbuild.lock.lockfile import dump_lock, load_lock
from envbuild.lock.model import Artifact, Built, CondaPackage, Deb, Lock, Target, Wheel
from envbuild.plan import make_plan
from envbuild.store import Blob
from tests.support.locks import PLATFORM, small_lock, small_wheel

__all__ = ["COMMIT", "digest_of", "every_kind", "image_of", "wheel_from"]

COMMIT = "c0ffee" + "0" * 34


def digest_of(text: str) -> str:
    """``sha256:<hex>`` of some text: a digest that differs from others."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _artifact(filename: str, source: str) -> Artifact:
    return Artifact(filename, digest_of(filename)[7:], 1000, source, f"some/{filename}")


def wheel_from(source: str, name: str, version: str) -> Wheel:
    """A wheel of this source with a sha256 of its own."""
    artifact = _artifact(f"{name.replace('-', '_')}-{version}-py3-none-any.whl", source)
    return replace(small_wheel(name, version), artifact=artifact)


def every_kind() -> Lock:
    """A lock with wheels of an index, built ones, conda packages and those of apt.txt."""
    conda = (
        CondaPackage(
            "python",
            "3.12.4",
            "h99_cpython",
            "linux-64",
            _artifact("python-3.12.4-h99_cpython.conda", "conda-forge"),
            depends=("libzlib >=1.2", "__glibc >=2.17"),
            layer="python",
            direct=True,
        ),
        CondaPackage(
            "libzlib",
            "1.3.1",
            "h4_1",
            "linux-64",
            _artifact("libzlib-1.3.1-h4_1.tar.bz2", "conda-forge"),
            layer="bucket-01",
        ),
    )
    base_files = Deb(
        "base-files", "12.4+deb12u11", "amd64", _artifact("base-files_12.4+deb12u11_amd64.deb", "debian")
    )
    git = Deb("git", "1:2.39.5-0+deb12u2", "amd64", _artifact("git_2.39.5-0+deb12u2_amd64.deb", "debian"))
    wheels = (
        replace(wheel_from("pypi", "numpy", "2.0.0+cpu"), direct=True),
        wheel_from("built", "from-git", "1.0"),
        wheel_from("built", "from-sdist", "2.0"),
        wheel_from("built", "from-url", "3.0"),
    )
    built = (
        Built("from-git", "vcs", "https://example.org/team/from-git.git", revision="main", commit=COMMIT),
        Built(
            "from-sdist",
            "sdist",
            archive=_artifact("from_sdist-2.0.tar.gz", "pypi"),
            requires=(replace(wheel_from("pypi", "setuptools", "80.0"), layer=""),),
        ),
        Built(
            "from-url",
            "url",
            "https://example.org/from-url-3.0.zip?token=secret",
            archive=_artifact("from-url-3.0.zip", "url"),
        ),
    )
    lock = small_lock()
    base = replace(lock.base, debs={PLATFORM: (*lock.base.debs[PLATFORM], base_files)})
    target = Target(PLATFORM, tuple(sorted(wheels)), conda, (replace(git, direct=True),), built)
    return load_lock(dump_lock(replace(lock, base=base, targets=(target,))))


def image_of(lock: Lock, *more: Layer, platform: str = PLATFORM, compression: str = "zstd") -> Image:
    """The image that ``lock`` gives, with the layers ``more`` on top: digests only, there are no bytes."""
    planned = [
        Layer(
            plan.title,
            digest_of(f"diff {plan.key}"),
            digest_of(f"{compression} {plan.key}"),
            1000,
            2000,
            compression,
            plan.packages,
            key=plan.key,
        )
        for plan in make_plan(lock, platform, dump_lock(lock)).layers
    ]
    config, manifest = digest_of(f"config {platform}"), digest_of(f"manifest {compression} {platform}")
    return Image(platform, Blob(config, 100), Blob(manifest, 200), (*planned, *more))
