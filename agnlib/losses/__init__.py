"""Losses: functions first; the ones that look through an encoder are handed it."""

from agnlib.losses.adversarial import hinge_discriminator_loss, hinge_generator_loss, r1_penalty
from agnlib.losses.color import palette_loss, rgb_to_lab
from agnlib.losses.content import content_loss, normalize_features
from agnlib.losses.patch_nce import patch_nce_loss
from agnlib.losses.smoothness import guided_smoothness, total_variation
from agnlib.losses.style import FeatureMoments, covariance_style_loss, feature_moments, moment_style_loss

__all__ = [
    "FeatureMoments",
    "content_loss",
    "covariance_style_loss",
    "feature_moments",
    "guided_smoothness",
    "hinge_discriminator_loss",
    "hinge_generator_loss",
    "moment_style_loss",
    "normalize_features",
    "palette_loss",
    "patch_nce_loss",
    "r1_penalty",
    "rgb_to_lab",
    "total_variation",
]
