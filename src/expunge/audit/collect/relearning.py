"""How soon forgotten images come back when the classifier is trained on, on other images."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from expunge.audit.metrics.estimate import NotDefinedError
from expunge.compute.runtime import Runtime
from expunge.compute.sharing import Sharing
from expunge.data.forget import ForgetSet
from expunge.data.images import Images
from expunge.models.classifier import Classifier
from expunge.models.modes import BatchNormMode, editing
from expunge.task.evaluation import compute_logits
from expunge.training.step import Pass, Terms, take_step

STEPS = 60
EVERY = 2
BATCH = 64
LEARNING_RATE = 1e-2
MOMENTUM = 0.9


@dataclass(frozen=True, slots=True)
class Relearning:
    """Accuracy on the forget rows, in percent, after so many steps of training on other images."""

    classifier: str
    steps: tuple[int, ...]
    accuracy: tuple[float, ...]


def relearn(
    classifier: Classifier,
    others: Images,
    rows: ForgetSet,
    *,
    name: str,
    generator: torch.Generator,
    runtime: Runtime,
) -> Relearning:
    """Return how the accuracy on `rows` goes while a copy of `classifier` is trained on `others`.

    60 steps of SGD with rate 0.01, momentum 0.9 and batches of 64, BatchNorm frozen; looked at every other step.

    Args:
        classifier: stays as it is.
        others: images that are not to be forgotten.
        rows: the forgotten ones; never trained on.
        name: for the curve.
        generator: draws the batches; the same for every classifier to be compared.
        runtime: device and progress.
    """
    working = classifier.copy().to(runtime.device)
    working.module.requires_grad_(True)
    optimiser = torch.optim.SGD(working.module.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    labels = others.labels
    points = {0: _accuracy(working, rows, runtime.sharing)}
    with runtime.progress.phase(f"relearn: {name}", STEPS) as advance:
        for step in range(1, STEPS + 1):
            batch = torch.randint(len(labels), (BATCH,), generator=generator)
            x, y = others.load(batch.tolist()).to(runtime.device), labels[batch].to(runtime.device)
            one = Pass(BATCH, _make_terms(working, x, y))
            take_step(optimiser, working.module, [one], runtime.sharing)
            if step % EVERY == 0:
                points[step] = _accuracy(working, rows, runtime.sharing)
            advance(1)
    return Relearning(name, tuple(points), tuple(points.values()))


def steps_until(curve: Relearning, accuracy: float) -> int:
    """Return the first step at which the accuracy on the forget rows is at least `accuracy` percent.

    Raises:
        NotDefinedError: it is not reached.
    """
    for step, reached in zip(curve.steps, curve.accuracy, strict=True):
        if reached >= accuracy:
            return step
    raise NotDefinedError(f"{accuracy:.1f}% was not reached within {curve.steps[-1]} steps")


def _make_terms(working: Classifier, x: Tensor, y: Tensor) -> Callable[[slice], Terms]:
    def terms(part: slice) -> Terms:
        with editing(working.module, BatchNormMode.FROZEN):
            loss = F.cross_entropy(working(x[part]), y[part], reduction="sum")
        return {"cross_entropy": loss / len(x)}

    return terms


def _accuracy(classifier: Classifier, rows: ForgetSet, sharing: Sharing) -> float:
    right: Tensor = compute_logits(classifier, rows.x, sharing).argmax(dim=1).cpu() == rows.y.cpu()
    return 100 * right.double().mean().item()
