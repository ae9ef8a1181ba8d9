"""The page without a server in a real browser, as `python -m http.server` gives it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from agnlib.errors import MissingDependencyError
from agnlib.stylizer import Stylizer
from agnlib.web import write_page
from agnlib.web._runtime import runtime_files

IMAGES = Path(__file__).resolve().parents[2] / "examples" / "images"
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}

for needed in ("onnx", "onnxscript"):
    pytest.importorskip(needed, reason="needs the extra onnx")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
pytestmark = [
    pytest.mark.skipif(torch.__version__ < "2.9", reason="PyTorch before 2.9 cannot trace for any size"),
    pytest.mark.skipif(
        shutil.which("chromium") is None or shutil.which("chromedriver") is None,
        reason="needs chromium and chromedriver",
    ),
]


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    return Stylizer.from_pretrained("agn-fast", device="cpu")


@pytest.fixture(scope="module")
def site(stylizer: Stylizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with two styles; `AGNLIB_ONNXRUNTIME_WEB` may name the npm package."""
    given = os.environ.get("AGNLIB_ONNXRUNTIME_WEB")
    try:
        runtime_files(given)
    except MissingDependencyError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("web") / "site"
    write_page(stylizer, folder, ["wave", IMAGES / "auvers.jpg"], runtime=given)
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(site)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().split(" port ")[1].split()[0]
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(option)
    for option in ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"):
        options.add_argument(option)
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "downloads")})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    opened.set_script_timeout(60)
    yield opened
    opened.quit()


class Page:
    """What a visitor finds and does."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser = browser
        browser.get(address)
        self.wait(lambda: self.find("#photo").is_enabled(), "the networks")

    def find(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def wait(self, ask: Callable[[], Any], what: str) -> Any:
        for _ in range(600):
            try:
                if answer := ask():
                    return answer
            except Exception:  # an element that is being changed
                pass
            time.sleep(0.1)
        pytest.fail(f"waited in vain for {what}: {self.find('main').text}")

    def painted(self, photo: str, style: str) -> np.ndarray[Any, Any]:
        """The painting's pixels, once it is that of this photo in this style, and nothing more is being painted."""
        wanted = f"{photo}, painted in the style of {style}"
        label = lambda: self.find("#painted").get_attribute("aria-label")  # noqa: E731
        idle = lambda: self.find("#frame").get_attribute("aria-busy") == "false"  # noqa: E731
        self.wait(lambda: idle() and label() == wanted, wanted)
        return self.pixels("painted")

    def pixels(self, canvas: str) -> np.ndarray[Any, Any]:
        script = """const c = document.getElementById(arguments[0]);
        return [c.height, c.width, ...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]"""
        height, width, *values = self.browser.execute_script(script, canvas)
        return np.array(values).reshape(height, width, 4)[:, :, :3]

    def slide(self, percent: int, seconds: float = 0.2) -> None:
        script = """const slider = document.getElementById("strength");
        slider.value = arguments[0];
        slider.dispatchEvent(new Event("input"))"""
        self.browser.execute_script(script, percent)
        time.sleep(seconds)

    def asked(self) -> set[str]:
        """Addresses of whatever went over the network."""
        events = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        found = {each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"}
        return {url for url in found if not url.startswith(("blob:", "data:"))}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo that the page need not reduce, so that its pixels are known; saved without loss."""
    path = tmp_path / "castle.png"
    with Image.open(IMAGES / "castle.jpg") as opened:
        opened.convert("RGB").resize((320, 212)).save(path)
    return path


def test_a_visitor_paints_as_the_library_paints(
    stylizer: Stylizer, address: str, browser: Any, photo: Path, tmp_path: Path
) -> None:
    page = Page(browser, address)
    page.find("#photo").send_keys(str(photo))
    page.find("#styles input[value=wave]").click()
    first = page.painted("castle.png", "wave")
    assert "Painted 320 \u00d7 212 pixels" in page.find("#status").text
    own = tmp_path / "my style.png"
    with Image.open(IMAGES / "poppies.jpg") as opened:
        opened.convert("RGB").save(own)
    page.find("#style").send_keys(str(own))
    second = page.painted("castle.png", "my style.png")
    assert not browser.find_elements("css selector", "#styles input:checked")
    page.slide(40)
    third = page.painted("castle.png", "my style.png")
    page.slide(10)
    fourth = page.painted("castle.png", "my style.png")
    page.slide(0)
    np.testing.assert_array_equal(page.painted("castle.png", "my style.png"), np.asarray(Image.open(photo)))
    wanted = [(first, "wave", 1.0), (second, own, 1.0), (third, own, 0.4), (fourth, own, 0.1)]
    for found, style, strength in wanted:
        expected = np.asarray(stylizer(photo, style, strength=strength)).astype(int)
        assert np.abs(found - expected).max() <= 3
    assert np.abs(first - second).mean() > 5

    page.slide(100)
    page.painted("castle.png", "my style.png")
    if target := os.environ.get("AGNLIB_WEB_SCREENSHOT"):
        browser.save_screenshot(target)
    page.find("#download").click()
    downloads = tmp_path / "downloads"
    saved = page.wait(lambda: [each for each in downloads.glob("*.png") if each.stat().st_size], "the file")
    assert saved[0].name == "castle-my-style.png"
    with Image.open(saved[0]) as downloaded:
        np.testing.assert_array_equal(np.asarray(downloaded.convert("RGB")), second)
    page.find("#compare").click()
    assert page.find("#original").is_displayed()
    assert not page.find("#painted").is_displayed()


def test_nothing_leaves_the_folder(address: str, browser: Any, photo: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        visitors: list[Any] = []
        thread = threading.Thread(target=lambda: visitors.append(other.accept()), daemon=True)
        thread.start()
        elsewhere = f"http://127.0.0.1:{other.getsockname()[1]}/"
        page = Page(browser, address)
        page.find("#photo").send_keys(str(photo))
        page.find("#styles input[value=auvers]").click()
        page.painted("castle.png", "auvers")
        page.find("#style").send_keys(str(IMAGES / "poppies.jpg"))
        page.painted("castle.png", "poppies.jpg")
        assert {urllib.parse.urlsplit(url).netloc for url in page.asked()} == {urllib.parse.urlsplit(address).netloc}
        fetched = "const done = arguments[1]; fetch(arguments[0]).then(() => done('sent'), () => done('refused'))"
        assert browser.execute_async_script(fetched, elsewhere) == "refused"
        in_worker = """const done = arguments[1], text = `fetch("${arguments[0]}").then(() => postMessage("sent"),
            () => postMessage("refused"))`;
        const worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
        worker.onmessage = ({ data }) => done(data)"""
        assert browser.execute_async_script(in_worker, elsewhere) == "refused"
        time.sleep(0.3)
        assert visitors == []


def test_the_webcam_is_painted_until_a_picture_is_taken(address: str, browser: Any) -> None:
    page = Page(browser, address)
    page.find("#styles input[value=wave]").click()
    page.find("#camera").click()
    page.wait(lambda: page.find("#painted").is_displayed(), "a frame")
    assert page.find("#camera").text == "Take this picture"
    before = page.pixels("painted")
    page.wait(lambda: np.abs(page.pixels("painted") - before).mean() > 0.1, "another frame")
    assert max(before.shape) == 320
    page.find("#camera").click()
    page.wait(lambda: "Painted 512" in page.find("#status").text, "the picture taken, in the size chosen")
    assert page.find("#camera").text == "Webcam"
    still = page.painted("webcam", "wave")
    time.sleep(0.5)
    np.testing.assert_array_equal(page.pixels("painted"), still)


def test_a_mistake_is_said_and_the_painting_stays(address: str, browser: Any, photo: Path, tmp_path: Path) -> None:
    page = Page(browser, address)
    page.find("#photo").send_keys(str(photo))
    page.find("#styles input[value=wave]").click()
    before = page.painted("castle.png", "wave")
    (tmp_path / "text.png").write_text("no picture")
    for control in ("#photo", "#style"):
        page.find(control).send_keys(str(tmp_path / "text.png"))
        said = page.wait(lambda: page.find("#problem[role=alert]").text, "the message")
        assert "“text.png” is no picture that this browser can read" in said
        np.testing.assert_array_equal(page.painted("castle.png", "wave"), before)
    page.find("#photo").send_keys(str(photo))
    page.wait(lambda: not page.find("#problem").is_displayed(), "the message gone")


def test_the_newest_wish_is_painted_and_not_each_on_the_way(address: str, browser: Any, photo: Path) -> None:
    page = Page(browser, address)
    script = """const sent = Worker.prototype.postMessage;
    window.paints = 0;
    Worker.prototype.postMessage = function (...given) {
        window.paints += given[0].kind === "paint";
        sent.apply(this, given);
    }"""
    browser.execute_script(script)
    page.find("#photo").send_keys(str(photo))
    page.find("#styles input[value=wave]").click()
    for percent in range(95, 45, -5):
        page.slide(percent, 0)
    last = page.painted("castle.png", "wave")
    assert browser.execute_script("return window.paints") <= 6
    page.slide(50)
    np.testing.assert_array_equal(page.painted("castle.png", "wave"), last)


def test_the_page_is_used_by_keyboard_on_a_phone(address: str, browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    page = Page(browser, address)
    page.find("#example").send_keys(Keys.ENTER)
    page.find("#styles input[value=wave]").send_keys(Keys.SPACE)
    page.painted("example.jpg", "wave")
    page.find("#styles input[value=wave]").send_keys(Keys.ARROW_RIGHT)
    page.painted("example.jpg", "auvers")
    page.find("#strength").send_keys(Keys.ARROW_LEFT)
    assert page.find("#strength-value").text == "95%"
    page.find("#compare").send_keys(Keys.ENTER)
    assert page.find("#compare").get_attribute("aria-pressed") == "true"
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    unnamed = """return [...document.querySelectorAll("input, select, button, canvas, progress")].filter((each) =>
        !(each.labels?.length || each.textContent.trim() || each.getAttribute("aria-label"))).map((each) => each.id)"""
    assert browser.execute_script(unnamed) == []
    # the painting stays in sight while styles are chosen, and what has the focus is not below it
    places = """const found = document.activeElement.getBoundingClientRect();
    return [document.getElementById("painted").getBoundingClientRect().top, found.top,
            document.getElementById("view").getBoundingClientRect().bottom]"""
    page.find("#compare").send_keys(Keys.ENTER)
    page.find("#example").send_keys(Keys.TAB)
    for _ in range(5):
        painted, focused, below = browser.execute_script(places)
        assert 0 <= painted < 200
        assert focused >= below
        webdriver.ActionChains(browser).send_keys(Keys.TAB).perform()


def test_a_page_of_which_a_part_is_missing_says_so(site: Path, address: str, browser: Any) -> None:
    (site / "network.onnx").rename(site / "kept")
    try:
        browser.get(address)
        for _ in range(100):
            if said := browser.find_element("id", "problem").text:
                break
            time.sleep(0.1)
        assert "network.onnx is missing in the page's folder (404)" in said
    finally:
        (site / "kept").rename(site / "network.onnx")


def test_as_a_file_it_says_what_to_do(site: Path, browser: Any) -> None:
    browser.get(f"file://{site}/index.html")
    time.sleep(0.5)
    assert "python -m http.server" in browser.find_element("tag name", "main").text
