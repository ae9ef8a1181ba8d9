"""Neural neighbors: each piece against what somebody else computes, and the promises of the whole."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from agnlib import Stylizer
from agnlib.cli import main as cli
from agnlib.errors import InputError
from agnlib.folder import stylize_folder
from agnlib.models import Generator, StyleExtractor
from agnlib.neighbors import Plan, Progress, Reference, _reference, _windows, paint
from agnlib.neighbors._color import color_moments, recolored
from agnlib.neighbors._features import columns
from agnlib.neighbors._matching import directions, nearest, nearest_by_share
from agnlib.neighbors._pyramid import collapsed, pyramid
from agnlib.neighbors._reference import Keys
from agnlib.neighbors._scale import Scale, Weights, cosine_slope
from agnlib.neighbors._statistics import MomentSlopes, Sums, mixed, moment_distance
from agnlib.painting import _neighbor_painter
from agnlib.tiling import Box


class SmallEncoder(nn.Module):
    """Two random layers, at whole and half size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1)
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> Mapping[str, Tensor]:
        fine = F.relu(self.first(image))
        return {"fine": fine, "coarse": F.relu(self.second(F.max_pool2d(fine, 2)))}


ENCODER = SmallEncoder()


def picture(seed: int, height: int = 48, width: int = 64) -> Tensor:
    """Clouds of a few colors."""
    small = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return F.interpolate(small, (height, width), mode="bicubic").clamp(-1, 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 30), st.integers(2, 20), st.integers(0, 1000))
def test_nearest_is_the_largest_cosine_by_brute_force(queries: int, keys: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    own, other = random.normal(size=(queries, width)), random.normal(size=(keys, width))
    mean = own.mean(0)
    found = nearest(
        directions(torch.from_numpy(own), torch.from_numpy(mean)),
        directions(torch.from_numpy(other), torch.from_numpy(other.mean(0))),
    )
    for row, index in zip(own - mean, found.tolist(), strict=True):
        centered = other - other.mean(0)
        cosines = centered @ row / np.maximum(np.linalg.norm(centered, axis=1), 1e-12)
        assert cosines[index] == pytest.approx(cosines.max(), abs=1e-9)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_each_reference_gets_its_share_of_the_places(share: float) -> None:
    random = torch.Generator().manual_seed(1)
    queries, one, other = (F.normalize(torch.randn(n, 6, generator=random), dim=1) for n in (2000, 50, 60))
    found = nearest_by_share(queries, [one, other], [share, 1 - share])
    assert (found < 50).double().mean().item() == pytest.approx(share, abs=0.01)
    inside = found < 50
    assert torch.equal(found[inside], nearest(queries[inside], one))
    assert torch.equal(found[~inside], nearest(queries[~inside], other) + 50)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 8))
def test_a_pyramid_collapses_to_its_picture(height: int, width: int, levels: int) -> None:
    image = torch.rand(1, 3, height, width, dtype=torch.float64)
    torch.testing.assert_close(collapsed(pyramid(image, levels)), image, rtol=0, atol=1e-12)


def test_recolored_has_the_moments_that_numpy_finds_in_the_reference() -> None:
    image, other = picture(0).double(), picture(1).double()
    result = recolored(image, color_moments(image), color_moments(other))[0].flatten(1).numpy()
    wanted = other[0].flatten(1).numpy()
    np.testing.assert_allclose(result.mean(1), wanted.mean(1), atol=1e-9)
    np.testing.assert_allclose(np.cov(result, bias=True), np.cov(wanted, bias=True), atol=1e-4)


def test_columns_are_means_over_four_by_four_pixels() -> None:
    image = picture(2)
    found = columns(lambda x: {"pixels": x}, image)["pixels"]
    blocks = image[0].unfold(1, 4, 4).unfold(2, 4, 4).mean((3, 4)).flatten(1).T
    torch.testing.assert_close(found, blocks)


def test_two_windows_have_the_slope_of_the_whole_distance() -> None:
    random = torch.Generator().manual_seed(3)
    rows = torch.randn(40, 5, generator=random, dtype=torch.float64).requires_grad_()
    wanted = {"a": (torch.randn(5, generator=random), torch.rand(5, generator=random) + 0.5)}
    exact = moment_distance({"a": (rows.mean(0), rows.std(0, correction=0))}, wanted)
    (slope,) = torch.autograd.grad(exact, rows)
    parts = [Sums.of({"a": each.detach()}) for each in rows.split(25)]
    slopes = MomentSlopes.at(parts[0] + parts[1], wanted)
    found = torch.cat([slopes.by_rows({"a": each.detach().float()})["a"] for each in rows.split(25)])
    torch.testing.assert_close(found.double(), slope, rtol=1e-4, atol=1e-6)


def test_the_slope_of_the_cosine_is_that_by_autograd() -> None:
    random = torch.Generator().manual_seed(4)
    rows = {tap: torch.randn(30, width, generator=random, dtype=torch.float64) for tap, width in (("a", 3), ("b", 7))}
    wanted = {tap: torch.randn(each.shape, generator=random, dtype=torch.float64) for tap, each in rows.items()}
    leaves = [each.clone().requires_grad_() for each in rows.values()]
    cosine = F.cosine_similarity(torch.cat(leaves, dim=1), torch.cat(list(wanted.values()), dim=1), dim=1)
    slopes = torch.autograd.grad(0.7 * (1 - cosine).sum(), leaves)
    for found, slope in zip(cosine_slope(rows, wanted, 0.7).values(), slopes, strict=True):
        torch.testing.assert_close(found, slope)


def test_a_black_row_has_no_slope() -> None:
    assert not cosine_slope({"a": torch.zeros(1, 3)}, {"a": torch.zeros(1, 3)}, 1.0)["a"].any()
    assert not cosine_slope({"a": torch.ones(1, 3)}, {"a": torch.zeros(1, 3)}, 1.0)["a"].any()


def test_mixed_moments_are_those_of_all_rows_together() -> None:
    one, other = torch.randn(300, 4), torch.randn(100, 4) + 2
    mean, deviation = mixed([(Sums.of({"a": rows}).moments(), share) for rows, share in ((one, 0.75), (other, 0.25))])[
        "a"
    ]
    both = torch.cat([one, other])
    torch.testing.assert_close(mean, both.mean(0))
    torch.testing.assert_close(deviation, both.std(0, correction=0))


def test_painting_brings_features_nearer_to_the_reference() -> None:
    photo, reference = picture(4), picture(5, 64, 64)
    keys = Keys.of([Reference(reference)], ENCODER, 64)
    painted = paint(photo, photo, [[Reference(reference)]], ENCODER, plan=Plan(0.3))

    def distance(image: Tensor) -> float:
        return moment_distance(Sums.of(columns(ENCODER, image)).moments(), keys.moments).item()

    assert distance(painted) < 0.5 * distance(photo)
    for found, wanted in zip(color_moments(painted), color_moments(reference), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=0.05)  # but for what was cut off at white and black


def test_what_is_told_on_the_way_is_without_the_padding() -> None:
    photo, seen = picture(14, 40, 56), list[Tensor]()
    paint(photo, photo, [[Reference(picture(15))]], ENCODER, on_step=lambda now: seen.append(now.picture))
    assert {tuple(each.shape) for each in seen} == {(1, 3, 40, 56)}


def test_a_region_is_matched_with_its_own_reference_only() -> None:
    photo = picture(6, 64, 64)
    red, blue = (
        torch.tensor(color).view(1, 3, 1, 1).expand(1, 3, 64, 64) for color in ((0.9, -0.9, -0.9), (-0.9, -0.9, 0.9))
    )
    left = torch.zeros(1, 1, 64, 64)
    left[..., :32] = 1
    shares = torch.cat([left, 1 - left], dim=1)
    painted = paint(photo, photo, [[Reference(red)], [Reference(blue)]], ENCODER, shares=shares)
    assert (painted[:, 0, :, :24] > painted[:, 2, :, :24]).all()
    assert (painted[:, 2, :, 40:] > painted[:, 0, :, 40:]).all()


def test_windows_give_the_picture_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    photo, keys = picture(7, 128, 160), Keys.of([Reference(picture(8, 96, 96))], ENCODER, 96)

    def painted() -> Tensor:
        return Scale(ENCODER, photo, [keys], weights=Weights(similarity=1)).paint(photo, 6)

    def slope(image: Tensor) -> Tensor:
        scale = Scale(ENCODER, photo, [keys], weights=Weights(moments=0))
        return scale._slope(image, *scale._match(image), None)[0]

    whole = painted()
    exact = [slope(image) for image in (photo, whole)]
    monkeypatch.setattr(_windows, "_WINDOW", 96)
    monkeypatch.setattr(_windows, "_MARGIN", 16)
    for image, wanted in zip((photo, whole), exact, strict=True):
        torch.testing.assert_close(slope(image), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
    # moments lag a step behind and likenesses are a window's own: another picture, but without a seam
    steps, wanted = (image.diff(dim=2).abs().mean((0, 1, 3)) for image in (painted(), whole))
    seams = [box.top - 1 for box in Box(0, 0, 128, 160).split(96, align=16, halo=16) if box.top]
    assert seams
    assert all(steps[seam] < 1.3 * wanted[seam] for seam in seams)


def test_a_reference_seen_in_windows_offers_what_the_whole_does(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = picture(33, 128, 160)
    whole = [columns(ENCODER, each) for each in (reference, reference.flip(3))]
    monkeypatch.setattr(_windows, "_WINDOW", 96)
    monkeypatch.setattr(_windows, "_MARGIN", 16)
    keys = Keys.of([Reference(reference)], ENCODER, 128)
    for tap, rows in keys.sets[0].items():
        every = torch.cat([each[tap] for each in whole])
        torch.testing.assert_close(rows, every)
        torch.testing.assert_close(
            keys.moments[tap], (every.mean(0), every.std(0, correction=0).clamp_min(1e-3)), atol=1e-5, rtol=1e-4
        )
    monkeypatch.setattr(_reference, "_MOST", 100)
    some = Keys.of([Reference(reference)], ENCODER, 128)
    assert {tap: len(rows) for tap, rows in some.sets[0].items()} == {"fine": 100, "coarse": 100}
    torch.testing.assert_close(some.moments, keys.moments, rtol=0, atol=0)
    assert (torch.cdist(some.sets[0]["fine"], keys.sets[0]["fine"]).min(1).values < 1e-3).all()


def test_gray_references_leave_no_color() -> None:
    gray = picture(31).mean(1, keepdim=True).expand(-1, 3, -1, -1)
    image = picture(32) * 0.02 + gray
    moved = recolored(image, color_moments(image), color_moments(gray))
    assert (moved - moved.mean(1, keepdim=True)).abs().max() < 0.02


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (33, 17), (40, 40)])
def test_any_size(size: tuple[int, int]) -> None:
    photo = picture(9, *size)
    painted = paint(photo, photo, [[Reference(picture(10))]], ENCODER)
    assert painted.shape == photo.shape
    assert painted.isfinite().all()
    assert painted.abs().max() <= 1


def test_the_same_input_gives_the_same_picture() -> None:
    photo, references = picture(11), [[Reference(picture(12), 0.5), Reference(picture(13), 0.5)]]
    assert torch.equal(*(paint(photo, photo, references, ENCODER) for _ in range(2)))


def test_progress_ends_at_its_total_and_stops_the_work() -> None:
    photo, references, seen = picture(14), [[Reference(picture(15))]], list[Progress]()
    paint(photo, photo, references, ENCODER, plan=Plan(0.0), on_step=seen.append)
    assert seen[-1].done == pytest.approx(seen[-1].total)
    assert all(one.done < other.done for one, other in itertools.pairwise(seen))

    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        paint(photo, photo, references, ENCODER, on_step=stop)
    with pytest.raises(InputError, match="on_step must be a function that takes a Progress, got 3"):
        paint(photo, photo, references, ENCODER, on_step=3)  # type: ignore[arg-type]


def test_a_plan_goes_from_coarse_to_fine_and_drawing_shortens_it() -> None:
    starts = [Plan(drawing / 10).sides(512)[0][0] for drawing in range(11)]
    assert starts == sorted(starts)
    assert (starts[0], starts[-1]) == (64, 512)
    assert Plan(0.5).sides(40) == [(40, 18)]


@pytest.mark.parametrize("drawing", [-0.1, 1.1, float("nan"), True, "much"])
def test_drawing_outside_its_range(drawing: float) -> None:
    with pytest.raises(InputError, match="drawing must be a number from 0"):
        Plan(drawing)


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    torch.manual_seed(0)
    return Stylizer(
        Generator(style_dim=16, channels=(4, 4, 8), blocks=(0, 0, 1)), StyleExtractor(style_dim=16), device="cpu"
    )


def array(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    return ((picture(seed, height, width)[0].permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)


def test_at_the_door(stylizer: Stylizer, tmp_path: Path) -> None:
    photo, reference = array(16), array(17)
    painted = stylizer(photo, reference, method="neighbors", drawing=0.8)
    assert painted.shape == photo.shape
    assert painted.dtype == np.uint8
    apart = np.abs(painted.astype(float).mean((0, 1)) - reference.astype(float).mean((0, 1)))
    assert apart.max() < 6  # the reference's colors
    Image.fromarray(photo).save(tmp_path / "photo.png")
    stylizer.stylize_file(tmp_path / "photo.png", tmp_path / "out.png", reference, method="neighbors", drawing=0.8)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), painted)


def test_strength_goes_to_the_photo(stylizer: Stylizer) -> None:
    photo, reference = array(18), array(19)
    assert np.array_equal(stylizer(photo, reference, method="neighbors", strength=0), photo)
    apart = [
        np.abs(stylizer(photo, reference, method="neighbors", strength=s).astype(float) - photo).mean()
        for s in (0.1, 0.5, 1.0)
    ]
    assert apart == sorted(apart)


def test_the_photo_stays_where_no_mask_is(stylizer: Stylizer) -> None:
    photo = array(20)
    mask = np.zeros((48, 64), dtype=bool)
    mask[:, :32] = True
    painted = stylizer(photo, array(21), method="neighbors", mask=mask)
    assert np.array_equal(painted[:, 32:], photo[:, 32:])
    assert np.abs(painted[:, :32].astype(float) - photo[:, :32]).mean() > 5


def test_alpha_and_colors_are_kept(stylizer: Stylizer) -> None:
    photo = np.dstack([array(22), np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))])
    painted = stylizer(photo, array(23), method="neighbors", preserve_color=True)
    assert np.array_equal(painted[..., 3], photo[..., 3])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "magic"}, "method must be 'network' or 'neighbors', got 'magic'"),
        ({"drawing": 0.5}, 'drawing is for method="neighbors"'),
        ({"on_step": print}, 'on_step is for method="neighbors"'),
        ({"method": "neighbors", "on_step": 3}, "on_step must be a function that takes a Progress, got 3"),
        ({"method": "neighbors", "drawing": 2}, "drawing must be a number from 0"),
    ],
)
def test_options_that_do_not_fit(stylizer: Stylizer, options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        stylizer(array(24), array(25), **options)


def test_a_style_without_a_picture_is_refused(stylizer: Stylizer) -> None:
    code = stylizer.encode_style(array(26))
    with pytest.raises(InputError, match="a style code has none; give a picture"):
        stylizer(array(27), code, method="neighbors")


@pytest.mark.parametrize("style", ["no such name", "no.safetensors", "damaged.SAFETENSORS"])
def test_a_style_that_can_be_no_picture_is_named(
    stylizer: Stylizer, tmp_path: Path, style: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(array(27)).save("photo.png")
    Path("damaged.SAFETENSORS").write_bytes(b"torn")
    is_what = {"no.safetensors": "does not exist", "damaged.SAFETENSORS": "is no style's file"}
    said = f"style: {style!r} {is_what.get(style, 'is no file')}, and "
    for wish in (style, [(style, 1.0), (array(28), 1.0)]):
        with pytest.raises(InputError, match=f"^{re.escape(said)}.*; (give a picture, or|there are auvers, )"):
            stylizer(array(27), wish, method="neighbors")
    assert cli.main(["stylize", "photo.png", "--style", style, "--method", "neighbors", "-o", "o.png"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("options", [{}, {"texture": 0.5}])
def test_of_a_batch_progress_is_that_of_all(stylizer: Stylizer, options: dict[str, float]) -> None:
    seen: list[Progress] = []
    photos = torch.from_numpy(np.stack([array(50, 32, 32), array(51, 32, 32)])).permute(0, 3, 1, 2)
    stylizer(photos, array(52), method="neighbors", drawing=1.0, on_step=seen.append, **options)
    alone: list[Progress] = []
    stylizer(photos[0], array(52), method="neighbors", drawing=1.0, on_step=alone.append)
    times = 2 * (1 + len(options))
    assert {each.total for each in seen} == {times * alone[0].total}
    assert [each.done for each in seen] == [n * alone[0].total + each.done for n in range(times) for each in alone]
    assert seen[-1].done == seen[-1].total


def test_a_clip_is_refused(stylizer: Stylizer) -> None:
    with pytest.raises(InputError, match="is for pictures"):
        stylizer.stylize_video("in.mp4", "out.mp4", array(28), method="neighbors")


def test_an_interrupted_file_is_not_written(stylizer: Stylizer, tmp_path: Path) -> None:
    Image.fromarray(array(29)).save(tmp_path / "photo.png")

    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stylizer.stylize_file(tmp_path / "photo.png", tmp_path / "out.png", array(30), method="neighbors", on_step=stop)
    assert [each.name for each in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.parametrize("weights", [(1, -1), (0, 0), ("a", 1)])
def test_weights_that_are_none(stylizer: Stylizer, weights: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="weight"):
        stylizer(array(33), list(zip((array(34), array(35)), weights, strict=True)), method="neighbors")


def test_a_folder_goes_on_and_notices_other_settings(stylizer: Stylizer, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(array(36)).save(tmp_path / "photos" / "a.png")
    given = (stylizer, tmp_path / "photos", tmp_path / "painted", array(37))
    assert stylize_folder(*given, method="neighbors", drawing=1.0).summary() == "1 painted"
    assert stylize_folder(*given, method="neighbors", drawing=1.0).summary() == "1 kept"
    with pytest.raises(InputError, match=r"drawing was 1\.0, is 0\.5"):
        stylize_folder(*given, method="neighbors", drawing=0.5)
    expected = stylizer(array(36), array(37), method="neighbors", drawing=1.0)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "painted" / "a.png")), expected)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed in (("photo", 38), ("style", 39)):
        Image.fromarray(array(seed, 32, 40)).save(tmp_path / f"{name}.png")
    begun = [
        "stylize",
        str(tmp_path / "photo.png"),
        "--style",
        str(tmp_path / "style.png"),
        "-o",
        str(tmp_path / "o.png"),
    ]
    assert cli.main([*begun, "--method", "neighbors", "--drawing", "1"]) == 0
    assert Image.open(tmp_path / "o.png").size == (40, 32)
    assert "40 x 32 pixels" in capsys.readouterr().err
    (tmp_path / "o.png").unlink()
    assert cli.main([*begun, "--drawing", "1"]) == 2
    assert 'drawing is for method="neighbors"' in capsys.readouterr().err


@pytest.mark.parametrize("around", ["inference", "autocast", "meta"])
def test_modes_and_defaults_of_the_caller_change_nothing(stylizer: Stylizer, around: str) -> None:
    photo, reference = array(40, 32, 32), array(41)
    expected = stylizer(photo, reference, method="neighbors", drawing=1.0)
    _neighbor_painter._encoder.cache_clear()
    modes = {
        "inference": torch.inference_mode(),
        "autocast": torch.autocast("cpu", torch.bfloat16),
        "meta": torch.device("meta"),
    }
    with modes[around]:
        painted = stylizer(photo, reference, method="neighbors", drawing=1.0)
        by_network = stylizer(photo, reference)
    np.testing.assert_array_equal(painted, expected)
    np.testing.assert_array_equal(by_network, stylizer(photo, reference))
