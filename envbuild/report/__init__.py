"""The environment report: one page that says what an environment is, for people."""
