"""Training: the trainer, its data, terms, callbacks and checkpoints."""

from agnlib._train_options import FinetuneSettings, TrainSettings
from agnlib.training.data.datasets import IdxDigits, class_folders, mnist, read_idx
from agnlib.training.data.pairs import Batch, PairData, PictureFolder, loader
from agnlib.training.objective.terms import Weighted
from agnlib.training.run.finetune import finetune
from agnlib.training.run.train import TrainOptions, train
from agnlib.training.trainer import AdversarialTrainer, TrainerConfig

__all__ = [
    "AdversarialTrainer",
    "Batch",
    "FinetuneSettings",
    "IdxDigits",
    "PairData",
    "PictureFolder",
    "TrainOptions",
    "TrainSettings",
    "TrainerConfig",
    "Weighted",
    "class_folders",
    "finetune",
    "loader",
    "mnist",
    "read_idx",
    "train",
]
