"""Environments from conda: where channels are, solving by conda-lock over py-rattler and adopting."""
