"""The demo page: its functions against the library's own results, and the page in a real browser."""

from __future__ import annotations

import base64
import io
import os
import re
import shlex
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
from agnlib.cli.main import main
from agnlib.demo._studio import Studio, Wish, blamed
from agnlib.errors import AgnError, InputError, MissingDependencyError

IMAGES = Path(__file__).resolve().parent.parent / "examples" / "images"
FULL = {"strength": 1.0, "texture": 1.0, "color": 1.0, "scale": 1.0}


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    return Stylizer.from_pretrained(device="cpu")


@pytest.fixture
def studio(stylizer: Stylizer, tmp_path: Path) -> Studio:
    return Studio(stylizer, tmp_path)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    Image.fromarray(data.coffee()).resize((90, 60)).save(tmp_path / "my photo.png")
    return str(tmp_path / "my photo.png")


def wish(photo: str | None, way: str, picture: str | None = None, name: str | None = None, **other: Any) -> Wish:
    return Wish(photo, way, picture, name, **{"seed": 0, **FULL, **other})


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


def test_without_gradio_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stylizer: Stylizer
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "agnlib\[demo\]"'):
        demo.serve(stylizer)
    assert main(["demo"]) == 2
    assert "agnlib[demo]" in capsys.readouterr().err


def test_the_page_paints_what_the_library_paints(studio: Studio, photo: str, stylizer: Stylizer) -> None:
    wishes = {"strength": 0.7, "texture": 0.9, "color": 0.5, "scale": 1.5}
    painted, _, line = studio.painted(wish(photo, "a picture", str(IMAGES / "auvers.jpg"), **wishes))
    expected = stylizer(photo, str(IMAGES / "auvers.jpg"), **wishes)
    np.testing.assert_array_equal(pixels(painted), np.asarray(expected))
    assert painted.name == "my photo-painted.png"
    assert line.startswith("90 x 60 pixels")


def test_strength_0_leaves_the_photo(studio: Studio, photo: str) -> None:
    painted, _, _ = studio.painted(wish(photo, "chance", seed=5, strength=0.0))
    np.testing.assert_array_equal(pixels(painted), pixels(Path(photo)))


def test_before_and_after_are_the_photo_and_its_painting(studio: Studio, photo: str) -> None:
    painted, shown, _ = studio.painted(wish(photo, "a name", name="ukiyo-e", seed=3))
    after, before = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(text))), dtype=float)
        for text in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', shown)
    )
    assert abs(after - pixels(painted)).mean() < 6 < abs(after - before).mean()
    assert abs(before - pixels(Path(photo))).mean() < 6
    assert 'alt="my photo.png, painted in the style of ukiyo-e, seed 3"' in shown
    assert "aspect-ratio: 90 / 60" in shown


def test_names_of_files_are_text_and_nothing_else(studio: Studio, photo: str, tmp_path: Path) -> None:
    odd = tmp_path / '"><script>x'
    shutil.copy(photo, odd)
    _, shown, _ = studio.painted(wish(str(odd), "chance"))
    assert "<script" not in shown
    assert "&quot;&gt;&lt;script&gt;x, the photo" in shown


@pytest.mark.parametrize(
    "given",
    [
        ("a picture", "auvers.jpg", None, {"scale": 1.5, "color": 0.25}),
        ("a name", None, "ukiyo-e", {"seed": 3, "strength": 0.7}),
        ("chance", None, None, {"seed": 12345, "texture": 0.6}),
    ],
    ids=lambda given: given[0],
)
def test_the_recipe_paints_the_same(
    studio: Studio, photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[Any, ...]
) -> None:
    way, picture, name, other = given
    asked = wish(photo, way, picture and str(IMAGES / picture), name, **other)
    painted, _, _ = studio.painted(asked)
    shutil.copy(IMAGES / "auvers.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    command = shlex.split(asked.recipe(studio.stylizer.name))
    assert command[0] == "agnlib"
    assert main(command[1:]) == 0
    np.testing.assert_array_equal(pixels(tmp_path / "my photo-painted.png"), pixels(painted))


def test_the_recipe_of_a_name_that_looks_like_an_option(photo: str) -> None:
    words = shlex.split(wish("/x/-rf.png", "a picture", "/x/--out.jpg").recipe("agn-base"))
    assert words == (
        ["agnlib", "stylize", "./-rf.png", "--style", "./--out.jpg", "--weights", "agn-base", "-o", "rf-painted.png"]
    )


def test_a_seed_gives_the_same_picture_and_another_seed_another(studio: Studio, photo: str) -> None:
    def painted(way: str, seed: int) -> np.ndarray:
        return pixels(studio.painted(wish(photo, way, name="ukiyo-e", seed=seed))[0])

    for way in ("a name", "chance"):
        np.testing.assert_array_equal(painted(way, 3), painted(way, 3))
        assert (painted(way, 3) != painted(way, 4)).any()


def test_progress_is_told_in_parts_of_the_area(studio: Studio, tmp_path: Path) -> None:
    Image.fromarray(data.coffee()).resize((1500, 1000)).save(tmp_path / "large.png")
    told: list[float] = []
    studio.painted(wish(str(tmp_path / "large.png"), "chance"), told.append)
    assert told == [pytest.approx(752 / 1500), 1.0]  # tiles begin at multiples of the generator's stride


def test_a_painting_that_takes_too_long_is_given_up(
    studio: Studio, photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agnlib.demo._studio._LONGEST_SECONDS", -60)
    with pytest.raises(InputError, match="give a smaller photo"):
        studio.painted(wish(photo, "chance"))
    assert not [each for each in tmp_path.glob("*/*") if each.is_file()]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, "chance"), "drop a photo first"),
        (("photo", "a picture"), "drop a style picture first"),
        (("photo", "a name"), "choose a name first"),
        (("photo", "chance", None, None, -1), "seed must be a whole number"),
        (("text", "chance"), "'text.png' is not a picture"),
        (("bomb", "chance"), "'bomb.png' is 12000 x 12000 pixels, more than the limit"),
    ],
)
def test_a_mistake_is_a_line(studio: Studio, photo: str, tmp_path: Path, given: tuple[Any, ...], expected: str) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.new("1", (12_000, 12_000)).save(tmp_path / "bomb.png")
    files = {"photo": photo, "text": str(tmp_path / "text.png"), "bomb": str(tmp_path / "bomb.png"), None: None}
    with pytest.raises(AgnError) as error:
        studio.painted(wish(files[given[0]], *given[1:4], **({"seed": given[4]} if len(given) > 4 else {})))
    assert expected in blamed(error.value)
    assert str(tmp_path) not in blamed(error.value)
    assert not list(tmp_path.glob("*/*.png"))


def test_nothing_is_asked_for_before_there_is_something_to_paint() -> None:
    assert [wish("a", way).is_whole for way in ("a picture", "a name", "chance")] == [False, False, True]
    assert [wish("a", way, "b", "c").is_whole for way in ("a picture", "a name", "chance")] == [True] * 3
    assert not wish(None, "chance").is_whole


def test_old_paintings_are_removed(studio: Studio, photo: str, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    os.utime(old, (0, 0))
    studio.painted(wish(photo, "chance", seed=5))
    assert not old.exists()


def test_thumbnails_are_small_paintings(studio: Studio) -> None:
    names, seeds = studio.thumbnails(IMAGES / "castle.jpg")
    assert tuple(names) == studio.stylizer.class_names
    assert list(seeds) == [str(seed) for seed in range(1, 9)]
    assert len({*names.values(), *seeds.values()}) == len(names) + len(seeds)
    assert max(map(len, [*names.values(), *seeds.values()])) < 10_000
    assert names["cubism"] != seeds["1"]


def test_a_port_that_is_taken_says_so(stylizer: Stylizer, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio", reason="the extra `demo` is not installed")
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, pytest.raises(InputError, match="choose another with --host or --port"):
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
