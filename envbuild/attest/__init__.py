"""What is said about an image beside it: what is in it, where it comes from, and who stands for that.

``sbom`` and ``provenance`` are pure functions from a lock and an image to a document.
"""
