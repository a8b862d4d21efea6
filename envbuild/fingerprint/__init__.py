"""What an environment is, seen from inside: taken in an image, saved, compared."""
