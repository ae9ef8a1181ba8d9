"""The trainer's options, and what suits each adversarial loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from agnlib._shared.numbers import Ranges, is_count, is_number, settle
from agnlib.errors import InputError
from agnlib.training.data.augment import check_augmentations

__all__ = ["LOSSES", "TrainerConfig"]


class _Defaults(NamedTuple):
    """What goes with a loss: from its paper or, where that leaves it open, the article's rates."""

    penalty: float = 0.1
    penalty_every: int = 16
    betas: tuple[float, float] = (0.5, 0.999)
    lr_generator: float = 2e-4
    lr_discriminator: float = 2e-4


LOSSES = {
    "logistic": _Defaults(),
    "hinge": _Defaults(),
    "least_squares": _Defaults(),
    "wasserstein": _Defaults(penalty=10.0, penalty_every=1, betas=(0.0, 0.9)),
    "relativistic": _Defaults(penalty=0.5, penalty_every=1, betas=(0.0, 0.99)),
    "class": _Defaults(),
}
_BELOW_1 = math.nextafter(1, 0)
_NEEDS_PENALTY = ("wasserstein", "relativistic")


@dataclass(frozen=True)
class TrainerConfig:
    """Options of `AdversarialTrainer`.

    Args:
        lr_generator: Adam's learning rate of generator, extractor and mapping; more than 0, at most 100.
        lr_discriminator: of the discriminator; more than 0, at most 100.
        betas: of Adam; two numbers from 0, below 1.
        final_lr: what the rates fall to along half a cosine, as a share of their start; a number from 0 to 1.
        rate_warmup: in which the rates rise evenly to their own; a number of steps from 0. Adam's first steps
            are as long as any, and lead away from what the weights know.
        ema_decay: of the averaged weights, a step; a number from 0, below 1.
        loss: of the adversaries; one of logistic, hinge, least_squares, wasserstein, relativistic, class. "class" has
            K + 1 classes.
        adversarial: of that loss; a weight of 0 or more. With 0 the discriminator is not trained and says nothing.
        wrong_code: of teaching the discriminator that a real picture with another's code is wrong; a weight of 0 or
            more.
        feature_matching: of the distance between the discriminator's features of real and generated pictures; a weight
            of 0 or more.
        uniformity: of asking for a discriminator that is undecided; a weight of 0 or more.
        penalty: goes with the loss: the gradient's for "wasserstein", R1 + R2 for "relativistic", else R1; a weight of
            0 or more, or None for what suits the loss.
        penalty_every: once in so many steps it is taken, with its weight multiplied by as much; at least 1, or None
            for what suits the loss.
        identity: of plain reconstruction, where reference = photo, by L1; a weight of 0 or more.
        identity_every: one step in so many does that; at least 1.
        warmup: so many first steps do nothing else; a number of steps from 0.
        adversarial_ramp: in which `adversarial` rises to its own after the warm-up; a number of steps from 0.
        clip_gradient: the norm to which the gradients of all that an optimizer has are shortened where it is larger;
            more than 0, inf for no limit. The log has the norm before, as `generator/gradient_norm` and
            `discriminator/gradient_norm`.
        accumulate: parts that a batch is worked through in, whose gradients are averaged before the one step that is
            taken with them; at least 1. It takes less memory, and the generator runs once more.
        latent_probability: of a step that varies its paintings by a latent; a number from 0 to 1.
        augment: names of what is done to the pictures that the discriminator sees; for little data `("translation",
            "cutout", "flip")`, see `agnlib.training.data.augment`.
        augment_probability: of each of these; a number from 0 to 1.
        ada_target: makes that probability start at 0 and adapt, so that the mean sign of the logits of real pictures is
            this; 0.6 is usual. A mean sign between -1 and 1, or None.
        ada_images: pictures in which the probability goes from 0 to 1 at the fastest; at least 1.
        compile: have the generator compiled by `torch.compile` on a GPU; True or False. The penalties' path never is,
            nor is anything on a CPU.
        seed: of everything random; a whole number of 63 bits.
        stroke_scale: how many times as large as the references the photos are; a scale from 1 to 8. Above 1 the losses
            look at the paintings reduced to the references' size, and strokes become broader by as much: see
            `agnlib.training.data.stroke_scale`.
        close_up_every: then one step in so many looks at a part of them in full size instead; at least 1.
        from_nothing_every: one step in so many paints from the latent and the style alone, without a photo; a number
            of steps from 0, which is never.

    Raises:
        InputError: an option outside its range, or `ada_target` without `augment`.
    """

    lr_generator: float = 1.2e-3
    lr_discriminator: float = 6e-4
    betas: tuple[float, float] = (0.5, 0.99)
    final_lr: float = 0.03
    rate_warmup: int = 100
    ema_decay: float = 0.999
    loss: str = "hinge"
    adversarial: float = 0.5
    wrong_code: float = 0.5
    feature_matching: float = 0.0
    uniformity: float = 0.0
    penalty: float | None = None
    penalty_every: int | None = None
    identity: float = 1.0
    identity_every: int = 10
    warmup: int = 250
    adversarial_ramp: int = 500
    clip_gradient: float = 1.0
    accumulate: int = 1
    latent_probability: float = 0.5
    augment: tuple[str, ...] = ()
    augment_probability: float = 1.0
    ada_target: float | None = None
    ada_images: int = 50_000
    compile: bool = False
    seed: int = 0
    stroke_scale: float = 1.0
    close_up_every: int = 4
    from_nothing_every: int = 0

    def __post_init__(self) -> None:
        settle(self, _RANGES, tuples=("betas", "augment"))
        check_augmentations(self.augment)
        if self.ada_target is not None and not self.augment:
            raise InputError(
                f"TrainerConfig: ada_target is {self.ada_target} with augment (); expected what to augment by"
            )

    @classmethod
    def article(cls, loss: str = "logistic", **options: Any) -> TrainerConfig:
        """The article's training: the logistic loss, Adam at a steady 2e-4 with betas (0.5, 0.999), nothing else.

        Another loss takes the rates, betas and penalty that suit it; `options` replace any of the choices.

        Example:
            >>> TrainerConfig.article().betas
            (0.5, 0.999)
        """
        return cls(**{**_article(loss), **options})


_MOST_SEED = 2**63 - 2  # the seed after it is used, too
_TINY, _HUGE = math.nextafter(0, 1), math.nextafter(math.inf, 0)
_RANGES: Ranges = (
    (("loss",), f"one of {', '.join(LOSSES)}", lambda v: isinstance(v, str) and v in LOSSES),
    (("lr_generator", "lr_discriminator"), "more than 0, at most 100", lambda v: is_number(v, _TINY, 100)),
    (("clip_gradient",), "more than 0, inf for no limit", lambda v: is_number(v, _TINY)),
    (("final_lr", "latent_probability", "augment_probability"), "a number from 0 to 1", lambda v: is_number(v, 0, 1)),
    (("betas",), "two numbers from 0, below 1", lambda v: len(v) == 2 and all(is_number(b, 0, _BELOW_1) for b in v)),
    (("ema_decay",), "a number from 0, below 1", lambda v: is_number(v, 0, _BELOW_1)),
    (
        ("adversarial", "wrong_code", "feature_matching", "uniformity", "identity"),
        "a weight of 0 or more",
        lambda v: is_number(v, 0, _HUGE),
    ),
    (("penalty",), "a weight of 0 or more, or None", lambda v: v is None or is_number(v, 0, _HUGE)),
    (("stroke_scale",), "a scale from 1 to 8", lambda v: is_number(v, 1, 8)),
    (
        ("warmup", "adversarial_ramp", "from_nothing_every", "rate_warmup"),
        "a number of steps from 0",
        lambda v: is_count(v, 0),
    ),
    (("seed",), "a whole number of 63 bits", lambda v: is_count(v, -(2**63), _MOST_SEED)),
    (("compile",), "True or False", lambda v: isinstance(v, bool)),
    (
        ("ada_target",),
        "a mean sign between -1 and 1, or None",
        lambda v: v is None or is_number(v, -_BELOW_1, _BELOW_1),
    ),
    (("identity_every", "accumulate", "close_up_every", "ada_images"), "at least 1", lambda v: is_count(v, 1)),
    (("penalty_every",), "at least 1, or None", lambda v: v is None or is_count(v, 1)),
)


def _article(loss: str) -> dict[str, Any]:
    """The article's choices, and for other losses what goes with them."""
    if not isinstance(loss, str) or loss not in LOSSES:
        raise InputError(f"TrainerConfig: loss is {loss!r}; expected one of {', '.join(LOSSES)}")
    defaults = LOSSES[loss]
    return {
        "loss": loss,
        "lr_generator": defaults.lr_generator,
        "lr_discriminator": defaults.lr_discriminator,
        "betas": defaults.betas,
        "final_lr": 1.0,
        "rate_warmup": 0,
        "adversarial": 1.0,
        "adversarial_ramp": 0,
        "wrong_code": 0.0,
        "penalty": None if loss in _NEEDS_PENALTY else 0.0,
        "identity": 0.0,
        "warmup": 0,
        "clip_gradient": math.inf,
    }
