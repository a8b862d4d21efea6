"""Steps whose changes become layers: run once for each set of inputs, however often a build needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Literal

from envbuild.errors import EnvbuildError, RepoError
from envbuild.image.blobs import layer_chunks
from envbuild.image.comparison import Difference, differences
from envbuild.image.finding import Layers
from envbuild.image.model import Image, Layer
from envbuild.pack.blob import Packed, keep_packed, pack_entries
from envbuild.pack.tar import Entry, complete
from envbuild.progress import Reporter
from envbuild.sandbox.model import Limits, Outcome, Sandbox, Step
from envbuild.store import Store

__all__ = ["StepLayers", "Stepped", "Tidy"]

Tidy = Callable[[Iterable[Entry]], Iterable[Entry]]

_MOST_NAMED = 50


@dataclass(frozen=True, slots=True)
class Stepped:
    """A step's layer under its key, and where it was found when the step had been run before."""

    key: str
    packed: Packed
    found: Literal["", "store", "registry"]

    def layer(self, title: str, packages: tuple[str, ...] = ()) -> Layer:
        """The layer of an image."""
        return replace(Layer.of(self.packed, title, packages, key=self.key, found=self.found), captured=True)


@dataclass(frozen=True)
class StepLayers:
    """What steps are run with.

    Parameters:
        layers: finds what earlier runs gave.
        sandbox: chooses one; called when something has to run, and at most once.
        limits: of every step.
        compression: of the layers.
        check: run every step once more, even one that is not new, and refuse what differs.
    """

    store: Store
    layers: Layers
    sandbox: Callable[[], Sandbox]
    reporter: Reporter
    limits: Limits = field(default_factory=Limits)
    compression: str = "zstd"
    check: bool = False

    @cached_property
    def _sandbox(self) -> Sandbox:
        return self.sandbox()

    def layer(
        self,
        image: Image,
        step: Step,
        key: str,
        failed: Callable[[Outcome], EnvbuildError],
        file: str | None = None,
        tidy: Tidy = iter,
    ) -> Stepped:
        """The layer of what ``step`` changes in ``image``.

        Parameters:
            key: hex digest of everything the changes may depend on.
            failed: the error to raise for an outcome that is no success.
            file: where the repository asks for it, for messages.
            tidy: leaves out, or changes, what is special to the kind of step.

        Raises:
            RepoError: with ``check``, when two runs do not give the same.
            MachineError: no sandbox works here, or not for the image's platform.
            LayersLost: see :meth:`envbuild.image.finding.Layers.bring`.
        """
        found = self.layers.find([key]).get(key)
        packed = found.packed if found else self._run(image, step, failed, tidy)
        stepped = Stepped(key, packed, found.where if found else "")
        if self.check:
            self._compare(stepped, self._run(image, step, failed, tidy), step, file)
        if found is None:
            keep_packed(self.store, key, packed)
        return stepped

    def _run(
        self, image: Image, step: Step, failed: Callable[[Outcome], EnvbuildError], tidy: Tidy
    ) -> Packed:
        sandbox = self._sandbox
        with self.reporter.stage("execute", unit="steps") as stage:
            stage.detail(f"{step.title} ({sandbox.name})")
            with sandbox.execute(image, step, self.reporter) as outcome:
                if not outcome.succeeded:
                    raise failed(outcome)
                packed = pack_entries(self.store, complete(tidy(outcome.changes)), self.compression)
            stage.advance(1)
        # What ran on somebody's word is somebody's word.
        return replace(packed, place=next((layer.place for layer in image.layers if layer.place), ""))

    def _compare(self, stepped: Stepped, second: Packed, step: Step, file: str | None) -> None:
        if stepped.packed.diff_id == second.diff_id:
            self.reporter.note(f"{step.title} gives the same files each time")
            return
        self.layers.bring([stepped.layer(step.title)], self.reporter)
        contents = (partial(layer_chunks, self.store, packed) for packed in (stepped.packed, second))
        found = differences(*contents)
        lines = [f"{difference.path}: {_how(difference)}" for difference in found[:_MOST_NAMED]]
        if len(found) > _MOST_NAMED:
            lines.append(f"and {len(found) - _MOST_NAMED} more")
        raise RepoError(
            f"{step.title} does not give the same files each time: {len(found)} differ",
            code="not-reproducible",
            file=file,
            remedy="look for times, random numbers and names of temporary files in what it writes",
            detail="\n".join(lines),
        )


def _how(difference: Difference) -> str:
    """How a file of the second run differs from that of the first, in words."""
    runs = {"missing": "only the first run made it", "extra": "only the second run made it"}
    return " and ".join(runs.get(what, what) for what in difference.whats)
