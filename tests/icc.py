"""Small ICC profiles of a matrix and curves, or of one curve, written by hand (ICC.1:2022)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

Triple = Sequence[float]

# Under D50, as the profiles of real software have them.
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141))
P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
_D50 = (0.9642, 1.0, 0.82491)


def numbers(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def gamma(exponent: float) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", 0, 0) + numbers(exponent)


def table(count: int) -> bytes:
    """sRGB's curve in so many steps, as older profiles and the tiny "c2" have it."""
    x = np.linspace(0, 1, count)
    y = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return b"curv" + bytes(4) + struct.pack(f">I{count}H", count, *np.rint(y * 65535).astype(int))


SRGB_CURVE = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + numbers(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile(name: str, colorants: Sequence[Triple] | None, curve: bytes) -> bytes:
    """For RGB, or for gray where there are no colorants."""
    text = name.encode("utf-16-be")
    tags = [
        (b"desc", b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(text), 28) + text),
        (b"wtpt", b"XYZ " + bytes(4) + numbers(*_D50)),
    ]
    if colorants is None:
        tags.append((b"kTRC", curve))
    else:
        for letter, colorant in zip((b"r", b"g", b"b"), colorants, strict=True):
            tags += [(letter + b"XYZ", b"XYZ " + bytes(4) + numbers(*colorant)), (letter + b"TRC", curve)]
    return _joined(tags, b"GRAY" if colorants is None else b"RGB ")


def _joined(tags: Sequence[tuple[bytes, bytes]], space: bytes) -> bytes:
    directory, data = struct.pack(">I", len(tags)), b""
    for name, body in tags:
        directory += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12x4s", 132 + 12 * len(tags) + len(data), b"none", 0x04300000, b"mntr", space, b"XYZ ", b"acsp"
    )
    return (head.ljust(68, b"\0") + numbers(*_D50)).ljust(128, b"\0") + directory + data
