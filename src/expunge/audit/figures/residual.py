"""The figures of residual knowledge: what is left of forgotten images in copies of them with a little noise."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from expunge.audit.collect.collected import Gathered, Perturbed, need
from expunge.audit.figures.definition import Definition, Judged, generator
from expunge.audit.metrics import answers, residual
from expunge.audit.metrics.estimate import Estimate
from expunge.audit.record import Direction

Shares = Float[np.ndarray, " k"]
NO_REFERENCE = "there is no retrained classifier; only the share of copies still recognised is known"


def recognised(data: Gathered, name: str) -> Shares:
    """Return the share of each row's noised copies that a classifier, before or after, answers with its label.

    Raises:
        NotDefinedError: they were not measured.
    """
    found = need_perturbed(data)
    return residual.recognised(getattr(found, name), data.forget.labels[found.rows])


def recognised_by_retrained(data: Gathered) -> list[Shares]:
    """Return the same for each retrained classifier.

    Raises:
        NotDefinedError: there are none.
    """
    found = need_perturbed(data)
    labels = data.forget.labels[found.rows]
    return [residual.recognised(each, labels) for each in need(found.retrained or None, NO_REFERENCE)]


def need_perturbed(data: Gathered) -> Perturbed:
    """Return the answers on noised copies of the forgotten rows.

    Raises:
        NotDefinedError: they were not measured.
    """
    return need(data.need_deep().perturbed, "it was not measured")


def _against_retrained(
    figure: Callable[[Shares, Shares, np.random.Generator], Estimate], best: float | None, tolerance: float
) -> Callable[[Gathered], Judged]:
    """Return a comparison whose target is what retrained classifiers score against each other, or else `best`."""

    def compute(data: Gathered) -> Judged:
        others, rng = recognised_by_retrained(data), generator(data, "residual knowledge")
        target = best
        if len(others) > 1:
            rest = [np.mean(others[:number] + others[number + 1 :], axis=0) for number in range(len(others))]
            target = float(np.mean([figure(one, each, rng).value for one, each in zip(others, rest, strict=True)]))
        return Judged(figure(recognised(data, "after"), np.mean(others, axis=0), rng), target, tolerance)

    return compute


def _rows_left(data: Gathered) -> Judged:
    """Return the share of rows of which too many copies are recognised; of all rows it is no estimate."""
    judged = _against_retrained(_rows, None, 10.0)(data)
    if len(need_perturbed(data).rows) < len(data.forget.ids):
        return judged
    return replace(judged, estimate=Estimate(judged.estimate.value))


def _knowledge(edited: Shares, reference: Shares, rng: np.random.Generator) -> Estimate:
    return residual.mean_knowledge(residual.residual_knowledge(edited, reference), rng)


def _rows(edited: Shares, reference: Shares, rng: np.random.Generator) -> Estimate:
    return answers.share(edited > reference)


def _recognised(data: Gathered) -> Judged:
    found = need_perturbed(data)
    target = 100 * float(np.mean(recognised_by_retrained(data))) if found.retrained else None
    return Judged(Estimate(100 * float(recognised(data, "after").mean())), target, 5.0)


ON_COPIES = "noised copies of the {rows}, {retrained} retrained classifiers"
FIGURES = {
    "residual.knowledge": Definition(
        "Residual knowledge",
        "",
        Direction.NEAR,
        ON_COPIES + ": how often the edited one recognises them, over how often those do; mean over rows; the target "
        "is what those give among themselves",
        _against_retrained(_knowledge, 1.0, 0.05),
    ),
    "residual.rows": Definition(
        "{Rows} with residual knowledge",
        "percent",
        Direction.LOWER,
        ON_COPIES + ": rows of which the edited one recognises more copies; the target is what those give among "
        "themselves",
        _rows_left,
    ),
    "residual.recognised": Definition(
        "Noised copies of the {rows} that are still recognised",
        "percent",
        Direction.LOWER,
        ON_COPIES + "; the target is their own share",
        _recognised,
    ),
}
