"""Disks that fail while a checkpoint is written, and checkpoints and configurations that were damaged afterwards."""

from __future__ import annotations

import ast
import errno
import hashlib
import json
import os
import random
import struct
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import Recorder, assert_same_state, data, in_new_process, trainer

import agnlib
from agnlib import Stylizer
from agnlib.errors import AgnError, WeightsError
from agnlib.models import pretrained
from agnlib.training import AdversarialTrainer, Batch, loader
from agnlib.training.callbacks import LogScalars, SaveCheckpoints
from agnlib.training.run.record import read_record
from agnlib.training.safety.checkpoint import load_state, newest_complete, save_state
from agnlib.training.safety.trainer_state import take

FAULTS = {
    errno.ENOSPC: "No space left on device",
    errno.EIO: "Input/output error",
    errno.EROFS: "Read-only file system",
}
CALLS = ("open", "write", "fsync", "replace")


class BrokenDisk:
    """While it is broken, one of the calls that write a file fails with an error number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
        self.broken, self.number = False, number
        if call == "fsync":
            monkeypatch.setattr(os, "fsync", self._failing(os.fsync))
        elif call in ("open", "replace"):
            monkeypatch.setattr(Path, call, self._failing(getattr(Path, call)))
        else:
            monkeypatch.setattr(Path, "open", self._opening(Path.open))

    def _failing(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self.broken and not _reads(arguments):
                raise OSError(self.number, os.strerror(self.number))
            return inner(*arguments, **options)

        return call

    def _opening(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            file = inner(*arguments, **options)
            return _TornFile(file, self.number) if self.broken and not _reads(arguments) else file

        return call


def _reads(arguments: tuple[Any, ...]) -> bool:
    """Whether these are of `Path.open` for reading, which a full disk allows."""
    return arguments[1:2] == ("rb",)


class _TornFile:
    """A file that takes a part of what is written and then fails."""

    def __init__(self, file: Any, number: int) -> None:
        self.file, self.number = file, number

    def __enter__(self) -> _TornFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, content: bytes) -> int:
        self.file.write(content[: len(content) // 2])
        raise OSError(self.number, os.strerror(self.number))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("number", FAULTS)
def test_a_failing_disk_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    subject, path = trainer(), tmp_path / "c.safetensors"
    subject.save_checkpoint(path)
    before = files(tmp_path)
    disk = BrokenDisk(monkeypatch, call, number)
    subject.step, disk.broken = 1, True
    with pytest.raises(WeightsError, match=rf"c\.safetensors: {FAULTS[number]}; make room there or choose another"):
        subject.save_checkpoint(path)
    disk.broken = False
    assert files(tmp_path) == before
    subject.save_checkpoint(path)
    assert load_state(path)[1]["step"] == 1


@pytest.mark.parametrize("call", CALLS)
def test_a_disk_that_fails_for_a_while_changes_nothing(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Training goes on meanwhile, and ends where it would have ended."""

    class Wears:
        def on_step_end(self, trainer: AdversarialTrainer, logs: dict[str, float]) -> None:
            disk.broken = 3 <= trainer.step < 5

    runs = []
    for broken in (False, True):
        place = tmp_path / str(broken)
        subject, recorder = trainer(), Recorder()
        subject.callbacks = (recorder, SaveCheckpoints(place, every=2, keep=9))
        if broken:
            disk = BrokenDisk(monkeypatch, call, errno.ENOSPC)
            subject.callbacks = (Wears(), *subject.callbacks)
            with pytest.warns(RuntimeWarning, match=r"step-00000004.*No space left.*training goes on"):
                subject.fit(loader(data(folders)), steps=6)
        else:
            subject.fit(loader(data(folders)), steps=6)
        runs.append(recorder.logs)
    assert runs[0] == runs[1]
    assert sorted(files(tmp_path / "True")) == ["step-00000002.safetensors", "step-00000006.safetensors"]
    for name in files(tmp_path / "True"):
        assert_same_state(tmp_path / "True" / name, tmp_path / "False" / name)


def save_as_nobody(path: Path) -> int:
    subject = trainer()
    with tempfile.TemporaryDirectory() as elsewhere:  # everything is imported while the environment may be read
        subject.save_checkpoint(Path(elsewhere) / "c.safetensors")
    if os.geteuid() == 0:  # whom no permission stops
        os.setegid(65534)
        os.seteuid(65534)
    try:
        subject.save_checkpoint(path)
    except WeightsError as error:
        return 10 if f"{path}: Permission denied; make room there or choose another place" in str(error) else 11
    return 12


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_a_folder_that_may_only_be_read(tmp_path: Path) -> None:
    place = tmp_path / "checkpoints"
    place.mkdir()
    trainer().save_checkpoint(place / "c.safetensors")
    before = files(place)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and len(folder.parts) > 2:
            folder.chmod(folder.stat().st_mode | 0o555)
    place.chmod(0o555)
    try:
        assert in_new_process(save_as_nobody, place / "c.safetensors") == 10
        assert in_new_process(save_as_nobody, place / "new" / "c.safetensors") == 10
    finally:
        place.chmod(0o755)
    assert files(place) == before


def test_a_corrupt_checkpoint_is_passed_over_and_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    subject = trainer()
    subject.callbacks = (SaveCheckpoints(tmp_path, every=1, keep=3),)
    subject.fit(loader(data(folders)), steps=3)
    paths = [tmp_path / f"step-0000000{step}.safetensors" for step in (1, 2, 3)]
    assert newest_complete(tmp_path) == paths[2]
    flipped = bytearray(paths[2].read_bytes())
    flipped[-1] ^= 1
    paths[2].write_bytes(flipped)
    with pytest.warns(RuntimeWarning, match=r"passed over: .*step-00000003.*SHA-256") as said:
        assert newest_complete(tmp_path) == paths[1]
    assert len(said) == 1
    paths[1].write_bytes(b"")
    paths[0].unlink()
    with (
        pytest.warns(RuntimeWarning, match="passed over"),
        pytest.raises(WeightsError, match=r"not one of the 2 checkpoints in .* is whole; remove them to start over"),
    ):
        newest_complete(tmp_path)
    assert newest_complete(tmp_path / "nothing") is None


# -- damaged on purpose: the same mutations every time -----------------------------------------------------------------

JUNK = (
    b"",
    b"\0",
    b"\xff\xff\xff\xff",
    b"{",
    b"[" * 2000,
    b"1e999",
    b'"',
    b"NaN",
    b"-1",
    b"null",
    b"9" * 5000,
    b"\xf0",
)
VALUES = (None, True, -1, 0, 2**63, 10**400, 1e308, float("nan"), "", "x", [], {}, [[]])
VALUES += ({"$tensor": "x"}, {"$pairs": [1]})


def mutated(whole: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut off, cut out, put in, repeated, or another length of the header; often near the beginning."""
    content, kind = bytearray(whole), rng.randrange(6)
    limit = len(content) if rng.random() < 0.3 else min(len(content), 4096)
    at = rng.randrange(limit)
    length = min(rng.choice((1, 2, 8, 100)), len(content) - at)
    if kind == 0:
        for _ in range(rng.choice((1, 1, 3, 20))):
            content[rng.randrange(limit)] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del content[at:]
    elif kind == 2:
        del content[at : at + length]
    elif kind == 3:
        content[at:at] = rng.choice(JUNK)
    elif kind == 4:
        content[at:at] = content[at : at + length]
    else:
        content[0:8] = struct.pack("<Q", rng.choice((0, 1, 7, len(whole), 2**31, 2**62, 2**64 - 1)))
    return bytes(content)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in nested JSON with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def mutated_json(text: str, rng: random.Random) -> bytes:
    """JSON with a value replaced, removed or added, which is still JSON."""
    value = json.loads(text)
    container, key = rng.choice(list(places(value)))
    kind = rng.randrange(3)
    if kind == 0:
        container[key] = rng.choice(VALUES)
    elif kind == 1:
        del container[key]
    elif isinstance(container, dict):
        container[rng.choice(("x", "step", "$tensor", "class", ""))] = rng.choice(VALUES)
    else:
        container.append(rng.choice(VALUES))
    return json.dumps(value).encode()


@contextmanager
def memory_at_most(more: int) -> Iterator[None]:
    """Inside, the process gets no more than so many bytes beyond what it has; where the system can hold it to that."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def check(attempts: Iterator[Callable[[], object]]) -> int:
    """Each attempt works or gives an error of ours, in bounded memory; how many worked."""
    worked, lengths = 0, [0]
    with memory_at_most(512 << 20):
        for attempt in attempts:
            try:
                attempt()
                worked += 1
            except AgnError as error:
                lengths.append(len(str(error)))
    assert max(lengths) < 1500
    return worked


# the number of mutations of each kind: together 5,000
COUNTS = pytest.mark.parametrize("share", [0.06, pytest.param(1.0, marks=pytest.mark.slow)])


@COUNTS
def test_damaged_checkpoints(tmp_path: Path, share: float) -> None:
    subject, path = trainer(), tmp_path / "c.safetensors"
    subject.save_checkpoint(path)
    whole = path.read_bytes()

    def attempts() -> Iterator[Callable[[], object]]:
        rng = random.Random(0)
        for _ in range(round(1500 * share)):
            content = mutated(whole, rng)
            if content == whole:
                continue
            path.write_bytes(content)
            yield lambda: load_state(path)

    assert check(attempts()) == 0


@COUNTS
def test_checkpoints_of_another_meaning(tmp_path: Path, share: float) -> None:
    """Whole by their hashes, but not what the trainer wrote: nothing of the trainer is changed, or all of it."""
    subject, path = trainer(), tmp_path / "c.safetensors"
    subject.callbacks = (LogScalars(tmp_path / "log.jsonl"), SaveCheckpoints(tmp_path))
    picture = torch.rand(2, 3, 16, 16) * 2 - 1
    subject.fit([Batch(picture, picture.flip(0), torch.tensor([0, 1]))] * 2, steps=2)
    subject.callbacks = (LogScalars(tmp_path / "log.jsonl"), SaveCheckpoints(tmp_path))
    subject.save_checkpoint(path)
    tensors, meta = load_state(path)
    small = {name: value for name, value in meta.items() if name not in ("networks", "average", "optimizers", "config")}

    def attempts() -> Iterator[Callable[[], object]]:
        rng = random.Random(1)
        for index in range(round(700 * share)):
            which = small if index % 2 else meta
            changed = json.loads(mutated_json(json.dumps(which), rng))
            save_state(path, tensors, {**meta, **changed} if which is small and len(changed) >= len(small) else changed)

            def attempt() -> None:
                before = take(subject)["step"], subject._rng.get_state()
                try:
                    subject.load_checkpoint(path)
                except AgnError:
                    assert before[0] == subject.step
                    assert torch.equal(before[1], subject._rng.get_state())
                    raise

            yield attempt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # some have other options
        check(attempts())


@COUNTS
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_damaged_weights(start: Path, name: str, share: float) -> None:
    path = start / name
    whole = path.read_bytes()

    def load() -> object:
        bundle = pretrained.load(start)
        return bundle.license, bundle.class_names, Stylizer.from_pretrained(start, device="cpu")

    def attempts() -> Iterator[Callable[[], object]]:
        rng = random.Random(name)
        for index in range(round(900 * share)):
            as_json = name == "config.json" and index % 2
            path.write_bytes(mutated_json(whole.decode(), rng) if as_json else mutated(whole, rng))
            yield load

    check(attempts())


@COUNTS
def test_damaged_weights_with_a_hash_that_fits(start: Path, share: float) -> None:
    tensors, config = start / "model.safetensors", start / "config.json"
    whole, described = tensors.read_bytes(), json.loads(config.read_text())

    def attempts() -> Iterator[Callable[[], object]]:
        rng = random.Random(4)
        for _ in range(round(400 * share)):
            content = mutated(whole, rng)
            tensors.write_bytes(content)
            config.write_text(json.dumps({**described, "sha256": hashlib.sha256(content).hexdigest()}))
            yield lambda: pretrained.load(start)

    check(attempts())


def test_options_for_networks_that_no_memory_holds(start: Path) -> None:
    path = start / "config.json"
    described = json.loads(path.read_text())
    for role, option, value in [
        ("generator", "channels", [10**7, 10**7, 10**7]),
        ("generator", "blocks", [0, 0, 10**9]),
        ("generator", "image_size", 10**9),
        ("generator", "latent_dim", 10**10),
        ("generator", "num_classes", 10**9),
        ("discriminator", "scales", 10**9),
        ("discriminator", "channels", [4] * 10**4),
        ("extractor", "hidden", 10**9),
    ]:
        changed = json.loads(json.dumps(described))
        changed["models"][role]["config"][option] = value
        path.write_text(json.dumps(changed))
        with pytest.raises(WeightsError, match=role):
            pretrained.load(start)


@COUNTS
def test_damaged_logs_and_records(tmp_path: Path, share: float) -> None:
    record, log = tmp_path / "run.json", tmp_path / "log.jsonl"
    record_text = json.dumps({"content": "a", "style": "b", "steps": 3, "init": None, "perceptual": ["x"]}, indent=2)
    lines = "".join(json.dumps({"step": step, "generator/palette": 0.1 * step}) + "\n" for step in range(50, 400, 50))
    subject = trainer()
    subject.step = 200
    scalars = LogScalars(log)

    def attempts() -> Iterator[Callable[[], object]]:
        rng = random.Random(5)
        for index in range(round(600 * share)):
            if index % 2:
                log.write_bytes(mutated(lines.encode(), rng))
                yield lambda: (scalars.on_fit_start(subject), scalars.on_fit_end(subject))
                written = [json.loads(line)["step"] for line in log.read_text().splitlines()]
                assert set(written) <= {0, 50, 100, 150, 200}
            else:
                as_json = rng.random() < 0.5
                record.write_bytes(mutated_json(record_text, rng) if as_json else mutated(record_text.encode(), rng))
                yield lambda: read_record(tmp_path)

    assert check(attempts()) > 0


def test_no_file_but_something_else(tmp_path: Path) -> None:
    """A named pipe would be waited on for ever."""
    (tmp_path / "folder").mkdir()
    names = ["folder", "missing"]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        names.append("pipe")
    for name in names:
        with pytest.raises(WeightsError, match=name):
            trainer().load_checkpoint(tmp_path / name)


def test_nothing_is_unpickled() -> None:
    """pickle and what is built on it appear nowhere in agnlib, nor does `torch.load` without `weights_only=True`."""
    unpickling = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    loading = {"torch.load", "torch.hub.load", "torch.jit.load", "np.load", "numpy.load", "torch.save"}
    for path in Path(agnlib.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert not {alias.name.split(".")[0] for alias in node.names} & unpickling, path
            elif isinstance(node, ast.ImportFrom):
                assert str(node.module).split(".")[0] not in unpickling, path
                assert not {f"{node.module}.{alias.name}" for alias in node.names} & loading, path
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in loading:
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert (ast.unparse(node.func), given.get("weights_only")) == ("torch.load", "True"), path
