"""Losses: functions first; the ones that look through an encoder are handed it."""

from agnlib.losses.adversarial import (
    AdversarialLoss,
    hinge_discriminator_loss,
    hinge_generator_loss,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
    logistic_discriminator_loss,
    logistic_generator_loss,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
    wasserstein_discriminator_loss,
    wasserstein_generator_loss,
)
from agnlib.losses.classification import (
    ClassLoss,
    UniformityLoss,
    class_discriminator_loss,
    class_generator_loss,
    class_log_odds,
    uniformity_loss,
)
from agnlib.losses.color import palette_loss, rgb_to_lab
from agnlib.losses.content import content_loss, normalize_features
from agnlib.losses.earth_mover import relaxed_earth_mover_loss
from agnlib.losses.feature_matching import FeatureMatchingLoss, feature_matching_loss
from agnlib.losses.latent_prior import KLDivergence, kl_divergence
from agnlib.losses.patch_nce import patch_nce_loss
from agnlib.losses.penalty import GradientPenalty, R1Penalty, gradient_penalty, interpolate, r1_penalty
from agnlib.losses.sliced import sliced_style_loss
from agnlib.losses.smoothness import guided_smoothness, total_variation
from agnlib.losses.style import FeatureMoments, covariance_style_loss, feature_moments, moment_style_loss

__all__ = [
    "AdversarialLoss",
    "ClassLoss",
    "FeatureMatchingLoss",
    "FeatureMoments",
    "GradientPenalty",
    "KLDivergence",
    "R1Penalty",
    "UniformityLoss",
    "class_discriminator_loss",
    "class_generator_loss",
    "class_log_odds",
    "content_loss",
    "covariance_style_loss",
    "feature_matching_loss",
    "feature_moments",
    "gradient_penalty",
    "guided_smoothness",
    "hinge_discriminator_loss",
    "hinge_generator_loss",
    "interpolate",
    "kl_divergence",
    "least_squares_discriminator_loss",
    "least_squares_generator_loss",
    "logistic_discriminator_loss",
    "logistic_generator_loss",
    "moment_style_loss",
    "normalize_features",
    "palette_loss",
    "patch_nce_loss",
    "r1_penalty",
    "relativistic_discriminator_loss",
    "relativistic_generator_loss",
    "relaxed_earth_mover_loss",
    "rgb_to_lab",
    "sliced_style_loss",
    "total_variation",
    "uniformity_loss",
    "wasserstein_discriminator_loss",
    "wasserstein_generator_loss",
]
