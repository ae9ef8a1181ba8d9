"""The default recipe: which encoders the losses look through, and how much each term weighs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from agnlib._train_options import PERCEPTUAL, parse_perceptual
from agnlib.engines._device import fast_dtype
from agnlib.models import EfficientNetLiteFeatures, Generator, PerceptualEncoder, VGG16Features
from agnlib.training.objective.terms import (
    ContentTerm,
    CovarianceStyleTerm,
    EarthMoverStyleTerm,
    MomentStyleTerm,
    PaletteTerm,
    PatchNCETerm,
    SharedEncoder,
    SharedTextureTerm,
    TargetCache,
    Weighted,
    guided_smoothness_term,
    smoothness_term,
)

__all__ = ["PERCEPTUAL", "build_terms", "choose_encoders", "fast_dtype"]

_VGG_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
_LITE_TAPS = ("block0", "block2", "block4", "block10")
_RAMP = 450  # steps over which style fades in after a warm-up, so that the drawing is not lost at the start


def choose_encoders(names: str, device: torch.device) -> dict[str, PerceptualEncoder]:
    """Frozen encoders for `--perceptual`: "none", one of `PERCEPTUAL`, or several joined by "+".

    Raises:
        InputError: an unknown name.
        WeightsError, MissingDependencyError: an encoder asked for cannot be had.
    """
    makers: Mapping[str, Callable[[], VGG16Features | EfficientNetLiteFeatures]] = {
        "vgg16": lambda: VGG16Features.pretrained(_VGG_TAPS).to(fast_dtype(device)),
        "efficientnet-lite0": lambda: EfficientNetLiteFeatures.pretrained(0, _LITE_TAPS),
    }
    return {name: makers[name]().to(device) for name in parse_perceptual(names)}


def build_terms(
    encoders: Mapping[str, PerceptualEncoder], generator: Generator, *, warmup: int, style_weight: float = 1.0
) -> dict[str, Weighted]:
    """The generator's terms beside the adversarial one and identity.

    Args:
        encoders: from `choose_encoders`.
        generator: whose features PatchNCE looks through where there is no encoder.
        warmup: steps before the terms begin; after some the style fades in, after none it is there at once.
        style_weight: how much more than usual the terms of style count, beside those of content.
    """
    ramp = _RAMP if warmup else 0
    terms = {
        "palette": Weighted(PaletteTerm(), 3.0, warmup),
        "guided_smoothness": Weighted(guided_smoothness_term, 2.0, warmup, needs_content=True),
        "smoothness": Weighted(smoothness_term, 0.05, warmup),
        "shared_texture": Weighted(SharedTextureTerm(generator), 8.0, warmup, ramp, needs_content=True),
    }
    shared = {name: SharedEncoder(encoder) for name, encoder in encoders.items()}
    if "vgg16" in shared:
        vgg = shared["vgg16"]
        term = CovarianceStyleTerm(vgg, _VGG_TAPS, TargetCache())
        terms["style_vgg16"] = Weighted(term, 5.0 * style_weight, warmup, ramp)
        mover = EarthMoverStyleTerm(vgg, _VGG_TAPS[1:], TargetCache())
        terms["local_style_vgg16"] = Weighted(mover, 4.0 * style_weight, warmup, ramp)
        terms["content_vgg16"] = Weighted(
            ContentTerm(vgg, ("relu4_1",), TargetCache()), 1.2, warmup, needs_content=True
        )
    if "efficientnet-lite0" in shared:
        lite = shared["efficientnet-lite0"]
        moments = MomentStyleTerm(lite, _LITE_TAPS, TargetCache())
        terms["style_lite0"] = Weighted(moments, 5.0 * style_weight, warmup, ramp)
        if "vgg16" not in shared:
            # lighter than by VGG16: at 1.2 fine-tuned weights came back to the photograph
            terms["content_lite0"] = Weighted(
                ContentTerm(lite, ("block4", "block10"), TargetCache()), 0.4, warmup, needs_content=True
            )
    if not shared:
        content = SharedEncoder(generator.content_features)
        terms["patch_nce"] = Weighted(PatchNCETerm(content, "quarter"), 0.5, warmup, needs_content=True)
    return terms
