"""A repository's kernel in a JupyterLab of the user's own, as people use it: in a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.support.wait import WebDriverWait

from tests.integration.test_browser import browser  # noqa: F401
from tests.support.programs import Envbuild, install, output_of
from tests.support.waiting import wait_for_end, wait_until

pytestmark = [pytest.mark.network, pytest.mark.slow]

_PATIENCE_SECONDS = 600
_READY = """
    const panel = window.jupyterapp && window.jupyterapp.shell.currentWidget;
    return Boolean(panel && panel.content && panel.content.widgets && panel.sessionContext.isReady);
"""
_SESSION = "window.jupyterapp.shell.currentWidget.sessionContext"
_RUN_ALL = "window.jupyterapp.commands.execute('notebook:run-all-cells');"
_INTERRUPT = f"{_SESSION}.session.kernel.interrupt();"
_RESTART = f"{_SESSION}.session.kernel.restart().then(() => arguments[0]());"
_ASK = f"""
    {_SESSION}.session.kernel.requestExecute({{code: 'os'}}).done
        .then(reply => arguments[0](reply.content.ename));
"""
_STATUS = f"return {_SESSION}.session.kernel.status;"
_CELLS = """
    return window.jupyterapp.shell.currentWidget.content.widgets
        .map(cell => cell.model.toJSON())
        .filter(cell => cell.cell_type === 'code');
"""
_DIALOGS = "return [...document.querySelectorAll('.jp-Dialog')].map(dialog => dialog.innerText);"


@pytest.fixture(scope="module")
def environment(scratch: Path) -> Path:
    """A virtual environment with JupyterLab and envbuild, as the user has it."""
    place = scratch / "jupyterlab"
    install(sys.executable, place)
    uv = Path(sys.executable).with_name("uv")
    output_of(uv, "pip", "install", "--quiet", "--python", place / "bin" / "python", "jupyterlab")
    return place


@pytest.fixture
def repository(quickstart: Path, tmp_path: Path) -> Path:
    """A copy with a notebook that was saved with the repository's kernel."""
    copy = Path(shutil.copytree(quickstart, tmp_path / "work" / "quickstart"))
    notebook = json.loads((copy / "analysis.ipynb").read_text("utf-8"))
    notebook["metadata"]["kernelspec"] = {"display_name": "Python (quickstart)", "name": "quickstart"}
    (copy / "analysis.ipynb").write_text(json.dumps(notebook), "utf-8")
    return copy


@pytest.fixture
def jupyterlab(
    environment: Path, repository: Path, tmp_path: Path
) -> Iterator[Callable[[], tuple[int, str]]]:
    """Starts JupyterLab above the repository; gives its process and its URL."""
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> tuple[int, str]:
        variables = {**os.environ, "HOME": str(tmp_path / "home"), "JUPYTER_TOKEN": "t" * 40}
        (tmp_path / "home").mkdir()
        log = tmp_path / "jupyterlab.log"
        options = ("--no-browser", "--port=0", "--allow-root", "--LabApp.expose_app_in_browser=True")
        root = f"--ServerApp.root_dir={tmp_path / 'work'}"
        with log.open("wb") as output:
            processes.append(
                subprocess.Popen(
                    [environment / "bin" / "jupyter-lab", *options, root],
                    env={**variables, "JUPYTER_DATA_DIR": str(tmp_path / "jupyter")},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            )
        found = wait_until(
            lambda: re.findall(r"http://127\.0\.0\.1:\d+/lab", log.read_text()), otherwise=log.read_text
        )
        return processes[-1].pid, f"{found[0]}/tree/quickstart/analysis.ipynb?token={'t' * 40}"

    yield start
    for process in processes:
        process.kill()
        process.wait()


def _is_kernel(process: psutil.Process) -> bool:
    try:
        return "ipykernel_launcher" in " ".join(process.cmdline())
    except psutil.Error:  # it ends, as what was there before the restart does
        return False


def _errors(cells: list[dict[str, Any]]) -> list[str]:
    return [
        output["ename"] for cell in cells for output in cell["outputs"] if output["output_type"] == "error"
    ]


def test_a_notebook_runs_on_the_kernel_of_its_repository(
    envbuild: Envbuild,
    repository: Path,
    jupyterlab: Callable[[], tuple[int, str]],
    browser: WebDriver,  # noqa: F811
    tmp_path: Path,
) -> None:
    """It opens without a dialog, runs, is interrupted, restarts; `kill -9` of JupyterLab leaves nothing."""
    variables = {"JUPYTER_DATA_DIR": str(tmp_path / "jupyter")}
    Envbuild(envbuild.cache, environment=variables).document("kernel", "install", repository)
    server, url = jupyterlab()
    browser.get(url)
    wait = WebDriverWait(browser, _PATIENCE_SECONDS)
    wait.until(lambda page: page.execute_script(_READY))
    assert [] == browser.execute_script(_DIALOGS)
    name = browser.execute_script(f"return {_SESSION}.kernelDisplayName;")
    assert "Python (quickstart)" == name

    browser.execute_script(_RUN_ALL)
    wait.until(lambda page: all(cell["execution_count"] for cell in page.execute_script(_CELLS)))
    wait.until(lambda page: page.execute_script(_STATUS) == "idle")
    cells = browser.execute_script(_CELLS)
    assert [] == _errors(cells)
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell["outputs"])

    last = f"{len(cells) - 1}"
    sleep = "import os, time; print(os.getcwd(), flush=True); time.sleep(600)"
    browser.execute_script(
        f"""
        const panel = window.jupyterapp.shell.currentWidget;
        const cells = panel.content.widgets.filter(cell => cell.model.type === 'code');
        cells[{last}].model.sharedModel.setSource({sleep!r});
        {_RUN_ALL}
        """
    )
    wait.until(lambda page: "/srv/repo" in json.dumps(page.execute_script(_CELLS)[-1]["outputs"]))
    browser.execute_script(_INTERRUPT)
    wait.until(lambda page: _errors(page.execute_script(_CELLS)) == ["KeyboardInterrupt"])
    browser.execute_async_script(_RESTART)
    assert "NameError" == browser.execute_async_script(_ASK)

    processes = psutil.Process(server).children(recursive=True)
    assert any(map(_is_kernel, processes))
    os.kill(server, signal.SIGKILL)
    wait_for_end(processes)


def test_why_a_kernel_does_not_start_is_shown(
    environment: Path,
    envbuild: Envbuild,
    repository: Path,
    jupyterlab: Callable[[], tuple[int, str]],
    browser: WebDriver,  # noqa: F811
) -> None:
    """JupyterLab and envbuild in one environment: the reason and the remedy are in the dialog."""
    beside = Envbuild(envbuild.cache, environment / "bin" / "envbuild")
    document = beside.document("kernel", "install", repository, "--sys-prefix", "--locked")
    assert str(environment / "share" / "jupyter" / "kernels" / "quickstart") == document["kernels"][0]["path"]
    (repository / "envbuild.lock").unlink()

    _, url = jupyterlab()
    browser.get(url)

    wait = WebDriverWait(browser, _PATIENCE_SECONDS)
    wait.until(lambda page: page.execute_script(_DIALOGS))
    (shown,) = browser.execute_script(_DIALOGS)
    assert "envbuild.lock: there is none; run `envbuild lock` and commit the result" in shown
