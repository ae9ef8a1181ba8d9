"""The repainting example: it learns from unpaired digits, paints, and says in one line what is wrong."""

from __future__ import annotations

import ast
import gzip
import importlib
import itertools
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import ImageColor

from agnlib.errors import InputError
from agnlib.losses import r1_penalty
from agnlib.models import Generator, StyleExtractor
from agnlib.training import Batch

pytest.importorskip("torchvision")
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = str(ROOT / "examples")
sys.path.insert(0, EXAMPLES)
color = pytest.importorskip("skimage.color")
pytest.importorskip("scipy.linalg")
try:
    import repaint_digits
    import repaint_parts

    from benchmarks.article import article_repaint
finally:
    sys.path.remove(EXAMPLES)


def write_idx(path: Path, array: np.ndarray) -> None:
    """An idx file as its description has it."""
    content = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    path.write_bytes(gzip.compress(content))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like MNIST's, of strokes of white ink."""
    folder = tmp_path_factory.mktemp("strokes")
    for part, count in (("train", 40), ("t10k", 20)):
        pictures = np.zeros((count, 28, 28), np.uint8)
        for index, picture in enumerate(pictures):
            picture[4:24, 8 + index % 10 : 12 + index % 10] = 255
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", pictures)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8) % 10)
    return folder


@dataclass(frozen=True)
class SmallPlan(repaint_parts.Plan):
    """Small pictures, and few of them."""

    region_batch: int = 2
    new_size: int = 32
    new_batch: int = 2
    group: int = 2


@pytest.fixture
def plan() -> repaint_parts.Plan:
    """Two steps of each kind on small pictures."""
    return SmallPlan(4, region=40, repaint_every=2)


# -- the parts --------------------------------------------------------------------------------------------------------


def test_paint_gives_each_digit_its_styles_colors() -> None:
    ends = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 1, 2)
    numbers = range(len(repaint_parts.STYLES))
    painted = repaint_parts.paint(ends.expand(len(numbers), -1, -1, -1), numbers)
    for picture, colors in zip(painted, repaint_parts.STYLES.values(), strict=True):
        expected = torch.tensor([ImageColor.getrgb(color) for color in colors]).T / 127.5 - 1
        assert torch.allclose(picture[:, 0], expected, atol=1e-6)


def test_batches_are_unpaired_and_every_so_many_repaint(data: Path, plan: repaint_parts.Plan) -> None:
    found = list(repaint_parts.batches(repaint_parts.Digits(data), plan))
    assert [batch.content is None for batch in found] == [True, False, True, False]
    assert [tuple(batch.style.shape) for batch in found[:2]] == [(2, 3, 32, 32), (2, 3, 40, 40)]
    gray = found[1].photos
    assert torch.allclose(gray[:, :1].expand_as(gray), gray, atol=1e-6)
    assert not torch.equal(gray[:, 0] < 0, found[1].style[:, 0] < 0)


def test_the_same_seed_draws_the_same_batches(data: Path, plan: repaint_parts.Plan) -> None:
    digits = repaint_parts.Digits(data)
    torch.manual_seed(3)
    first = list(repaint_parts.batches(digits, plan))
    torch.manual_seed(3)
    second = list(repaint_parts.batches(digits, plan))
    assert all(torch.equal(a.style, b.style) for a, b in zip(first, second, strict=True))


@given(st.integers(0, 10_000))
def test_drawing_is_one_minus_the_share_that_least_squares_explain(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    content = torch.rand(1, 1, 6, 5, generator=rng).expand(-1, 3, -1, -1) * 2 - 1
    fake = torch.rand(1, 3, 6, 5, generator=rng) * 2 - 1
    columns = np.stack([content[0, 0].flatten().numpy(), np.ones(30)], 1).astype(np.float64)
    target = fake[0].flatten(1).T.double().numpy()
    rest = target - columns @ np.linalg.lstsq(columns, target, rcond=None)[0]
    expected = np.square(rest).mean() / (np.square(target - target.mean(0)).mean() + 1e-2)
    assert float(repaint_parts.drawing_term(Batch(content, fake), fake)) == pytest.approx(expected, rel=1e-4)


def test_drawing_leaves_the_colors_free_and_needs_content() -> None:
    content = torch.rand(2, 1, 8, 8).expand(-1, 3, -1, -1) * 2 - 1
    repainted = content * torch.tensor([0.5, -0.7, 0.1])[:, None, None] + 0.2
    assert float(repaint_parts.drawing_term(Batch(content, repainted), repainted)) < 1e-6
    assert float(repaint_parts.drawing_term(Batch(content, repainted), torch.rand(2, 3, 8, 8))) > 0.8
    assert float(repaint_parts.drawing_term(Batch(None, repainted), torch.rand(2, 3, 8, 8))) == 0


def test_colors_do_not_mind_how_much_ink_there_is() -> None:
    def striped(width: int, ink: float = 1.0) -> torch.Tensor:
        picture = torch.full((1, 3, 16, 16), -1.0)
        picture[..., :width] = ink
        return picture

    def cost(fake: torch.Tensor) -> float:
        return float(repaint_parts.colors_term(Batch(None, striped(4)), fake))

    assert cost(striped(12)) == pytest.approx(0, abs=1e-4)
    assert cost(striped(0)) == pytest.approx(10 * 16 / 64, rel=1e-3)  # a quarter of the reference is 100 Delta E away
    assert cost(striped(4, 0.0)) > 0.5


@given(st.integers(0, 10_000))
def test_the_adversary_sees_the_same_drawing_in_any_colors(seed: int) -> None:
    torch.manual_seed(seed)
    ink = (torch.rand(1, 1, 12, 12) > 0.8).float()
    ink[..., 0, 0], ink[..., 1, 1] = 1, 0
    colors = torch.rand(2, 2, 3, 1, 1) * 2 - 1
    assume(float((colors[:, 0] - colors[:, 1]).flatten(1).norm(dim=1).min()) > 0.8)
    pictures = torch.cat([torch.lerp(paper, c, ink) for c, paper in colors])
    seen = repaint_parts.drawing_and_colors(pictures)[:, :1]
    assert torch.equal(seen[0] > 0, seen[1] > 0)
    if ink.mean() < 0.5:
        assert torch.equal(seen[0] > 0, ink[0] > 0)
    red, green, blue = colors[0, 0].flatten().tolist()
    at_ink = repaint_parts.drawing_and_colors(pictures)[0, 1:, 0, 0]
    assert at_ink.tolist() == pytest.approx([(red + 2 * green + blue) / 4, (red - blue) / 2], abs=1e-6)


def test_the_adversarys_penalty_reaches_its_weights() -> None:
    network = repaint_parts.DrawingDiscriminator(style_dim=16, channels=(8, 8, 8))
    for side in (32, 48):
        picture = (torch.rand(2, 3, side, side) * 2 - 1).requires_grad_()
        r1_penalty(network(picture), picture).backward()
        gradient = network.scales[0].down[0].weight.grad
        assert gradient is not None
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0
        network.zero_grad()


def test_variety_is_the_price_of_one_digit_only() -> None:
    real = torch.rand(8, 3, 8, 8) * 2 - 1
    one = real[:1].expand(8, -1, -1, -1)
    drawings = repaint_parts.drawing_and_colors(real)[:, 0]
    assert float(repaint_parts.variety_term(Batch(None, real), real.flip(0))) == pytest.approx(0, abs=1e-5)
    expected = (np.sqrt(np.var(drawings.numpy(), axis=0, ddof=1) + 1e-4) - 1e-2).mean()
    assert float(repaint_parts.variety_term(Batch(None, real), one)) == pytest.approx(expected, rel=1e-4)
    assert float(repaint_parts.variety_term(Batch(real, real), one)) == 0


def test_a_plan_says_what_it_expects() -> None:
    with pytest.raises(InputError, match="region is 0; expected at least 1"):
        repaint_parts.Plan(region=0)
    with pytest.raises(InputError, match="new_batch 20 is no multiple of group 8"):
        repaint_parts.Plan(new_batch=20)


# -- the measures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", range(len(repaint_parts.STYLES)))
def test_ink_of_what_recolor_painted_is_the_digits_own(style: int) -> None:
    digit = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    found = article_repaint.ink_of(repaint_parts.paint(digit, [style] * 2), style)
    contrast = {"blue on red": 47.0}.get(list(repaint_parts.STYLES)[style], 30.0)  # gray values between ink and paper
    assert torch.allclose(found, 1 - digit / 255, atol=1 / contrast)  # Recolor rounds to whole numbers


def test_ink_of_other_colors_is_not_forgiven() -> None:
    digit = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    digit[..., :14] = 255
    style, others = 0, {"white on green": 0.0, "black on white": 1.0}
    for name, expected in others.items():
        painted = repaint_parts.paint(digit, [list(repaint_parts.STYLES).index(name)])
        found = article_repaint.ink_of(painted, style)
        assert float(found[..., 14:].mean()) == pytest.approx(expected)


@given(st.lists(st.integers(0, 255), min_size=3, max_size=3))
def test_color_errors_are_scikit_images(shift: list[int]) -> None:
    amount = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    amount[..., :2] = 1
    painted = (torch.tensor(shift) / 127.5 - 1)[None, :, None, None].expand(1, 3, 4, 4)
    found = article_repaint.color_errors(painted, amount, 0)
    lab = [color.rgb2lab(np.array([[c]], np.uint8))[0, 0] for c in (shift, (0, 0, 255), (255, 0, 0))]
    for name, wanted in zip(("ink", "paper"), lab[1:], strict=True):
        assert found[name][0] == pytest.approx(color.deltaE_cie76(lab[0], wanted), abs=1e-3)


def test_the_most_ink_is_where_the_ink_is() -> None:
    digit = torch.full((1, 1, 20, 20), 255, dtype=torch.uint8)
    digit[..., 5:8, 5:15] = 0
    guess = article_repaint.most_and_least_ink(repaint_parts.paint(digit, [3]), 3)
    assert torch.equal(guess == 1, digit == 0)
    assert float((guess == 0).double().mean()) >= 0.5


def test_a_run_that_was_cut_short_goes_on_exactly(data: Path, plan: repaint_parts.Plan, tmp_path: Path) -> None:
    digits, weights = repaint_parts.Digits(data), []
    for cut in (None, 2):
        trainer = repaint_digits.make_trainer(digits, plan)
        keeper = article_repaint.Keeper(tmp_path / str(cut), 10.0, every=1)
        trainer.callbacks = (keeper,)
        if cut:
            trainer.fit(itertools.islice(repaint_parts.batches(digits, plan), cut), steps=4)
            trainer = repaint_digits.make_trainer(digits, plan)
            trainer.callbacks = (keeper := article_repaint.Keeper(tmp_path / str(cut), 10.0, every=1),)
            keeper.resume(trainer)
            assert (trainer.step, keeper.minutes > 0) == (cut, True)
        trainer.fit(repaint_parts.batches(digits, plan, start=trainer.step), steps=4)
        weights.append(trainer.averaged_generator.seed_map.weight.clone())
    assert torch.equal(*weights)


def test_the_budget_ends_a_run(data: Path, plan: repaint_parts.Plan, tmp_path: Path) -> None:
    trainer = repaint_digits.make_trainer(repaint_parts.Digits(data), plan)
    trainer.callbacks = (article_repaint.Keeper(tmp_path, 1e-6),)
    trainer.fit(repaint_parts.batches(repaint_parts.Digits(data), plan), steps=4)
    assert trainer.step == 1


# -- the whole --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variational", [False, True])
def test_training_moves_generator_and_extractor(data: Path, plan: repaint_parts.Plan, variational: bool) -> None:
    digits = repaint_parts.Digits(data)
    trainer = repaint_digits.make_trainer(digits, plan, variational=variational)
    watched = (
        trainer.generator.seed_map.weight,
        trainer.extractor.head[0].weight,
        trainer.discriminator.scales[0].logit.weight,
    )
    before = [weight.clone() for weight in watched]
    logs = trainer.fit(repaint_parts.batches(digits, plan), steps=4)
    assert all(math.isfinite(value) for value in logs.values())
    assert ("generator/kl" in logs) == variational
    assert all(not torch.equal(old, new) for old, new in zip(before, watched, strict=True))


def test_random_styles_are_the_priors_or_the_codes(data: Path, plan: repaint_parts.Plan) -> None:
    digits = repaint_parts.Digits(data)
    for variational in (False, True):
        trainer = repaint_digits.make_trainer(digits, plan, variational=variational)
        repaint_digits.set_random_styles(trainer, digits, plan)
        styles = trainer.averaged_generator.sample_style(torch.randn(4000, 100)).detach()
        if variational:
            assert torch.allclose(torch.cov(styles.T), torch.eye(16), atol=0.15)
            assert styles.mean(0).abs().max() < 0.1
        else:
            torch.manual_seed(1)
            codes = trainer.averaged_extractor(repaint_parts.paint(digits.draw(100, 32), list(range(10)) * 10)).detach()
            assert torch.allclose(styles.mean(0), codes.mean(0), atol=0.5 * float(codes.std()))


def test_the_program_leaves_weights_and_pictures(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repaint_digits, "Plan", SmallPlan)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    command = ["--data", str(data), "--out", str(tmp_path / "out"), "--steps", "2", "--region", "40"]
    assert repaint_digits.main(command) == 0
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {"generator", "extractor", "repaint.png", "new-digits.png", "random-styles.png"}
    generator = Generator.from_pretrained(tmp_path / "out" / "generator")
    extractor = StyleExtractor.from_pretrained(tmp_path / "out" / "extractor")
    source, digit = torch.rand(1, 3, 50, 40) * 2 - 1, torch.rand(1, 3, 45, 60) * 2 - 1
    assert repaint_digits.repaint(generator, extractor, source, digit).shape == digit.shape
    assert repaint_digits.new_digits(generator, extractor, source).shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--data", "nowhere"], "nowhere has no train-images-idx3-ubyte"),
        (["--steps", "0"], "steps is 0; expected at least 1"),
        (["--region", "-5"], "region is -5; expected at least 1"),
    ],
)
def test_bad_input_is_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: list[str], said: str
) -> None:
    out = tmp_path / "out"
    command = ["--data", str(data), "--out", str(out), "--threads", "1", *changed]
    assert repaint_digits.main(command) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not out.exists()


@pytest.mark.parametrize("name", ["repaint_digits.py", "repaint_parts.py"])
def test_only_public_names_are_used(name: str) -> None:
    tree = ast.parse((ROOT / "examples" / name).read_text("utf-8"))
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module.startswith("agnlib")]
    assert len(taken) > 3
    for node in taken:
        assert {alias.name for alias in node.names} <= set(importlib.import_module(node.module).__all__), node.module
