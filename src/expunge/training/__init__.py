"""Training on labelled images: one recipe, one loop, exact resumption; the methods that train use the same loop."""

from expunge.training.augmentation import Augmentation
from expunge.training.recipe import RECIPES, Algorithm, Recipe, Schedule, Training
from expunge.training.train import Builder, make_losses, train_classifier
from expunge.training.trainer import Batch, BatchLosses, Trainer

__all__ = [
    "RECIPES",
    "Algorithm",
    "Augmentation",
    "Batch",
    "BatchLosses",
    "Builder",
    "Recipe",
    "Schedule",
    "Trainer",
    "Training",
    "make_losses",
    "train_classifier",
]
