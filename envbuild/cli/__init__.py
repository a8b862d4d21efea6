"""The command line: options in, library calls, results out. One module per verb, no logic.

Only this package prints, exits, reads the process's environment or knows click. A verb's module imports
the library inside its function, so that ``--help`` pays for nothing it does not use
(``tests/test_imports.py``).
"""
