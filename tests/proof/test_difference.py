"""What is different between locks and images that are there."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from envbuild.errors import UsageError
from envbuild.image.model import Image
from envbuild.inspection.inside import read_inside
from envbuild.inspection.inspector import Seen, SeenImage
from envbuild.inspection.view import read_image
from envbuild.lock.difference import Change
from envbuild.lock.lockfile import dump_lock
from envbuild.lock.model import Lock, Wheel
from envbuild.proof.configuration import ConfigChange
from envbuild.proof.difference import difference
from tests.proof.conftest import Laboratory
from tests.support.builds import Machine
from tests.support.locks import PLATFORM
from tests.support.tampering import Draft, as_medium


def locked(lock: Lock, name: str = "envbuild.lock") -> Seen:
    return Seen(name, "lock", tuple(target.platform for target in lock.targets), lock, dump_lock(lock))


def imaged(machine: Machine, image: Image, name: str = "demo") -> Seen:
    medium = as_medium(machine.store, image)
    view = read_image(medium, medium.entries().images[0])
    inside = read_inside(medium, view)
    seen = SeenImage(view, inside)
    return Seen(name, "cache", (view.platform,), inside.lock, inside.lock_bytes, (seen,))


def bumped(lock: Lock) -> Lock:
    """With another file for pandas."""
    numpy, pandas = lock.targets[0].wheels
    sha256 = hashlib.sha256(b"pandas 3.1").hexdigest()
    filename = pandas.artifact.filename.replace("3.0", "3.1")
    artifact = replace(pandas.artifact, sha256=sha256, filename=filename, path=filename)
    new: Wheel = replace(pandas, version="3.1", artifact=artifact)
    return replace(lock, targets=(replace(lock.targets[0], wheels=(numpy, new)),))


@pytest.fixture
def machine(laboratory: Laboratory) -> Machine:
    return laboratory.machine("laptop")


def test_the_same_lock(laboratory: Laboratory) -> None:
    found = difference(locked(laboratory.lock), locked(laboratory.lock))

    assert (True, True, (), None) == (found.identical, found.same, found.lock, found.config)


def test_a_bump_of_one_package_in_a_lock(laboratory: Laboratory) -> None:
    """The layer of the package is another one, and the one with the lock in it."""
    found = difference(locked(laboratory.lock), locked(bumped(laboratory.lock)))

    assert (False, False) == (found.identical, found.same)
    assert (Change("wheel", "pandas", "3.0", "3.1", (PLATFORM,)),) == found.lock
    assert found.layers is not None
    assert ["pandas", "environment, kernels and entry point"] == [
        change.title for change in found.layers.changed
    ]
    assert (None, None) == (found.layers.pull, found.layers.pull_above)


def test_a_lock_that_is_only_written_otherwise(laboratory: Laboratory) -> None:
    one = locked(laboratory.lock)
    two = replace(one, lock_bytes=(one.lock_bytes or b"") + b"# a comment\n")
    found = difference(one, two)

    assert (False, ()) == (found.identical, found.lock)
    # The text of the lock is in the image.
    assert found.layers is not None
    assert ["environment, kernels and entry point"] == [change.title for change in found.layers.changed]


def test_the_same_image(laboratory: Laboratory, machine: Machine) -> None:
    image = imaged(machine, laboratory.complete(machine))
    found = difference(image, image)

    assert (True, True, (), ()) == (found.identical, found.same, found.lock, found.config)
    assert found.layers is not None
    assert (0, 0) == (found.layers.pull, found.layers.pull_above)


def test_the_same_image_in_another_compression(laboratory: Laboratory, machine: Machine) -> None:
    made = [laboratory.environment(machine, compression) for compression in ("zstd", "gzip")]
    found = difference(*(imaged(machine, image) for image in made))

    assert (False, True) == (found.identical, found.same)
    assert found.layers is not None
    assert sum(layer.size for layer in made[1].layers) == found.layers.pull


def test_an_image_and_the_lock_it_is_made_from(laboratory: Laboratory, machine: Machine) -> None:
    """The repository's files are in no lock, and do not count."""
    for image in (laboratory.complete(machine), laboratory.environment(machine)):
        for pair in (
            (imaged(machine, image), locked(laboratory.lock)),
            (locked(laboratory.lock), imaged(machine, image)),
        ):
            found = difference(*pair)

            assert (False, True, (), None) == (found.identical, found.same, found.lock, found.config)
            assert found.layers is not None
            assert ((), False, None) == (found.layers.changed, found.layers.moved, found.layers.pull)


def test_another_config(laboratory: Laboratory, machine: Machine) -> None:
    image = laboratory.complete(machine)
    draft = Draft(machine.store, image)
    draft.config["config"]["User"] = "0"
    found = difference(imaged(machine, image), imaged(machine, draft.published()))

    assert (ConfigChange("User", "1000:100", "0"),) == found.config
    assert not found.same


def test_images_for_different_platforms(laboratory: Laboratory, machine: Machine) -> None:
    image = laboratory.complete(machine)
    draft = Draft(machine.store, image)
    draft.config["architecture"] = "arm64"
    with pytest.raises(
        UsageError, match="the first is an image for linux/amd64, the second one for linux/arm64"
    ):
        difference(imaged(machine, image), imaged(machine, draft.published()))


def test_what_cannot_be_compared(laboratory: Laboratory, machine: Machine) -> None:
    """An image of somebody else has no lock, and a lock alone no layers with digests."""
    draft = Draft(machine.store, laboratory.complete(machine))
    draft.config["history"] = []
    with pytest.raises(UsageError) as caught:
        difference(locked(laboratory.lock), imaged(machine, draft.published(), "foreign"))

    assert ("not-comparable", "'foreign' has no lock, and only one of the two is an image") == (
        caught.value.code,
        caught.value.message,
    )
