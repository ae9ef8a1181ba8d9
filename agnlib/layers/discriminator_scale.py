"""One scale of the patch discriminator."""

from __future__ import annotations

from torch import Tensor, nn

from agnlib.layers.conv import Conv2d

__all__ = ["PatchScale"]


class PatchScale(nn.Module):
    """Strided convolutions from a picture to features of overlapping patches, and one logit for each of them.

    Papers: Isola et al., "Image-to-image translation with conditional adversarial networks", CVPR 2017 (patches);
    Miyato and Koyama, "cGANs with projection discriminator", ICLR 2018 (`condition`).

    Args:
        image_channels: of the picture.
        widths: channels after each convolution of stride 2.

    Shapes:
        picture `(B, image_channels, H, W)`, condition `(B, widths[-1])` or None -> `(B, H // s, W // s)`.
    """

    def __init__(self, image_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        pairs = zip((image_channels, *widths), widths, strict=False)
        self.down = nn.ModuleList(Conv2d(a, b, 4, stride=2, padding=1, act="lrelu") for a, b in pairs)
        self.last = Conv2d(widths[-1], widths[-1], 3, padding=1, act="lrelu")
        self.logit = Conv2d(widths[-1], 1, 1)

    def features(self, image: Tensor) -> list[Tensor]:
        """The rectified features after each convolution."""
        found: list[Tensor] = []
        x = image
        for conv in [*self.down, self.last]:
            x = conv(x)
            found.append(x)
        return found

    def forward(self, image: Tensor, condition: Tensor | None = None) -> Tensor:
        x = self.features(image)[-1]
        logits: Tensor = self.logit(x)[:, 0]
        if condition is None:
            return logits
        projection: Tensor = (x * condition[:, :, None, None]).sum(1) / x.shape[1] ** 0.5
        return logits + projection
