"""Global color transfer: the rung that a style-transfer network has to stand above."""

from __future__ import annotations

import numpy as np
from PIL import Image


def color_transfer(content: Image.Image, reference: Image.Image) -> Image.Image:
    """Give the photograph the mean and covariance of the reference's RGB colors, by one linear map and no network.

    The map is the Monge-Kantorovich one, A = P^-1/2 (P^1/2 R P^1/2)^1/2 P^-1/2 for a photograph of covariance P and a
    reference of R: of all linear maps that reach R, the one that moves colors least (Pitié and Kokaram, "The linear
    Monge-Kantorovitch linear color mapping for example-based color transfer", 2007). Texture stays the photograph's.
    """
    pixels = np.asarray(content.convert("RGB"), dtype=np.float64)
    photo = pixels.reshape(-1, 3)
    target = np.asarray(reference.convert("RGB"), dtype=np.float64).reshape(-1, 3)
    moved = (photo - photo.mean(axis=0)) @ _linear_map(_covariance(photo), _covariance(target)) + target.mean(axis=0)
    return Image.fromarray(np.clip(np.rint(moved), 0, 255).astype(np.uint8).reshape(pixels.shape))


def _covariance(colors: np.ndarray) -> np.ndarray:
    return np.cov(colors, rowvar=False, bias=True) + 1e-3 * np.eye(3)  # so that a gray picture can be inverted


def _linear_map(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    root = _power(source, 0.5)
    inverse = _power(source, -0.5)
    return inverse @ _power(root @ target @ root, 0.5) @ inverse


def _power(symmetric: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(symmetric)
    return (vectors * np.maximum(values, 1e-12) ** exponent) @ vectors.T
