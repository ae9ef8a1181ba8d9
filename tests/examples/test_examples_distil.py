"""`examples/distil.py`: what a student takes from its teacher, and what a run leaves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from agnlib import Generator
from agnlib.models import pretrained

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def distil(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.delitem(sys.modules, "distil", raising=False)
    import distil

    return distil


def test_a_student_with_all_blocks_is_its_teacher(distil):
    teacher = Generator(style_dim=8, channels=(4, 6, 8), blocks=(1, 2, 3)).eval()
    student = distil.thinned(teacher, (1, 2, 3)).eval()
    photo, style = torch.rand(1, 3, 40, 40) * 2 - 1, torch.randn(1, 8)
    torch.testing.assert_close(student(None, style, content=photo), teacher(None, style, content=photo))


def test_a_thinned_student_keeps_the_outermost_blocks(distil):
    teacher = Generator(style_dim=8, channels=(4, 6, 8), blocks=(1, 3, 6))
    student = distil.thinned(teacher, (0, 1, 3))
    assert [len(student.body_half), len(student.body_quarter), len(student.body)] == [0, 1, 3]
    for mine, theirs in ((student.body[0], teacher.body[0]), (student.body[2], teacher.body[5])):
        assert torch.equal(mine.expand.weight, theirs.expand.weight)
    assert torch.equal(student.body_quarter[0].conv.weight, teacher.body_quarter[2].conv.weight)


def test_more_blocks_than_the_teacher_has_are_refused(distil):
    with pytest.raises(SystemExit, match="the student has 4 blocks in body, the teacher 3"):
        distil.thinned(Generator(style_dim=8, channels=(4, 6, 8), blocks=(1, 2, 3)), (1, 2, 4))


def test_a_run_leaves_weights_that_load_and_go_on(distil, tmp_path):
    images = str(ROOT / "examples" / "images")
    common = ["--content", images, "--style", images, "--size", "32", "--batch", "2", "--minutes", "0.02"]
    distil.main([*common, "--out", str(tmp_path / "fast"), "--blocks", "0", "1", "3"])
    bundle = pretrained.load(tmp_path / "fast")
    assert bundle.generator.config.blocks == (0, 1, 3)
    assert bundle.info["training"]["teacher"] == "agn-small"
    assert bundle.info["training"]["steps"] > 0
    distil.main([*common, "--out", str(tmp_path / "on"), "--blocks", "0", "1", "3", "--resume", str(tmp_path / "fast")])
    assert (tmp_path / "on" / "config.json").is_file()
