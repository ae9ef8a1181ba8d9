"""A grown generator begins as the one that it was grown from, and can learn to be more."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agnlib import Generator
from agnlib.errors import InputError
from agnlib.training.run.net2net import grown

three = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))


def small(**options: object) -> Generator:
    torch.manual_seed(0)
    sizes = {"channels": (4, 5, 8), "blocks": (1, 1, 1), "num_classes": 2}
    generator = Generator(8, 16, **{**sizes, **options})
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)  # as after training: nothing is as it was initialized
    return generator.eval()


@given(more_blocks=three, more_channels=three)
def test_it_paints_as_before(more_blocks: tuple[int, int, int], more_channels: tuple[int, int, int]) -> None:
    before = small()
    blocks = [1 + more for more in more_blocks]
    channels = [then + more for then, more in zip((4, 5, 8), more_channels, strict=True)]
    after = grown(before, blocks=blocks, channels=channels).eval()
    assert (after.config.blocks, after.config.channels) == (tuple(blocks), tuple(channels))
    z, code, photo = torch.randn(2, 8), torch.randn(2, 16), torch.rand(2, 3, 40, 33) * 2 - 1
    with torch.no_grad():
        for options in ({"content": photo}, {"size": (24, 32)}):
            torch.testing.assert_close(after(z, code, **options), before(z, code, **options), atol=2e-5, rtol=1e-4)
        label = torch.tensor([0, 1])
        torch.testing.assert_close(after.sample_style(z, label), before.sample_style(z, label))


def test_what_is_new_can_learn() -> None:
    after = grown(small(), blocks=(2, 1, 3), channels=(6, 9, 12)).train()
    code, photo = torch.randn(1, 16), torch.rand(1, 3, 40, 40) * 2 - 1
    after(None, code, content=photo).square().mean().backward()
    gradients = {
        "a new block": after.body[-1].project.weight.grad,
        "an old channel's view of the new": after.body[0].project.weight.grad[:8, 16:],
        "the picture's view of the new": after.to_rgb.conv.weight.grad[:, 4:],
    }
    for name, gradient in gradients.items():
        assert gradient.abs().max() > 0, name


def test_nothing_asked_for_changes_nothing() -> None:
    before = small()
    assert grown(before) is before


@pytest.mark.parametrize("less", [{"blocks": (1, 0, 1)}, {"channels": (4, 5, 7)}])
def test_nothing_can_be_taken_away(less: dict[str, tuple[int, int, int]]) -> None:
    with pytest.raises(InputError, match=r"asked for, the weights have \(.*can only be added"):
        grown(small(), **less)
