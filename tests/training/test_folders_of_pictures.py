"""Folders as people have them: links, what systems leave behind, odd names, a run that is at work there already."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from toy import picture, train_arguments, trainer

from agnlib._shared.lock import locked_folder
from agnlib.cli import main as cli
from agnlib.errors import InputError
from agnlib.evaluation import choose_pairs
from agnlib.folder._manifest import Manifest
from agnlib.folder._tree import make_plan
from agnlib.models import Discriminator, pretrained
from agnlib.training import Batch, PairData, PictureFolder, TrainerConfig, class_folders
from agnlib.training.objective.adversarial_objective import AdversarialObjective
from agnlib.training.run.initial_networks import kept, starting_networks

JUNK = [".ipynb_checkpoints", ".thumbnails", "@eaDir", "__MACOSX", "$RECYCLE.BIN", "lost+found", "@tmp", "__pycache__"]
JUNK += ["~tmp", "@Recently-Snapshot", "@RECENTLY-SNAPSHOT"]


@pytest.mark.parametrize("name", JUNK)
def test_what_systems_leave_behind_is_no_class_and_no_picture(folders: tuple[Path, Path], name: str) -> None:
    before = PictureFolder(folders[1], 24)
    shutil.copytree(folders[1] / "oil", folders[1] / name / "oil")
    shutil.copytree(folders[1] / "oil", folders[1] / "ink" / name)
    (folders[1] / "ink" / "._0.png").write_bytes(b"\0\5\26\7" * 30)
    after = PictureFolder(folders[1], 24)
    assert (after.class_names, after.paths, after.unreadable) == (("ink", "oil"), before.paths, [])
    assert after.fingerprint == before.fingerprint
    pytest.importorskip("torchvision")
    article = class_folders(folders[1])
    assert (article.classes, article.class_to_idx) == (["ink", "oil"], {"ink": 0, "oil": 1})
    assert article.samples == list(zip(map(str, before.paths), before.labels, strict=True)) == article.imgs
    assert article.targets == before.labels
    pairs = choose_pairs(folders[1], folders[1], 100)
    assert {pair.photo for pair in pairs} == set(before.paths)
    assert [job.source for job in make_plan(folders[1], folders[1] / "out").jobs] == before.paths


def test_what_a_person_calls_so_is_a_class(folders: tuple[Path, Path]) -> None:
    (folders[1] / "oil").rename(folders[1] / "@somebody")
    (folders[1] / "ink").rename(folders[1] / "~ink~")
    assert PictureFolder(folders[1], 24).class_names == ("@somebody", "~ink~")


@pytest.mark.parametrize("linked", [["ink"], ["ink", "oil"]])
def test_class_folders_that_are_links_are_read(folders: tuple[Path, Path], tmp_path: Path, linked: list[str]) -> None:
    place = tmp_path / "linked"
    place.mkdir()
    for name in ("ink", "oil"):
        if name in linked:
            (place / name).symlink_to(folders[1] / name)
        else:
            shutil.copytree(folders[1] / name, place / name)
    if "oil" not in linked:
        (place / "oil" / "round").symlink_to(place, target_is_directory=True)  # would never end
    found, expected = PictureFolder(place, 24), PictureFolder(folders[1], 24)
    assert found.class_names == ("ink", "oil")
    assert [path.name for path in found.paths] == [path.name for path in expected.paths]
    assert found.labels == expected.labels
    assert found.fingerprint == expected.fingerprint


def test_loose_pictures_beside_class_folders_are_refused_but_in_photos(folders: tuple[Path, Path]) -> None:
    picture(folders[1] / "cover.png", (30, 30), 1)
    with pytest.raises(InputError, match=r"1 loose pictures \(cover\.png\) beside the class folders ink, oil; move"):
        PictureFolder(folders[1], 24)
    photos = PictureFolder(folders[1], 24, classes=False)
    assert (photos.class_names, len(photos.paths), set(photos.labels)) == ((), 6, {0})


def test_a_picture_is_known_by_its_content(folders: tuple[Path, Path]) -> None:
    before = PictureFolder(folders[0], 24).fingerprint
    path = folders[0] / "0.png"
    with Image.open(path) as opened:
        size = opened.size
    os.utime(path, (1, 1))
    assert PictureFolder(folders[0], 24).fingerprint == before
    picture(path, size, 77)  # of the same name and size
    assert PictureFolder(folders[0], 24).fingerprint != before


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"Caf\xe9.png")
    try:
        picture(tmp_path / os.fsdecode(b"fran\xe7ais") / name, (30, 30), 1)
    except OSError:
        pytest.skip("this file system has no such names")
    folder = PictureFolder(tmp_path, 24)
    assert folder.crop(0).shape == (24, 24, 3)
    assert PairData(folder, folder, batch=2)[0].sources == (str(folder.paths[0]),) * 2


# -- the command line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jfif", "a", "a.JPE", "a.download"])
def test_fine_tuning_takes_a_picture_by_its_content(
    folders: tuple[Path, Path], start: Path, tmp_path: Path, name: str
) -> None:
    painting = tmp_path / name
    Image.radial_gradient("L").resize((40, 40)).convert("RGB").save(painting, "JPEG")
    more = ["--init", str(start), "--minutes", "0.001", "--size", "16", "--perceptual", "none"]
    arguments = ["--style", str(painting), "--content", str(folders[0]), "--out", str(tmp_path / "mine"), *more]
    assert cli.main(["finetune", *arguments]) == 0
    assert (tmp_path / "mine" / "config.json").is_file()


@pytest.mark.parametrize("where", ["content", "style"])
def test_a_run_does_not_write_where_it_reads(
    folders: tuple[Path, Path], start: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folders[where == "style"] / "run"
    assert cli.main(train_arguments(folders, start, out, "--steps", "1")) == 2
    assert f"lies in --{where}" in capsys.readouterr().err
    assert not out.exists()


def test_two_runs_do_not_share_a_folder(
    folders: tuple[Path, Path], start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    arguments = train_arguments(folders, start, out, "--steps", "1", "--resume", "auto")
    with locked_folder(out) as alone:
        assert alone
        assert cli.main(arguments) == 2
        assert f"--out {out}: another run is at work there" in capsys.readouterr().err
        assert list(out.iterdir()) == []
    assert cli.main(arguments) == 0


@pytest.mark.parametrize("command", ["train", "stylize"])
def test_nor_do_they_through_a_link(
    folders: tuple[Path, Path], start: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever of the two goes through it."""
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    style = ["--style", str(folders[0] / "0.png"), "--weights", str(start), "--device", "cpu"]
    for one, other in (("out", "link"), ("link", "out")):
        arguments = train_arguments(folders, start, tmp_path / other, "--steps", "1")
        if command == "stylize":
            arguments = ["stylize", str(folders[0]), "-o", str(tmp_path / other), *style]
            lock = Manifest(make_plan(folders[0], tmp_path / one), {})
        with locked_folder(tmp_path / one) if command == "train" else lock:
            assert cli.main(arguments) == 2
        said = "is at work there" if command == "train" else "another agnlib is at work on shard 1/1"
        assert said in capsys.readouterr().err


# -- options ----------------------------------------------------------------------------------------------------------

OUTSIDE = {
    **{name: [-1e-3, math.nan, math.inf, "1"] for name in ("adversarial", "wrong_code", "uniformity", "identity")},
    **{name: [-1, 2.5, True] for name in ("warmup", "adversarial_ramp", "from_nothing_every", "rate_warmup")},
    **{name: [0, 1.5] for name in ("identity_every", "accumulate", "close_up_every", "ada_images", "penalty_every")},
    "lr_generator": [0.0, -1.0, math.nan, math.inf, 1e30],
    "clip_gradient": [0.0, math.nan],
    "final_lr": [-1.0, 1.1, math.nan],
    "latent_probability": [-0.1, 1.1],
    "augment_probability": [1.1],
    "penalty": [-1.0, math.nan],
    "ema_decay": [1.0, -0.1, math.nan],
    "betas": [(0.5,), (0.5, 1.0), (math.nan, 0.9)],
    "stroke_scale": [0.9, 8.1, math.nan],
    "seed": [1.5],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in OUTSIDE.items() for value in values])
def test_an_option_outside_its_range_is_named(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"TrainerConfig: {name} is .*; expected "):
        TrainerConfig(**{name: value})  # type: ignore[arg-type]


# -- fine-tuning keeps what was learned -------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["", "xy", "abcde", "vwxyz"])
def test_the_discriminator_is_kept_but_for_its_classes(folders: tuple[Path, Path], start: Path, names: str) -> None:
    """The start has 5 classes; a flat folder has none."""
    style = PictureFolder(folders[0] if names == "" else folders[1], 24)
    style.class_names = tuple(names)
    init = replace(pretrained.load(start), info={"class_names": list("abcde")})
    before = init.discriminator
    assert before is not None
    after = starting_networks(init, style).discriminator
    assert after.config.num_classes == (len(names) or None)
    old, new = before.state_dict(), after.state_dict()
    same = {key for key in new if torch.equal(new[key], old[key])}
    labels = {key for key in new if key.startswith("label_projection")}
    assert same == set(new) - (set() if names == "abcde" else labels)
    expected = f"discriminator: {len(same)} of {len(new)} tensors kept"
    assert kept(before, after) == expected + (", the classes are new" if names in ("xy", "vwxyz") else "")
    picture = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(after(picture), before(picture))
    if names in ("xy", "vwxyz"):  # of new classes nothing is known yet
        torch.testing.assert_close(after(picture, torch.tensor([1])), before(picture))


# -- wrong codes ------------------------------------------------------------------------------------------------------


def wrong_code(sources: tuple[str, ...], loss: str = "logistic") -> torch.Tensor | None:
    torch.manual_seed(0)
    picture, code = torch.rand(4, 3, 16, 16), torch.randn(4, 16)
    batch = Batch(picture, picture, code=code, sources=sources)
    objective = AdversarialObjective(
        TrainerConfig(loss=loss), Discriminator(style_dim=16, channels=(4, 8)), torch.Generator()
    )
    return objective.discriminator_losses(batch, picture.flip(0)).get("wrong_code")


@pytest.mark.parametrize("loss", ["logistic", "hinge", "relativistic"])
def test_two_crops_of_one_picture_are_no_wrong_pair(loss: str) -> None:
    assert wrong_code(("a",) * 4, loss) is None
    whole, unknown = wrong_code(("a", "b", "c", "d"), loss), wrong_code((), loss)
    assert whole is not None
    assert torch.equal(whole, unknown)
    some = wrong_code(("a", "a", "b", "b"), loss)  # rows 0 and 2 have the code of another picture, 1 and 3 do not
    assert some is not None
    torch.manual_seed(0)
    picture, code = torch.rand(4, 3, 16, 16), torch.randn(4, 16)
    objective = AdversarialObjective(
        TrainerConfig(loss=loss), Discriminator(style_dim=16, channels=(4, 8)), torch.Generator()
    )
    rows = torch.tensor([0, 2])
    real, wrong = (objective._patch_logits(picture[rows], None, c[rows]) for c in (code, code.roll(1, 0)))
    torch.testing.assert_close(some, 0.5 * objective._mismatch(real, wrong, torch.ones(2, dtype=torch.bool)) / 2)


def test_one_painting_never_stands_against_itself(folders: tuple[Path, Path], tmp_path: Path) -> None:
    picture(tmp_path / "one" / "a.png", (60, 60), 1)
    one = PairData(PictureFolder(folders[0], 24), PictureFolder(tmp_path / "one", 24), batch=2)
    several = PairData(PictureFolder(folders[0], 24), PictureFolder(folders[1], 24), batch=4)
    assert "discriminator/wrong_code" not in trainer(classes=None, warmup=0, identity=0.0).fit([one[0]], steps=1)
    assert "discriminator/wrong_code" in trainer(warmup=0, identity=0.0).fit([several[0]], steps=1)
