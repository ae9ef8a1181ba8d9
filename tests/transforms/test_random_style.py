"""RandomStyle and RandomStyleBatch, as torchvision's pipelines, DataLoaders and training on batches use them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from styled_photos import Photos, photo
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2
from toy import make_weights

from agnlib import StyleExtractor, Stylizer
from agnlib.errors import ImageError, InputError, WeightsError
from agnlib.models import pretrained
from agnlib.styles.code import StyleCode
from agnlib.transforms import RandomStyle, RandomStyleBatch

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small untrained weights that name two classes."""
    return make_weights(tmp_path_factory.mktemp("weights") / "tiny", ("ink", "oil"))


@pytest.fixture
def stylizer(weights: Path) -> Stylizer:
    return Stylizer.from_pretrained(weights, device="cpu")


def make_picture(path: Path, size: tuple[int, int], seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    v2.functional.to_pil_image(photo(3, *size[::-1], dtype=torch.uint8, seed=seed)).save(path)


def code(seed: int = 0) -> StyleCode:
    return StyleCode(torch.randn(16, generator=torch.Generator().manual_seed(seed)))


def spread(images: torch.Tensor) -> float:
    """How far the pictures of a batch are from the first."""
    return float((images.float() - images[:1].float()).abs().amax())


# -- kinds of pictures --------------------------------------------------------------------------------------------


@given(
    st.sampled_from([torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    st.lists(st.integers(1, 3), max_size=1),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([None, 1, 16]),
)
def test_tensors_keep_dtype_shape_and_range(
    weights: Path, dtype: torch.dtype, batch: list[int], height: int, width: int, size: int | None
) -> None:
    image = photo(*batch, 3, height, width, dtype=dtype)
    before = image.clone()
    painted = RandomStyle(p=1, weights=weights, size=size)(image)
    assert (painted.dtype, painted.shape, type(painted)) == (image.dtype, image.shape, torch.Tensor)
    assert not painted.is_inference()
    assert torch.equal(image, before)
    assert painted.amin() >= 0
    assert painted.amax() <= (255 if dtype == torch.uint8 else 1)
    assert not torch.equal(painted, image)


def test_pil_and_tv_tensors_come_back_as_they_came(weights: Path) -> None:
    style = RandomStyle(p=1, weights=weights)
    params = style.recipe(3)
    image = photo(3, 21, 30, dtype=torch.uint8)
    expected = style.transform(image, params)
    as_pil = style.transform(v2.functional.to_pil_image(image), params)
    assert (as_pil.mode, as_pil.size) == ("RGB", (30, 21))
    assert torch.equal(v2.functional.pil_to_tensor(as_pil), expected)
    as_image = style.transform(tv_tensors.Image(image), params)
    assert type(as_image) is tv_tensors.Image
    assert torch.equal(as_image.as_subclass(torch.Tensor), expected)
    video = style.transform(tv_tensors.Video(torch.stack([image, image])), params)
    assert type(video) is tv_tensors.Video
    # frames go through the network together, which may round otherwise than one does
    assert all((frame.int() - expected.int()).abs().max() <= 1 for frame in video.as_subclass(torch.Tensor))


def test_orientation_is_left_to_whoever_loads_the_file(weights: Path) -> None:
    image = Image.new("RGB", (30, 20), "navy")
    image.getexif()[0x0112] = 6  # boxes of the sample would no longer fit if it were turned
    assert RandomStyle(p=1, weights=weights)(image).size == (30, 20)


@pytest.mark.parametrize("name", [RandomStyle, RandomStyleBatch])
def test_boxes_masks_and_labels_pass_untouched(weights: Path, name: type[RandomStyle]) -> None:
    boxes = tv_tensors.BoundingBoxes([[1, 2, 3, 4]], format="XYXY", canvas_size=(12, 16))
    mask, labels = tv_tensors.Mask(torch.ones(12, 16, dtype=torch.bool)), torch.tensor([1, 0])
    sample = {"image": tv_tensors.Image(photo(2, 3, 12, 16)), "boxes": boxes, "mask": mask, "label": (labels, 7, "x")}
    painted = name(p=1, weights=weights)(sample)
    assert type(painted["image"]) is tv_tensors.Image
    assert spread(torch.stack([painted["image"], sample["image"]])) > 0.01
    assert painted["boxes"] is boxes
    assert painted["mask"] is mask
    assert painted["label"][0] is labels
    assert painted["label"][1:] == (7, "x")


def test_all_pictures_of_a_sample_get_one_recipe(weights: Path) -> None:
    image = tv_tensors.Image(photo(3, 16, 16))
    left, right = RandomStyle(p=1, weights=weights)(image, tv_tensors.Image(image.clone()))
    assert torch.equal(left, right)


def test_in_a_pipeline_before_gradients(weights: Path) -> None:
    pipeline = v2.Compose(
        [
            v2.ToImage(),
            RandomStyle(p=1, weights=weights),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5], [1]),
        ]
    )
    image = pipeline(Image.new("RGB", (24, 24), "teal"))
    layer = torch.nn.Conv2d(3, 2, 3)
    layer(image[None]).sum().backward()  # an inference tensor could not be kept for this
    assert layer.weight.grad is not None


# -- what is painted ----------------------------------------------------------------------------------------------


def test_in_full_it_is_what_the_stylizer_paints(stylizer: Stylizer) -> None:
    image = photo(3, 30, 41, dtype=torch.uint8)
    painted = RandomStyle(code(), p=1, strength=1, stylizer=stylizer)(image)
    assert torch.equal(painted, stylizer(image, code()))


def test_large_pictures_too(stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    image = photo(3, 40, 50)
    whole = RandomStyle(code(), p=1, strength=1, stylizer=stylizer)(image)
    monkeypatch.setattr("agnlib.transforms._painter.OVERVIEW_PIXELS", 1000)
    large = RandomStyle(code(), p=1, strength=1, stylizer=stylizer)(image)
    torch.testing.assert_close(large, whole, atol=1e-5, rtol=0)


@given(st.floats(0.01, 1))
def test_strength_blends_with_the_photo(weights: Path, strength: float) -> None:
    image = photo(3, 17, 23)
    options: dict[str, Any] = {"p": 1, "weights": weights}
    full = RandomStyle(code(), strength=1, **options)(image)
    painted = RandomStyle(code(), strength=strength, **options)(image)
    torch.testing.assert_close(painted, torch.lerp(image, full, strength), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [24, 96])
def test_size_is_that_of_what_is_painted(stylizer: Stylizer, size: int) -> None:
    image, options = photo(3, 32, 48), {"mode": "bicubic", "antialias": True}
    painted = RandomStyle(code(), p=1, strength=1, stylizer=stylizer, size=size)(image)
    other = F.interpolate(image[None], (size * 2 // 3, size), **options).clamp(0, 1)[0]
    expected = F.interpolate(stylizer(other, code())[None], (32, 48), **options).clamp(0, 1)[0]
    torch.testing.assert_close(painted, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", [RandomStyle, RandomStyleBatch])
def test_without_a_draw_or_strength_nothing_is_done_or_loaded(
    weights: Path, name: type[RandomStyle], monkeypatch: pytest.MonkeyPatch
) -> None:
    never, faint = name(p=0, weights=weights), name(p=1, strength=0, weights=weights)
    monkeypatch.setattr(pretrained, "load", None)
    image = photo(2, 3, 8, 8)
    assert never(image) is image
    assert faint(image) is image


def test_recipes_follow_p_and_the_range_of_strength(weights: Path) -> None:
    style = RandomStyle(p=0.3, strength=(0.2, 0.6), weights=weights)
    strengths = np.array([style.recipe(seed)["strength"] for seed in range(2000)])
    assert abs((strengths > 0).mean() - 0.3) < 5 * (0.3 * 0.7 / 2000) ** 0.5  # five standard errors
    drawn = strengths[strengths > 0]
    assert drawn.min() >= 0.2
    assert drawn.max() <= 0.6
    assert abs(drawn.mean() - 0.4) < 5 * 0.4 / 12**0.5 / len(drawn) ** 0.5
    certain = RandomStyle(p=1, strength=0.7, weights=weights)
    assert {certain.recipe(seed)["strength"] for seed in range(100)} == {0.7}


# -- styles -------------------------------------------------------------------------------------------------------


def test_random_styles_are_samples_of_the_generator(stylizer: Stylizer, weights: Path) -> None:
    style = RandomStyle("oil", p=1, strength=1, weights=weights)
    image = photo(3, 16, 16)
    params = style.recipe(11)
    rng = torch.Generator().manual_seed(11)
    torch.rand(3, generator=rng, dtype=torch.float64)
    z = torch.randn(1, 8, generator=rng)
    with torch.no_grad():
        vector = stylizer.generator.sample_style(z, torch.tensor([1]))[0]
    torch.testing.assert_close(style.transform(image, params), stylizer(image, StyleCode(vector)), atol=1e-6, rtol=0)


def test_folders_pictures_codes_and_names_are_drawn_alike(
    stylizer: Stylizer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(2):
        make_picture(tmp_path / "art" / "deep" / f"{index}.png", (20, 24), index)
    (tmp_path / "art" / "notes.txt").write_text("no picture")
    code(5).save(tmp_path / "code.safetensors")
    image, array = photo(3, 16, 16), np.full((9, 9, 3), 40, np.uint8)
    listed = [tmp_path / "art", array, code(1), tmp_path / "code.safetensors", "ink"]
    style = RandomStyle(listed, p=1, strength=1, weights=weights)
    known = [*(stylizer.encode_style(tmp_path / "art" / "deep" / f"{i}.png") for i in range(2))]
    known += [stylizer.encode_style(array), code(1), code(5)]
    expected = torch.stack([stylizer(image, each) for each in known])
    style.prepare()
    monkeypatch.setattr(StyleExtractor, "forward", None)  # nothing is encoded twice
    drawn = [style.transform(image, style.recipe(seed)) for seed in range(120)]
    distances = torch.stack([(expected - each).abs().flatten(1).amax(1) for each in drawn])
    counts = [int((distances[:, i] < 1e-5).sum()) for i in range(5)]
    counts.append(int((distances.amin(1) >= 1e-5).sum()))  # samples of the class
    assert sum(counts) == 120
    assert min(counts) > 5


def test_codes_travel_with_a_pickled_transform_and_weights_do_not(weights: Path, tmp_path: Path) -> None:
    make_picture(tmp_path / "art.png", (20, 24), 0)
    style = RandomStyle(tmp_path / "art.png", p=1, weights=weights)
    fresh = len(pickle.dumps(style))
    style.prepare()
    packed = pickle.dumps(style)
    assert len(packed) - fresh < 2000
    (tmp_path / "art.png").unlink()
    image, again = photo(3, 12, 12), pickle.loads(packed)
    assert torch.equal(again.transform(image, again.recipe(1)), style.transform(image, style.recipe(1)))
    assert not style.state_dict()
    assert not list(style.modules())[1:]


def test_a_given_stylizer_is_pickled_with_it(stylizer: Stylizer) -> None:
    style = RandomStyle(p=1, stylizer=stylizer)
    image, again = photo(3, 12, 12), pickle.loads(pickle.dumps(style))
    assert torch.equal(again.transform(image, again.recipe(1)), style.transform(image, style.recipe(1)))


# -- random state and workers --------------------------------------------------------------------------------------


def test_torchs_seed_decides(weights: Path) -> None:
    style, image = RandomStyle(p=0.5, weights=weights), photo(3, 10, 10)
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(torch.stack([style(image) for _ in range(6)]))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert spread(runs[0]) > 0.01


def test_a_sample_takes_one_number_even_where_the_weights_are_loaded(weights: Path) -> None:
    after = []
    for p in (0, 1):
        torch.manual_seed(0)
        RandomStyle(p=p, weights=weights)(photo(3, 8, 8))
        after.append(torch.rand(()))
    assert after[0] == after[1]


def loaded(transform: RandomStyle, workers: int, start: str | None, *, seeded: bool, seed: int = 5) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    options = {
        "num_workers": workers,
        "multiprocessing_context": start,
        "generator": rng,
        "timeout": 120 * (workers > 0),
    }
    return torch.cat(list(DataLoader(Photos(transform, seeded), batch_size=2, **options)))


@pytest.fixture
def two_threads() -> Iterator[None]:
    """As in a user's main process: a pool of threads that a forked worker does not have."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_forked_workers_follow_the_loaders_dice(weights: Path, two_threads: None) -> None:
    style = RandomStyle(p=0.7, weights=weights)
    style(photo(3, 64, 64))  # loads the weights and wakes the threads before workers are forked
    forked = loaded(style, 2, "fork", seeded=False)
    assert torch.equal(forked, loaded(style, 2, "fork", seeded=False))
    assert not torch.equal(forked, loaded(style, 2, "fork", seeded=False, seed=6))
    assert spread(forked) > 0.01


@pytest.mark.slow  # two processes that import torch: up to a minute on a busy machine
def test_spawned_workers_give_what_forked_ones_do(weights: Path) -> None:
    style = RandomStyle(p=0.7, weights=weights)
    # one thread in every worker: the same operations in the same order
    assert torch.equal(loaded(style, 2, "fork", seeded=False), loaded(style, 2, "spawn", seeded=False))


def test_seeded_by_index_it_does_not_matter_who_does_it(weights: Path) -> None:
    style = RandomStyle(p=0.7, weights=weights)
    here = loaded(style, 0, None, seeded=True)
    assert torch.equal(here, loaded(style, 2, "fork", seeded=True))
    assert torch.equal(here, loaded(style, 1, "fork", seeded=True, seed=9))


def test_workers_refuse_a_stylizer_of_another_device(stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    stylizer.device = torch.device("meta")
    style = RandomStyle(p=1, stylizer=stylizer)
    monkeypatch.setattr("agnlib.transforms._painter.get_worker_info", object)
    with pytest.raises(InputError, match="RandomStyleBatch in the main process"):
        style(photo(3, 8, 8))


# -- batches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_batch_gets_what_its_pictures_would(weights: Path, dtype: torch.dtype) -> None:
    options: dict[str, Any] = {"p": 0.6, "weights": weights, "styles": ["ink", code(), "oil"]}
    images = photo(8, 3, 20, 28, dtype=dtype)
    torch.manual_seed(4)
    batch = RandomStyleBatch(**options)(images)
    torch.manual_seed(4)
    single = RandomStyle(**options)
    expected = torch.stack([single(image) for image in images])
    step = 1 if dtype == torch.uint8 else 1e-5  # convolutions of a batch may add in another order
    assert (batch.double() - expected.double()).abs().max() <= step
    changed = (batch != images).flatten(1).any(1)
    assert torch.equal(changed, (expected != images).flatten(1).any(1))
    assert 0 < changed.sum() < 8


def test_a_batch_calls_the_generator_once_for_those_that_were_drawn(weights: Path) -> None:
    style = RandomStyleBatch(p=0.5, weights=weights)
    style.prepare()
    seen: list[int] = []
    generator = style._painter.at().generator
    generator.register_forward_hook(lambda _, __, painted: seen.append(len(painted)))
    images = photo(1, 3, 12, 12).expand(10, -1, -1, -1)
    painted = style(images)
    changed = (painted != images).flatten(1).any(1)
    assert seen == [int(changed.sum())]
    assert spread(painted[changed]) > 0.01


def test_under_autocast(weights: Path) -> None:
    images = photo(2, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert RandomStyleBatch(p=1, weights=weights)(images).dtype == torch.float32


def test_inside_another_module_it_is_neither_trained_nor_saved(weights: Path) -> None:
    model = torch.nn.Sequential(RandomStyleBatch(p=1, weights=weights), torch.nn.Conv2d(3, 2, 3))
    model(photo(2, 3, 16, 16)).sum().backward()
    assert set(model.state_dict()) == {"1.weight", "1.bias"} == {name for name, _ in model.named_parameters()}


def test_the_shipped_weights() -> None:
    image = photo(3, 48, 48, dtype=torch.uint8)
    style = RandomStyle(["ukiyo-e", "fauvism"], p=1)
    painted = torch.stack([style.transform(image, style.recipe(seed)) for seed in range(2)])
    assert spread(painted) > 20
    with pytest.raises(InputError, match=r"fauvism, old-masters, .*ukiyo-e"):
        RandomStyle("dada")


# -- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (photo(1, 8, 8), "v2.RGB"),
        (photo(8, 8), "expected \\(3, H, W\\)"),
        (photo(2, 1, 3, 8, 8), "expected \\(3, H, W\\)"),
        (photo(3, 0, 8), "not empty"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "expected uint8"),
        (Image.new("L", (8, 8)), "mode is L"),
        (Image.new("RGBA", (8, 8)), "mode is RGBA"),
        (Image.new("I;16", (8, 8)), r"mode is I;16; open its file by agnlib\.image\.load"),
        (np.zeros((8, 8, 3), np.uint8), r"NumPy array .*v2\.ToImage"),
    ],
)
def test_a_picture_of_another_kind_is_an_error_whatever_the_dice(weights: Path, image: Any, said: str) -> None:
    for p in (0, 1):
        with pytest.raises(InputError, match=f"RandomStyle: .*{said}"):
            RandomStyle(p=p, weights=weights)(image)


@pytest.mark.parametrize("value", [1.5, -0.5, float("nan")])
def test_floats_outside_the_range_are_an_error(weights: Path, value: float) -> None:
    with pytest.raises(InputError, match=r"RandomStyle: .*\[0, 1\].*put RandomStyle before v2.Normalize"):
        RandomStyle(p=1, weights=weights)(torch.full((3, 8, 8), value))


@pytest.mark.parametrize(
    "batch", [photo(3, 8, 8), Image.new("RGB", (8, 8)), tv_tensors.Video(photo(2, 3, 8, 8)), photo(2, 1, 8, 8)]
)
def test_what_is_no_batch_is_an_error(weights: Path, batch: Any) -> None:
    with pytest.raises(InputError, match=r"RandomStyleBatch: .*expected .*\(B, 3, H, W\)"):
        RandomStyleBatch(p=0, weights=weights)(batch)


def test_batches_of_one_sample_have_one_length(weights: Path) -> None:
    with pytest.raises(InputError, match=r"\[1, 2\]"):
        RandomStyleBatch(weights=weights)(tv_tensors.Image(photo(1, 3, 8, 8)), tv_tensors.Image(photo(2, 3, 8, 8)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"p": 1.5}, "p is 1.5"),
        ({"p": True}, "p is True"),
        ({"strength": (0.9, 0.1)}, "low first"),
        ({"strength": (0.1, 0.2, 0.3)}, "range"),
        ({"strength": "strong"}, "strength"),
        ({"strength": float("nan")}, "strength"),
        ({"size": 0}, "size is 0"),
        ({"size": 10.5}, "size is 10.5"),
        ({"styles": []}, "empty list"),
        ({"styles": "pointilism"}, "ink, oil"),
        ({"styles": ["ink", "no/such/folder"]}, "ink, oil"),
        ({"styles": Path("ink")}, "does not exist"),
        ({"styles": [None]}, "got None"),
        ({"styles": 3}, "got 3"),
    ],
)
def test_options_are_checked_at_once(weights: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        RandomStyle(**{"weights": weights, **options})


def test_weights_and_styles_that_do_not_fit(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="agn-small"):
        RandomStyle(weights="agn-smal")
    with pytest.raises(InputError, match="16 numbers, got 3"):
        RandomStyle(StyleCode(torch.ones(3)), weights=weights).prepare()
    (tmp_path / "torn.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"torn\.png"):
        RandomStyle(tmp_path / "torn.png", weights=weights).prepare()
    with pytest.raises(InputError, match="no readable pictures"):
        RandomStyle(tmp_path, weights=weights)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, True, None])
def test_seeds_are_checked(weights: Path, seed: Any) -> None:
    with pytest.raises(InputError, match="the seed is"):
        RandomStyle(weights=weights).recipe(seed)


# -- the page -----------------------------------------------------------------------------------------------------


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / "howto" / "augmentation.md").read_text("utf-8"), re.DOTALL)


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for index in range(3):
        make_picture(tmp_path / "paintings" / f"{index}.png", (40, 40), index)
    runnable = [block for block in blocks() if not re.search(r"kornia|lightning", block)]
    assert len(runnable) > 3
    names: dict[str, Any] = {}
    for block in runnable:
        exec(compile(block, "augmentation.md", "exec"), names)


@pytest.mark.parametrize("package", ["kornia", "lightning"])
def test_the_recipes_run(package: str) -> None:
    pytest.importorskip(package, reason=f"{package} is not needed by agnlib; its recipe runs where it is installed")
    (block,) = (block for block in blocks() if package in block)
    exec(compile(block, "augmentation.md", "exec"), {})
