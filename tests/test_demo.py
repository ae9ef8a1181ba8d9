"""The demo page: its functions against the library's own results, and the page in a real browser."""

from __future__ import annotations

import os
import shutil
import socket
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

from agnlib import Stylizer, demo
from agnlib.cli import main
from agnlib.errors import InputError, MissingDependencyError

IMAGES = Path(__file__).resolve().parent.parent / "examples" / "images"
WISHES = (1.0, 1.0, 1.0, 1.0)  # strength, texture, color, scale


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    return Stylizer.from_pretrained(device="cpu")


@pytest.fixture
def studio(stylizer: Stylizer, tmp_path: Path) -> Any:
    pytest.importorskip("gradio", reason="the extra `demo` is not installed")
    return demo._Studio(stylizer, tmp_path)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    Image.fromarray(data.coffee()).resize((90, 60)).save(tmp_path / "my photo.png")
    return str(tmp_path / "my photo.png")


def test_without_gradio_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stylizer: Stylizer
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "agnlib\[demo\]"'):
        demo.serve(stylizer)
    assert main(["demo"]) == 2
    assert "agnlib[demo]" in capsys.readouterr().err


def test_the_page_paints_what_the_library_paints(studio: Any, photo: str, stylizer: Stylizer) -> None:
    wishes = (0.7, 0.9, 0.5, 1.5)
    shown, download, note = studio.painted(photo, "a picture", str(IMAGES / "auvers.jpg"), None, 0, *wishes)
    expected = stylizer(photo, str(IMAGES / "auvers.jpg"), strength=0.7, texture=0.9, color=0.5, scale=1.5)
    with Image.open(download["value"]) as written:
        np.testing.assert_array_equal(np.asarray(written), np.asarray(expected))
    assert Path(download["value"]).name == "my photo-painted.png"
    assert note.startswith("90 x 60 pixels")
    assert [Image.open(each).size for each in shown] == [(90, 60)] * 2


def test_strength_0_leaves_the_photo(studio: Any, photo: str) -> None:
    _, download, _ = studio.painted(photo, "chance", None, None, 5, 0.0, 1.0, 1.0, 1.0)
    with Image.open(download["value"]) as written, Image.open(photo) as original:
        np.testing.assert_array_equal(np.asarray(written), np.asarray(original))


def test_a_seed_gives_the_same_picture_and_another_seed_another(studio: Any, photo: str) -> None:
    def painted(way: str, seed: int) -> np.ndarray:
        _, download, _ = studio.painted(photo, way, None, "ukiyo-e", seed, *WISHES)
        with Image.open(download["value"]) as written:
            return np.asarray(written)

    for way in ("a name", "chance"):
        np.testing.assert_array_equal(painted(way, 3), painted(way, 3))
        assert (painted(way, 3) != painted(way, 4)).any()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, "chance", None, None), "drop a photo first"),
        (("photo", "a picture", None, None), "drop a style picture first"),
        (("photo", "a name", None, None), "choose a name first"),
        (("text", "chance", None, None), "'text.png' is not a picture"),
        (("bomb", "chance", None, None), "'bomb.png' is 12000 x 12000 pixels, more than the limit"),
    ],
)
def test_a_mistake_is_a_line_on_the_page(
    studio: Any, photo: str, tmp_path: Path, given: tuple[Any, ...], expected: str
) -> None:
    import gradio

    (tmp_path / "text.png").write_text("no picture")
    Image.new("1", (12_000, 12_000)).save(tmp_path / "bomb.png")
    files = {"photo": photo, "text": str(tmp_path / "text.png"), "bomb": str(tmp_path / "bomb.png"), None: None}
    with pytest.raises(gradio.Error) as error:
        studio.painted(files[given[0]], *given[1:], 0, *WISHES)
    assert expected in error.value.message
    assert str(tmp_path) not in error.value.message
    assert not list(tmp_path.glob("*/*.png"))


def test_sliders_do_nothing_before_there_is_something_to_paint(studio: Any, photo: str) -> None:
    assert all(each["__type__"] == "update" for each in studio.repainted(photo, "a picture", None, None, 0, *WISHES))


def test_old_paintings_are_removed(studio: Any, photo: str, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    os.utime(old, (0, 0))
    studio.painted(photo, "chance", None, None, 5, *WISHES)
    assert not old.exists()


def test_a_port_that_is_taken_says_so(stylizer: Stylizer, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio", reason="the extra `demo` is not installed")
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, pytest.raises(InputError, match="choose another with --port"):
        demo.serve(stylizer, port=taken.getsockname()[1])
    assert main(["demo", "--port", "70000"]) == 2
    assert "from 0 to 65535" in capsys.readouterr().err


# The page itself


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
    for _ in range(600):
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
        pictures = browser.find_elements(By.CSS_SELECTOR, "#result img")
        return next((each.get_attribute("src") for each in pictures if "after" in each.get_attribute("src")), "")

    Image.fromarray(data.coffee()).save(tmp_path / "coffee.png")
    browser.get(address)
    wait(lambda: find("#photo input[type=file]"), "the page").send_keys(str(tmp_path / "coffee.png"))
    find("#style input[type=file]").send_keys(str(IMAGES / "auvers.jpg"))
    wait(lambda: find("#photo img"), "the uploaded photo")
    wait(lambda: find("#style img"), "the uploaded style")
    find("#paint").click()
    first = wait(result, "the painting")
    assert "600 x 400 pixels" in wait(lambda: "pixels" in find("#note").text and find("#note").text, "the note")

    if target := os.environ.get("AGNLIB_DEMO_SCREENSHOT"):
        time.sleep(1)
        browser.execute_script("window.scrollTo(0, 0)")
        browser.save_screenshot(target)

    slider = find("#strength input[type=number]")
    slider.send_keys(Keys.CONTROL, "a")
    slider.send_keys("0.3", Keys.TAB)
    second = wait(lambda: result() != first and result(), "a weaker painting")

    wait(lambda: find("#way input[value=chance]"), "the choice").click()
    wait(lambda: find("#dice").is_displayed() and find("#dice"), "the dice").click()
    third = wait(lambda: result() != second and result(), "a painting by chance")
    pictures = [np.asarray(Image.open(urllib.request.urlopen(each)), dtype=int) for each in (first, second, third)]
    assert abs(pictures[0] - pictures[1]).mean() > 2
    assert abs(pictures[1] - pictures[2]).mean() > 2

    find("#download").click()
    saved = wait(lambda: [each for each in (tmp_path / "downloads").glob("*.png") if each.stat().st_size], "the file")
    assert saved[0].name == "coffee-painted.png"
    with Image.open(saved[0]) as downloaded:
        assert downloaded.size == (600, 400)
    assert_same_host(browser, address)


def test_a_file_that_is_no_picture_is_a_line_even_after_the_choice_was_changed(
    address: str, browser: Any, tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By

    def find(selector: str) -> Any:
        return browser.find_element(By.CSS_SELECTOR, selector)

    Image.fromarray(data.coffee()).resize((60, 40)).save(tmp_path / "coffee.png")
    (tmp_path / "text.png").write_text("no picture")
    browser.get(address)
    wait(lambda: find("#photo input[type=file]"), "the page").send_keys(str(tmp_path / "coffee.png"))
    find("#way input[value=chance]").click()
    wait(lambda: find("#dice").is_displayed(), "the dice")
    find("#way input[value='a picture']").click()
    wait(lambda: find("#style input[type=file]"), "the style").send_keys(str(tmp_path / "text.png"))
    wait(lambda: find("#style img"), "the uploaded style")
    find("#paint").click()
    said = wait(lambda: find(".toast-body").text, "the message")
    assert "'text.png' is not a picture that can be read" in said


def assert_same_host(browser: Any, address: str) -> None:
    """Whatever the page asked for over the network, it asked of its own host."""
    import json

    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
    asked = [url for url in asked if not url.startswith(("data:", "blob:"))]
    assert any(url.endswith(".js") for url in asked)
    assert {urllib.parse.urlsplit(url).netloc for url in asked} == {urllib.parse.urlsplit(address).netloc}
