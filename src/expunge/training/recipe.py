"""Settings of training, the optimiser that they make, and recipes with names."""

from dataclasses import dataclass
from enum import StrEnum
from math import cos, floor, pi

import torch

from expunge.base.settings import Settings, setting
from expunge.compute.runtime import Precision
from expunge.models.classifier import Classifier
from expunge.models.modes import BatchNormMode
from expunge.training.augmentation import Augmentation

FIRST_RATE = 0.1
ROUNDING = 1e-6
"""Epochs by which a share of the training, as a float, may fall short of the epoch that begins there."""


class Schedule(StrEnum):
    """How the step size goes on."""

    CONSTANT = "constant"
    COSINE = "cosine"
    """From the full rate in the first step to almost 0 in the last."""
    TENTHS = "tenths"
    """In each epoch a tenth of what it was in the one before."""


class Algorithm(StrEnum):
    """What turns gradients into steps."""

    SGD = "sgd"
    NESTEROV = "nesterov"
    """SGD with Nesterov's momentum."""
    ADAM = "adam"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training(Settings):
    """Settings of training for a number of epochs."""

    epochs: int = setting(10, "passes over the images", at_least=1)
    learning_rate: float = setting(1e-2, "step size", above=0, spread=30)
    momentum: float = setting(0.9, "momentum of SGD", at_least=0, at_most=1)
    weight_decay: float = setting(5e-4, "weight decay", at_least=0)
    batch_size: int = setting(128, "images in a step", at_least=1)
    schedule: Schedule = setting(Schedule.CONSTANT, "how the step size goes on")
    warmup: float = setting(0.0, "share of the training in which the step size rises", at_least=0, at_most=0.9)
    algorithm: Algorithm = setting(Algorithm.SGD, "what turns gradients into steps")
    batchnorm: BatchNormMode = setting(BatchNormMode.BATCH, "BatchNorm (and dropout) during training")
    augmentation: Augmentation = setting(Augmentation.FLIPS_AND_CROPS, "what is done to images in training")

    def rate(self, progress: float) -> float:
        """Return the step size for a share of the training that is done, 0..1.

        >>> training = Training(learning_rate=1.0, warmup=0.5, schedule=Schedule.COSINE)
        >>> [training.rate(progress) for progress in (0.0, 0.25, 0.5, 0.75)]
        [0.1, 0.55, 1.0, 0.5]
        >>> training = Training(epochs=4, learning_rate=1.0, schedule=Schedule.TENTHS)
        >>> [round(training.rate(progress), 6) for progress in (0.0, 0.2, 0.25, 0.75)]
        [1.0, 1.0, 0.1, 0.001]
        """
        if progress < self.warmup:
            return self.learning_rate * (FIRST_RATE + (1 - FIRST_RATE) * progress / self.warmup)
        if self.schedule is Schedule.TENTHS:
            return self.learning_rate * 0.1 ** floor(progress * self.epochs + ROUNDING)
        rest = (progress - self.warmup) / (1 - self.warmup)
        return self.learning_rate * ((1 + cos(pi * rest)) / 2 if self.schedule is Schedule.COSINE else 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Training):
    """How a classifier is trained from its first weights on.

    The defaults are the usual ones of CIFAR (He et al. 2016, arXiv 1512.03385) with Nesterov's momentum, warmup and
    a cosine in place of the steps.
    """

    epochs: int = setting(100, "passes over the images", at_least=1)
    learning_rate: float = setting(0.1, "step size", above=0, spread=30)
    schedule: Schedule = setting(Schedule.COSINE, "how the step size goes on")
    warmup: float = setting(0.05, "share of the training in which the step size rises", at_least=0, at_most=0.9)
    algorithm: Algorithm = setting(Algorithm.NESTEROV, "what turns gradients into steps")
    label_smoothing: float = setting(0.0, "share of each label spread over all classes", at_least=0, at_most=0.9)
    precision: Precision = setting(Precision.FLOAT32, "the numbers that the network computes with")


RECIPES: dict[str, Recipe] = {
    "cifar": Recipe(),
    "utkface": Recipe(epochs=30, learning_rate=0.05, batch_size=64, label_smoothing=0.1),
    "digits": Recipe(
        epochs=30, learning_rate=0.05, batch_size=64, augmentation=Augmentation.CROPS, label_smoothing=0.1
    ),
}


def make_optimiser(working: Classifier, training: Training) -> torch.optim.Optimizer:
    """Return an optimiser of the weights of `working` that require gradients, and of nothing else."""
    weights = [weight for weight in working.module.parameters() if weight.requires_grad]
    rate, decay = training.learning_rate, training.weight_decay
    if training.algorithm is Algorithm.ADAM:
        return torch.optim.Adam(weights, lr=rate, weight_decay=decay)
    nesterov = training.algorithm is Algorithm.NESTEROV and training.momentum > 0
    return torch.optim.SGD(weights, lr=rate, momentum=training.momentum, weight_decay=decay, nesterov=nesterov)


def set_rate(optimiser: torch.optim.Optimizer, training: Training, progress: float) -> None:
    """Set the step size for a share of the training that is done, 0..1."""
    for group in optimiser.param_groups:
        group["lr"] = training.rate(progress)
