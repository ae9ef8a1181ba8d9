"""The demo page in a real browser, served by the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data

IMAGES = Path(__file__).resolve().parents[2] / "examples" / "images"
QUARTERS = ("Painting.", "A quarter is painted.", "Half is painted.", "Three quarters are painted.")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a page served by the command line in a process of its own."""
    pytest.importorskip("gradio", reason="the extra `demo` is not installed")
    command = [sys.executable, "-m", "agnlib", "demo", "--port", "0", "--no-browser", "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for said in process.stderr:
                if "the page is at" in said:
                    yield said.split("the page is at ")[1].split(";")[0]
                    break
            else:
                pytest.fail("the page was not served")
        finally:
            process.terminate()


def test_the_page_names_no_other_host_to_load_from(address: str) -> None:
    with urllib.request.urlopen(address) as answer:
        policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy


def test_another_name_for_this_machine_is_refused(address: str) -> None:
    request = urllib.request.Request(address, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000"):
        options.add_argument(option)
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "downloads")})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


def wait(ask: Callable[[], Any], what: str) -> Any:
    for _ in range(300):
        try:
            if answer := ask():
                return answer
        except Exception:  # an element that is being redrawn
            pass
        time.sleep(0.1)
    pytest.fail(f"waited in vain for {what}")


def test_a_visitor_paints_a_photo_changes_the_strength_and_throws_the_dice(
    address: str, browser: Any, tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    def find(selector: str) -> Any:
        return browser.find_element(By.CSS_SELECTOR, selector)

    def result() -> str:
        return find("#result img.agn-after").get_attribute("src")

    Image.fromarray(data.coffee()).save(tmp_path / "coffee.png")
    browser.get(address)
    wait(lambda: find("#photo input[type=file]"), "the page").send_keys(str(tmp_path / "coffee.png"))
    find("#style input[type=file]").send_keys(str(IMAGES / "auvers.jpg"))
    wait(lambda: find("#photo img"), "the uploaded photo")
    wait(lambda: find("#style img"), "the uploaded style")
    first = wait(result, "the painting, which no button was pressed for")
    assert "600 x 400 pixels" in wait(lambda: "pixels" in find("#note").text and find("#note").text, "the note")
    assert find("#recipe textarea").get_attribute("value") == (
        "agnlib stylize coffee.png --style auvers.jpg -o coffee-painted.png"
    )

    if target := os.environ.get("AGNLIB_DEMO_SCREENSHOT"):
        time.sleep(1)
        browser.execute_script("window.scrollTo(0, 0)")
        browser.save_screenshot(target)

    slider = find("#strength input[type=number]")
    slider.send_keys(Keys.CONTROL, "a")
    slider.send_keys("0.3", Keys.TAB)
    second = wait(lambda: result() != first and result(), "a weaker painting")

    wait(lambda: find("#way input[value=chance]"), "the choice").click()
    chance = wait(lambda: result() != second and result(), "a painting by chance")
    assert wait(lambda: find("#dice").is_displayed() and find("#dice"), "the dice").text == "Draw another"
    find("#dice").click()
    third = wait(lambda: result() != chance and result(), "another")
    pictures = [np.asarray(Image.open(urllib.request.urlopen(each)), dtype=int) for each in (first, second, third)]
    assert abs(pictures[0] - pictures[1]).mean() > 2
    assert abs(pictures[1] - pictures[2]).mean() > 2

    find("#download").click()
    saved = wait(lambda: [each for each in (tmp_path / "downloads").glob("*.png") if each.stat().st_size], "the file")
    assert saved[0].name == "coffee-painted.png"
    with Image.open(saved[0]) as downloaded:
        assert downloaded.size == (600, 400)
    assert_same_host(browser, address)


def test_a_mistake_is_said_once_and_leaves_no_broken_picture(address: str, browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By

    def all_of(selector: str) -> list[Any]:
        return list(browser.find_elements(By.CSS_SELECTOR, selector))

    (tmp_path / "text.png").write_text("no picture")
    browser.get(address)
    wait(lambda: all_of("#card-castle"), "the page")
    all_of("#card-castle")[0].click()
    wait(lambda: all_of("#photo img"), "the example")
    all_of("#way input[value=chance]")[0].click()
    shown = wait(lambda: all_of("#result img.agn-after"), "a painting")[0].get_attribute("src")
    all_of("#way input[value='a picture']")[0].click()
    wait(lambda: all_of("#style input[type=file]"), "the style")[0].send_keys(str(tmp_path / "text.png"))
    said = wait(lambda: all_of("[role=alert]"), "the message")
    assert "'text.png' is not a picture that can be read" in said[0].text
    time.sleep(1)  # whatever else might say so
    page = browser.find_element(By.TAG_NAME, "body").text
    assert page.count("not a picture") == 1
    assert all_of(".toast-body, .error") == []
    assert all_of("#style img") == []
    assert all_of("#result img.agn-after")[0].get_attribute("src") == shown


def test_the_page_is_used_by_keyboard_on_a_phone(address: str, browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    def find(selector: str) -> Any:
        return browser.find_element(By.CSS_SELECTOR, selector)

    def cut() -> str:
        return str(
            browser.execute_script("return document.querySelector('.agn-compare').style.getPropertyValue('--cut')")
        )

    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    browser.get(address)
    wait(lambda: find("#card-castle"), "the page").send_keys(Keys.ENTER)
    wait(lambda: find("#photo img"), "the example")
    find("#card-poppies").send_keys(Keys.ENTER)
    wait(lambda: find("#style img"), "the example")
    find("#paint").send_keys(Keys.ENTER)
    wait(lambda: find("#result img.agn-after"), "the painting")
    top = "return document.querySelector('#result').getBoundingClientRect().top"
    wait(lambda: 0 <= browser.execute_script(top) < 400, "the painting in sight")
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    handle = find(".agn-compare input")
    assert handle.get_attribute("aria-label")
    handle.send_keys(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert cut() == "2%"
    assert "pixels" in find("#note [role=status][aria-live=polite]").text
    assert "castle.jpg, painted in the style of poppies.jpg" in find("#result img.agn-after").get_attribute("alt")


def test_a_visitor_sees_neighbors_paint_and_stops_them_by_keyboard_on_a_phone(
    address: str, browser: Any, tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    def find(selector: str) -> Any:
        return browser.find_element(By.CSS_SELECTOR, selector)

    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    browser.get(address)
    Image.fromarray(data.coffee()).resize((360, 240)).save(tmp_path / "small.png")  # paints while the browser is slow
    wait(lambda: find("#photo input[type=file]"), "the page").send_keys(str(tmp_path / "small.png"))
    find("#way input[value='a name']").send_keys(Keys.SPACE)
    wait(lambda: find("#name input[value=auvers]"), "the names").send_keys(Keys.SPACE)
    before = wait(lambda: find("#result img.agn-after"), "the network's painting").get_attribute("src")
    assert not browser.find_elements(By.CSS_SELECTOR, "#seed, #drawing")  # a work is what it is
    find("#method input[value=neighbors]").send_keys(Keys.SPACE)
    wait(lambda: find("#drawing input[type=range]").is_displayed(), "the slider of neighbors alone")
    wait(lambda: "Press Paint" in find("#note").text, "what to do")
    find("#paint").send_keys(Keys.ENTER)
    wait(lambda: find("#growing img").is_displayed(), "the growing picture")
    assert not find("#result img.agn-after").is_displayed()
    assert 0 < float(find("#growing progress[aria-label=Painted]").get_attribute("value")) < 1
    assert find("#note [role=status][aria-live=polite]").text in QUARTERS
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    find("#stop").send_keys(Keys.ENTER)
    wait(lambda: find("#note").text == "Stopped: nothing is changed.", "the line")
    assert find("#result img.agn-after").is_displayed()
    assert find("#result img.agn-after").get_attribute("src") == before
    assert not browser.find_elements(By.CSS_SELECTOR, "#growing img, #stop")
    assert browser.switch_to.active_element.get_attribute("id") == "paint"
    assert "neighbors" not in find("#recipe textarea").get_attribute("value")


def test_the_result_lies_beside_the_choice_on_a_desktop(address: str, browser: Any) -> None:
    script = "return ['choice', 'view'].map(id => document.getElementById(id).getBoundingClientRect().toJSON())"
    browser.get(address)
    for width in (900, 1440, 2560):
        desktop = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", desktop)
        choice, view = wait(lambda: browser.execute_script(script), "the page")
        assert view["left"] > choice["right"]
        assert view["top"] == choice["top"] < 150
        assert choice["width"] + view["width"] > 0.8 * min(width, 1500)


def assert_same_host(browser: Any, address: str) -> None:
    """Whatever the page asked for over the network, it asked of its own host."""
    import json

    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
    asked = [url for url in asked if not url.startswith(("data:", "blob:"))]
    assert any(url.endswith(".js") for url in asked)
    assert {urllib.parse.urlsplit(url).netloc for url in asked} == {urllib.parse.urlsplit(address).netloc}
