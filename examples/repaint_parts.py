"""What repaint_digits.py is made of: digits and their styles, batches, what the adversary sees, two terms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from agnlib import Discriminator
from agnlib.errors import InputError
from agnlib.losses import rgb_to_lab
from agnlib.training import Batch, mnist
from agnlib.transforms import Recolor, RotateToCover

REGION = 200  # the article's; its pictures of digits are smaller and have to be enlarged
ANGLE = (-15.0, 15.0)  # so that a 6 stays a 6
STYLES = {  # ink, paper
    "blue on red": ("blue", "red"),
    "black on white": ("black", "white"),
    "yellow on blue": ("yellow", "blue"),
    "white on green": ("white", "green"),
    "red on yellow": ("red", "yellow"),
    "orange on navy": ("orange", "navy"),
    "white on purple": ("white", "purple"),
    "teal on pink": ("teal", "pink"),
    "black on lime": ("black", "lime"),
    "magenta on cyan": ("magenta", "cyan"),
}


class Digits:
    """MNIST as black ink on white paper, turned a little and covering a region; digit and angle are random."""

    def __init__(self, folder: Path, *, train: bool = True) -> None:
        data = mnist(folder, train=train)
        self.pictures, self.targets = 255 - data.data[:, None], data.targets

    def cover(self, index: Sequence[int] | Tensor, size: int = REGION) -> Tensor:
        """These digits, uint8 `(B, 1, size, size)`."""
        turn = RotateToCover(size, ANGLE)
        return torch.stack([turn(self.pictures[int(i)]) for i in index])

    def draw(self, count: int, size: int = REGION) -> Tensor:
        """Any digits, uint8 `(count, 1, size, size)`."""
        return self.cover(torch.randint(len(self.pictures), (count,)), size)


def paint(digits: Tensor, styles: Sequence[int] | Tensor) -> Tensor:
    """Digits uint8 `(B, 1, H, W)`, each in its style (a number of `STYLES`): float `(B, 3, H, W)` in [-1, 1]."""
    colors = list(STYLES.values())
    return torch.stack([_PREPARE(Recolor(*colors[int(s)])(digit)) for digit, s in zip(digits, styles, strict=True)])


_PREPARE = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)])
BLACK_ON_WHITE = list(STYLES).index("black on white")


@dataclass(frozen=True)
class Plan:
    """How long to train, and on how many pictures of which size in a step of each kind.

    Repainting is learned on the whole region, and quickly; new digits are harder, and small ones are cheap. One step in
    `repaint_every` repaints, the others paint new digits, a group of them in one style each.
    """

    steps: int = 2600
    region: int = REGION
    region_batch: int = 4
    new_size: int = 32
    new_batch: int = 32
    group: int = 8
    repaint_every: int = 4

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise InputError(f"Plan: {name} is {value}; expected at least 1")
        if self.new_batch % self.group:
            raise InputError(f"Plan: new_batch {self.new_batch} is no multiple of group {self.group}; expected one")


def batches(digits: Digits, plan: Plan, *, seed: int = 0, start: int = 0) -> Iterator[Batch]:
    """Pictures in the styles wanted and, drawn independently of them, black-on-white digits to repaint, or none.

    What a step sees is a function of seed and step alone, so a run that was cut short goes on from `start`.
    """
    for step in range(start, plan.steps):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed * 1_000_003 + step)
            batch = _batch(digits, plan, step)
        yield batch


def _batch(digits: Digits, plan: Plan, step: int) -> Batch:
    if (step + 1) % plan.repaint_every == 0:
        styles = torch.randint(len(STYLES), (plan.region_batch,))
        content = paint(digits.draw(plan.region_batch, plan.region), [BLACK_ON_WHITE] * plan.region_batch)
        return Batch(content, paint(digits.draw(plan.region_batch, plan.region), styles), step=step)
    styles = torch.randint(len(STYLES), (plan.new_batch // plan.group,)).repeat_interleave(plan.group)
    return Batch(None, paint(digits.draw(plan.new_batch, plan.new_size), styles), step=step)


class DrawingDiscriminator(Discriminator):
    """Sees drawing and colors apart: how much ink there is, how light it is, and red against blue.

    Which colors lie where is the palette's business and easily learned; a digit is a digit in any of them. Of the ink
    it sees the place along the axis on which the picture's colors differ most, in deviations, the rarer end positive.
    Large pictures it sees from afar, so that strokes are of one width whatever the size.
    """

    side = 32

    def patch_logits(self, image: Tensor, label: Tensor | None = None, style: Tensor | None = None) -> list[Tensor]:
        """As of `Discriminator`, on what this one sees."""
        if max(image.shape[2:]) > self.side:
            image = F.adaptive_avg_pool2d(image, self.side)
        return super().patch_logits(drawing_and_colors(image), label, style)


def drawing_and_colors(image: Tensor) -> Tensor:
    """Pictures `(B, 3, H, W)` as ink, lightness and red against blue, `(B, 3, H, W)`."""
    colors = image.flatten(2) - image.mean((2, 3))[:, :, None]
    with torch.no_grad():
        axis = torch.linalg.eigh(colors @ colors.mT).eigenvectors[:, :, -1:]
        place = axis.mT @ colors
        rare = torch.where(place.pow(3).sum(2, keepdim=True) < 0, -1.0, 1.0)
        axis = axis * rare / (place.square().mean(2, keepdim=True).sqrt() + 0.1)
    ink = (axis.mT @ colors).unflatten(2, image.shape[2:])
    red, green, blue = image.split(1, dim=1)
    return torch.cat([ink, (red + 2 * green + blue) / 4, (red - blue) / 2], dim=1)


def drawing_term(batch: Batch, fake: Tensor) -> Tensor:
    """The share of the result's variance that no change of the content's two colors explains; 0 is the same drawing.

    Which colors is left free: the result is regressed on the content's gray values, channel by channel.
    """
    if batch.content is None:
        return fake.new_zeros(())
    gray = batch.content.mean(1, keepdim=True).flatten(2)
    gray = gray - gray.mean(2, keepdim=True)
    colors = fake.flatten(2) - fake.mean((2, 3))[:, :, None]
    slope = (colors * gray).sum(2, keepdim=True) / gray.square().sum(2, keepdim=True).clamp_min(1e-6)
    rest = (colors - slope * gray).square().mean((1, 2))
    return (rest / (colors.square().mean((1, 2)) + 1e-2)).mean()


def colors_term(batch: Batch, fake: Tensor, points: int = 384) -> Tensor:
    """The distance to the nearest color, from the result's to the reference's and back, in units of 10 Delta E.

    Unlike a palette's distance it does not mind how much ink a digit takes: a 1 has less of it than an 8.
    """
    clouds = []
    for image in (fake, batch.style):
        pooled = F.avg_pool2d(image, 2).flatten(2)
        chosen = torch.randperm(pooled.shape[2])[:points]
        clouds.append(rgb_to_lab(pooled[:, :, chosen]).mT / 10)
    distance = torch.cdist(*clouds, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.amin(1).mean() + distance.amin(2).mean()


def variety_term(batch: Batch, fake: Tensor, group: int = Plan.group) -> Tensor:
    """How far the deviations of the ink over a group of new digits are from those over as many real ones.

    A group is of one style, so what is left to tell its digits from each other is z. In the spirit of the minibatch
    deviation of Karras et al., "Progressive growing of GANs", ICLR 2018.
    """
    if batch.content is not None or len(fake) % group:
        return fake.new_zeros(())
    spreads = [drawing_and_colors(image)[:, 0].unflatten(0, (-1, group)).var(1) for image in (fake, batch.style)]
    return F.l1_loss(*((spread + 1e-4).sqrt() for spread in spreads))
