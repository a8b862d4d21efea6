"""A command that takes repo2docker's arguments, for BinderHub and others that start `jupyter-repo2docker`.

What it is given becomes one ``envbuild build``; what that says becomes lines as repo2docker writes them
(docs/binderhub.md).
"""
