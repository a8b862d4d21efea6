"""A user of a hub at a browser: logs in, chooses an environment, runs a notebook in JupyterLab."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.support.jupyterhub import Hub

__all__ = ["LAB_ARGUMENT", "HubUser"]

# The only thing that is not as usual in servers: the page's JavaScript may be talked to.
LAB_ARGUMENT = "--LabApp.expose_app_in_browser=True"

_PATIENCE_SECONDS = 600
_READY = """
    const panel = window.jupyterapp && window.jupyterapp.shell.currentWidget;
    return Boolean(panel && panel.content && panel.content.widgets && panel.sessionContext.isReady);
"""
_DIALOGS = "return [...document.querySelectorAll('.jp-Dialog')].map(dialog => dialog.innerText);"
_RUN_ALL = "window.jupyterapp.commands.execute('notebook:run-all-cells');"
_SESSION = "window.jupyterapp.shell.currentWidget.sessionContext"
_CELLS = """
    return window.jupyterapp.shell.currentWidget.content.widgets
        .map(cell => cell.model.toJSON())
        .filter(cell => cell.cell_type === 'code');
"""


@dataclass(frozen=True, slots=True)
class HubUser:
    """Somebody with a browser of their own."""

    browser: WebDriver
    hub: Hub
    name: str

    def log_in(self) -> None:
        """With any password; next comes the form for starting a server, if there is a choice."""
        self.browser.get(f"{self.hub.url}/hub/login?next={quote('/hub/spawn', safe='')}")
        self._until(lambda page: page.find_elements(By.ID, "login_submit"))
        self.browser.find_element(By.NAME, "username").send_keys(self.name)
        self.browser.find_element(By.NAME, "password").send_keys("any")
        self.browser.find_element(By.ID, "login_submit").click()

    def offered(self) -> list[str]:
        """The environments on the form."""
        self._until(lambda page: page.find_elements(By.NAME, "profile"))
        found = self.browser.find_elements(By.NAME, "profile")
        return [str(one.get_attribute("value")) for one in found]

    def page_text(self) -> str:
        """What can be read on the page."""
        return self.browser.find_element(By.TAG_NAME, "body").text

    def choose(self, environment: str) -> None:
        """Take the environment on the form."""
        self.browser.find_element(By.CSS_SELECTOR, f"input[name=profile][value={environment}]").click()
        self.browser.find_element(By.CSS_SELECTOR, "#spawn_form button[type=submit]").click()

    def start_the_only_one(self, environment: str) -> None:
        """Where there is no choice: the server starts at once, or the form has one entry."""
        self._until(lambda page: page.find_elements(By.NAME, "profile") or _is_started(page.current_url))
        if self.browser.find_elements(By.NAME, "profile"):
            assert [environment] == self.offered()
            self.choose(environment)

    def wait_for_lab(self) -> None:
        """Until the server has started and JupyterLab is there."""
        self._until(lambda page: page.execute_script("return Boolean(window.jupyterapp)"))

    def run_notebook(self, path: str) -> list[str]:
        """Open a notebook, run all of it, and return the text under each code cell; no dialog may come."""
        self.browser.get(f"{self.hub.url}/user/{self.name}/lab/tree/{path}")
        self._until(lambda page: page.execute_script(_READY))
        assert [] == self.browser.execute_script(_DIALOGS)
        self.browser.execute_script(_RUN_ALL)
        self._until(lambda page: all(cell["execution_count"] for cell in page.execute_script(_CELLS)))
        self._until(lambda page: page.execute_script(f"return {_SESSION}.session.kernel.status;") == "idle")
        return [_text(cell) for cell in self.browser.execute_script(_CELLS)]

    def kernel(self) -> str:
        """The title of the kernel of the open notebook."""
        return str(self.browser.execute_script(f"return {_SESSION}.kernelDisplayName;"))

    def _until(self, condition: Any) -> None:
        # A page that is just being left cannot be asked.
        wait = WebDriverWait(self.browser, _PATIENCE_SECONDS, ignored_exceptions=[WebDriverException])
        try:
            wait.until(condition)
        except TimeoutException as error:
            raise AssertionError(f"{self.browser.current_url}\n{self.page_text()[:2000]}") from error


def _is_started(url: str) -> bool:
    return "/hub/spawn-pending/" in url or "/user/" in url


def _text(cell: dict[str, Any]) -> str:
    parts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell["outputs"]]
    errors = [output for output in cell["outputs"] if output["output_type"] == "error"]
    assert not errors, json.dumps(errors)
    return "".join("".join(part) for part in parts)
