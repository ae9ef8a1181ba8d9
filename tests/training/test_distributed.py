"""Several processes compute what one does: gradients, draws, losses that look across the batch, and whole trainings."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from toy import assert_same_state, start_process, train_arguments

import agnlib
from agnlib.errors import InputError
from agnlib.losses import feature_matching_loss
from agnlib.models import Discriminator, Generator, StyleExtractor
from agnlib.training import AdversarialTrainer, Batch, TrainerConfig, Weighted
from agnlib.training.distributed import BatchDraws, World, join
from agnlib.training.objective.terms import PaletteTerm, PatchNCETerm, guided_smoothness_term, smoothness_term

BATCH, STEPS, SIZE = 8, 20, 16
_LIMIT = 400  # seconds for a group of processes, on a machine that others load as well


# -- several processes ------------------------------------------------------------------------------------------------


def _start(rank: int, size: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size)
    try:
        for name, work in WORKS.items():
            torch.save(work(), Path(folder) / f"{name}.{rank}")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What each of the `WORKS` gives in two processes of one group."""
    folder = tmp_path_factory.mktemp("group")
    context = torch.multiprocessing.start_processes(
        _start, (2, str(folder)), nprocs=2, join=False, start_method="spawn"
    )
    end = time.monotonic() + _LIMIT
    try:
        while not context.join(timeout=1):
            assert time.monotonic() < end, "the processes hang"
    finally:
        for process in context.processes:
            process.kill()
    return {name: [torch.load(folder / f"{name}.{rank}", weights_only=True) for rank in (0, 1)] for name in WORKS}


# -- the pieces -------------------------------------------------------------------------------------------------------


def _pieces() -> dict[str, Any]:
    world = World.current()
    whole = torch.arange(12.0).view(6, 2)
    part = world.rows(whole)
    first, second, third = (nn.Parameter(torch.zeros(2, 3)) for _ in range(3))
    first.grad = torch.full((2, 3), float(world.rank))
    if world.is_main:
        second.grad = torch.ones(2, 3)
    losses = world.average_gradients([first, second, third], {"a": torch.tensor(1.0 + world.rank)})
    features = torch.randn(6, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mine = [world.mean(world.rows(features).mean(0, keepdim=True))]
    matching = feature_matching_loss([torch.zeros(1, 4, 5)], mine)
    matching.backward()
    assert features.grad is not None
    module = nn.Linear(2, 2)
    world.broadcast([module])
    world.wait()
    return {
        "gathered": world.gather(part).tolist(),
        "rolled": world.roll(part).tolist(),
        "agreed": world.agree(float(world.rank), 5.0 - world.rank),
        "gradients": [None if p.grad is None else p.grad.tolist() for p in (first, second, third)],
        "losses": {name: float(value) for name, value in losses.items()},
        "matching": matching.item(),
        "matching gradient": world.gather(features.grad[None]).mean(0).tolist(),
        "weights": [p.tolist() for p in module.parameters()],
    }


def test_the_pieces_of_two_processes_make_a_whole(two: dict[str, list[Any]]) -> None:
    first, second = two["pieces"]
    whole = torch.arange(12.0).view(6, 2)
    assert first["gathered"] == second["gathered"] == whole.tolist()
    assert first["rolled"] + second["rolled"] == whole.roll(1, 0).tolist()
    assert first["agreed"] == second["agreed"] == (1.0, 5.0)
    assert first["gradients"] == second["gradients"] == [[[0.5] * 3] * 2, [[0.5] * 3] * 2, None]
    assert first["losses"] == second["losses"] == {"a": 1.5}
    assert first["weights"] == second["weights"]
    features = torch.randn(6, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = feature_matching_loss([torch.zeros(1, 4, 5)], [features])
    loss.backward()
    assert first["matching"] == pytest.approx(loss.item())
    # each process had the gradient of its own rows alone, so the mean over both is that of all
    torch.testing.assert_close(torch.tensor(first["matching gradient"]), features.grad)


def test_alone_nothing_changes() -> None:
    world, value, loss = World.current(), torch.randn(3, 2), torch.tensor(2.0, requires_grad=True)
    assert (world.rank, world.size, world.is_main) == (0, 1, True)
    assert world.mean(value) is value
    assert world.agree(1.0, 2.0) == (1.0, 2.0)
    assert torch.equal(world.roll(value), value.roll(1, 0))
    averaged = world.average_gradients([], {"a": loss})
    assert (averaged["a"], averaged["a"].requires_grad) == (loss, False)


def test_every_row_is_somebody_s_and_parts_stay_together() -> None:
    shares = [World(rank, 3).share(12, parts=2) for rank in range(3)]
    assert sorted(row for share in shares for row in share) == list(range(12))
    for part in range(2):  # the union of the processes' part is the part of the whole, in order
        rows = [row for share in shares for row in share[2 * part : 2 * part + 2]]
        assert rows == list(range(6 * part, 6 * part + 6))
    with pytest.raises(InputError, match=r"batch of 10 .* 3 processes in 2 parts; give a multiple of 6"):
        World(0, 3).share(10, parts=2)


DRAWS: dict[str, Callable[[int, torch.Generator, Tensor], Tensor]] = {
    "randn": lambda rows, rng, x: torch.randn(rows, 1, 5, 7),
    "randn as a tuple": lambda rows, rng, x: torch.randn((rows, 3)),
    "rand by name": lambda rows, rng, x: torch.rand(size=(rows, 3), dtype=torch.float64),
    "from the generator": lambda rows, rng, x: torch.rand(rows, 7, generator=rng),
    "a scalar before": lambda rows, rng, x: torch.rand((), generator=rng) + torch.randn(rows, generator=rng),
    "randn_like": lambda rows, rng, x: torch.randn_like(x),
    "dropout": lambda rows, rng, x: nn.Dropout(0.3)(x),
    "dropout2d": lambda rows, rng, x: nn.Dropout2d(0.3)(x),
    "a Gaussian": lambda rows, rng, x: torch.distributions.Normal(x, 2.0).rsample(),
    "bernoulli": lambda rows, rng, x: torch.bernoulli(x.sigmoid()),
    "in place": lambda rows, rng, x: x.clone().uniform_(-1, 1),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("size", [2, 3])
def test_processes_draw_their_rows_of_what_one_draws(name: str, size: int) -> None:
    rows, draw = 4, DRAWS[name]
    x = torch.randn(rows * size, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    drawn, states = [], []
    for rank in [*range(size), None]:
        torch.manual_seed(5)
        rng = torch.Generator().manual_seed(6)
        if rank is None:
            whole = draw(rows * size, rng, x)
        else:
            with BatchDraws(World(rank, size), rows, rng):
                drawn.append(draw(rows, rng, x[rank * rows : (rank + 1) * rows]))
        states.append((torch.get_rng_state(), rng.get_state()))
    assert torch.equal(torch.cat(drawn), whole)
    assert all(torch.equal(a, b) for state in states[1:] for a, b in zip(states[0], state, strict=True))


def test_draws_that_are_not_for_the_rows_are_left_alone() -> None:
    other = torch.Generator()
    with BatchDraws(World(1, 2), 4, torch.Generator()):
        torch.manual_seed(0)
        found = [torch.randn(3, 4), torch.rand(4, generator=other.manual_seed(0)), torch.randn(())]
    torch.manual_seed(0)
    expected = [torch.randn(3, 4), torch.rand(4, generator=other.manual_seed(0)), torch.randn(())]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


# -- whole trainings --------------------------------------------------------------------------------------------------


class Recorder:
    """Keeps every step's named numbers."""

    def __init__(self) -> None:
        self.logs: list[dict[str, float]] = []

    def on_step_end(self, trainer: AdversarialTrainer, logs: Mapping[str, float]) -> None:
        self.logs.append(dict(logs))


def _batches(accumulate: int, dtype: torch.dtype) -> list[Batch]:
    """This process's rows of batches that are the same in any number of processes."""
    rng, found = torch.Generator().manual_seed(0), []
    rows = World.current().share(BATCH, accumulate)
    for step in range(STEPS):
        coarse = torch.rand(2, BATCH, 3, 6, 6, generator=rng, dtype=torch.float64).to(dtype) * 2 - 1
        content, style = (F.interpolate(x, size=SIZE, mode="bicubic").clamp(-1, 1)[rows] for x in coarse)
        label = torch.randint(0, 2, (BATCH,), generator=rng)[rows]
        found.append(Batch(content, style, label, step=step))
    return found


def _train(precision: str, extractor: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    world, recorder, dtype = World.current(), Recorder(), getattr(torch, precision)
    torch.manual_seed(0 if world.is_main else 99)  # the weights of the others are to be those of the main one
    generator = Generator(8, 16, channels=(4, 4, 8), blocks=(1, 1, 1), image_size=16)
    extracting = StyleExtractor(16, taps=("block0",), **extractor)
    parts = generator, Discriminator(2, style_dim=16, channels=(4, 8)), extracting
    terms = {
        "palette": Weighted(PaletteTerm(), 0.3),
        "patch_nce": Weighted(PatchNCETerm(generator.content_features, "quarter"), 0.2),
        "smooth": Weighted(guided_smoothness_term, 0.1),
        "flat": Weighted(smoothness_term, 0.1),
    }
    config = TrainerConfig(warmup=2, identity_every=7, penalty_every=2, adversarial_ramp=3, **options)
    for part in parts:
        part.to(dtype)
    trainer = AdversarialTrainer(*parts, terms=terms, callbacks=[recorder], config=config)
    trainer.fit(_batches(config.accumulate, dtype), steps=STEPS)
    modules = trainer._modules() | {"ema": trainer.ema.module}
    state = {f"{name}.{key}": value for name, m in modules.items() for key, value in m.state_dict().items()}
    digest = hashlib.sha256(b"".join(value.contiguous().numpy().tobytes() for value in state.values())).hexdigest()
    return {"logs": recorder.logs, "digest": digest, "state": state}


TRAININGS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "hinge with R1 in two parts, augmented": (
        "float64",
        {},
        {"accumulate": 2, "feature_matching": 0.1, "augment": ("translation", "cutout", "flip"), "ada_target": 0.0}
        | {"ada_images": 200},
    ),
    "relativistic with R1 and R2, VAE": ("float64", {"variational": True}, {"loss": "relativistic"}),
    "gradient penalty": ("float64", {}, {"loss": "wasserstein"}),
    "single precision": ("float32", {}, {"accumulate": 2}),
}
WORKS: dict[str, Callable[[], object]] = {
    "pieces": _pieces,
    **{name: partial(_train, *arguments) for name, arguments in TRAININGS.items()},
}


@pytest.mark.parametrize("name", TRAININGS)
def test_two_processes_train_as_one_does(two: dict[str, list[Any]], name: str) -> None:
    alone, (main, other) = _train(*TRAININGS[name]), two[name]
    assert main["digest"] == other["digest"]
    assert not other["logs"]  # callbacks are the main process's
    assert len(alone["logs"]) == len(main["logs"]) == STEPS
    single = TRAININGS[name][0] == "float32"
    for one, both in zip(alone["logs"], main["logs"], strict=True):
        assert one == pytest.approx(both, abs=1e-3 if single else 1e-9)
    assert {"discriminator/wrong_code", "generator/patch_nce"} <= set().union(*alone["logs"])
    apart = max(float((main["state"][key] - value).abs().max()) for key, value in alone["state"].items())
    assert single or apart < 1e-9


# -- torchrun ---------------------------------------------------------------------------------------------------------


def _torchrun(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=2"]
    environment = os.environ | {"PYTHONPATH": str(Path(agnlib.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    with log.open("wb") as file:
        return subprocess.Popen([*command, "-m", "agnlib", *arguments], stdout=file, stderr=file, env=environment)


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float, log: Path) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        assert time.monotonic() < end, f"not within {seconds} s: {log.read_text(errors='replace')[-3000:]}"
        time.sleep(0.05)


@pytest.mark.slow
def test_torchrun_goes_on_after_a_process_was_killed(folders: tuple[Path, Path], start: Path, tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    steps, finals = 60, []
    for name in ("whole", "killed"):
        out, log = tmp_path / name, tmp_path / f"{name}.log"
        more = ("--steps", str(steps), "--checkpoint-every", "5", "--resume", "auto")
        process = _torchrun(train_arguments(folders, start, out, *more), log)
        try:
            if name == "killed":
                _wait_for(lambda out=out: any(out.glob("checkpoints/step-*")), process, _LIMIT, log)
                workers = {child.environ().get("RANK"): child for child in psutil.Process(process.pid).children()}
                workers["1"].kill()
                _wait_for(lambda log=log: b"resumed from" in log.read_bytes(), process, 30, log)
            assert process.wait(_LIMIT) == 0, log.read_text(errors="replace")[-3000:]
        finally:
            for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
                child.kill()
            process.kill()
        finals.append(out / "checkpoints" / f"step-{steps:08d}.safetensors")
        assert (out / "config.json").is_file()
    assert_same_state(*finals)


def _leave(folder: Path, rank: int, port: int) -> int:
    """Rank 1 has nothing to do at the end; rank 0 writes its file only after the other one could have gone."""
    launched = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in (launched | {"TORCHELASTIC_RUN_ID": "test"}).items()})
    with join(torch.device("cpu")) as world:
        world.wait()
        if world.is_main:
            time.sleep(2)
            (folder / "weights").write_text("whole")
    (folder / f"left {rank}").write_text(str((folder / "weights").exists()))
    return 0


def test_none_leaves_before_the_main_process_has_written(tmp_path: Path) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    processes = [start_process(_leave, tmp_path, rank, port) for rank in (0, 1)]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "left 1").read_text() == "True"


@pytest.mark.slow
def test_short_runs_in_a_row_end_well(folders: tuple[Path, Path], start: Path, tmp_path: Path) -> None:
    for number in range(int(os.environ.get("AGNLIB_TORCHRUN_RUNS", "50"))):
        out, log = tmp_path / str(number), tmp_path / f"{number}.log"
        process = _torchrun(train_arguments(folders, start, out, "--steps", "2"), log)
        assert process.wait(_LIMIT) == 0, f"run {number}: {log.read_text(errors='replace')[-3000:]}"
        assert (out / "config.json").is_file()
