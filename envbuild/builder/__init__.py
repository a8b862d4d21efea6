"""Images that a container engine builds: from a ``Dockerfile``, or by repo2docker's buildpacks.

They are no function of a lock. What envbuild adds: a key by which an unchanged repository is not built again,
labels, errors that name the step, a look at what the image lacks for a hub and for the notebooks.
"""
