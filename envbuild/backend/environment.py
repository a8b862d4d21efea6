"""A virtual environment with what a build needs, for a sandbox to mount: made from wheels, nothing is run."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from envbuild.errors import RepoError
from envbuild.lock.model import Wheel
from envbuild.pack import recipe
from envbuild.pack.glue import pyvenv_cfg

__all__ = ["make_environment"]


def make_environment(
    wheels: Iterable[tuple[Wheel, Path]], python: str, executable: str, directory: Path
) -> None:
    """Install ``wheels`` into the empty ``directory``, which will be seen at :data:`recipe.ENV_PREFIX`.

    Parameters:
        wheels: with the files of each.
        python: the base's exact version (``3.11.2``), ``executable`` where it is in the image.

    Raises:
        RepoError: a wheel is damaged, or two have the same file.
    """
    from installer import install
    from installer.destinations import SchemeDictionaryDestination
    from installer.exceptions import InstallerError
    from installer.sources import WheelFile

    minor = ".".join(python.split(".")[:2])
    programs = directory / "bin"
    site_packages = directory / "lib" / f"python{minor}" / "site-packages"
    site_packages.mkdir(parents=True)
    programs.mkdir()
    destination = SchemeDictionaryDestination(
        {
            "purelib": str(site_packages),
            "platlib": str(site_packages),
            "scripts": str(programs),
            "data": str(directory),
            "headers": str(directory / "include"),
        },
        interpreter=f"/{recipe.ENV_PREFIX}/bin/python3",
        script_kind="posix",
    )
    for wheel, path in wheels:
        try:
            with zipfile.ZipFile(path) as archive:
                archive.filename = wheel.artifact.filename
                install(WheelFile(archive), destination, {})
        except (InstallerError, OSError, ValueError, KeyError, AssertionError, zipfile.BadZipFile) as error:
            raise RepoError(
                f"{wheel.artifact.filename}, which a build needs, cannot be installed: {error}",
                code="bad-wheel",
                remedy="report it to the package's maintainers",
            ) from error
    # Last, so that no wheel writes through one of these links.
    try:
        (programs / "python3").symlink_to(executable)
        (programs / "python").symlink_to("python3")
        with (directory / "pyvenv.cfg").open("x") as configuration:
            configuration.write(pyvenv_cfg(python, executable))
    except FileExistsError as error:
        raise RepoError(
            f"a package that a build needs brings a file of the virtual environment: {error.filename}",
            code="unsafe-wheel",
            remedy="do not use this package; report it to the index",
        ) from error
