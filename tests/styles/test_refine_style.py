"""`Stylizer.refine_style`: a code learned for one reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity

from agnlib import Stylizer
from agnlib.errors import InputError
from agnlib.models import Generator, StyleExtractor, pretrained
from agnlib.styles._refining import refined
from agnlib.styles.code import StyleCode


@pytest.fixture(scope="module")
def shipped():
    """Weights whose own codes are nearly as near in color as twenty steps bring them."""
    return Stylizer.from_pretrained("agn-fast", device="cpu")


@pytest.fixture(scope="module")
def pictures():
    """A photo and a picture of other colors and texture."""
    return data.astronaut()[:160, 100:260], data.rocket()[:200, 200:420]


def distance(stylizer, photo, reference, code):
    """Of the painting's mean colors from the reference's, which is no part of what is learned from by itself."""
    painted = stylizer(photo, code).astype(float) / 255
    return np.abs(painted.mean((0, 1)) - reference.mean((0, 1)) / 255).sum()


def test_it_comes_closer_to_the_reference(pictures):
    photo, reference = pictures
    bundle = pretrained.load("agn-fast")
    torch.manual_seed(0)
    with torch.no_grad():  # codes that are a little off leave something to refine
        bundle.extractor.head[-1].bias.add_(torch.randn(128))
    stylizer = Stylizer(bundle.generator, bundle.extractor, device="cpu")
    refined_code = stylizer.refine_style(reference, content=photo, steps=20, size=96)
    before, after = (
        distance(stylizer, photo, reference, code) for code in (stylizer.encode_style(reference), refined_code)
    )
    assert after < 0.9 * before
    assert refined_code.source == "ndarray, refined"


def test_no_steps_is_the_extractors_code(shipped, pictures):
    photo, reference = pictures
    code = shipped.refine_style(reference, content=photo, steps=0, size=64)
    torch.testing.assert_close(code.vector, shipped.encode_style(reference).vector)


def test_the_distances_fall_and_the_weights_stay():
    torch.manual_seed(0)
    generator = Generator(style_dim=8, channels=(8, 8, 16), blocks=(0, 1, 1)).eval()
    extractor = StyleExtractor(style_dim=8).eval()
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    photos, reference = [torch.rand(1, 3, 40, 48) * 2 - 1, torch.rand(1, 3, 32, 32) - 1], torch.rand(1, 3, 64, 64) - 1
    code, distances = refined(generator, extractor, photos, reference, steps=8)
    assert distances.shape == (9,)
    assert distances.min() < distances[0]
    assert code.shape == (8,)
    for key, value in generator.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(p.grad is None for model in (generator, extractor) for p in model.parameters())


def test_the_drawing_is_kept(shipped, pictures):
    photo, reference = (image.astype(np.float32) / 255 for image in pictures)
    before = structure(shipped, photo, shipped.encode_style(reference))
    lost, kept = (
        structure(shipped, photo, shipped.refine_style(reference, content=photo, steps=20, size=96, drawing=drawing))
        for drawing in (0.0, 4.0)
    )
    assert kept > before - 0.03
    assert lost < min(before, kept) - 0.01  # how much more depends on the weights


def structure(stylizer, photo, code):
    """Scikit-image's similarity of the painting's and the photo's lightness, of which refining knows nothing."""
    painted, drawn = (rgb2gray(image) for image in (stylizer(photo, code), photo))
    return structural_similarity(painted, drawn, data_range=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drawing": -1}, "drawing must be a number from 0, got -1"),
        ({"drawing": float("nan")}, "drawing must be a number from 0, got nan"),
        ({"drawing": "all"}, "drawing must be a number from 0, got 'all'"),
        ({"style": "ukiyo-e"}, "style: 'ukiyo-e' is a class, not a picture"),
        ({"style": [("wave", 1.0)]}, "refining needs one picture, got a list; give one"),
        ({"style": ("wave", 1.0)}, "refining needs one picture, got a tuple"),
        (
            {"style": StyleCode(torch.ones(64))},
            "refining needs one picture, got a StyleCode; give one, not a mixture nor",
        ),
        ({"style": "code.safetensors"}, "refining needs one picture, got 'code.safetensors'"),
        ({"content": []}, "content: expected at least one photo, got none"),
        ({"steps": -1}, "steps must be a whole number from 0, got -1"),
        ({"steps": 1.5}, "steps must be a whole number from 0, got 1.5"),
        ({"size": 0}, "size must be"),
        ({"content": np.zeros((2, 8, 8, 3), np.uint8)}, "content"),
    ],
)
def test_bad_input_is_refused(shipped, pictures, options, message):
    given = {"style": pictures[1], "content": pictures[0], "steps": 1, "size": 32} | options
    with pytest.raises(InputError, match=message):
        shipped.refine_style(**given)
