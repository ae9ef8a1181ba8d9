"""Signals and kills: what was asked to stop has saved everything, and what was killed goes on as if it had not been."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from toy import data, in_new_process, make_folders, make_start, program, start_process, train_arguments, trainer

from agnlib.models import pretrained
from agnlib.training import AdversarialTrainer, loader
from agnlib.training.callbacks import SaveCheckpoints, SaveSamples
from agnlib.training.run.evaluate import Evaluate
from agnlib.training.safety.checkpoint import checkpoints_in, load_state
from agnlib.training.safety.interrupt import stopping_on_signals

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def wait_for(condition: Callable[[], object], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


# -- handlers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", SIGNALS)
def test_handlers_are_put_back(number: int) -> None:
    def mine(*_: object) -> None: ...

    before = signal.signal(number, mine)
    try:
        reasons: list[str] = []
        with suppress(ZeroDivisionError), stopping_on_signals(reasons.append):
            os.kill(os.getpid(), number)
            raise ZeroDivisionError
        assert reasons == [signal.Signals(number).name]
        assert signal.getsignal(number) is mine
    finally:
        signal.signal(number, before)


def test_what_is_ignored_stays_ignored() -> None:
    """As SIGINT is under `nohup ... &`."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        reasons: list[str] = []
        with stopping_on_signals(reasons.append):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        assert reasons == ["SIGTERM"]
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_leaves_signals_alone() -> None:
    seen = []

    def run() -> None:
        with stopping_on_signals(lambda _: None):
            seen.append([signal.getsignal(number) for number in SIGNALS])

    before = [signal.getsignal(number) for number in SIGNALS]
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert seen == [before]


def twice(first: int, second: int) -> None:
    with stopping_on_signals(lambda _: None):
        os.kill(os.getpid(), first)
        os.kill(os.getpid(), second)
        time.sleep(300)


@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_ends_the_process_at_once(second: int) -> None:
    assert in_new_process(twice, signal.SIGTERM, second, timeout=120) == 128 + second


# -- in every phase ----------------------------------------------------------------------------------------------------


class During:
    """Asks to stop in the middle of a phase of step 2."""

    def __init__(self, trainer: AdversarialTrainer) -> None:
        self.trainer, self.calls = trainer, 0

    def __call__(self, *_: object) -> None:
        if self.trainer.step == 2:
            self.calls += 1
            self.trainer.stop("SIGTERM")


def test_a_stop_in_a_step_finishes_the_step(folders: tuple[Path, Path], tmp_path: Path) -> None:
    subject, source = trainer(), data(folders)
    during = During(subject)
    subject.generator.register_forward_pre_hook(during)
    subject.callbacks = (SaveSamples(tmp_path, source[0], every=100), SaveCheckpoints(tmp_path, every=100))
    logs = subject.fit(loader(source), steps=9)
    assert (subject.step, subject.stop_reason, during.calls) == (3, "SIGTERM", 1)
    assert "generator/adversarial" in logs
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-00000003.png", "step-00000003.safetensors"]


def test_a_stop_while_sampling_or_evaluating_leaves_off(folders: tuple[Path, Path], tmp_path: Path) -> None:
    source = data(folders, batch=4)
    for callback in (SaveSamples(tmp_path, source[0], every=2), Evaluate([source[0]] * 4, every=2)):
        subject = trainer()
        during = During(subject)
        subject.callbacks = (callback,)
        averaged = subject.averaged_generator.register_forward_pre_hook(during)
        subject.fit(loader(data(folders)), steps=9)
        averaged.remove()
        assert subject.step == 2
        if isinstance(callback, Evaluate):
            assert during.calls == 1  # of the four batches
        else:
            assert during.calls == 4 + 16  # a row of the periodic grid, and the whole one at the end
            assert [path.name for path in tmp_path.glob("*.png")] == ["step-00000002.png"]


# -- the program -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path, float]:
    """The arguments of a toy run to any OUT, the folder of one that nothing disturbed, and its seconds."""
    place = tmp_path_factory.mktemp("whole")
    folders, start, out, log = make_folders(place), make_start(place / "start"), place / "run", place / "run.txt"
    arguments = train_arguments(folders, start, Path("OUT"), "--steps", "12", "--checkpoint-every", "2")
    begun = time.monotonic()
    assert in_new_process(program, placed(arguments, out), log) == 0, said(log)
    return arguments, out, time.monotonic() - begun


def placed(arguments: list[str], out: Path, *more: str) -> list[str]:
    return [str(out) if argument == "OUT" else argument for argument in arguments] + list(more)


def said(log: Path) -> str:
    return log.read_text()[-3000:]


def assert_same_run(out: Path, whole: Path) -> None:
    """The weights are those of the undisturbed run, byte for byte, no step is missing in the log, nothing is torn."""
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    logs = [[json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()] for folder in (out, whole)]
    for line in logs[0] + logs[1]:
        del line["seconds"], line["pictures_per_second"]
    assert logs[0] == logs[1]
    for path in checkpoints_in(out / "checkpoints"):
        load_state(path)
    assert not list(out.rglob("*.tmp"))


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGHUP, 0), (signal.SIGINT, 2)])
def test_the_program_stops_and_goes_on(
    whole: tuple[list[str], Path, float], tmp_path: Path, number: int, workers: int
) -> None:
    arguments, undisturbed, _ = whole
    out, log = tmp_path / "run", tmp_path / "run.txt"
    command = placed(arguments, out, "--workers", str(workers))
    process = start_process(slowly, command, log)
    wait_for(lambda: checkpoints_in(out / "checkpoints"))
    os.kill(process.pid or 0, number)
    process.join(240)
    assert process.exitcode == 0, said(log)
    name = signal.Signals(number).name
    assert f"stopped by {name} at step " in said(log)
    assert pretrained.load(out).info["class_names"] == []  # they paint, and know no names yet
    newest = checkpoints_in(out / "checkpoints")[-1].stem
    assert (out / "samples" / f"{newest}.png").is_file()
    step = int(newest.removeprefix("step-"))
    assert step < 12
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").open()][-1] == step
    assert in_new_process(program, [*command, "--resume", "auto"], log) == 0, said(log)
    assert f"resumed from {out / 'checkpoints' / newest}.safetensors, step {step}\n" in said(log)
    assert_same_run(out, undisturbed)


def slowly(arguments: list[str], log: Path) -> int:
    """The program, with a short sleep in every step, so that a signal comes before the end."""
    inner = AdversarialTrainer.training_step

    def step(self: AdversarialTrainer, batch: object) -> object:
        time.sleep(0.2)
        return inner(self, batch)  # type: ignore[arg-type]

    AdversarialTrainer.training_step = step  # type: ignore[assignment,method-assign]
    return program(arguments, log)


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_goes_on(whole: tuple[list[str], Path, float], tmp_path: Path, kills: int) -> None:
    """SIGKILL, again and again, from the first import to the last file: the same command with --resume auto goes on."""
    arguments, undisturbed, seconds = whole
    rng, killed, run = random.Random(kills), 0, 0
    while killed < kills:
        run += 1
        out, log = tmp_path / f"run{run}", tmp_path / f"run{run}.txt"
        command, begun, before = placed(arguments, out, "--resume", "auto"), time.monotonic(), killed
        while True:
            process = start_process(program, command, log)
            process.join(rng.uniform(0, seconds) if killed < kills else 240)
            if not process.is_alive():
                break
            process.kill()
            process.join()
            killed += 1
        assert process.exitcode == 0, said(log)
        assert_same_run(out, undisturbed)
        if killed == before:  # so that the moments stay spread over a run, however busy the machine is
            seconds = min(seconds, time.monotonic() - begun)
    assert killed >= kills


def test_the_same_in_a_process_of_its_own(folders: tuple[Path, Path], start: Path, tmp_path: Path) -> None:
    """`python -m agnlib` as people start it, with Ctrl-C sent to the whole group, the workers included."""
    import subprocess

    out = tmp_path / "run"
    arguments = train_arguments(folders, start, out, "--steps", "100000", "--workers", "2", "--checkpoint-every", "1")
    environment = os.environ | {"PYTHONPATH": str(Path(sys.modules["agnlib"].__file__ or "").parents[1])}
    with subprocess.Popen(
        [sys.executable, "-m", "agnlib", *arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            wait_for(lambda: checkpoints_in(out / "checkpoints"))
            os.killpg(process.pid, signal.SIGINT)
            output, errors = process.communicate(timeout=240)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, errors[-3000:]
    assert "stopped by SIGINT at step " in output
    assert "Traceback" not in errors
