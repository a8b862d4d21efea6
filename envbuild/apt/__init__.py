"""Installing Debian packages on top of a base, in the sandbox: their order, the step, what is kept of it."""
