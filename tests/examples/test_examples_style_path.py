"""`examples/style_path.py`: what is trained, what stays, and what a run leaves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from toy import make_weights

from agnlib import Generator, StyleExtractor
from agnlib.models import pretrained
from agnlib.training.data.pairs import PictureFolder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def style_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.delitem(sys.modules, "style_path", raising=False)
    import style_path

    return style_path


def networks() -> tuple[Generator, StyleExtractor]:
    generator = Generator(latent_dim=4, style_dim=8, channels=(4, 4, 8), blocks=(0, 1, 1))
    return generator, StyleExtractor(style_dim=8, hidden=16, taps=("block0", "block2"))


def test_a_wider_head_begins_as_the_narrow_one(style_path):
    _, extractor = networks()
    picture = torch.rand(2, 3, 40, 40) * 2 - 1
    torch.testing.assert_close(style_path.widened(extractor, 24)(picture), extractor(picture))
    with pytest.raises(SystemExit, match="can only be added"):
        style_path.widened(extractor, 8)


def test_half_of_the_pictures_get_other_colors(style_path):
    pictures = torch.rand(40, 3, 6, 6) * 2 - 1
    changed = style_path.recolored(pictures, torch.Generator().manual_seed(1))
    same = [torch.equal(one, other) for one, other in zip(pictures, changed, strict=True)]
    assert 10 < sum(same) < 30
    assert changed.abs().max() <= 1
    gray = torch.full((40, 3, 1, 1), 0.2)  # has no hue to turn
    assert (style_path.recolored(gray, torch.Generator()).std(1) < 1e-3).all()


def test_only_what_a_code_sets_is_trained_and_it_comes_closer(style_path):
    generator, extractor = networks()
    path = style_path.StylePath(generator, extractor, flatness=0.0)
    before = {name: value.clone() for name, value in path.state_dict().items()}
    adam = torch.optim.Adam(path.parts(), lr=3e-3)
    photos, references = torch.rand(2, 2, 3, 48, 48) * 2 - 1
    losses = []
    for step in range(30):
        found = path(photos, references, step)
        losses.append(found["statistics"].item())
        adam.zero_grad()
        torch.stack(list(found.values())).sum().backward()
        adam.step()
    assert set(path(photos, references, 3)) == {"statistics", "palette", "drawing", "flat parts", "texture"}
    assert losses[-1] < 0.95 * losses[0]
    changed = {name for name, value in path.state_dict().items() if not torch.equal(value, before[name])}
    assert "generator.adapter.step.weight" in changed
    assert "extractor.head.4.weight" in changed
    assert not any("conv" in name or "trunk" in name or name.startswith("generator.seed") for name in changed)


def test_a_grid_is_what_cells_have_in_common(style_path):
    cell = torch.randn(3, style_path.STRIDE, style_path.STRIDE, generator=torch.Generator().manual_seed(0)) / 10
    cell -= cell.mean(dim=(1, 2), keepdim=True)
    strokes = torch.randn(2, 3, 192, 192, generator=torch.Generator().manual_seed(1)) / 10
    planted = strokes + cell.repeat(1, 24, 24) + 0.2
    photo = torch.zeros(2, 3, 192, 192)
    assert style_path.grid(strokes, photo).abs().max() < 1e-5
    expected = torch.fft.fft2(cell, norm="forward").abs().square().expand(2, -1, -1, -1)
    torch.testing.assert_close(style_path.grid(planted, photo), expected, rtol=0.2, atol=2e-5)
    photo[..., 96:, :] = torch.rand(2, 3, 96, 192)  # where a photo has something, nothing is looked for
    planted[..., 96:, :] = 1 - planted[..., 96:, :]
    torch.testing.assert_close(style_path.grid(planted, photo), expected, rtol=0.3, atol=4e-5)


def test_a_grid_is_trained_away_where_that_is_asked_for(style_path):
    path = style_path.StylePath(*networks(), gridless=1.0)
    found = path(torch.rand(1, 3, 96, 96), torch.rand(1, 3, 96, 96) * 2 - 1, 1)["grid"]
    (gradient,) = torch.autograd.grad(found, path.generator.adapter.step.weight)
    assert gradient.abs().max() > 0


def test_haloes_are_trained_away_where_that_is_asked_for(style_path):
    path = style_path.StylePath(*networks(), evenness=1.0)
    photo = torch.full((1, 3, 160, 256), 0.5)
    photo[..., :48] = -0.9
    found = path(photo, torch.rand(1, 3, 96, 96) * 2 - 1, 1)["haloes"]
    assert found > 0.1
    (gradient,) = torch.autograd.grad(found, path.generator.adapter.step.weight)
    assert gradient.abs().max() > 0


def test_a_run_leaves_weights_that_paint_and_goes_on_from_them(style_path, folders, start, tmp_path):
    given = f"--content {folders[0]} --style {folders[1]} --size 40 --batch 2 --minutes 0.02 --threads 1".split()
    first, second = tmp_path / "first", tmp_path / "second"
    style_path.main([*given, "--init", str(start), "--out", str(first), "--hidden", "300"])
    style_path.main([*given, "--init", str(first), "--out", str(second)])
    bundle = pretrained.load(second)
    assert (bundle.extractor.config.hidden, [stage["init"] for stage in bundle.info["style_path"]]) == (
        300,
        ["start", "first"],
    )
    photo = torch.rand(1, 3, 40, 48) * 2 - 1
    assert bundle.generator(None, bundle.extractor(photo), content=photo).isfinite().all()
    with pytest.raises(SystemExit, match="no-such"):
        style_path.main([*given, "--init", "no-such", "--out", str(tmp_path / "third")])


def test_another_weights_extractor_stays_as_it_is_and_names_are_fitted(style_path, folders, start, tmp_path):
    names = PictureFolder(folders[1], 16).class_names
    weights = make_weights(tmp_path / "named", names)
    given = f"--content {folders[0]} --style {folders[1]} --size 40 --batch 2 --minutes 0.02 --threads 1".split()
    out = tmp_path / "out"
    style_path.main([*given, "--init", str(weights), "--extractor", str(start), "--out", str(out), "--name-steps", "1"])
    before, theirs, after = (pretrained.load(each) for each in (weights, start, out))
    for name, value in after.extractor.state_dict().items():
        assert torch.equal(value, theirs.extractor.state_dict()[name].half().float())
    assert not torch.equal(after.generator.mapping.weight, before.generator.mapping.weight)
    assert after.class_names == names
