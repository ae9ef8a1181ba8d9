"""The article's program: it learns, keeps what it promises on disk, and says in one line what is wrong."""

from __future__ import annotations

import ast
import gzip
import importlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from agnlib.errors import InputError
from agnlib.training import class_folders, mnist, read_idx
from agnlib.training.safety.checkpoint import load_state

torchvision = pytest.importorskip("torchvision")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))
try:
    import article_mnist
finally:
    sys.path.remove(str(EXAMPLES))


def write_idx(path: Path, array: np.ndarray) -> None:
    """An idx file as its description has it, packed where the name ends so."""
    content = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen pictures of noise with labels 0..9, in MNIST's form."""
    folder = tmp_path_factory.mktemp("mnist")
    rng = np.random.default_rng(0)
    write_idx(folder / "train-images-idx3-ubyte.gz", rng.integers(0, 256, (16, 28, 28), dtype=np.uint8))
    write_idx(folder / "train-labels-idx1-ubyte.gz", (np.arange(16) % 10).astype(np.uint8))
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Three pictures in each of two class folders, of different kinds and sizes."""
    for name in ("cats", "dogs"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number, mode in enumerate(("L", "RGB", "RGBA")):
            Image.new(mode, (20 + number, 30)).save(tmp_path / "pictures" / name / f"{number}.png")
    return tmp_path / "pictures"


def run(*arguments: Any) -> int:
    return article_mnist.main(["--threads", "1", *map(str, arguments)])


# -- the program ----------------------------------------------------------------------------------------------------

LOSSES = ("logistic", "hinge", "least_squares", "wasserstein", "relativistic", "class")


@pytest.mark.parametrize("way", [[], ["--trainer"], ["--conditional"], ["--trainer", "--conditional"]], ids=" ".join)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_both_ways(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], way: list[str], loss: str
) -> None:
    options = ["--data", digits, "--out", tmp_path, "--epochs", 1, "--batch", 8, "--loss", loss]
    assert run(*options, *way) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[:2] for line in lines] == [["epoch 1/1", "batch 1"], ["epoch 1/1", "batch 2"]]
    numbers = re.findall(r"-?\d+\.\d{4}", "".join(lines))
    assert len(numbers) >= 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-1.png", "epoch-1.safetensors"]
    with Image.open(tmp_path / "epoch-1.png") as grid:
        assert grid.size == (8 * 29 + 1,) * 2


@pytest.mark.parametrize("size", [28, 32, 64])
def test_class_folders_are_a_source_too(folders: Path, tmp_path: Path, size: int) -> None:
    assert run("--data", folders, "--out", tmp_path / "out", "--epochs", 1, "--size", size, "--conditional") == 0
    with Image.open(tmp_path / "out" / "epoch-1.png") as grid:
        assert (grid.mode, grid.size) == ("RGB", (8 * (size + 1) + 1,) * 2)


def test_a_resumed_run_is_the_uninterrupted_one(digits: Path, tmp_path: Path) -> None:
    options = ["--data", digits, "--batch", 8]
    assert run(*options, "--epochs", 2, "--out", tmp_path / "whole") == 0
    assert run(*options, "--epochs", 1, "--out", tmp_path / "first") == 0
    again = ["--resume", tmp_path / "first" / "epoch-1.safetensors", "--out", tmp_path / "second"]
    assert run(*options, "--epochs", 2, *again) == 0
    whole, second = (load_state(tmp_path / part / "epoch-2.safetensors") for part in ("whole", "second"))
    assert whole[1] == second[1]
    assert whole[0].keys() == second[0].keys()
    for name, tensor in whole[0].items():
        assert torch.equal(tensor, second[0][name]), name


def test_the_minutes_end_a_run_with_everything_kept(digits: Path, tmp_path: Path) -> None:
    for way in ([], ["--trainer"]):
        out = tmp_path / f"out{len(way)}"
        options = ["--data", digits, "--out", out, "--epochs", 10**6, "--batch", 8]
        assert run(*options, "--minutes", 0.001, *way) == 0
        names = {path.name for path in out.iterdir()}
        assert {"epoch-1.png", "epoch-1.safetensors"} <= names


def test_the_loop_learns_what_the_trainer_learns(digits: Path, tmp_path: Path) -> None:
    """Both move a discriminator in the same direction: real above generated after a few epochs of the same pictures."""
    for way in ([], ["--trainer"]):
        torch.manual_seed(0)
        options = article_mnist._options(["--data", str(digits), "--out", str(tmp_path), "--epochs", "6", *way])
        job = article_mnist.Job.of(options, channels=1, classes=10)
        data = article_mnist.pictures(options)
        batch = next(iter(torch.utils.data.DataLoader(data, batch_size=16)))
        (article_mnist.with_trainer if way else article_mnist.article_loop)(job, [batch])
        fake = article_mnist.paint(job.generator, torch.randn(16, 100), None)
        with torch.no_grad():
            assert job.discriminator(batch[0]).mean() > job.discriminator(fake).mean() + 0.1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "absent"], "absent is not a folder"),
        (["--epochs", "0"], "at least 1"),
        (["--minutes", "nan"], "more than 0"),
        (["--loss", "bce"], "invalid choice"),
        (["--resume", "absent.safetensors"], "absent.safetensors"),
    ],
)
def test_bad_arguments_are_told_in_a_line(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    try:
        code = run("--data", digits, "--out", tmp_path, *arguments)
    except SystemExit as stopped:
        code = int(str(stopped.code))
    assert code == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert said in told[-1]
    assert "Traceback" not in "".join(told)


def test_a_checkpoint_of_other_networks_is_told(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", digits, "--out", tmp_path, "--epochs", 1]
    assert run(*options) == 0
    assert run(*options, "--resume", tmp_path / "epoch-1.safetensors", "--conditional") == 2
    assert "epoch-1.safetensors does not fit" in capsys.readouterr().err


def test_nothing_is_pickled() -> None:
    text = (EXAMPLES / "article_mnist.py").read_text("utf-8")
    assert "torch.load(" not in text
    assert "torch.save(" not in text


def test_only_public_names_are_used() -> None:
    tree = ast.parse((EXAMPLES / "article_mnist.py").read_text("utf-8"))
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module.startswith("agnlib")]
    assert len(taken) > 4
    for node in taken:
        names = {alias.name for alias in node.names}
        assert names <= set(importlib.import_module(node.module).__all__), node.module


def test_the_tutorial_runs() -> None:
    page = EXAMPLES.parent / "docs" / "tutorials" / "article.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert len(blocks) > 5
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)


# -- its data -----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 6), min_size=1, max_size=3), st.booleans(), st.randoms(use_true_random=False))
def test_idx_files_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], packed: bool, rng: Any
) -> None:
    array = np.frombuffer(rng.randbytes(int(np.prod(shape))), np.uint8).reshape(shape)
    path = tmp_path_factory.mktemp("idx") / ("x.gz" if packed else "x")
    write_idx(path, array)
    assert np.array_equal(read_idx(path), array)


def test_idx_files_are_read_as_torchvision_reads_them(digits: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip("torchvision.datasets.mnist")
    unpacked = tmp_path / "train-images-idx3-ubyte"
    unpacked.write_bytes(gzip.decompress((digits / "train-images-idx3-ubyte.gz").read_bytes()))
    assert torch.equal(reader.read_image_file(str(unpacked)), torch.from_numpy(read_idx(unpacked)))


def test_a_folder_that_torchvision_filled_is_found(digits: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in digits.iterdir():
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    ours, packed = mnist(tmp_path), mnist(digits)
    assert torch.equal(ours.data, packed.data)
    picture, label = ours[3]
    assert np.array_equal(np.asarray(picture), ours.data[3].numpy())
    assert (label, len(ours), ours.classes) == (3, 16, [str(digit) for digit in range(10)])


def test_the_real_mnist(shared: Path) -> None:
    test = mnist(shared / "data" / "mnist", train=False)
    assert test.data.shape == (10000, 28, 28)
    assert test.targets[:5].tolist() == [7, 2, 1, 0, 4]
    assert torch.bincount(test.targets).min() == 892  # the fives


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected an idx file"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01" + bytes(4), "unsigned bytes"),
        (b"\x00\x00\x08\x00", "expected an idx file"),
        (b"\x00\x00\x08\x03\x00\x00", "expected an idx file"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x05abc", "holds 3 bytes; its header says 5"),
        (b"\x1f\x8bnonsense", "cannot be read"),
        (gzip.compress(bytes(1000), mtime=0)[:-9], "cannot be read"),
    ],
)
def test_damaged_idx_files_are_told(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_idx(path)


def test_what_is_missing_of_mnist_is_told(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no train-images-idx3-ubyte"):
        mnist(tmp_path)
    with pytest.raises(InputError, match="has no t10k-images-idx3-ubyte"):
        mnist(digits, train=False)
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((3, 28, 28), np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(4, np.uint8))
    with pytest.raises(InputError, match="same set"):
        mnist(tmp_path)


def test_class_folders_are_torchvisions(folders: Path) -> None:
    data, theirs = class_folders(folders), torchvision.datasets.ImageFolder(folders)
    assert data.classes == ["cats", "dogs"]
    assert data.samples == theirs.samples


def test_empty_folders_are_told(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        class_folders(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no class folders \\(0 loose files\\)"):
        class_folders(tmp_path / "empty")
    (folders / "birds").mkdir()
    (folders / "birds" / "notes.txt").touch()
    with pytest.raises(InputError, match=r"1 of 3 class folders have no picture \(birds\)"):
        class_folders(folders)
