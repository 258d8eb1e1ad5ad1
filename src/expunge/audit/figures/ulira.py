"""The figures of U-LiRA: can a method be told to have unlearned an image, from shadow classifiers that did?"""

from collections.abc import Callable

import numpy as np

from expunge.audit.collect.collected import Gathered, need
from expunge.audit.figures.definition import Definition, Judged, generator
from expunge.audit.metrics import auc, clusters, shadows
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.record import Direction

AUC_TOLERANCE = 0.05
POINTS = 5.0
NOT_UNLEARNED = "the shadow classifiers did not unlearn the rows"


def ulira_scores(data: Gathered, never: str) -> shadows.Scores:
    """Return U-LiRA's scores, by row and shadow classifier; arguments and errors are those of `ulira_ratios`."""
    return shadows.split(*ulira_ratios(data, never))


def ulira_ratios(data: Gathered, never: str) -> tuple[np.ndarray, np.ndarray]:
    """Return U-LiRA's ratios by shadow classifier and row, and which of them met.

    Args:
        data: what was gathered.
        never: which classifiers stand for those that never saw a row: "unedited", as trained, or "edited", those that
            unlearned the other rows.

    Raises:
        NotDefinedError: there are no shadow classifiers, they did not unlearn, or give all images one answer.
    """
    pool = data.need_shadows()
    unlearned = need(pool.unlearned_forget, NOT_UNLEARNED)
    if never == "unedited":
        return shadows.ulira_ratios(pool.forget, unlearned, pool.seen, data.forget.labels)
    answers = np.concatenate([unlearned, need(pool.unlearned_test, NOT_UNLEARNED)], axis=1).argmax(axis=2)
    if (answers == answers[:, :1]).all():
        raise NotDefinedError("the edited shadow classifiers give every image the same answer")
    return shadows.ulira_ratios(unlearned, unlearned, pool.seen, data.forget.labels)


def _of_ulira(figure: str, never: str, tolerance: float) -> Callable[[Gathered], Judged]:
    """Return a figure that is flagged only if its interval excludes its target, too."""
    statistic, most, target = STATISTICS[figure]

    def compute(data: Gathered) -> Judged:
        ratios, seen = ulira_ratios(data, never)
        if figure == "tpr":
            auc.tpr_at(*shadows.split(ratios, seen))  # raises where there are too few pairs
        found = clusters.estimate(statistic, ratios, seen, most, generator(data, f"ulira {never}"))
        low = found.value if found.interval is None else found.interval[0]
        return Judged(found, target, tolerance if figure == "auc" else max(tolerance, found.value - low))

    return compute


STATISTICS: dict[str, tuple[Callable[[shadows.Scores], float], float, float]] = {
    "auc": (lambda scores: auc.exact_area(*scores), 1.0, auc.CHANCE),
    "accuracy": (shadows.balanced_accuracy, 100.0, 50.0),
    "tpr": (lambda scores: auc.share_found(*scores), 100.0, 1.0),
}
"""What is computed from the scores, its largest value, and what it is by chance."""
NAMES = {"unedited": "ulira", "edited": "ulira_edited"}
TITLES = {"unedited": "U-LiRA", "edited": "U-LiRA, both edited"}
ON = "{{forget}} {{rows}} in {{shadows}} shadow classifiers: unlearned against never seen, {never}; judges the method"
NEVER = {"unedited": "as trained", "edited": "edited on the other rows"}
FIGURES = {
    f"{name}.{figure}": Definition(
        TITLES[never] + words,
        unit,
        direction,
        ON.format(never=NEVER[never]),
        _of_ulira(figure, never, tolerance),
        STATISTICS[figure][2],
    )
    for never, name in NAMES.items()
    for figure, words, unit, direction, tolerance in (
        ("auc", "", "AUC", Direction.NEAR, AUC_TOLERANCE),
        ("accuracy", ": told apart", "percent", Direction.LOWER, POINTS),
        ("tpr", ": found at 1% false alarms", "percent", Direction.LOWER, POINTS),
    )
}
