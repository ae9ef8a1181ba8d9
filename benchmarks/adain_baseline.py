"""A baseline to beat: the network of Huang & Belongie, trained on our pictures for as many minutes as ours.

    python benchmarks/adain_baseline.py --content train/content --style train/style --out adain.safetensors --minutes 75
    python benchmarks/quality.py --weights agn-fast --adain adain.safetensors

Paper: Huang & Belongie, "Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization", ICCV 2017. VGG16
up to relu4_1 encodes, AdaIN puts the reference's statistics on the photograph's features, a decoder that mirrors the
encoder is trained: content weight 1, style weight 10, Adam, as in the paper. What differs is what helps it in a short
time: a rate that falls along a cosine, an average of the weights, and VGG16 in bfloat16, as our trainer has it.
Features are divided by their size, as the paper's "normalised" VGG does. With a rate of 5e-4 the decoder
collapses to grey.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from agnlib.models.encoders import VGG16Features
from agnlib.training.data.pairs import PairData, PictureFolder

TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
STYLE_WEIGHT = 10.0
REFERENCE_SIDE = 512  # as in the paper's own examples


class Decoder(nn.Sequential):
    """`(B, 512, H/8, W/8)` -> `(B, 3, H, W)`: VGG16's layers in reverse order, nearest neighbours for pooling."""

    def __init__(self) -> None:
        widths = ((512, 256), (256, 256), (256, 256), (256, 128), (128, 128), (128, 64), (64, 64))
        layers: list[nn.Module] = []
        for index, (channels, width) in enumerate(widths):
            layers += [nn.Conv2d(channels, width, 3, padding=1, padding_mode="reflect"), nn.ReLU()]
            if index in (0, 3, 5):
                layers.append(nn.Upsample(scale_factor=2))
        super().__init__(*layers, nn.Conv2d(64, 3, 3, padding=1, padding_mode="reflect"))


class AdaINNetwork(nn.Module):
    """Encoder, AdaIN and decoder. `sizes` are the typical sizes of the encoder's features, tap by tap."""

    def __init__(self, encoder: VGG16Features) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = Decoder().to(memory_format=torch.channels_last)
        self.register_buffer("sizes", torch.ones(len(TAPS)))

    def features(self, image: Tensor) -> dict[str, Tensor]:
        found = self.encoder(image)
        return {tap: found[tap].float() / size for tap, size in zip(TAPS, self.sizes, strict=True)}

    def paint(self, photo: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The picture in [-1, 1], not clamped, and the features that it was decoded from."""
        wanted = adain(photo["relu4_1"], reference["relu4_1"])
        return self.decoder(wanted), wanted

    @torch.inference_mode()
    def stylize(self, photo: Image.Image, reference: Image.Image) -> Image.Image:
        """A picture for a picture: what a table asks of a painter."""
        side = [length - length % 8 for length in photo.size]
        reference = reference.copy()
        reference.thumbnail((REFERENCE_SIDE, REFERENCE_SIDE), Image.Resampling.LANCZOS)
        painted, _ = self.paint(self.features(to_tensor(photo.resize(side))), self.features(to_tensor(reference)))
        pixels = ((painted[0].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        return Image.fromarray(pixels).resize(photo.size, Image.Resampling.LANCZOS)


def adain(content: Tensor, style: Tensor) -> Tensor:
    """The content's features with the style's means and deviations."""
    mean, deviation = moments(content)
    target_mean, target_deviation = moments(style)
    return (content - mean) / deviation * target_deviation + target_mean


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(features, (2, 3), keepdim=True, correction=0)
    return mean, (variance + 1e-5).sqrt()


def _averaged(average: Tensor, now: Tensor, steps: Tensor | int) -> Tensor:
    """An exponential average that forgets its beginning in a short run too."""
    return average.lerp(now, 1 - min(0.998, (1 + int(steps)) / (10 + int(steps))))


def style_loss(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Tensor:
    gaps = [F.mse_loss(a, b) for tap in TAPS for a, b in zip(moments(found[tap]), moments(wanted[tap]), strict=True)]
    return torch.stack(gaps).sum()


def to_tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None].float() / 127.5 - 1


def load(file: Path, vgg: Path) -> AdaINNetwork:
    """A trained network, for tables."""
    network = AdaINNetwork(VGG16Features.from_file(vgg, TAPS))
    state = load_file(file)
    network.sizes.copy_(state.pop("sizes"))
    network.decoder.load_state_dict(state)
    return network.eval()


def train(network: AdaINNetwork, data: PairData, options: argparse.Namespace) -> None:
    """By wall clock; a checkpoint beside the file every few minutes, from which a broken run goes on."""
    network.sizes.copy_(feature_sizes(network, data))
    network.encoder.to(torch.bfloat16)
    average = AveragedModel(network.decoder, avg_fn=_averaged)
    adam = torch.optim.Adam(network.decoder.parameters(), lr=options.rate)
    kept, step, before = options.out.with_suffix(".checkpoint"), 0, 0.0
    if kept.is_file():
        state = torch.load(kept, weights_only=True)
        network.decoder.load_state_dict(state["decoder"])
        average.load_state_dict(state["average"])
        adam.load_state_dict(state["adam"])
        step, before = state["step"], state["minutes"]
    start, saved = time.perf_counter(), before
    progress = tqdm(total=options.minutes, unit="min", bar_format="{l_bar}{bar}| {n:.1f}/{total:.1f} min{postfix}")
    while (minutes := before + (time.perf_counter() - start) / 60) < options.minutes:
        for group in adam.param_groups:
            group["lr"] = options.rate * (0.02 + 0.98 * math.cos(minutes / options.minutes * math.pi / 2) ** 2)
        batch = data[step]
        with torch.no_grad():
            photo, reference = network.features(batch.photos), network.features(batch.style)
        painted, wanted = network.paint(photo, reference)
        found = network.features(painted)
        content, style = F.mse_loss(found["relu4_1"], wanted), style_loss(found, reference)
        adam.zero_grad(set_to_none=True)
        (content + STYLE_WEIGHT * style).backward()
        adam.step()
        average.update_parameters(network.decoder)
        step += 1
        progress.n = minutes
        progress.set_postfix_str(f"step {step}, content {content.item():.3f}, style {style.item():.4f}")
        if minutes - saved > 5:
            saved = minutes
            keep = {"decoder": network.decoder.state_dict(), "average": average.state_dict(), "adam": adam.state_dict()}
            torch.save(keep | {"step": step, "minutes": minutes}, f"{kept}.new")
            Path(f"{kept}.new").replace(kept)
            save(network, average.module, options, step, minutes)
    save(network, average.module, options, step, options.minutes)


@torch.no_grad()
def feature_sizes(network: AdaINNetwork, data: PairData) -> Tensor:
    """Root mean squares of the features of the first pictures."""
    pictures = torch.cat([data[step].style for step in range(4)])
    return torch.stack([found.float().square().mean().sqrt() for found in network.encoder(pictures).values()])


def save(network: AdaINNetwork, decoder: nn.Module, options: argparse.Namespace, steps: int, minutes: float) -> None:
    state = {"sizes": network.sizes, **decoder.state_dict()}
    facts = {"steps": steps, "minutes": round(minutes, 1), "batch": options.batch, "crop": options.size}
    facts |= {"rate": options.rate, "threads": torch.get_num_threads(), "torch": torch.__version__}
    named = {key: str(value) for key, value in facts.items()}
    save_file({key: value.contiguous() for key, value in state.items()}, options.out, named)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--content", type=Path, required=True, metavar="DIR")
    parser.add_argument("--style", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors")
    parser.add_argument("--minutes", type=float, default=75)
    parser.add_argument("--size", type=int, default=160, help="side of the crops (default 160)")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    folders = (PictureFolder(folder, options.size, seed=options.seed) for folder in (options.content, options.style))
    network = AdaINNetwork(VGG16Features.pretrained(TAPS))
    train(network, PairData(*folders, batch=options.batch, seed=options.seed), options)


if __name__ == "__main__":
    main()
