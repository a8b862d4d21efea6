"""The report as people see it: in a browser, on a phone and a desk, in the light and in the dark."""

from __future__ import annotations

import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.integration.conftest import Built
from tests.support.browser import chromium
from tests.support.programs import Envbuild, output_of, require

pytestmark = [pytest.mark.network, pytest.mark.slow]

_AXE = "axe-core@4.10.3"
_SIZES = {"phone": (390, 844), "desk": (1440, 900)}
_HEADINGS = "return [...document.querySelectorAll('h1, h2, h3')].map(one => Number(one.tagName[1]));"
_TOO_WIDE = "const top = document.documentElement; return top.scrollWidth - top.clientWidth;"
_NAMES = """
    return [...document.querySelector('table.packages').tBodies[0].rows]
        .filter(row => !row.hidden).map(row => row.querySelector('.name').textContent);
"""
_ROLES = ("table", "row", "columnheader", "rowheader", "cell")


@pytest.fixture(scope="module")
def site(envbuild: Envbuild, built: Built, scratch: Path) -> Iterator[tuple[str, list[str], Path]]:
    """A web server with the quickstart's report, what it was asked for, and its directory."""
    repository = Path(shutil.copytree(built.repository, scratch / "report" / "quickstart"))
    program = partial(output_of, environment=envbuild.variables())
    program(*envbuild.command("run", repository, "analysis.ipynb", "--locked", "--engine", "bubblewrap"))
    directory = scratch / "site"
    directory.mkdir()
    program(*envbuild.command("report", repository, "--locked", "-o", directory / "report.html"))
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(directory))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/report.html", asked, repository
        server.shutdown()


@pytest.fixture(scope="module")
def browser(scratch: Path) -> Iterator[WebDriver]:
    with chromium(scratch / "chromium-report") as driver:
        yield driver


@pytest.fixture(scope="module")
def axe(scratch: Path) -> str:
    """The checker's program."""
    require("npm", "tar")
    directory = scratch / "axe"
    directory.mkdir()
    output_of("npm", "pack", "--silent", "--pack-destination", directory, _AXE)
    (archive,) = directory.glob("*.tgz")
    output_of("tar", "-xzf", archive, "-C", directory, "package/axe.min.js")
    return (directory / "package" / "axe.min.js").read_text("utf-8")


def _open(browser: WebDriver, url: str, size: str = "desk", scheme: str = "light") -> None:
    width, height = _SIZES[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(url)


@pytest.mark.parametrize("size", _SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_asks_for_nothing_and_has_nothing_to_complain_about(
    site: tuple[str, list[str], Path], browser: WebDriver, size: str, scheme: str
) -> None:
    url, asked, _ = site
    asked.clear()
    browser.get_log("browser")  # type: ignore[no-untyped-call]

    _open(browser, url, size, scheme)

    assert 0 == browser.execute_script(_TOO_WIDE)
    for details in browser.find_elements(By.TAG_NAME, "details"):
        browser.execute_script("arguments[0].open = true", details)
    assert 0 == browser.execute_script(_TOO_WIDE)
    shown = [one.is_displayed() for one in browser.find_elements(By.CSS_SELECTOR, "svg.treemap")]
    assert [size == "desk", size == "phone"] == shown
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ("rgb(255, 255, 255)" == ground) == (scheme == "light")
    levels = browser.execute_script(_HEADINGS)
    assert levels == sorted(levels, key=lambda level: level == 1, reverse=True)
    assert all(level - before <= 1 for before, level in pairwise(levels))
    assert ["/report.html"] == asked
    assert [] == browser.get_log("browser")  # type: ignore[no-untyped-call]


def test_tables_sort_and_filter_with_the_keyboard(
    site: tuple[str, list[str], Path], browser: WebDriver
) -> None:
    _open(browser, site[0])
    names = browser.execute_script(_NAMES)
    (package, _, _, size) = browser.find_elements(By.CSS_SELECTOR, "table.packages thead button")[:4]

    package.send_keys(Keys.ENTER)
    assert sorted(names, key=str.lower) == browser.execute_script(_NAMES)
    package.send_keys(Keys.SPACE)
    assert sorted(names, key=str.lower, reverse=True) == browser.execute_script(_NAMES)
    heads = browser.find_elements(By.CSS_SELECTOR, "table.packages thead th")[:4]
    assert ["descending", "none", "none", "none"] == [head.get_attribute("aria-sort") for head in heads]
    size.send_keys(Keys.ENTER, Keys.ENTER)
    assert "numpy" == browser.execute_script(_NAMES)[0]

    browser.find_element(By.ID, "filter").send_keys("numpy")
    assert ["numpy"] == browser.execute_script(_NAMES)
    assert browser.find_element(By.ID, "filter-status").text.startswith("1 of ")
    browser.find_element(By.ID, "filter").send_keys(*[Keys.BACKSPACE] * 5)
    assert set(names) == set(browser.execute_script(_NAMES))


def test_keyboards_get_to_the_content_at_once(site: tuple[str, list[str], Path], browser: WebDriver) -> None:
    _open(browser, site[0])

    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    skip = browser.switch_to.active_element
    assert "Skip to content" == skip.text
    assert skip.location["x"] >= 0
    assert "none" != skip.value_of_css_property("outline-style")
    skip.send_keys(Keys.ENTER)
    assert "main" == browser.switch_to.active_element.get_attribute("id")


def test_without_scripts_everything_is_there(site: tuple[str, list[str], Path], browser: WebDriver) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        _open(browser, site[0])
        rows = browser.find_elements(By.CSS_SELECTOR, "details.part[open] tbody tr")
        assert len(rows) > 20 and all(row.is_displayed() for row in rows)
        assert not browser.find_element(By.ID, "filter").is_displayed()
        assert [] == browser.find_elements(By.CSS_SELECTOR, "thead button")
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_table_is_a_table_to_screen_readers_also_on_a_phone(
    site: tuple[str, list[str], Path], browser: WebDriver
) -> None:
    """There it is laid out as blocks."""
    counts: list[dict[str, int]] = []
    for size in _SIZES:
        _open(browser, site[0], size)
        nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        roles = [node["role"]["value"] for node in nodes if not node["ignored"] and "role" in node]
        counts.append({role: roles.count(role) for role in _ROLES})

    assert counts[0] == counts[1]
    assert min(counts[0].values()) > 3


def test_paper_has_everything_unfolded(site: tuple[str, list[str], Path], browser: WebDriver) -> None:
    _open(browser, site[0])
    closed = "return document.querySelectorAll('details:not([open], .layers details)').length"
    before = browser.execute_script(closed)

    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert 0 == browser.execute_script(closed)
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert before == browser.execute_script(closed)


@pytest.mark.parametrize("size", _SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    site: tuple[str, list[str], Path], browser: WebDriver, axe: str, size: str, scheme: str
) -> None:
    """axe-core's rules for WCAG 2.2 A and AA, and its best practices."""
    _open(browser, site[0], size, scheme)

    browser.execute_script(axe)
    found = browser.execute_async_script("axe.run().then(arguments[0])")

    violations = {one["id"]: [node["html"] for node in one["nodes"]][:3] for one in found["violations"]}
    assert {} == violations
    assert len(found["passes"]) > 20


def test_a_page_of_the_same_lock_is_the_same_page(
    site: tuple[str, list[str], Path], envbuild: Envbuild
) -> None:
    """Also of the image in the cache, as far as it is about that; and the run is on it."""
    repository = site[2]
    document = envbuild.document("report", repository, "--locked")
    image = envbuild.document("report", "--image", "quickstart:environment")

    again = envbuild.document("report", repository, "--locked")
    assert document["digest"] == again["digest"]
    assert [document[key] for key in ("platforms", "packages", "licences")] == [
        image[key] for key in ("platforms", "packages", "licences")
    ]
    (notebook,) = document["notebooks"]
    assert ("analysis.ipynb", True, None) == (
        notebook["path"],
        notebook["run"] and notebook["run"]["same_lock"],
        notebook["run"] and notebook["run"]["failed_cell"],
    )
    assert document["platforms"][0]["image_id"] == notebook["run"]["image_id"]
    sizes = [layer["size"] for layer in document["platforms"][0]["layers"]]
    assert None not in sizes and sum(sizes) == document["platforms"][0]["size"]
    numpy = next(one for one in document["packages"] if one["name"] == "numpy")
    assert (True, "environment") == (numpy["direct"], numpy["part"])
    assert json.dumps(numpy["licence"]).startswith('"BSD-3-Clause')
