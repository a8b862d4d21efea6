"""Kernelspecs: how notebooks find the environment."""
