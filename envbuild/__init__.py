"""envbuild: one lock, one image ID, for repositories of Jupyter notebooks.

The pipeline is a chain of frozen values, each with a function that makes the next::

    Source -> Repo -> Spec -> Lock -> Plan -> Layer* -> Image -> store, registry, engine

See ``docs/concepts.md`` for what each noun means and which package holds it.
"""

__version__ = "0.1.0"
