"""Comparing: locks with locks, images with images, and an image with what its lock makes."""
