"""Build backends (PEP 517), run in the sandbox: from sources to wheels that can be pinned."""
