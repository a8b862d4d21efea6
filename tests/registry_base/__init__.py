"""Images of registries as bases."""
