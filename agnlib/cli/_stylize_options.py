"""What `agnlib stylize` can be asked."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from agnlib.cli import _types

__all__ = ["add_stylize"]

_NOTES = """\
styles by name (`agnlib styles` lists them):
  --style wave                                    a work of art that comes with agnlib, for either method
  --style random --seed 3                         a style of no picture, another with every seed
  --style ukiyo-e --seed 3                        one of a class: fauvism, old-masters, pointillism or
                                                  ukiyo-e

regions:
  --style A --mask m.png                          A where m is white, the photo elsewhere
  --style A --mask m.png --style B                A where m is white, B elsewhere
  --style A --mask m.png --style B --mask n.png   each where its mask is white
  --style A --style B --mask m.png                A and B mixed, where m is white

folders:
  agnlib stylize DIR --style A -o OUT             every photograph and clip under DIR, to the same tree under OUT
  The same command goes on where a run was stopped or killed. What it painted already is kept; all else that is in the
  way stops it before it begins, unless --overwrite is given.

clips (GIF and animated WebP; with the extra video films, whose sound is copied):
  clip.mp4 -o painted.mp4                         MP4, MOV, MKV, WebM or AVI; also to .gif and .webp, and back
  a.mp4 b.gif c.jpg -o out/                       several files to a folder, each under its name

pipes:
  agnlib stylize - -o - --style A < a.jpg > b.jpg     - is standard input and output; --format png for another format

without PyTorch, in under a second (engines openvino, onnx or auto; one style in full, whole pictures):
  --style starry.onnx --engine openvino           a style that agnlib export starry.onnx --style PICTURE wrote
  --weights programs --style A --engine openvino  any picture's style, with what agnlib export programs/ wrote

exit status:
  0    done
  1    some of several photographs could not be painted; the others were
  2    a mistake in what was asked for, or of the photographs named none could be painted: nothing was written
  130  interrupted; 143 ended by SIGTERM, 129 by SIGHUP
"""


def add_stylize(commands: Any, run: Callable[[argparse.Namespace], int]) -> None:
    """Into the commands of the program."""
    command = _types.add_command(
        commands,
        "stylize",
        "repaint photographs in the style of a picture",
        needs="PHOTO|DIR ... --style PICTURE -o FILE|DIR",
        example="photo.jpg --style auvers -o painted.jpg",
        epilog=_NOTES,
    )
    command.add_argument(
        "photos",
        nargs="+",
        metavar="PHOTO|DIR",
        help="JPEG, PNG, WebP, TIFF, BMP, AVIF or HEIC (extra heif), or clips, also by a pattern; or one folder of"
        " them; or - for standard input; see below",
    )
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE|DIR",
        help="a file for one photograph or clip, or a folder (made if need be), where each keeps its name; or - for"
        " standard output",
    )
    style = command.add_argument_group("styles")
    style.add_argument(
        "--style",
        dest="styles",
        action=_InOrder,
        required=True,
        metavar="PICTURE[:WEIGHT]",
        help="a picture with the style, a file from --save-style or agnlib export, or a style by name: a work of art"
        " that comes with agnlib, a class, or random (`agnlib styles` lists them; --seed varies the last two); give"
        " several to mix them, with weights relative to their sum",
    )
    style.add_argument(
        "--mask",
        dest="styles",
        action=_InOrder,
        metavar="PICTURE",
        help="where the styles before it go: white there, black elsewhere, gray between; see below",
    )
    style.add_argument(
        "--save-style",
        metavar="FILE.safetensors",
        help="write the style, for --style later: a code, or with --method neighbors the pictures",
    )
    style.add_argument(
        "--refine",
        action="store_true",
        help="learn the style's code for these photographs (the first three), in some seconds: closer to the picture;"
        " for a folder, save the style and give that",
    )
    effect = command.add_argument_group("effect")
    effect.add_argument(
        "--method",
        choices=("network", "neighbors"),
        default="network",
        help="network: in one pass (default); neighbors: with the reference's own forms and strokes, which takes half a"
        " minute and more",
    )
    effect.add_argument(
        "--drawing",
        type=_types.share,
        metavar="S",
        help="of --method neighbors, how much of the photo's drawing stays: 0 to 1 (default 0.5)",
    )
    effect.add_argument(
        "--strength", type=_types.share, default=1.0, metavar="S", help="from 0 (the photo) to 1 (default)"
    )
    effect.add_argument(
        "--texture",
        type=_types.share,
        default=1.0,
        metavar="S",
        help="of lightness, where brushwork is: 0 to 1 (default)",
    )
    effect.add_argument("--color", type=_types.share, default=1.0, metavar="S", help="of the colors: 0 to 1 (default)")
    only = effect.add_mutually_exclusive_group()
    only.add_argument("--preserve-color", action="store_true", help="keep the photo's colors, as --color 0")
    only.add_argument("--color-only", action="store_true", help="keep the photo's lightness, as --texture 0")
    effect.add_argument(
        "--scale",
        type=_types.scale,
        default="auto",
        metavar="X",
        help="how broad the strokes are: auto (default) has them broader in pictures of more than about 1.5 megapixels,"
        " 1 has them as broad in pixels in each, 0.1 to 10 times as broad as that",
    )
    effect.add_argument(
        "--seed",
        type=_types.seed,
        metavar="N",
        help="draw a latent, which varies styles by name, and the painting a little; without it the result is fixed,"
        " but for the style random, whose seed is said",
    )
    effect.add_argument(
        "--smoothing",
        type=_types.smoothing,
        metavar="SECONDS",
        help="of clips: over how long they are steadied against flicker, 0 to 60 (default 0.5)",
    )
    files = command.add_argument_group("files and machine")
    files.add_argument("--size", type=_types.count, metavar="PX", help="reduce a longer side above it first")
    files.add_argument(
        "--max-pixels",
        dest="limits",
        type=_types.limits,
        metavar="N",
        help="refuse larger picture files, such as 200M for 200 million pixels (default 67M, and 16,384 a side); raise"
        " it only for files that you trust",
    )
    files.add_argument(
        "--metadata",
        choices=("none", "no-gps", "all"),
        default="none",
        help="of the photo's EXIF, what is written along (default none)",
    )
    files.add_argument(
        "--no-recipe",
        dest="recipe",
        action="store_false",
        help="do not note in the picture what it was made with: weights, names of the styles, options",
    )
    files.add_argument(
        "--tile",
        type=_types.tile,
        default="auto",
        metavar="auto|whole|PX",
        help="side of the tiles in which large pictures are painted (default auto); the result is the same",
    )
    files.add_argument(
        "--weights",
        default="agn-small",
        metavar="NAME|FOLDER",
        help="shipped weights (default agn-small); or a folder from agnlib train, or a checkpoint in it, whose averaged"
        " weights paint; or a folder from agnlib export",
    )
    _types.add_device(files)
    files.add_argument(
        "--engine",
        choices=("torch", "onnx", "openvino", "auto"),
        default="torch",
        help="what paints: torch (default), onnx (onnxruntime) or openvino, both on the CPU; auto takes the quickest,"
        " for what agnlib export wrote onnx where it is installed",
    )
    files.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="what the engine computes in (default auto: bfloat16 with openvino where the processor has it)",
    )
    _types.add_overwrite(files)
    files.add_argument("--quiet", action="store_true", help="say nothing but errors")
    files.add_argument(
        "--format",
        choices=("jpg", "png", "webp", "tiff", "bmp"),
        help="of all that goes to a folder, or to standard output (default: each photograph's own)",
    )
    folder = command.add_argument_group("a folder of photographs and clips")
    folder.add_argument(
        "--shard", type=_types.shard, metavar="I/N", help="paint the I-th of N parts of it (default 1/1)"
    )
    folder.add_argument("--no-clips", action="store_true", help="leave out the clips in it, which are painted last")
    folder.add_argument("--report", metavar="FILE", help="where the JSON report goes (default: into the output folder)")
    command.set_defaults(run=run)


class _InOrder(argparse.Action):
    """Notes options of several names in one list, since it matters which follows which."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), (self.option_strings[0], values)])
