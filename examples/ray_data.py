"""Repaint many pictures with Ray Data: a pool of actors, each of which holds one `Stylizer`.

    pip install "agnlib[ray]"
    python examples/ray_data.py PHOTOS --style painting.jpg --out PAINTED --actors 2

`Paint` knows nothing of Ray: it is a callable from a batch to a batch, it can be pickled, and so it also serves
`torch.utils.data`, `multiprocessing` or a web service.
"""

from __future__ import annotations

import argparse
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agnlib import Stylizer
from agnlib.errors import AgnError
from agnlib.image import load
from agnlib.styles.code import StyleCode

Batch = dict[str, npt.NDArray[Any]]


class Paint:
    """Adds to a batch with a column "path" the columns "painted", PNG files as bytes, and "error", empty if well.

    One picture that cannot be read does not stop the rest.

    Args:
        weights: a name or a folder, as of `Stylizer.from_pretrained`.
        style: of all pictures; a `StyleCode` travels as a few hundred numbers, a path must be there on every machine.
        threads: of PyTorch, in each process; as many as the CPUs that an actor is given.
        options: as of a call of the `Stylizer`.
    """

    def __init__(
        self, weights: str, style: StyleCode | str, *, device: str = "auto", threads: int = 1, **options: Any
    ) -> None:
        import torch

        torch.set_num_threads(threads)
        self.stylizer = Stylizer.from_pretrained(weights, device=device)
        self.style = style if isinstance(style, StyleCode) else self.stylizer.encode_style(style)
        self.options = options

    def __call__(self, batch: Batch) -> Batch:
        painted = [self._paint(str(path)) for path in batch["path"]]
        return {
            **batch,
            "painted": np.array([picture for picture, _ in painted], dtype=object),
            "error": np.array([error for _, error in painted], dtype=object),
        }

    def _paint(self, path: str) -> tuple[bytes, str]:
        try:
            file = io.BytesIO()
            self.stylizer(load(path), self.style, **self.options).save(file, format="PNG")
        except AgnError as error:
            return b"", str(error)
        return file.getvalue(), ""


def painted(paths: list[str], *, actors: int, batch: int = 8, gpus: float = 0, **paint: Any) -> Any:
    """A Ray dataset of the pictures at these paths, painted: lazily, batch by batch, as its rows are taken.

    Args:
        actors: processes that paint, each with weights of its own.
        batch: pictures that an actor is given at a time.
        gpus: that an actor is given; 0 for CPUs alone, 1 on a machine with GPUs.
        paint: arguments of `Paint`.
    """
    import ray.data

    return ray.data.from_items([{"path": path} for path in paths]).map_batches(
        Paint,
        fn_constructor_kwargs=paint,
        batch_size=batch,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=paint.get("threads", 1),
        num_gpus=gpus,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Repaint a folder of pictures with Ray Data.")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--style", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", default="agn-small")
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--gpus", type=float, default=0, help="for each actor")
    given = parser.parse_args()
    code = Stylizer.from_pretrained(given.weights, device="cpu").encode_style(given.style)
    paths = sorted(os.fspath(path.resolve()) for path in given.photos.iterdir() if path.is_file())
    given.out.mkdir(parents=True, exist_ok=True)
    rows = painted(paths, actors=given.actors, gpus=given.gpus, weights=given.weights, style=code)
    for row in rows.iter_rows():
        if row["error"]:
            print(row["error"])
        else:
            (given.out / f"{Path(row['path']).stem}.png").write_bytes(row["painted"])


if __name__ == "__main__":
    main()
