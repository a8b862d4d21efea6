"""Where a repository comes from: a local directory, or something that is fetched, opened as a :class:`Repo`.

Nothing above this package opens a file of the repository by its path: a :class:`Repo` is the only way in,
and it never leaves the directory, never opens what is not a regular file, and never reads without a limit.
"""

from envbuild.source.locate import open_repo
from envbuild.source.origin import Origin
from envbuild.source.repo import Repo, RepoFile
from envbuild.source.text import printable, redact

__all__ = ["Origin", "Repo", "RepoFile", "open_repo", "printable", "redact"]
