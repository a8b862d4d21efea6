"""Bases: which one a repository gets, what Debian has for it, and its Python to compile bytecode with.

``recipe.py`` reads ``base-images/`` and chooses; ``mirrors.py`` says where Debian's archive is on this
machine; ``debian.py`` fetches its indexes and checks them; ``resolve.py`` picks packages (by ``version.py``'s
order); ``locking.py`` pins them; ``interpreter.py`` unpacks a Python that runs here.
"""
