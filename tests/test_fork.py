"""After a fork PyTorch's threads are gone: a painting in the child ends only if it asks for none of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import multiprocessing, os, sys
import torch
from torch.utils.data import DataLoader, Dataset
from agnlib import Stylizer
from agnlib.training.data.pairs import PairData, PictureFolder, loader
from agnlib.transforms import RandomStyle

torch.set_num_threads(2)
photo = torch.rand(3, 96, 96)
stylizer = Stylizer.from_pretrained("agn-fast", device="cpu")
transform = RandomStyle(p=1.0, stylizer=stylizer)
stylizer(photo, "random", seed=0)
transform(photo)


class Styled(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return transform(photo)


def paint():
    torch.set_num_threads(1)
    stylizer(photo, "random", seed=0)


fork = multiprocessing.get_context("fork")
child = fork.Process(target=paint)
child.start()
child.join(60)
print("painted", child.exitcode)
child.kill()
print("styled", sum(1 for _ in DataLoader(Styled(), num_workers=1, multiprocessing_context=fork, timeout=60)))
folder = PictureFolder(sys.argv[1], 64)
print("read", next(iter(loader(PairData(folder, folder, batch=2, seed=0), workers=1))).content.shape[0])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_workers_and_children_of_one_thread_paint_after_a_fork() -> None:
    photos = Path(__file__).resolve().parent.parent / "examples" / "images"
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(photos)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200, check=False)
    assert done.stdout.split("\n")[:3] == ["painted 0", "styled 2", "read 2"], done.stderr
