"""Bases: which one a repository gets, what Debian has for it, and its Python to compile bytecode with.

``recipe.py`` reads ``base-images/`` and chooses; ``mirrors.py`` says where Debian's archive is on this
machine; ``debian.py`` fetches its indexes and checks them; ``resolve.py`` picks packages; ``locking.py`` pins
them; ``interpreter.py`` unpacks a Python that runs here.
"""

from envbuild.base.interpreter import Interpreter, interpreter
from envbuild.base.locking import LockedDebs, lock_debs, resolve_tool
from envbuild.base.mirrors import Mirrors, find_mirrors, snapshot_mirrors
from envbuild.base.recipe import BaseRecipe, check_python, choose, load_recipes, recipe_named

__all__ = [
    "BaseRecipe",
    "Interpreter",
    "LockedDebs",
    "Mirrors",
    "check_python",
    "choose",
    "find_mirrors",
    "interpreter",
    "load_recipes",
    "lock_debs",
    "recipe_named",
    "resolve_tool",
    "snapshot_mirrors",
]
