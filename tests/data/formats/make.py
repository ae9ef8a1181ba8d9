"""Write one tiny file of each kind in today's format, with what comes of it: once for each format version.

    python tests/data/formats/make.py FOLDER

tests/test_formats.py loads all that was ever released. Never write one of them anew: a file that no longer loads, or
paints something else, is what the test is for.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from agnlib.models import Discriminator, Generator, StyleExtractor, pretrained
from agnlib.styles.code import StyleCode
from agnlib.training import AdversarialTrainer, Batch, TrainerConfig


def pictures(count: int) -> torch.Tensor:
    """Smooth colors `(count, 3, 24, 32)` in [-1, 1], by a formula, so that no generator of random numbers matters."""
    rows, columns = torch.linspace(0, 3, 24)[:, None], torch.linspace(0, 4, 32)
    return torch.stack(
        [torch.stack([torch.sin(rows * (k + 1) + columns * (c + 1)) for c in range(3)]) for k in range(count)]
    )


def trainer() -> AdversarialTrainer:
    """A tiny one."""
    generator = Generator(latent_dim=4, style_dim=8, channels=(4, 4, 8), blocks=(0, 0, 1), num_classes=2)
    config = TrainerConfig(warmup=0, identity=0.0)
    return AdversarialTrainer(generator, Discriminator(style_dim=8, channels=(4, 8)), config=config)


def main(folder: Path) -> None:
    torch.manual_seed(0)
    running = trainer()
    content, style = pictures(4).chunk(2)
    running.fit([Batch(content, style, torch.tensor([0, 1]), step=step) for step in range(2)], steps=4)
    running.save_checkpoint(folder / "checkpoint-3.safetensors")
    extractor = StyleExtractor(style_dim=8, hidden=8, taps=("block0",)).eval()
    models = {"generator": running.generator.eval(), "extractor": extractor, "discriminator": running.discriminator}
    pretrained.save(folder / "weights-1", models, info={"class_names": ["day", "night"]})
    with torch.no_grad():
        code = extractor(style[:1])
        painted = running.generator(None, code, content=content[:1])
    StyleCode(code[0], "a formula").save(folder / "style-1.safetensors")
    save_file({"painted": painted.contiguous()}, folder / "painted.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
