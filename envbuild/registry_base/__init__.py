"""Images of registries as bases: which one a name is, what is in it, and what of that goes into a lock."""
