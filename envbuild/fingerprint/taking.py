"""Takes the fingerprint of an image, through an engine."""

from __future__ import annotations

from pathlib import Path

from envbuild.engine.model import Command, Engine, Mount
from envbuild.errors import RepoError
from envbuild.fingerprint import program
from envbuild.fingerprint.document import LARGEST, Fingerprint, parse_fingerprint
from envbuild.image.model import Image
from envbuild.pack import recipe
from envbuild.progress import Reporter
from envbuild.source.log import last_lines
from envbuild.store import Store

__all__ = ["take_fingerprint"]

_PROGRAM = "/run/envbuild/fingerprint.py"
_RESULT = "/run/envbuild/fingerprint.json"


def take_fingerprint(
    image: Image, repository: Path, *, engine: Engine, store: Store, reporter: Reporter, files: bool = False
) -> Fingerprint:
    """Run :mod:`envbuild.fingerprint.program` with the Python that is first on the image's PATH.

    The program comes from here, not from the image, so images that envbuild did not assemble have
    fingerprints, too; in all others it is the same program.

    Parameters:
        repository: mounted as for notebooks: its ``start`` script may set variables.
        files: also compare installed files with their RECORD.

    Raises:
        MachineError: the engine fails.
        RepoError: there is no Python in the image, or the program fails.
    """
    engine.prepare(image, reporter=reporter)
    with store.temporary_directory() as scratch:
        path, log = scratch / "fingerprint.json", scratch / "log"
        with path.open("xb+") as result:
            path.chmod(0o666)  # the container's user may be another than ours
            command = Command(
                ("python3", _PROGRAM, "--output", _RESULT, *(["--files"] if files else [])),
                mounts=(
                    Mount(repository, f"/{recipe.REPO_DIR}", writable=True),
                    Mount(Path(program.__file__), _PROGRAM),
                    Mount(path, _RESULT, writable=True),
                ),
                owner=repository.stat().st_uid,
                output=log,
            )
            with reporter.stage("fingerprint", unit="program"), engine.start(image, command) as running:
                code = running.wait()
            data = result.read(LARGEST)
        try:
            return parse_fingerprint(data).of_image(image.image_id, image.manifest.digest)
        except ValueError as error:
            raise RepoError(
                f"the environment's Python could not tell what it is (exit code {code})",
                code="no-fingerprint",
                remedy="`envbuild run -- python3 --version` shows whether it starts",
                detail=last_lines(log) if log.exists() else None,
            ) from error
