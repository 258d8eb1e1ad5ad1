"""The figures of RMIA: can each forgotten image be told from unseen ones, with the help of shadow classifiers?"""

from scipy import stats

from expunge.audit.collect.collected import Gathered
from expunge.audit.figures.attack import Attack
from expunge.audit.figures.definition import Definition, Judged, above_chance, generator, logits_of, require_answers
from expunge.audit.metrics import auc, chance, shadows
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
    drawn = generator(data, "rmia population")
    rows = drawn.permutation(len(pool.test_rows))
    if len(rows) < 2:
        raise NotDefinedError("it takes at least two test rows")
    test_rows = shadows.Answered(
        logits_of(test, when)[pool.test_rows],
        test.labels[pool.test_rows],
        pool.test,
        shadows.unseen_as_rows(pool.seen, len(rows), drawn),
    )
    forgotten = shadows.Answered(logits_of(data.forget, when), data.forget.labels, pool.forget, ~pool.seen)
    population, others = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    return shadows.rmia_scores(forgotten, test_rows.images(others), test_rows.images(population))


def _found(data: Gathered) -> Judged:
    """Return the share of rows found at few false alarms; its interval is that of Clopper and Pearson."""
    scores = rmia_scores(data, "after")
    value = auc.tpr_either_way(*scores)
    count = len(scores.positive)
    interval = stats.binomtest(round(value * count / 100), count).proportion_ci(method="exact")
    estimate = Estimate(value, (100 * float(interval.low), 100 * float(interval.high)))
    return above_chance(estimate, chance.values(auc.tpr_either_way, *scores, generator(data, "rmia tpr")), POINTS)


def _told_apart(data: Gathered) -> Judged:
    scores = rmia_scores(data, "after")
    drawn = chance.values(auc.best_accuracy, *scores, generator(data, "rmia accuracy"))
    return above_chance(Estimate(auc.best_accuracy(*scores)), drawn, POINTS)


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
        ON_RMIA + "; either way round, the target is what it is by chance",
        _found,
    ),
    "rmia.accuracy_after": Definition(
        "RMIA: told apart at the best threshold",
        "percent",
        Direction.LOWER,
        ON_RMIA + "; either way round, the target is what it is by chance",
        _told_apart,
    ),
}
