"""The figures of U-LiRA: can a method be told to have unlearned an image, from shadow classifiers that did?"""

from collections.abc import Callable

import numpy as np

from expunge.audit.collect.collected import Gathered, need
from expunge.audit.figures.definition import Definition, generator
from expunge.audit.metrics import auc, shadows
from expunge.audit.metrics.estimate import Estimate, NotDefinedError
from expunge.audit.record import Direction

AUC_TOLERANCE = 0.05
POINTS = 5.0
NOT_UNLEARNED = "the shadow classifiers did not unlearn the rows"


def ulira_scores(data: Gathered, never: str) -> shadows.Scores:
    """Return U-LiRA's scores, by row and shadow classifier.

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
        return shadows.ulira_scores(pool.forget, unlearned, pool.seen, data.forget.labels)
    answers = np.concatenate([unlearned, need(pool.unlearned_test, NOT_UNLEARNED)], axis=1).argmax(axis=2)
    if (answers == answers[:, :1]).all():
        raise NotDefinedError("the edited shadow classifiers give every image the same answer")
    return shadows.ulira_scores(unlearned, unlearned, pool.seen, data.forget.labels)


def _of_ulira(figure: str, never: str) -> Callable[[Gathered], Estimate | float]:
    def compute(data: Gathered) -> Estimate | float:
        scores = ulira_scores(data, never)
        if figure == "accuracy":
            return shadows.balanced_accuracy(scores)
        if figure == "tpr":
            return auc.tpr_at(*scores)
        return auc.area(*scores, generator(data, f"ulira {never}"))

    return compute


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
        _of_ulira(figure, never),
        target,
        tolerance,
    )
    for never, name in NAMES.items()
    for figure, words, unit, direction, target, tolerance in (
        ("auc", "", "AUC", Direction.NEAR, auc.CHANCE, AUC_TOLERANCE),
        ("accuracy", ": told apart", "percent", Direction.LOWER, 50.0, POINTS),
        ("tpr", ": found at 1% false alarms", "percent", Direction.LOWER, 1.0, POINTS),
    )
}
