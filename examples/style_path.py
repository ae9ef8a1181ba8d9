"""Only the way from a reference to its style is trained: the extractor's head, and what of the generator a code sets.

    python examples/style_path.py --init agn-small --content PHOTOS --style ART --out closer --minutes 40

A code that is refined for a photo (`Stylizer.refine_style`) paints a fifth closer to the reference than the extractor's
own. What that takes can be learned, and quickly: convolutions stay as they are, paintings are small, and nobody judges
but the trunk's statistics, the palette, and how much of the drawing is lost beyond what the weights lost before. Every
other reference comes in other colors, since there are more palettes than paintings. Run it again from its own --out
to go on another night. With --extractor that of other weights is taken, as it is, so that style files fit both. Styles
by name, one for each folder in --style, are fitted at the end; until then the weights know none. --minutes 0 does that
alone.
Paper: after the amortised inference of Cremer et al., "Inference suboptimality in variational autoencoders", ICML 2018.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from agnlib import Generator, StyleExtractor
from agnlib.errors import AgnError
from agnlib.losses import content_loss, normalize_features, palette_loss
from agnlib.metrics._halo import halo_squared
from agnlib.metrics._texture import flat_texture
from agnlib.models import pretrained
from agnlib.training.class_styles.fitting import fit_class_styles
from agnlib.training.data.pairs import Batch, PairData, PictureFolder
from agnlib.training.ema import ExponentialMovingAverage
from agnlib.training.objective.terms import SharedTextureTerm
from agnlib.training.run.initial_networks import starting_networks

BY_CODE = ("adapter.", ".affine.", ".by_style.", ".gain")  # of the generator: what a code sets, and how much noise
SEEN = (1 / 127.5) ** 2  # a step of 8 bits: less texture is not seen
MOST = 3.0  # deviations by which a statistic counts at most
STRIDE, FLAT = 8, 176  # px: of what the network could repeat, and of the photos without anything that show it
FAINT = SEEN / 100  # of one frequency of what is repeated
EMPTY = 0.4  # share of a photo's cells in which it is looked for: those with least
TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def widened(extractor: StyleExtractor, hidden: int) -> StyleExtractor:
    """The same extractor with more units in its head, which add nothing before they are trained (Net2Net)."""
    if hidden < extractor.config.hidden:
        raise SystemExit(f"--hidden {hidden}: the weights have {extractor.config.hidden}; units can only be added")
    other = StyleExtractor(**asdict(replace(extractor.config, hidden=hidden)))
    old = extractor.state_dict()
    for name, value in other.state_dict().items():
        if name in ("head.2.weight", "head.4.weight"):
            value[: len(old[name])] = 0
        elif name.startswith("head.") and name.endswith(".bias"):
            value.zero_()
        value[tuple(slice(side) for side in old[name].shape)] = old[name]
    return other


def same_trunk(one: StyleExtractor, other: StyleExtractor) -> bool:
    """Whether both see the same statistics and give codes of one width."""
    if one.config.style_dim != other.config.style_dim:
        return False
    theirs = other.state_dict()
    return all(
        name in theirs and torch.equal(value, theirs[name])
        for name, value in one.state_dict().items()
        if not name.startswith("head.")
    )


def reduced(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """The pictures at another size, smoothed."""
    return F.interpolate(pictures, size, mode="bilinear", antialias=True)


def recolored(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """Every other picture `(B, 3, H, W)` in [-1, 1] with its hues turned, its chroma scaled and its tone bent."""
    yiq = pictures.new_tensor(TO_YIQ)
    chosen, turn, chroma, tone = torch.rand(4, len(pictures), generator=rng).to(pictures)
    angle, chroma = (2 * turn - 1) * 0.9 * math.pi, 0.6 + 0.9 * chroma
    bent = ((pictures + 1) / 2).clamp(0, 1) ** (2 ** (1.2 * tone - 0.6))[:, None, None, None]
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    cosine, sine = chroma * angle.cos(), chroma * angle.sin()
    turned = torch.stack([one, zero, zero, zero, cosine, -sine, zero, sine, cosine], dim=1).view(-1, 3, 3)
    changed = torch.einsum("bij,bjhw->bihw", yiq.inverse() @ turned @ yiq, bent).clamp(0, 1) * 2 - 1
    return torch.where(chosen[:, None, None, None] < 0.5, pictures, changed)


class StylePath(nn.Module):
    """The losses of one step; generator and extractor are trained, copies of them say what was kept before.

    With another extractor, which has the same trunk, the generator alone learns to paint by its codes.
    `lost` is how much of the drawing may be lost, as a factor of what the weights lose before, `flatness` the weight of
    not being rougher than the reference where there is nothing, `evenness` that of no haloes beside a photo's edges,
    `gridless` that of no regular grid.
    """

    def __init__(
        self,
        generator: Generator,
        extractor: StyleExtractor,
        other: StyleExtractor | None = None,
        *,
        lost: float = 1.0,
        flatness: float = 0.3,
        evenness: float = 0.0,
        gridless: float = 0.0,
    ) -> None:
        super().__init__()
        self.lost, self.flatness, self.evenness, self.gridless = lost, flatness, evenness, gridless
        self.before = copy.deepcopy((generator.train(), extractor.eval()))  # in a tuple: no part of what is averaged
        self.generator, self.extractor = generator, extractor if other is None else other
        self.extractor.train().head.requires_grad_(other is None)
        for name, parameter in generator.named_parameters():
            parameter.requires_grad_(any(part in f".{name}" for part in BY_CODE))
        self.texture = SharedTextureTerm(generator)

    def parts(self) -> list[dict[str, object]]:
        """Parameter groups: the head and the adapter learn faster than what the whole network rests on."""
        quick = [*self.extractor.head.parameters(), *self.generator.adapter.parameters()]
        quick = [parameter for parameter in quick if parameter.requires_grad]
        known = set(map(id, quick))
        slow = [p for p in self.generator.parameters() if p.requires_grad and id(p) not in known]
        return [{"params": quick, "share": 1.0}, {"params": slow, "share": 0.25}]

    def forward(
        self, photos: Tensor, references: Tensor, step: int, sources: tuple[str, ...] = ()
    ) -> dict[str, Tensor]:
        """Named losses."""
        extractor = self.extractor
        with torch.no_grad():
            former, before = self.before
            wanted = extractor.statistics(references)
            # paintings are looked at from as far as in `agnlib train`
            size = (references.shape[2], references.shape[3])
            seen = reduced(photos, size)
            target = {tap: normalize_features(f) for tap, f in extractor.features(seen).items()}
            with torch.random.fork_rng():
                first = former(None, before.encode(wanted), content=photos)
            allowed = _each_content_loss(extractor.features(reduced(first, size)), target)
        code = extractor.encode(wanted)
        whole = self.generator(None, code, content=photos)
        painted = reduced(whole, size)
        features = extractor.features(painted)
        apart = (extractor.statistics(painted, features) - wanted) / extractor.scale
        losses = {
            "statistics": apart.abs().clamp_max(MOST).mean(),
            "palette": palette_loss(painted, references, seed=step) / 10,
            "flat parts": self.flatness * rougher(painted, seen, references).mean(),
            "drawing": 4 * F.relu(_each_content_loss(features, target) - self.lost * allowed).mean(),
        }
        if self.evenness:  # at the photos' own size, since a halo is 64 px wide
            losses["haloes"] = self.evenness * (halo_squared(whole, photos) + 1).sqrt().mean() / 10
        if self.gridless:
            flat = photos.mean(dim=(2, 3), keepdim=True).expand(-1, -1, FLAT, FLAT)
            repeated = torch.cat([grid(self.generator(None, code, content=flat), flat), grid(whole, photos)])
            losses["grid"] = self.gridless * torch.log1p(F.relu(repeated) / FAINT).mean()
        if step % 3 == 0:
            losses["texture"] = 4 * self.texture(
                Batch(photos, references, step=step, code=code, sources=sources), painted
            )
        return losses


def rougher(painted: Tensor, photos: Tensor, references: Tensor) -> Tensor:
    """By how much texture is stronger where the photo is flat than where the reference is, in powers of e, `(B,)`."""
    with torch.no_grad():
        wanted = flat_texture(references, references)
    return F.relu(torch.log((flat_texture(painted, photos) + SEEN) / (wanted + SEEN))) / 2


def grid(painted: Tensor, photos: Tensor) -> Tensor:
    """The power of what cells of `STRIDE` px have in common, by frequency, `(B, 3, STRIDE, STRIDE)`, without the mean.

    Of the cells where the photo has least, which may be all. The product of what those in the left and in the right
    half have on average, so that strokes, which differ, add nothing.
    """
    cells, bare = _cells(painted), _cells(photos).var(dim=(1, 2, 3))
    chosen = (bare <= bare.flatten(1).quantile(EMPTY, dim=1)[:, None, None])[:, None, None, None].to(painted)
    sums = ((cells * chosen).chunk(2, dim=-1), chosen.chunk(2, dim=-1))
    left, right = (
        torch.fft.fft2(total.sum((4, 5)) / count.sum((4, 5)).clamp_min(1), norm="forward")
        for total, count in zip(*sums, strict=True)
    )
    power = (left * right.conj()).real
    return power * (torch.arange(STRIDE**2).view(STRIDE, STRIDE) > 0)


def _cells(pictures: Tensor) -> Tensor:
    """`(B, 3, STRIDE, STRIDE, h, w)`, without those at the border."""
    height, width = (side // STRIDE * STRIDE for side in pictures.shape[2:])
    cells = F.pixel_unshuffle(pictures[..., :height, :width], STRIDE)[..., 1:-1, 1:-1]
    return cells.unflatten(1, (3, STRIDE, STRIDE))


def _each_content_loss(features: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
    """`content_loss` of each picture, `(B,)`."""
    count = len(next(iter(target.values())))
    rows = [({k: v[i : i + 1] for k, v in f.items()} for f in (features, target)) for i in range(count)]
    return torch.stack([content_loss(*pair) for pair in rows])


def train(path: StylePath, data: PairData, keep: Callable[..., None], *, minutes: float, rate: float) -> None:
    """Train by wall clock, the rate falling along a cosine, and keep the average now and then."""
    average = ExponentialMovingAverage(path, 0.999)
    adam = torch.optim.Adam(path.parts(), lr=rate, betas=(0.9, 0.99))
    rng = torch.Generator().manual_seed(data.seed)
    start, step, saved = time.perf_counter(), 0, 0.0
    with tqdm(total=minutes, unit="min", bar_format="{l_bar}{bar}| {n:.1f}/{total:.1f} min{postfix}") as bar:
        while (now := (time.perf_counter() - start) / 60) < minutes:
            falling = 0.03 + 0.97 * math.cos(now / minutes * math.pi / 2) ** 2
            for group in adam.param_groups:
                group["lr"] = rate * group["share"] * min(1, (step + 1) / 150) * falling
            batch = data[step].to("cpu")
            losses = path(batch.photos, recolored(batch.style, rng), step, batch.sources)
            adam.zero_grad(set_to_none=True)
            torch.autograd.backward(torch.stack(list(losses.values())).sum())
            nn.utils.clip_grad_norm_([p for group in adam.param_groups for p in group["params"]], 1.0)
            adam.step()
            average.update(path)
            step, bar.n = step + 1, now
            bar.set_postfix({"step": step, **{name: f"{value.item():.3f}" for name, value in losses.items()}})
            if now - saved > 5:
                keep(average.module, step, now, last=False)
                saved = now
    keep(average.module, step, minutes, last=True)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--init", default="agn-small", metavar="NAME|FOLDER", help="weights to begin with (default agn-small)")
    add("--content", type=Path, required=True, metavar="DIR", help="photographs")
    add("--style", type=Path, required=True, metavar="DIR", help="pictures with the styles")
    add("--out", type=Path, required=True, metavar="DIR", help="what comes of it, kept every five minutes")
    add(
        "--extractor",
        metavar="NAME|FOLDER",
        help="whose extractor is taken, as it is (default: the weights' own learns)",
    )
    add("--hidden", type=int, metavar="N", help="units of the extractor's head (default: as they are; can only grow)")
    add(
        "--size",
        type=int,
        default=208,
        metavar="PX",
        help="of the references' crops (default 208, as they are read in use)",
    )
    add(
        "--stroke-scale",
        type=float,
        default=1.75,
        help="of the photographs' crops to them, see agnlib train (default 1.75)",
    )
    add("--batch", type=int, default=4, metavar="N")
    add("--minutes", type=float, default=40)
    add("--rate", type=float, default=6e-4, help="of Adam (default 0.0006)")
    add("--lost", type=float, default=1.0, help="of the drawing, as a factor of what is lost before (default 1)")
    add("--flatness", type=float, default=0.3, help="weight of flat parts being no rougher than the reference's")
    add("--evenness", type=float, default=0, help="weight of no haloes beside a photo's edges (default 0)")
    add("--gridless", type=float, default=0, help="weight of no regular grid where a photo has nothing (default 0)")
    add("--seed", type=int, default=0, help="another one for another night (default 0)")
    add("--threads", type=int, default=2)
    add(
        "--name-steps",
        type=int,
        default=32,
        metavar="N",
        help="of sharpening styles by name; 0 leaves them (default 32)",
    )
    return parser


def main(arguments: list[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    try:
        bundle = pretrained.load(options.init)
        other = pretrained.load(options.extractor).extractor if options.extractor else None
        photo_side = round(options.stroke_scale * options.size)
        content = PictureFolder(options.content, photo_side, seed=options.seed, classes=False)
        style = PictureFolder(options.style, options.size, seed=options.seed)
        data = PairData(content, style, batch=options.batch, seed=options.seed)
    except AgnError as error:
        raise SystemExit(str(error)) from error
    extractor = widened(bundle.extractor, options.hidden or bundle.extractor.config.hidden)
    if other is not None and not same_trunk(other, extractor):
        raise SystemExit(f"--extractor {options.extractor} has another trunk or width of codes than {options.init}")
    networks = starting_networks(bundle, style)
    generator = networks.generator.to(memory_format=torch.channels_last)
    weights = {name: getattr(options, name) for name in ("lost", "flatness", "evenness", "gridless")}
    path = StylePath(generator, extractor, other, **weights)

    def keep(average: StylePath, steps: int, minutes: float, *, last: bool) -> None:
        named = last and options.name_steps > 0 and len(style.class_names) > 0
        if named:
            fit_class_styles(average.generator.eval(), average.extractor, content, style, steps=options.name_steps)
        models = {"generator": average.generator, "extractor": average.extractor}
        if bundle.discriminator is not None:
            models["discriminator"] = networks.discriminator
        facts = {"init": bundle.name, "steps": steps, "minutes": round(minutes, 1), "batch": options.batch}
        facts |= {name: getattr(options, name) for name in ("extractor", "rate", "seed")} | weights
        before = bundle.info.get("style_path", [])
        stages = [*(before if isinstance(before, list) else [before]), *([facts] if steps else [])]
        info = {**bundle.info, "class_names": list(style.class_names) if named else [], "style_path": stages}
        pretrained.save(options.out, models, name=options.out.name, info=info, dtype=torch.float16)

    train(path, data, keep, minutes=options.minutes, rate=options.rate)


if __name__ == "__main__":
    main()
