"""Running notebooks: headless, in the environment image."""

from envbuild.notebook.execute import Executed, execute, run_command

__all__ = ["Executed", "execute", "run_command"]
