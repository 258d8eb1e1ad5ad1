"""The figures of RMIA: can each forgotten image be told from unseen ones, with the help of shadow classifiers?"""

from collections.abc import Callable

import numpy as np

from expunge.audit.collect.collected import Gathered
from expunge.audit.figures.attack import Attack
from expunge.audit.figures.definition import Definition, generator, logits_of, require_answers
from expunge.audit.metrics import auc, shadows
from expunge.audit.metrics.estimate import Estimate, NotDefinedError
from expunge.audit.record import WHEN, Direction

AUC_TOLERANCE = 0.05
POINTS = 5.0


def rmia_scores(data: Gathered, when: str) -> shadows.Scores:
    """Return RMIA's scores of the forget rows and of half of the test rows; the other half is its population.

    Raises:
        NotDefinedError: there are no shadow classifiers, or too few test rows.
    """
    pool, test = data.need_shadows(), data.nonmembers
    require_answers(data, when)
    rows = generator(data, "rmia population").permutation(len(pool.test_rows))
    if len(rows) < 2:
        raise NotDefinedError("it takes at least two test rows")
    population, others = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    unseen = np.ones((len(pool.test), len(rows)), dtype=bool)
    logits, labels = logits_of(test, when)[pool.test_rows], test.labels[pool.test_rows]
    ratios = shadows.likelihood_ratio(
        logits[population], labels[population], pool.test[:, population], unseen[:, population]
    )
    return shadows.Scores(
        shadows.rmia_scores(logits_of(data.forget, when), data.forget.labels, pool.forget, ~pool.seen, ratios),
        shadows.rmia_scores(logits[others], labels[others], pool.test[:, others], unseen[:, others], ratios),
    )


def _of_rmia(figure: str) -> Callable[[Gathered], Estimate | float]:
    def compute(data: Gathered) -> Estimate | float:
        scores = rmia_scores(data, "after")
        return auc.tpr_at(*scores) if figure == "tpr" else auc.best_accuracy(*scores)

    return compute


ATTACK = Attack("rmia", rmia_scores)
ON_RMIA = "{forget} {rows} against unseen images, {shadows} shadow classifiers"
FIGURES = {
    **{
        f"rmia.auc_{when}": Definition(
            f"RMIA, {when}", "AUC", Direction.NEAR, ON_RMIA, ATTACK.judge(when, AUC_TOLERANCE), auc.CHANCE
        )
        for when in WHEN
    },
    "rmia.tpr_after": Definition(
        "RMIA: {rows} found at 1% false alarms",
        "percent",
        Direction.LOWER,
        ON_RMIA,
        _of_rmia("tpr"),
        1.0,
        POINTS,
    ),
    "rmia.accuracy_after": Definition(
        "RMIA: told apart at the best threshold",
        "percent",
        Direction.LOWER,
        ON_RMIA + "; the threshold is chosen on them",
        _of_rmia("accuracy"),
        50.0,
        10.0,
    ),
}
