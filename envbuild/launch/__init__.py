"""The kernels of images in the user's own Jupyter: their kernelspecs, and the program these start."""
