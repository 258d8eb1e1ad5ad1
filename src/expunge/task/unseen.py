"""How certain a classifier would be of images that it had never seen, from it and these images alone."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expunge.compute.runtime import Runtime
from expunge.compute.seeds import seeded_generator
from expunge.data.forget import ForgetSet
from expunge.models.classifier import Classifier
from expunge.task.evaluation import compute_logits
from expunge.task.goals import Goal, Misclassify, Unseen

UPPER = 0.75
"""The quantile of leads that is as high on images never seen as on others."""
MOST_ENLARGED = 2.0
ROWS_AT_ONCE = 256

Alteration = Callable[[Float[Tensor, "k c h w"], Float[Tensor, "k 2"]], Float[Tensor, "k c h w"]]
"""Alters rows; the numbers in 0..1, drawn for each row, say where if that matters."""


def find_allowed(
    goal: Goal, classifier: Classifier, rows: ForgetSet, seed: int, runtime: Runtime
) -> Float[Tensor, " k"] | None:
    """Return by how many logits each row may fall short of the goal's boundary; None where it may not.

    Args:
        goal: what is to hold.
        classifier: before the edit.
        rows: to forget.
        seed: of the edit.
        runtime: batch size and progress.
    """
    return estimate_leads(classifier, rows, seed, runtime) if isinstance(goal, Unseen) else None


def estimate_leads(classifier: Classifier, rows: ForgetSet, seed: int, runtime: Runtime) -> Float[Tensor, " k"]:
    """Return by how many logits the label of each row would lead had the classifier never seen it; below 0: not at all.

    A classifier is about as often wrong on images that it has never seen as on its training images where these are
    shown a little smaller, larger, turned, paler, or partly covered (benchmarks/unseen_leads.py). But its high leads
    are as high on images never seen as on others, and on altered ones they are lower. So the leads of altered rows are
    enlarged by one factor, with which their upper quartile is that of the rows themselves. Nothing says better than its
    own lead which rows a classifier would be wrong on. So the enlarged leads are dealt out in the order of the rows'
    own leads, and none exceeds its row's own.

    Args:
        classifier: before the edit.
        rows: to forget.
        seed: draws which part of a row is covered.
        runtime: device, batch size and progress.
    """
    classifier = classifier.to(runtime.device)
    x, labels = rows.x.to(runtime.device), rows.y.to(runtime.device)
    own = Misclassify().gap(compute_logits(classifier, x, runtime.sharing), labels)
    logits = answer_altered(classifier, rows.x, seed, runtime)
    altered = Misclassify().gap(logits, labels.repeat(len(ALTERATIONS)))
    enlarged = altered * enlargement(own, altered)
    return torch.minimum(enlarged[deal_out(enlarged, own)], own).cpu()


def enlargement(own: Float[Tensor, " k"], altered: Float[Tensor, " n"]) -> float:
    """Return the factor with which the upper quartile of altered leads is that of the rows' own, 1..MOST_ENLARGED."""
    wanted, found = (float(leads.quantile(UPPER)) for leads in (own, altered))
    return min(max(wanted / found, 1.0), MOST_ENLARGED) if found > 0 else 1.0


def answer_altered(
    classifier: Classifier, x: Float[Tensor, "k c h w"], seed: int, runtime: Runtime
) -> Float[Tensor, "n classes"]:
    """Return the logits of altered rows: of all k altered in one of `ALTERATIONS`, then in the next.

    Args:
        classifier: before the edit, on the runtime's device.
        x: pixels of the rows.
        seed: draws which part of a row is covered.
        runtime: device, batch size and progress.
    """
    places, found, x = torch.rand(len(x), 2, generator=seeded_generator(seed, "altered")), list[Tensor](), x.cpu()
    with runtime.progress.phase("altered", len(ALTERATIONS) * len(x)) as advance:
        for alter in ALTERATIONS.values():
            for start in range(0, len(x), ROWS_AT_ONCE):
                part = slice(start, start + ROWS_AT_ONCE)
                altered = alter(x[part], places[part]).to(runtime.device)
                found.append(compute_logits(classifier, altered, runtime.sharing))
                advance(len(altered))
    return torch.cat(found)


def resized(size: float) -> Alteration:
    """Return what shows rows at so many times their size; mirrored at its edges, a smaller one fills the image."""
    return lambda x, _: _placed(x, size, 0.0)


def turned(degrees: float) -> Alteration:
    """Return what turns rows about their middle; they are mirrored at their edges."""
    return lambda x, _: _placed(x, 1.0, degrees)


def faded(contrast: float) -> Alteration:
    """Return what draws the values of each row towards their mean, to so much of their distance."""
    return lambda x, _: torch.lerp(x.mean(dim=(1, 2, 3), keepdim=True), x, contrast)


def covered(share: float) -> Alteration:
    """Return what covers a part of each row, so wide and high, with the mean of each channel."""

    def alter(x: Tensor, places: Tensor) -> Tensor:
        down, along = (_stretch(share, *each) for each in zip(x.shape[2:], places.unbind(dim=1), strict=True))
        inside = down[:, None, :, None] & along[:, None, None, :]
        return torch.where(inside, x.mean(dim=(2, 3), keepdim=True), x)

    return alter


def _stretch(share: float, length: int, places: Float[Tensor, " k"]) -> Bool[Tensor, "k length"]:
    """Return which pixels of a side of `length` lie in a stretch of its share, which begins where `places` says."""
    size = max(1, round(share * length))
    first = (places * (length - size + 1)).long().view(-1, 1)
    pixels = torch.arange(length)
    return (pixels >= first) & (pixels < first + size)


def _placed(x: Float[Tensor, "k c h w"], size: float, degrees: float) -> Float[Tensor, "k c h w"]:
    """Return rows resized and turned about their middle, mirrored at their edges."""
    height, width = x.shape[2:]
    cosine, sine = (of(math.radians(degrees)) / size for of in (math.cos, math.sin))
    moved = torch.tensor([[cosine, -sine * height / width, 0.0], [sine * width / height, cosine, 0.0]])
    grid = F.affine_grid(moved.expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid.to(x.dtype), padding_mode="reflection", align_corners=False)


ALTERATIONS = {
    "shown at 80% of their size": resized(0.8),
    "shown at 110%": resized(1.1),
    "turned by 10 degrees": turned(10.0),
    "at 50% of their contrast": faded(0.5),
    "covered by a square of 30% of the side": covered(0.3),
}
"""How rows are altered; how strongly was chosen on four classifiers, and on a fifth the estimate is as good."""


def deal_out(values: Float[Tensor, " n"], order: Float[Tensor, " k"]) -> Int[Tensor, " k"]:
    """Return which of some values, k quantiles of them, each row gets: the largest where `order` is largest.

    >>> deal_out(torch.arange(100.0), torch.tensor([3.0, 9.0, 1.0, 4.0]))
    tensor([37, 87, 12, 62])
    """
    places = (torch.arange(len(order), dtype=values.dtype, device=values.device) + 0.5) / len(order)
    dealt = torch.empty(len(order), dtype=torch.long, device=values.device)
    dealt[order.argsort(stable=True)] = values.argsort(stable=True)[(places * len(values)).long()]
    return dealt


def leads_of(logits: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    """Return by how much the largest logit of each row leads the next."""
    first, second = logits.topk(2, dim=1).values.unbind(dim=1)
    return first - second
