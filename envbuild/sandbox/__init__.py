"""Running what must run for an image to be made, where it can do no harm: steps and what they changed."""
