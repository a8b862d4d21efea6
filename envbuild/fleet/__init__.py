"""Fleets: the environments a platform offers, and the pools of nodes they run on (``fleet.toml``)."""
