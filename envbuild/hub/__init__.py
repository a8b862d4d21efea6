"""Configuration of JupyterHub from a fleet and its pins."""
