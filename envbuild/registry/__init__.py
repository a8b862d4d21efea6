"""Sending images: a registry that serves one image to a local daemon."""
