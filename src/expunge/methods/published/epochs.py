"""Epochs of training for the methods that run so many of them and then stop."""

from collections.abc import Callable, Mapping

from jaxtyping import Bool
from torch import Tensor

from expunge import training
from expunge.base.errors import SettingsError
from expunge.base.settings import to_mapping
from expunge.compute.context import Context
from expunge.compute.devices import seeded
from expunge.data.forget import ForgetSet
from expunge.data.images import Images, TensorImages
from expunge.methods.engine import Plan, edit_until_goal
from expunge.methods.protocol import Method
from expunge.methods.published.checkpoint import EditCheckpoint
from expunge.models.classifier import Classifier
from expunge.task.edit import Edit
from expunge.task.task import Task
from expunge.training import BatchLosses, Training
from expunge.training.trainer import Draw


class Trainer(training.Trainer):
    """Trains the working copy of a task."""

    def __init__(self, task: Task, working: Classifier, training: Training, context: Context) -> None:
        super().__init__(working, training, context, task.generator)
        self.task = task


def run_epochs(
    method: Method, trainer: Trainer, run_epoch: Callable[[int], Mapping[str, float]], *, goes_on: bool = True
) -> Edit:
    """Return the edit of `method` that runs its number of epochs and stops; a step of the engine is an epoch.

    Args:
        method: whose edit it is.
        trainer: trains the working copy of a task.
        run_epoch: one epoch, counted from 0; returns the mean of each loss.
        goes_on: whether the trainer's state is all that changes from epoch to epoch, so that an edit that was stopped
            can go on from it.
    """
    task, length = trainer.task, trainer.training.epochs
    settings = to_mapping(method)
    described = {"name": method.name, "settings": settings}
    checkpoint = EditCheckpoint(described, task, trainer) if goes_on else None
    trace = () if checkpoint is None else checkpoint.restore()
    epochs = iter(range(len(trace), length))

    def step() -> Mapping[str, float]:
        epoch = next(epochs)
        with seeded(task.generator(f"dropout of epoch {epoch}").initial_seed(), trainer.context.runtime.device):
            return run_epoch(epoch)

    plan = Plan(
        method.name,
        settings,
        trainer.working,
        step,
        length,
        completed=lambda steps: steps >= length,
        trace=trace,
        write_checkpoint=None if checkpoint is None else checkpoint.write,
    )
    return edit_until_goal(task, plan, trainer.context)


def train(
    method: Method,
    trainer: Trainer,
    *,
    images: Images,
    losses: BatchLosses,
    as_they_are: Bool[Tensor, " n"] | None = None,
) -> Edit:
    """Return the edit of `method` whose epochs go through `images` once each; see `Trainer.run_pass`."""

    def run_epoch(epoch: int) -> Mapping[str, float]:
        return trainer.run_pass(images, losses, epoch=epoch, as_they_are=as_they_are)

    return run_epochs(method, trainer, run_epoch)


def train_by(method: Method, trainer: Trainer, *, images: Images, draw: Draw, goes_on: bool = True) -> Edit:
    """Return the edit of `method` whose epochs go through `images` once each; see `Trainer.run_steps`."""
    return run_epochs(method, trainer, lambda epoch: trainer.run_steps(images, draw, epoch=epoch), goes_on=goes_on)


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
