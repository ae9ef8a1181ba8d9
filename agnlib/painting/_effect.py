"""How much of a style goes into a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from agnlib._shared.numbers import is_count, is_number, settle
from agnlib.errors import InputError

__all__ = ["Effect"]


@dataclass(frozen=True)
class Effect:
    """How much of a style goes into a picture, and how: see `agnlib.stylizer.Stylizer.__call__`.

    Raises:
        InputError: a value of the wrong type or outside its range.
    """

    strength: float = 1.0
    texture: float = 1.0
    color: float = 1.0
    preserve_color: bool = False
    color_only: bool = False
    scale: float | Literal["auto"] = "auto"
    tile: int | Literal["auto"] | None = "auto"

    def __post_init__(self) -> None:
        settle(self)
        _check_share("strength", self.strength, "from 0 (the photo) to 1 (the style in full)")
        _check_share("texture", self.texture, "from 0 (the photo's) to 1 (the style's)")
        _check_share("color", self.color, "from 0 (the photo's) to 1 (the style's)")
        for name in ("preserve_color", "color_only"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.preserve_color and self.color_only:
            raise InputError("preserve_color and color_only together leave nothing of the style; give one of them")
        for name, share in (("preserve_color", "color"), ("color_only", "texture")):
            if getattr(self, name) and 0 < getattr(self, share) < 1:
                raise InputError(
                    f"{name} is {share}=0, and {share} is {getattr(self, share)} as well; give one of them"
                )
        if not (is_number(self.scale, 0.1, 10) or self.scale == "auto"):
            raise InputError(
                f'scale must be "auto" or a number from 0.1 (fine strokes) to 10 (broad ones), got {self.scale!r}'
            )
        if not (is_count(self.tile, 1) or self.tile is None or self.tile == "auto"):
            raise InputError(
                f'tile must be "auto", None (the whole picture at once) or a number of pixels, got {self.tile!r}'
            )

    @property
    def texture_amount(self) -> float:
        """Of the style, in the result's lightness."""
        return 0.0 if self.color_only else float(self.strength * self.texture)

    @property
    def color_amount(self) -> float:
        """Of the style, in the result's colors."""
        return 0.0 if self.preserve_color else float(self.strength * self.color)

    @property
    def leaves_the_photo(self) -> bool:
        """Whether nothing of a style is in the result."""
        return self.texture_amount == self.color_amount == 0


def _check_share(name: str, value: Any, meaning: str) -> None:
    if not is_number(value, 0, 1):
        raise InputError(f"{name} must be a number {meaning}, got {value!r}")
