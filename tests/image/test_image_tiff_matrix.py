"""TIFF: every combination of depth, channels, planes, byte order, compression and which end is white, by tifffile."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agnlib import image
from agnlib.errors import ImageError
from agnlib.image import Picture

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")

HEIGHT, WIDTH = 6, 5
CHANNELS = {
    "gray": (1, []),
    "gray, alpha": (1, ["unassalpha"]),
    "gray, selection": (1, ["unspecified"]),
    "RGB": (3, []),
    "RGB, alpha": (3, ["unassalpha"]),
    "RGB, selection": (3, ["unspecified"]),
    "RGB, two selections": (3, ["unspecified", "unspecified"]),
    "RGB, alpha, selection": (3, ["unassalpha", "unspecified"]),
    "RGB, selection, alpha": (3, ["unspecified", "unassalpha"]),
}
KINDS = ["u1", "u2", "f4"]
COMPRESSIONS = [None, "lzw", "deflate", "packbits"]


def samples(kind: str, count: int) -> np.ndarray:
    """Values `(H, W, count)` that 8 bits hold as well; of alpha none is 0, under which color may change."""
    levels = np.random.default_rng(0).integers(1, 256, (HEIGHT, WIDTH, count))
    return {"u1": levels, "u2": levels * 257, "f4": levels / 255}[kind].astype(kind)


def expected(channels: str, pixels: np.ndarray) -> np.ndarray:
    colors, extra = CHANNELS[channels]
    alpha = [colors + extra.index("unassalpha")] if "unassalpha" in extra else []
    return pixels[..., [*range(colors), *alpha]]


def write(path: Path, stored: np.ndarray, channels: str, *, planar: bool, photometric: str, **options: object) -> None:
    if stored.shape[2] == 1:
        tifffile.imwrite(path, stored[..., 0], photometric=photometric, **options)
        return
    tifffile.imwrite(
        path,
        np.moveaxis(stored, -1, 0) if planar else stored,
        photometric=photometric,
        planarconfig="separate" if planar else "contig",
        extrasamples=CHANNELS[channels][1] or None,
        **options,
    )


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([pixels[..., :1].repeat(3, 2), pixels[..., 1:]], 2) if pixels.shape[2] < 3 else pixels


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", CHANNELS)
def test_every_organization_is_read_right_or_named(tmp_path: Path, channels: str, kind: str) -> None:
    colors, extra = CHANNELS[channels]
    pixels = samples(kind, colors + len(extra))
    wanted = expected(channels, pixels)
    levels = np.rint(wanted * {"u1": 1, "u2": 1 / 257, "f4": 255}[kind]).astype(np.uint8)
    path = tmp_path / "a.tif"
    for planar, order, compression, tile, white in itertools.product(
        (False, True) if extra or colors > 1 else (False,),
        "<>",
        COMPRESSIONS,
        (None, (16, 16)),
        (False, True) if colors == 1 else (False,),
    ):
        case = f"{planar=} {order=} {compression=} {tile=} {white=}"
        stored = pixels.copy()
        if white:
            stored[..., 0] = (1 if kind == "f4" else np.iinfo(kind).max) - stored[..., 0]
        photometric = "rgb" if colors == 3 else "miniswhite" if white else "minisblack"
        predictor = compression in ("lzw", "deflate") and (tile is None or order == ">")
        write(
            path,
            stored,
            channels,
            planar=planar,
            photometric=photometric,
            byteorder=order,
            compression=compression,
            predictor=predictor,
            tile=tile,
            rowsperstrip=None if tile else 4,
        )
        if kind == "f4" and wanted.shape[2] > 1:
            with pytest.raises(ImageError, match=r"of a kind that is not read.*(gray|RGB).* 32-bit floats") as said:
                image.read(path)
            assert "\n" not in str(said.value), case
            continue
        found = image.read(path)
        deep = levels if kind == "u1" else levels * np.uint16(257)
        np.testing.assert_array_equal(as_rgb(found), as_rgb(deep), err_msg=case)
        np.testing.assert_array_equal(as_rgb(image.read(path, deep=False)), as_rgb(levels), err_msg=case)
        np.testing.assert_array_equal(np.asarray(image.load(path)), as_rgb(levels), err_msg=case)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_what_pillow_opens_is_handed_over_right(tmp_path: Path, channels: str, kind: str) -> None:
    colors, extra = CHANNELS[channels]
    pixels = samples(kind, colors + len(extra))
    levels = expected(channels, pixels) // (1 if kind == "u1" else 257)
    path = tmp_path / "a.tif"
    for planar, order, compression in itertools.product((False, True), "<>", COMPRESSIONS):
        photometric = "rgb" if colors == 3 else "minisblack"
        write(path, pixels, channels, planar=planar, photometric=photometric, byteorder=order, compression=compression)
        try:
            opened = Image.open(path)
        except OSError:  # Pillow's own word to the user
            continue
        with opened:
            picture = Picture.take(opened)
        found = np.asarray(picture.restore(picture.pixels))
        np.testing.assert_array_equal(found, as_rgb(levels), err_msg=f"{planar=} {order=} {compression=}")
