"""From artifacts to layer bytes. Everything here is deterministic; ``recipe.py`` holds every constant."""
