"""AMUN: fine-tune on the rows together with the nearest images that the classifier takes for something else."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expunge.base.settings import check_settings, setting
from expunge.compute.context import CostMeter
from expunge.compute.runtime import Runtime
from expunge.data.images import Images, Joined, TensorImages
from expunge.methods.protocol import Aim, Method, Needs
from expunge.methods.published.epochs import Augmentation, Batch, Trainer, Training, require_retain, to_images, train
from expunge.models.classifier import Classifier
from expunge.surrogates.attack import l2_norms, project_to_ball
from expunge.task.edit import Edit
from expunge.task.goals import Misclassify
from expunge.task.task import Strength, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestSearch:
    """How the nearest adversarial example of a row is looked for; radii are L2 norms in the units of the pixels."""

    first_radius: float = setting(0.04, "first radius (eps); doubled until the prediction flips", above=0)
    steps: int = setting(50, "gradient steps at each radius, each of a tenth of it", at_least=1)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True)
class Nearest:
    """What was found for each row: the image, what it is predicted as, and whether that differs from the row's."""

    x: Float[Tensor, "k c h w"]
    labels: Int[Tensor, " k"]
    found: Bool[Tensor, " k"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amun:
    """SGD on CE over D_f with its own labels and its nearest adversarial examples with their predicted labels.

    Ebrahimpour-Boroojeny et al. 2025 (arXiv 2503.00917), in the setting without D_r.

    Differs from the paper: the attack goes down the gap f_y - max f_c, since the gradient of CE vanishes for rows that
    the classifier is sure of; a row is done at the first step that flips it; a row that nothing flips has no example.
    """

    name: ClassVar[str] = "amun"
    summary: ClassVar[str] = "fine-tune on the rows and their nearest adversarial examples"
    source: ClassVar[str] = "Ebrahimpour-Boroojeny et al., ICML 2025, arXiv 2503.00917"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    search: NearestSearch = field(default_factory=NearestSearch)
    training: Training = field(default_factory=lambda: Training(augmentation=Augmentation.NONE))

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        meter = CostMeter(runtime)
        images = join_with_nearest(task, self.search, meter)
        return train_on_labels(self, Trainer(task, _copy(task, runtime), self.training, meter), images)


@dataclass(frozen=True, slots=True, kw_only=True)
class AmunRetain:
    """SGD on CE over D_f, its nearest adversarial examples with their predicted labels, and D_r; see `Amun`.

    Ebrahimpour-Boroojeny et al. 2025 (arXiv 2503.00917), in the setting with D_r.

    Differs from the paper: as `Amun`.
    """

    name: ClassVar[str] = "amun-retain"
    summary: ClassVar[str] = "fine-tune on everything and the rows' nearest adversarial examples"
    source: ClassVar[str] = "Ebrahimpour-Boroojeny et al., ICML 2025, arXiv 2503.00917"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    search: NearestSearch = field(default_factory=NearestSearch)
    training: Training = field(default_factory=lambda: Training(augmentation=Augmentation.NONE))

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        meter = CostMeter(runtime)
        retain = require_retain(task)
        images = Joined(join_with_nearest(task, self.search, meter), retain)
        return train_on_labels(self, Trainer(task, _copy(task, runtime), self.training, meter), images)


def join_with_nearest(task: Task, search: NearestSearch, meter: CostMeter) -> Images:
    """Return the rows with their labels, then the nearest adversarial examples that were found with theirs."""
    classifier = task.classifier.to(meter.runtime.device).frozen_copy()
    rows = task.forget_set
    nearest = find_nearest(classifier, rows.x.to(meter.runtime.device), search, meter)
    found = nearest.found.cpu().nonzero().flatten()
    ids = [f"nearest of {rows.ids[row]}" for row in found.tolist()]
    examples = TensorImages(ids, nearest.labels.cpu()[found], nearest.x.cpu()[found])
    return Joined(to_images(rows, rows.y), examples) if ids else to_images(rows, rows.y)


def find_nearest(
    classifier: Classifier, x: Float[Tensor, "k c h w"], search: NearestSearch, meter: CostMeter
) -> Nearest:
    """Return near-minimal untargeted L2 adversarial examples: projected descent in balls that double.

    A row leaves the search as soon as its prediction is another one; the radius ends at that of the whole pixel range.

    Args:
        classifier: f0 in eval mode with frozen weights.
        x: pixels within the bounds.
        search: first radius and steps.
        meter: counts gradient evaluations.
    """
    labels = torch.cat([classifier(part).argmax(dim=1) for part in x.split(meter.runtime.batch_size)])
    result = Nearest(x.clone(), labels.clone(), torch.zeros_like(labels, dtype=torch.bool))
    radius, largest = search.first_radius, classifier.bounds.width * math.sqrt(x[0].numel())
    with meter.phase("nearest examples", total=len(x)) as advance:
        while radius < 2 * largest and not bool(result.found.all()):
            for rows in (~result.found).nonzero().flatten().split(meter.runtime.batch_size):
                moved, predicted = _descend_gap(classifier, x[rows], labels[rows], radius, search.steps, meter)
                result.x[rows], result.labels[rows] = moved, predicted
                result.found[rows] = predicted != labels[rows]
                advance(int(result.found[rows].sum()))
            radius *= 2
    return result


def train_on_labels(method: Method, trainer: Trainer, images: Images) -> Edit:
    """Return the edit that descends CE over `images`."""

    def losses(batch: Batch) -> Mapping[str, Tensor]:
        return {"everything": F.cross_entropy(trainer.working(batch.x), batch.y)}

    return train(method, trainer, images=images, losses=losses)


def _descend_gap(
    classifier: Classifier, x: Tensor, labels: Tensor, radius: float, steps: int, meter: CostMeter
) -> tuple[Tensor, Tensor]:
    """Return where each row first flips within the ball, or where it ends, and what is predicted there."""
    current, predicted = x.clone(), labels.clone()
    for step in range(steps + 1):
        open_rows = (predicted == labels).nonzero().flatten()
        if len(open_rows) == 0:
            break
        variable = current[open_rows].requires_grad_(True)
        logits = classifier(variable)
        predicted[open_rows] = logits.argmax(dim=1)
        if step == steps:
            break
        (gradient,) = torch.autograd.grad(Misclassify().gap(logits, labels[open_rows]).sum(), variable)
        meter.add_gradients(len(open_rows))
        moved = variable.detach() - radius / 10 * gradient / l2_norms(gradient).clamp_min(1e-12)
        moved = classifier.bounds.clip(project_to_ball(moved, x[open_rows], radius))
        still = (predicted[open_rows] == labels[open_rows]).view(-1, 1, 1, 1)
        current[open_rows] = torch.where(still, moved, variable.detach())
    return current, predicted


def _copy(task: Task, runtime: Runtime) -> Classifier:
    return task.classifier.to(runtime.device).copy()
