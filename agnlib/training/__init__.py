"""Training: the trainer, its data, terms, callbacks and checkpoints."""

from agnlib.training.data import Batch, PairData, PictureFolder, loader
from agnlib.training.terms import Weighted
from agnlib.training.trainer import AdversarialTrainer, TrainerConfig

__all__ = ["AdversarialTrainer", "Batch", "PairData", "PictureFolder", "TrainerConfig", "Weighted", "loader"]
