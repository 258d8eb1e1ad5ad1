"""AMUN: fine-tune on the forget set together with the nearest images that the classifier takes for something else."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expunge.base.settings import Settings, setting
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.data.images import ConcatImages, Images, TensorImages
from expunge.methods.protocol import Aim, Method, Needs
from expunge.methods.published.epochs import Trainer, require_retain, to_images, train
from expunge.models.classifier import Classifier
from expunge.surrogates.attack import l2_norms, project_to_ball
from expunge.task.edit import Edit
from expunge.task.evaluation import compute_logits
from expunge.task.task import Strength, Task
from expunge.training import Batch, Schedule, Training

SMALLEST_GRADIENT = 1e-10
"""What is added to the length of a gradient before it is divided by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestSearch(Settings):
    """How the nearest adversarial example of a row is looked for; radii are L2 norms in the units of the pixels."""

    first_radius: float = setting(0.04, "first radius (eps); doubled until the prediction flips", above=0)
    steps: int = setting(50, "gradient steps at each radius, each of a tenth of it", at_least=1)


@dataclass(frozen=True, slots=True)
class Nearest:
    """What was found for each row: the image, what it is predicted as, and whether that differs from the row's."""

    x: Float[Tensor, "k c h w"]
    labels: Int[Tensor, " k"]
    found: Bool[Tensor, " k"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amun:
    """SGD on CE over D_f with its own labels and its nearest adversarial examples with their predicted labels.

    Ebrahimpour-Boroojeny et al. 2025 (arXiv 2503.00917), in the setting without D_r. As in their code, the rate falls
    to a tenth after each epoch, and the rows are augmented, their adversarial examples not.

    Differs from the paper: a row that nothing within the pixel range flips has no example; theirs looks on for ever.
    """

    name: ClassVar[str] = "amun"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "fine-tune on the rows and their nearest adversarial examples"
    source: ClassVar[str] = "Ebrahimpour-Boroojeny et al., ICML 2025, arXiv 2503.00917"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    search: NearestSearch = field(default_factory=NearestSearch)
    training: Training = field(default_factory=lambda: Training(schedule=Schedule.TENTHS))

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        rows, examples = to_images(task.forget_set, task.forget_set.y), find_examples(task, self.search, context)
        return _train_beside(self, Trainer(task, _copy(task, runtime), self.training, context), rows, examples)


@dataclass(frozen=True, slots=True, kw_only=True)
class AmunRetain:
    """SGD on CE over D_f, its nearest adversarial examples with their predicted labels, and D_r; see `Amun`.

    Ebrahimpour-Boroojeny et al. 2025 (arXiv 2503.00917), in the setting with D_r.

    Differs from the paper: as `Amun`.
    """

    name: ClassVar[str] = "amun-retain"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "fine-tune on everything and the rows' nearest adversarial examples"
    source: ClassVar[str] = "Ebrahimpour-Boroojeny et al., ICML 2025, arXiv 2503.00917"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_AND_RETAIN
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    search: NearestSearch = field(default_factory=NearestSearch)
    training: Training = field(default_factory=lambda: Training(schedule=Schedule.TENTHS))

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        everything = ConcatImages(to_images(task.forget_set, task.forget_set.y), require_retain(task))
        examples = find_examples(task, self.search, context)
        return _train_beside(self, Trainer(task, _copy(task, runtime), self.training, context), everything, examples)


def find_examples(task: Task, search: NearestSearch, context: Context) -> TensorImages:
    """Return the rows' nearest adversarial examples, where any were found, under the labels predicted for them."""
    classifier = task.classifier.to(context.runtime.device).frozen_copy()
    rows = task.forget_set.to(context.runtime.device)
    nearest = find_nearest(classifier, rows.x, search, context, labels=rows.y)
    found = nearest.found.cpu().nonzero().flatten()
    ids = [f"nearest of {rows.ids[row]}" for row in found.tolist()]
    return TensorImages(ids, nearest.labels.cpu()[found], nearest.x.cpu()[found])


def find_nearest(
    classifier: Classifier,
    x: Float[Tensor, "k c h w"],
    search: NearestSearch,
    context: Context,
    *,
    labels: Int[Tensor, " k"] | None = None,
) -> Nearest:
    """Return near-minimal untargeted L2 adversarial examples: projected ascent in balls that double.

    A row leaves the search as soon as its prediction is not its label any more. Each ball is searched on from where
    the search of the one before ended; the last has the radius of the whole pixel range.

    Args:
        classifier: f0 in eval mode with frozen weights.
        x: pixels within the bounds.
        search: first radius and steps.
        context: counts gradient evaluations.
        labels: to be left; None: what is predicted.
    """
    if labels is None:
        labels = compute_logits(classifier, x, context.sharing).argmax(dim=1)
    result = Nearest(x.clone(), labels.clone(), torch.zeros_like(labels, dtype=torch.bool))
    radius, largest = search.first_radius, classifier.bounds.width * math.sqrt(x[0].numel())
    with context.phase("nearest examples", total=len(x)) as advance:
        while radius < 2 * largest and not bool(result.found.all()):
            rows = (~result.found).nonzero().flatten()
            ball = _Ball(classifier, x[rows], labels[rows], radius, search)
            moved, predicted = ball.climb_from(result.x[rows], context)
            result.x[rows], result.labels[rows] = moved, predicted
            result.found[rows] = predicted != labels[rows]
            advance(int(result.found[rows].sum()))
            radius *= 2
    return result


@dataclass(frozen=True, slots=True)
class _Ball:
    """The ball around each row in which a search goes on."""

    classifier: Classifier
    x: Float[Tensor, "b c h w"]
    labels: Int[Tensor, " b"]
    radius: float
    search: NearestSearch

    def climb_from(self, start: Tensor, context: Context) -> Sequence[Tensor]:
        """Return where each row first flips, or where it ends, and what is predicted there."""

        def climb(part: slice) -> tuple[Tensor, Tensor]:
            own = replace(self, x=self.x[part], labels=self.labels[part])
            return own.climb_together(start[part], context)

        return context.sharing.map_concat(len(start), climb)

    def climb_together(self, start: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """Return the same, with all rows in one pass."""
        current, predicted = start.clone(), self.labels.clone()
        for step in range(self.search.steps + 1):
            rows = (predicted == self.labels).nonzero().flatten()
            if len(rows) == 0:
                break
            variable = current[rows].requires_grad_(True)
            logits = self.classifier(variable)
            predicted[rows] = logits.argmax(dim=1)
            if step == self.search.steps:
                break
            height = F.cross_entropy(logits, self.labels[rows], reduction="sum")
            (gradient,) = torch.autograd.grad(height, variable)
            context.add_gradients(len(rows))
            moved = variable.detach() + self.radius / 10 * gradient / (l2_norms(gradient) + SMALLEST_GRADIENT)
            moved = self.classifier.bounds.clip(project_to_ball(moved, self.x[rows], self.radius))
            still = (predicted[rows] == self.labels[rows]).view(-1, 1, 1, 1)
            current[rows] = torch.where(still, moved, variable.detach())
        return current, predicted


def _train_beside(method: Method, trainer: Trainer, images: Images, examples: TensorImages) -> Edit:
    """Return the edit that descends CE over `images` and over the adversarial examples, which nothing augments."""

    def losses(batch: Batch) -> Mapping[str, Tensor]:
        return {"everything": F.cross_entropy(trainer.working(batch.x), batch.y)}

    if not examples.ids:
        return train(method, trainer, images=images, losses=losses)
    joined = ConcatImages(images, examples)
    as_they_are = torch.arange(len(joined.labels)) >= len(images.labels)
    return train(method, trainer, images=joined, losses=losses, as_they_are=as_they_are)


def _copy(task: Task, runtime: Runtime) -> Classifier:
    return task.classifier.to(runtime.device).copy()
