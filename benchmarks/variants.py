"""The recipe with one thing changed at a time, each from the same start for the same steps on the same pictures.

    python benchmarks/variants.py --steps 300 --size 112 --out variants.json

Short runs, so they tell what a change does at once, not where it would end. Architectures begin as the shipped network
does: what is added is nothing before it is trained. Judged as in quality.py; "start" are the weights they begin with.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _common import SHARED, fail, header, markdown_table, write_json
from torch import Tensor, nn
from tqdm import tqdm

from agnlib import Discriminator, Generator, Stylizer, evaluation
from agnlib.errors import AgnError
from agnlib.layers import Modulation
from agnlib.models import pretrained
from agnlib.training import AdversarialTrainer, PairData, PictureFolder, TrainerConfig, Weighted, loader
from agnlib.training.objective.recipe import build_terms, choose_encoders
from agnlib.training.objective.terms import PatchNCETerm, SharedEncoder, SlicedStyleTerm
from agnlib.training.run.start import Networks, starting_networks

SHOWN = ("style", "deep style", "content", "palette", "structure", "colour ratio", "detail ratio")
Terms = dict[str, Weighted]


class WithColourTransform(Generator):
    """Adds an affine transform of the photo's blurred colours, which the style code predicts; at first it is none."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.transform = nn.Linear(self.config.style_dim, 12)
        nn.init.zeros_(self.transform.weight)
        nn.init.zeros_(self.transform.bias)

    def forward(self, z: Tensor | None = None, style: Tensor | None = None, **options: Any) -> Tensor:
        painted: Tensor = super().forward(z, style, **options)
        content = options.get("content")
        if content is None or style is None:
            return painted
        small = F.interpolate(content, scale_factor=1 / 8, mode="bilinear", antialias=True)
        blurred = F.interpolate(small, painted.shape[2:], mode="bilinear", align_corners=False)
        matrix = self.transform(style).view(-1, 3, 4)
        return painted + torch.einsum("bij,bjhw->bihw", matrix[:, :, :3], blurred) + matrix[:, :, 3:, None]


class Gate(nn.Module):
    """A modulated skip, weighed channel by channel by the style code; at first all weights are one."""

    def __init__(self, skip: Modulation, channels: int, style_dim: int) -> None:
        super().__init__()
        self.skip, self.gate = skip, nn.Linear(style_dim, channels)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return 2 * torch.sigmoid(self.gate(style))[:, :, None, None] * self.skip(x, style)


class BatchNormalised(nn.Module):
    """A modulated skip, normalised as photographs are in the mean and not by its own photograph's statistics."""

    def __init__(self, skip: Modulation, channels: int) -> None:
        super().__init__()
        self.skip, self.norm = skip, nn.BatchNorm2d(channels, affine=False)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        mean, std = self.skip.affine(style)[:, :, None, None].chunk(2, dim=1)
        y: Tensor = self.norm(x) * std + mean
        return y


class ScaledConv(nn.Module):
    """A convolution whose input channels the style code scales, StyleGAN2's without demodulation; at first by one."""

    def __init__(self, conv: nn.Module, channels: int, style_dim: int) -> None:
        super().__init__()
        self.conv, self.scale = conv, nn.Linear(style_dim, channels)
        nn.init.zeros_(self.scale.weight)
        nn.init.ones_(self.scale.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        y: Tensor = self.conv(x * self.scale(style)[:, :, None, None])
        return y


class ModulatedBlock(nn.Module):
    """A decoder's block with `ScaledConv` in it."""

    def __init__(self, block: nn.Module, channels: int, style_dim: int) -> None:
        super().__init__()
        self.modulation, self.conv = block.modulation, ScaledConv(block.conv, channels, style_dim)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return x + self.conv(self.modulation(x, style), style)


def with_colour_transform(networks: Networks) -> Networks:
    other = WithColourTransform(**vars(networks.generator.config))
    other.load_state_dict(networks.generator.state_dict(), strict=False)
    return networks._replace(generator=other)


def with_gated_skips(networks: Networks) -> Networks:
    generator, config = networks.generator, networks.generator.config
    generator.skip_half = Gate(generator.skip_half, config.channels[0], config.style_dim)
    generator.skip_quarter = Gate(generator.skip_quarter, config.channels[1], config.style_dim)
    return networks


def with_batch_norm(networks: Networks) -> Networks:
    generator, config = networks.generator, networks.generator.config
    generator.skip_half = BatchNormalised(generator.skip_half, config.channels[0])
    generator.skip_quarter = BatchNormalised(generator.skip_quarter, config.channels[1])
    return networks


def with_modulated_decoder(networks: Networks) -> Networks:
    generator, config = networks.generator, networks.generator.config
    for index, block in enumerate(generator.body_quarter):
        generator.body_quarter[index] = ModulatedBlock(block, config.channels[1], config.style_dim)
    return networks


def with_discriminator(**options: Any) -> Callable[[Networks], Networks]:
    def changed(networks: Networks) -> Networks:
        config = networks.discriminator.config
        torch.manual_seed(0)
        return networks._replace(discriminator=Discriminator(config.num_classes, **options))

    return changed


def sliced(terms: Terms, encoders: Mapping[str, Any], generator: Generator) -> Terms:
    old = terms["style_vgg16"]
    encoder = old.term.encoder  # type: ignore[attr-defined]
    return terms | {"style_vgg16": Weighted(SlicedStyleTerm(encoder, old.term.taps), old.weight)}  # type: ignore[attr-defined]


def heavier_style(terms: Terms, encoders: Mapping[str, Any], generator: Generator) -> Terms:
    styles = {name: replace(term, weight=1.5 * term.weight) for name, term in terms.items() if name.startswith("style")}
    return terms | styles


def without(name: str) -> Callable[..., Terms]:
    return lambda terms, encoders, generator: {key: value for key, value in terms.items() if key != name}


def patch_nce(terms: Terms, encoders: Mapping[str, Any], generator: Generator) -> Terms:
    term = PatchNCETerm(SharedEncoder(generator.content_features), "quarter")
    return without("content_vgg16")(terms, encoders, generator) | {"nce": Weighted(term, 0.5, needs_content=True)}


@dataclass(frozen=True)
class Variant:
    """What differs from the recipe."""

    config: Mapping[str, Any] = field(default_factory=dict)
    networks: Callable[[Networks], Networks] = lambda networks: networks
    terms: Callable[[Terms, Mapping[str, Any], Generator], Terms] = lambda terms, encoders, generator: terms
    scale: float = 1.75
    sizes: Sequence[float] = (1.0,)  # of the crops, one after another
    blocks: tuple[int, int, int] | None = None
    channels: tuple[int, int, int] | None = None


VARIANTS: Mapping[str, Variant] = {
    "recipe": Variant(),
    "strokes as in the reference (scale 1)": Variant(scale=1.0),
    "strokes half as broad again (scale 1.5)": Variant(scale=1.5),
    "strokes twice as broad (scale 2)": Variant(scale=2.0),
    "from near in one step of two": Variant({"close_up_every": 2}),
    "style 1.5 times as heavy": Variant(terms=heavier_style),
    "no adversary": Variant({"adversarial": 0.0}),
    "logistic loss, R1": Variant({"loss": "logistic"}),
    "relativistic loss, R1 + R2": Variant({"loss": "relativistic"}),
    "new discriminator, two scales": Variant(networks=with_discriminator()),
    "new discriminator, one scale": Variant(networks=with_discriminator(scales=1)),
    "sliced Wasserstein for covariances": Variant(terms=sliced),
    "moments alone, no covariances": Variant(terms=without("style_vgg16")),
    "PatchNCE for VGG16 content": Variant(terms=patch_nce),
    "colour transform by the code": Variant(networks=with_colour_transform),
    "more blocks: 1, 3, 6": Variant(blocks=(1, 3, 6)),
    "more blocks: 2, 5, 10": Variant(blocks=(2, 5, 10)),
    "more channels: 32, 96, 160": Variant(channels=(32, 96, 160)),
    "crops of half the size first": Variant(sizes=(0.5, 1.0)),
    "skips by batch norm": Variant(networks=with_batch_norm),
    "gated skips": Variant(networks=with_gated_skips),
    "modulated convolutions in the decoder": Variant(networks=with_modulated_decoder),
}


def training_pairs(data: Path, size: int, scale: float, *, batch: int = 4, seed: int = 0) -> PairData:
    """References of that size from `style`, and photographs from `content`, larger by the strokes' scale."""
    sides = {"content": round(size * scale), "style": size}
    folders = [PictureFolder(data / name, side, seed=seed) for name, side in sides.items()]
    return PairData(*folders, batch=batch, seed=seed)


def trained(variant: Variant, encoders: Mapping[str, Any], options: argparse.Namespace) -> tuple[Stylizer, float]:
    """What a variant has become, and its seconds a step."""
    data = options.data / "train"
    stages = [
        training_pairs(data, round(share * options.size), variant.scale, seed=options.seed) for share in variant.sizes
    ]
    torch.manual_seed(options.seed)
    networks = variant.networks(starting_networks(options.init, stages[0].style, variant.blocks, variant.channels))
    terms = variant.terms(build_terms(encoders, networks.generator, warmup=0), encoders, networks.generator)
    chosen = {"warmup": 0, "stroke_scale": variant.scale, "from_nothing_every": 8, "ema_decay": 0.99}
    config = TrainerConfig(**{**chosen, "adversarial_ramp": 0, "seed": options.seed, **variant.config})
    trainer = AdversarialTrainer(*networks, terms=terms, config=config)
    begun = time.perf_counter()
    each = -(-options.steps // len(stages))
    batches = itertools.chain.from_iterable(itertools.islice(loader(stage), each) for stage in stages)
    trainer.fit(batches, steps=options.steps)
    took = (time.perf_counter() - begun) / options.steps
    return Stylizer(copy.deepcopy(trainer.averaged_generator), trainer.averaged_extractor, device="cpu"), took


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--init", default="agn-fast", metavar="NAME|FOLDER")
    add("--only", nargs="*", metavar="VARIANT", help=f"of: {', '.join(VARIANTS)}")
    add("--steps", type=int, default=300)
    add("--size", type=int, default=112)
    add("--pairs", type=int, default=36)
    add("--data", type=Path, default=SHARED / "data", help="a folder with train/ and dev/")
    add("--vgg", type=Path, default=SHARED / "weights" / "vgg16_conv4_3_fp16.safetensors")
    add("--perceptual", default="vgg16+efficientnet-lite0")
    add("--threads", type=int, default=2)
    add("--seed", type=int, default=0)
    add("--out", type=Path, metavar="FILE.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    os.environ.setdefault("AGNLIB_VGG16", str(options.vgg))
    chosen = VARIANTS if options.only is None else {name: VARIANTS[name] for name in options.only}
    try:
        encoders = choose_encoders(options.perceptual, torch.device("cpu"))
        judge, _ = evaluation.installed_judge(options.vgg)
        bundle = pretrained.load(options.init)
        rows: dict[str, Any] = {"start": Stylizer(bundle.generator, bundle.extractor, device="cpu")}
        seconds: dict[str, float] = {}
        for name, variant in tqdm(chosen.items(), "variants"):
            rows[name], seconds[name] = trained(variant, encoders, options)
        dev = options.data / "dev"
        pairs = evaluation.choose_pairs(dev / "content", dev / "style", options.pairs)
        summary = evaluation.summarise(evaluation.evaluate(rows, pairs, judge, progress=True))
    except AgnError as error:
        fail(str(error))
    shown = [name for name in SHOWN if name in summary["identity"]]
    digits = {"palette": 2, "colour ratio": 2, "detail ratio": 2}
    cells = [
        [row, *(f"{values[name]['value']:.{digits.get(name, 3)}f}" for name in shown), f"{seconds.get(row, 0):.2f}"]
        for row, values in summary.items()
    ]
    print(f"{options.steps} steps of 4 pairs at {options.size} px each, {len(pairs)} pairs judged.\n")
    print(markdown_table(["", *shown, "s/step"], [[*row[:-1], "" if row[-1] == "0.00" else row[-1]] for row in cells]))
    if options.out:
        write_json(options.out, header(steps=options.steps, size=options.size) | {"summary": summary, "s": seconds})


if __name__ == "__main__":
    main()
