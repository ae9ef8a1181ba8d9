"""How large the shipped weights are: parameters of each network, bytes on disk.

python benchmarks/size.py | tee benchmarks/results/size.md
python benchmarks/size.py --memory    peak memory of a PNG painted from file to file, at 4, 16 and 64 megapixels
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from _common import CHECKOUT, markdown_table
from PIL import Image

from agnlib.models import pretrained

MEGAPIXELS = (4, 16, 64)
# In a process of its own, since a process's peak never falls. The reading of the peak comes before and after.
_PROGRAM = """
import resource, sys
import torch
from agnlib import Stylizer, image
photo, target, style = sys.argv[1:]
torch.set_num_threads(2)
stylizer = Stylizer.from_pretrained(device="cpu")
code = stylizer.encode_style(style)
stylizer(image.load(style), code)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
stylizer.stylize_file(photo, target, code)
print(before, peak())
"""


def memory() -> None:
    """Peak memory of the whole process, and what of it is neither the program nor the decoded input.

    The output is written strip by strip, so there is none to subtract.
    """
    rows, style = [], CHECKOUT / "examples" / "images" / "auvers.jpg"
    with tempfile.TemporaryDirectory() as folder:
        photo, target = Path(folder, "photo.png"), Path(folder, "painted.png")
        for megapixels in MEGAPIXELS:
            side = round((megapixels * 2**20) ** 0.5)
            with Image.open(CHECKOUT / "examples" / "images" / "castle.jpg") as opened:
                opened.resize((side, side), Image.Resampling.BICUBIC).save(photo, compress_level=1)
            command = [sys.executable, "-c", _PROGRAM, str(photo), str(target), str(style)]
            done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
            before, peak = map(float, done.stdout.split())
            decoded = 3 * side * side / 2**20
            cells = (peak, before, decoded, peak - before - decoded)
            rows.append([f"{megapixels} Mpx", *(f"{cell:,.0f}" for cell in cells)])
    columns = ["PNG to PNG", "peak, MB", "before it, MB", "decoded input, MB", "beyond both, MB"]
    print(markdown_table(columns, rows))


def main() -> None:
    """One row for each network of each shipped weights, and one for the file."""
    rows = []
    for name in pretrained.available():
        bundle = pretrained.load(name)
        networks = {"generator": bundle.generator, "extractor": bundle.extractor, "discriminator": bundle.discriminator}
        for role, network in networks.items():
            if network is not None:
                rows.append([f"{name}: {role}", f"{sum(p.numel() for p in network.parameters()):,}", ""])
        size = (bundle.folder / "model.safetensors").stat().st_size / 1e6
        rows.append([f"{name}: file, float16", "", f"{size:.1f} MB"])
    print(markdown_table(["weights", "parameters", "size"], rows))


if __name__ == "__main__":
    memory() if "--memory" in sys.argv[1:] else main()
