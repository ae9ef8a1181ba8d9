"""Learn to repaint black-on-white digits in other colors from unpaired examples (the founding article, 4.2 and 4.4).

    python examples/repaint_digits.py --data ../shared/data/mnist --out runs/repaint
    python examples/repaint_digits.py --data ../shared/data/mnist --out runs/vae-gan --variational
    python examples/repaint_digits.py --data ../shared/data/mnist --out runs/quick --steps 300

A step sees digits in black on white and, drawn independently of them, other digits in other colors; nobody ever shows
the network a digit beside its own repainting. `--out` gets the weights, `repaint.png` (digit, source picture,
repainted), `new-digits.png` (from noise, in the style of the source picture on the left) and `random-styles.png`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from repaint_parts import (
    BLACK_ON_WHITE,
    REGION,
    STYLES,
    Digits,
    DrawingDiscriminator,
    Plan,
    batches,
    colors_term,
    drawing_term,
    paint,
    variety_term,
)
from torch import Tensor
from torchvision.utils import save_image

from agnlib import AdversarialTrainer, Discriminator, Generator, StyleExtractor
from agnlib.errors import AgnError
from agnlib.losses import kl_divergence
from agnlib.training import Batch, TrainerConfig, Weighted
from agnlib.training.class_styles.mapping import fit_mapping
from agnlib.training.objective.terms import PaletteTerm


class RepaintTrainer(AdversarialTrainer):
    """Always gives the generator a z; of a variational extractor's code it asks the KL divergence's price."""

    kl_weight = 0.01
    group = Plan.group

    def generate(self, batch: Batch) -> Tensor:
        """The digits repainted, or new ones where the batch has none."""
        z = torch.randn(len(batch), self.generator.config.latent_dim)
        assert self.extractor is not None
        if self.extractor.config.variational:
            codes = self.extractor.distribution(batch.style)
            batch.code, batch.extras["kl"] = codes.rsample(), kl_divergence(codes.mean, codes.stddev)
        else:
            batch.code = self.extractor(batch.style)
        if batch.content is None:  # one code for a group, so that z alone makes its digits differ
            first = torch.arange(len(batch)) // self.group * self.group
            batch.code = batch.code[first]
        fake: Tensor = self.generator(z, batch.code, content=batch.content, size=tuple(batch.style.shape[2:]))
        return fake

    def generator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        """The trainer's losses, and "kl"."""
        losses = super().generator_loss(batch, fake)
        return losses | {name: self.kl_weight * value for name, value in batch.extras.items()}


def networks(plan: Plan, *, variational: bool = False) -> tuple[Generator, Discriminator, StyleExtractor]:
    """New networks; the extractor's trunk, which stays as it is, comes with agnlib and has seen pictures."""
    generator = Generator(style_dim=16, image_size=plan.new_size, channels=(16, 32, 96), blocks=(1, 2, 4), margin=4)
    discriminator = DrawingDiscriminator(style_dim=16, channels=(32, 64, 128))
    extractor = StyleExtractor(style_dim=16, variational=variational, taps=("block0", "block2"))
    seen = StyleExtractor.from_pretrained("agn-small").trunk.state_dict()
    extractor.trunk.load_state_dict({name: seen[name] for name in extractor.trunk.state_dict()})
    return generator, discriminator, extractor


def make_trainer(digits: Digits, plan: Plan, *, variational: bool = False, seed: int = 0) -> RepaintTrainer:
    """A trainer of new networks; the extractor is calibrated on pictures in all styles."""
    torch.manual_seed(seed)
    generator, discriminator, extractor = networks(plan, variational=variational)
    with torch.no_grad():
        examples = paint(digits.draw(12 * len(STYLES), plan.new_size), list(range(len(STYLES))) * 12)
        extractor.calibrate(extractor.statistics(examples))
    terms = {
        "drawing": Weighted(drawing_term, 3.0),
        "palette": Weighted(PaletteTerm(), 1.0),  # first the rarer color becomes the ink's, which only this term knows
        "colors": Weighted(colors_term, 2.0, start=300, ramp=300),
        "variety": Weighted(variety_term, 1.0),
    }
    config = TrainerConfig(
        lr_generator=2e-3, lr_discriminator=1e-3, adversarial=1.0, adversarial_ramp=100, wrong_code=0.0,
        warmup=0, identity=0.0, ema_decay=0.998, seed=seed,
    )  # fmt: skip
    return RepaintTrainer(generator, discriminator, extractor, terms=terms, config=config)


@torch.no_grad()
def set_random_styles(trainer: AdversarialTrainer, digits: Digits, plan: Plan) -> None:
    """Let `generator.sample_style(z)` draw from the prior N(0, I) of a variational extractor, else from its codes."""
    generator, extractor = trainer.averaged_generator, trainer.averaged_extractor
    assert extractor is not None
    width = generator.config.style_dim
    if extractor.config.variational:
        codes = torch.eye(width).repeat(2, 1) * (2 * width - 1) ** 0.5 / 2**0.5
        codes[width:] *= -1  # mean 0 and covariance I
    else:
        codes = extractor(paint(digits.draw(50 * len(STYLES), plan.new_size), list(range(len(STYLES))) * 50))
    fit_mapping(generator, codes, torch.zeros(len(codes), dtype=torch.long))


# --- inference, as in the article's 4.4 -------------------------------------------------------------------------------


@torch.no_grad()
def repaint(generator: Generator, extractor: StyleExtractor, source: Tensor, digits: Tensor) -> Tensor:
    """Digits `(B, 3, H, W)` in the styles of the source pictures `(B, 3, H', W')`, all in [-1, 1]."""
    style = extractor(source)
    z = torch.randn(len(style), generator.config.latent_dim)
    result: Tensor = generator(z, style, content=digits)
    return result


@torch.no_grad()
def new_digits(generator: Generator, extractor: StyleExtractor, source: Tensor) -> Tensor:
    """Digits that nobody wrote, in the styles of the source pictures."""
    style = extractor(source)
    result: Tensor = generator(torch.randn(len(style), generator.config.latent_dim), style)
    return result


def repaint_strip(generator: Generator, extractor: StyleExtractor, test: Digits, *, seed: int = 0) -> Tensor:
    """The first ten test digits, a source picture in each style, and the digits repainted: `(30, 3, 200, 200)`."""
    torch.manual_seed(seed)
    digits = paint(test.cover(range(len(STYLES))), [BLACK_ON_WHITE] * len(STYLES))
    source = paint(test.draw(len(STYLES)), range(len(STYLES)))
    return torch.cat([digits, source, repaint(generator, extractor, source, digits)])


def new_digits_sheet(generator: Generator, extractor: StyleExtractor, test: Digits, *, seed: int = 0) -> Tensor:
    """A line of ten for each style: a source picture, then nine new digits."""
    torch.manual_seed(seed)
    source = paint(test.draw(len(STYLES)), range(len(STYLES)))
    shown = F.interpolate(source, (generator.config.image_size,) * 2, mode="bilinear", antialias=True)
    pairs = zip(source, shown, strict=True)
    return torch.cat(
        [torch.cat([b[None], new_digits(generator, extractor, a.expand(9, -1, -1, -1))]) for a, b in pairs]
    )


@torch.no_grad()
def random_styles_sheet(generator: Generator, test: Digits, *, seed: int = 0, lines: int = 3) -> Tensor:
    """The first ten test digits in each line, each repainted in a random style."""
    torch.manual_seed(seed)
    digits = paint(test.cover(list(range(10)) * lines), [BLACK_ON_WHITE] * 10 * lines)
    z = torch.randn(len(digits), generator.config.latent_dim)
    sheet: Tensor = generator(z, generator.sample_style(z), content=digits)
    return sheet


def save_sheet(pictures: Tensor, file: Path, *, side: int = 72) -> None:
    """Pictures in [-1, 1], ten a line."""
    shown = F.interpolate(pictures.clamp(-1, 1), (side, side), mode="bilinear", antialias=True)
    save_image((shown + 1) / 2, file, nrow=10)


# --- the command ------------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Train, save the weights and two pictures; 2 where the arguments or the data cannot be used."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    try:
        plan = Plan(options.steps, region=options.region)
        digits, test = Digits(options.data), Digits(options.data, train=False)
        options.out.mkdir(parents=True, exist_ok=True)
        trainer = make_trainer(digits, plan, variational=options.variational, seed=options.seed)
        trainer.fit(batches(digits, plan, seed=options.seed), steps=plan.steps)
        set_random_styles(trainer, digits, plan)
        generator, extractor = trainer.averaged_generator, trainer.averaged_extractor
        assert extractor is not None
        generator.save_pretrained(options.out / "generator")
        extractor.save_pretrained(options.out / "extractor")
        save_sheet(repaint_strip(generator, extractor, test), options.out / "repaint.png")
        save_sheet(new_digits_sheet(generator, extractor, test), options.out / "new-digits.png")
        save_sheet(random_styles_sheet(generator, test), options.out / "random-styles.png")
    except (AgnError, OSError) as error:
        print(f"repaint_digits.py: {error}", file=sys.stderr)
        return 2
    print(f"weights and pictures in {options.out}")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Repaint digits in other colors, learned from unpaired examples.")
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="FOLDER", help="with MNIST's four idx files")
    add("--out", type=Path, required=True, metavar="FOLDER", help="for weights and pictures")
    add("--steps", type=int, default=Plan.steps, help=f"how long to train (default {Plan.steps}, ten minutes)")
    add("--region", type=int, default=REGION, help=f"side of the repainted region in pixels (default {REGION})")
    add("--variational", action="store_true", help="VAE-GAN: random styles come from a prior")
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=2)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
