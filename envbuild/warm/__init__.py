"""Warm nodes: which images a fleet's nodes keep, what makes them keep them, and whether they do."""
