"""A headless Chromium that talks to nobody but the pages it is sent to."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.webdriver import WebDriver

from tests.support import deaf
from tests.support.programs import require
from tests.support.servers import free_port

__all__ = ["chromium"]

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # it is small in containers
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,2400",
)


class _Service(webdriver.ChromeService):
    """chromedriver, and the browser with it, without news about network interfaces."""

    def __init__(self) -> None:
        super().__init__(executable_path=sys.executable, port=free_port())

    def command_line_args(self) -> list[str]:
        return [str(deaf.__file__), str(shutil.which("chromedriver")), *super().command_line_args()]


@contextmanager
def chromium(profile: Path, *, patience: float = 120) -> Iterator[WebDriver]:
    """A fresh browser; the test is skipped where there is none.

    Parameters:
        profile: a directory for its own files.
        patience: seconds a script may take.
    """
    require("chromium", "chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=_Service())
    try:
        # Its answers, too, come when a page has loaded.
        driver.command_executor.client_config.timeout = 600
        driver.set_script_timeout(patience)
        yield driver
    finally:
        driver.quit()
