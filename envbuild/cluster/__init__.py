"""Kubernetes: connecting to a cluster, its objects as plain dictionaries, and bringing it to a wanted state.

::

    cluster = connect(context=None)                  # connection.py: KUBECONFIG, a pod's service account
    cluster.list("v1", "Pod", namespace, labels=…)   # api.py; requests are tried again (transport.py)
    apply(cluster, objects, prune=…)                 # apply.py: dry run, differences, then server-side apply
    yaml_text(objects)                               # manifest.py: for `kubectl apply`, and Helm's values

All failures are :mod:`envbuild.errors` (failures.py). The official client is imported on connecting only.
"""
