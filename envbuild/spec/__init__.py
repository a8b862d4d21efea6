"""What a repository asks for: its files and notebooks read into a :class:`Spec`.

``reading`` is the order of everything; ``detection`` knows the kinds of files and their precedence; each
other module reads one kind. Reading never resolves, downloads or runs anything.
"""

from envbuild.spec.model import Spec, SpecOptions
from envbuild.spec.reading import read_spec

__all__ = ["Spec", "SpecOptions", "read_spec"]
