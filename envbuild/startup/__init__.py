"""Which files a first start reads: recorded once by ``envbuild trace``, read ahead by images' entry point."""
