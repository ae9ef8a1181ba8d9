"""How large the shipped weights are: parameters, bytes on disk. --exports: what agn-small is as a file, and how quick.

python benchmarks/speed/size.py | tee benchmarks/results/size.md  # and with --exports, exports.md
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from timeit import timeit
from typing import Any

import onnxruntime
import torch

from agnlib import Stylizer
from agnlib.engines._openvino_package import openvino_package
from agnlib.models import pretrained
from benchmarks._common import CHECKOUT, markdown_table

ONE: dict[str, Any] = {"style": "wave"}
FILES = {"any style": {}, "one style": ONE, "one style, half": ONE | {"half": True}, "extractor": {"part": "extractor"}}
ONE_THREAD = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


def main() -> None:
    rows = []
    for name in pretrained.available():
        bundle = pretrained.load(name)
        networks = {"generator": bundle.generator, "extractor": bundle.extractor, "discriminator": bundle.discriminator}
        for role, network in networks.items():
            if network is not None:
                rows.append([f"{name}: {role}", f"{sum(p.numel() for p in network.parameters()):,}", ""])
    for path in sorted((CHECKOUT / "agnlib" / "weights").glob("*/*.safetensors")):
        rows.append([f"{path.parent.name}/{path.name}", "", f"{path.stat().st_size / 1e6:.1f} MB"])
    print(markdown_table(["weights", "parameters", "size"], rows))


def exports() -> None:
    """Megabytes, and seconds of one processor for 512 px by each runtime: medians of runs taken in turn."""
    torch.set_num_threads(1)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    stylizer, photo, rows = Stylizer.from_pretrained(device="cpu"), torch.rand(1, 3, 512, 512), []
    code = stylizer.encode_style("wave")
    given = {"image": photo.numpy(), "style": code.vector[None].numpy()}
    for title, options in FILES.items():
        with TemporaryDirectory() as folder:
            stylizer.export(file := Path(folder) / "model.onnx", **options)
            size, session = file.stat().st_size / 1e6, onnxruntime.InferenceSession(file, settings)
            compiled = openvino_package().Core().compile_model(file, "CPU", ONE_THREAD)
        inputs = {each.name: given[each.name] for each in session.get_inputs()}
        by_torch = partial(stylizer.encode_style, photo[0]) if "part" in options else partial(stylizer, photo, code)
        ways = (partial(session.run, None, inputs), partial(compiled, inputs), by_torch)
        runs = [[timeit(way, timer=process_time, number=1) for way in ways] for _ in range(21)]
        rows.append([title, f"{size:.1f}", *(f"{each:.3f}" for each in torch.tensor(runs).median(0).values)])
    print(markdown_table(["file", "MB", "onnxruntime, s", "OpenVINO, float32, s", "engine=torch, s"], rows))


if __name__ == "__main__":
    exports() if "--exports" in sys.argv else main()
