"""The gallery's pictures are drawn when something has changed, and only then; the page shows all of them."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from PIL import Image

from agnlib.models import Generator, StyleExtractor
from agnlib.stylizer import Stylizer

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_it_is_drawn_once_and_again_for_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    gallery = importlib.import_module("_gallery")
    tiny = Generator(style_dim=16, channels=(4, 4, 8), blocks=(0, 0, 1), num_classes=2)
    stylizer = Stylizer(tiny, StyleExtractor(style_dim=16), device="cpu")
    stylizer.class_names = ("cubism", "ukiyo-e")
    assert gallery.draw(tmp_path, stylizer, 24, "some weights")
    files = {file.name: file.read_bytes() for file in tmp_path.glob("*.jpg")}
    shown = re.findall(r"\(../_generated/([\w.]+)\)", (DOCS / "explanation" / "gallery.md").read_text("utf-8"))
    assert sorted(files) == sorted(shown)
    assert Image.open(tmp_path / "strength.jpg").width == 5 * 24 + 4 * 8  # five pictures and what is between them
    assert not gallery.draw(tmp_path, stylizer, 24, "some weights")
    (tmp_path / "grid.jpg").unlink()
    assert gallery.draw(tmp_path, stylizer, 24, "some weights")
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.jpg")} == files
    assert gallery.draw(tmp_path, stylizer, 24, "other weights")
