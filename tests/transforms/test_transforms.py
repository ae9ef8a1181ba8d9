"""The transforms: Recolor and RotateToCover, as torchvision's pipelines use them."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from skimage.transform import AffineTransform, warp
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

import agnlib
from agnlib.errors import InputError
from agnlib.transforms import Recolor, RotateToCover

COLORS = st.tuples(*[st.integers(0, 255)] * 3)
SIDES = st.integers(8, 90)
ANGLES = st.floats(-360, 360)
REGIONS = st.tuples(st.integers(1, 90), st.integers(1, 90))


# -- Recolor ------------------------------------------------------------------------------------------------------


@given(COLORS, COLORS)
def test_recolor_of_a_gray_picture_is_pils_colorize(ink: tuple[int, ...], paper: tuple[int, ...]) -> None:
    gray = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    ours = np.asarray(Recolor(ink, paper)(gray), dtype=int)
    theirs = np.asarray(ImageOps.colorize(gray, ink, paper), dtype=int)
    assert np.abs(ours - theirs).max() <= 1  # Pillow rounds down
    assert tuple(ours[0, 0]) == ink
    assert tuple(ours[-1, -1]) == paper


@given(COLORS, COLORS, st.sampled_from([torch.uint8, torch.float16, torch.float32, torch.float64]), st.booleans())
def test_recolor_is_exact_at_both_ends_and_linear_between(
    ink: tuple[int, ...], paper: tuple[int, ...], dtype: torch.dtype, colored: bool
) -> None:
    white = 255 if dtype == torch.uint8 else 1
    gray = (torch.linspace(0, 1, 9, dtype=torch.float64) * white).to(dtype).expand(2, 3 if colored else 1, 4, 9)
    painted = Recolor(ink, paper)(gray)
    assert painted.shape == (2, 3, 4, 9)
    assert painted.dtype == dtype
    unit = 1 if dtype == torch.uint8 else 255
    ends = [(torch.tensor(color, dtype=torch.float64) / unit).to(dtype) for color in (ink, paper)]
    assert torch.equal(painted[0, :, 0, 0], ends[0])
    assert torch.equal(painted[0, :, 0, -1], ends[1])
    share = gray[0, 0, 0].double() / white
    line = (torch.tensor(ink)[:, None] * (1 - share) + torch.tensor(paper)[:, None] * share) / unit
    step = {torch.uint8: 0.5 + 1e-9, torch.float16: 1e-3, torch.float32: 1e-6, torch.float64: 1e-12}[dtype]
    assert (painted[0, :, 0].double() - line).abs().max() <= step


def test_recolor_takes_the_luminance_that_pillow_takes() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    colored = Image.fromarray(pixels)
    ours, of_gray = (np.asarray(Recolor("navy", "gold")(p), dtype=int) for p in (colored, colored.convert("L")))
    assert np.abs(ours - of_gray).max() <= 1


def test_recolor_keeps_every_kind_of_picture() -> None:
    recolor = Recolor("#0000ff", (255, 0, 0))
    digit = torch.zeros(1, 6, 5, dtype=torch.uint8)
    assert torch.equal(recolor(digit), torch.tensor([0, 0, 255], dtype=torch.uint8)[:, None, None].expand(3, 6, 5))
    for mode in ("1", "L", "P", "RGB"):
        assert recolor(Image.new(mode, (5, 6))).getpixel((2, 2)) == (0, 0, 255)
    mask = tv_tensors.Mask(torch.ones(6, 5, dtype=torch.uint8))
    image, kept, label = recolor(tv_tensors.Image(digit), mask, 7)
    assert isinstance(image, tv_tensors.Image)
    assert kept is mask
    assert label == 7
    assert isinstance(recolor(tv_tensors.Video(digit[None])), tv_tensors.Video)


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (torch.full((1, 4, 4), 1.5), "Normalize"),
        (torch.full((1, 4, 4), math.nan), "\\[0, 1\\], got NaN"),
        (torch.zeros(2, 4, 4), "1 or 3"),
        (torch.zeros(4, 4), "1 or 3"),
        (torch.zeros(1, 4, 4, dtype=torch.int64), "uint8"),
        (Image.new("RGBA", (4, 4)), "RGBA"),
    ],
)
def test_recolor_says_what_is_wrong_with_a_picture(picture: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Recolor("blue", "red")(picture)


@pytest.mark.parametrize("color", ["bluish", (1, 2), (1, 2, 300), (0.1, 0.2, 0.3), 7, "rgba(1,2,3,4)"])
def test_recolor_says_what_is_wrong_with_a_color(color: Any) -> None:
    with pytest.raises(InputError, match="foreground"):
        Recolor(color, "red")


# -- RotateToCover ------------------------------------------------------------------------------------------------


def seen_map(transform: RotateToCover, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The linear map from the region to the source, and the source point under the region's center, read off a ramp."""
    down, right = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    ramp = torch.stack([right + 0.5 - width / 2, down + 0.5 - height / 2])
    seen = transform(ramp).flatten(1).numpy().T
    high, wide = transform.size
    y, x = np.indices((high, wide)).reshape(2, -1) + 0.5 - np.array([[high], [wide]]) / 2
    # towards the source's edge values are held, or shrunk from fewer neighbors: look where neither happens
    inside = (np.abs(seen) < np.array([width, height]) / 2 - max(2, height / high + 1, width / wide + 1)).all(1)
    points = np.stack([x, y, np.ones_like(x)], 1)[inside]
    fitted, _, rank, _ = np.linalg.lstsq(points, seen[inside], rcond=None)
    return (fitted[:2].T, fitted[2]) if rank == 3 else (np.full((2, 2), np.nan), np.zeros(2))


def least_scale(source: tuple[int, int], region: tuple[int, int], angle: float) -> float:
    """By search: corners of the region, turned back and divided by the scale, all lie on the source."""
    height, width = source
    corners = np.array([complex(x, y) for x in (-1, 1) for y in (-1, 1)])
    corners = (corners.real * region[1] + 1j * corners.imag * region[0]) / 2 * np.exp(1j * np.radians(angle))
    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        covered = (np.abs((corners / middle).real) <= width / 2).all()
        covered &= (np.abs((corners / middle).imag) <= height / 2).all()
        low, high = (low, middle) if covered else (middle, high)
    return high


@given(SIDES, SIDES, ANGLES, REGIONS, st.integers(0, 30))
def test_every_pixel_is_covered_and_the_scale_is_no_larger_than_needed(
    height: int, width: int, angle: float, region: tuple[int, int], margin: int
) -> None:
    transform = RotateToCover(region, angle, margin)
    needed = least_scale((height, width), (region[0] + 2 * margin, region[1] + 2 * margin), angle)
    assert transform._scale(height, width, angle) == pytest.approx(needed, rel=1e-9)
    turn, center = seen_map(transform, height, width)
    if np.isnan(turn).any() or needed < 1:
        return  # too few pixels to see the map, or a ramp that antialiasing has bent at the borders
    np.testing.assert_allclose(center, 0, atol=1e-6)
    scale = 1 / math.sqrt(abs(np.linalg.det(turn)))
    corners = np.array([(x, y) for x in (-0.5, 0.5) for y in (-0.5, 0.5)]) * np.array([region[1], region[0]])
    reached = np.abs(corners @ turn.T).max(0)
    assert (reached <= np.array([width, height]) / 2 + 1e-6).all(), "a corner of the region lies off the source"
    assert (scale - needed) * max(height, width) <= 1, "more than a pixel larger than needed"


@given(st.integers(8, 60), st.integers(8, 60), ANGLES, REGIONS)
def test_no_fill_is_ever_seen(height: int, width: int, angle: float, region: tuple[int, int]) -> None:
    seen = RotateToCover(region, angle)(torch.full((1, height, width), 255, dtype=torch.uint8))
    assert (seen == 255).all()
    assert seen.shape == (1, *region)
    noise = torch.randint(3, 250, (3, height, width), dtype=torch.uint8)
    turned = RotateToCover(region, angle)(noise)
    assert turned.amin() >= noise.amin()
    assert turned.amax() <= noise.amax()


@given(SIDES, SIDES, ANGLES, st.integers(90, 140), st.integers(90, 140))
def test_enlarging_agrees_with_scikit_image(height: int, width: int, angle: float, high: int, wide: int) -> None:
    source = np.random.default_rng(height * width).random((height, width))
    scale = least_scale((height, width), (high, wide), angle)
    if scale < 1:
        return
    to_center = AffineTransform(translation=(0.5 - wide / 2, 0.5 - high / 2))
    turned = AffineTransform(rotation=math.radians(angle), scale=1 / scale)  # y runs down: this turns back
    back = AffineTransform(translation=(width / 2 - 0.5, height / 2 - 0.5))
    expected = warp(source, to_center + turned + back, output_shape=(high, wide), order=1, mode="edge")
    ours = RotateToCover((high, wide), angle)(torch.from_numpy(source))
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("angle", [0, 10, -15, 30, 90, 135])
def test_the_sense_of_rotation_is_pillows(angle: float) -> None:
    y, x = np.mgrid[:120, :120] / 120
    smooth = Image.fromarray(np.uint8(127 + 60 * np.sin(4 * x + 1) + 60 * np.cos(5 * y)))
    scale = 2 * (abs(math.cos(math.radians(angle))) + abs(math.sin(math.radians(angle))))
    ours = np.asarray(RotateToCover(120, angle, margin=60)(smooth), dtype=int)  # covers 240 px
    theirs = smooth.resize((round(120 * scale),) * 2, Image.Resampling.BILINEAR)
    theirs = np.asarray(theirs.rotate(angle, Image.Resampling.BILINEAR), dtype=int)
    edge = (theirs.shape[0] - 120) // 2
    assert np.abs(ours - theirs[edge : edge + 120, edge : edge + 120]).max() <= 3


@given(st.integers(40, 200), ANGLES)
def test_the_margin_is_the_rim_of_a_larger_region(side: int, angle: float) -> None:
    source = torch.rand(1, side, side, dtype=torch.float64)
    larger = RotateToCover(40, angle)(source)
    assert torch.allclose(RotateToCover(30, angle, margin=5)(source), larger[:, 5:-5, 5:-5], atol=1e-9)


@given(st.integers(8, 120), st.integers(8, 120), st.integers(4, 60))
def test_without_rotation_it_is_torchvisions_resize(height: int, width: int, side: int) -> None:
    source = torch.rand(3, height, width)
    short = min(height, width)
    if round(max(height, width) * side / short) != max(height, width) * side / short:
        return  # torchvision rounds the longer side to whole pixels
    resized = v2.functional.center_crop(v2.functional.resize(source, [side], antialias=True), [side, side])
    long = max(height, width) * side // short
    if (long - side) % 2 == 0:  # else its center lies between two pixels
        assert torch.allclose(RotateToCover(side, 0)(source), resized, atol=1e-4)


def test_shrinking_does_not_alias() -> None:
    stripes = (torch.arange(400) % 2).float().expand(1, 400, 400)
    assert (RotateToCover(50, 45)(stripes) - 0.5).abs().max() < 0.05


def test_every_kind_of_picture_comes_back_as_it_came() -> None:
    turn = RotateToCover((9, 12), 30)
    for mode, out in (("1", "L"), ("L", "L"), ("P", "RGB"), ("RGB", "RGB"), ("F", "F")):
        turned = turn(Image.new(mode, (20, 16), 1))
        assert (turned.mode, turned.size) == (out, (12, 9))
    for dtype in (torch.uint8, torch.int64, torch.bool, torch.float16, torch.float32, torch.float64):
        assert turn(torch.ones(2, 3, 16, 20).to(dtype)).dtype == dtype
    pixels = torch.randint(0, 256, (3, 16, 20), dtype=torch.uint8)
    image, mask, label = turn(tv_tensors.Image(pixels), tv_tensors.Mask(pixels[0]), 4)
    assert isinstance(image, tv_tensors.Image)
    assert isinstance(mask, tv_tensors.Mask)
    assert mask.shape == (9, 12)
    assert set(mask.unique().tolist()) <= set(pixels[0].unique().tolist())
    assert label == 4
    as_picture = np.asarray(turn(v2.functional.to_pil_image(pixels)))
    assert np.array_equal(as_picture, image.permute(1, 2, 0).numpy())


def test_angles_are_drawn_from_torchs_dice() -> None:
    turn = RotateToCover(10, (-15, 15))
    torch.manual_seed(5)
    angles = [turn.make_params([])["angle"] for _ in range(200)]
    assert -15 <= min(angles) < -10
    assert 10 < max(angles) <= 15
    torch.manual_seed(5)
    assert angles == [turn.make_params([])["angle"] for _ in range(200)]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"size": size} for size in (0, 2.5, (3, 4, 5), (-3, 4))),
        *({"angle": angle} for angle in ("ten", (5, -5), math.nan)),
        *({"margin": margin} for margin in (-1, 0.5)),
    ],
)
def test_rotate_to_cover_says_which_option_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        RotateToCover(**wrong)


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (torch.zeros(3, 0, 4), "not empty"),
        (torch.zeros(4), "H, W"),
        (Image.new("CMYK", (9, 9)), "CMYK"),
        (tv_tensors.BoundingBoxes([[0, 0, 2, 2]], format="XYXY", canvas_size=(9, 9)), "BoundingBoxes"),
    ],
)
def test_rotate_to_cover_says_what_it_cannot_turn(picture: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        RotateToCover(8)(picture)


# -- both ---------------------------------------------------------------------------------------------------------


class Digits(torch.utils.data.Dataset[torch.Tensor]):
    """Ten gray squares through both transforms."""

    def __init__(self) -> None:
        self.transform = v2.Compose([RotateToCover(20, (-15, 15)), Recolor("blue", "red")])

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(torch.full((1, 10, 10), 20 * index, dtype=torch.uint8))


def test_both_travel_into_a_worker() -> None:
    pictures = torch.cat(list(DataLoader(Digits(), batch_size=5, num_workers=1, timeout=60)))
    assert pictures.shape == (10, 3, 20, 20)
    for transform in (Recolor("blue", "red"), RotateToCover(20, 7, 3)):
        again = pickle.loads(pickle.dumps(transform))
        picture = torch.rand(1, 12, 12)
        assert torch.equal(again(picture), transform(picture))
        assert repr(again) == repr(transform)


def test_without_torchvision_the_import_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['torchvision'] = None\n"
        "from agnlib.errors import MissingDependencyError\n"
        "try:\n    import agnlib.transforms\n"
        "except MissingDependencyError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(agnlib.__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert 'pip install "torchvision"' in done.stdout
