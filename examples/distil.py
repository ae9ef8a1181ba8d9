"""A faster generator that paints like a slower one: distillation, with fewer blocks and no other network to judge.

The student begins with the teacher's weights, every so many blocks left out, and learns the teacher's pictures of the
same photos in the same styles: their pixels, and their features in the teacher's discriminator. Canvas noise and style
codes are the teacher's, so there is one right answer for each pair, strokes included, and style files fit both.

    python examples/distil.py --content PHOTOS --style ART --out my-agn-fast --blocks 0 1 4 --minutes 60

Paper: Romero et al., "FitNets: hints for thin deep nets", ICLR 2015.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from agnlib import Discriminator, Generator, Stylizer
from agnlib.models import pretrained
from agnlib.training.data.pairs import PictureFolder

Lesson = tuple[Tensor | None, Tensor, Tensor, Tensor]  # z, style, content, and the teacher's picture


def main(arguments: list[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    torch.manual_seed(options.seed)
    bundle = pretrained.load(options.teacher)
    teacher, judge = bundle.generator.requires_grad_(False), bundle.discriminator
    if judge is None:
        raise SystemExit(f"{options.teacher} has no discriminator, whose features are compared; give other weights")
    student = thinned(teacher, tuple(options.blocks))
    if options.resume:
        student.load_state_dict(Generator.from_pretrained(options.resume).state_dict())
    codes = style_codes(Stylizer(teacher, bundle.extractor, device="cpu"), options.style)
    photos = crops(PictureFolder(options.content, options.size, seed=options.seed), options.batch)

    def keep(average: Generator, steps: int, minutes: float) -> None:
        models = {"generator": average, "extractor": bundle.extractor, "discriminator": judge}
        training = {"teacher": bundle.name, "steps": steps, "minutes": round(minutes, 1), "batch": options.batch}
        training |= {"crop": options.size, "blocks": list(options.blocks), "torch": torch.__version__}
        info = {**bundle.info, "training": training}
        pretrained.save(options.out, models, name=options.name, info=info, dtype=torch.float16)

    @torch.no_grad()
    def lesson(step: int) -> Lesson:
        content, style = next(photos), mixed(codes, options.batch)
        z = torch.randn(options.batch, teacher.config.latent_dim) if step % 8 == 7 else None
        return z, style, content, teacher(z, style, content=content)

    distil(student, judge.requires_grad_(False), lesson, keep, options)


def thinned(teacher: Generator, blocks: tuple[int, int, int]) -> Generator:
    """A generator with fewer blocks at 1/2, 1/4 and 1/8 of the size, each a copy of one of the teacher's."""
    student = Generator(**vars(replace(teacher.config, blocks=blocks)))
    state = {key: value for key, value in teacher.state_dict().items() if not key.startswith("body")}
    student.load_state_dict(state, strict=False)
    for name in ("body", "body_quarter", "body_half"):
        mine, theirs = getattr(student, name), getattr(teacher, name)
        if len(mine) > len(theirs):
            raise SystemExit(f"the student has {len(mine)} blocks in {name}, the teacher {len(theirs)}; give fewer")
        chosen = torch.linspace(0, len(theirs) - 1, len(mine)).round().int() if len(mine) != 1 else [len(theirs) - 1]
        for block, index in zip(mine, chosen, strict=True):
            block.load_state_dict(theirs[int(index)].state_dict())
    return student


@torch.no_grad()
def style_codes(stylizer: Stylizer, folder: Path) -> Tensor:
    """The codes `(N, style_dim)` of all pictures below a folder."""
    paths = PictureFolder(folder, 256).paths
    return torch.cat([stylizer.encode_style(path).vector[None] for path in tqdm(paths, "style codes")])


def crops(folder: PictureFolder, batch: int) -> Iterator[Tensor]:
    """Batches of crops `(batch, 3, size, size)` in [-1, 1], without end, each decoded once."""
    kept: dict[int, Tensor] = {}
    while True:
        for entries in torch.randperm(len(folder)).split(batch):
            if len(entries) == batch:
                for entry in entries.tolist():
                    if entry not in kept:
                        kept[entry] = torch.from_numpy(folder.crop(entry).copy()).permute(2, 0, 1)
                pictures = torch.stack([kept[entry] for entry in entries.tolist()])
                yield pictures.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)


def mixed(codes: Tensor, batch: int) -> Tensor:
    """Codes of one style, or on the way between two: what users ask for by weights and by strength."""
    first, second = codes[torch.randint(len(codes), (2, batch))]
    way = torch.rand(batch, 1) * (torch.rand(batch, 1) < 0.4)
    return first.lerp(second, way)


def distance(judge: Discriminator, painted: Tensor, wanted: Tensor) -> Tensor:
    """Mean difference of pixels, of their finest detail, and of features relative to their size."""
    apart = painted - wanted
    fine = apart - F.interpolate(F.avg_pool2d(apart, 2), apart.shape[2:])
    features = []
    for mine, right in zip(judge.features(painted), judge.features(wanted), strict=True):
        features.append((mine - right).abs().mean() / right.abs().mean().clamp_min(1e-4))
    return apart.abs().mean() + fine.abs().mean() + 0.1 * torch.stack(features).mean()


def distil(
    student: Generator,
    judge: Discriminator,
    lesson: Callable[[int], Lesson],
    keep: Callable[[Generator, int, float], None],
    options: argparse.Namespace,
) -> None:
    """Train by wall clock, the rate falling along a cosine, and keep the average of the weights now and then."""
    student.train().to(memory_format=torch.channels_last)
    average = AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(0.998))
    adam = torch.optim.Adam(student.parameters(), lr=options.rate, betas=(0.9, 0.99))
    start, steps, saved = time.perf_counter(), 0, 0.0
    smooth = math.nan
    with tqdm(total=options.minutes, unit="min", bar_format="{l_bar}{bar}| {n:.1f}/{total:.1f} min{postfix}") as bar:
        while (minutes := (time.perf_counter() - start) / 60) < options.minutes:
            share = minutes / options.minutes
            rate = options.rate * min(1, (steps + 1) / 50) * (0.02 + 0.98 * math.cos(share * math.pi / 2) ** 2)
            for group in adam.param_groups:
                group["lr"] = rate
            z, style, content, wanted = lesson(steps)
            loss = distance(judge, student(z, style, content=content), wanted)
            adam.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            adam.step()
            average.update_parameters(student)
            steps += 1
            smooth = loss.item() if math.isnan(smooth) else 0.99 * smooth + 0.01 * loss.item()
            bar.n = minutes
            bar.set_postfix_str(f"step {steps}, distance {smooth:.4f}")
            if minutes - saved > options.every:
                keep(average.module, steps, minutes)
                saved = minutes
    keep(average.module, steps, options.minutes)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--content", type=Path, required=True, metavar="DIR", help="photos")
    parser.add_argument("--style", type=Path, required=True, metavar="DIR", help="pictures whose styles are asked for")
    parser.add_argument("--teacher", default="agn-small", metavar="NAME|DIR", help="default agn-small")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--name", default=None, help="of the new weights; the folder's name if left out")
    parser.add_argument("--blocks", type=int, nargs=3, default=(0, 1, 4), help="at 1/2, 1/4 and 1/8 of the size")
    parser.add_argument("--size", type=int, default=192, help="side of the crops, default 192")
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--every", type=float, default=5, help="minutes between savings, default 5")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="weights of a student of the same blocks")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
