"""The report of ``verify --notebooks`` in a browser: nothing of a notebook runs there; it fits a phone."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By

from envbuild.outputs.compare import compare_outputs
from envbuild.outputs.page import report_page
from envbuild.outputs.verdict import CellVerdict, NotebookVerdict
from tests.outputs.examples import RULES, display, outputs, plot, stream
from tests.support.browser import chromium

pytestmark = pytest.mark.slow

_HTML = """
<img src=x onerror="parent.document.title='ran'"><svg onload="parent.document.title='ran'"></svg>
<img src="{0}/img"><link rel=stylesheet href="{0}/css"><meta http-equiv=refresh content="0;url={0}/refresh">
<iframe src="{0}/frame"></iframe><object data="{0}/object"></object><form action="{0}/form"></form>
<input autofocus onfocus="fetch('{0}/focus')"><style>@import url("{0}/import")</style><h1>Shown</h1>
"""
_SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="50" height="50" onload="parent.document.title='ran'">
<style>@import url({0}/svg-css);</style><image href="{0}/svg-image" width="9" height="9"/></svg>"""
_TOO_WIDE = "const top = document.documentElement; return top.scrollWidth - top.clientWidth;"
_PAPER = "return getComputedStyle(document.body).backgroundColor;"


@pytest.fixture(scope="module")
def asked() -> Iterator[tuple[str, list[str]]]:
    """A web server that a page must not talk to, and what it was asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()


@pytest.fixture(scope="module")
def page(asked: tuple[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report about outputs that would like to do something."""
    html, svg = (text.format(asked[0]) for text in (_HTML, _SVG))
    stored = outputs(
        stream(html), display(text_html=html), display(image_svg__xml=svg), display(image_png=plot())
    )
    new = outputs(
        stream("x" * 500),
        display(text_html="<p>new</p>"),
        display(image_svg__xml="<svg/>"),
        display(image_png=plot("green", (60, 40))),
    )
    found = compare_outputs(stored, new, RULES)
    assert 4 == len(found.differences)
    cell = CellVerdict(1, 1, html, "differs", found.differences)
    made = tmp_path_factory.mktemp("page") / "report.html"
    made.write_text(report_page("</title><script>1</script>", [NotebookVerdict(html, "differs", (cell,))]))
    return made


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def test_nothing_runs_and_nothing_is_loaded(
    driver: WebDriver, page: Path, asked: tuple[str, list[str]]
) -> None:
    driver.get(page.as_uri())

    frame = driver.find_element(By.TAG_NAME, "iframe")
    driver.switch_to.frame(frame)
    assert ["Shown"] == [heading.text for heading in driver.find_elements(By.TAG_NAME, "h1")]
    driver.switch_to.default_content()
    assert (page.as_uri(), "Outputs of </title><script>1</script>") == (driver.current_url, driver.title)
    assert [] == asked[1]


@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(13, 17, 23)")])
def test_it_fits(driver: WebDriver, page: Path, width: int, scheme: str, paper: str) -> None:
    """Long lines scroll in their own place; pictures are there and stand side by side where there is room."""
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 800}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    driver.get(page.as_uri())

    assert (0, paper) == (driver.execute_script(_TOO_WIDE), driver.execute_script(_PAPER))
    pictures = driver.find_elements(By.CSS_SELECTOR, "img[src^='data:image/png']")
    assert [60, 60, 60] == [int(one.get_property("naturalWidth")) for one in pictures]  # type: ignore[arg-type]
    places = {one.location["y"] for one in pictures}
    assert (1 if width > 1000 else 3) == len(places)
