"""Where a repository's files came from, when they are not a directory of the user's."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Origin"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of files that were fetched; what is fetched is never changed.

    ``url`` has no credentials. ``revision`` is what exactly it was: a commit's full hash, the ``sha256:`` of
    an archive, the version of a record. ``ref`` is the branch, tag or commit that was asked for. ``name`` is
    for people. ``tracked`` tells that git knows all of its files.
    """

    url: str
    revision: str
    name: str
    ref: str | None = None
    subdirectory: str = ""
    tracked: bool = False

    @property
    def identity(self) -> dict[str, str | None]:
        """What is needed to get the same files once more."""
        return {
            "url": self.url,
            "revision": self.revision,
            "ref": self.ref,
            "subdirectory": self.subdirectory or None,
        }
