"""What a classifier answers, and the plain figures that follow from it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.base.errors import SettingsError
from expunge.compute.exactness import exactly
from expunge.compute.processes import ALONE
from expunge.compute.runtime import Advance, Runtime, silently
from expunge.compute.sharing import Sharing, fitting_cache
from expunge.data.images import Images, batches
from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating
from expunge.task.goals import Goal, achieved
from expunge.task.transforms import TRANSFORMS, Transform, random_copies

COPIES_PER_ROW = 32
SHARE_OF_COPIES = 0.95


@dataclass(frozen=True, slots=True)
class Predictions:
    """Labels, predicted labels and confidences (softmax of the predicted label, 0..1) of n images, on the CPU."""

    labels: Int[Tensor, " n"]
    predicted: Int[Tensor, " n"]
    confidence: Float[Tensor, " n"]

    @property
    def accuracy(self) -> float:
        """Return the top-1 accuracy in percent."""
        return 100 * (self.predicted == self.labels).double().mean().item()


@dataclass(frozen=True, slots=True)
class RobustGoal:
    """How well the goal holds on fresh transformed copies of the rows.

    Args:
        share: share of all copies for which it holds, 0..1.
        by_kind: the same for each transform, and each pair joined by "+".
        rows_held: share of rows for which at least 95% of the copies hold.
        copies_per_row: how many copies were drawn for each row.
        by_row: share of each row's copies for which it holds.
    """

    share: float
    by_kind: dict[str, float]
    rows_held: float
    copies_per_row: int
    by_row: tuple[float, ...]

    @property
    def worst_kind(self) -> str:
        """Return the transform, or pair, after which the goal holds least."""
        return min(self.by_kind, key=self.by_kind.__getitem__)


def compute_logits(
    classifier: Classifier, x: Float[Tensor, "n c h w"], at_once: Sharing | int = 256
) -> Float[Tensor, "n classes"]:
    """Return the logits of `x` in eval mode, in IEEE float32 and without gradients; each process computes all.

    Args:
        classifier: any classifier.
        x: on any device.
        at_once: images in one pass, halved where memory does not suffice; a sharing remembers that.
    """
    sharing = at_once if isinstance(at_once, Sharing) else Sharing(at_once)
    with torch.no_grad(), evaluating(classifier.module), exactly():
        [logits] = sharing.map_concat(
            len(x),
            lambda part: [classifier(x[part].to(classifier.device))],
            at_once=fitting_cache(x, classifier.device),
            among=ALONE,
        )
    return logits


def to_predictions(logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> Predictions:
    """Return what `logits` predict, beside the labels."""
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    return Predictions(labels.cpu(), predicted.cpu(), confidence.cpu())


def predict(
    classifier: Classifier, images: Images, runtime: Runtime | None = None, *, name: str = "predict"
) -> Predictions:
    """Return the predictions on `images`, which are loaded batch by batch."""
    runtime = runtime or Runtime()
    parts = []
    with runtime.progress.phase(name, len(images.labels)) as advance:
        for x, y in batches(images, runtime.batch_size):
            parts.append(to_predictions(compute_logits(classifier, x, runtime.sharing), y))
            advance(len(y))
    return Predictions(
        torch.cat([part.labels for part in parts]),
        torch.cat([part.predicted for part in parts]),
        torch.cat([part.confidence for part in parts]),
    )


def predict_logits(
    classifier: Classifier, images: Images, runtime: Runtime | None = None, *, name: str = "predict"
) -> Float[Tensor, "n classes"]:
    """Return the logits of `images`, which are loaded batch by batch, on the CPU."""
    [logits] = predict_each([classifier], images, runtime, name=name)
    return logits


def predict_each(
    classifiers: Sequence[Classifier], images: Images, runtime: Runtime | None = None, *, name: str = "predict"
) -> list[Float[Tensor, "n classes"]]:
    """Return the logits of `images` by each classifier, on the CPU; a batch is loaded once for all of them."""
    runtime = runtime or Runtime()
    parts: list[list[Tensor]] = [[] for _ in classifiers]
    with runtime.progress.phase(name, len(images.labels)) as advance:
        for x, y in batches(images, runtime.batch_size):
            for logits, classifier in zip(parts, classifiers, strict=True):
                logits.append(compute_logits(classifier, x, runtime.sharing).cpu())
            advance(len(y))
    return [torch.cat(logits) for logits in parts]


def churn(before: Predictions, after: Predictions) -> float:
    """Return the percentage of images whose predicted label changed, right or wrong."""
    return 100 * (before.predicted != after.predicted).double().mean().item()


def right_after(before: Predictions, after: Predictions, *, right_before: bool) -> float | None:
    """Return the percentage that is right after, of the images that were right (or wrong) before; None of none."""
    chosen = (before.predicted == before.labels) == right_before
    if not bool(chosen.any()):
        return None
    return 100 * (after.predicted == after.labels)[chosen].double().mean().item()


def measure_robust_goal(  # noqa: PLR0913 - what is measured, on which copies
    classifier: Classifier,
    x: Float[Tensor, "k c h w"],
    labels: Int[Tensor, " k"],
    goal: Goal,
    *,
    generator: torch.Generator,
    copies: int = COPIES_PER_ROW,
    transforms: Mapping[str, Transform] = TRANSFORMS,
    at_once: Sharing | int = 256,
    before: Classifier | None = None,
    allowed: Float[Tensor, " k"] | None = None,
    advance: Advance = silently,
) -> RobustGoal:
    """Return how well `goal` holds on `copies` fresh transformed copies of each row.

    Args:
        classifier: the edited classifier.
        x: pixels within the classifier's bounds.
        labels: the labels that the goal speaks of.
        goal: what should hold.
        generator: on the CPU; draws kinds, positions and strengths.
        copies: copies of each row; one pass over all rows at a time.
        transforms: what is done to them, one at a time and in pairs.
        at_once: images in one pass; see `compute_logits`.
        before: the classifier before the edit; `allowed` needs it.
        allowed: logits by which each row may fall short of its boundary; a copy by so many that its gap is to lose as
            much in the edit as its row's.
        advance: called with 1 after each of the `copies` passes.

    Raises:
        SettingsError: `allowed` is given and `before` is not.
    """
    if allowed is not None and before is None:
        raise SettingsError("before", "the classifier before the edit, since `allowed` is given", "none")
    sharing = at_once if isinstance(at_once, Sharing) else Sharing(at_once)

    def find_gaps(x: Tensor) -> Tensor:
        logits = compute_logits(before or classifier, x, sharing).to(classifier.device)
        return goal.gap(logits, labels.to(classifier.device))

    losses = None if allowed is None else find_gaps(x) - allowed.to(classifier.device)
    held: dict[str, list[Tensor]] = defaultdict(list)
    for kind, copy in random_copies(x, copies, classifier.bounds, generator, transforms):
        logits = compute_logits(classifier, copy, sharing)
        may = None if losses is None else find_gaps(copy) - losses
        held["+".join(kind)].append(achieved(goal, logits, labels.to(classifier.device), may))
        advance(1)
    order = [kind for kind, flags in held.items() for _ in flags]
    flags = torch.stack([each for same_kind in held.values() for each in same_kind]).cpu().double()
    by_row = flags.mean(dim=0)
    return RobustGoal(
        share=by_row.mean().item(),
        by_kind={kind: flags[[each == kind for each in order]].mean().item() for kind in sorted(held)},
        rows_held=(by_row >= SHARE_OF_COPIES).double().mean().item(),
        copies_per_row=copies,
        by_row=tuple(by_row.tolist()),
    )
