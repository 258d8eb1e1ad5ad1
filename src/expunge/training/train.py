"""A classifier trained on labelled images, from its first weights on."""

import hashlib
import json
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from expunge.base.errors import ClassifierError, DataError
from expunge.base.settings import to_mapping
from expunge.compute.context import Context
from expunge.compute.devices import seeded
from expunge.compute.runtime import computing_in
from expunge.compute.seeds import seeded_generator
from expunge.data.images import Images, hash_images
from expunge.models.classifier import Classifier, check_logits
from expunge.models.folding import choose_layout
from expunge.models.modes import evaluating
from expunge.training.checkpoint import Checkpoint, read_checkpoint
from expunge.training.recipe import Recipe
from expunge.training.trainer import Batch, BatchLosses, Trainer

Builder = Callable[[], Classifier]
"""Makes the classifier with its first weights; random ones are drawn from torch's global generator, seeded for it."""


def train_classifier(
    build: Builder,
    images: Images,
    recipe: Recipe,
    *,
    seed: int,
    context: Context,
    checkpoint: Path | None = None,
) -> Classifier:
    """Return a classifier trained on `images`, in eval mode, on the device of the context.

    The same seed gives the same weights on the same processor, and on a GPU if the runtime is deterministic, with or
    without a stop in between.

    Args:
        build: makes the classifier to start from.
        images: what to train on; leave rows out with `Subset` for a retrained reference.
        recipe: how.
        seed: source of all randomness: first weights, order, augmentation, dropout.
        context: has the device and the progress, and is told what is spent.
        checkpoint: a file that is written after each epoch and read at the start if it is there; None for none.

    Raises:
        DataError: no images, or labels that the classifier doesn't have.
        ClassifierError: the classifier's outputs are no logits, the loss is not finite any more, or the checkpoint is
            damaged or of another training.
    """
    classifier = build_seeded(build, seed).to(context.runtime.device)
    _check_fit(classifier, images)
    classifier = choose_layout(classifier, images.load([0]).to(classifier.device))
    trainer = Trainer(classifier, recipe, context, lambda name: seeded_generator(seed, name))
    training = "" if checkpoint is None else hash_training(classifier, images, recipe, seed)
    losses = list[float]()
    if checkpoint is not None and checkpoint.exists():
        found = _read_own(checkpoint, training)
        trainer.restore(found.tensors)
        losses.extend(found.done)
    steps = trainer.count_steps(images)
    with context.runtime.computing(), context.phase("train", steps * recipe.epochs) as advance:
        advance(steps * len(losses))
        for epoch in range(len(losses), recipe.epochs):
            dropout = seeded_generator(seed, f"dropout of epoch {epoch}").initial_seed()
            with seeded(dropout, context.runtime.device):
                means = trainer.run_pass(
                    images, make_losses(classifier, recipe), epoch=epoch, after_step=lambda: advance(1)
                )
            losses.append(_finite(means["cross_entropy"], epoch))
            if checkpoint is not None:
                Checkpoint(training, trainer.state(), losses).write(checkpoint)
    classifier.module.zero_grad(set_to_none=True)
    classifier.module.eval()
    return classifier


def _read_own(path: Path, training: str) -> Checkpoint:
    found = read_checkpoint(path)
    if found.training != training:
        raise ClassifierError(
            str(path),
            "a checkpoint of this training",
            "one with other images, recipe, seed or first weights",
            "delete it to start anew, or choose another folder",
        )
    return found


def build_seeded(build: Builder, seed: int) -> Classifier:
    """Return what `build` makes while torch's global generators are seeded; they are put back."""
    with seeded(seeded_generator(seed, "first weights").initial_seed()):
        return build()


def hash_training(classifier: Classifier, images: Images, recipe: Recipe, seed: int) -> str:
    """Return one hash over the classifier as it starts, the images, the recipe and the seed."""
    parts = {
        "classifier": classifier.cache_key(),
        "images": hash_images(images),
        "recipe": to_mapping(recipe),
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def make_losses(classifier: Classifier, recipe: Recipe) -> BatchLosses:
    """Return the loss of a recipe: cross-entropy, with its label smoothing, in its precision."""

    def losses(batch: Batch) -> Mapping[str, Tensor]:
        with computing_in(recipe.precision, batch.x.device):
            logits = classifier(batch.x)
        smoothing = recipe.label_smoothing
        return {"cross_entropy": F.cross_entropy(logits.to(batch.x.dtype), batch.y, label_smoothing=smoothing)}

    return losses


def _check_fit(classifier: Classifier, images: Images) -> None:
    if len(images.labels) == 0:
        raise DataError("images", "at least one image to train on", "none")
    highest = int(images.labels.max())
    if highest >= classifier.num_classes:
        raise DataError("labels", f"0..{classifier.num_classes - 1}, the classifier's classes", str(highest))
    with torch.no_grad(), evaluating(classifier.module):
        check_logits(classifier(images.load([0]).to(classifier.device)), classifier.num_classes)


def _finite(loss: float, epoch: int) -> float:
    if not isfinite(loss):
        raise ClassifierError("training", "a finite loss", f"{loss} in epoch {epoch + 1}", "lower the learning rate")
    return loss
