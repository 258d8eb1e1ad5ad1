"""How soon forgotten images come back when the classifier is trained on, on other images."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from expunge.audit.metrics.estimate import NotDefinedError
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.data.images import Images
from expunge.models.classifier import Classifier
from expunge.models.modes import BatchNormMode, editing
from expunge.task.evaluation import compute_logits

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
    points = {0: _accuracy(working, rows)}
    with runtime.progress.phase(f"relearn: {name}", STEPS) as advance:
        for step in range(1, STEPS + 1):
            batch = torch.randint(len(labels), (BATCH,), generator=generator)
            x, y = others.load(batch.tolist()).to(runtime.device), labels[batch].to(runtime.device)
            with editing(working.module, BatchNormMode.FROZEN):
                loss = F.cross_entropy(working(x), y)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            if step % EVERY == 0:
                points[step] = _accuracy(working, rows)
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


def _accuracy(classifier: Classifier, rows: ForgetSet) -> float:
    right: Tensor = compute_logits(classifier, rows.x).argmax(dim=1).cpu() == rows.y.cpu()
    return 100 * right.double().mean().item()
