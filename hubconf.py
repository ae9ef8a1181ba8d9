"""For `torch.hub.load(PLACE, "stylizer")`; a checkout's agnlib is used without being installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agnlib import Stylizer

dependencies = ["torch", "numpy", "PIL", "safetensors"]


def stylizer(weights: str = "agn-small", *, device: str = "auto") -> Stylizer:
    """A `Stylizer`: see `agnlib.Stylizer.from_pretrained`."""
    from agnlib import Stylizer

    return Stylizer.from_pretrained(weights, device=device)
