"""A node for ComfyUI: repaint images in a style. Copy this one file to `ComfyUI/custom_nodes`.

    pip install agnlib                  # into the Python that runs ComfyUI
    cp examples/comfyui/agnlib_stylize.py ComfyUI/custom_nodes/

Images are tensors `(B, H, W, C)` in [0, 1], as everywhere in ComfyUI. The style is an image, or several as one batch,
which are mixed; without one it is a style by name.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from agnlib import Stylizer
from agnlib.models import pretrained
from agnlib.styles import works

NOT_SEEDED = -1  # the deterministic painting


@lru_cache(maxsize=2)
def stylizer(weights: str) -> Stylizer:
    return Stylizer.from_pretrained(weights)


def style_names() -> list[str]:
    """The works of art that come with agnlib, and the classes of its weights."""
    classes = stylizer("agn-small").class_names
    return [*works.available(), *classes, "random"]


class AgnStylize:
    """Image in, painted image out."""

    CATEGORY = "image/style"
    DESCRIPTION = "Repaints images in the style of an image, or of a work of art by name. Offline, quick on a CPU."
    FUNCTION = "paint"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("painted",)
    SEARCH_ALIASES: ClassVar[list[str]] = ["style transfer"]

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:  # noqa: N802 - ComfyUI's name
        share = {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.05}
        seed = {"default": NOT_SEEDED, "min": NOT_SEEDED, "max": 2**63 - 1, "tooltip": "-1 is the fixed painting"}
        seed["control_after_generate"] = False  # else it is another after each painting
        return {
            "required": {
                "image": ("IMAGE",),
                "style_name": (style_names(), {"default": "wave", "tooltip": "without a style image"}),
                "strength": ("FLOAT", share),
                "method": (["network", "neighbors"], {"tooltip": "neighbors takes half a minute and more"}),
                "weights": (pretrained.available(), {"default": "agn-small"}),
                "seed": ("INT", seed),
            },
            "optional": {"style_image": ("IMAGE",), "mask": ("MASK",)},
        }

    def paint(
        self,
        *,
        image: Tensor,
        style_name: str,
        strength: float,
        method: str,
        weights: str,
        seed: int,
        style_image: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor]:
        style: Any = style_name if style_image is None else [channels_first(each).clamp(0, 1) for each in style_image]
        options: dict[str, Any] = {"strength": strength, "method": method, "progress": progress()}
        options["seed"] = None if seed == NOT_SEEDED else seed
        content = channels_first(image).clamp(0, 1)  # other nodes leave values a little outside
        if mask is None:
            return (painted(weights, content, style, options),)
        masks = mask.reshape(-1, *mask.shape[-2:])
        if len(masks) not in (1, len(content)):
            raise ValueError(f"mask: got {len(masks)} for {len(content)} images; give one, or one for each")
        masks = masks.expand(len(content), -1, -1)
        each = [
            painted(weights, one[None], style, options | {"mask": where})
            for one, where in zip(content, masks, strict=True)
        ]
        return (torch.cat(each),)


def painted(weights: str, content: Tensor, style: Any, options: dict[str, Any]) -> Tensor:
    return stylizer(weights)(content, style, **options).movedim(-3, -1).contiguous()


def channels_first(image: Tensor) -> Tensor:
    return image.movedim(-1, -3)


def progress() -> Any:
    """ComfyUI's bar, and its button to cancel; nothing where this file is used alone."""
    try:
        bar = importlib.import_module("comfy.utils").ProgressBar(1000)
        management = importlib.import_module("comfy.model_management")
    except ImportError:
        return False

    def listen(done: float, total: float) -> None:
        management.throw_exception_if_processing_interrupted()
        bar.update_absolute(int(1000 * done / total), 1000)

    return listen


NODE_CLASS_MAPPINGS = {"AgnStylize": AgnStylize}
NODE_DISPLAY_NAME_MAPPINGS = {"AgnStylize": "Paint in a style (agnlib)"}
