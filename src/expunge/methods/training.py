"""Epochs of training on labelled images, for the methods that run so many epochs and then stop."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, cos, pi

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from expunge.classifier import Bounds, Classifier
from expunge.edit import Edit
from expunge.engine import Plan, edit_until_goal
from expunge.errors import SettingsError
from expunge.forget import ForgetSet
from expunge.images import Images, TensorImages
from expunge.methods.protocol import Method
from expunge.modes import BatchNormMode, editing
from expunge.runtime import CostMeter
from expunge.settings import check_settings, setting, to_mapping
from expunge.task import Task

CROP_REACH = 4 / 32


class Augmentation(StrEnum):
    """What is done to images each time they are trained on."""

    NONE = "none"
    FLIPS_AND_CROPS = "flips_and_crops"
    """Mirrored half of the time, and cropped at random out of 4 pixels of padding (of 32, in proportion)."""


class Schedule(StrEnum):
    """How the step size goes on."""

    CONSTANT = "constant"
    COSINE = "cosine"
    """From the full rate in the first step to almost 0 in the last."""


class Algorithm(StrEnum):
    """What turns gradients into steps."""

    SGD = "sgd"
    ADAM = "adam"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Settings of training for a number of epochs."""

    epochs: int = setting(10, "passes over the images", at_least=1)
    learning_rate: float = setting(1e-2, "step size", above=0)
    momentum: float = setting(0.9, "momentum of SGD", at_least=0, at_most=1)
    weight_decay: float = setting(5e-4, "weight decay", at_least=0)
    batch_size: int = setting(128, "images in a step", at_least=1)
    schedule: Schedule = setting(Schedule.CONSTANT, "how the step size goes on")
    algorithm: Algorithm = setting(Algorithm.SGD, "what turns gradients into steps")
    batchnorm: BatchNormMode = setting(BatchNormMode.BATCH, "BatchNorm (and dropout) during training")
    augmentation: Augmentation = setting(Augmentation.FLIPS_AND_CROPS, "what is done to images in training")

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of one step on the edit's device: their pixels, labels, row numbers, and the epoch, counted from 0."""

    x: Float[Tensor, "b c h w"]
    y: Int[Tensor, " b"]
    rows: Int[Tensor, " b"]
    epoch: int


BatchLosses = Callable[[Batch], Mapping[str, Tensor]]
"""The terms of the total loss on one batch by name, weighted, as scalars with gradients."""


def _nothing() -> None:
    """Do nothing after a step."""


class Trainer:
    """Trains a working copy, pass by pass; its optimiser holds that copy's weights and nothing else."""

    def __init__(self, task: Task, working: Classifier, training: Training, meter: CostMeter) -> None:
        self.task, self.working, self.training, self.meter = task, working, training, meter
        self._optimiser = make_optimiser(working, training)
        self._order, self._moves = task.generator("training order"), task.generator("augmentation")

    def run_pass(
        self, images: Images, losses: BatchLosses, *, epoch: int, after_step: Callable[[], None] = _nothing
    ) -> dict[str, float]:
        """Go through `images` once, in a new random order, and return the mean of each loss over the batches.

        Args:
            images: what to train on.
            losses: of one batch; called in the training's mode of BatchNorm.
            epoch: counted from 0; the schedule follows it.
            after_step: called after each step of the optimiser.
        """
        labels, totals = images.labels, dict[str, float]()
        batches = list(draw_batches(len(labels), self.training.batch_size, self._order))
        for number, rows in enumerate(batches):
            set_rate(self._optimiser, self.training, (epoch + number / len(batches)) / self.training.epochs)
            x = images.load(rows.tolist())
            x = augment(x, self.training.augmentation, self.task.classifier.bounds, self._moves)
            x = x.to(self.meter.runtime.device)
            batch = Batch(x, labels[rows].to(x.device), rows.to(x.device), epoch)
            self.meter.add_gradients(len(x))
            mode = self.training.batchnorm if len(rows) > 1 else BatchNormMode.FROZEN  # one image has no statistics
            with editing(self.working.module, mode):
                terms = losses(batch)
            descend(self._optimiser, terms)
            after_step()
            for name, term in terms.items():
                totals[name] = totals.get(name, 0.0) + term.item() / len(batches)
        return totals


def run_epochs(method: Method, trainer: Trainer, run_epoch: Callable[[int], Mapping[str, float]]) -> Edit:
    """Return the edit of `method` that runs its number of epochs and stops; a step of the engine is an epoch."""
    length = trainer.training.epochs
    epochs = iter(range(length))
    plan = Plan(
        method.name,
        to_mapping(method),
        trainer.working,
        lambda: run_epoch(next(epochs)),
        length,
        completed=lambda steps: steps >= length,
    )
    return edit_until_goal(trainer.task, plan, trainer.meter)


def train(
    method: Method,
    trainer: Trainer,
    *,
    images: Images,
    losses: BatchLosses,
    after_step: Callable[[], None] = _nothing,
) -> Edit:
    """Return the edit of `method` whose epochs go through `images` once each; see `Trainer.run_pass`."""
    return run_epochs(
        method, trainer, lambda epoch: trainer.run_pass(images, losses, epoch=epoch, after_step=after_step)
    )


def make_optimiser(working: Classifier, training: Training) -> torch.optim.Optimizer:
    """Return an optimiser of the weights of `working` that require gradients, and of nothing else."""
    weights = [weight for weight in working.module.parameters() if weight.requires_grad]
    rate, decay = training.learning_rate, training.weight_decay
    if training.algorithm is Algorithm.ADAM:
        return torch.optim.Adam(weights, lr=rate, weight_decay=decay)
    return torch.optim.SGD(weights, lr=rate, momentum=training.momentum, weight_decay=decay)


def descend(optimiser: torch.optim.Optimizer, terms: Mapping[str, Tensor]) -> None:
    """Take one step down the sum of `terms`."""
    optimiser.zero_grad(set_to_none=True)
    torch.stack(list(terms.values())).sum().backward()
    optimiser.step()


def set_rate(optimiser: torch.optim.Optimizer, training: Training, progress: float) -> None:
    """Set the step size for a share of the training that is done, 0..1."""
    share = (1 + cos(pi * progress)) / 2 if training.schedule is Schedule.COSINE else 1.0
    for group in optimiser.param_groups:
        group["lr"] = training.learning_rate * share


def draw_batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield all row numbers once in random order, in batches of almost equal size: no last batch of a single row.

    >>> [len(rows) for rows in draw_batches(9, 4, torch.Generator().manual_seed(0))]
    [3, 3, 3]
    """
    yield from torch.randperm(count, generator=generator).tensor_split(ceil(count / batch_size))


def augment(
    x: Float[Tensor, "b c h w"], augmentation: Augmentation, bounds: Bounds, generator: torch.Generator
) -> Float[Tensor, "b c h w"]:
    """Return the images as they are trained on; the padding has the lowest pixel value."""
    if augmentation is Augmentation.NONE:
        return x
    height, width = x.shape[-2:]
    down, right = (max(1, round(CROP_REACH * size)) for size in (height, width))
    padded = F.pad(x, (right, right, down, down), value=bounds.lower)
    flips = (torch.rand(len(x), generator=generator) < 0.5).tolist()
    tops = torch.randint(2 * down + 1, (len(x),), generator=generator).tolist()
    lefts = torch.randint(2 * right + 1, (len(x),), generator=generator).tolist()
    crops = [
        image[:, top : top + height, left : left + width] for image, top, left in zip(padded, tops, lefts, strict=True)
    ]
    return torch.stack([crop.flip(-1) if flip else crop for crop, flip in zip(crops, flips, strict=True)])


def to_images(rows: ForgetSet, labels: Tensor) -> TensorImages:
    """Return the rows to forget as images to train on, with labels of the method's choice."""
    return TensorImages(rows.ids, labels.cpu(), rows.x.cpu())


def require_retain(task: Task) -> Images:
    """Return the retain data of a task whose method needs them.

    Raises:
        SettingsError: there are none.
    """
    if task.retain is None:
        raise SettingsError("retain", "the rest of the training data", "none", "this method trains on them")
    return task.retain
