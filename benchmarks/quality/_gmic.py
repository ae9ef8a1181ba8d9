"""G'MIC's patch-based stylization (`pip install gmic`, CeCILL), with its own settings."""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

__all__ = ["gmic_stylize"]


def gmic_stylize(photo: Image.Image, reference: Image.Image) -> Image.Image:
    """The command `stylize` of G'MIC."""
    import gmic

    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.png" for name in ("photo", "reference", "painted")}
        photo.save(files["photo"])
        reference.save(files["reference"])
        gmic.run(f"{files['photo']} {files['reference']} stylize[0] [1] keep[0] cut 0,255 output {files['painted']}")
        return Image.open(files["painted"]).convert("RGB")
