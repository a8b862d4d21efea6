"""``envbuild up`` as people use it: a browser, the notebook, run all cells, Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.support.wait import WebDriverWait

from tests.support.browser import chromium
from tests.support.programs import Envbuild

pytestmark = [pytest.mark.network, pytest.mark.slow]

_PATIENCE_SECONDS = 600
_OPEN_NOTEBOOK = """
    const panel = window.jupyterapp.shell.currentWidget;
    return Boolean(panel && panel.content && panel.content.widgets && panel.sessionContext.isReady);
"""
_DIALOGS = "return [...document.querySelectorAll('.jp-Dialog')].map(dialog => dialog.innerText);"
_KERNEL = "return window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.name;"
_RUN_ALL = "window.jupyterapp.commands.execute('notebook:run-all-cells');"
_SAVE = "window.jupyterapp.commands.execute('docmanager:save').then(arguments[0]);"
_IDLE = "return window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle';"
_CELLS = """
    return window.jupyterapp.shell.currentWidget.content.widgets
        .map(cell => cell.model.toJSON())
        .filter(cell => cell.cell_type === 'code');
"""


@pytest.fixture
def repository(quickstart: Path, tmp_path: Path) -> Path:
    """A copy to edit."""
    return Path(shutil.copytree(quickstart, tmp_path / "quickstart"))


@pytest.fixture
def server(envbuild: Envbuild, repository: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``envbuild up`` and the URL it printed."""
    # The only thing that is not as usual: the page's JavaScript may be talked to.
    expose = "--LabApp.expose_app_in_browser=True"
    process = envbuild.start(
        "up", repository, "--locked", "--no-browser", "--engine", "bubblewrap", "--", expose
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    yield process, url
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=_PATIENCE_SECONDS)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[WebDriver]:
    """A fresh headless Chromium."""
    with chromium(tmp_path / "chromium") as driver:
        yield driver


def test_notebook_opens_and_runs_in_a_browser(
    server: tuple[subprocess.Popen[str], str], browser: WebDriver, repository: Path, envbuild: Envbuild
) -> None:
    """No kernel dialog; all cells run; edits are in the repository; Ctrl-C leaves nothing."""
    process, url = server
    with urllib.request.urlopen(url) as answer:
        assert 200 == answer.status

    browser.get(url.replace("/lab?", "/lab/tree/analysis.ipynb?"))
    wait = WebDriverWait(browser, _PATIENCE_SECONDS)
    wait.until(lambda page: page.execute_script("return Boolean(window.jupyterapp)"))
    wait.until(lambda page: page.execute_script(_OPEN_NOTEBOOK))
    assert [] == browser.execute_script(_DIALOGS)
    assert "python3" == browser.execute_script(_KERNEL)

    browser.execute_script(_RUN_ALL)
    wait.until(lambda page: all(cell["execution_count"] for cell in page.execute_script(_CELLS)))
    wait.until(lambda page: page.execute_script(_IDLE))
    cells: list[dict[str, Any]] = browser.execute_script(_CELLS)
    assert [] == [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    assert [] == browser.execute_script(_DIALOGS)
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell["outputs"])

    browser.execute_async_script(_SAVE)
    saved = json.loads((repository / "analysis.ipynb").read_text("utf-8"))
    assert [1, 2, 3, 4, 5] == [
        cell["execution_count"] for cell in saved["cells"] if cell["cell_type"] == "code"
    ]

    os.killpg(process.pid, signal.SIGINT)
    _, messages = process.communicate(timeout=_PATIENCE_SECONDS)
    assert 0 == process.returncode, messages
    assert [] == sorted((envbuild.cache / "tmp").iterdir())
    assert str(envbuild.cache) not in Path("/proc/self/mountinfo").read_text()
