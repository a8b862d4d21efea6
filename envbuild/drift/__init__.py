"""Drift: what a session changed in its environment, how that is seen, and how it is declared."""
