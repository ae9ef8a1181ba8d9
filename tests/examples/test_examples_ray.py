"""`examples/ray_data.py`, on a local Ray and without it."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from agnlib import Stylizer
from agnlib.models import Generator, StyleExtractor, pretrained
from agnlib.styles.code import StyleCode

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import ray_data  # noqa: E402 - from the folder above


@pytest.fixture
def weights(tmp_path: Path) -> str:
    small = {"style_dim": 8, "channels": (8, 8, 16), "blocks": (1, 1, 1)}
    models = {"generator": Generator(**small), "extractor": StyleExtractor(style_dim=8)}
    pretrained.save(tmp_path / "weights", models)
    return str(tmp_path / "weights")


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Five pictures and one file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        pixels = rng.integers(0, 256, (20 + number, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"not a picture")
    return sorted(str(path) for path in folder.iterdir())


def arguments(weights: str) -> dict[str, Any]:
    return {"weights": weights, "style": StyleCode(torch.linspace(-1, 1, 8)), "device": "cpu"}


def check(rows: list[dict[str, Any]], photos: list[str], weights: str) -> None:
    """Each row is what a Stylizer paints here."""
    stylizer, style = Stylizer.from_pretrained(weights, device="cpu"), arguments(weights)["style"]
    assert sorted(row["path"] for row in rows) == photos
    for row in rows:
        if row["path"].endswith("broken.png"):
            assert "broken.png" in row["error"]
            assert row["painted"] == b""
        else:
            assert row["error"] == ""
            found = np.asarray(Image.open(io.BytesIO(row["painted"]))).astype(int)
            assert np.abs(found - np.asarray(stylizer(row["path"], style)).astype(int)).max() <= 1  # threads differ


def rows_of(batch: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]


def test_it_is_a_callable_that_can_be_pickled(weights: str, photos: list[str]) -> None:
    paint = pickle.loads(pickle.dumps(ray_data.Paint(**arguments(weights))))
    check(rows_of(paint({"path": np.array(photos)})), photos, weights)


def test_it_goes_to_a_process_that_was_spawned(weights: str, photos: list[str]) -> None:
    paint = ray_data.Paint(**arguments(weights))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        check(rows_of(pool.submit(paint, {"path": np.array(photos)}).result(timeout=120)), photos, weights)


def test_threads_may_share_it(weights: str, photos: list[str]) -> None:
    paint = ray_data.Paint(**arguments(weights))
    with ThreadPoolExecutor(4) as pool:
        for batch in pool.map(paint, [{"path": np.array(photos)}] * 8):
            check(rows_of(batch), photos, weights)


@pytest.mark.slow  # Ray and its workers take a minute to start on two busy cores
def test_ray_data_paints_every_picture(weights: str, photos: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="needs Ray Data, the extra ray")
    pytest.importorskip("ray.data", reason="needs Ray Data, the extra ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    paths = os.pathsep.join([str(EXAMPLES), str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": paths}})
    try:
        dataset = ray_data.painted(photos, actors=1, batch=4, **arguments(weights))
        check(dataset.take_all(), photos, weights)
    finally:
        ray.shutdown()
